# SPDX-License-Identifier: ISC
"""Callers with nobody at the console: over ssh and from cron, in the group or not."""

import re
from collections.abc import Iterator

import pytest
from machine.booted import ACTION, LAUNCHER, Machine
from machine.console import Console

ROOT_JOB = 'plainbox run smoke/root-account'
PASSED = '\n1 job: 1 passed\n'
ASKING = {
    'implicit any': 'no',
    'implicit inactive': 'no',
    'implicit active': 'auth_admin_keep',
    'org.freedesktop.policykit.exec.path': LAUNCHER,
    'org.freedesktop.policykit.exec.allow_gui': 'TRUE',
}


@pytest.fixture
def unattended(machine: Machine) -> Iterator[None]:
    with machine.unattended('member'):
        yield


def described(machine: Machine) -> dict[str, str]:
    """What pkaction says of our action, annotations by their keys."""
    text = machine.check('pkaction', '--verbose', '--action-id', ACTION)
    lines = text.replace('annotation:', '').splitlines()[1:]
    pairs = (re.split(r':\s+| -> ', line.strip(), maxsplit=1) for line in lines)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


# Without the rule


def test_the_policy_asks(machine: Machine) -> None:
    """README: in an active local session, asked for an administrator's password.

    All others are refused.
    """
    assert ASKING.items() <= described(machine).items()


@pytest.mark.parametrize('user', ['member', 'stranger', 'admin'])
@pytest.mark.parametrize('way', ['ssh', 'cron'])
def test_refused_with_advice(machine: Machine, way: str, user: str) -> None:
    """README: a caller over ssh or from cron has no active local session, so both

    policies refuse it. plainbox(1): 3, the message says why, and what to do.
    """
    before = machine.audit()
    done = getattr(machine, way)(user, ROOT_JOB)
    assert (done.returncode, done.stdout) == (3, '')
    assert re.match('plainbox: PBL-(NOT-AUTHORIZED|NO-AGENT): ', done.stderr)
    assert '"Unattended machines"' in done.stderr
    assert machine.audit() == before


def test_refused_with_a_terminal(machine: Machine) -> None:
    """A terminal over ssh is not a place to ask at: that is for polkit to say."""
    done = machine.ssh('admin', ROOT_JOB, '-tt')
    assert done.returncode == 3
    assert 'Password' not in done.stdout


# With the rule


@pytest.mark.usefixtures('unattended')
@pytest.mark.parametrize('way', ['ssh', 'cron'])
def test_a_member_runs_root_jobs(machine: Machine, way: str) -> None:
    """README: members of `plainbox` run every installed job as root, from any

    session, without a password.
    """
    before = len(machine.audit())
    done = getattr(machine, way)('member', ROOT_JOB)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.endswith(PASSED)
    assert len(machine.audit()) == before + 4  # of the run, and of its job


@pytest.mark.usefixtures('unattended')
def test_a_member_is_not_asked_at_the_console(console: Console) -> None:
    console.log_in('member')
    said = console.enter(ROOT_JOB)
    assert (said.asked, said.status) == (0, 0), said.text


@pytest.mark.usefixtures('unattended')
def test_the_policy_stays(machine: Machine) -> None:
    """The rule gives to the group, and nothing to others: the policy is the same."""
    assert ASKING.items() <= described(machine).items()


@pytest.mark.usefixtures('unattended')
@pytest.mark.parametrize('user', ['stranger', 'admin'])
def test_others_are_still_refused(machine: Machine, user: str) -> None:
    """README: let the members of one group do it, and nobody else."""
    before = machine.audit()
    assert machine.ssh(user, ROOT_JOB).returncode == 3
    assert machine.cron(user, ROOT_JOB).returncode == 3
    assert machine.audit() == before


OTHERWISE = {
    'as-somebody': f'pkexec --user stranger {LAUNCHER} --warmup',
    'as-oneself': f'pkexec --user member {LAUNCHER} --warmup',
    'another-program': 'pkexec id',
    'copy': f'cp {LAUNCHER} copy && pkexec $PWD/copy --warmup',
    'link': f'ln -sf {LAUNCHER} link && pkexec $PWD/link --warmup',
    'interpreter': f'pkexec /usr/bin/python3 {LAUNCHER} --warmup',
}


@pytest.mark.usefixtures('unattended')
@pytest.mark.parametrize('command', OTHERWISE.values(), ids=OTHERWISE)
def test_nothing_else_is_given(machine: Machine, command: str) -> None:
    """The rule's own words: not pkexec at large, not `pkexec --user SOMEONE`."""
    assert machine.ssh('member', f'pkexec {LAUNCHER} --warmup').returncode == 0
    done = machine.ssh('member', command)
    assert (done.returncode, done.stdout) == (127, '')
    assert re.search('Not authorized|authentication agent', done.stderr)
