# SPDX-License-Identifier: ISC
"""What became of a job."""

from collections.abc import Callable
from gettext import gettext as _
from typing import Final, NamedTuple

from .catalogue import Job
from .process import Ended

PASSED: Final = 'passed'
FAILED: Final = 'failed'
SKIPPED: Final = 'skipped'
DENIED: Final = 'denied'
TIMEOUT: Final = 'timeout'
CANCELLED: Final = 'cancelled'
LOST: Final = 'lost'

#: The order in which outcomes are told.
ORDER: Final = (PASSED, FAILED, TIMEOUT, CANCELLED, LOST, DENIED, SKIPPED)


class Result(NamedTuple):
    """What became of a job. `detail` says why, in a few words, for people.

    `code` is that of the refusal, if it was one; `ended` how its process ended, if
    it had one; `comment` what a person said of it; `started` is in seconds since the
    epoch.
    """

    job: Job
    outcome: str
    detail: str = ''
    seconds: float = 0.0
    code: str = ''
    ended: Ended | None = None
    comment: str = ''
    started: float = 0.0


class Answer(NamedTuple):
    """What a person says of a job; how its command ended, if it had one.

    `outcome` is '' where the command decides.
    """

    outcome: str
    comment: str = ''
    ended: Ended | None = None


#: Has a person do a job, with what runs its command.
ByHand = Callable[[Job, Callable[[], Ended]], Answer]


class Quit(KeyboardInterrupt):
    """A person ends the run, to go on with it later."""


def judged(ended: Ended) -> tuple[str, str]:
    """The outcome of a job's command, and in a few words why."""
    if ended.cause == 'timeout':
        return TIMEOUT, _('it took more than its time')
    if ended.cause in ('cancel', 'hangup'):
        return CANCELLED, ''
    if ended.status == 0:
        return PASSED, ''
    if ended.status < 0:
        return FAILED, _('ended by signal {number}').format(number=-ended.status)
    return FAILED, _('exit status {number}').format(number=ended.status)
