# SPDX-License-Identifier: ISC
"""Running jobs: one's own directly, root's through pkexec."""

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, NamedTuple

from . import elevate, expression, plan
from .catalogue import INTERACTIVE, Catalogue, Job
from .process import Ended, follow
from .trusted import environ, execute, generate, rfc822
from .trusted.errors import Fault, Refused

PASSED: Final = 'passed'
FAILED: Final = 'failed'
SKIPPED: Final = 'skipped'
DENIED: Final = 'denied'

_LOCALE: Final = ('LANGUAGE', 'LC_')


class Result(NamedTuple):
    """What became of a job. `detail` says why, in a few words."""

    job: Job
    outcome: str
    detail: str = ''
    seconds: float = 0.0


class Run:
    """What one run knows: where things lie, and what resource jobs printed."""

    def __init__(
        self, catalogue: Catalogue, launcher: str, share: str, agents: ExitStack
    ) -> None:
        self.catalogue = catalogue
        self.launcher = launcher
        self.share = share
        self._agents = agents
        self.jobs = {job.id: job for job in catalogue.jobs}
        self.outcomes: dict[str, str] = {}
        self._records: dict[str, expression.Records | Fault | Refused] = {}
        self._made: dict[str, list[Job]] = {}

    def warm_up(self) -> None:
        """Have the password asked for now. Raises Refused if it is not given."""
        elevate.prerequisites(self.launcher)
        try:
            self._ask()
        except Refused as refused:
            if refused.code != 'PBL-NO-AGENT' or not elevate.can_ask():
                raise
            # For the whole run: what polkit keeps, it keeps for five minutes.
            self._agents.enter_context(elevate.text_agent())
            self._ask()

    def _ask(self) -> None:
        command = elevate.warm_up_command(self.launcher)
        ended = follow(command, elevate.environment(), '/', live=False)
        if ended.status:
            stderr = ended.stderr.decode('utf-8', 'replace').strip()
            raise elevate.understand(
                ended.status, bool(ended.stdout), stderr
            ) or elevate.refusal(
                'PBL-PKEXEC', f'pkexec ended with {ended.status}: {stderr}'
            )

    def perform(self, job: Job) -> Result:
        """Run a job, unless something speaks against it."""
        started = time.monotonic()
        try:
            result = self._obstacle(job) or self._outcome(job)
        except Refused as refused:
            ours = refused.code.startswith('PBL-GENERATOR')
            result = Result(job, FAILED if ours else DENIED, str(refused))
        except Fault as fault:
            result = Result(job, FAILED, str(fault))
        self.outcomes[job.id] = result.outcome
        return result._replace(seconds=time.monotonic() - started)

    def needs_root(self, job: Job) -> bool:
        """Whether root is needed for a job, or for one that it prints."""
        return self.asks_root(job) or any(map(self.asks_root, self.expand(job)))

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
            except Refused:
                made = []
            self._made[job.id] = made or [job]
        return self._made[job.id]

    def _generate(self, local: Job) -> list[Job]:
        ended = self._execute(local, live=False)
        if ended.status:
            fact = f'the local job {_failure(ended)}'
            raise Refused('PBL-GENERATOR-FAILED', fact)
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
                return Result(job, SKIPPED, f'needs {id_} to pass')
        if reason := self._unmet_of(job):
            return Result(job, SKIPPED, reason)
        if job.unit.plugin in INTERACTIVE:
            return Result(job, SKIPPED, 'a person has to do it')
        return None

    def _unmet_of(self, job: Job) -> str:
        """The first requirement of a job that does not hold; '' if all do."""
        reasons = (self._unmet(job, line) for line in plan.requirements(job.unit))
        return next(filter(None, reasons), '')

    def _unmet(self, job: Job, line: str) -> str:
        """Why a requirement does not hold; '' if it does."""
        try:
            tree = expression.parse(line)
            names = plan.resource_ids(job.unit, expression.resources(tree))
            records = {name: self._resource(id_) for name, id_ in names.items()}
            return '' if expression.holds(tree, records) else f'requires {line}'
        except expression.ExpressionError as error:
            return f'requires is malformed, {error}: {line} ({job.unit.where})'
        except (Fault, Refused) as error:
            return f'requires {line}, but {error}'

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
            raise Fault(id_, 'no such resource job')
        ended = self._execute(job, live=False)
        if ended.status:
            raise Fault(id_, _failure(ended))
        records = rfc822.parse(ended.stdout, f'output of {id_}')
        return [record.fields for record in records]

    def _outcome(self, job: Job) -> Result:
        if job.unit.plugin == 'local':
            return Result(job, PASSED, _count(len(self._generate(job)), 'job'))
        if job.unit.plugin == 'resource':  # for programs: hundreds of lines
            return Result(job, PASSED, _count(len(self._resource(job.id)), 'record'))
        ended = self._execute(job, live=True)
        if ended.status == 0:
            return Result(job, PASSED)
        if ended.status > 128:
            return Result(job, FAILED, f'ended by signal {ended.status - 128}')
        return Result(job, FAILED, f'exit status {ended.status}')

    def _execute(self, job: Job, *, live: bool) -> Ended:
        """Run as whom the job says. Raises Refused if root may not."""
        if not job.user:
            return self._as_ourselves(job, live=live)
        if not job.installed:
            raise elevate.refusal('PBL-NOT-INSTALLED', f'{job.id} is not installed')
        command = elevate.job_command(job, self.launcher, self._variables())
        ended = follow(command, elevate.environment(), '/', live=live)
        stderr = ended.stderr.decode('utf-8', 'replace')
        refused = elevate.understand(ended.status, bool(ended.stdout), stderr)
        if refused:
            raise refused
        return ended

    def _as_ourselves(self, job: Job, *, live: bool) -> Ended:
        values = self._environment(job)
        command = execute.command(job.unit, values)
        with tempfile.TemporaryDirectory(prefix='plainbox-') as directory:
            words = [command.program, *command.argv[1:]]
            try:
                limits = None if live else generate.LIMITS
                return follow(words, values, directory, live=live, limits=limits)
            except execute.Exceeded as error:
                raise Refused('PBL-GENERATOR-LIMIT', f'{job.id} {error}') from None

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
        ).values
        if job.unit.plugin in ('local', 'resource'):
            return composed
        ours = {n: v for n, v in os.environ.items() if not n.startswith(_LOCALE)}
        return ours | composed

    def _variables(self) -> Mapping[str, str]:
        return os.environ | {environ.SHARE[0]: self.share}


def _count(number: int, noun: str) -> str:
    return f'prints {number} {noun}{"" if number == 1 else "s"}'


def _failure(ended: Ended) -> str:
    last = _last(ended.stderr.decode('utf-8', 'replace'))
    return f'ended with {ended.status}' + (f': {last}' if last else '')


def _last(text: str) -> str:
    """The last line of a text, as far as there is one."""
    return next(reversed(text.strip().splitlines()), '')


@contextmanager
def session(catalogue: Catalogue, launcher: str) -> Iterator[Run]:
    """A run with a share directory, which is removed afterwards."""
    share = tempfile.mkdtemp(prefix='plainbox-session-')
    try:
        with ExitStack() as agents:
            yield Run(catalogue, launcher, share, agents)
    finally:
        # What root's jobs left in there is not ours to remove.
        shutil.rmtree(share, ignore_errors=True)
