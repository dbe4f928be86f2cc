# SPDX-License-Identifier: ISC
"""Who lets a job run, what an error on the way does, and how the result comes back.

What polkitd and pkexec decide is in test_polkit.py; here is the launcher's part.
"""

import os
import signal
import subprocess
from collections.abc import Callable

import probe
import pytest
from house import LAUNCHER, House

# Row 21: the launcher asks nobody

BUS = 'given = start.settle()'
CALLS_THE_BUS = """given = start.settle()
    import socket
    socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')"""


@pytest.mark.canary('launcher.py', BUS, CALLS_THE_BUS)
def test_no_bus(house: House) -> None:
    """CVE-2013-4288: a subject named by its PID may be another one by now.

    pkexec has asked polkit before; the launcher speaks to the log and to nobody else,
    but for the C library's own question to a name service cache.
    """
    calls = traced(house, 'trace=%net,execve', probe.job('true'))
    peers = [call for call in calls if 'sun_path=' in call or 'sa_family' in call]
    others = [call for call in peers if '"/dev/log"' not in call and 'nscd' not in call]
    assert peers
    assert not others
    executed = [call.split('"')[1] for call in calls if 'execve(' in call]
    assert executed == [LAUNCHER, '/bin/bash']


def traced(house: House, what: str, one: probe.Job) -> list[str]:
    """The calls of the launcher and of its child up to the job."""
    with probe.installed(house, one) as (checksum,):
        strace = ['strace', '-f', '-qq', '-s', '200', '-e', what, '-o', '/tmp/trace']
        done = house.run([*strace, LAUNCHER, '--hash', checksum], user='root')
    calls = house.path('/tmp/trace').read_text().splitlines()
    house.path('/tmp/trace').unlink()
    assert done.returncode == 0, done.stderr
    return calls


# Row 25: all of our ids are root's

TESTER = 65534


def user_real() -> None:
    os.setresuid(TESTER, 0, 0)


def user_effective() -> None:
    os.setresuid(0, TESTER, 0)


def user_real_and_effective() -> None:
    os.setresuid(TESTER, TESTER, 0)


@pytest.mark.canary('start.py', 'set(os.getresuid()) != {0}', 'os.geteuid() != 0')
def test_another_real_user(house: House) -> None:
    assert_not_root(house, user_real)


@pytest.mark.canary('start.py', 'set(os.getresuid()) != {0}', 'os.getuid() != 0')
def test_another_effective_user(house: House) -> None:
    assert_not_root(house, user_effective)


@pytest.mark.canary('start.py', 'set(os.getresuid()) != {0}', 'False')
def test_another_user(house: House) -> None:
    assert_not_root(house, user_real_and_effective)


def assert_not_root(house: House, before: Callable[[], None]) -> None:
    """All real, effective and saved uids must be 0: refused before anything is read."""
    done = probe.seen(house, 'echo ran', before=before)
    assert probe.code(done) == 'PBL-NOT-ROOT'
    assert done.stdout == b''


@pytest.mark.canary(
    'launcher.py', BUS, 'installed = library.load()\n    given = start.settle()'
)
def test_before_anything_is_read(house: House) -> None:
    """Not even by root for somebody else, nor by somebody else for themselves."""
    strace = ['strace', '-qq', '-e', 'trace=%file', '-o', '/tmp/trace']
    done = house.run([*strace, LAUNCHER, '--hash', '0' * 64])
    opened = house.path('/tmp/trace').read_text()
    house.path('/tmp/trace').unlink()
    assert probe.code(done) == 'PBL-NOT-ROOT'
    assert '"/usr/lib/plainbox-launcher' in opened
    assert '"plainbox-trusted-launcher-1"' not in opened  # as the walk would name it


def mixed_groups() -> None:
    os.setgroups([4, 20, TESTER])
    os.setresgid(TESTER, 4, 20)


@pytest.mark.canary('start.py', 'os.setgroups([0])', 'pass')
@pytest.mark.canary('start.py', 'os.setresgid(0, 0, 0)', 'pass')
def test_groups(house: House) -> None:
    """Root's group, and no other."""
    command = "grep -E '^(Gid|Groups|Uid)' /proc/self/status"
    done = probe.seen(house, command, before=mixed_groups)
    assert done.stdout.split() == b'Uid: 0 0 0 0 Gid: 0 0 0 0 Groups: 0'.split()


# Row 28: the job's result is its own

STATUSES = [0, 1, 2, 124, 125, 126, 127, 128, 137, 255]
SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGABRT, signal.SIGKILL]
SIGNALS += [signal.SIGSEGV, signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM]
SIGNALS += [signal.SIGRTMAX]


@pytest.mark.canary(
    'execute.py', 'status if status >= 0 else 128 - status', 'int(status == 0)'
)
@pytest.mark.parametrize('status', STATUSES)
def test_exit_status(house: House, status: int) -> None:
    """The exit status reaches the caller as it is; with 125 there is no code then."""
    done = probe.seen(house, f'exit {status}', call=house.pkexec)
    assert (done.returncode, done.stdout, done.stderr) == (status, b'', b'')


@pytest.mark.canary(
    'execute.py', 'status if status >= 0 else 128 - status', 'abs(status)'
)
@pytest.mark.parametrize('number', SIGNALS)
def test_died_by_a_signal(house: House, number: int) -> None:
    """128+n for signal n."""
    done = probe.seen(house, f'kill -{number} $$', call=house.pkexec)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b'', b'')


BYTES = bytes(range(256)) * 4096  # 1 MiB
PRINT = (
    '/usr/bin/python3 -IS -c "import sys; sys.{}.buffer.write(bytes(range(256))*4096)"'
)


@pytest.mark.canary(
    'job.py',
    'fds: tuple[int, int, int] = (0, 1, 2)',
    'fds: tuple[int, int, int] = (0, 2, 1)',
)
def test_output(house: House) -> None:
    """stdout and stderr reach the caller untouched."""
    command = f'{PRINT.format("stdout")}; {PRINT.format("stderr")}; printf x; exit 3'
    done = probe.seen(house, command, call=house.pkexec)
    assert done.returncode == 3
    assert done.stdout == BYTES + b'x'
    assert done.stderr == BYTES


def test_input(house: House) -> None:
    """So does the caller's standard input reach the job."""
    done = probe.seen(house, 'cat', call=house.pkexec, input=BYTES)
    assert done.stdout == BYTES


@pytest.mark.parametrize('streams', ['one pipe', 'a file'])
def test_the_streams_are_the_callers_own(house: House, streams: str) -> None:
    """Not copies: what is written to both keeps its order, a file its offset."""
    command = 'for n in 1 2 3; do echo out; echo err >&2; done'
    if streams == 'one pipe':
        done = probe.seen(house, command, call=house.pkexec, stderr=subprocess.STDOUT)
        assert done.stdout == b'out\nerr\n' * 3
        return
    with open(house.path('/tmp/out'), 'w+b') as file:
        house.path('/tmp/out').unlink()
        file.write(b'before\n')
        file.flush()
        probe.seen(house, command, call=house.pkexec, stdout=file, stderr=file)
        file.seek(0)
        assert file.read() == b'before\n' + b'out\nerr\n' * 3
