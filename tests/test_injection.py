# SPDX-License-Identifier: ISC
"""A failure injected at every step between the launcher's start and the job's."""

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import probe
import pytest
from house import HANGS, LAUNCHER, PROVIDERS, House, ended

# Row 22: an error is never a success


class Call(NamedTuple):
    """The number of a system call among those of its name, and what it is for."""

    name: str
    number: int
    line: str


class Outcome(NamedTuple):
    status: int
    output: bytes
    error: bytes


PRINTS = probe.job('echo ran; exit 42')
RAN = Outcome(42, b'ran\n', b'')

# Without effect if they fail: strace knows what they were for, the launcher need not.
IDLE = {'brk', 'close', 'exit_group', 'futex', 'getpid', 'ioctl', 'lseek'}
IDLE |= {'mmap', 'mremap', 'munmap', 'rt_sigreturn'}
# Where it fails Python closes one number after the other, two thousand million of them.
IDLE |= {'close_range'}

# Each of these makes the state what it has to be, or writes the line in the log.
STATE = {'chdir', 'clone', 'connect', 'getrandom', 'getresuid', 'mkdir', 'pipe2'}
STATE |= {'prctl', 'prlimit64', 'rt_sigaction', 'rt_sigprocmask', 'sched_setaffinity'}
STATE |= {'sched_setscheduler', 'sendto', 'setgroups', 'setitimer', 'setpriority'}
STATE |= {'setresgid', 'socket', 'umask', 'write'}


def of_the_library(call: Call) -> bool:
    """A question to a name service cache, of which no answer is expected.

    Or what the fork of glibc 2.41 begins and ends with: no signal at all. Python always
    asks for the old ones.
    """
    fork = re.match(r'rt_sigprocmask\((SIG_BLOCK, ~\[\], |.*, NULL, 8\))', call.line)
    nobody = call.line.startswith('socket(AF_UNIX, SOCK_STREAM')
    return bool('nscd' in call.line or nobody or fork)


def clean(house: House, checksum: str) -> tuple[list[Call], list[Call]]:
    """The calls from the room's first to the fork, and those after it."""
    command = ['strace', '-qq', '-s', '200', '-o', '/tmp/trace', LAUNCHER]
    done = house.run([*command, '--hash', checksum], user='root')
    assert Outcome(done.returncode, done.stdout, done.stderr) == RAN
    lines = house.path('/tmp/trace').read_text().splitlines()
    house.path('/tmp/trace').unlink()
    count: collections.Counter[str] = collections.Counter()
    calls = []
    for line in lines:
        name = line.split('(')[0]
        count[name] += 1
        calls.append(Call(name, count[name], line))
    names = [call.name for call in calls]
    first, fork = names.index('getresuid'), names.index('clone') + 1
    return calls[first:fork], calls[fork:]


def injected(
    house: House, checksum: str, calls: list[Call]
) -> Iterator[tuple[Call, Outcome]]:
    """What comes of an error of each of these calls, some at a time."""
    at_once = os.cpu_count() or 1
    for start in range(0, len(calls), at_once):
        with contextlib.ExitStack() as ends:
            batch = [
                (call, ends.enter_context(with_error(house, checksum, call)))
                for call in calls[start : start + at_once]
            ]
            for call, process in batch:
                out, err = process.communicate(timeout=HANGS)
                yield call, Outcome(process.returncode, out, err)


def with_error(house: House, checksum: str, call: Call) -> subprocess.Popen[bytes]:
    error = f'inject={call.name}:error=EIO:when={call.number}'
    strace = ['strace', '-qq', '-o', '/dev/null', '-e', f'trace={call.name}']
    return house.popen(
        [*strace, '-e', error, LAUNCHER, '--hash', checksum],
        user='root',
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextlib.contextmanager
def alone(house: House, one: probe.Job = PRINTS) -> Iterator[str]:
    """Our job, and nothing else installed whose files would be read, too."""
    with (
        house.replaced(f'{PROVIDERS}/system.provider', None),
        probe.installed(house, one) as (checksum,),
    ):
        yield checksum
        for folder in house.path('/tmp').glob('plainbox-*'):
            shutil.rmtree(folder)  # where an error kept it from being removed


GIVES_UP = 'except BaseException:  # we give up on it, so no half of it goes on'
CANNOT = "raise Refused('PBL-START', f'cannot set up the process: {error}') from None"


def refusal(outcome: Outcome) -> bool:
    line = outcome.error.decode('ascii')
    return (
        outcome[:2] == (125, b'')
        and line.startswith('plainbox-trusted-launcher-1: PBL-')
        and line.count('\n') == 1
    )


@pytest.mark.canary('start.py', CANNOT, 'pass')
def test_an_error_in_a_system_call(house: House) -> None:
    """CVE-2021-3560. The job starts only if every check passed.

    Here each call before the job fails once. One that makes our state must end in a
    refusal; one that only looks at something may also end in the job.
    """
    with alone(house) as checksum:
        before, _ = clean(house, checksum)
        tried = sample([call for call in before if call.name not in IDLE])
        outcomes = dict(injected(house, checksum, tried))
    # arm64 has mkdirat; a glibc that asks the vDSO makes no call of getrandom.
    assert {call.name for call in outcomes} >= STATE - {'mkdir', 'getrandom'}
    wrong = {
        call: outcome
        for call, outcome in outcomes.items()
        if not refusal(outcome)
        and (outcome != RAN or (call.name in STATE and not of_the_library(call)))
    }
    assert not wrong
    assert sum(outcome == RAN for outcome in outcomes.values()) < len(outcomes) / 3


def sample(calls: list[Call]) -> list[Call]:
    """Each call that makes our state, of those that look and of signals some."""
    few = STATE - {'rt_sigaction'}
    many = [call for call in calls if call.name not in few]
    many.sort(key=lambda call: call.name)
    return [call for call in calls if call.name in few] + many[::5]


def test_an_error_in_a_check_of_a_file(house: House) -> None:
    """What could not be opened, looked at or read is not run.

    Of the directories and files of our provider every single one is needed.
    """
    with alone(house) as checksum:
        before, _ = clean(house, checksum)
        needed = list(checks(before))
        assert len(needed) > 20
        outcomes = dict(injected(house, checksum, needed))
    assert [call for call, outcome in outcomes.items() if not refusal(outcome)] == []


def checks(calls: list[Call]) -> Iterator[Call]:
    """The opening of each directory and file of the provider, and what is done with it.

    `files` is the only module that says O_NOFOLLOW; behind the open follows fstat. The
    walk to /usr/share/plainbox-providers-1, which is not there, is not among them.
    """
    walk: list[Call] = []
    opened = False
    for call in calls:
        if 'O_NOFOLLOW' in call.line and call.name == 'openat':
            if '"/"' in call.line:
                yield from walk
                walk = []
            walk.append(call)
            if 'ENOENT' in call.line:
                walk = []
            opened = True
        elif opened and call.name in ('newfstatat', 'fstat'):
            walk.append(call)
            opened = False
        elif call.name == 'read' and '4194305)' in call.line:
            walk.append(call)
    yield from walk


def test_an_error_after_the_job(house: House) -> None:
    """The status is the job's, or a refusal: never another, and nothing is left."""
    with alone(house) as checksum:
        _, after = clean(house, checksum)
        tried = [call for call in after if call.name.isidentifier()]
        tried = [call for call in tried if call.name not in IDLE]
        outcomes = dict(injected(house, checksum, tried))
    assert {'wait4', 'pidfd_open', 'poll'} <= {call.name for call in outcomes}
    for call, outcome in outcomes.items():
        assert outcome.status in (42, 125), call
        assert b'Traceback' not in outcome.error, call


@pytest.mark.canary('execute.py', GIVES_UP, 'except MemoryError:', crashes=True)
@pytest.mark.parametrize('name', ['pidfd_open', 'wait4', 'poll'])
def test_who_gives_up_ends_the_whole_tree(house: House, name: str) -> None:
    """Never a half-run job: what the launcher cannot follow does not go on."""
    command = 'exec > /dev/null 2>&1; sleep 60 & setsid sleep 60 & sleep 60'
    with alone(house, probe.job(command)) as checksum:
        number = 3 if name == 'poll' else 1  # after the log's and the start's
        with with_error(house, checksum, Call(name, number, '')) as process:
            out, err = process.communicate(timeout=HANGS)
        left = house.strangers()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            assert ended(pid, HANGS)
    assert refusal(Outcome(process.returncode, out, err))
    assert not left


BECOMING = [
    'tree.prctl(tree.PR_SET_PDEATHSIG, signal.SIGKILL)',
    'os.dup2(fd, target)',
    'os.chdir(directory)',
    'os.umask(0o022)',
    'signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n',
    'signal.pthread_sigmask(signal.SIG_SETMASK, ())',
]


@pytest.mark.parametrize('step', BECOMING)
def test_an_error_between_fork_and_exec(house: House, step: str) -> None:
    """strace counts each process's calls alike; so here a line is made to fail."""
    with house.canary('execute.py', step, "raise OSError(5, 'injected')\n"):
        done = probe.seen(house, 'echo ran')
    assert probe.code(done) == 'PBL-EXEC'
    assert b'injected' in done.stderr
    assert done.stdout == b''


@pytest.mark.canary('execute.py', '    if failure:\n', '    if False:\n')
def test_a_missing_program(house: House) -> None:
    with (
        probe.installed(house, probe.job('echo ran', shell='dash')) as (checksum,),  # noqa: S604  # a field
        house.replaced('/usr/bin/dash', None),
    ):
        done = house.launcher('--hash', checksum)
    assert probe.code(done) == 'PBL-EXEC'
