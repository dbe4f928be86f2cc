# SPDX-License-Identifier: ISC
"""What is seen of a run while it goes on: plain lines, for logs and other programs.

On a terminal it is a `bar`, which loads what is slow to load.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from gettext import gettext as _
from math import inf
from typing import Final

from . import report
from .catalogue import Job
from .result import PASSED, Result

HEARTBEAT: Final = 30.0  # seconds, until a log says again that a job still runs


class Lines:
    """Headings, what jobs print as it comes and untouched, and verdicts.

    `quiet` leaves out what passed, and what jobs print; `verbose` adds remarks.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self._verbose = verbose
        self._withheld = ''  # the heading of a job that may yet pass
        self._began = self._heard = self._beaten = 0.0
        self._limit = inf
        self._broken = {1: False, 2: False}  # whether a line has not ended

    def heading(self, number: int, total: int, job: Job, limit: float = inf) -> None:
        """A job begins, and is ended after `limit` seconds."""
        self._began = self._beaten = time.monotonic()
        self._heard = 0.0
        self._limit = limit
        self._withheld = report.heading(number, total, job)
        if not self.quiet:
            self._introduce()
        self.remark(_('hash: {hash}').format(hash=job.unit.checksum))
        said = _('none') if limit == inf else report.span(limit)
        self.remark(_('time limit: {time}').format(time=said))

    def output(self, fd: int, data: bytes) -> None:
        """The job prints something, on its standard output, 1, or error, 2."""
        self._heard = time.monotonic()
        if data and not self.quiet:
            self._pass_on(fd, data)

    def tick(self) -> None:
        """The job still runs; to be called every now and then."""
        now = time.monotonic()
        if now - self._beaten >= HEARTBEAT and not self.quiet:
            self._beaten = now
            self._end_lines()
            silence = now - self._heard if self._heard else None
            self._say(report.heartbeat(now - self._began, self._limit, silence))

    def remark(self, text: str) -> None:
        """Say what only the curious want to know."""
        if self._verbose:
            self._say(f'    {report.shown(text)}')

    def verdict(self, result: Result) -> None:
        """The job has ended, or was not run."""
        self._end_lines()
        if not self.quiet or result.outcome != PASSED:
            self._introduce()
            self._say(report.verdict(result), result.outcome)

    def settle(self) -> None:
        """Let all be seen that the job printed."""
        self._end_lines()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to others: a person is asked something."""
        self._end_lines()
        self._introduce()
        yield

    def close(self) -> None:
        """The run is over."""
        self._end_lines()

    def _introduce(self) -> None:
        text, self._withheld = self._withheld, ''
        if text:
            self._say(text)

    def _say(self, text: str, outcome: str = '') -> None:  # noqa: ARG002  # for the bar
        print(text, flush=True)

    def _pass_on(self, fd: int, data: bytes) -> None:
        stream = sys.stdout if fd == 1 else sys.stderr
        stream.buffer.write(data)
        stream.flush()
        self._broken[fd] = not data.endswith(b'\n')

    def _end_lines(self) -> None:
        """What comes next begins on a line of its own."""
        for fd, broken in self._broken.items():
            if broken:
                self._pass_on(fd, b'\n')


def suits_a_bar() -> bool:
    """Whether standard output is a terminal on which a bar can be drawn."""
    simple = os.environ.get('TERM', '') in ('', 'dumb', 'unknown')
    return sys.stdout.isatty() and not simple


def remaining(
    estimates: Sequence[float | None], took: Sequence[float], elapsed: float
) -> float | None:
    """The seconds that a run will still take; None if nothing is known.

    Of its jobs, in order, `estimates` says how long they take, as far as that is
    known, and `took` how long the first of them did. The next has been running for
    `elapsed`. One of which nothing is known takes as long as those did on average of
    which nothing was; or, before there are such, as those of which something is.
    """
    unknown = [
        took_ for each, took_ in zip(estimates, took, strict=False) if each is None
    ]
    alike = unknown or [each for each in estimates if each is not None]
    if not alike:
        return None
    mean = sum(alike) / len(alike)
    left = [mean if each is None else each for each in estimates[len(took) :]]
    return sum(left[1:]) + max(left[0] - elapsed, 0) if left else 0.0
