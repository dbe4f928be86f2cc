# SPDX-License-Identifier: ISC
"""What plainbox doctor says to a person at the console and to one far away,

and what polkit forgets of a consent that was given in a session.
"""

import json
import re

import pytest
from machine.base import PASSWORDS
from machine.booted import ACTION, CHECKOUT, Machine
from machine.console import Console

GIVER = f'/usr/bin/python3 {CHECKOUT}/tests/giver.py'
CONSENT = f'/usr/bin/python3 -B {CHECKOUT}/tests/consent.py'
SERVICE = 'systemd-run --quiet --pipe --wait --collect'


def line(text: str, topic: str) -> str:
    """What is said about a topic, with its mark."""
    found = re.findall(rf'(?m)^(\S+) +{topic} {{2,}}(\S.*)$', text)
    assert len(found) == 1, text
    return ' '.join(found[0])


@pytest.fixture
def person(console: Console) -> Console:
    console.log_in('tester')
    return console


def test_at_the_console(person: Console) -> None:
    """Exit 0 when root jobs will run; nobody is asked by the doctor itself."""
    said = person.enter('plainbox doctor')
    assert (said.asked, said.status) == (0, 0), said.text
    assert re.fullmatch(r'ok \w+, active, seat0, tty', line(said.text, 'session'))
    consent = line(said.text, 'consent')
    assert consent == 'ok polkit will ask for the password of admin'
    assert line(said.text, 'prompt') == 'ok pkttyagent, on this terminal'
    assert said.text.endswith("\nready for root's jobs")


def test_where_nobody_is_asked(person: Console, machine: Machine) -> None:
    with machine.policy('yes'):
        said = person.enter('plainbox doctor')
    assert said.status == 0
    assert line(said.text, 'policy') == 'ok yes: asks nobody who sits here'
    assert line(said.text, 'consent') == 'ok nobody is asked, as the policy says'


def test_started_by_the_desktop(person: Console) -> None:
    """Terminals of desktops are started by the user's manager, in no session."""
    said = person.enter(f'{SERVICE} --user plainbox doctor')
    assert re.fullmatch(r'ok \w+, active, seat0, tty', line(said.text, 'session'))
    assert 'polkit will ask for' in said.text
    assert 'PROBLEM  prompt      PBL-NO-AGENT: ' in said.text
    assert said.status == 3


@pytest.mark.parametrize('user', ['tester', 'admin'])
def test_over_ssh(machine: Machine, user: str) -> None:
    """It says why not, and ends with 3."""
    done = machine.ssh(user, 'plainbox doctor')
    assert (done.returncode, done.stderr) == (3, '')
    session = line(done.stdout, 'session')
    assert re.fullmatch(r'warning \w+, active, remote, tty', session)
    consent = line(done.stdout, 'consent')
    assert consent == 'PROBLEM PBL-NOT-AUTHORIZED: polkit allows you no root jobs'
    assert '"Unattended machines" in the README' in ' '.join(done.stdout.split())
    assert done.stdout.endswith("\nnot ready for root's jobs: 1 problem\n")


def test_over_ssh_in_the_group(machine: Machine) -> None:
    with machine.unattended('member'):
        done = machine.ssh('member', 'plainbox doctor')
    assert (done.returncode, done.stderr) == (0, '')
    consent = line(done.stdout, 'consent')
    assert consent == 'ok nobody is asked, as a rule of polkit says'


def test_in_a_service_that_is_shut_in(machine: Machine) -> None:
    """A unit with ProtectSystem=strict: its jobs see a sandbox."""
    shut = '--property=ProtectSystem=strict --property=PrivateTmp=yes'
    text = machine.check(*f'{SERVICE} {shut} plainbox doctor --json'.split())
    found = {each['about']: each for each in json.loads(text)['findings']}['view']
    seen = '/ /usr /etc /var /run read-only, /dev /tmp /var/tmp of its own'
    assert found['text'] == f"root's jobs will see a sandbox: {seen}"
    assert found['mark'] == 'warning'


def test_in_a_service_that_may_not(machine: Machine) -> None:
    command = f'{SERVICE} --uid=tester --property=NoNewPrivileges=yes plainbox doctor'
    done = machine.run(*command.split())
    assert done.returncode == 3
    privileges = line(done.stdout, 'privileges')
    assert privileges.startswith('PROBLEM PBL-NO-NEW-PRIVS: ')
    session = line(done.stdout, 'session')
    assert session.startswith('warning none, so that for polkit ')


def test_the_agent_of_a_session(person: Console, machine: Machine) -> None:
    """The desktop's dialog: who asks for all processes of a session."""
    del machine
    said = person.enter(f'{GIVER} - $XDG_SESSION_ID plainbox doctor')
    assert (said.asked, said.status) == (0, 0), said.text
    assert 'agent: asked' not in said.text
    assert line(said.text, 'prompt') == "ok the desktop's dialog"


def test_a_consent_is_revoked(person: Console, machine: Machine) -> None:
    """SECURITY.rst: at the end the consent is revoked where polkit allows it.

    That is what the agent of a session asked for.
    """
    machine.check('gpasswd', '--delete', 'admin', 'sudo')  # root's password it is
    try:
        said = person.enter(f"{GIVER} '{PASSWORDS['root']}' $XDG_SESSION_ID {CONSENT}")
    finally:
        machine.check('gpasswd', '--add', 'admin', 'sudo')
    assert said.status == 0, said.text
    found = json.loads(next(x for x in said.text.splitlines() if x.startswith('{')))
    assert (found['before'], found['first']) == ('ask', 0)
    assert found['kept'][0] == 'yes'
    assert found['child'] == 'ask\n'
    assert (found['revoked'], found['after']) == (True, ['ask', ''])
    assert found['second'] == 0
    assert said.text.count('agent: asked') == 2, ACTION


def test_a_consent_given_on_a_terminal(person: Console, machine: Machine) -> None:
    """What pkttyagent asked for, for a process, is kept until that process ends."""
    machine.check('gpasswd', '--delete', 'admin', 'sudo')
    try:
        said = person.enter(f"{GIVER} '{PASSWORDS['root']}' process {CONSENT}")
    finally:
        machine.check('gpasswd', '--add', 'admin', 'sudo')
    assert said.status == 0, said.text
    found = json.loads(next(x for x in said.text.splitlines() if x.startswith('{')))
    assert (found['kept'][0], found['child']) == ('yes', 'ask\n')
    assert (found['revoked'], found['after'][0]) == (False, 'yes')
    assert said.text.count('agent: asked') == 1
