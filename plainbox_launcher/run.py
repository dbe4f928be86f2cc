# SPDX-License-Identifier: ISC
"""One run: which jobs there are once others were asked, and what becomes of each."""

import time
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from gettext import gettext as _
from gettext import ngettext
from math import inf
from typing import Final

from . import catalogue, elevate, plan
from .book import Book
from .catalogue import INTERACTIVE, Catalogue, Job
from .process import NOWHERE, Ended, HungUp, Outlet
from .refusals import refusal, told
from .result import (
    CANCELLED,
    DENIED,
    FAILED,
    LOST,
    PASSED,
    SKIPPED,
    ByHand,
    Result,
    judged,
)
from .runner import Runner, Terms
from .store import Kept
from .trusted import expression, generate, rfc822, template
from .trusted.errors import Fault, Refused
from .trusted.execute import Limits
from .trusted.expression import ExpressionError, Records

_REBOOT: Final = 300  # seconds for a machine to go down
_WORD: Final = 5  # seconds until we are told to stop, where that ended a job already
_TICK: Final = 0.5

# Refusals of jobs that had begun.
_CUT_OFF: Final = ('PBL-LOST', 'PBL-SESSION-LOST')

# Refusals that are the job's own fault, not that of who would run it.
_FAULTS: Final = ('PBL-GENERATOR', 'PBL-RESOURCE', 'PBL-EXPRESSION', 'PBL-DURATION')


class Run:
    """What one run knows: what resource jobs printed, and what became of jobs.

    `book` is where it writes down what it does; without one it is not written down.
    `by_hand` has a person do a job, `absent` says why there is nobody.
    """

    by_hand: ByHand | None = None

    def __init__(
        self,
        found: Catalogue,
        runner: Runner,
        terms: Terms,
        book: Book | None = None,
        absent: str = '',
    ) -> None:
        self.catalogue = found
        self.runner = runner
        self.book = book
        self.absent = absent
        self.jobs = {job.id: job for job in found.jobs}
        self.outcomes: dict[str, str] = {}
        self.warnings: list[str] = []
        self.over = False  # whether its time ended before its jobs did
        self._terms = terms
        self._deadline = time.monotonic() + terms.timeout
        self._performed = ''  # the id of the job that runs for its own sake
        self._gone = False  # whether there was a launcher, and is no more
        self._printed: dict[str, Ended] = {}
        self._records: dict[str, Records | Fault | Refused] = {}
        self._made: dict[str, list[Job]] = {}

    # Which jobs there are

    def generators(self) -> list[Job]:
        """The local jobs and templates that there are."""
        everything = (*self.catalogue.jobs, *self.catalogue.templates)
        return [job for job in everything if job.generates]

    def everything(self) -> list[Job]:
        """All that can be known without anybody's consent."""
        return self.known([job for job in self.generators() if not self.asks_root(job)])

    def known(self, made_by: Collection[Job] = ()) -> list[Job]:
        """All jobs, also those that are `made_by` others, in their order.

        Generators whose jobs are not known yet stand for what they will make.
        """
        asked = {job.unit.checksum for job in made_by}
        found: dict[tuple[str, str], Job] = {}
        for job in (*self.catalogue.jobs, *self.catalogue.templates):
            made = self.expand(job) if job.unit.checksum in asked else [job]
            if job.unit.plugin == 'local':  # it may be asked for itself
                made = [job, *made]
            for each in made:
                found.setdefault((each.id, each.unit.checksum), each)
        return list(found.values())

    def open(self, jobs: Collection[Job]) -> None:
        """Have consent asked for now, if any of the jobs needs root.

        Raises Refused if it is not given.
        """
        requests = {request for job in jobs for request in self._announced(job)}
        if requests and any(job.generates and self.asks_root(job) for job in jobs):
            # What its jobs will require is not known yet.
            resources = (j for j in self.jobs.values() if j.unit.plugin == 'resource')
            requests |= {r for j in resources for r in self._requests([j])}
        if requests:
            self.runner.open(requests)

    def _announced(self, job: Job) -> set[str]:
        """What root may be asked for on behalf of a job, as the channel wants it.

        What a local job or a template makes is known only once it may be run; until
        then, to announce what prints it announces all of it.
        """
        requests = self._requests(self._needed(job))
        if self._runs_command(job):
            requests |= self._requests([job])
        source = self._source(job)
        if source and not self.asks_root(job):
            made = self.expand(job)
            requests.update(
                *(self._announced(m) for m in made if m.unit is not job.unit)
            )
        elif source:
            requests.add(f':{source.unit.checksum}')
        return requests

    def _runs_command(self, job: Job) -> bool:
        """Whether it has any use to be allowed what a job wants to be run as."""
        if job.unit.plugin not in INTERACTIVE:
            return True
        return not self.absent and job.unit.plugin != 'manual'

    def _requests(self, jobs: Iterable[Job]) -> set[str]:
        return {
            ':'.join(elevate.request(job))
            for job in jobs
            if job.user and job.installed and job.unit.kind == 'job'
        }

    def _source(self, job: Job) -> Job | None:
        """The job that prints what a local job or a template makes."""
        if job.unit.plugin == 'local':
            return job
        return self.jobs.get(template.resource(job.unit)) if job.generates else None

    def source_hash(self, job: Job) -> str:
        """The hash by which jobs that a local job or a template makes know it."""
        source = self._source(job)
        return source.unit.checksum if source else ''

    def asks_root(self, job: Job) -> bool:
        """Whether root is needed for a job, or for what it requires.

        Of a template only what it is made from counts.
        """
        asked = [*self._needed(job), *([job] if job.unit.kind == 'job' else [])]
        return any(each.user and each.installed for each in asked)

    def _needed(self, job: Job) -> list[Job]:
        """The resource jobs, as far as there are, that are asked about a job."""
        ids = {template.resource(job.unit)} if job.unit.kind == 'template' else set()
        for line in plan.requirements(job.unit):
            with suppress(ExpressionError):
                names = expression.resources(expression.parse(line))
                ids |= set(plan.resource_ids(job.unit, names).values())
        return [self.jobs[id_] for id_ in sorted(ids & self.jobs.keys())]

    def expand(self, job: Job) -> list[Job]:
        """The jobs that a local job or a template makes; any other job as it is.

        So is one that makes none: to perform it shows why.
        """
        if not job.generates:
            return [job]
        key = job.unit.checksum
        if key not in self._made:
            try:
                made = self._make(job)
            except (Fault, Refused):
                made = []
            fruitless = job.unit.kind == 'template'
            self._made[key] = made or [job._replace(fruitless=fruitless)]
        return self._made[key]

    def _make(self, job: Job) -> list[Job]:
        if job.unit.kind == 'template':
            return self._instances(job)
        return [] if self._unmet_of(job) else self._generated(job)

    def _instances(self, job: Job) -> list[Job]:
        id_ = template.resource(job.unit)
        records = self._resource(id_)
        made, faults = catalogue.instances(job, self.jobs[id_], records)
        if faults and not made:
            raise faults[0]
        self.warnings += map(str, faults)
        return made

    def _generated(self, local: Job) -> list[Job]:
        ended = self._printed_by(local)
        if ended.status:
            fact = _('the local job {failure}')
            raise Refused('PBL-GENERATOR-FAILED', fact.format(failure=_failure(ended)))
        units = generate.read(ended.stdout, local.unit)
        return [
            Job(unit, local.installed, local.unit)
            for unit in units
            if unit.kind == 'job' and unit.plugin != 'local'
        ]

    # What becomes of them

    def perform(self, job: Job, outlet: Outlet) -> Result:
        """Run a job, unless something speaks against it, and write down the result."""
        started, begun = time.time(), time.monotonic()
        self._performed = job.id
        try:
            result = self._obstacle(job) or self._outcome(job, outlet)
        except Refused as refused:
            outcome = self._outcome_of(refused.code)
            result = Result(job, outcome, told(refused), code=refused.code)
        except Fault as fault:
            result = Result(job, FAILED, str(fault))
        finally:
            self._performed = ''
        seconds = time.monotonic() - begun
        ended = result.ended or self._printed.get(job.id)
        result = result._replace(seconds=seconds, started=started, ended=ended)
        if 'noreturn' in job.unit.flags:
            result = _stayed(result, outlet)
        self.note(result)
        return result

    def note(self, result: Result) -> None:
        """Remember what became of a job, and write it down."""
        self.outcomes[result.job.id] = result.outcome
        if self.book:
            self.book.end(result)

    def _outcome_of(self, code: str) -> str:
        """What became of a job that was refused: it may have been its own fault.

        Lost is the one that ran when the launcher went; the others do not begin.
        """
        if code == 'PBL-LOST' and not self._gone:
            self._gone = True
            return LOST
        return FAILED if code.startswith(_FAULTS) else DENIED

    def _obstacle(self, job: Job) -> Result | None:
        """Why a job is not to be run; None if nothing speaks against it."""
        for id_ in plan.dependencies(job.unit):
            if self.outcomes.get(id_) != PASSED:
                reason = _('needs {job} to pass').format(job=id_)
                return Result(job, SKIPPED, reason)
        if reason := self._unmet_of(job):
            fails = 'fail-on-resource' in job.unit.flags
            return Result(job, FAILED if fails else SKIPPED, reason)
        if job.unit.plugin in INTERACTIVE and (self.absent or not self.by_hand):
            reason = _('a person has to do it, but {reason}')
            return Result(job, SKIPPED, reason.format(reason=self.absent))
        if time.monotonic() > self._deadline:
            self.over = True
            reason = _('the time for this run is over')
            return Result(job, SKIPPED, reason, code='PBL-RUN-TIMEOUT')
        return None

    def _unmet_of(self, job: Job) -> str:
        """The first requirement of a job that does not hold; '' if all do."""
        if job.unit.kind == 'template':  # with placeholders still
            return ''
        reasons = (self._unmet(job, line) for line in plan.requirements(job.unit))
        return next(filter(None, reasons), '')

    def _unmet(self, job: Job, line: str) -> str:
        """Why a requirement does not hold; '' if it does."""
        try:
            parsed = expression.parse(line)
            names = plan.resource_ids(job.unit, expression.resources(parsed))
            records = {name: self._resource(id_) for name, id_ in names.items()}
            if expression.holds(parsed, records):
                return ''
            return _('requires {line}').format(line=line)
        except ExpressionError as error:
            fact = _('{where}: requires: {error}: {line}')
            fact = fact.format(where=job.unit.where, error=_(str(error)), line=line)
            raise refusal('PBL-EXPRESSION', fact) from None
        except (Fault, Refused) as error:
            reason = _('requires {line}, but {error}')
            return reason.format(line=line, error=told(error))

    def _resource(self, id_: str) -> Records:
        """The records that a resource job prints, which runs but once."""
        if id_ not in self._records:
            try:
                self._records[id_] = self._evaluated(id_)
            except (Fault, Refused) as failure:  # nor does it fail but once
                self._records[id_] = failure
        found = self._records[id_]
        if isinstance(found, Exception):
            raise found
        return found

    def _evaluated(self, id_: str) -> Records:
        job = self.jobs.get(id_)
        if job is None or job.unit.plugin != 'resource':
            raise Fault(id_, _('no such resource job'))
        ended = self._printed_by(job)
        if ended.status:
            raise Fault(id_, _failure(ended))
        try:
            records = rfc822.parse(ended.stdout, f'output of {id_}')
        except Fault as fault:
            raise refusal('PBL-RESOURCE', str(fault)) from None
        return [record.fields for record in records]

    def ask(self, job: Job) -> str:
        """Run a resource job for its records; returns what there is to say of them."""
        try:
            number = len(self._resource(job.id))
        except (Fault, Refused) as error:
            return told(error)
        text = ngettext(
            'resource {job}: {number} record',
            'resource {job}: {number} records',
            number,
        )
        return text.format(job=job.id, number=number)

    def has_printed(self, job: Job) -> bool:
        """Whether a resource or local job has run already."""
        return job.id in self._printed

    def time_limit(self, job: Job) -> float:
        """The seconds after which a job is ended; infinite if its field is no time."""
        try:
            return plan.time_limit(job.unit, self._terms.job_timeout)
        except (Fault, Refused):  # which performing it will say
            return inf

    def remember(self, id_: str, ended: Ended) -> None:
        """A resource or local job of this run ended so, before a crash."""
        self._printed[id_] = ended

    def _printed_by(self, job: Job) -> Ended:
        """What a resource or local job printed, which is asked but once."""
        if job.id not in self._printed:
            self._printed[job.id] = self._execute(job, NOWHERE, generate.LIMITS)
        elif self.book and job.id == self._performed:
            with self._entry(self.book, job) as (out, err):
                out.write(self._printed[job.id].stdout)
                err.write(self._printed[job.id].stderr)
        return self._printed[job.id]

    def _outcome(self, job: Job, outlet: Outlet) -> Result:
        if job.unit.kind == 'template':
            return self._fruitless(job)
        if job.unit.plugin == 'local':
            number = len(self._generated(job))
            text = ngettext('prints {number} job', 'prints {number} jobs', number)
            return Result(job, PASSED, text.format(number=number))
        if job.unit.plugin == 'resource':  # for programs: hundreds of lines
            number = len(self._resource(job.id))
            text = ngettext('prints {number} record', 'prints {number} records', number)
            return Result(job, PASSED, text.format(number=number))
        if job.unit.plugin in INTERACTIVE and self.by_hand:
            return self._done_by(self.by_hand, job, outlet)
        if job.unit.plugin == 'attachment':  # for a report, not for the terminal
            outlet = outlet._replace(stdout=lambda _: None)
        ended = self._execute(job, outlet, None)
        outcome, reason = judged(ended)
        return Result(job, outcome, reason, ended=ended)

    def _done_by(self, by_hand: ByHand, job: Job, outlet: Outlet) -> Result:
        said = by_hand(job, lambda: self._execute(job, outlet, None))
        outcome, reason = said.outcome, ''
        if said.ended and not outcome:
            outcome, reason = judged(said.ended)
        elif outcome != PASSED and not said.comment:
            reason = _('a person says so')
        detail = reason or said.comment
        return Result(job, outcome, detail, ended=said.ended, comment=said.comment)

    def _fruitless(self, job: Job) -> Result:
        """A template of which no job was made, and why. Raises Fault if malformed."""
        engine = job.unit.fields.get('template-engine', 'default')
        if engine != 'default':
            reason = _('its template-engine is {engine}, which is not known here')
            return Result(job, SKIPPED, reason.format(engine=engine))
        id_ = template.resource(job.unit)
        try:
            self._resource(id_)
        except (Fault, Refused) as error:
            return Result(job, SKIPPED, told(error))
        self._instances(job)
        reason = _('no record of {resource} fits this template')
        return Result(job, SKIPPED, reason.format(resource=id_))

    def _execute(self, job: Job, outlet: Outlet, limits: Limits | None) -> Ended:
        """Run a job's command, and keep what it prints. Raises Refused."""
        seconds = plan.time_limit(job.unit, self._terms.job_timeout)
        seconds = min(seconds, max(self._deadline - time.monotonic(), 1))
        started, result = time.time(), Result(job, CANCELLED)
        try:
            with self._entry(self.book, job) if self.book else nullcontext() as kept:
                outlet = _kept(outlet, kept) if kept else outlet
                ended = self.runner.run(job, outlet, seconds, limits)
            if limits and ended.cause in ('cancel', 'hangup'):
                raise KeyboardInterrupt  # it was not the job that was meant
            result = Result(job, *judged(ended), ended=ended)
        except Refused as refused:
            result = Result(job, DENIED, told(refused), code=refused.code)
            raise
        finally:
            # Who runs for the sake of another has nobody else who notes it.
            if self.book and job.id != self._performed:
                self.book.end(result._replace(started=started))
        return ended

    def _entry(self, book: Book, job: Job) -> AbstractContextManager[tuple[Kept, Kept]]:
        view = self.runner.view_of(job)
        return book.entry(job, view, implied=job.id != self._performed)


def _kept(outlet: Outlet, kept: tuple[Kept, Kept]) -> Outlet:
    """An outlet that also keeps what comes, and passes on no more than that."""
    out, err = kept
    return Outlet(
        lambda data: outlet.stdout(out.write(data)),
        lambda data: outlet.stderr(err.write(data)),
        outlet.tick,
    )


def _stayed(result: Result, outlet: Outlet) -> Result:
    """What becomes of a job that was to restart the machine, if we outlive that.

    Whoever stops us meanwhile leaves its row as it is, for the next boot to judge. What
    goes down tells all of us at once, and job or launcher may be the first to end.
    """
    ended = result.ended
    if ended and ended.cause == 'hangup':
        raise HungUp
    if result.outcome == CANCELLED or not (ended or result.code in _CUT_OFF):
        return result
    killed = not ended or ended.status < 0
    seconds = _REBOOT if killed or result.outcome == PASSED else _WORD
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        outlet.tick()
        time.sleep(_TICK)
    if result.outcome != PASSED:
        return result
    reason = _('the machine did not restart within {number} s')
    reason = reason.format(number=_REBOOT)
    return result._replace(outcome=FAILED, detail=reason)


def _failure(ended: Ended) -> str:
    last = _last(ended.stderr.decode('utf-8', 'replace'))
    text = _('ended with {status}').format(status=ended.code)
    return text + (f': {last}' if last else '')


def _last(text: str) -> str:
    """The last line of a text, as far as there is one."""
    return next(reversed(text.strip().splitlines()), '')
