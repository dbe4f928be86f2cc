# SPDX-License-Identifier: ISC
"""plainbox(1): special, list, show, run, doctor and explain."""

import argparse
import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from gettext import bindtextdomain, textdomain
from gettext import gettext as _
from math import inf
from typing import Final

from . import __version__, catalogue, elevate, plan, process, record, report, runner
from .catalogue import Catalogue, Job
from .plan import Selection
from .refusals import REFUSALS, told
from .runner import CANCELLED, DENIED, FAILED, LOST, TIMEOUT, Result, Run, Terms
from .trusted import start
from .trusted.errors import Refused, printable

OK: Final = 0
JOB_FAILED: Final = 1
WRONG_USAGE: Final = 2
COULD_NOT_RUN: Final = 3
NOTHING_SELECTED: Final = 4
INTERRUPTED: Final = 130

_DOMAIN: Final = 'plainbox-launcher'
# Where contrib/install puts catalogues, as seen from this file.
_CATALOGUES: Final = os.path.join(os.path.dirname(__file__), '../../../share/locale')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _speak()
    options = _parser().parse_args(arguments)
    _obey_signals()
    try:
        status = int(options.function(options))
        sys.stdout.flush()
        return status
    except Refused as refused:
        _warn(told(refused))
        _lead_on([refused.code])
        nothing = refused.code in ('PBL-NO-MATCH', 'PBL-NO-PLAN')
        return NOTHING_SELECTED if nothing else COULD_NOT_RUN
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the question for a password has no line end
        return INTERRUPTED
    except OSError as error:
        return _unwritable(error, options)


def _speak() -> None:
    """Have somewhere to speak, and speak as the caller does."""
    for name in 'stdout', 'stderr':
        stream = getattr(sys, name)
        if stream is None:  # closed by who called us
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115  # for good
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    bindtextdomain(_DOMAIN, _CATALOGUES)
    textdomain(_DOMAIN)  # of argparse's words, too


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        'plainbox', description=_('Plan and run test jobs.')
    )
    parser.add_argument(
        '--version',
        action='version',
        version=__version__,
        help=_('show the version and exit'),
    )
    commands = parser.add_subparsers(required=True, metavar=_('COMMAND'))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        '--provider',
        action='append',
        default=[],
        metavar=_('PATH'),
        help=_('also read this .provider file, or those in this directory'),
    )

    special = commands.add_parser(
        'special', parents=[common], help=_('listings for other programs')
    )
    special.add_argument(
        '-J',
        '--list-job-hashes',
        action='store_true',
        required=True,
        help=_('print the hash and the full id of each job'),
    )
    special.set_defaults(function=_special)

    listing = commands.add_parser('list', parents=[common], help=_('list jobs'))
    listing.add_argument('pattern', nargs='?', default='*', metavar=_('PATTERN'))
    listing.set_defaults(function=_list)

    show = commands.add_parser('show', parents=[common], help=_('show one job'))
    show.add_argument('job', metavar=_('JOB'))
    show.set_defaults(function=_show)

    run = commands.add_parser('run', parents=[common], help=_('run jobs'))
    run.add_argument('patterns', nargs='+', metavar=_('PATTERN'))
    run.add_argument(
        '--launcher',
        default=elevate.LAUNCHER,
        metavar=_('PATH'),
        type=os.path.abspath,
        help=_('another trusted launcher, for which pkexec asks each time'),
    )
    run.add_argument(
        '--per-job',
        action='store_true',
        help=_('call pkexec for each root job, without time limits for them'),
    )
    run.add_argument(
        '--timeout',
        default=inf,
        metavar=_('DURATION'),
        type=_duration,
        help=_('end the running job and skip the others after this time, as 1h 30m'),
    )
    run.add_argument(
        '--job-timeout',
        metavar=_('DURATION'),
        type=_duration,
        help=_(
            'end each job without a time limit of its own after this time; 0: never'
        ),
    )
    run.add_argument(
        '--report',
        action='append',
        default=[],
        metavar=_('json=FILE'),
        type=_report,
        help=_('also write what became of each job into a file'),
    )
    run.set_defaults(function=_run)

    doctor = commands.add_parser(
        'doctor', help=_('say whether root jobs will run here, and if not, why')
    )
    doctor.add_argument('--json', action='store_true', help=_('for other programs'))
    doctor.set_defaults(function=_doctor)

    explain = commands.add_parser('explain', help=_('explain the codes of refusals'))
    explain.add_argument('codes', nargs='*', metavar=_('CODE'))
    explain.set_defaults(function=_explain)
    return parser


def _duration(text: str) -> float:
    try:
        return plan.duration(text) or inf
    except Refused as refused:
        raise argparse.ArgumentTypeError(refused.fact) from None


def _report(text: str) -> str:
    """The file of a report. Only one format is known yet."""
    form, _equals, path = text.partition('=')
    if form != 'json' or not path:
        raise argparse.ArgumentTypeError(_('write json=FILE'))
    return path


def _special(options: argparse.Namespace) -> int:
    for job in _read(options).jobs:
        print(job.unit.checksum, printable(job.id))
    return OK


def _list(options: argparse.Namespace) -> int:
    with runner.session(_read(options)) as run:
        jobs = plan.select(_everything(run), Selection((options.pattern,)), ())
        print(report.listing(jobs))
    return OK


def _show(options: argparse.Namespace) -> int:
    with runner.session(_read(options)) as run:
        jobs = _everything(run)
        for job in plan.select(jobs, Selection((options.job,)), ()):
            print(report.description(job))
    return OK


def _run(options: argparse.Namespace) -> int:
    terms = Terms(
        options.launcher, options.per_job, options.timeout, options.job_timeout
    )
    with runner.session(_read(options), terms) as run, ExitStack() as files:
        jobs = _everything(run)
        selection = Selection(tuple(options.patterns))
        selected = _arranged(plan.select(jobs, selection, ()), jobs)
        # What cannot be written is to be known before a job runs.
        reports = [
            files.enter_context(open(path, 'w', encoding='utf-8'))
            for path in options.report
        ]
        results: list[Result] = []
        try:
            return _run_all(run, selected, jobs, results)
        finally:
            for file in reports:
                file.write(record.in_json(results, (start.view(), run.view)))


def _doctor(options: argparse.Namespace) -> int:
    # What it needs is slow to load, and no other command needs it.
    from . import doctor

    width = max(shutil.get_terminal_size().columns, 40)
    return doctor.examine(as_json=options.json, width=width)


def _explain(options: argparse.Namespace) -> int:
    given = [word.upper().removeprefix('PBL-') for word in options.codes]
    codes = [f'PBL-{word}' for word in given]
    for code in codes:
        if code not in REFUSALS:
            reason = _('no such code: {code}').format(code=code)
            near = plan.suggestion(code, list(REFUSALS), 0.7)
            return _fail(reason + near, WRONG_USAGE)
    width = max(shutil.get_terminal_size().columns, 40)
    if codes:
        print('\n\n'.join(report.explanation(code, width) for code in codes))
    else:
        print(report.codes(width))
    return OK


def _read(options: argparse.Namespace) -> Catalogue:
    found = catalogue.read(options.provider)
    for fault in found.faults:
        _warn(str(fault))
    return found


def _everything(run: Run) -> list[Job]:
    """All jobs, also those which local jobs print that need no root for it."""
    found: list[Job] = []
    for job in run.catalogue.jobs:
        found.append(job)
        if job.unit.plugin == 'local' and not run.asks_root(job):
            found += run.expand(job)
    return found


def _arranged(selected: Sequence[Job], jobs: Sequence[Job]) -> list[Job]:
    return [p.job for p in plan.arrange(selected, jobs) if not p.implied]


def _run_all(
    run: Run, selected: Sequence[Job], known: Sequence[Job], results: list[Result]
) -> int:
    run.open(selected)
    if run.view:
        text = _("root's jobs see a sandbox instead of the machine: {view}")
        _warn(text.format(view=', '.join(run.view)))
    made = [made for job in selected for made in run.expand(job)]
    jobs = _arranged(made, known)
    try:
        for number, job in enumerate(jobs, 1):
            print(report.heading(number, len(jobs), job), flush=True)
            results.append(_perform(run, job))
            print(report.verdict(results[-1]), flush=True)
            if results[-1].outcome == CANCELLED:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        print('\n' + _('interrupted'), flush=True)
        return INTERRUPTED
    finally:
        print(f'\n{report.summary(results)}', flush=True)
        _lead_on([result.code for result in results if result.code])
    return JOB_FAILED if run.over else _exit_status(results)


def _perform(run: Run, job: Job) -> Result:
    """Run a job; at a second Ctrl-C it is not waited for, but was there."""
    started = time.time()
    try:
        return run.perform(job)
    except KeyboardInterrupt:
        seconds = time.time() - started
        result = Result(job, CANCELLED, seconds=seconds)
        return result._replace(created=run.created, started=started)


def _exit_status(results: Sequence[Result]) -> int:
    outcomes = {result.outcome for result in results}
    if outcomes & {FAILED, TIMEOUT}:
        return JOB_FAILED
    return COULD_NOT_RUN if outcomes & {DENIED, LOST} else OK


def _obey_signals() -> None:
    """TERM and HUP interrupt as Ctrl-C does, but sooner, and not under nohup(1)."""
    for number in signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, process.hang_up)


def _unwritable(error: OSError, options: argparse.Namespace) -> int:
    """Our output goes nowhere, so that Python must not try to flush it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    gone = isinstance(error, BrokenPipeError)  # as by `plainbox list | head`
    if gone and options.function is not _run:
        return OK
    where = error.filename or _('output')
    return _fail(f'{where}: {error.strerror or error}', COULD_NOT_RUN)


def _lead_on(codes: Sequence[str]) -> None:
    """Say to a person, and only to a person, where there is more."""
    known = [code for code in dict.fromkeys(codes) if code in REFUSALS]
    if known and sys.stderr.isatty():
        text = _('for more, see: {command}')
        command = ' '.join(['plainbox explain', *known])
        print(text.format(command=command), file=sys.stderr)


def _warn(text: str) -> None:
    print(f'plainbox: {report.shown(text)}', file=sys.stderr)


def _fail(text: str, status: int) -> int:
    _warn(text)
    return status
