# SPDX-License-Identifier: ISC
"""The policies and the rule, as polkitd reads them and pkexec obeys them.

Nobody in the house has a logind session, so allow_any decides, and then the rule.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import ACTION, CHECKOUT, LAUNCHER, POLICY, RULES, House

VARIANTS = ['auth_admin_keep', 'yes']
NOT_AUTHORISED = b'Error executing command as another user: Not authorized'
NO_AGENT = b'Error executing command as another user: No authentication agent found.'


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, house: House) -> Iterator[str]:
    with house.policy(request.param):
        yield request.param


def described(house: House, action: str = ACTION) -> dict[str, str]:
    """What pkaction says of an action, annotations by their keys."""
    text = house.check('pkaction', '--verbose', '--action-id', action, user='tester')
    lines = text.decode().replace('annotation:', '').splitlines()
    pairs = (re.split(r':\s+| -> ', line.strip(), maxsplit=1) for line in lines[1:])
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def refused(done: subprocess.CompletedProcess[bytes], why: bytes) -> bool:
    first = done.stderr.splitlines()[:1]
    return (done.returncode, done.stdout, first) == (127, b'', [why])


def allowed(done: subprocess.CompletedProcess[bytes]) -> bool:
    return (done.returncode, done.stdout, done.stderr) == (0, b'', b'')


def test_what_polkitd_reads(house: House, variant: str) -> None:
    told = described(house)
    assert told.pop('message').startswith('Authentication is ')
    assert told.pop('description')
    assert told == {
        'vendor': 'PlainBox',
        'implicit any': 'no',
        'implicit inactive': 'no',
        'implicit active': variant,
        'org.freedesktop.policykit.exec.path': LAUNCHER,
        'org.freedesktop.policykit.exec.allow_gui': 'TRUE',
    }


def test_what_becomes_of_the_password(house: House, variant: str) -> None:
    del variant
    message = described(house)['message']
    assert re.search(r'password is never stored and never submitted', message)
    assert 'results' in message


def test_one_action_runs_the_launcher(house: House, variant: str) -> None:
    """pkexec takes the first action with the path; a second would be a gamble."""
    del variant
    everything = house.check('pkaction', '--verbose', user='tester').decode()
    blocks = re.split(r'\n(?=\S+:\n)', everything)
    ours = [block for block in blocks if 'plainbox-trusted-launcher' in block]
    assert [block.strip().split(':\n')[0] for block in ours] == [ACTION]


def test_the_policies_differ_in_one_line(house: House) -> None:
    asking, granting = (
        house.path(f'{CHECKOUT}/contrib/polkit/{name}/{ACTION}.policy')
        .read_text()
        .splitlines()
        for name in VARIANTS
    )
    pairs = zip(asking, granting, strict=True)
    differing = [(one.strip(), two.strip()) for one, two in pairs if one != two]
    assert differing == [
        (
            '<allow_active>auth_admin_keep</allow_active>',
            '<allow_active>yes</allow_active>',
        )
    ]


def test_the_installed_files_are_roots(house: House) -> None:
    for path in (POLICY, RULES):
        found = house.path(path).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 0, 0o644)


def test_both_policies_refuse_without_the_rule(house: House, variant: str) -> None:
    """Neither grants anything to callers outside an active local session."""
    del variant
    with house.rules(None):
        for user in ('tester', 'stranger'):
            assert refused(house.pkexec('--warmup', user=user), NOT_AUTHORISED)
    assert allowed(house.pkexec('--warmup'))


def test_the_rule_is_for_the_group(house: House, variant: str) -> None:
    del variant
    assert allowed(house.pkexec('--warmup'))
    assert refused(house.pkexec('--warmup', user='stranger'), NOT_AUTHORISED)


def test_the_rule_follows_the_group(house: House) -> None:
    groups = house.check('cat', '/etc/group')
    bigger = re.sub(rb'(?m)^plainbox:.*', rb'\g<0>,stranger', groups)
    with house.replaced('/etc/group', bigger):
        house.new_polkitd()
        assert allowed(house.pkexec('--warmup', user='stranger'))
    house.new_polkitd()
    assert refused(house.pkexec('--warmup', user='stranger'), NOT_AUTHORISED)


@pytest.mark.parametrize('other', ['stranger', 'daemon', 'tester'])
def test_the_rule_is_for_root_only(house: House, other: str) -> None:
    done = house.pkexec('--warmup', options=['--user', other])
    assert refused(done, NOT_AUTHORISED)


@pytest.mark.parametrize(
    'program', ['/usr/bin/id', '/usr/bin/python3', '/tmp/plainbox-trusted-launcher-1']
)
def test_the_rule_is_for_the_launcher_only(house: House, program: str) -> None:
    """Not for others, and neither for a link to it or a copy of it."""
    link = '/tmp/plainbox-trusted-launcher-1'
    with house.replaced(link, house.path(LAUNCHER).read_bytes(), 0o755):
        assert refused(house.pkexec(program=program), NO_AGENT)


def test_a_symbolic_link_is_another_program(house: House) -> None:
    link = '/usr/bin/plainbox-trusted-launcher-2'
    house.check('ln', '-s', LAUNCHER, link)
    try:
        assert refused(house.pkexec('--warmup', program=link), NO_AGENT)
    finally:
        house.check('rm', link)


def test_without_the_policy(house: House) -> None:
    """The launcher is then any program: asked for each time, and by no rule of ours."""
    with house.policy(None):
        assert refused(house.pkexec('--warmup'), NO_AGENT)


WIDE = Path(RULES).name, "    action.lookup('user') == 'root' &&"


def widened(house: House) -> str:
    """Gives our rule without its line on the user."""
    text = house.path(f'{CHECKOUT}/contrib/polkit/rules.d/{WIDE[0]}').read_text()
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if "action.lookup('user') == 'root'" not in line]
    assert len(kept) == len(lines) - 1
    return ''.join(kept)


def test_other_users_need_a_wider_rule(house: House) -> None:
    """The line on the user is what refuses above: the canary of our rule."""
    with house.rules(widened(house)):
        done = house.pkexec(options=['--user', 'stranger'], program=LAUNCHER)
    assert done.returncode != 127


@pytest.mark.canary('start.py', 'set(os.getresuid()) != {0}', 'False')
@pytest.mark.parametrize('other', ['stranger', 'daemon', 'tester'])
@pytest.mark.parametrize('args', [['--warmup'], ['--hash', '0' * 64], []])
def test_the_launcher_refuses_to_be_another_user(
    house: House, other: str, args: list[str]
) -> None:
    """Even where polkit says yes to `pkexec --user`."""
    with house.rules(widened(house)):
        done = house.pkexec(*args, options=['--user', other])
    assert done.returncode == 125
    assert done.stdout == b''
    assert done.stderr.startswith(b'plainbox-trusted-launcher-1: PBL-NOT-ROOT: ')
    assert done.stderr.count(b'\n') == 1
