# SPDX-License-Identifier: ISC
"""Running the command of a job: one's own directly, others' through pkexec."""

import os
import pwd
import tempfile
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from gettext import gettext as _
from math import inf
from typing import Final, NamedTuple

from . import elevate
from .catalogue import Catalogue, Job
from .channel import Channel, TooOld
from .process import Ended, Outlet, follow
from .refusals import refusal
from .trusted import environ, execute, start
from .trusted.errors import Refused
from .trusted.execute import Limits

_LOCALE: Final = ('LANGUAGE', 'LC_')


class Terms(NamedTuple):
    """How jobs are run. `job_timeout` in seconds, None for the estimate of each;

    `timeout` in seconds for them all; `per_job` asks pkexec for each job of root's;
    `directory` is where a job of our own starts that wants no directory of its own.
    """

    launcher: str = elevate.LAUNCHER
    per_job: bool = False
    timeout: float = inf
    job_timeout: float | None = None
    directory: str = '/'


class Runner:
    """What runs commands of jobs, with one consent for all of root's.

    `share` is the session's directory, `ends` is what happens at the end of the run.
    """

    def __init__(
        self, catalogue: Catalogue, terms: Terms, share: str, ends: ExitStack
    ) -> None:
        self.view: tuple[str, ...] = ()  # what root's jobs see
        self._catalogue = catalogue
        self._terms = terms
        self._share = share
        self._ends = ends
        self._channel: Channel | None = None

    def open(self, requests: Collection[str]) -> None:
        """Have consent asked for now. Raises Refused if it is not given."""
        self._ends.callback(_forget)
        elevate.prerequisites(self._terms.launcher)
        try:
            self._ask(requests)
        except Refused as refused:
            if refused.code != 'PBL-NO-AGENT' or not elevate.can_ask():
                raise
            # For the whole run: what polkit keeps, it keeps for five minutes.
            self._ends.enter_context(elevate.text_agent())
            self._ask(requests)

    def _ask(self, requests: Collection[str]) -> None:
        launcher = self._terms.launcher
        if not self._terms.per_job:
            with suppress(TooOld):
                self._channel = Channel(launcher, requests)
                self._ends.callback(self._channel.close)
                self.view = self._channel.view
                return
        self.view = start.view()  # of which root's is the same
        command = elevate.warm_up_command(launcher)
        ended = follow(command, elevate.environment(), '/', own=False)
        if ended.status:
            stderr = ended.stderr.decode('utf-8', 'replace')
            raise elevate.reason(ended.code, stderr)

    def view_of(self, job: Job) -> Sequence[str]:
        """How the machine looks to a job. In a session that is the manager's affair."""
        if job.unit.get('context'):
            return ()
        return self.view if job.user else start.view()

    def run(
        self, job: Job, outlet: Outlet, seconds: float, limits: Limits | None = None
    ) -> Ended:
        """Run a job's command as whom the job says. Raises Refused if root may not.

        Also if it goes over its `limits`.
        """
        try:
            if not job.user:
                return self._as_ourselves(job, outlet, seconds, limits)
            return self._as_another(job, outlet, seconds, limits)
        except execute.Exceeded as error:
            raise Refused('PBL-GENERATOR-LIMIT', f'{job.id} {error}') from None

    def _as_another(
        self, job: Job, outlet: Outlet, seconds: float, limits: Limits | None
    ) -> Ended:
        if not job.installed:
            fact = _('{job} is not installed').format(job=job.id)
            raise refusal('PBL-NOT-INSTALLED', fact)
        variables = os.environ | {environ.SHARE[0]: self._share}
        if self._channel:
            return self._channel.perform(
                elevate.request(job),
                elevate.assignments(job, variables),
                outlet,
                seconds=seconds,
                limits=limits,
            )
        command = elevate.job_command(job, self._terms.launcher, variables)
        ended = follow(command, elevate.environment(), '/', outlet, own=False)
        stderr = ended.stderr.decode('utf-8', 'replace')
        refused = elevate.understand(ended.code, bool(ended.stdout), stderr)
        if refused:
            raise refused
        return ended

    def _as_ourselves(
        self, job: Job, outlet: Outlet, seconds: float, limits: Limits | None
    ) -> Ended:
        values = self._environment(job)
        command = execute.command(job.unit, values)
        words = [command.program, *command.argv[1:]]
        with self._place(job) as directory:
            return follow(
                words, values, directory, outlet, seconds=seconds, limits=limits
            )

    def _place(self, job: Job) -> AbstractContextManager[str]:
        if 'preserve-cwd' in job.unit.flags:
            return nullcontext(self._terms.directory)
        return tempfile.TemporaryDirectory(prefix='plainbox-')

    def _environment(self, job: Job) -> dict[str, str]:
        """A job of our own runs in our session; a resource or local job does not:

        what these print must not hang on who runs them, and from where. A local
        job does not even see the session's directory, as root's does not.
        """
        composed = environ.compose(
            job.unit,
            pwd.getpwuid(os.getuid()),
            self._catalogue.directories(job.unit),
            os.environ,
            share='' if job.unit.plugin == 'local' else self._share,
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
