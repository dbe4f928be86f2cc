# SPDX-License-Identifier: ISC
"""One consent for a whole run, what logout ends, and in what view jobs run."""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine.base import PASSWORDS
from machine.booted import CHECKOUT, Machine, booted, install
from machine.console import QUESTION, SHELL, Console

from plainbox_launcher.trusted import tree

ADMIN = PASSWORDS['admin'] + '\r'
ROOT_JOB = 'plainbox run smoke/root-account'
GIVER = f'/usr/bin/python3 {CHECKOUT}/tests/giver.py'
HERE = Path(__file__).parents[2]

DEFINITION = """
[PlainBox Provider]
name = 2026.plainbox.machine:channel
version = 1.0
location = /usr/lib/channel-provider
"""
PROVIDER = '/usr/share/plainbox-trusted-launcher-1/channel.provider'
UNITS = """
id: channel/first
user: root
command: id --user --name

id: channel/pause
command: for n in $(seq 9); do sleep 45; echo "$((n * 45)) seconds are over"; done

id: channel/last
user: root
command: id --user --name

id: channel/keeping
command: pkcheck --list-temp

id: channel/session
context: user-session
command: echo "$(id -un) $XDG_SESSION_TYPE $XDG_RUNTIME_DIR $PWD"; exit 7

id: channel/lingers
context: user-session
command: setsid sleep 8888 & trap '' TERM; sleep 8888; sleep 8888

id: channel/stays
user: root
command:
 trap '' TERM HUP INT
 echo started
 setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 7777; done' &
 while :; do sleep 7777; done
"""
LONG = "plainbox run --job-timeout 0 {} 'channel/[flp]*'"
RUNNER = '/usr/lib/plainbox-launcher/plainbox_launcher/runner.py'
FORGETS = 'self._ends.callback(_forget)'
TWICE = (
    "sh -c 'for run in 1 2; do plainbox run channel/first channel/keeping; "
    "echo over; pkcheck --list-temp; done 2>&1'"
)
CTRL_Z = '\x1a'


@contextlib.contextmanager
def provided(machine: Machine) -> Iterator[None]:
    """The jobs above, installed by an administrator."""
    machine.check('mkdir', '-p', '/usr/lib/channel-provider/units')
    machine.put('/usr/lib/channel-provider/units/channel.pxu', UNITS)
    machine.put(PROVIDER, DEFINITION)
    try:
        yield
    finally:
        machine.put(PROVIDER, None)


@pytest.fixture
def person(console: Console, machine: Machine) -> Iterator[Console]:
    with provided(machine):
        console.log_in('tester')
        yield console


def listed(machine: Machine) -> dict[int, str]:
    """What runs of a job that stays, and of the launcher."""
    find = 'grep -Elsz "^(7777|.*/plainbox-trusted-launcher-1)$" /proc/[0-9]*/cmdline'
    found = machine.run('sh', '-c', f'{find} | cut -d / -f 3').stdout.split()
    commands = (machine.run('cat', f'/proc/{pid}/cmdline').stdout for pid in found)
    return dict(zip(map(int, found), commands, strict=True))


# One consent


def begin(machine: Machine, option: str) -> None:
    """Start the long run as a person at the console, who is asked first."""
    machine.console.type(LONG.format(option) + '\r')
    machine.console.wait(QUESTION)
    machine.console.type(ADMIN)
    machine.console.wait(r'passed in')


def follow(console: Console) -> int:
    """Answer until the run is over; how often there was a question."""
    asked, patterns = 0, [SHELL, QUESTION, r'\d+ seconds are over']
    while what := console.wait(*patterns):
        if what == 1:
            asked += 1
            console.type(ADMIN)
    return asked


@pytest.mark.skipif('PLAINBOX_SLOW' not in os.environ, reason='takes seven minutes')
def test_asked_once_in_400_seconds(
    person: Console, machine: Machine, debs: Path | None
) -> None:
    """plainbox(1): once for all of them; with --per-job a run of more than five

    minutes may be asked again. Both at the same time, on two machines.
    """
    with booted(machine.release, HERE, debs) as other:
        install(other)
        with provided(other):
            other.console.log_in('tester')
            begin(machine, '')
            begin(other, '--per-job')
            assert follow(person) == 0, person.seen
            assert follow(other.console) == 1, other.console.seen
    for console in person, other.console:
        assert '\n3 jobs: 3 passed\n' in console.seen, console.seen
        assert console.seen.count('\nroot\n') == 2


# Logout


def stop_and_exit(machine: Machine, console: Console) -> None:
    """A shell hangs up what is stopped when it exits."""
    del machine
    console.type(CTRL_Z)
    console.wait(SHELL)
    console.type('exit\r')
    console.wait(SHELL)  # "There are stopped jobs."
    console.type('exit\r')


def hang_up(machine: Machine, console: Console) -> None:
    """As when the line to a terminal breaks."""
    del console
    machine.check('systemctl', 'restart', 'console-getty.service')


def terminate(machine: Machine, console: Console) -> None:
    del console
    session = machine.check('loginctl', 'show-seat', 'seat0', '-p', 'ActiveSession')
    machine.check('loginctl', 'terminate-session', session.strip().partition('=')[2])


def kill_runner(machine: Machine, console: Console) -> None:
    find = "grep -lsz '^/usr/bin/plainbox$' /proc/[0-9]*/cmdline | cut -d / -f 3"
    machine.check('sh', '-c', f'kill -KILL $({find})')
    console.wait(SHELL)


WAYS = {
    'exit': stop_and_exit,
    'hangup': hang_up,
    'terminated': terminate,
    'killed': kill_runner,
}


@pytest.mark.parametrize('way', WAYS)
def test_nothing_of_roots_outlives_a_logout(
    person: Console, machine: Machine, way: str
) -> None:
    """plainbox-channel(7): then everything is ended, within three seconds.

    That is shown, see `pytest -rP`; here it is less than the five seconds which a job
    has that is only cancelled.
    """
    person.type('plainbox run channel/stays\r')
    person.wait(QUESTION)
    person.type(ADMIN)
    person.wait(r'started\r\n')
    assert listed(machine)
    begun = time.monotonic()
    WAYS[way](machine, person)
    while left := listed(machine):
        assert time.monotonic() - begun < tree.GRACE, left
    print(f'{time.monotonic() - begun:.1f} seconds')


# What polkit keeps


@pytest.fixture
def of_root(machine: Machine) -> Iterator[str]:
    """An agent of a session, as a desktop's is, that knows root's password."""
    machine.check('gpasswd', '--delete', 'admin', 'sudo')  # root's it is
    yield f"{GIVER} '{PASSWORDS['root']}' $XDG_SESSION_ID"
    machine.check('gpasswd', '--add', 'admin', 'sudo')


@pytest.mark.parametrize('forgets', [True, False], ids=['sound', 'canary'])
def test_the_consent_is_forgotten(
    person: Console, machine: Machine, of_root: str, *, forgets: bool
) -> None:
    """SECURITY.rst: at the end the consent is revoked where polkit allows it.

    That is what the agent of a session asked for; and the next run asks again.
    """
    before = machine.check('cat', RUNNER)
    assert FORGETS in before
    if not forgets:
        machine.put(RUNNER, before.replace(FORGETS, ''))
    try:
        said = person.enter(f'{of_root} {TWICE}')
    finally:
        machine.put(RUNNER, before)
    assert (said.asked, said.status) == (0, 0), said.text
    assert said.text.count('agent: asked') == 2
    seen = re.findall(r'(?m)^(over|action: )', said.text)
    assert (seen == ['action: ', 'over'] * 2) == forgets, said.text


# In what view

SERVICE = 'systemd-run --quiet --pipe --wait --collect --uid=member'
STRICT = '--property=ProtectSystem=strict --property=ReadWritePaths=/tmp'


@pytest.mark.parametrize(
    ('properties', 'view'),
    [('', []), (STRICT, ['private-mounts', 'read-only-root'])],
    ids=['open', 'strict'],
)
def test_the_view_of_a_service(
    machine: Machine, properties: str, view: list[str]
) -> None:
    """plainbox(1): in what way the job did not see the machine as it is.

    A unit with ProtectSystem=strict shuts its root jobs in, too; people are warned.
    """
    report = '/tmp/view.json'
    command = f'{SERVICE} {properties} {ROOT_JOB} --report json={report}'
    with machine.unattended('member'):
        done = machine.run(*command.split())
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(machine.check('cat', report))['jobs']
    machine.check('rm', report)
    assert (record['view'], record['status']) == (view, 'completed')
    warning = "plainbox: root's jobs see a sandbox instead of the machine: "
    assert done.stderr == (f'{warning}{", ".join(view)}\n' if view else '')


# In whose session

SESSION = 'plainbox run channel/session channel/lingers --job-timeout 3'
SAID = r'tester tty /run/user/\d+ \S*/plainbox-[0-9a-f]{16}\n'


@pytest.mark.parametrize('way', ['ssh', 'service'])
def test_a_job_in_the_session_of_another(
    person: Console, machine: Machine, way: str
) -> None:
    """plainbox-job(5): in the active session at the machine's own seat, whoever's that

    is, also if its caller is a service or is logged in from elsewhere; output, exit
    status and time limit as for any job.
    """
    assert person.enter('true').status == 0
    with machine.unattended('member'):
        if way == 'ssh':
            done = machine.ssh('member', SESSION)
        else:
            done = machine.run(*SERVICE.split(), *SESSION.split())
    first, second = done.stdout.split('\n[2/2] ')
    assert re.search(SAID, first), done
    assert first.endswith('s: exit status 7'), done
    assert '\n    timed out in ' in second, done
    assert done.returncode == 1
    assert machine.run('pgrep', '--full', 'sleep 8888').stdout == ''


def test_nobody_is_at_the_machine(machine: Machine) -> None:
    """An own code, and what to do."""
    with provided(machine), machine.unattended('member'):
        done = machine.ssh('member', 'plainbox run channel/session')
    assert done.returncode == 3
    assert 'denied: PBL-SESSION-NONE: ' in done.stdout or 'REMOTE: ' in done.stdout
