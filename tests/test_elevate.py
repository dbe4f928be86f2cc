# SPDX-License-Identifier: ISC
"""Becoming root through pkexec, and each way in which that may fail.

Each failure has a code of its own, says cause and cure, ends with 3, and no job ran.
"""

import contextlib
import fcntl
import os
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from io import FileIO

import pytest
from house import ACTION, CHECKOUT, HANGS, LAUNCHER, House
from launching import NAME, events

from plainbox_launcher import elevate

UNITS = """
id: own
command: echo own ran

id: one
user: root
command: echo one ran

id: two
user: root
command: echo two ran
"""
RUN = ('plainbox', 'run', 'own', 'one', 'two')
AGENT = ('/usr/bin/python3', f'{CHECKOUT}/tests/agent.py')
ASK = """
    polkit.addRule(function(action, subject) {
        if (action.id == '%s') return polkit.Result.AUTH_ADMIN_KEEP;
    });
"""


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('elevate', UNITS):
        yield


def told(done: subprocess.CompletedProcess[bytes]) -> tuple[str, str]:
    """The code of a refusal, and its words; no job ran."""
    assert (done.returncode, done.stdout) == (3, b''), done
    *_, last = done.stderr.decode('ascii').splitlines()
    match = re.fullmatch(r'plainbox: (PBL-[A-Z-]+): (.+ \(.+\))', last)
    assert match, last
    return match[1], match[2]


@contextlib.contextmanager
def away(house: House, path: str) -> Iterator[None]:
    house.check('mv', path, f'{path}.away')
    try:
        yield
    finally:
        house.check('mv', f'{path}.away', path)


# Something is missing


def test_no_pkexec(house: House) -> None:
    with away(house, '/usr/bin/pkexec'):
        code, words = told(house.run(RUN))
    assert code == 'PBL-NO-PKEXEC'
    assert 'install the package pkexec' in words


def test_no_launcher(house: House) -> None:
    with away(house, LAUNCHER):
        code, words = told(house.run(RUN))
    assert code == 'PBL-NO-LAUNCHER'
    assert f'{LAUNCHER} is not there (install plainbox-launcher' in words


def test_a_launcher_that_cannot_be_started(house: House) -> None:
    with house.replaced(LAUNCHER, b'#!/nowhere\n', 0o755):
        code, _ = told(house.run(RUN))
    assert code == 'PBL-NO-LAUNCHER'


def test_no_policy(house: House) -> None:
    with house.policy(None):
        code, words = told(house.run(RUN))
    assert code == 'PBL-NO-POLICY'
    assert f'{ACTION} is not installed' in words


def test_no_new_privileges(house: House) -> None:
    done = house.run(['setpriv', '--no-new-privs', *RUN])
    code, words = told(done)
    assert code == 'PBL-NO-NEW-PRIVS'
    assert 'no_new_privs' in words


def test_a_pkexec_without_its_bit(house: House) -> None:
    house.check('chmod', 'u-s', '/usr/bin/pkexec')
    try:
        code, words = told(house.run(RUN))
    finally:
        house.check('chmod', 'u+s', '/usr/bin/pkexec')
    assert code == 'PBL-NOT-SETUID'
    assert 'reinstall pkexec' in words


def test_no_bus(house: House) -> None:
    with away(house, '/run/dbus/system_bus_socket'):
        code, words = told(house.run(RUN))
    assert code == 'PBL-NO-POLKIT'
    assert 'start polkit and the system bus' in words


def test_no_polkitd(house: House) -> None:
    with away(house, '/usr/lib/polkit-1/polkitd'):
        for pid, name in house.processes().items():
            if name == 'polkitd':
                os.kill(pid, 9)
        code, words = told(house.run(RUN))
    house.new_polkitd()
    assert code == 'PBL-NO-POLKIT'
    assert 'start polkit and the system bus' in words


def test_a_log_that_is_deaf(house: House) -> None:
    """The launcher's own refusals come through with code and hint; no job ran."""
    with away(house, '/dev/log'):
        code, words = told(house.run(RUN))
    assert code == 'PBL-AUDIT'
    assert '/dev/log takes no line: ' in words


def test_a_log_that_is_deaf_for_a_job(house: House) -> None:
    with away(house, '/dev/log'):
        done = house.run(['plainbox', 'run', '--per-job', 'own', 'one'])
    assert done.returncode == 3
    assert b'own ran' in done.stdout
    assert b'one ran' not in done.stdout
    assert b'    denied: PBL-AUDIT: /dev/log takes no line: ' in done.stdout


# Somebody says no


def test_not_allowed(house: House) -> None:
    """Outside a session of the machine itself, and not in the group."""
    code, words = told(house.run(RUN, user='stranger'))
    assert code == 'PBL-NOT-AUTHORIZED'
    assert 'log in on the console or desktop of this machine' in words
    assert 'README' in words


def test_nobody_to_ask(house: House) -> None:
    with house.rules(ASK % ACTION):
        code, words = told(house.run(RUN))
    assert code == 'PBL-NO-AGENT'
    assert 'log in on the console or desktop' in words


def test_a_dialog_that_was_closed(house: House) -> None:
    with house.rules(ASK % ACTION):
        done = house.run([*AGENT, 'cancel', *RUN])
    code, words = told(done)
    assert code == 'PBL-DISMISSED'
    assert 'run it again and give the password' in words
    assert done.stderr.count(b'agent: asked\n') == 1


def test_an_agent_that_fails(house: House) -> None:
    with house.rules(ASK % ACTION):
        done = house.run([*AGENT, 'fail', *RUN])
    code, words = told(done)
    assert code == 'PBL-NOT-AUTHORIZED'
    assert 'give the right password' in words
    assert done.stderr.count(b'agent: asked\n') == 1


# openssl passwd -6 -salt house 'kept in mind'
HASHED = (
    b'$6$house$7SfhcptcwHgz4k35GWIvKMLkZt4GpouVlNTczqpkv97LzNwEcesl1.MqJ2m2'
    b'bzoFGiW5Pig48aH/FUTDsYF6g.'
)


def read(terminal: FileIO, process: subprocess.Popen[bytes]) -> bytes:
    if not select.select([terminal], [], [], HANGS)[0]:
        process.kill()
        pytest.fail('the terminal hangs')
    return terminal.read(1 << 16)


def wait_for_silence(terminal: int) -> None:
    """Until what is typed is not shown: as that begins, what was typed is lost."""
    deadline = time.monotonic() + HANGS
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def on_a_terminal(house: House, typed: bytes) -> tuple[int, str]:
    """Runs the jobs on a terminal, where polkit has to ask."""
    main, side = os.openpty()
    shadow = house.check('cat', '/etc/shadow')
    shadow = re.sub(rb'(?m)^root:[^:]*', b'root:' + HASHED, shadow)

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with (
        house.replaced('/etc/shadow', shadow, 0o640),
        house.rules(ASK % ACTION),
        house.popen(
            RUN,
            before=take_terminal,
            stdin=side,
            stdout=side,
            stderr=side,
        ) as process,
        open(main, 'rb', buffering=0) as terminal,
    ):
        os.close(side)
        seen = b''
        with contextlib.suppress(OSError):  # EIO: nobody holds the other side
            while piece := read(terminal, process):
                seen += piece
                if seen.endswith(b'Password: '):
                    wait_for_silence(main)
                    os.write(main, typed)
        status = process.wait(HANGS)
        # What is typed next is seen.
        assert termios.tcgetattr(main)[3] & termios.ECHO
        return status, seen.decode().replace('\r', '')


def test_one_password_for_a_run(house: House) -> None:
    """Asked at the start, before the first job, and kept for all of them.

    polkit keeps it for the one process that called pkexec: the runner, itself.
    """
    status, seen = on_a_terminal(house, b'kept in mind\n')
    assert status == 0, seen
    assert seen.count('Password: ') == 1
    before, after = seen.split('Password: ')
    assert 'ran' not in before
    assert 'own ran\n' in after
    assert 'one ran\n' in after
    assert 'two ran\n' in after


def test_a_wrong_password(house: House) -> None:
    status, seen = on_a_terminal(house, b'guessed\n')
    assert status == 3
    assert 'plainbox: PBL-NOT-AUTHORIZED: ' in seen
    assert 'give the right password' in seen
    assert ' ran\n' not in seen


@pytest.mark.parametrize(('typed', 'expected'), [(b'\x03', 130), (b'\x04', 3)])
def test_no_password_at_all(house: House, typed: bytes, expected: int) -> None:
    """Ctrl-C at the question, and Ctrl-D."""
    status, seen = on_a_terminal(house, typed)
    assert status == expected, seen
    assert 'Traceback' not in seen
    assert ' ran\n' not in seen


# The warm-up, and who calls pkexec


def commands(house: House) -> list[str]:
    """What pkexec executed, each with its first option."""
    pattern = r'Executing command .* \[COMMAND=(\S+ \S+)'
    found = (re.search(pattern, line.text) for line in house.log('pkexec'))
    return [match[1].rstrip(']') for match in found if match]


def test_one_consent_for_a_whole_run(house: House) -> None:
    done = house.run(['plainbox', 'run', 'own', 'one', 'two'])
    assert done.returncode == 0
    assert commands(house) == [f'{LAUNCHER} --channel']


def test_warm_up_once_and_first(house: House) -> None:
    done = house.run(['plainbox', 'run', '--per-job', 'own', 'one', 'two'])
    assert done.returncode == 0
    warm, job = (f'{LAUNCHER} {option}' for option in ('--warmup', '--hash'))
    assert commands(house) == [warm, job, job]


def test_no_warm_up_where_root_is_not_needed(house: House) -> None:
    for arguments in (['run', 'own'], ['list'], ['show', 'one'], ['special', '-J']):
        assert house.run(['plainbox', *arguments], user='stranger').returncode == 0
    assert commands(house) == []


def test_a_hostile_environment(house: House) -> None:
    """pkexec refuses to run at all for some values of SHELL and LC_*."""
    env = {'SHELL': '/opt/x', 'LC_ALL': 'de/x%', 'LANGUAGE': 'de', 'HOME': '/tmp'}
    done = house.run(RUN, env={**env, 'PATH': '/nowhere:/usr/bin'})
    assert done.returncode == 0


# A launcher from a source tree

ANY = """
    polkit.addRule(function(action, subject) {
        if (action.id == 'org.freedesktop.policykit.exec') return polkit.Result.YES;
    });
"""
SOURCE = f'{CHECKOUT}/bin/{NAME}'


def test_another_launcher(house: House) -> None:
    """Through generic pkexec, which asks each time: that is how they behave."""
    with house.rules(ANY):
        done = house.run(['plainbox', 'run', '--launcher', SOURCE, 'own', 'one'])
        relative = ['plainbox', 'run', '--launcher', f'bin/{NAME}', 'one']
        assert house.run(relative, cwd=CHECKOUT).returncode == 0
    assert done.returncode == 0
    assert b'one ran\n' in done.stdout
    assert commands(house) == [f'{SOURCE} --channel'] * 2
    assert events(house) == ['open', 'start', 'end', 'close'] * 2


def test_another_launcher_that_is_not_allowed(house: House) -> None:
    done = house.run(['plainbox', 'run', '--launcher', SOURCE, 'own', 'one'])
    assert told(done)[0] == 'PBL-NO-AGENT'


def test_another_launcher_that_is_not_there(house: House) -> None:
    done = house.run(['plainbox', 'run', '--launcher', '/nowhere', 'one'])
    assert told(done)[0] == 'PBL-NO-LAUNCHER'


# Understanding answers


NOT_ALLOWED = """Error executing command as another user: Not authorized

This incident has been reported.
"""
CHATTER = '\n(process:12): GLib-CRITICAL **: 00:56:29.890: some assertion failed\n'
REFUSAL = f'{NAME}: PBL-AUDIT: /dev/log takes no line: gone (start a system log)\n'


@pytest.mark.parametrize(
    ('status', 'stderr', 'code'),
    [
        (127, NOT_ALLOWED, 'PBL-NOT-AUTHORIZED'),
        (127, CHATTER + NOT_ALLOWED, 'PBL-NOT-AUTHORIZED'),
        (125, REFUSAL, 'PBL-AUDIT'),
        (125, f'warning\n{REFUSAL}', 'PBL-AUDIT'),
        # The rest are words of jobs.
        (0, NOT_ALLOWED, None),
        (1, NOT_ALLOWED, None),
        (126, '', None),
        (127, '', None),
        (127, 'bash: line 1: nope: command not found\n', None),
        (127, f'first:\n{NOT_ALLOWED}', None),
        (127, 'curl: Not authorized\n', None),
        (126, 'bash: line 1: /etc/passwd: Permission denied\n', None),
        (126, 'dialog: Request dismissed\n', None),
        (125, '', None),
        (125, 'timeout: failed\n', None),
        (125, f'{REFUSAL}and more\n', None),
    ],
)
def test_answers(status: int, stderr: str, code: str | None) -> None:
    refused = elevate.understand(status, printed=False, stderr=stderr)
    assert (refused.code if refused else None) == code
    assert elevate.understand(status, printed=True, stderr=stderr) is None
