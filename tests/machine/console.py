# SPDX-License-Identifier: ISC
"""The console of a machine, and a person at it."""

import fcntl
import io
import os
import re
import struct
import termios
from collections.abc import Callable
from typing import NamedTuple

from machine.base import PASSWORDS
from machine.cell import HANGS

CTRL_C, CTRL_D = '\x03', '\x04'

# What the machine waits at. There is no other way here to wait for something.
LOGIN = r'(?m)^\w+ login: $'
QUESTION = r'Password: $'
SHELL = r'(?m)^(?:\x1b\[0m)?\w+@\w+:~\$ $'


def terminal(rows: int = 25, columns: int = 100) -> tuple[int, int]:
    """Gives our end of a new one, and theirs."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))
    return ours, theirs


class Said(NamedTuple):
    """What a person saw of a command, how often they were asked, how it ended."""

    text: str
    asked: int
    status: int


class Closed(Exception):
    """There is nobody at the other end any more."""


class Console:
    """A person who reads what comes and types. All that came is in `seen`."""

    def __init__(self, descriptor: int) -> None:
        # Where it is missing, booted.lacking() says so, and nothing is to break before.
        from pexpect import EOF, TIMEOUT, fdpexpect  # type: ignore[import-untyped]

        self._ends = [TIMEOUT, EOF]
        self.hides: Callable[[], bool] = bool  # says if nobody sees what is typed
        self._seen = io.StringIO()
        self._tty = fdpexpect.fdspawn(
            descriptor, timeout=HANGS, encoding='utf-8', codec_errors='replace'
        )
        self._tty.logfile_read = self._seen

    @property
    def seen(self) -> str:
        return re.sub(r'\r|\x1b\[[0-9;]*m', '', self._seen.getvalue())

    def wait(self, *patterns: str) -> int:
        """Waits for the first of several to come, gives its number."""
        found = int(self._tty.expect([*patterns, *self._ends]))
        if found == len(patterns) + 1:
            raise Closed
        assert found < len(patterns), f'no {patterns} after: {self.seen[-2000:]}'
        return found

    def attend(self) -> None:
        """Waits for the prompt for a login.

        systemd-nspawn may keep it to itself until something is typed.
        """
        for _ in range(HANGS):
            found = int(self._tty.expect([LOGIN, *self._ends], timeout=1))
            if found != 1:
                break
            self.type('\r')
        assert found == 0, f'no prompt after: {self.seen[-2000:]}'

    def type(self, text: str) -> None:
        self._tty.send(text)

    def log_in(self, user: str) -> None:
        """From the prompt for a login to the shell's."""
        self.type(f'{user}\r')
        self.wait(QUESTION)
        self.type(f'{PASSWORDS[user]}\r')
        self.wait(SHELL)

    def enter(self, command: str, answer: str = '') -> Said:
        """Gives the shell a command, and the answer to each prompt for a password."""
        start, asked = len(self.seen), 0
        self.type(f'{command}\r')
        while self.wait(SHELL, QUESTION) == 1:
            asked += 1
            assert answer, f'asked for a password: {self.seen[start:]}'
            # pkexec asks first; then it hides what is typed, and forgets what was.
            assert any(self.hides() for _ in range(HANGS)), 'the answer would be seen'
            self.type(answer)
        text = self.seen[start:].partition('\n')[2].rpartition('\n')[0]
        self.type('echo $?\r')
        self.wait(r'(?m)^\d+\r\n')
        status = int(self._tty.after)
        self.wait(SHELL)
        return Said(text, asked, status)
