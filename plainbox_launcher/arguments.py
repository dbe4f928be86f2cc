# SPDX-License-Identifier: ISC
"""The command line of plainbox(1), as argparse has it."""

import argparse
import os
from collections.abc import Sequence
from gettext import gettext as _
from math import inf

from . import __version__, elevate, plan
from .reports import FORMATS
from .store import MAX_OUTPUT
from .trusted.errors import Refused

_UNITS = {'': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}


def read(given: Sequence[str] | None) -> argparse.Namespace:
    """What a command line says. Exits with 2 where it is wrong."""
    options = parser().parse_args(given)
    if options.command in ('run', 'submit') and not (options.patterns or options.plan):
        options.fail(_('name a PATTERN, or a --plan'))
    return options


def parser() -> argparse.ArgumentParser:
    """What a command line may be. The name of the command becomes `command`."""
    top = argparse.ArgumentParser('plainbox', description=_('Plan and run test jobs.'))
    top.add_argument(
        '--version',
        action='version',
        version=__version__,
        help=_('show the version and exit'),
    )
    commands = top.add_subparsers(required=True, metavar=_('COMMAND'), dest='command')
    providers, choice, terms, look = _providers(), _choice(), _terms(), _look()

    special = commands.add_parser(
        'special', parents=[providers], help=_('listings for other programs')
    )
    special.add_argument(
        '-J',
        '--list-job-hashes',
        action='store_true',
        required=True,
        help=_('print the hash and the full id of each job'),
    )

    jobs = commands.add_parser('list', parents=[providers], help=_('list jobs'))
    jobs.add_argument('pattern', nargs='?', default='*', metavar=_('PATTERN'))
    jobs.add_argument(
        '--root',
        action='store_true',
        help=_('only jobs that run as somebody else than you'),
    )
    jobs.add_argument(
        '--plugin',
        action='append',
        default=[],
        metavar=_('NAME'),
        help=_('only jobs of this plugin'),
    )
    jobs.add_argument(
        '--plans', action='store_true', help=_('list test plans instead of jobs')
    )
    jobs.add_argument('--json', action='store_true', help=_('for other programs'))

    show = commands.add_parser('show', parents=[providers], help=_('show jobs'))
    show.add_argument('patterns', nargs='+', metavar=_('PATTERN'))
    show.add_argument('--json', action='store_true', help=_('for other programs'))

    run = commands.add_parser(
        'run', parents=[providers, choice, terms, look], help=_('run jobs')
    )
    run.set_defaults(fail=run.error)  # which names the command, and its usage

    submit = commands.add_parser(
        'submit',
        parents=[providers, choice, terms],
        help=_('put jobs into the queue, for `plainbox work` to run'),
    )
    submit.set_defaults(fail=submit.error)

    work = commands.add_parser(
        'work', parents=[look], help=_('run what is in the queue, in order')
    )
    work.add_argument(
        '--once', action='store_true', help=_('end when the queue is empty')
    )

    resume = commands.add_parser(
        'resume', parents=[look], help=_('resume a session that was interrupted')
    )
    _optional_id(resume)

    rerun = commands.add_parser(
        'rerun', parents=[look], help=_('run a session again, as a new one')
    )
    _optional_id(rerun)
    rerun.add_argument(
        '--failed',
        action='store_true',
        help=_('only the jobs that neither passed nor were skipped'),
    )

    sessions = commands.add_parser('sessions', help=_('list the sessions there are'))
    sessions.add_argument('--json', action='store_true', help=_('for other programs'))

    session = commands.add_parser(
        'session', help=_('show, remove or acknowledge sessions')
    )
    verbs = session.add_subparsers(required=True, metavar=_('VERB'), dest='verb')
    for verb, text in (
        ('show', _('show what became of each job')),
        ('rm', _('remove sessions with their files, finished or not')),
        ('ack', _('remove sessions whose results have arrived elsewhere')),
    ):
        each = verbs.add_parser(verb, help=text)
        if verb == 'show':
            _optional_id(each)
        else:
            each.add_argument('ids', nargs='+', metavar=_('ID'))

    report = commands.add_parser('report', help=_('write a report of a session'))
    _optional_id(report)
    report.add_argument(
        '--format',
        choices=FORMATS,
        default=FORMATS[0],
        metavar=_('FORMAT'),
        help=_('format of the report: {formats}').format(formats=', '.join(FORMATS)),
    )
    report.add_argument(
        '-o',
        '--output',
        default='-',
        metavar=_('FILE'),
        help=_('where to write it; - is standard output'),
    )

    doctor = commands.add_parser(
        'doctor', help=_('say whether root jobs will run here, and if not, why')
    )
    doctor.add_argument('--json', action='store_true', help=_('for other programs'))

    explain = commands.add_parser('explain', help=_('explain the codes of refusals'))
    explain.add_argument('codes', nargs='*', metavar=_('CODE'))
    return top


def _optional_id(command: argparse.ArgumentParser) -> None:
    command.add_argument('id', nargs='?', default='', metavar=_('ID'))


def _providers() -> argparse.ArgumentParser:
    """Which jobs there are."""
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        '--provider',
        action='append',
        default=[],
        metavar=_('PATH'),
        type=os.path.abspath,
        help=_('also read this .provider file, or those in this directory'),
    )
    return group


def _choice() -> argparse.ArgumentParser:
    """Which of them are to run."""
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument('patterns', nargs='*', metavar=_('PATTERN'))
    group.add_argument(
        '--plan',
        action='append',
        default=[],
        metavar=_('ID'),
        help=_('the jobs of this test plan or whitelist'),
    )
    group.add_argument(
        '--regex',
        action='store_true',
        help=_('patterns are regular expressions, of whole ids'),
    )
    group.add_argument(
        '--exclude',
        action='append',
        default=[],
        metavar=_('PATTERN'),
        help=_('but not the jobs that match this'),
    )
    return group


def _terms() -> argparse.ArgumentParser:
    """How they are run."""
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        '--launcher',
        default=elevate.LAUNCHER,
        metavar=_('PATH'),
        type=os.path.abspath,
        help=_('another trusted launcher, for which pkexec asks each time'),
    )
    group.add_argument(
        '--per-job',
        action='store_true',
        help=_('call pkexec for each root job, without time limits for them'),
    )
    group.add_argument(
        '--timeout',
        default=inf,
        metavar=_('DURATION'),
        type=_duration,
        help=_('end the running job and skip the others after this time, as 1h 30m'),
    )
    group.add_argument(
        '--job-timeout',
        metavar=_('DURATION'),
        type=_duration,
        help=_(
            'end each job without a time limit of its own after this time; 0: never'
        ),
    )
    group.add_argument(
        '--non-interactive',
        action='store_true',
        help=_('skip jobs that a person has to do'),
    )
    group.add_argument(
        '--max-output',
        default=MAX_OUTPUT,
        metavar=_('SIZE'),
        type=_size,
        help=_(
            'keep and show at most so much of each output of a job, as 100k or 2M; '
            'else 64M'
        ),
    )
    group.add_argument(
        '--report',
        action='append',
        default=[],
        metavar=_('FORMAT=FILE'),
        type=_report,
        help=_(
            'also write a report at the end, in one of the formats: {formats}'
        ).format(formats=', '.join(FORMATS)),
    )
    return group


def _look() -> argparse.ArgumentParser:
    """What is seen of it meanwhile."""
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        '--plain',
        action='store_true',
        help=_('plain lines, as where there is no terminal; no bar, no colours'),
    )
    amount = group.add_mutually_exclusive_group()
    amount.add_argument(
        '-q',
        '--quiet',
        action='store_true',
        help=_('show only what did not pass, and the summary'),
    )
    amount.add_argument(
        '-v',
        '--verbose',
        action='store_true',
        help=_('also show the hash and time limit of each job, and more'),
    )
    return group


def _duration(text: str) -> float:
    try:
        return plan.duration(text) or inf
    except Refused as refused:
        raise argparse.ArgumentTypeError(refused.fact) from None


def _size(text: str) -> int:
    number, unit = text.rstrip('kKmMgG'), text[len(text.rstrip('kKmMgG')) :].lower()
    if not number.isdecimal() or unit not in _UNITS or not int(number):
        raise argparse.ArgumentTypeError(_('no size: {text}').format(text=text))
    return int(number) * _UNITS[unit]


def _report(text: str) -> tuple[str, str]:
    """The format of a report, and its file."""
    form, _equals, path = text.partition('=')
    if form not in FORMATS or not path:
        formats = ', '.join(FORMATS)
        fact = _('write FORMAT=FILE, with one of the formats {formats}')
        raise argparse.ArgumentTypeError(fact.format(formats=formats))
    return form, os.path.abspath(path)
