# SPDX-License-Identifier: ISC
"""The limits that the caller hands over, and those that a job finds.

Right on machines where root may raise a hard limit, and where not, as in containers.
"""

import re
import resource

import probe
import pytest
from house import LAUNCHER, House
from probe import status

INF = resource.RLIM_INFINITY


@pytest.fixture(params=['pkexec', 'root'])
def call(request: pytest.FixtureRequest, house: House) -> probe.Call:
    return {'pkexec': house.pkexec, 'root': house.launcher}[request.param]


# Row 13: limits

# What systemd gives a service, as /proc/PID/limits names it; systemd.exec(5).
GOLDEN = {
    'Max cpu time': (INF, INF),
    'Max file size': (INF, INF),
    'Max data size': (INF, INF),
    'Max stack size': (8 << 20, INF),
    'Max core file size': (0, 0),
    'Max resident set': (INF, INF),
    'Max processes': (INF, INF),
    'Max open files': (1024, 524288),
    'Max locked memory': (8 << 20, 8 << 20),
    'Max address space': (INF, INF),
    'Max pending signals': (INF, INF),
    'Max msgqueue size': (819200, 819200),
    'Max nice priority': (0, 0),
    'Max realtime priority': (0, 0),
    'Max realtime timeout': (INF, INF),
}

# The kind, and a value with which Python and pkexec still start.
LOWERED = {
    'Max cpu time': (resource.RLIMIT_CPU, 20),
    'Max file size': (resource.RLIMIT_FSIZE, 1),
    'Max data size': (resource.RLIMIT_DATA, 1 << 28),
    'Max stack size': (resource.RLIMIT_STACK, 1 << 20),
    'Max core file size': (resource.RLIMIT_CORE, 0),
    'Max processes': (resource.RLIMIT_NPROC, 50),
    'Max open files': (resource.RLIMIT_NOFILE, 30),
    'Max locked memory': (resource.RLIMIT_MEMLOCK, 0),
    'Max address space': (resource.RLIMIT_AS, 1 << 30),
    'Max pending signals': (resource.RLIMIT_SIGPENDING, 20),
    'Max msgqueue size': (resource.RLIMIT_MSGQUEUE, 0),
    'Max realtime timeout': (resource.RLIMIT_RTTIME, 10_000_000),
}
SET_LIMITS = '        _limits()\n'
HARMLESS = ('Max core file size', 'Max msgqueue size')


def limits(text: str) -> dict[str, tuple[int, int]]:
    """A limits file of proc_pid_limits(5)."""

    def number(word: str) -> int:
        return INF if word == 'unlimited' else int(word)

    rows = [re.split(r'\s{2,}', line.strip()) for line in text.splitlines()[1:]]
    return {row[0]: (number(row[1]), number(row[2])) for row in rows}


def size(limit: int) -> float:
    return float('inf') if limit == INF else limit


def may_raise(house: House) -> bool:
    """Whether root in the house has CAP_SYS_RESOURCE; in containers it has not."""
    own = status(house.check('cat', '/proc/self/status'))
    return bool(int(own['CapEff'], 16) >> 24 & 1)


def expected(house: House) -> dict[str, tuple[int, int]]:
    """The golden limits, as far as root may set them here."""
    own = limits(house.check('cat', '/proc/self/limits').decode())
    most = {name: INF if may_raise(house) else own[name][1] for name in GOLDEN}
    return {
        name: (min(soft, most[name], key=size), min(hard, most[name], key=size))
        for name, (soft, hard) in GOLDEN.items()
    }


def lower(kind: int, value: int, *, hard: bool) -> None:
    above = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value, value if hard else above))


def lower_all() -> None:
    for kind, value in LOWERED.values():
        lower(kind, value, hard=False)


LOOK = 'cat /proc/self/limits; head -c 100000 /dev/zero > file; stat -c %s file >&2'


@pytest.mark.canary('start.py', SET_LIMITS, '')
def test_lowered_soft_limits(house: House, call: probe.Call) -> None:
    """The limits of a service, whatever the caller's are; no file is cut short."""
    done = probe.seen(house, LOOK, call=call, before=lower_all)
    found = limits(done.stdout.decode())
    assert {kind: found[kind] for kind in GOLDEN} == expected(house)
    assert (done.returncode, done.stderr) == (0, b'100000\n')


@pytest.mark.canary('start.py', SET_LIMITS, '')
@pytest.mark.parametrize('name', LOWERED)
def test_lowered_hard_limits(house: House, name: str) -> None:
    """Raised again, or the job does not run; where less does no harm it may stay.

    Root without CAP_SYS_RESOURCE, as in containers, cannot raise a hard limit.
    """
    kind, value = LOWERED[name]
    done = probe.seen(house, LOOK, before=lambda: lower(kind, value, hard=True))
    golden = expected(house)
    if not may_raise(house):
        if name not in HARMLESS:
            assert probe.code(done) == 'PBL-START'
            return
        golden[name] = (0, 0)
    found = limits(done.stdout.decode())
    assert {kind: found[kind] for kind in GOLDEN} == golden
    assert (done.returncode, done.stderr) == (0, b'100000\n')


# Row 14: core dumps and ptrace


def allow_cores() -> None:
    resource.setrlimit(
        resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2
    )


@pytest.mark.canary(
    'start.py', 'RLIMIT_CORE: (0, 0, 0)', 'RLIMIT_CORE: (0, _INF, _INF)'
)
def test_no_core(house: House, call: probe.Call) -> None:
    """A crash leaves no core, of the job or of the launcher."""
    command = """
        grep core /proc/$PPID/limits
        bash -c 'kill -SEGV $$'
        ls -A
    """
    done = probe.seen(house, command, call=call, before=allow_cores)
    assert done.stdout.split() == b'Max core file size 0 0 bytes'.split()
    assert b'Segmentation fault' in done.stderr


@pytest.mark.canary('start.py', 'tree.prctl(_PR_SET_DUMPABLE, 0)', 'pass')
def test_not_dumpable(house: House) -> None:
    """Nobody reads what root read out of the launcher, by a core dump or ptrace.

    Only CAP_SYS_PTRACE goes past prctl(2), PR_SET_DUMPABLE; so here root lacks it.
    """
    with probe.installed(house, probe.job('ls -l /proc/$PPID/exe')) as (checksum,):
        drop = ['setpriv', '--bounding-set', '-sys_ptrace']
        command = [*drop, LAUNCHER, '--hash', checksum]
        done = house.run(command, user='root')
    assert b'Permission denied' in done.stderr
