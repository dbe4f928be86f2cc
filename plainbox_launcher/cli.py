# SPDX-License-Identifier: ISC
"""plainbox(1): its commands."""

import argparse
import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from gettext import bindtextdomain, textdomain
from gettext import gettext as _
from typing import Final

from . import (
    arguments,
    catalogue,
    chronicle,
    interactive,
    listing,
    plan,
    process,
    progress,
    prose,
    record,
    report,
    testplan,
)
from . import reports as written
from . import session as sessions
from .catalogue import Catalogue, Job
from .plan import Selection
from .process import Ended
from .progress import Lines
from .refusals import REFUSALS, refusal, suggestion, told
from .result import DENIED, FAILED, LOST, TIMEOUT, Answer, Result
from .runner import Terms
from .session import Course, Request
from .store import Broken, Ledger, Session, open_ledger
from .trusted.errors import Fault, Refused, printable

OK: Final = 0
JOB_FAILED: Final = 1
WRONG_USAGE: Final = 2
COULD_NOT_RUN: Final = 3
NOTHING_SELECTED: Final = 4
INTERRUPTED: Final = 130

_SELECTED_NOTHING: Final = ('PBL-NO-MATCH', 'PBL-NO-PLAN', 'PBL-NO-JOBS')
_PAUSE: Final = 1.0  # seconds between two looks at an empty queue

_DOMAIN: Final = 'plainbox-launcher'
# Where contrib/install puts catalogues, as seen from this file.
_CATALOGUES: Final = os.path.join(os.path.dirname(__file__), '../../../share/locale')


def main(given: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _speak()
    options = arguments.read(given)
    _obey_signals()
    try:
        status = _COMMANDS[options.command](options)
        sys.stdout.flush()
        return status
    except Refused as refused:
        return _refused(refused)
    except Broken as broken:
        return _refused(broken.refused)
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


# Which jobs there are


def _special(options: argparse.Namespace) -> int:
    for job in _read(options).jobs:
        print(job.unit.checksum, printable(job.id))
    return OK


def _list(options: argparse.Namespace) -> int:
    if options.plans and (options.root or options.plugin):
        return _fail(_('--root and --plugin are about jobs, not plans'), WRONG_USAGE)
    if options.plans:
        return _list_plans(options)
    with sessions.looked_at(_read(options)) as run:
        jobs = listing.chosen(
            run.everything(), options.pattern, root=options.root, plugins=options.plugin
        )
    print(listing.in_json(jobs) if options.json else listing.table(jobs, _columns()))
    return OK


def _list_plans(options: argparse.Namespace) -> int:
    faults: list[Fault] = []
    plans = testplan.read(_read(options), faults)
    for fault in faults:
        _warn(str(fault))
    found = listing.chosen_plans(plans, options.pattern)
    as_text = listing.table_of_plans(found, plans, _columns())
    print(listing.plans_in_json(found) if options.json else as_text)
    return OK


def _show(options: argparse.Namespace) -> int:
    with sessions.looked_at(_read(options)) as run:
        selection = Selection(tuple(options.patterns))
        jobs = plan.select(run.everything(), selection, ())
    if options.json:
        print(listing.in_json(jobs, whole=True))
    else:
        width = prose.columns() if sys.stdout.isatty() else None
        print('\n\n'.join(listing.description(job, width) for job in jobs))
    return OK


def _columns() -> int | None:
    """The width of the terminal, if a person reads there."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


# Running them


def _run(options: argparse.Namespace) -> int:
    request = _request(options)
    with open_ledger() as ledger:
        return _run_session(ledger, sessions.create(ledger, request), options)


def _rerun(options: argparse.Namespace) -> int:
    with open_ledger() as ledger:
        before = _chosen(ledger, options)
        request = sessions.again(ledger, before, failed=options.failed)
        return _run_session(ledger, sessions.create(ledger, request), options)


def _run_session(ledger: Ledger, session: Session, options: argparse.Namespace) -> int:
    """Run a new session, of which nothing remains if none of its jobs may run."""
    begun = False
    try:
        with sessions.opened(ledger, session, interactive.absent()) as course:
            _prepare(course)
            begun = True
            return _go_on(ledger, course, options)
    finally:
        if not begun:
            ledger.remove(session)


def _resume(options: argparse.Namespace) -> int:
    with open_ledger() as ledger:
        if options.id:
            session = ledger.session(options.id)
        else:
            session = sessions.unfinished(ledger)[-1]
        with sessions.opened(ledger, session, interactive.absent()) as course:
            _prepare(course)
            return _go_on(ledger, course, options)


def _submit(options: argparse.Namespace) -> int:
    request = _request(options)
    with open_ledger() as ledger:
        session = sessions.create(ledger, request)
        planned = False
        try:
            with sessions.opened(ledger, session, interactive.absent()) as course:
                course.prepare()
                planned = True
        finally:
            if not planned:
                ledger.remove(session)
        ledger.enqueue(session)  # not before, or a worker would have it already
    print(session.id)
    return OK


def _work(options: argparse.Namespace) -> int:
    """Run what is in the queue, and what comes into it meanwhile."""
    status = OK
    with open_ledger() as ledger, ledger.worker():
        while True:
            waiting = sessions.waiting(ledger)
            if waiting:
                status = max(status, _work_on(ledger, waiting[0], options))
                if status == INTERRUPTED:
                    return status
            elif options.once:
                return status
            else:
                time.sleep(_PAUSE)


def _work_on(ledger: Ledger, session: Session, options: argparse.Namespace) -> int:
    """Run a session to its end. If its jobs may not run, they are denied.

    But not those of a person, who will be asked when they go on with it.
    """
    print(_('session {id}').format(id=session.id), flush=True)
    with sessions.opened(ledger, session, interactive.absent()) as course:
        try:
            _prepare(course)
        except Refused as refused:
            if session.queued:
                course.deny(refused)
                _save(ledger, course)
            return _refused(refused)
        return _go_on(ledger, course, options)


def _prepare(course: Course) -> None:
    """Find out what is to run, and have consent asked for."""
    for fault in course.faults:
        _warn(str(fault))
    course.begin()
    for warning in (*course.run.warnings, *course.warnings):
        _warn(warning)
    if course.run.runner.view:
        text = _("root's jobs see a sandbox instead of the machine: {view}")
        _warn(text.format(view=', '.join(course.run.runner.view)))


def _go_on(ledger: Ledger, course: Course, options: argparse.Namespace) -> int:
    try:
        with closing(_display(course, options)) as display:
            course.run.by_hand = partial(_by_hand, display)
            course.go_on(display)
    except KeyboardInterrupt:
        print('\n' + _('interrupted'), flush=True)
        if not course.over:
            text = _('to resume: {command}')
            command = f'plainbox resume {course.session.id}'
            print(text.format(command=command), flush=True)
        return INTERRUPTED
    finally:
        results = course.results()
        print(f'\n{report.summary(results, course.again())}', flush=True)
        _save(ledger, course)
        _lead_on([result.code for result in results if result.code])
    return JOB_FAILED if course.run.over else _exit_status(results)


def _display(course: Course, options: argparse.Namespace) -> Lines:
    """A bar where a person looks on, and no pkexec wants the terminal meanwhile."""
    quiet, verbose = options.quiet, options.verbose
    if options.plain or course.request.terms.per_job or not progress.suits_a_bar():
        return Lines(quiet=quiet, verbose=verbose)
    try:
        from .bar import Bar  # slow to load
    except ModuleNotFoundError:  # rich is not there: lines do, too
        return Lines(quiet=quiet, verbose=verbose)
    return Bar(course.estimates(), quiet=quiet, verbose=verbose)


def _by_hand(display: Lines, job: Job, execute: Callable[[], Ended]) -> Answer:
    """Have a person do a job, who has the terminal alone meanwhile."""

    def executed() -> Ended:
        ended = execute()
        display.settle()
        return ended

    with display.paused():
        return interactive.by_hand(job, executed)


def _save(ledger: Ledger, course: Course) -> None:
    """Write the reports that were asked for, as far as they are true by now."""
    failure: OSError | None = None
    for form, path in course.request.reports:
        try:
            written.save(ledger, course.session, form, path)
        except OSError as error:  # the others may still be written
            failure = failure or error
    if failure:
        raise failure


def _exit_status(results: Sequence[Result]) -> int:
    outcomes = {result.outcome for result in results}
    if outcomes & {FAILED, TIMEOUT}:
        return JOB_FAILED
    return COULD_NOT_RUN if outcomes & {DENIED, LOST} else OK


def _request(options: argparse.Namespace) -> Request:
    """What a command line asks for. Raises Refused."""
    selection = Selection(
        tuple(options.patterns),
        options.regex,
        tuple(options.exclude),
        tuple(options.plan),
    )
    terms = Terms(
        options.launcher,
        options.per_job,
        options.timeout,
        options.job_timeout,
        os.getcwd(),
    )
    for _form, path in options.report:
        written.require_writable(path)  # to be known before a job runs
    return Request(
        selection,
        terms,
        tuple(options.provider),
        interactive=not options.non_interactive,
        reports=tuple(options.report),
        most=options.max_output,
    )


# What has run


def _sessions(options: argparse.Namespace) -> int:
    with open_ledger() as ledger:
        show = record.sessions_in_json if options.json else chronicle.sessions_in_text
        print(show(ledger), end='')
    return OK


def _session(options: argparse.Namespace) -> int:
    with open_ledger() as ledger:
        if options.verb == 'show':
            print(chronicle.session_in_text(ledger, _chosen(ledger, options)), end='')
            return OK
        for session in [ledger.session(id_) for id_ in options.ids]:
            if options.verb == 'ack' and not session.completed_at:
                fact = _('session {id} is not over').format(id=session.id)
                raise refusal('PBL-UNFINISHED', fact)
            ledger.remove(session)
    return OK


def _report(options: argparse.Namespace) -> int:
    with open_ledger() as ledger:
        session = _chosen(ledger, options)
        if options.output == '-':
            sys.stdout.buffer.write(written.write(ledger, session, options.format))
        else:
            written.save(ledger, session, options.format, options.output)
    return OK


def _chosen(ledger: Ledger, options: argparse.Namespace) -> Session:
    """The session that was named, else the last one there is."""
    return ledger.session(options.id) if options.id else ledger.newest()


# Help


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
            near = suggestion(code, list(REFUSALS), 0.7)
            return _fail(reason + near, WRONG_USAGE)
    width = max(shutil.get_terminal_size().columns, 40)
    if codes:
        print('\n\n'.join(report.explanation(code, width) for code in codes))
    else:
        print(report.codes(width))
    return OK


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    'special': _special,
    'list': _list,
    'show': _show,
    'run': _run,
    'submit': _submit,
    'work': _work,
    'resume': _resume,
    'rerun': _rerun,
    'sessions': _sessions,
    'session': _session,
    'report': _report,
    'doctor': _doctor,
    'explain': _explain,
}


def _read(options: argparse.Namespace) -> Catalogue:
    found = catalogue.read(options.provider)
    for fault in found.faults:
        _warn(str(fault))
    return found


def _obey_signals() -> None:
    """TERM and HUP interrupt as Ctrl-C does, but sooner, and not under nohup(1)."""
    for number in signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, process.hang_up)


def _refused(refused: Refused) -> int:
    _warn(told(refused))
    _lead_on([refused.code])
    return NOTHING_SELECTED if refused.code in _SELECTED_NOTHING else COULD_NOT_RUN


def _unwritable(error: OSError, options: argparse.Namespace) -> int:
    """Our output goes nowhere, so that Python must not try to flush it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    gone = isinstance(error, BrokenPipeError)  # as by `plainbox list | head`
    if gone and options.command not in _RUNNING:
        return OK
    where = error.filename or _('output')
    try:
        return _fail(f'{where}: {error.strerror or error}', COULD_NOT_RUN)
    except OSError:  # nor does anybody read that, where the terminal is gone
        os.dup2(1, 2)
        return COULD_NOT_RUN


_RUNNING: Final = ('run', 'resume', 'rerun', 'work')


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
