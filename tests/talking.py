# SPDX-License-Identifier: ISC
"""Speaking to the channel from inside the house; see talker."""

import contextlib
import json
import os
import select
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from house import CHECKOUT, HANGS, House
from launching import others
from probe import PROGRAM

from plainbox_launcher.trusted import frames

TALKER = f'{CHECKOUT}/tests/talker.py'


def words(*snippets: str, **names: object) -> list[str]:
    """The command that says the snippets, in which `names` are known."""
    known = ''.join(f'{name} = {value!r}\n' for name, value in names.items())
    return ['/usr/bin/python3', TALKER, known + ''.join(map(textwrap.dedent, snippets))]


def talk(
    house: House, *snippets: str, user: str = 'tester', **names: object
) -> list[Any]:
    """Runs snippets to their end; what they said, one after the other."""
    done = house.run(words(*snippets, **names), user=user)
    assert done.returncode == 0, done.stderr.decode()
    if b'PBL-INTERNAL' in done.stdout:
        house.crashes.append(done.stdout)
    return [each for line in done.stdout.splitlines() for each in heard(line)]


def heard(line: bytes) -> list[Any]:
    """What was said in a line, as it was: frames are frames, bytes are bytes."""
    return json.loads(line, object_hook=_whole)  # type: ignore[no-any-return]


def _whole(found: dict[str, Any]) -> object:
    ((name, value),) = found.items()
    if name == 'bytes':
        return bytes.fromhex(value)
    fields = (tuple(each) if isinstance(each, list) else each for each in value)
    return getattr(frames, name)(*fields)


class Conversation:
    """A snippet that runs while the test looks around in the house."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def hear(self) -> list[Any]:
        """What it says next; nothing at the end."""
        out = self.process.stdout
        assert out
        assert select.select([out], [], [], HANGS)[0], 'nothing is said'
        line = out.readline()
        return heard(line) if line else []

    def rest(self) -> list[Any]:
        """What it says until it ends."""
        return [each for said in iter(self.hear, []) for each in said]

    def go_on(self) -> None:
        """End its wait()."""
        assert self.process.stdin
        self.process.stdin.write(b'\n')
        self.process.stdin.flush()

    @property
    def channel(self) -> int:
        """The launcher."""
        return only({pid for pid in children(self.process.pid) if is_launcher(pid)})

    @property
    def keepers(self) -> set[int]:
        return children(self.channel)


@contextlib.contextmanager
def conversation(
    house: House, snippet: str, *, user: str = 'tester', **names: object
) -> Iterator[Conversation]:
    """Starts a snippet. At the end of the block it is killed, if it still runs."""
    pipe = subprocess.PIPE
    with house.popen(
        words(snippet, **names), user=user, stdin=pipe, stdout=pipe, bufsize=0
    ) as process:
        try:
            yield Conversation(process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def children(pid: int) -> set[int]:
    """The children of a process that are alive."""
    found = set()
    for entry in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, parent = (entry / 'stat').read_text().rpartition(')')[2].split()[:2]
            if int(parent) == pid and state != 'Z':
                found.add(int(entry.name))
    return found


def is_launcher(pid: int) -> bool:
    return PROGRAM.startswith(Path(f'/proc/{pid}/comm').read_text().rstrip())


def only(pids: set[int]) -> int:
    (pid,) = pids
    return pid


def emptied(house: House, *spared: int) -> float:
    """Waits until nothing runs in the house; how many seconds that took.

    Fails if something goes on running.
    """
    begun = time.monotonic()
    while left := others(house) - set(spared):
        seconds = time.monotonic() - begun
        assert seconds < HANGS / 6, [house.processes().get(pid) for pid in left]
        time.sleep(0.005)
    return time.monotonic() - begun


def stop(pid: int) -> None:
    """Stops a process, and waits until it stands."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'T':
        time.sleep(0.001)
