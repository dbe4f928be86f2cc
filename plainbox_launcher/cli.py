# SPDX-License-Identifier: ISC
"""plainbox(1): special, list, show and run."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from . import __version__, catalogue, elevate, plan, report, runner
from .catalogue import Catalogue, Job
from .runner import DENIED, FAILED, Result, Run
from .trusted.errors import Refused, printable

OK: Final = 0
JOB_FAILED: Final = 1
COULD_NOT_RUN: Final = 3
NOTHING_SELECTED: Final = 4
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    for name in 'stdout', 'stderr':
        if getattr(sys, name) is None:  # closed by who called us
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115  # for good
    options = _parser().parse_args(arguments)
    _obey_signals()
    try:
        status = int(options.function(options))
        sys.stdout.flush()
        return status
    except plan.NothingSelected as error:
        return _fail(str(error), NOTHING_SELECTED)
    except plan.PlanError as error:
        return _fail(str(error), COULD_NOT_RUN)
    except Refused as refused:
        return _fail(str(refused), COULD_NOT_RUN)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the question for a password has no line end
        return INTERRUPTED
    except OSError as error:
        return _unwritable(error, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('plainbox', description='Plan and run test jobs.')
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        '--provider',
        action='append',
        default=[],
        metavar='PATH',
        help='also read this .provider file, or those in this directory',
    )

    special = commands.add_parser(
        'special', parents=[common], help='listings for other programs'
    )
    special.add_argument(
        '-J',
        '--list-job-hashes',
        action='store_true',
        required=True,
        help='print the hash and the full id of each job',
    )
    special.set_defaults(function=_special)

    listing = commands.add_parser('list', parents=[common], help='list jobs')
    listing.add_argument('pattern', nargs='?', default='*', metavar='PATTERN')
    listing.set_defaults(function=_list)

    show = commands.add_parser('show', parents=[common], help='show one job')
    show.add_argument('job', metavar='JOB')
    show.set_defaults(function=_show)

    run = commands.add_parser('run', parents=[common], help='run jobs')
    run.add_argument('patterns', nargs='+', metavar='PATTERN')
    run.add_argument(
        '--launcher',
        default=elevate.LAUNCHER,
        metavar='PATH',
        type=os.path.abspath,
        help='another trusted launcher, for which pkexec asks each time',
    )
    run.set_defaults(function=_run)
    return parser


def _special(options: argparse.Namespace) -> int:
    for job in _read(options).jobs:
        print(job.unit.checksum, printable(job.id))
    return OK


def _list(options: argparse.Namespace) -> int:
    with runner.session(_read(options), elevate.LAUNCHER) as run:
        jobs = plan.select(_everything(run), [options.pattern])
        print(report.listing(jobs))
    return OK


def _show(options: argparse.Namespace) -> int:
    with runner.session(_read(options), elevate.LAUNCHER) as run:
        jobs = _everything(run)
        for job in plan.select(jobs, [options.job]):
            print(report.description(job))
    return OK


def _run(options: argparse.Namespace) -> int:
    with runner.session(_read(options), options.launcher) as run:
        jobs = _everything(run)
        selected = plan.select(jobs, options.patterns)
        return _run_all(run, plan.arrange(selected, jobs), jobs)


def _read(options: argparse.Namespace) -> Catalogue:
    found = catalogue.read(options.provider)
    for fault in found.faults:
        _warn(str(fault))
    return found


def _everything(run: Run) -> list[Job]:
    """All jobs, also those which local jobs print that need no root for it."""
    found: dict[str, Job] = {}
    for job in run.catalogue.jobs:
        found.setdefault(job.id, job)
        if job.unit.plugin == 'local' and not run.asks_root(job):
            for made in run.expand(job):
                found.setdefault(made.id, made)
    return list(found.values())


def _run_all(run: Run, selected: Sequence[Job], known: Sequence[Job]) -> int:
    if any(run.needs_root(job) for job in selected):
        run.warm_up()
    made = [made for job in selected for made in run.expand(job)]
    jobs = plan.arrange(made, known)
    results: list[Result] = []
    try:
        for number, job in enumerate(jobs, 1):
            print(report.heading(number, len(jobs), job), flush=True)
            results.append(run.perform(job))
            print(report.verdict(results[-1]), flush=True)
    except KeyboardInterrupt:
        print('\ninterrupted', flush=True)
        return INTERRUPTED
    finally:
        print(f'\n{report.summary(results)}', flush=True)
    return _exit_status(results)


def _exit_status(results: Sequence[Result]) -> int:
    outcomes = {result.outcome for result in results}
    if FAILED in outcomes:
        return JOB_FAILED
    return COULD_NOT_RUN if DENIED in outcomes else OK


def _obey_signals() -> None:
    """TERM and HUP interrupt as Ctrl-C does, but not under nohup(1)."""
    for number in signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _unwritable(error: OSError, options: argparse.Namespace) -> int:
    """Our output goes nowhere, so that Python must not try to flush it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    gone = isinstance(error, BrokenPipeError)  # as by `plainbox list | head`
    if gone and options.function is not _run:
        return OK
    where = error.filename or 'output'
    return _fail(f'{where}: {error.strerror or error}', COULD_NOT_RUN)


def _warn(text: str) -> None:
    print(f'plainbox: {printable(text)}', file=sys.stderr)


def _fail(text: str, status: int) -> int:
    _warn(text)
    return status
