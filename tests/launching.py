# SPDX-License-Identifier: ISC
"""What tests of the launcher say again and again."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence

from house import DAEMONS, HANGS, House, ended

from plainbox_launcher.trusted import rfc822, unit

NAME = 'plainbox-trusted-launcher-1'
UNKNOWN = '0' * 64  # the hash of nothing


def digests(text: str) -> dict[str, str]:
    """The hash of each record, by its id."""
    records = rfc822.parse(text.encode(), 'sample')
    return {r.fields['id']: unit.checksum(r.fields) for r in records}


def refused(
    done: subprocess.CompletedProcess[bytes], code: str, *, status: int = 125
) -> bool:
    """Exit 125 and one line on stderr, `PROGRAM: CODE: fact (hint)`; nothing else."""
    line = rb'plainbox-trusted-launcher-1: %s: [ -~]+ \([ -~]+\)\n' % code.encode()
    told = re.fullmatch(line, done.stderr) is not None
    return (done.returncode, done.stdout, told) == (status, b'', True)


def events(house: House) -> list[str]:
    """What the launcher wrote into the log, the first word of each line."""
    lines = house.log(NAME)
    return [line.text.split(': ')[1].split()[0] for line in lines]


def opened(house: House, argv: Sequence[str], given: bytes = b'') -> tuple[bytes, str]:
    """Runs as root under strace: stderr, and the files it asked for."""
    trace = '/tmp/trace'
    command = ['strace', '-f', '-qq', '-e', 'trace=%file', '-o', trace, *argv]
    try:
        done = house.run(command, user='root', input=given)
        return done.stderr, house.path(trace).read_text()
    finally:
        house.path(trace).unlink(missing_ok=True)


@contextlib.contextmanager
def following(house: House, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a launcher and waits until its job says that it has started."""
    pipe = subprocess.PIPE
    with house.popen(argv, user='root', stdout=pipe) as process, cleared(house):
        assert process.stdout
        assert process.stdout.readline() == b'started\n'
        yield process


@contextlib.contextmanager
def cleared(house: House) -> Iterator[None]:
    """Takes away what canaries, and launchers that were killed, leave behind."""
    try:
        yield
    finally:
        for pid in others(house):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            assert ended(pid, HANGS)
        house.check('sh', '-c', 'rm -rf /tmp/hardy /tmp/plainbox-*')


def others(house: House) -> set[int]:
    """The processes in the house that are none of the daemons."""
    found = {pid for pid, name in house.processes().items() if name not in DAEMONS}
    return {pid for pid in found if not ended(pid, 0)}
