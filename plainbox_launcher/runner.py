# SPDX-License-Identifier: ISC
"""Running jobs: one's own directly, others' through pkexec."""

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from gettext import gettext as _
from gettext import ngettext
from math import inf
from typing import Final, NamedTuple

from . import elevate, plan
from .catalogue import INTERACTIVE, Catalogue, Job
from .channel import Channel, TooOld
from .process import Ended, follow
from .refusals import refusal, told
from .trusted import environ, execute, expression, generate, rfc822, start, tree
from .trusted.errors import Fault, Refused

PASSED: Final = 'passed'
FAILED: Final = 'failed'
SKIPPED: Final = 'skipped'
DENIED: Final = 'denied'
TIMEOUT: Final = 'timeout'
CANCELLED: Final = 'cancelled'
LOST: Final = 'lost'

_LOCALE: Final = ('LANGUAGE', 'LC_')


class Result(NamedTuple):
    """What became of a job. `detail` says why, in a few words, for people.

    `code` is that of the refusal, if it was one; `ended` how its process ended, if
    it had one; `created` and `started` are seconds since the epoch.
    """

    job: Job
    outcome: str
    detail: str = ''
    seconds: float = 0.0
    code: str = ''
    ended: Ended | None = None
    created: float = 0.0
    started: float = 0.0


class Terms(NamedTuple):
    """How jobs are run. `job_timeout` in seconds, None for the estimate of each;

    `timeout` in seconds for them all; `per_job` asks pkexec for each job of root's.
    """

    launcher: str = elevate.LAUNCHER
    per_job: bool = False
    timeout: float = inf
    job_timeout: float | None = None


class Run:
    """What one run knows: where things lie, and what resource jobs printed."""

    def __init__(
        self, catalogue: Catalogue, terms: Terms, share: str, ends: ExitStack
    ) -> None:
        self.catalogue = catalogue
        self.launcher = terms.launcher
        self.share = share
        self.created = time.time()
        self.view: tuple[str, ...] = ()
        self.over = False  # whether its time ended before its jobs did
        self._terms = terms
        self._deadline = time.monotonic() + terms.timeout
        self._ends = ends
        self._channel: Channel | None = None
        self.jobs = {job.id: job for job in catalogue.jobs}
        self.outcomes: dict[str, str] = {}
        self._records: dict[str, expression.Records | Fault | Refused] = {}
        self._made: dict[str, list[Job]] = {}

    def open(self, jobs: Iterable[Job]) -> None:
        """Have consent asked for now, if any of the jobs needs root.

        Raises Refused if it is not given.
        """
        requests = {request for job in jobs for request in self._announced(job)}
        if not requests:
            return
        self._ends.callback(_forget)
        elevate.prerequisites(self.launcher)
        try:
            self._ask(requests)
        except Refused as refused:
            if refused.code != 'PBL-NO-AGENT' or not elevate.can_ask():
                raise
            # For the whole run: what polkit keeps, it keeps for five minutes.
            self._ends.enter_context(elevate.text_agent())
            self._ask(requests)

    def _ask(self, requests: set[str]) -> None:
        if not self._terms.per_job:
            with suppress(TooOld):
                self._channel = Channel(self.launcher, requests)
                self._ends.callback(self._channel.close)
                self.view = self._channel.view
                return
        self.view = start.view()  # of which root's is the same
        command = elevate.warm_up_command(self.launcher)
        ended = follow(command, elevate.environment(), '/', live=False, own=False)
        if ended.status:
            stderr = ended.stderr.decode('utf-8', 'replace')
            raise elevate.reason(ended.code, stderr)

    def _announced(self, job: Job) -> set[str]:
        """What root may be asked for on behalf of a job, as the channel wants it.

        What a local job prints is known only once it may be run; until then, to
        announce the local job announces all of it.
        """
        asked = [job, *(self.jobs[id_] for id_ in self._resources_of(job))]
        requests = {
            ':'.join(elevate.request(each))
            for each in asked
            if each.user and each.installed
        }
        if job.unit.plugin == 'local':
            if requests:
                requests.add(f'{job.unit.checksum}:')
            else:
                made = self.expand(job)
                requests.update(*(self._announced(m) for m in made if m is not job))
        return requests

    def perform(self, job: Job) -> Result:
        """Run a job, unless something speaks against it."""
        started, begun = time.time(), time.monotonic()
        try:
            result = self._obstacle(job) or self._outcome(job)
        except Refused as refused:
            outcome = self._outcome_of(refused.code)
            result = Result(job, outcome, told(refused), code=refused.code)
        except Fault as fault:
            result = Result(job, FAILED, str(fault))
        self.outcomes[job.id] = result.outcome
        seconds = time.monotonic() - begun
        return result._replace(seconds=seconds, created=self.created, started=started)

    def _outcome_of(self, code: str) -> str:
        """What became of a job that was refused: it may have been its own fault.

        Lost is the one that ran when the launcher went; the others do not begin.
        """
        if code == 'PBL-LOST' and LOST not in self.outcomes.values():
            return LOST
        return FAILED if code.startswith('PBL-GENERATOR') else DENIED

    def asks_root(self, job: Job) -> bool:
        """Whether root is needed for a job itself, or for what it requires."""
        asked = [job, *(self.jobs[id_] for id_ in self._resources_of(job))]
        return any(each.user and each.installed for each in asked)

    def expand(self, job: Job) -> list[Job]:
        """The jobs that a local job prints; any other job as it is.

        So is a local job that cannot be run: to perform it shows why.
        """
        if job.unit.plugin != 'local':
            return [job]
        if job.id not in self._made:
            try:
                made = [] if self._unmet_of(job) else self._generate(job)
            except (Fault, Refused):
                made = []
            self._made[job.id] = made or [job]
        return self._made[job.id]

    def _generate(self, local: Job) -> list[Job]:
        ended = self._execute(local, live=False)
        if ended.status:
            fact = _('the local job {failure}')
            raise Refused('PBL-GENERATOR-FAILED', fact.format(failure=_failure(ended)))
        units = generate.read(ended.stdout, local.unit)
        return [
            Job(unit, local.installed, local.unit)
            for unit in units
            if unit.kind == 'job' and unit.plugin != 'local'
        ]

    def _resources_of(self, job: Job) -> set[str]:
        """The resource jobs, as far as there are, that `requires` asks about."""
        ids: set[str] = set()
        for line in plan.requirements(job.unit):
            with suppress(expression.ExpressionError):
                names = expression.resources(expression.parse(line))
                ids |= set(plan.resource_ids(job.unit, names).values())
        return ids & self.jobs.keys()

    def _obstacle(self, job: Job) -> Result | None:
        """Why a job is not to be run; None if nothing speaks against it."""
        for id_ in plan.dependencies(job.unit):
            if self.outcomes.get(id_) != PASSED:
                reason = _('needs {job} to pass').format(job=id_)
                return Result(job, SKIPPED, reason)
        if reason := self._unmet_of(job):
            return Result(job, SKIPPED, reason)
        if job.unit.plugin in INTERACTIVE:
            return Result(job, SKIPPED, _('a person has to do it'))
        if time.monotonic() > self._deadline:
            self.over = True
            return Result(job, SKIPPED, _('the time for this run is over'))
        return None

    def _unmet_of(self, job: Job) -> str:
        """The first requirement of a job that does not hold; '' if all do."""
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
        except expression.ExpressionError as error:
            reason = _('requires is malformed, {error}: {line} ({where})')
            return reason.format(error=error, line=line, where=job.unit.where)
        except (Fault, Refused) as error:
            reason = _('requires {line}, but {error}')
            return reason.format(line=line, error=told(error))

    def _resource(self, id_: str) -> expression.Records:
        """The records that a resource job prints, which runs but once."""
        if id_ not in self._records:
            try:
                self._records[id_] = self._evaluate(id_)
            except (Fault, Refused) as failure:  # nor does it fail but once
                self._records[id_] = failure
        found = self._records[id_]
        if isinstance(found, Exception):
            raise found
        return found

    def _evaluate(self, id_: str) -> expression.Records:
        job = self.jobs.get(id_)
        if job is None or job.unit.plugin != 'resource':
            raise Fault(id_, _('no such resource job'))
        ended = self._execute(job, live=False)
        if ended.status:
            raise Fault(id_, _failure(ended))
        records = rfc822.parse(ended.stdout, f'output of {id_}')
        return [record.fields for record in records]

    def _outcome(self, job: Job) -> Result:
        if job.unit.plugin == 'local':
            number = len(self._generate(job))
            text = ngettext('prints {number} job', 'prints {number} jobs', number)
            return Result(job, PASSED, text.format(number=number))
        if job.unit.plugin == 'resource':  # for programs: hundreds of lines
            number = len(self._resource(job.id))
            text = ngettext('prints {number} record', 'prints {number} records', number)
            return Result(job, PASSED, text.format(number=number))
        ended = self._execute(job, live=True)
        outcome, reason = _judged(ended)
        return Result(job, outcome, reason, ended=ended)

    def _execute(self, job: Job, *, live: bool) -> Ended:
        """Run as whom the job says. Raises Refused if root may not."""
        seconds = plan.time_limit(job.unit, self._terms.job_timeout)
        seconds = min(seconds, max(self._deadline - time.monotonic(), 1))
        try:
            ended = self._run(job, seconds, live=live)
        except execute.Exceeded as error:
            raise Refused('PBL-GENERATOR-LIMIT', f'{job.id} {error}') from None
        if ended.cause == 'cancel' and not live:  # it was not the job that was meant
            raise KeyboardInterrupt
        return ended

    def _run(self, job: Job, seconds: float, *, live: bool) -> Ended:
        limits = None if live else generate.LIMITS
        if not job.user:
            return self._as_ourselves(job, seconds, limits, live=live)
        if not job.installed:
            fact = _('{job} is not installed').format(job=job.id)
            raise refusal('PBL-NOT-INSTALLED', fact)
        variables = os.environ | {environ.SHARE[0]: self.share}
        if self._channel:
            return self._channel.perform(
                elevate.request(job),
                elevate.assignments(job, variables),
                live=live,
                seconds=seconds,
                limits=limits,
            )
        command = elevate.job_command(job, self.launcher, variables)
        ended = follow(command, elevate.environment(), '/', live=live, own=False)
        stderr = ended.stderr.decode('utf-8', 'replace')
        refused = elevate.understand(ended.code, bool(ended.stdout), stderr)
        if refused:
            raise refused
        return ended

    def _as_ourselves(
        self, job: Job, seconds: float, limits: execute.Limits | None, *, live: bool
    ) -> Ended:
        values = self._environment(job)
        command = execute.command(job.unit, values)
        with tempfile.TemporaryDirectory(prefix='plainbox-') as directory:
            words = [command.program, *command.argv[1:]]
            return follow(
                words, values, directory, live=live, seconds=seconds, limits=limits
            )

    def _environment(self, job: Job) -> dict[str, str]:
        """A job of our own runs in our session; a resource or local job does not:

        what these print must not hang on who runs them, and from where. A local
        job does not even see the session's directory, as root's does not.
        """
        composed = environ.compose(
            job.unit,
            pwd.getpwuid(os.getuid()),
            self.catalogue.directories(job.unit),
            os.environ,
            share='' if job.unit.plugin == 'local' else self.share,
            screen={n: os.environ[n] for n in environ.SCREEN if n in os.environ},
            own=True,
        ).values
        if job.unit.plugin in ('local', 'resource'):
            return composed
        ours = {n: v for n, v in os.environ.items() if not n.startswith(_LOCALE)}
        return ours | composed


def _forget() -> None:
    """Have polkit forget a consent that it kept, as far as it lets us."""
    from . import polkit  # slow to load, and many runs do not need it

    with suppress(Refused):
        polkit.revoke()


def _judged(ended: Ended) -> tuple[str, str]:
    """The outcome of a job, and in a few words why."""
    if ended.cause == 'timeout':
        return TIMEOUT, _('it took more than its time')
    if ended.cause == 'cancel':
        return CANCELLED, ''
    if ended.status == 0:
        return PASSED, ''
    if ended.status < 0:
        return FAILED, _('ended by signal {number}').format(number=-ended.status)
    return FAILED, _('exit status {number}').format(number=ended.status)


def _failure(ended: Ended) -> str:
    last = _last(ended.stderr.decode('utf-8', 'replace'))
    text = _('ended with {status}').format(status=ended.code)
    return text + (f': {last}' if last else '')


def _last(text: str) -> str:
    """The last line of a text, as far as there is one."""
    return next(reversed(text.strip().splitlines()), '')


@contextmanager
def session(catalogue: Catalogue, terms: Terms = Terms()) -> Iterator[Run]:  # noqa: B008  # immutable
    """A run with a share directory, which is removed afterwards."""
    tree.own_descendants()  # so that a job ends with all that it started
    share = tempfile.mkdtemp(prefix='plainbox-session-')
    try:
        with ExitStack() as ends:
            yield Run(catalogue, terms, share, ends)
    finally:
        # What root's jobs left in there is not ours to remove.
        shutil.rmtree(share, ignore_errors=True)
