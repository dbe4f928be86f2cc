# SPDX-License-Identifier: ISC
"""plainbox(1), to which something happens at a chosen point.

    faulty.py EFFECT NUMBER ARGUMENT...

Before and after all that it does to its disk is a point: a statement to SQLite that
changes something, a directory that is made, a write, an fsync. At the NUMBERth of them
EFFECT happens: `kill`, it dies of SIGKILL; `interrupt`, somebody presses Ctrl-C;
`full`, the disk is full from then on; `clock`, the clock is set back by a day. What is
run is what is installed; it knows nothing of this.
"""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, tzinfo
from functools import partial
from types import SimpleNamespace
from typing import Any, Self

DAY = 86_400

STEPS = ('fsync', 'mkdir', 'write')

#: The statements that are no step: they change nothing.
LOOKING = ('SELECT', 'PRAGMA quick_check')


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def fill() -> None:
    """The file system with the ledger, which should be small. Not by our own steps."""
    from plainbox_launcher.store import STATE

    with suppress(OSError), open(f'{STATE}/fill', 'wb', buffering=0) as file:
        while True:
            file.write(bytes(4096))


def set_back() -> None:
    """For all of Python, as far as it asks; the kernel's own times stay."""
    from plainbox_launcher import store

    really = time.time

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(seconds=DAY)

    vars(time).update(time=lambda: really() - DAY)
    vars(store).update(datetime=Earlier)


EFFECTS: dict[str, Callable[[], None]] = {
    'kill': die,
    'interrupt': interrupt,
    'full': fill,
    'clock': set_back,
}


class Points:
    """Counts points, until the one at which it happens."""

    def __init__(self, number: int, effect: Callable[[], None]) -> None:
        self._left = number
        self._effect = effect

    def passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._effect()

    @contextmanager
    def around(self) -> Iterator[None]:
        self.passed()
        yield
        self.passed()

    def wrapped(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*given: Any, **more: Any) -> Any:  # noqa: ANN401
            with self.around():
                return step(*given, **more)

        return wrapper


def arrange(points: Points) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, *given: Any) -> sqlite3.Cursor:  # noqa: ANN401
            if given[0].startswith(LOOKING):
                return super().execute(*given)
            with points.around():
                return super().execute(*given)

        def executemany(self, *given: Any) -> sqlite3.Cursor:  # noqa: ANN401
            with points.around():
                return super().executemany(*given)

    from plainbox_launcher import store

    vars(sqlite3).update(connect=partial(sqlite3.connect, factory=Connection))
    steps = {name: points.wrapped(getattr(os, name)) for name in STEPS}
    vars(store).update(os=SimpleNamespace(**{**vars(os), **steps}))


if __name__ == '__main__':
    sys.path[0] = '/usr/lib/plainbox-launcher'
    from plainbox_launcher.cli import main

    arrange(Points(int(sys.argv[2]), EFFECTS[sys.argv[1]]))
    sys.exit(main(sys.argv[3:]))
