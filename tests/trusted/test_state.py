# SPDX-License-Identifier: ISC
"""The state of a process that the caller hands over, and what is left of it.

execve(2) lists what outlives it. pkexec resets of that list the environment, the
descriptors from 3 up, the ids and the groups; all the rest reaches the launcher as
the caller made it. Most proofs run twice: through pkexec as the tester, and as root
directly, where nothing was reset at all.
"""

import contextlib
import ctypes
import itertools
import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import probe
import pytest
from house import HANGS, LAUNCHER, House
from probe import numbers, status, sweep

PR_SET_DUMPABLE = 4  # <linux/prctl.h>
UNAME26, PER_LINUX32 = 0x0020000, 0x0008  # <linux/personality.h>
EVERY_SIGNAL = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@pytest.fixture(params=['pkexec', 'root'])
def call(request: pytest.FixtureRequest, house: House) -> probe.Call:
    return {'pkexec': house.pkexec, 'root': house.launcher}[request.param]


# Row 1: arguments

NO_ARGUMENTS = f"""
import ctypes
none = (ctypes.c_char_p * 1)(None)
ctypes.CDLL(None).execve({LAUNCHER.encode()!r}, none, none)
"""


@pytest.mark.canary(
    'commandline.py',
    'if len(modes) != 1:',
    "modes = modes or ['--warmup']\n    if False:",
)
def test_no_argument_not_even_a_name(house: House) -> None:
    """Wrong usage: 2.

    CVE-2021-4034 needs a program that reads argv[1] behind the end of argv. Here the
    kernel makes argv anew, from the first line of the launcher: interpreter, its
    option, path. So no caller can take the name away, and no argument is no argument.
    """
    done = house.run(['/usr/bin/python3', '-IS', '-c', NO_ARGUMENTS], user='root')
    assert (done.returncode, done.stdout) == (2, b'')
    assert done.stderr.startswith(b'usage: plainbox-trusted-launcher-1 ')


# Row 9: descriptors 0 to 2

STREAMS = """
for fd in 0 1 2; do readlink /proc/$$/fd/$fd >> /tmp/streams; done
echo to stdout; echo to stderr >&2; cat; :
"""
COMBINATIONS = [
    closed for n in (1, 2, 3) for closed in itertools.combinations((0, 1, 2), n)
]


# The next file that is opened would take the number.
@pytest.mark.canary('start.py', "'/dev/null', os.O_RDWR", "'/etc/passwd', os.O_RDONLY")
@pytest.mark.parametrize('closed', COMBINATIONS, ids=str)
def test_closed_streams(house: House, closed: tuple[int, ...]) -> None:
    """A closed stream becomes /dev/null, the others stay the caller's."""

    def close() -> None:
        for fd in closed:
            os.close(fd)

    streams = house.path('/tmp/streams')
    try:
        done = probe.seen(house, STREAMS, before=close, input=b'fed')
        found = streams.read_text().split() if streams.exists() else []
    finally:
        streams.unlink(missing_ok=True)
    assert [fd for fd, path in enumerate(found) if path == '/dev/null'] == [*closed]
    assert len(found) == 3
    assert done.returncode == 0
    if 1 not in closed:
        assert done.stdout == b'to stdout\n' + (b'' if 0 in closed else b'fed')
    if 2 not in closed:
        assert done.stderr == b'to stderr\n'


# Row 10: descriptors from 3 up


@pytest.mark.canary('start.py', 'os.closerange(3, _EVERY_FD)', 'pass')
def test_open_descriptors(house: House) -> None:
    """CVE-2024-21626: nothing but 0, 1 and 2 reaches the job, nor stays with us.

    Also none above a limit that was lowered after it was opened.
    """

    def open_many() -> None:
        while os.open('/etc/shadow', os.O_RDONLY) < 60:
            pass
        os.dup2(60, 900)
        for fd in (*range(3, 61), 900):
            with contextlib.suppress(OSError):  # one of them is Popen's
                os.set_inheritable(fd, True)  # noqa: FBT003
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))

    look = 'for fd in /proc/{}/fd/*; do readlink $fd; done | grep shadow; '
    command = f"""
        for fd in {{0..1000}}; do [ -L /proc/$$/fd/$fd ] && echo $fd; done
        {look.format('$PPID')}
        :
    """
    done = probe.seen(house, command, before=open_many, close_fds=False)
    assert (done.returncode, done.stdout.split()) == (0, [b'0', b'1', b'2'])


# Row 11: signals


def ignore_all() -> None:
    for number in EVERY_SIGNAL:
        signal.signal(number, signal.SIG_IGN)


def block_all() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, EVERY_SIGNAL)


def ignore_and_block_all() -> None:
    ignore_all()
    block_all()


HOSTILE = [ignore_all, block_all, ignore_and_block_all]


@pytest.mark.canary(
    'start.py', 'signal.signal(number, signal.SIG_DFL)', 'pass', crashes=True
)
@pytest.mark.parametrize('before', [ignore_all, ignore_and_block_all])
def test_ignored_signals(
    house: House, call: probe.Call, before: Callable[[], None]
) -> None:
    """All default in the job; in the launcher all but a closed pipe."""
    command = 'cat /proc/$PPID/status; exec cat /proc/self/status'
    done = probe.seen(house, command, call=call, before=before)
    above, own = (status(part) for part in re.split(rb'(?<=\n)(?=Name)', done.stdout))
    assert numbers(own['SigIgn']) == set()
    assert numbers(above['SigIgn']) == {signal.SIGPIPE}


@pytest.mark.canary('execute.py', 'signal.pthread_sigmask(signal.SIG_SETMASK, ())', '0')
@pytest.mark.canary(
    'start.py', '(signal.SIG_SETMASK, BLOCKED)', '(signal.SIG_BLOCK, ())'
)
@pytest.mark.parametrize('before', [block_all, ignore_and_block_all])
def test_blocked_signals(
    house: House, call: probe.Call, before: Callable[[], None]
) -> None:
    """None in the job; in the launcher those that ask it to stop."""
    command = 'cat /proc/$PPID/status; exec cat /proc/self/status'
    done = probe.seen(house, command, call=call, before=before)
    above, own = (status(part) for part in re.split(rb'(?<=\n)(?=Name)', done.stdout))
    assert numbers(own['SigBlk']) == set()
    stops = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
    assert numbers(above['SigBlk']) == stops


@pytest.mark.canary(
    'start.py', 'signal.signal(number, signal.SIG_DFL)', 'pass', crashes=True
)
@pytest.mark.parametrize('before', [ignore_all, ignore_and_block_all])
def test_a_failure_stays_one(
    house: House, call: probe.Call, before: Callable[[], None]
) -> None:
    """Where SIGCHLD is ignored the kernel forgets how a child ended."""
    failing = probe.job('exit 3', id='generator', plugin='local')
    with probe.installed(house, probe.job('exit 42'), failing) as (checksum, local):
        assert call('--hash', checksum, before=before).returncode == 42
        done = call('--hash', checksum, '--via', local, before=before)
    assert probe.code(done) == 'PBL-GENERATOR-FAILED'
    assert b'the local job ended with 3' in done.stderr


@pytest.mark.canary(
    'start.py', '(signal.SIG_SETMASK, BLOCKED)', '(signal.SIG_SETMASK, ())'
)
@pytest.mark.parametrize('before', HOSTILE)
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_it_can_be_stopped(
    house: House, before: Callable[[], None], number: int
) -> None:
    """Whatever the caller ignores, TERM and HUP end the job, and the status says so."""
    with probe.installed(house, probe.job('echo ready; sleep 60')) as (checksum,):
        process = house.popen(
            [LAUNCHER, '--hash', checksum],
            user='root',
            before=before,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout
            assert process.stdout.readline() == b'ready\n'
            process.send_signal(number)
            ended = process.wait(HANGS)
    sweep(house)
    assert ended == 128 + number


# Row 12: timers


@pytest.mark.canary('start.py', 'signal.setitimer(timer, 0)', 'pass')
def test_a_pending_alarm(house: House, call: probe.Call) -> None:
    """A caller's alarm(2) once killed root's process."""
    done = probe.seen(house, 'sleep 3', call=call, before=lambda: signal.alarm(1))
    sweep(house)
    assert (done.returncode, done.stderr) == (0, b'')


# Row 15: umask


@pytest.mark.canary('start.py', 'os.umask(0o077)', 'pass')
@pytest.mark.canary('execute.py', 'os.umask(0o022)', 'pass')
@pytest.mark.parametrize('umask', [0, 0o777])
def test_umask(house: House, call: probe.Call, umask: int) -> None:
    """077 for the launcher, 022 for jobs: nothing that others may write, anywhere."""
    command = """
        grep Umask /proc/$PPID/status
        > file; mkdir folder; stat -c %a . file folder
    """
    done = probe.seen(house, command, call=call, umask=umask)
    assert done.stdout.split() == [b'Umask:', b'0077', b'700', b'644', b'755']


# Row 17: priorities


def humble() -> None:
    os.nice(10)
    os.sched_setaffinity(0, {0})
    # Who changed the uid has to become the owner of his /proc again: prctl(2).
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    Path('/proc/self/oom_score_adj').write_text('500')


def humbler() -> None:
    humble()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


PRIORITIES = """
    exec /usr/bin/python3 -IS -c 'import os
print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))
print(len(os.sched_getaffinity(0)), open("/proc/self/oom_score_adj").read())'
"""


@pytest.mark.canary('start.py', 'os.setpriority(os.PRIO_PROCESS, 0, 0)', 'pass')
@pytest.mark.canary('start.py', 'os.sched_setaffinity(0,', '(0,')
@pytest.mark.canary('start.py', "score.write('0')", 'pass')
@pytest.mark.parametrize('before', [humble, humbler])
def test_priorities(house: House, call: probe.Call, before: Callable[[], None]) -> None:
    """Nice, scheduler, affinity and the out-of-memory score are everybody's."""
    done = probe.seen(house, PRIORITIES, call=call, before=before)
    processors = len(os.sched_getaffinity(0))
    assert done.stdout.split() == b'0 0 %d 0'.replace(b'%d', b'%d' % processors).split()


@pytest.mark.canary('start.py', 'os.sched_setscheduler(0, os.SCHED_OTHER,', '(0,')
def test_scheduler(house: House, call: probe.Call) -> None:
    done = probe.seen(house, PRIORITIES, call=call, before=humbler)
    assert done.stdout.split()[:2] == [b'0', b'0']


# What else outlives execve(2)


def another_kernel() -> None:
    assert ctypes.CDLL(None).personality(UNAME26 | PER_LINUX32) != -1


@pytest.mark.canary('start.py', 'ctypes.CDLL(None).personality(0) == -1', 'False')
def test_personality(house: House, call: probe.Call) -> None:
    """A caller once had uname(1) say 2.6 and i686 to root's jobs."""
    command = 'cat /proc/self/personality; uname -rm'
    done = probe.seen(house, command, call=call, before=another_kernel)
    own = os.uname()
    assert done.stdout.decode().split() == ['00000000', own.release, own.machine]


# Row 20: capabilities


def test_capabilities(house: House, call: probe.Call) -> None:
    """A job of root's has root's capabilities: nothing inheritable, nothing ambient.

    What the launcher has is all that root has here, so there is nothing to take away;
    that comes with jobs as other users.
    """
    done = probe.seen(house, 'exec cat /proc/self/status', call=call)
    found = status(done.stdout)
    assert int(found['CapInh'], 16) == int(found['CapAmb'], 16) == 0
    assert int(found['CapEff'], 16) == int(found['CapBnd'], 16) != 0
