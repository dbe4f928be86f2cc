# SPDX-License-Identifier: ISC
"""What plainbox doctor says of a machine, and of each thing that is wrong with it."""

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import termios
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from house import ACTION, LAUNCHER, POLICY, PROVIDERS, ROOM, House
from launching import events

from plainbox_launcher import __version__, doctor, surroundings
from plainbox_launcher.doctor import OK, PROBLEM, UNKNOWN, WARNING, Finding
from plainbox_launcher.logind import Session
from plainbox_launcher.polkit import Action, Rehearsal
from plainbox_launcher.surroundings import Facts, View
from plainbox_launcher.trusted.errors import Refused

PROGRAM = """
import sys
sys.path.insert(0, '/usr/lib/plainbox-launcher')
from plainbox_launcher import doctor
sys.exit(doctor.examine(as_json='--json' in sys.argv, width=80))
"""
DOCTOR = ('/usr/bin/python3', '-c', PROGRAM)
ASKING = """
    polkit.addRule(function(action, subject) {
        if (action.id == '%s') return polkit.Result.AUTH_ADMIN_KEEP;
    });
"""


class Told(NamedTuple):
    """How it ended, and its findings."""

    status: int
    ready: bool | None
    findings: list[Finding]

    def about(self, topic: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.about == topic]

    def one(self, topic: str) -> Finding:
        (finding,) = self.about(topic)
        return finding

    @property
    def problems(self) -> list[str]:
        return [finding.code for finding in self.findings if finding.mark == PROBLEM]


def examined(
    house: House,
    within: Sequence[str] = (),
    **more: Any,  # noqa: ANN401 # House.run's
) -> Told:
    done = house.run([*within, *DOCTOR, '--json'], **more)
    assert done.stderr == b''
    found = json.loads(done.stdout)
    findings = [Finding(**fields) for fields in found['findings']]
    assert done.returncode == (0 if found['root_jobs'] else 3)
    return Told(done.returncode, found['root_jobs'], findings)


@contextlib.contextmanager
def away(house: House, path: str) -> Iterator[None]:
    house.check('mv', path, f'{path}.away')
    try:
        yield
    finally:
        house.check('mv', f'{path}.away', path)


@contextlib.contextmanager
def mode(house: House, change: str, back: str, path: str) -> Iterator[None]:
    house.check('chmod', change, path)
    try:
        yield
    finally:
        house.check('chmod', back, path)


# All is well


def test_a_sound_machine(house: House) -> None:
    """Exit 0 when root jobs will run; and they do."""
    told = examined(house)
    assert (told.status, told.problems) == (0, [])
    assert told.one('pkexec').text == '/usr/bin/pkexec, setuid root'
    assert told.one('launcher').text == f"{LAUNCHER} {__version__}, root's own"
    assert told.one('policy').text.startswith('auth_admin_keep: asks ')
    assert told.one('consent').text == 'nobody is asked, as a rule of polkit says'
    assert told.one('system log') == Finding(OK, 'system log', 'listens on /dev/log')
    counts = r'1 provider, (\d+) jobs, (\d+) of them need root'
    assert re.fullmatch(counts, told.one('providers').text)
    assert house.run(['plainbox', 'run', 'smoke/root-account']).returncode == 0


def test_it_is_pleasant_to_read(house: House) -> None:
    """A line for each finding, aligned; cures below them; and what comes of it."""
    done = house.run(DOCTOR, user='stranger')
    lines = done.stdout.decode('ascii').splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-2:] == ['', "not ready for root's jobs: 1 problem"]
    shape = re.compile(r'(ok|warning|PROBLEM) +\S.{9} {2}\S.*| {21}\S.*')
    assert [line for line in lines[:-2] if not shape.fullmatch(line)] == []
    (at,) = (i for i, line in enumerate(lines) if line.startswith('PROBLEM'))
    assert lines[at].startswith('PROBLEM  consent     PBL-NOT-AUTHORIZED: polkit ')
    assert lines[at + 1].startswith(' ' * 21 + 'log in on the console or desktop')


def test_both_forms_say_the_same(house: House) -> None:
    text = ' '.join(house.run(DOCTOR).stdout.decode().split())
    findings = examined(house).findings
    assert len(findings) >= 10
    for finding in findings:
        assert f'{finding.about} {finding.text}' in text
        assert finding.cure in text


def test_root_is_asked_nothing(house: House) -> None:
    told = examined(house, user='root')
    assert told.status == 0
    assert told.one('consent').text == 'nobody is asked, we are root'


def test_it_runs_no_job(house: House) -> None:
    """And leaves no line of the launcher's in the log."""
    examined(house)
    assert events(house) == []


# Each problem, made for real


def test_no_pkexec(house: House) -> None:
    with away(house, '/usr/bin/pkexec'):
        told = examined(house)
    assert told.problems == ['PBL-NO-PKEXEC']
    assert told.one('pkexec').cure.startswith('install the package pkexec')


def test_a_pkexec_without_its_bit(house: House) -> None:
    with mode(house, 'u-s', 'u+s', '/usr/bin/pkexec'):
        told = examined(house)
    assert told.problems == ['PBL-NOT-SETUID']
    assert told.one('pkexec').text == '/usr/bin/pkexec is not setuid root'


# As root, in a mount namespace of its own; then $@ as the tester.
CHANGED = """
set -e
{}
exec setpriv --reuid=tester --regid=tester --init-groups "$@"
"""


def changed(house: House, *commands: str) -> Told:
    """What it says where the tester sees another tree."""
    script = CHANGED.format('\n'.join(commands))
    within = ['unshare', '--mount', 'sh', '-c', script, 'sh']
    return examined(house, within, user='root')


def test_a_pkexec_on_nosuid(house: House) -> None:
    told = changed(
        house,
        'mount --bind /usr/bin/pkexec /usr/bin/pkexec',
        'mount -o remount,bind,nosuid /usr/bin/pkexec',
    )
    assert told.problems == ['PBL-NOT-SETUID']
    assert 'mounted with nosuid' in told.one('pkexec').text


def test_no_launcher(house: House) -> None:
    with away(house, LAUNCHER):
        told = examined(house)
    assert told.problems == ['PBL-NO-LAUNCHER']
    assert told.one('launcher').text == f'{LAUNCHER}: is not there'


def test_a_launcher_that_cannot_be_started(house: House) -> None:
    with house.replaced(LAUNCHER, b'#!/nowhere\n', 0o755):
        told = examined(house)
    assert told.problems == ['PBL-NO-LAUNCHER']
    assert 'cannot be started: No such file' in told.one('launcher').text


def test_a_launcher_of_another_version(house: House) -> None:
    script = b'#!/bin/sh\necho plainbox-trusted-launcher-1 0.0.9\n'
    with house.replaced(LAUNCHER, script, 0o755):
        found = examined(house).one('launcher')
    assert found.mark == WARNING
    assert found.text == f'it is version 0.0.9, and plainbox is {__version__}'
    assert found.cure == 'install plainbox and the launcher in one version'


@pytest.mark.parametrize('path', [LAUNCHER, f'{ROOM}/unit.py', ROOM, '/usr/bin'])
def test_a_launcher_that_others_may_change(house: House, path: str) -> None:
    with mode(house, 'o+w', 'o-w', path):
        told = examined(house)
    assert told.problems == ['PBL-UNSAFE-LAUNCHER']
    assert told.one('launcher').text == f'{path}: is writable by everyone'


def test_a_launcher_of_somebody_elses(house: House) -> None:
    house.check('chown', 'stranger', LAUNCHER)
    try:
        told = examined(house)
    finally:
        house.check('chown', 'root', LAUNCHER)
    assert told.problems == ['PBL-UNSAFE-LAUNCHER']
    assert told.one('launcher').text == f'{LAUNCHER}: does not belong to root'


def test_a_launcher_that_is_a_link(house: House) -> None:
    with away(house, LAUNCHER):
        house.check('ln', '-s', f'{LAUNCHER}.away', LAUNCHER)
        told = examined(house)
        house.check('rm', LAUNCHER)
    assert told.problems == ['PBL-UNSAFE-LAUNCHER']
    assert told.one('launcher').text == f'{LAUNCHER}: is a symbolic link'


def test_no_policy(house: House) -> None:
    with house.policy(None):
        told = examined(house)
    assert told.problems == ['PBL-NO-POLICY']
    assert told.one('policy').text == f'the polkit action {ACTION} is not installed'


def test_a_policy_for_another_program(house: House) -> None:
    text = house.path(POLICY).read_text().replace(LAUNCHER, '/opt/launcher')
    with house.replaced(POLICY, text.encode()):
        house.new_polkitd()
        told = examined(house)
    house.new_polkitd()
    assert told.problems == ['PBL-NO-POLICY']
    assert told.one('policy').text == 'the polkit action is for /opt/launcher'


def test_no_new_privileges(house: House) -> None:
    told = examined(house, ['setpriv', '--no-new-privs'])
    assert told.problems == ['PBL-NO-NEW-PRIVS']


def test_a_user_namespace(house: House) -> None:
    """From inside, nothing is root's: whatever else we saw would be a lie."""
    told = examined(house, ['unshare', '--user', '--map-root-user'])
    assert told.problems == ['PBL-NAMESPACE']
    assert [finding.about for finding in told.findings] == ['Python', 'privileges']


def test_not_allowed(house: House) -> None:
    told = examined(house, user='stranger')
    assert told.problems == ['PBL-NOT-AUTHORIZED']
    assert 'Unattended machines' in told.one('consent').cure
    assert 'password' not in told.one('consent').cure


def test_nobody_to_ask(house: House) -> None:
    with house.rules(ASKING % ACTION):
        told = examined(house)
    assert told.one('consent').text == 'polkit will ask for the password of root'
    assert told.problems == ['PBL-NO-AGENT']


def test_a_terminal_to_ask_on(house: House) -> None:
    """It says who would be asked, and where, and asks nobody."""
    main, side = os.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with (
        house.rules(ASKING % ACTION),
        open(main, 'rb', buffering=0) as terminal,
        open(side, 'rb', buffering=0),
    ):
        told = examined(house, stdin=side, before=take_terminal)
        assert select.select([terminal], [], [], 0)[0] == []
    assert (told.status, told.problems) == (0, [])
    assert told.one('consent').text == 'polkit will ask for the password of root'
    assert told.one('prompt').text == 'pkttyagent, on this terminal'


def test_no_log(house: House) -> None:
    with away(house, '/dev/log'):
        told = examined(house)
    assert told.problems == ['PBL-AUDIT']
    text = '/dev/log takes no line: No such file or directory'
    assert told.one('system log').text == text


def test_no_bus(house: House) -> None:
    with away(house, '/run/dbus/system_bus_socket'):
        told = examined(house)
    assert told.problems == ['PBL-NO-POLKIT']
    assert told.one('session').text == 'not known'


def test_no_polkitd(house: House) -> None:
    with away(house, '/usr/lib/polkit-1/polkitd'):
        for pid, name in house.processes().items():
            if name == 'polkitd':
                os.kill(pid, signal.SIGKILL)
        told = examined(house)
    house.new_polkitd()
    assert told.problems == ['PBL-NO-POLKIT']


def test_no_dbus_next(house: House) -> None:
    """One only learns less: what cannot be told is no problem, and no readiness."""
    with away(house, '/usr/lib/python3/dist-packages/dbus_next'):
        told = examined(house)
        text = house.run(DOCTOR).stdout.decode()
    assert (told.status, told.ready, told.problems) == (3, None, [])
    found = told.one('policy')
    assert (found.mark, found.code) == (UNKNOWN, 'PBL-NO-DBUS-NEXT')
    assert found.cure == 'install the package python3-dbus-next'
    assert text.endswith("\nit cannot be told whether root's jobs will run\n")


# What keeps nobody from running jobs of root's


def test_no_logind(house: House) -> None:
    found = examined(house).one('session')
    text = 'there is no logind; for polkit we are not at this machine'
    assert found == Finding(WARNING, 'session', text)


def test_a_sandbox(house: House) -> None:
    """A job of root's descends from us: it sees what we see."""
    told = changed(
        house,
        'mount --bind /usr /usr',
        'mount -o remount,bind,ro /usr',
        'mkdir /var/tmp/systemd-private-1',
        'mount --bind /var/tmp/systemd-private-1 /tmp',
        'rmdir /var/tmp/systemd-private-1 2>&- || :',
    )
    house.check('rm', '-rf', '/var/tmp/systemd-private-1')
    found = told.one('view')
    assert (told.status, found.mark) == (0, WARNING)
    assert found.text.startswith("root's jobs will see a sandbox: /usr read-only, ")
    assert re.search(r'/tmp of its own$', found.text)


def test_a_provider_with_a_fault(house: House) -> None:
    text = 'id: a\nuser: root\ncommand: true\n\nnonsense\n'
    with house.provider('faulty', text):
        told = examined(house)
    _, fault = told.about('providers')
    assert (told.status, fault.mark) == (0, WARNING)
    assert fault.text.startswith('/usr/lib/house-faulty/units/house.pxu:5: ')


def test_no_provider(house: House) -> None:
    with house.replaced(f'{PROVIDERS}/system.provider', None):
        told = examined(house)
    found = told.one('providers')
    assert (told.status, found.mark) == (0, WARNING)
    assert found.text == '0 providers, 0 jobs, 0 of them need root'
    assert found.cure == 'install a provider, such as plainbox-provider-system'


# From facts to findings

PLAIN = View(no_new_privs=False, user_namespace=False, read_only=(), private=())
SEATED = Session(id='2', seat='seat0', type='tty', active=True, remote=False)
ASKED = Rehearsal(126, '', ('admin', 'root'))
SOUND = Facts(
    root=False,
    python=(3, 11),
    pkexec='/usr/bin/pkexec',
    setuid=True,
    nosuid=False,
    launcher=__version__,
    action=Action(LAUNCHER, 'no', 'no', 'auth_admin_keep'),
    session=SEATED,
    rehearsal=ASKED,
    agent=False,
    terminal=True,
    view=PLAIN,
    log='',
    providers=1,
    jobs=2,
    root_jobs=1,
    faults=(),
)
SESSIONS = [
    (SEATED, OK, '2, active, seat0, tty'),
    (SEATED._replace(active=False), WARNING, '2, not active, seat0, tty'),
    (SEATED._replace(seat='', remote=True), WARNING, '2, active, remote, tty'),
    (SEATED._replace(seat=''), WARNING, '2, active, without a seat, tty'),
    (None, WARNING, 'none, so that for polkit we are not at this machine'),
]


def findings(about: str, **other: Any) -> list[Finding]:  # noqa: ANN401
    found = doctor.diagnose(SOUND._replace(**other))
    return [finding for finding in found if finding.about == about]


def test_sound_facts() -> None:
    found = doctor.diagnose(SOUND)
    assert {finding.mark for finding in found} == {OK}
    assert {finding.code + finding.cure for finding in found} == {''}
    assert doctor.will_run(found) is True


@pytest.mark.parametrize(('session', 'mark', 'text'), SESSIONS)
def test_sessions(session: Session | None, mark: str, text: str) -> None:
    """No problem by itself: a rule may allow what the policy does not."""
    assert findings('session', session=session) == [Finding(mark, 'session', text)]


@pytest.mark.parametrize(
    ('session', 'why'),
    [(SEATED, 'the policy'), (SEATED._replace(seat=''), 'a rule of polkit')],
)
def test_who_says_that_nobody_is_asked(session: Session, why: str) -> None:
    granting = Action(LAUNCHER, 'no', 'no', 'yes')
    given = Rehearsal(0, '', ())
    (found,) = findings('consent', action=granting, session=session, rehearsal=given)
    assert found.text == f'nobody is asked, as {why} says'


@pytest.mark.parametrize(
    ('agent', 'terminal', 'text'),
    [
        (True, True, "the desktop's dialog"),
        (True, False, "the desktop's dialog"),
        (False, True, 'pkttyagent, on this terminal'),
    ],
)
def test_what_would_ask(agent: bool, terminal: bool, text: str) -> None:
    assert findings('prompt', agent=agent, terminal=terminal) == [
        Finding(OK, 'prompt', text)
    ]
    (consent,) = findings('consent')
    assert consent.text == 'polkit will ask for the password of admin or root'


@pytest.mark.parametrize(
    ('action', 'text'),
    [
        (Action(LAUNCHER, 'no', 'no', 'yes'), 'yes: asks nobody who sits here'),
        (
            Action(LAUNCHER, 'auth_admin', 'no', 'yes'),
            'of its own: any auth_admin, inactive no, active yes',
        ),
    ],
)
def test_variants_of_the_policy(action: Action, text: str) -> None:
    assert findings('policy', action=action) == [Finding(OK, 'policy', text)]


def test_words_of_pkexecs_that_nobody_knows() -> None:
    (found,) = findings('consent', rehearsal=Rehearsal(127, 'what\x1b[31m\n', ()))
    assert (found.mark, found.code) == (PROBLEM, 'PBL-PKEXEC')
    assert '\x1b' not in doctor.as_text([found], 80)


def test_an_old_python() -> None:
    (found,) = findings('Python', python=(3, 10))
    assert (found.mark, found.cure) == (PROBLEM, 'install Python 3.11 or later')


def test_a_code_comes_with_its_cure() -> None:
    refused = Refused('PBL-NO-POLKIT', 'gone', 'start it')
    (found,) = findings('consent', rehearsal=refused)
    assert found == Finding(PROBLEM, 'consent', 'gone', 'PBL-NO-POLKIT', 'start it')


# As proc_pid_mountinfo(5) has them.
ROOT = '26 1 8:1 / / rw,relatime{} - ext4 /dev/sda1 rw'
DEV = '24 26 0:5 / /dev rw,nosuid shared:2 - {} udev rw'
TMP = '90 26 8:1 {} /tmp rw,relatime shared:3 - ext4 /dev/sda1 rw'


@pytest.mark.parametrize(
    ('line', 'private'),
    [
        (ROOT.format(' shared:1'), set()),
        (ROOT.format(''), set()),
        (ROOT.format(' shared:9 master:1'), {'/'}),
        (ROOT.format(' master:1'), {'/'}),
        (DEV.format('devtmpfs'), set()),
        (DEV.format('tmpfs'), {'/dev'}),
        (TMP.format('/tmp'), set()),
        (TMP.format('/tmp/systemd-private-8f-a.service-x/tmp'), {'/tmp'}),
        (TMP.format('/systemd/inaccessible/dir'), {'/tmp'}),
    ],
)
def test_private_mounts(line: str, private: set[str]) -> None:
    assert surroundings.private_mounts(f'{line}\n') == private
