# SPDX-License-Identifier: ISC
"""A session, from what was asked for to the last row of its ledger."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from gettext import gettext as _
from math import inf, isinf
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from . import catalogue, plan, strays, testplan
from .book import Book
from .catalogue import Catalogue, Job
from .elevate import LAUNCHER
from .plan import Planned, Selection
from .process import Ended, Outlet
from .progress import Lines
from .refusals import refusal, told
from .result import CANCELLED, DENIED, PASSED, SKIPPED, Quit, Result
from .run import Run
from .runner import Runner, Terms
from .store import MAX_OUTPUT, REBOOTING, RUNNING, Ledger, Row, Session, boot_id
from .trusted import tree
from .trusted.errors import Refused

# What may turn out well once local jobs were asked for theirs.
_UNKNOWN: Final = ('PBL-NO-MATCH', 'PBL-NO-DEPENDENCY')

_STREAMS: Final = ('stdout', 'stderr')
_SHOWN: Final = 1 << 16  # bytes of each output that a summary may show


class Request(NamedTuple):
    """What was asked for. `only` are full ids, of what the selection selects.

    `reports` are pairs of a format and a file; `most` bytes of each output are kept.
    """

    selection: Selection
    terms: Terms = Terms()
    providers: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    interactive: bool = True
    reports: tuple[tuple[str, str], ...] = ()
    most: int = MAX_OUTPUT


class Course:
    """A session that is being worked on, by us and nobody else."""

    def __init__(self, ledger: Ledger, session: Session, run: Run, book: Book) -> None:
        self.session = session
        self.request = asked(session)
        self.run = run
        self._ledger = ledger
        self._book = book
        faults = list(run.catalogue.faults)
        self._plans = testplan.read(run.catalogue, faults)
        self.faults = tuple(faults)
        self.warnings: list[str] = []
        self._unmatched: list[str] = []
        self.over = False  # whether each of its jobs has ended
        self._asked: list[Job] = []  # local jobs and templates, for theirs
        self._jobs: dict[str, Job] = {}  # by their hashes

    # What is to run

    def prepare(self) -> None:
        """Write down what is to run, as far as that can be told without consent.

        Raises Refused for what cannot be planned.
        """
        if plan.literal(self.request.selection, self._plans):
            try:  # local jobs take time, and may not be needed
                self._write_down(self._quiet_makers(locals_too=False))
            except Refused as refused:
                if refused.code not in _UNKNOWN:
                    raise
            else:
                if not self._unmatched:
                    return
        self._write_down(self._quiet_makers(locals_too=True))

    def begin(self) -> None:
        """Have consent asked for, and write down all that is to run, before it does."""
        left = self._recall()
        if self.session.started_at:
            self._take_up()
        else:
            self._set_out()
        if left:
            text = _('what the lost job had left running was ended: {names}')
            self.warnings.append(text.format(names=', '.join(left)))

    def _set_out(self) -> None:
        self.prepare()
        self.run.open(list(self._jobs.values()))
        makers = [job for job in self._jobs.values() if job.generates]
        if makers:
            self._write_down([*self._asked, *makers])
        self._ledger.begin(self.session)

    def _quiet_makers(self, *, locals_too: bool) -> list[Job]:
        """The local jobs and templates that matter, and need no consent to be asked."""
        chosen = self.request.selection
        return [
            job
            for job in self.run.generators()
            if not self.run.asks_root(job)
            and (locals_too or job.unit.plugin != 'local')
            and (job.unit.plugin == 'local' or plan.accepts(job, chosen, self._plans))
        ]

    def _write_down(self, makers: Collection[Job]) -> None:
        self._asked = list(makers)
        known = self.run.known(makers)
        selected = plan.select(known, self.request.selection, self._plans)
        asked = {job.unit.checksum for job in makers}
        wanted = {
            each.unit.checksum: each
            for job in selected
            for each in (self.run.expand(job) if job.unit.checksum in asked else [job])
            if self._is_wanted(each)
        }
        planned = plan.arrange(list(wanted.values()), known)
        self._jobs = {job.unit.checksum: job for job, _implied in planned}
        self._unmatched = plan.unmatched(known, self.request.selection, self._plans)
        deprecated = [
            job for job, _implied in planned if 'deprecated' in job.unit.flags
        ]
        text = _('{job} is deprecated')
        old = [text.format(job=job.id) for job in deprecated]
        self.warnings = self._unmatched + old
        self._ledger.replan(self.session, [p for p in planned if self._is_news(p)])
        self._book.look()

    def _is_wanted(self, job: Job) -> bool:
        only = self.request.only
        return not only or job.id in only or job.generates

    def _is_news(self, planned: Planned) -> bool:
        """Whether a job has not run already, for the sake of the plan."""
        return not (planned.implied and self.run.has_printed(planned.job))

    def _recall(self) -> Sequence[str]:
        """What ran already, before a crash or for the sake of the plan.

        What ran at a crash must not go on beside what runs from now on. Returns the
        names of the processes that did.
        """
        rows = self._ledger.rows(self.session)
        crashed = any(row.status in (RUNNING, REBOOTING) for row in rows)
        ended = strays.end(self._book.share) if crashed else ()
        self._ledger.recover(self.session, ended)
        for row in self._ledger.rows(self.session):
            if row.outcome:
                self.run.outcomes[row.job] = row.outcome
            printed = self._ended(row)
            if printed and row.plugin in ('resource', 'local'):
                self.run.remember(row.job, printed)
        return ended

    def _take_up(self) -> None:
        """Go on where a runner, or the machine, went down."""
        pending = self._book.look()
        makers = self._makers_of(pending)
        quiet = [job for job in makers if not self.run.asks_root(job)]
        hashes = {row.hash for row in pending}
        known = [j for j in self.run.known(quiet) if j.unit.checksum in hashes]
        self.run.open([*known, *makers])
        self._jobs = {job.unit.checksum: job for job in self.run.known(makers)}

    def _makers_of(self, rows: Sequence[Row]) -> list[Job]:
        """The local jobs and templates which the jobs of these rows come from."""
        vias = {row.via for row in rows}
        makers = self.run.generators()
        return [job for job in makers if self.run.source_hash(job) in vias]

    # Running it

    def go_on(self, display: Lines) -> None:
        """Run what has not run yet, each job in its turn.

        Raises KeyboardInterrupt where it is interrupted, and Refused where the ledger
        cannot be written any more.
        """
        rows = [row for row in self._ledger.rows(self.session) if not row.implied]
        places = {row.id: number for number, row in enumerate(rows, 1)}
        try:
            for row in self._book.look():
                if row.implied:
                    self._ask(row, display)
                    continue
                job = self._jobs.get(row.hash) or catalogue.absent(row.job)
                seconds = self.run.time_limit(job)
                display.heading(places[row.id], len(rows), job, seconds)
                result = self._perform(row, job, display)
                display.remark(_('output: {path}').format(path=self._book.where(row)))
                display.verdict(result)
                if result.outcome == CANCELLED:
                    raise KeyboardInterrupt
        finally:
            with suppress(Refused):  # what cannot be written, was said
                self.over = self._ledger.finish(self.session)

    def _ask(self, row: Row, display: Lines) -> None:
        """Run a resource job for its records."""
        if job := self._jobs.get(row.hash):
            display.remark(self.run.ask(job))
        else:
            self.run.note(_changed(row))

    def _perform(self, row: Row, job: Job, display: Lines) -> Result:
        """Run a job; at a second Ctrl-C it is not waited for, but was there."""
        if row.hash not in self._jobs:
            self.run.note(_changed(row))
            return _changed(row)
        started = time.time()
        outlet = Outlet(
            partial(display.output, 1), partial(display.output, 2), display.tick
        )
        try:
            return self.run.perform(job, outlet)
        except KeyboardInterrupt as stop:
            if 'noreturn' in job.unit.flags:
                raise  # the machine may be on its way down: its next boot will tell
            if isinstance(stop, Quit):
                self._book.put_back(job)
                raise
            seconds = time.time() - started
            result = Result(job, CANCELLED, seconds=seconds, started=started)
            self.run.note(result)
            return result

    def deny(self, refused: Refused) -> None:
        """None of what has not run yet may run."""
        for row in self._book.look():
            job = catalogue.absent(row.job)
            result = Result(job, DENIED, told(refused), code=refused.code)
            self.run.note(result._replace(started=time.time()))
        self._ledger.finish(self.session)

    def estimates(self) -> list[float | None]:
        """How long each job takes in seconds: lately here, else as it says itself."""
        lately = self._ledger.durations()
        return [
            lately.get(row.hash) or plan.estimate(self._jobs.get(row.hash))
            for row in self._ledger.rows(self.session)
            if not row.implied
        ]

    def again(self) -> list[str]:
        """The command that runs other jobs in the same way."""
        terms = self.request.terms
        return [
            *('plainbox', 'run'),
            *(word for path in self.request.providers for word in ('--provider', path)),
            *(['--launcher', terms.launcher] if terms.launcher != LAUNCHER else []),
            *(['--per-job'] if terms.per_job else []),
        ]

    def results(self) -> list[Result]:
        """What became of the jobs so far, also of those that ran before a crash."""
        return [
            self._result(row)
            for row in self._ledger.rows(self.session)
            if row.outcome and not row.implied
        ]

    def _result(self, row: Row) -> Result:
        return Result(
            self._jobs.get(row.hash) or catalogue.absent(row.job),
            row.outcome or '',
            row.reason or '',
            row.seconds or 0.0,
            row.code or '',
            self._ended(row, _SHOWN),
            row.comment or '',
        )

    def _ended(self, row: Row, last: int | None = None) -> Ended | None:
        """How a job's process ended, if it had one, and the end of what it printed."""
        status = row.exit_status if row.signal is None else -row.signal
        if status is None:
            return None
        out, err = (self._ledger.output(row, name, last) for name in _STREAMS)
        return Ended(status, out, err)


@contextmanager
def looked_at(found: Catalogue) -> Iterator[Run]:
    """What there is, for who only wants to know; nothing is written down."""
    tree.own_descendants()
    with TemporaryDirectory(prefix='plainbox-session-') as share, ExitStack() as ends:
        yield Run(found, Runner(found, Terms(), share, ends), Terms())


@contextmanager
def opened(ledger: Ledger, session: Session, absent: str = '') -> Iterator[Course]:
    """Work on a session, and let nobody else. Raises Refused.

    `absent` says why no person can be asked for anything; '' if one can.
    """
    tree.own_descendants()  # so that a job ends with all that it started
    request = asked(session)
    with ledger.lock(session), ExitStack() as ends:
        found = catalogue.read(request.providers)
        book = Book(ledger, session, request.most)
        runner = Runner(found, request.terms, book.share, ends)
        if not request.interactive:
            absent = _('--non-interactive was given')
        run = Run(found, runner, request.terms, book, absent)
        yield Course(ledger, session, run, book)


def create(ledger: Ledger, request: Request) -> Session:
    """A new session, of which nothing is known but what was asked for."""
    values = request._asdict()
    values['selection'] = request.selection._asdict()
    values['terms'] = request.terms._asdict()
    if isinf(request.terms.timeout):  # which JSON does not know
        values['terms']['timeout'] = None
    return ledger.create(values)


def asked(session: Session) -> Request:
    """What was asked for, from what the ledger has of it."""
    values = _tuples(session.request)
    if values['terms']['timeout'] is None:
        values['terms']['timeout'] = inf
    values['terms'] = Terms(**values['terms'])
    values['selection'] = Selection(**values['selection'])
    return Request(**values)


def again(ledger: Ledger, session: Session, *, failed: bool) -> Request:
    """What to ask for to run a session again, or what of it did not pass.

    Raises Refused if there is nothing of it.
    """
    request = asked(session)
    if not failed:
        return request
    ids = tuple(
        row.job
        for row in ledger.rows(session)
        if row.outcome not in (PASSED, SKIPPED) and not row.implied
    )
    if not ids:
        fact = _('session {id} has no job to run again').format(id=session.id)
        raise refusal('PBL-NO-MATCH', fact)
    return request._replace(only=ids)


def waiting(ledger: Ledger) -> list[Session]:
    """What a worker is to take up, in the order of creation.

    That is what was submitted, and what a job cut off that restarted the machine.
    """
    return [
        session
        for session in ledger.sessions()
        if not session.completed_at
        and (session.queued or _restarted(ledger.rows(session)))
        and not ledger.is_locked(session)
    ]


def unfinished(ledger: Ledger) -> list[Session]:
    """What was begun, is not over, and nobody works on. Raises Refused if nothing."""
    found = [
        session
        for session in ledger.sessions()
        if not session.completed_at and not ledger.is_locked(session)
    ]
    if not found:
        raise refusal('PBL-NO-SESSION', _('there is no session to resume'))
    return found


def _restarted(rows: Sequence[Row]) -> bool:
    return any(row.status == REBOOTING and row.boot_id != boot_id() for row in rows)


def _changed(row: Row) -> Result:
    fact = _('{job} is not there any more, or is not what was planned')
    refused = refusal('PBL-CHANGED', fact.format(job=row.job))
    job = catalogue.absent(row.job)
    return Result(job, DENIED, told(refused), code=refused.code, started=time.time())


def _tuples(value: Any) -> Any:  # noqa: ANN401  # whatever JSON has
    """JSON knows no tuples."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, Mapping):
        return {name: _tuples(each) for name, each in value.items()}
    return value
