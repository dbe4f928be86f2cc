# SPDX-License-Identifier: ISC
"""Running a process of our own, and passing on or keeping what it prints."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from gettext import gettext as _
from math import inf
from typing import Final, NamedTuple, NoReturn

from .trusted import tree
from .trusted.execute import Exceeded, Limits, shell_status

_KEPT: Final = 1 << 16  # bytes of what was passed on
_TICK: Final = 0.1  # seconds until we look whether a silent process has ended


class Ended(NamedTuple):
    """How a process ended: exit status, or -n if signal n ended it.

    `cause` is `exit`, or what ended it: `timeout`, `cancel` or `hangup`. `cpu` is its
    time in seconds, `peak` the memory of its largest process in KiB, `left` the names
    of processes that it left running. Of output without limits, only the end is here.
    """

    status: int
    stdout: bytes = b''
    stderr: bytes = b''
    cause: str = 'exit'
    cpu: float = 0.0
    peak: int = 0
    left: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The status as shells give it: 128+n for signal n."""
        return shell_status(self.status)


class Overtime(Exception):
    """A process took more than its time."""


class HungUp(KeyboardInterrupt):
    """Interrupted by who does not wait, as at a logout."""


_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def unbroken() -> Iterator[None]:
    """Be interrupted afterwards only."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hang_up(*_given: object) -> NoReturn:
    """What SIGTERM and SIGHUP do: at a logout a shell may send either."""
    raise HungUp


_CAUSES: Final[dict[type[BaseException], str]] = {
    Overtime: 'timeout',
    KeyboardInterrupt: 'cancel',
    HungUp: 'hangup',
}


class Outlet(NamedTuple):
    """Where output goes as it comes; `tick` is called several times a second."""

    stdout: Callable[[bytes], object] = lambda _: None
    stderr: Callable[[bytes], object] = lambda _: None
    tick: Callable[[], object] = lambda: None


NOWHERE: Final = Outlet()


class Output:
    """What comes through a pipe: passed on, and kept, `whole` or the end of it."""

    def __init__(
        self, fd: int, pass_on: Callable[[bytes], object], *, whole: bool
    ) -> None:
        self.fd = fd
        self.text = bytearray()
        self._pass_on = pass_on
        self._whole = whole

    def take(self) -> bool:
        """Take what there is; false at the end of the pipe."""
        piece = os.read(self.fd, 1 << 16)
        self.text += piece
        if not self._whole:
            del self.text[:-_KEPT]
        if piece:
            self._pass_on(piece)
        return bool(piece)


def outputs(
    stdout: int, stderr: int, outlet: Outlet, limits: Limits | None
) -> tuple[Output, Output]:
    """The two outputs of a process. What has `limits` is kept whole."""
    whole = limits is not None
    return (
        Output(stdout, outlet.stdout, whole=whole),
        Output(stderr, outlet.stderr, whole=whole),
    )


def pump(
    pipes: tuple[Output, Output],
    finished: Callable[[], bool],
    *,
    seconds: float = inf,
    limits: Limits | None = None,
    news: int | None = None,
    tick: Callable[[], object] = NOWHERE.tick,
) -> None:
    """Take what comes until the process has `finished`, and what there is then.

    What a process leaves behind may hold the pipes for long, so that its own end
    counts, not theirs. `news` is a descriptor after whose news to look whether it
    has. Raises Overtime, or Exceeded for its `limits`.
    """
    started = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe.fd, selectors.EVENT_READ, pipe)
        if news is not None:
            selector.register(news, selectors.EVENT_READ)
        done = False
        while not done:
            done = finished()
            for key, _events in selector.select(0 if done else _TICK):
                if key.data and not key.data.take():
                    selector.unregister(key.fd)
            tick()
            elapsed = time.monotonic() - started
            _check(pipes, elapsed, limits)
            if elapsed > seconds and not done:
                raise Overtime


def _check(pipes: tuple[Output, Output], elapsed: float, limits: Limits | None) -> None:
    if limits and elapsed > limits.seconds:
        reason = _('took more than {number} seconds')
        raise Exceeded(reason.format(number=round(limits.seconds)))
    if limits and any(len(pipe.text) > limits.max_bytes for pipe in pipes):
        reason = _('printed more than {number} bytes')
        raise Exceeded(reason.format(number=limits.max_bytes))


def follow(
    command: list[str],
    values: Mapping[str, str],
    directory: str,
    outlet: Outlet = NOWHERE,
    *,
    own: bool = True,
    seconds: float = inf,
    limits: Limits | None = None,
) -> Ended:
    """Run a command to its end, a direct child of ours, without input.

    A process of our own that takes too long, or is interrupted, is ended with all
    that it started. Of another's (`own` false) the interrupt is passed on. Raises
    Exceeded, and ends the command, if it goes over its `limits`.
    """
    others = tree.children()
    with subprocess.Popen(  # noqa: S603  # a list, no shell of ours
        command,
        env=values,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout  # noqa: S101  # for mypy
        assert process.stderr  # noqa: S101
        fds = process.stdout.fileno(), process.stderr.fileno()
        out, err = outputs(*fds, outlet, limits)
        news = os.pidfd_open(process.pid)
        how = tree.Ended(0)
        cause = 'exit'

        def finished() -> bool:
            nonlocal how
            if process.returncode is None:
                reaped, how = tree.reap(process.pid)
                process.returncode = how.status if reaped else None
            return process.returncode is not None

        try:
            pump(
                (out, err),
                finished,
                seconds=seconds,
                limits=limits,
                news=news,
                tick=outlet.tick,
            )
        except BaseException as stop:
            cause = _CAUSES.get(type(stop), '') if own else ''
            if not own:
                with suppress(PermissionError):  # once it is root's, it does not obey
                    process.terminate()
            if own and process.returncode is None:
                grace = tree.HURRY if isinstance(stop, HungUp) else tree.GRACE
                how = _end(process.pid, others, grace if cause else 0)
                process.returncode = how.status
            if not cause:
                raise
            pump((out, err), lambda: True)
        finally:
            os.close(news)
    left = _left(others) if own else ()
    texts = bytes(out.text), bytes(err.text)
    return Ended(how.status, *texts, cause, how.cpu, how.peak, left)


def _end(pid: int, others: set[int], grace: float) -> tree.Ended:
    """End a process with all that it started; at once if asked twice."""
    try:
        return tree.end_tree(grace, pid, others)
    except KeyboardInterrupt:
        tree.end_tree(0, pid, others)
        raise


def _left(others: set[int]) -> tuple[str, ...]:
    """The names of those that a process of ours left running."""
    for pid in tree.children() - others:
        with suppress(ChildProcessError):
            tree.reap(pid)
    return tree.names(others)
