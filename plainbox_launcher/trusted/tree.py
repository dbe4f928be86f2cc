# SPDX-License-Identifier: ISC
"""All that we started, and what that started in turn: counting and ending it.

We are the subreaper, prctl(2): what a job's child leaves behind becomes our child,
however it detached itself. Signals go only to children that are ours and not yet
reaped, so that no number can have passed to a stranger.
"""

import ctypes
import os
import select
import signal
import time
from collections.abc import Container
from contextlib import suppress
from typing import Final, NamedTuple

from .errors import Refused, printable

GRACE: Final = 5.0  # seconds between TERM and KILL
HURRY: Final = 1.0  # the same, where nobody is left who waits for the job
TICK: Final = 250  # milliseconds between two looks at what no descriptor tells
FOREVER: Final = float('inf')  # seconds
_PATIENCE: Final = 60.0  # seconds, for what forks faster than it dies

# prctl(2), <linux/prctl.h>
PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class Ended(NamedTuple):
    """How a process ended, wait4(2): exit status, or -n if signal n ended it;

    CPU time in seconds and the largest memory in KiB, of it and of those of its
    descendants that were waited for.
    """

    status: int
    cpu: float = 0.0
    peak: int = 0


def own_descendants() -> None:
    """Become the parent of whatever our descendants leave."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_tree(
    grace: float,
    main: int = 0,
    spare: Container[int] = (),
    control: int | None = None,
) -> Ended:
    """End our descendants: TERM, `grace` seconds, KILL, until none is left.

    A generation at a time: the children of what died are our children then. Those
    of our children that are in `spare` are let be. Grace ends when the other side of
    `control` does. Returns how `main` ended. Raises
    Refused if for GRACE after KILL nothing changes, since the kernel holds a
    process, or if there is no end to them.
    """
    started = time.monotonic()
    deadline = started + grace
    told: set[int] = set()
    ended = Ended(-signal.SIGKILL)
    while pids := {pid for pid in children() if pid not in spare}:
        now = time.monotonic()
        if control is not None and is_closed(control):
            deadline = min(deadline, now)
        if pids != told:
            deadline = max(deadline, now)
        if now > deadline + GRACE or now > started + grace + _PATIENCE:
            raise Refused('PBL-UNKILLABLE', 'a process outlives SIGKILL')
        late = now >= deadline
        for pid in pids if late else pids - told:
            os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told = pids
        for pid in pids:
            reaped, how = reap(pid)
            if reaped and reaped == main:
                ended = how
        time.sleep(0.001)
    return ended


def hold(control: int) -> None:
    """Wait until our children have ended; or end them once `control` closes."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    with suppress(ChildProcessError):  # there is none left
        while True:
            while reap(-1)[0]:
                pass
            if poll.poll(TICK) and not heard(control):
                end_tree(HURRY)


def heard(control: int) -> bytes:
    """What the channel says: a byte to cancel; none at the end."""
    try:
        return os.read(control, 1)
    except ConnectionError:  # it did not hear all that we said
        return b''


def is_closed(control: int) -> bool:
    """Whether the channel is gone."""
    poll = select.poll()
    poll.register(control, 0)
    return bool(poll.poll(0))  # which tells of nothing but POLLHUP and POLLERR


def reap(pid: int) -> tuple[int, Ended]:
    """Collect a child that has ended, -1 for any; number 0 if there is none yet."""
    reaped, status, usage = os.wait4(pid, os.WNOHANG)
    code = os.waitstatus_to_exitcode(status)
    return reaped, Ended(code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def reap_all(main: int) -> Ended | None:
    """Collect every child that has ended; how `main` did, if it was among them."""
    ended = None
    try:
        while (child := reap(-1))[0]:
            if child[0] == main:
                ended = child[1]
    except ChildProcessError:
        if ended is None:  # an unknown status is never a success
            raise Refused('PBL-INTERNAL', 'the exit status was lost') from None
    return ended


def children() -> set[int]:
    """The processes whose parent we are."""
    try:  # mostly there is none, and to look for them is slow
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    me = os.getpid()
    pids = {int(name) for name in os.listdir('/proc') if name.isdigit()}
    return {pid for pid in pids if _parent(pid) == me}


def names(spare: Container[int] = ()) -> tuple[str, ...]:
    """The names of our children, but for `spare`: what a job has left running."""
    return tuple(sorted(_name(pid) for pid in children() if pid not in spare))


def _name(pid: int) -> str:
    try:
        with open(f'/proc/{pid}/comm', 'rb') as comm:
            return printable(comm.read().decode('utf-8', 'replace').rstrip('\n'))
    except OSError:
        return '?'


def _parent(pid: int) -> int:
    try:
        with open(f'/proc/{pid}/stat', 'rb') as stat:
            # proc_pid_stat(5): the name in brackets may hold brackets.
            return int(stat.read().rpartition(b')')[2].split()[1])
    except OSError:
        return 0  # gone


def prctl(option: int, value: int) -> None:
    """Call prctl(2). Raises OSError."""
    if ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError('prctl failed')
