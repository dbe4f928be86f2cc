# SPDX-License-Identifier: ISC
"""Ending what jobs of a runner left that was killed.

What runs as another user the launcher ends when we are gone. Of our own jobs' processes
none is anybody's child then; but all have the session's directory in their environment,
and so are known to who goes on with the session. PR_SET_PDEATHSIG, prctl(2), would be
no help: it is not inherited, so that it ends the shell, and lets what that waits for go
on unseen.
"""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from .trusted.environ import SHARE
from .trusted.errors import printable

_PATIENCE: Final = 5.0  # seconds, for what starts others faster than it is ended


def end(share: str) -> tuple[str, ...]:
    """End all that works for the session with this directory; returns the names.

    Not our own ancestors: a person may look into a job from a shell with all of its
    environment, and go on from there.
    """
    mark = f'{SHARE[0]}={share}'.encode()
    names: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        pids = {int(name) for name in os.listdir('/proc') if name.isdigit()}
        found = [_end(pid, mark) for pid in pids - set(_ancestry())]
        if not any(found):
            break
        names += filter(None, found)
    return tuple(sorted(names))


def _ancestry() -> Iterator[int]:
    pid = os.getpid()
    while pid:
        yield pid
        # proc_pid_stat(5): the name in brackets may hold brackets.
        stat = _read(pid, 'stat').rpartition(b')')[2].split()
        pid = int(stat[1]) if stat else 0


def _end(pid: int, mark: bytes) -> str:
    """End a process that has this in its environment; returns its name."""
    with suppress(OSError):  # it has ended by itself, or is not ours
        process = os.pidfd_open(pid)  # first, so that it is the same all along
        try:
            if mark not in _read(pid, 'environ').split(b'\0'):
                return ''
            name = _read(pid, 'comm').decode('utf-8', 'replace').rstrip('\n')
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], _PATIENCE)
            return printable(name)
        finally:
            os.close(process)
    return ''


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f'/proc/{pid}/{name}', 'rb') as file:
            return file.read()
    except OSError:  # gone, or not ours to look into
        return b''
