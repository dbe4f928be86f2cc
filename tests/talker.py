# SPDX-License-Identifier: ISC
"""A runner that says what the real one never would; works inside the house.

A test gives `talk` some lines of Python that are run in there, with all of this
module at hand. What they `say` is what the test gets. The tester starts the launcher
through pkexec; root starts it directly, which is faster.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parent.parent))

from plainbox_launcher.trusted import frames
from plainbox_launcher.trusted.frames import (
    Announce,
    Cancel,
    Ended,
    Frame,
    Hello,
    Open,
    Ready,
    Refusal,
    Run,
    Started,
)

LAUNCHER = '/usr/bin/plainbox-trusted-launcher-1'
PKEXEC = ('pkexec', '--disable-internal-agent', LAUNCHER, '--channel')
CALL = PKEXEC if os.geteuid() else PKEXEC[2:]

__all__ = [
    'CALL', 'Announce', 'Cancel', 'Ended', 'Hello', 'Open', 'Ready', 'Refusal', 'Run',
    'Started', 'Talker', 'call', 'contextlib', 'frames', 'of_root', 'os', 'pair',
    'random', 'say', 'socket', 'subprocess', 'sys', 'time', 'wait',
]  # fmt: skip


class Talker:
    """One end of a channel, and the launcher on the other."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401  # Popen's
        self.socket, theirs = pair()
        with theirs:
            self.process = call(theirs, **more)
        self.number = 0

    def send(self, frame: Frame | bytes, fds: Sequence[int] = ()) -> None:
        """Send a frame, or what is none. If nobody listens, receive() will tell."""
        data = frame if isinstance(frame, bytes) else frames.encode(frame)
        with contextlib.suppress(ConnectionError):
            socket.send_fds(self.socket, [data], fds)

    def receive(self) -> Frame | None:
        """The next frame; None at the end."""
        try:
            data = self.socket.recv(frames.MAX_FRAME)
        except ConnectionResetError:  # that frames of ours were not read comes first
            data = self.socket.recv(frames.MAX_FRAME)
        return frames.decode(data) if data else None

    def open(self, *announced: str) -> 'Talker':
        self.send(Hello(frames.VERSION))
        self.send(Announce(announced))
        self.send(Open())
        ready = self.receive()
        assert isinstance(ready, Ready), ready
        return self

    def ask(
        self,
        hash_: str,
        *variables: str,
        via: str = '',
        seconds: int = 0,
        fds: Sequence[int] = (),
    ) -> int:
        """Ask for a job, without input and output unless there are `fds`."""
        self.number += 1
        with null() as fd:
            run = Run(self.number, seconds, hash_, via, variables)
            self.send(run, fds or [fd] * 3)
        return self.number

    def begin(self, hash_: str, *variables: str, **more: Any) -> int:  # noqa: ANN401
        """Have a job run, and wait until it prints something."""
        out, out_end = os.pipe()
        with null() as fd:
            number = self.ask(hash_, *variables, fds=[fd, out_end, fd], **more)
        os.close(out_end)
        os.read(out, 1)
        os.close(out)
        return number

    def result(self) -> Frame | None:
        """How the job ended, or why it was refused."""
        while isinstance(frame := self.receive(), Started):
            pass
        return frame

    def run(
        self,
        hash_: str,
        *variables: str,
        given: bytes = b'',
        **more: Any,  # noqa: ANN401
    ) -> tuple[Frame | None, bytes, bytes]:
        """A job to its end: how, and what it printed."""
        files = [os.memfd_create(name) for name in ('in', 'out', 'err')]
        os.pwrite(files[0], given, 0)
        self.ask(hash_, *variables, fds=files, **more)
        result = self.result()
        texts = []
        for fd in files:
            with open(fd, 'rb') as file:
                file.seek(0)  # the job has moved it
                texts.append(file.read())
        return result, texts[1], texts[2]

    def rest(self) -> list[Frame]:
        """All that still comes."""
        return list(iter(self.receive, None))

    def close(self) -> tuple[int, str]:
        """End the channel; exit status and standard error of the launcher."""
        self.socket.close()
        return self.ending()

    def ending(self) -> tuple[int, str]:
        assert self.process.stderr
        text = self.process.stderr.read().decode()
        return self.process.wait(), text


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a channel; the second is the launcher's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def call(stdin: Any, **more: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    """The launcher, with this on its standard input."""
    streams = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.PIPE}
    return subprocess.Popen(CALL, stdin=stdin, **{**streams, **more})


@contextlib.contextmanager
def null() -> Iterator[int]:
    fd = os.open('/dev/null', os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


def of_root() -> set[int]:
    """The processes of root's that are alive and none of the launcher's own."""
    found = set()
    for entry in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            name, rest = (entry / 'stat').read_text().split('(')[1].rsplit(')', 1)
            launcher = LAUNCHER.rpartition('/')[2].startswith(name)
            if entry.stat().st_uid == 0 and rest.split()[0] != 'Z' and not launcher:
                found.add(int(entry.name))
    return found


def say(*values: object) -> None:
    """Give the test something."""
    print(json.dumps(plain(values)), flush=True)


def wait() -> None:
    """Until the test has looked around."""
    sys.stdin.readline()


def plain(value: object) -> object:
    """As JSON can say it; talking.heard() makes it what it was."""
    if isinstance(value, bytes):
        return {'bytes': value.hex()}
    if hasattr(value, '_fields'):
        return {type(value).__name__: [plain(each) for each in value]}  # type: ignore[attr-defined]
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value


if __name__ == '__main__':
    exec(sys.argv[1], dict(globals()))  # noqa: S102  # the test's own words
