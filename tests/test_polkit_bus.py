# SPDX-License-Identifier: ISC
"""What polkit says over D-Bus, to somebody without privileges, and what it forgets.

Nobody in the house has a logind session; see machine/test_diagnosis.py for those.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import ACTION, CHECKOUT, LAUNCHER, POLICY, House
from launching import events

RULE = """
    polkit.addRule(function(action, subject) {
        if (action.id == '%s') return polkit.Result.%s;
    });
"""
ASKING = RULE % (ACTION, 'AUTH_ADMIN_KEEP')

# openssl passwd -6 -salt house 'kept in mind'
ANSWER = 'kept in mind'
HASHED = (
    b'$6$house$7SfhcptcwHgz4k35GWIvKMLkZt4GpouVlNTczqpkv97LzNwEcesl1.MqJ2m2'
    b'bzoFGiW5Pig48aH/FUTDsYF6g.'
)

PROGRAM = """
import json, sys
sys.path.insert(0, {!r})
from plainbox_launcher import elevate, logind, polkit
from plainbox_launcher.trusted.errors import Refused
try:
    print(json.dumps({}))
except Refused as refused:
    print(json.dumps([refused.code, refused.fact, refused.hint]))
except logind.NoLogind as error:
    print(json.dumps(['no logind', str(error)]))
"""
REHEARSAL = (
    'polkit.rehearse(elevate.warm_up_command(elevate.LAUNCHER), elevate.environment())'
)


def program(expression: str, where: str = '/usr/lib/plainbox-launcher') -> list[str]:
    return ['/usr/bin/python3', '-c', PROGRAM.format(where, expression)]


def told(house: House, expression: str, user: str = 'tester') -> Any:  # noqa: ANN401
    """What an expression of the runner's modules says to that user."""
    done = house.run(program(expression), user=user)
    assert (done.returncode, done.stderr) == (0, b'')
    return json.loads(done.stdout)


def polkitds(house: House) -> Iterator[int]:
    return (pid for pid, name in house.processes().items() if name == 'polkitd')


# Which action there is


@pytest.mark.parametrize('variant', ['auth_admin_keep', 'yes'])
def test_the_action(house: House, variant: str) -> None:
    """The program an action is for, and what its policy says of whom."""
    with house.policy(variant):
        assert told(house, 'polkit.action()') == [LAUNCHER, 'no', 'no', variant]


def test_no_action(house: House) -> None:
    with house.policy(None):
        assert told(house, 'polkit.action()') is None


def test_every_word_of_a_policy(house: House) -> None:
    text = house.path(POLICY).read_text()
    words = ['auth_self', 'auth_admin', 'auth_self_keep']
    for place, word in zip(('any', 'inactive', 'active'), words, strict=True):
        text = re.sub(f'(<allow_{place}>).*(</)', rf'\1{word}\2', text)
    with house.replaced(POLICY, text.encode()):
        house.new_polkitd()
        assert told(house, 'polkit.action()') == [LAUNCHER, *words]
    house.new_polkitd()


# What it would say


@pytest.mark.parametrize(
    ('result', 'word'),
    [('YES', 'yes'), ('NO', 'no'), ('AUTH_ADMIN', 'ask'), ('AUTH_SELF_KEEP', 'ask')],
)
def test_would_ask(house: House, result: str, word: str) -> None:
    """YES, ASK or NO, and nobody is asked."""
    with house.rules(RULE % (ACTION, result)):
        assert told(house, 'polkit.would_ask()') == [word, '']


def test_would_ask_without_a_session(house: House) -> None:
    """The policy says no to whom is not here, and root is never asked."""
    assert told(house, 'polkit.would_ask()', 'stranger') == ['no', '']
    assert told(house, 'polkit.would_ask()', 'root') == ['yes', '']


def test_it_does_not_tell_of_rules_on_the_user(house: House) -> None:
    """A rule that looks at whom pkexec is to become: to us, that is NO.

    `rehearse` knows better.
    """
    assert told(house, 'polkit.would_ask()') == ['no', '']
    assert told(house, REHEARSAL) == [0, '', []]
    assert house.pkexec('--warmup').returncode == 0


# A rehearsal


def test_a_rehearsal_that_asks(house: House) -> None:
    """It closes each dialog before anybody sees it, and says who would be asked."""
    with house.rules(ASKING):
        status, stderr, asked = told(house, REHEARSAL)
    assert asked == ['root']
    assert status == 126
    assert stderr.endswith('Request dismissed\n')
    assert events(house) == []


def test_a_rehearsal_that_is_refused(house: House) -> None:
    status, stderr, asked = told(house, REHEARSAL, 'stranger')
    assert (status, asked) == (127, [])
    assert 'Not authorized' in stderr


def test_nothing_is_left_of_a_rehearsal(house: House) -> None:
    """Neither the agent nor a consent: the next is asked as before, in vain."""
    expression = f'[{REHEARSAL}, polkit.would_ask(), {REHEARSAL}]'
    with house.rules(ASKING):
        first, between, second = told(house, expression)
        done = house.pkexec('--warmup')
    assert first == second
    assert between == ['ask', '']
    assert b'No authentication agent found' in done.stderr


# A consent


def test_a_consent_of_a_process(house: House) -> None:
    """SECURITY.rst: a child of the runner is asked again.

    What the agent of a process asked for, polkit keeps until that process ends.
    """
    giver = ['/usr/bin/python3', f'{CHECKOUT}/tests/giver.py', ANSWER, 'process']
    script = ['/usr/bin/python3', '-B', f'{CHECKOUT}/tests/consent.py']
    shadow = house.check('cat', '/etc/shadow')
    shadow = re.sub(rb'(?m)^root:[^:]*', b'root:' + HASHED, shadow)
    with house.replaced('/etc/shadow', shadow, 0o640), house.rules(ASKING):
        done = house.run([*giver, *script])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found['before'], found['first']) == ('ask', 0)
    word, kept = found['kept']
    assert (word, bool(kept)) == ('yes', True)
    assert found['child'] == 'ask\n'
    assert (found['revoked'], found['after']) == (False, [word, kept])
    assert found['second'] == 0
    assert done.stderr.count(b'agent: asked\n') == 1


def test_nothing_to_revoke(house: House) -> None:
    """Whether it has none any more: so also where it never had one."""
    assert told(house, 'polkit.revoke()') is True


# Somebody is not there

QUESTIONS = ['polkit.action()', 'polkit.would_ask()', 'polkit.revoke()', REHEARSAL]


@pytest.mark.parametrize('question', QUESTIONS)
def test_no_bus(house: House, question: str) -> None:
    socket = '/run/dbus/system_bus_socket'
    house.check('mv', socket, f'{socket}.away')
    try:
        code, fact, hint = told(house, question)
    finally:
        house.check('mv', f'{socket}.away', socket)
    assert code == 'PBL-NO-POLKIT'
    assert fact == 'the system bus cannot be reached: No such file or directory'
    assert hint == 'start polkit and the system bus'


@pytest.mark.parametrize('question', QUESTIONS)
def test_no_polkitd(house: House, question: str) -> None:
    """A service that would be started but cannot."""
    program = '/usr/lib/polkit-1/polkitd'
    house.check('mv', program, f'{program}.away')
    for pid in polkitds(house):
        os.kill(pid, signal.SIGKILL)
    try:
        code, *_ = told(house, question)
    finally:
        house.check('mv', f'{program}.away', program)
        house.new_polkitd()
    assert code == 'PBL-NO-POLKIT'


def test_a_polkitd_that_hangs(house: House) -> None:
    for pid in polkitds(house):
        os.kill(pid, signal.SIGSTOP)
    try:
        code, fact, _ = told(house, 'polkit.action()')
    finally:
        house.new_polkitd()
    assert code == 'PBL-NO-POLKIT'
    assert fact == 'org.freedesktop.PolicyKit1 does not answer'


def test_an_action_that_is_not_there(house: House) -> None:
    code, fact, _ = told(house, 'polkit.would_ask("org.example")')
    assert code == 'PBL-NO-POLKIT'
    assert fact == 'Action org.example is not registered'


def test_no_dbus_next(house: House) -> None:
    """Where it is missing, one only learns less beforehand."""
    module = '/usr/lib/python3/dist-packages/dbus_next'
    house.check('mv', module, f'{module}.away')
    try:
        code, *_ = told(house, 'polkit.action()')
        assert house.run(['plainbox', 'run', 'smoke/root-account']).returncode == 0
    finally:
        house.check('mv', f'{module}.away', module)
    assert code == 'PBL-NO-DBUS-NEXT'


@pytest.mark.parametrize('command', ['list', 'run'])
def test_most_commands_ask_nothing(house: House, command: str) -> None:
    """dbus-next and asyncio take longer to load than all the rest of the runner."""
    python = ['/usr/bin/python3', '-X', 'importtime', '/usr/bin/plainbox']
    done = house.run([*python, command, 'smoke/account'])
    assert b' plainbox_launcher.runner\n' in done.stderr
    assert b'asyncio' not in done.stderr
    assert b'dbus_next' not in done.stderr


def test_no_logind(house: House) -> None:
    found = told(house, 'logind.own()')
    assert found[0] == 'no logind'


def test_a_bus_that_hangs_up(tmp_path: Path) -> None:
    """dbus-next reads on and on from a bus that has hung up."""
    address = tmp_path / 'bus'
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()

        def hang_up() -> None:
            with server.accept()[0] as client:
                while not client.recv(100).endswith(b'\r\n'):
                    pass

        thread = threading.Thread(target=hang_up)
        thread.start()
        command = program('polkit.action()', str(Path(__file__).parents[1]))
        env = {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={address}'}
        command[0] = sys.executable
        done = subprocess.run(command, env=env, capture_output=True, timeout=60)
        thread.join()
    assert done.stderr == b''
    code, fact, _ = json.loads(done.stdout)
    assert code == 'PBL-NO-POLKIT'
    assert fact == 'the system bus cannot be reached: the system bus hung up'
