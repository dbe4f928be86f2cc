# SPDX-License-Identifier: ISC
"""Whose session it is, and what would be started in it.

The house has no logind. In the place of its loginctl lies a program that prints what
another machine's prints; tests/machine/test_session.py has a logind, and sessions.
"""

import contextlib
from collections.abc import Iterator
from math import inf
from pathlib import Path
from pwd import struct_passwd

import pytest
from house import ROOM, House

from plainbox_launcher.trusted import desktop
from plainbox_launcher.trusted.execute import Command

ASK = f"""
import sys
sys.path.append('{Path(ROOM).parents[1]}')
from plainbox_launcher.trusted import desktop, errors
try:
    found = desktop.session()
    print(found.id, found.account.pw_name, found.type)
except errors.Refused as refused:
    print(refused)
"""

# What loginctl says of a person at the console, as far as it is of interest.
SITTING = {
    'Name': 'tester',
    'Seat': 'seat0',
    'Remote': 'no',
    'Type': 'tty',
    'Class': 'user',
    'Active': 'yes',
    'State': 'active',
    'LockedHint': 'no',
}
OVER_SSH = SITTING | {'Name': 'stranger', 'Seat': '', 'Remote': 'yes'}
ELSEWHERE = SITTING | {'Name': 'stranger', 'Seat': 'seat1'}
IN_BACKGROUND = ELSEWHERE | {'Seat': 'seat0', 'Active': 'no', 'State': 'online'}
MANAGER = SITTING | {'Seat': '', 'Class': 'manager'}
GREETER = SITTING | {'Class': 'greeter'}
GREETER_ELSEWHERE = GREETER | {'Seat': 'seat1'}

Facts = dict[str, str]


def loginctl(house: House, *sessions: Facts | None) -> bytes:
    """The program, for these sessions; one that is None has just ended."""
    lines = ['#!/bin/sh', 'case "$*" in', '"list-sessions --no-legend")']
    lines += [f'echo "  {n} 1000 somebody"' for n, _ in enumerate(sessions)]
    lines.append(';;')
    for number, facts in enumerate(sessions):
        if facts is not None:
            uid = house.check('id', '--user', facts['Name']).decode().strip()
            said = {'Id': str(number), 'User': uid, **facts}
            lines.append(f'"show-session --all {number}")')
            lines += [f'echo "{name}={value}"' for name, value in said.items()]
            lines.append(';;')
    lines += ['*) echo "No session known" >&2; exit 1;;', 'esac', '']
    return '\n'.join(lines).encode()


def asked(house: House, *sessions: Facts | None) -> str:
    """The answer to root's question whose session it is."""
    with house.replaced('/usr/bin/loginctl', loginctl(house, *sessions), 0o755):
        return ask(house)


def ask(house: House) -> str:
    return house.check('/usr/bin/python3', '-ISXutf8', '-c', ASK).decode().strip()


# Whose session it is


@pytest.mark.parametrize(
    'others',
    [
        (),
        (OVER_SSH, MANAGER),
        (IN_BACKGROUND,),
        (GREETER_ELSEWHERE,),
        (None,),
    ],
    ids=['alone', 'ssh', 'background', 'greeter', 'gone'],
)
def test_the_active_session_of_seat0(
    house: House, others: tuple[Facts | None, ...]
) -> None:
    """In the active local session (logind, seat0) of whoever is logged in."""
    assert asked(house, *others, SITTING) == f'{len(others)} tester tty'


@pytest.mark.parametrize(
    ('sessions', 'said'),
    [
        ((), 'PBL-SESSION-NONE: nobody is logged in at seat0 '),
        ((GREETER, MANAGER), 'PBL-SESSION-NONE: nobody is logged in at seat0 '),
        ((SITTING | {'State': 'closing'},), 'PBL-SESSION-NONE: nobody is logged in'),
        ((SITTING | {'Active': 'no'},), 'PBL-SESSION-NONE: nobody is logged in'),
        ((SITTING, ELSEWHERE), 'PBL-SESSION-SEATS: people sit at seat0, seat1 '),
        ((ELSEWHERE,), 'PBL-SESSION-NONE: nobody is logged in at seat0 '),
        ((OVER_SSH,), 'PBL-SESSION-REMOTE: stranger is logged in from elsewhere '),
        ((SITTING | {'Remote': 'yes'},), 'PBL-SESSION-REMOTE: tester is logged in'),
        ((SITTING | {'Name': 'root'},), 'PBL-SESSION-ROOT: root is logged in at '),
        ((SITTING | {'LockedHint': 'yes'},), 'PBL-SESSION-LOCKED: tester has locked '),
    ],
)
def test_each_refusal_has_its_own_code(
    house: House, sessions: tuple[Facts, ...], said: str
) -> None:
    """Nobody logged in, more than one seat, session locked or remote: own codes."""
    assert asked(house, *sessions).startswith(said)


# The canaries of those that are a defence, and not only a help.


@pytest.mark.canary('desktop.py', 'if account.pw_uid == 0:', 'if False:')
def test_not_in_a_session_of_root(house: House) -> None:
    assert asked(house, SITTING | {'Name': 'root'}).startswith('PBL-')


@pytest.mark.canary('desktop.py', "if found['LockedHint'] != 'no':", 'if False:')
def test_not_behind_a_lock(house: House) -> None:
    assert asked(house, SITTING | {'LockedHint': 'yes'}).startswith('PBL-')


@pytest.mark.canary('desktop.py', "or found['Remote'] == 'yes'", 'or False')
def test_not_for_who_is_elsewhere(house: House) -> None:
    assert asked(house, SITTING | {'Remote': 'yes'}).startswith('PBL-')


@pytest.mark.canary('desktop.py', 'if len(here) > 1:', 'if False:')
def test_not_for_one_of_two(house: House) -> None:
    assert asked(house, SITTING, ELSEWHERE).startswith('PBL-')


def test_without_logind(house: House) -> None:
    """The house's own loginctl, which finds no systemd; and none at all."""
    assert ask(house).startswith('PBL-NO-LOGIND: loginctl: ')
    with house.replaced('/usr/bin/loginctl', None):
        assert ask(house).startswith('PBL-NO-LOGIND: the command cannot be started: ')


# The display of a graphical session


@contextlib.contextmanager
def manager(house: House, *lines: str) -> Iterator[None]:
    """In the place of systemctl, what prints this as the manager's environment."""
    words = ' '.join(f"'{line}'" for line in lines)
    text = '#!/bin/sh\n[ "$(id -un): $*" = "tester: --user show-environment" ] &&'
    text += f'printf "%s\\n" {words}\n'
    with house.replaced('/usr/bin/systemctl', text.encode(), 0o755):
        yield


@pytest.mark.parametrize('name', ['DISPLAY', 'WAYLAND_DISPLAY'])
@pytest.mark.canary('desktop.py', 'argv, _environ(account), account)', 'argv, {})')
def test_a_display_that_the_manager_knows(house: House, name: str) -> None:
    """It is asked as the user: the program above answers nobody else."""
    with manager(house, 'LANG=C', f'{name}=:7'):
        assert asked(house, SITTING | {'Type': 'x11'}) == '0 tester x11'


@pytest.mark.parametrize('type_', ['x11', 'wayland'])
def test_a_display_that_it_does_not_know(house: House, type_: str) -> None:
    with manager(house, 'LANG=C', 'XDISPLAY=:7'):
        said = asked(house, SITTING | {'Type': type_})
    fact = 'the manager of tester knows of no display'
    assert said.startswith(f'PBL-SESSION-DISPLAY: {fact} (')


def test_a_manager_that_does_not_answer(house: House) -> None:
    text = '#!/bin/sh\nprintf "first\\nno \\033[2J luck\\n" >&2; exit 1\n'
    with house.replaced('/usr/bin/systemctl', text.encode(), 0o755):
        said = asked(house, SITTING | {'Type': 'x11'})
    assert said.startswith(r'PBL-SESSION-MANAGER: systemctl: no \x1b[2J luck (')


# What would be started

TESTER = struct_passwd(('tester', 'x', 1000, 1000, '', '/home/tester', '/bin/bash'))
HERE = desktop.Session('7', TESTER, 'tty')


def started(
    text: str = 'true',
    values: Facts | None = None,
    seconds: float = inf,
    directory: str = '',
) -> Command:
    argv = 'bash', '-c', '--', text
    job = Command('/bin/bash', argv, values or {}, directory=directory)
    return desktop.command(HERE, job, 'plainbox-1', seconds)


def test_it_is_executed_as_the_user() -> None:
    """Root drops everything before it touches anything of the user's."""
    found = started()
    assert (found.program, found.account) == ('/usr/bin/systemd-run', TESTER)
    assert not found.login


def test_no_value_is_an_argument() -> None:
    """Row 42: values travel in the environment, argv has names only."""
    found = started(values={'WORD': 'of the tester', 'OTHER': ''})
    assert found.environ['WORD'] == 'of the tester'
    assert {'--setenv=WORD', '--setenv=OTHER'} <= {*found.argv}
    assert 'of the tester' not in ' '.join(found.argv)


def test_the_sessions_variables_are_the_sessions_own() -> None:
    """With DISPLAY or WAYLAND_DISPLAY, XDG_RUNTIME_DIR and the bus of that session."""
    names = ('DISPLAY', 'XAUTHORITY', 'XDG_RUNTIME_DIR', 'XDG_SESSION_ID')
    found = started(values=dict.fromkeys(names, 'of the caller'))
    assert 'of the caller' not in found.environ.values()
    assert found.environ['XDG_RUNTIME_DIR'] == '/run/user/1000'
    assert found.environ['XDG_SESSION_ID'] == '7'
    assert not {'--setenv=DISPLAY', '--setenv=XAUTHORITY'} & {*found.argv}


def test_the_flags_of_a_job() -> None:
    """preserve-locale and preserve-cwd: the job's language, its user's home."""
    assert started().environ['LANG'] == 'C.UTF-8'
    assert started(values={'LANG': 'de_DE'}).environ['LANG'] == 'de_DE'
    place = '--property=WorkingDirectory='
    assert f'{place}/run/user/1000/plainbox-1' in started().argv
    assert f'{place}/home/tester' in started(directory='/home/tester').argv


def test_the_text_comes_last_and_after_the_options() -> None:
    """Row 41; and systemd.service(5): to pass a literal dollar sign, use `$$`."""
    found = started('--help $HOME $$')
    assert found.argv[-5:] == ('--', '/bin/bash', '-c', '--', '--help $$HOME $$$$')


@pytest.mark.parametrize(
    ('seconds', 'said'), [(inf, 'infinity'), (0.2, '0.200'), (90.0, '90.000')]
)
def test_the_manager_ends_what_the_launcher_does_not(seconds: float, said: str) -> None:
    assert f'--property=TimeoutStartSec={said}' in started(seconds=seconds).argv
