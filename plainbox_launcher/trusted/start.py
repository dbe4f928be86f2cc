# SPDX-License-Identifier: ISC
"""The state in which the caller left us, made ours before anything else.

pkexec resets the environment, the uids and the descriptors from 3 up. All the
rest of a process's state reaches root as the caller prepared it: execve(2)
lists it under "the following attributes are preserved". The order below is the
argument: who we are; then nothing of the environment, for us and all that comes
after; then descriptors, before anything is opened; then all that could interrupt
us; then all that could bend what we do.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import Final

from . import tree
from .errors import Refused

# The one user namespace in which root is root: user_namespaces(7), uid_map.
_INITIAL_NAMESPACE: Final = ['0', '0', '4294967295']

# close_range(2) takes any number; a lowered RLIMIT_NOFILE says nothing about
# what was opened before.
_EVERY_FD: Final = 2**31 - 1

_PR_SET_DUMPABLE: Final = 4  # prctl(2)
_INF: Final = resource.RLIM_INFINITY

# least, soft, hard: what a service gets from systemd, systemd-system.conf(5),
# but no core dumps: they would hold what root read. `least` is for root without
# CAP_SYS_RESOURCE, who cannot raise a hard limit: how low it may already be.
LIMITS: Final = {
    resource.RLIMIT_CORE: (0, 0, 0),
    resource.RLIMIT_CPU: (_INF, _INF, _INF),
    resource.RLIMIT_FSIZE: (_INF, _INF, _INF),
    resource.RLIMIT_DATA: (_INF, _INF, _INF),
    resource.RLIMIT_STACK: (8 << 20, 8 << 20, _INF),
    resource.RLIMIT_RSS: (_INF, _INF, _INF),
    resource.RLIMIT_NPROC: (4096, _INF, _INF),
    resource.RLIMIT_NOFILE: (1024, 1024, 524288),
    resource.RLIMIT_MEMLOCK: (64 << 10, 8 << 20, 8 << 20),
    resource.RLIMIT_AS: (_INF, _INF, _INF),
    resource.RLIMIT_SIGPENDING: (4096, _INF, _INF),
    resource.RLIMIT_MSGQUEUE: (0, 819200, 819200),
    resource.RLIMIT_NICE: (0, 0, 0),
    resource.RLIMIT_RTPRIO: (0, 0, 0),
    resource.RLIMIT_RTTIME: (_INF, _INF, _INF),
}

# Blocked, and looked at between two steps: no handler ever interrupts us.
# SIGINT and SIGQUIT come from the terminal and reach the job by themselves.
STOPS: Final = frozenset({signal.SIGTERM, signal.SIGHUP})
BLOCKED: Final = STOPS | {signal.SIGINT, signal.SIGQUIT}


def settle() -> dict[bytes, bytes]:
    """Make the process's state ours. Returns the environment we were given.

    Raises Refused where we are not quite root or a limit cannot be set.
    """
    if set(os.getresuid()) != {0}:
        raise Refused('PBL-NOT-ROOT', 'not started as root')
    if not (sys.flags.isolated and sys.flags.no_site and sys.flags.utf8_mode):
        raise Refused('PBL-INTERPRETER', 'python3 was not started with -ISXutf8')
    given = dict(os.environb)
    os.environ.clear()
    try:
        _descriptors()
        _groups()
        _signals_and_timers()
        os.umask(0o077)
        os.chdir('/')
        _limits()
        _priorities()
        _personality()
    except (OSError, ValueError) as error:
        raise Refused('PBL-START', f'cannot set up the process: {error}') from None
    return given


def _descriptors() -> None:
    os.closerange(3, _EVERY_FD)
    for fd in 0, 1, 2:
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is this one: open(2).
            os.open('/dev/null', os.O_RDWR)


def _groups() -> None:
    with open('/proc/self/uid_map', encoding='ascii') as uid_map:
        if uid_map.read().split() != _INITIAL_NAMESPACE:
            raise Refused('PBL-NAMESPACE', 'root of a user namespace is not root')
    os.setgroups([0])
    os.setresgid(0, 0, 0)


def _signals_and_timers() -> None:
    for timer in signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF:
        signal.setitimer(timer, 0)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    # A closed pipe is an error to look at, not a reason to vanish.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, BLOCKED)


def _limits() -> None:
    tree.prctl(_PR_SET_DUMPABLE, 0)  # nor is our memory anybody else's to read
    for kind, (least, soft, hard) in LIMITS.items():
        try:
            resource.setrlimit(kind, (soft, hard))
        except ValueError:
            hard = resource.getrlimit(kind)[1]
            if _size(hard) < _size(least):
                raise Refused('PBL-START', 'a resource limit is too low') from None
            resource.setrlimit(kind, (min(soft, hard, key=_size), hard))


def _size(limit: int) -> float:
    return float('inf') if limit == _INF else limit


def _priorities() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setaffinity(0, range(os.sysconf('SC_NPROCESSORS_CONF')))
    with open('/proc/self/oom_score_adj', 'w', encoding='ascii') as score:
        score.write('0')


def _personality() -> None:
    # personality(2): 0 is Linux as it is. A caller's would have uname(2) lie to
    # jobs about kernel and machine.
    if ctypes.CDLL(None).personality(0) == -1:
        raise OSError('the personality cannot be set')


def view() -> tuple[str, ...]:
    """In what words our view of the machine differs from the machine.

    A service's sandbox, systemd.exec(5), is inherited by all that it starts: what a
    job finds in there may not be so outside.
    """
    words = []
    if _has_private_mounts():
        words.append('private-mounts')
    if os.statvfs('/').f_flag & os.ST_RDONLY:
        words.append('read-only-root')
    with open('/proc/self/status', encoding='utf-8', errors='replace') as status:
        if any(line.split() == ['NoNewPrivs:', '1'] for line in status):
            words.append('no-new-privileges')
    return tuple(words)


def _has_private_mounts() -> bool:
    """Whether our mounts are not those of the first process, as far as we can see.

    Where we may not look at it, a root that follows another gives us away:
    mount_namespaces(7), proc_pid_mountinfo(5).
    """
    try:
        return os.readlink('/proc/self/ns/mnt') != os.readlink('/proc/1/ns/mnt')
    except OSError:
        with open('/proc/self/mountinfo', encoding='utf-8', errors='replace') as mounts:
            found = [line.split(' ') for line in mounts]
        return any(word[4] == '/' and 'master:' in ' '.join(word) for word in found)
