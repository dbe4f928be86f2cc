# SPDX-License-Identifier: ISC
"""plainbox on a terminal: what a person sees there, and types."""

import fcntl
import importlib.util
import os
import struct
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from house import CLEAN, HANGS, House


class Terminal:
    """A terminal with plainbox on it. `seen` is all that was there until now."""

    def __init__(self, spawned: Any) -> None:  # noqa: ANN401  # it has no types
        self._spawned = spawned
        self.seen = ''
        self.status: int | None = None

    def expect(self, text: str) -> str:
        """Waits until that is there; gives what came before."""
        self._spawned.expect_exact(text)
        before = self._spawned.before.replace('\r\n', '\n')
        self.seen += before + text
        return str(before)

    def type(self, text: str) -> None:
        self._spawned.send(text)

    def fileno(self) -> int:
        return int(self._spawned.fileno())

    def answer(self, question: str, text: str) -> str:
        """Types a line behind a question; gives what came before the question."""
        before = self.expect(question)
        self.type(f'{text}\r')
        return before

    def rest(self) -> str:
        """What comes until plainbox has ended."""
        from pexpect import EOF  # type: ignore[import-untyped]

        self._spawned.expect(EOF)
        rest = self._spawned.before.replace('\r\n', '\n')
        self.seen += rest
        return str(rest)


@contextmanager
def on_a_terminal(
    house: House,
    *arguments: str,
    columns: int = 80,
    env: Mapping[str, str] = CLEAN,
    **more: Any,  # noqa: ANN401  # House.popen's own
) -> Iterator[Terminal]:
    """Runs plainbox there; it has to have ended at the end of the block."""
    if importlib.util.find_spec('pexpect') is None:
        if 'PLAINBOX_REQUIRE' in os.environ:
            pytest.fail('missing: pexpect')
        pytest.skip('missing: pexpect')
    from pexpect import fdpexpect

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 50, columns, 0, 0))
    streams = {'stdin': theirs, 'stdout': theirs, 'stderr': theirs}
    with house.popen(
        ['plainbox', *arguments],
        env=env,
        before=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        pass_fds=[theirs],
        **{**streams, **more},
    ) as process:
        os.close(theirs)
        terminal = Terminal(
            fdpexpect.fdspawn(
                ours, timeout=HANGS, encoding='utf-8', codec_errors='replace'
            )
        )
        try:
            yield terminal
            terminal.rest()
            terminal.status = process.wait(HANGS)
        finally:
            process.kill()
            terminal._spawned.close()  # noqa: SLF001
