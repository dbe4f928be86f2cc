# SPDX-License-Identifier: ISC
"""What a person sees who logs in on the console and runs jobs."""

import re

import pytest
from machine.base import PASSWORDS
from machine.booted import ACTION, LAUNCHER, Machine
from machine.console import CTRL_C, CTRL_D, Console

ADMIN = PASSWORDS['admin'] + '\r'
SMOKE = "plainbox run 'smoke/*'"
ROOT_JOB = 'plainbox run smoke/root-account'

# A shell with an agent of its own, as it is known to polkit, calls pkexec twice.
TWICE = (
    "sh -c 'ready=$(pkttyagent --process $$ --notify-fd 1 &); for run in 1 2; do "
    f"pkexec --disable-internal-agent {LAUNCHER} --warmup && {{}}; done'"
)


@pytest.fixture
def person(console: Console) -> Console:
    """At the console sits somebody who is no administrator but knows one."""
    console.log_in('tester')
    return console


def test_the_session_is_local_and_active(person: Console) -> None:
    """polkit(8): allow_active is for active sessions on local consoles."""
    properties = '--property=Active --property=Remote --property=Seat'
    said = person.enter(f'loginctl show-session $XDG_SESSION_ID {properties}')
    assert set(said.text.split()) == {'Active=yes', 'Remote=no', 'Seat=seat0'}


def test_asks_once_and_runs_all(person: Console, machine: Machine) -> None:
    """plainbox(1): the password is asked for once, before the first of them."""
    before = len(machine.audit())
    said = person.enter(SMOKE, ADMIN)
    assert (said.asked, said.status) == (1, 0), said.text
    prompt, complete, jobs = said.text.partition('==== AUTHENTICATION COMPLETE ====')
    assert f'==== AUTHENTICATING FOR {ACTION} ====' in prompt
    assert 'The password is never stored and never submitted' in prompt
    assert 'Authenticating as: admin' in prompt
    assert complete
    assert '[ 1/' in jobs
    as_root = re.findall(r'(?m)^\[ *\d+/\d+\] \S+, as root$', jobs)
    assert len(as_root) >= 4
    assert re.search(r'(?m)^(\d+) jobs: \1 passed$', jobs)
    events = [line['MESSAGE'].split()[0] for line in machine.audit()[before:]]
    assert events.count('start') == events.count('end') == len(as_root), events


def test_asks_again_in_the_next_run(person: Console) -> None:
    """pkexec asks polkit for its parent, and what polkit keeps it keeps for that

    process: for one run, not for all that are started in the five minutes after it.
    """
    for _ in range(2):
        said = person.enter(ROOT_JOB, ADMIN)
        assert (said.asked, said.status) == (1, 0), said.text


def test_what_is_kept_is_for_one_process(person: Console) -> None:
    """The reason of that: one parent is asked once, whatever it runs; another again."""
    said = person.enter(TWICE.format('true'), ADMIN)
    assert (said.asked, said.status) == (1, 0), said.text
    said = person.enter(TWICE.format(ROOT_JOB), ADMIN)
    assert (said.asked, said.status) == (3, 0), said.text


def test_root_where_there_is_no_administrator(
    person: Console, machine: Machine
) -> None:
    """polkit(8) asks for root's password where the group sudo is empty."""
    machine.check('gpasswd', '--delete', 'admin', 'sudo')
    try:
        said = person.enter(ROOT_JOB, PASSWORDS['root'] + '\r')
    finally:
        machine.check('gpasswd', '--add', 'admin', 'sudo')
    assert 'Authenticating as: root' in said.text
    assert (said.asked, said.status) == (1, 0), said.text


@pytest.mark.parametrize(
    ('answer', 'status', 'words'),
    [
        ('not the password\r', 3, 'plainbox: PBL-NOT-AUTHORIZED: '),
        (PASSWORDS['tester'] + '\r', 3, 'plainbox: PBL-NOT-AUTHORIZED: '),
        (CTRL_D, 3, 'plainbox: PBL-NOT-AUTHORIZED: '),
        (CTRL_C, 130, ''),
    ],
    ids=['wrong', 'own-password', 'ctrl-d', 'ctrl-c'],
)
def test_no_root_job_without_the_password(
    person: Console, machine: Machine, answer: str, status: int, words: str
) -> None:
    """plainbox(1): 3, root jobs could not be run: the message says why; 130,

    interrupted. And the terminal shows again what is typed.
    """
    before = machine.audit()
    said = person.enter(f'{SMOKE} 2>refused', answer)
    assert (said.asked, said.status) == (1, status), said.text
    assert '/11] ' not in said.text
    assert person.enter('cat refused').text.startswith(words)
    assert machine.audit() == before
    assert re.search(r'\secho\s', person.enter('stty -a').text)


def test_nobody_is_asked_where_the_policy_says_so(
    person: Console, machine: Machine
) -> None:
    """README: whoever sits at the machine is not asked. For test benches."""
    with machine.policy('yes'):
        said = person.enter(SMOKE)
        refused = machine.ssh('tester', ROOT_JOB)
    assert (said.asked, said.status) == (0, 0), said.text
    assert refused.returncode == 3
