# SPDX-License-Identifier: ISC
"""Jobs in the session of whoever sits at the machine, at its console or desktop."""

import base64
import json
import re
import struct
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple

import pytest
from machine.booted import LAUNCHER, Machine
from machine.console import Console

from plainbox_launcher.trusted import rfc822, unit

ROOM = '/usr/lib/plainbox-launcher'

# What the launcher does with such a job, and nothing else of it. First come the room,
# the order and where to report.
PROTOTYPE = """
import json, os, sys
sys.path.append(sys.argv[1])
from plainbox_launcher.trusted import desktop, execute, tree
from plainbox_launcher.trusted.errors import Refused

def main(text, values, seconds, grace, between):
    here = desktop.session()
    os.system(between)
    unit = 'plainbox-' + os.urandom(8).hex()
    job = execute.Command('/bin/bash', ('bash', '-c', '--', text), values)
    desktop.watch(here, unit, os.getpid())
    command = desktop.command(here, job, unit, seconds + 60)
    ending = execute.run(command, seconds=seconds)
    ended = desktop.finish(here, unit, grace)
    return {'status': ended.status, 'cpu': ended.cpu, 'cause': ending.cause}

tree.own_descendants()
with open(sys.argv[2]) as order:
    order = json.load(order)
try:
    said = main(**order)
except Refused as refused:
    said = {'refused': str(refused)}
with open(sys.argv[3], 'w') as report:
    json.dump(said, report)
"""
ORDER = '/run/order.json'
REPORT = '/run/report.json'
LAUNCH = ('/usr/bin/python3', '-ISXutf8', '-c', PROTOTYPE, ROOM, ORDER, REPORT)
AS_TESTER = ('setpriv', '--reuid=tester', '--regid=tester', '--init-groups', 'env')


class Ran(NamedTuple):
    """What a job printed, and what the launcher says of its end."""

    out: str
    err: str
    said: dict[str, Any]

    @property
    def status(self) -> int:
        assert 'refused' not in self.said, self.said
        return int(self.said['status'])


def order(
    machine: Machine,
    text: str,
    values: dict[str, str] | None = None,
    seconds: float = inf,
    grace: float = 5,
    between: str = 'true',
) -> None:
    """Writes down what is to run, where no other process sees the values."""
    said = {'text': text, 'values': values or {}, 'between': between}
    machine.put(ORDER, json.dumps({**said, 'seconds': seconds, 'grace': grace}))


def ran(
    machine: Machine,
    *order_: Any,  # noqa: ANN401
    before: tuple[str, ...] = (),
    launch: tuple[str, ...] = LAUNCH,
    input: str = '',  # noqa: A002 # as subprocess.run calls it
    **more: Any,  # noqa: ANN401
) -> Ran:
    order(machine, *order_, **more)
    machine.put(REPORT, None)
    done = machine.run(*before, *launch, input=input)
    assert done.returncode == 0, done.stderr
    return Ran(done.stdout, done.stderr, json.loads(machine.check('cat', REPORT)))


def refused(machine: Machine, **more: Any) -> str:  # noqa: ANN401
    """The code of the refusal of a job, which did not run."""
    found = ran(machine, 'echo ran', **more)
    assert found.out == ''
    return str(found.said['refused']).partition(':')[0]


def manager(machine: Machine, *words: str) -> str:
    """Gives the tester's manager an order."""
    uid = machine.check('id', '--user', 'tester').strip()
    runtime = f'XDG_RUNTIME_DIR=/run/user/{uid}'
    return machine.check(*AS_TESTER, runtime, 'systemctl', '--user', *words)


@pytest.fixture
def person(console: Console, machine: Machine) -> Console:
    console.log_in('tester')
    # systemd counts how often it starts the console, and has enough at five.
    machine.check('systemctl', 'reset-failed', 'console-getty.service')
    return console


@pytest.fixture
def desktop(machine: Machine) -> Iterator[None]:
    """A session with a screen, as a display manager starts it."""
    machine.check('install', '--directory', '--owner=tester', '/run/screen')
    machine.check('mkfifo', '--mode=666', '/run/screen/ready')
    machine.put('/run/screen/start', SCREEN)
    machine.put('/run/systemd/system/desktop.service', DESKTOP)
    machine.check('systemctl', 'daemon-reload')
    machine.check('systemctl', 'start', 'desktop')
    machine.check('cat', '/run/screen/ready')
    yield
    machine.check('systemctl', 'stop', 'desktop')
    machine.run('loginctl', 'terminate-seat', 'seat0')
    machine.check('rm', '-r', '/run/screen')


DESKTOP = """
[Service]
User=tester
PAMName=login
Environment=XDG_SEAT=seat0 XDG_SESSION_TYPE=x11 XDG_SESSION_CLASS=user
ExecStart=sh /run/screen/start
"""

SCREEN = """
Xvfb -screen 0 640x480x24 -nolisten tcp -displayfd 1 -fbdir /run/screen | {
    read number
    DISPLAY=:$number systemctl --user import-environment DISPLAY
    echo ready >/run/screen/ready
    exec cat
}
"""


# Whose session it is


def test_nobody_is_there(machine: Machine) -> None:
    """Nobody logged in, remote: own codes."""
    assert refused(machine) == 'PBL-SESSION-NONE'
    order(machine, 'echo ran')
    machine.put('/run/prototype.py', PROTOTYPE)
    launch = f'/usr/bin/python3 -ISXutf8 /run/prototype.py {ROOM} {ORDER} {REPORT}'
    assert machine.ssh('root', launch).stdout == ''
    assert 'PBL-SESSION-REMOTE: root is ' in machine.check('cat', REPORT)


@pytest.mark.usefixtures('person')
def test_over_ssh_into_the_session(machine: Machine) -> None:
    """Usable from an ssh login."""
    order(machine, 'echo $XDG_SESSION_TYPE, $(id -un)')
    machine.put('/run/prototype.py', PROTOTYPE)
    launch = f'/usr/bin/python3 -ISXutf8 /run/prototype.py {ROOM} {ORDER} {REPORT}'
    assert machine.ssh('root', launch).stdout == 'tty, tester\n'


def test_a_locked_session(person: Console, machine: Machine) -> None:
    path = '/org/freedesktop/login1/session/auto'
    lock = f'busctl call org.freedesktop.login1 {path} org.freedesktop.login1.Session'
    assert person.enter(f'{lock} SetLockedHint b true').status == 0
    assert refused(machine) == 'PBL-SESSION-LOCKED'
    assert person.enter(f'{lock} SetLockedHint b false').status == 0
    assert ran(machine, 'true').status == 0


@pytest.mark.usefixtures('person')
def test_who_left_meanwhile(machine: Machine) -> None:
    """Row 50: session re-checked."""
    leave = 'loginctl terminate-seat seat0'
    assert refused(machine, between=leave) == 'PBL-SESSION-NONE'


@pytest.mark.usefixtures('person')
def test_who_leaves_while_it_runs(machine: Machine) -> None:
    """An unknown exit status is a failure, never 0."""
    machine.check('mkfifo', '--mode=666', '/run/running')
    leave = 'read line </run/running; loginctl terminate-user tester'
    # Not as a child of the launcher, which ends what it did not start.
    leaving = f"systemd-run --quiet --collect -- sh -c '{leave}'"
    found = ran(machine, 'echo >/run/running; sleep 1000', between=leaving)
    machine.check('rm', '/run/running')
    assert found.said['refused'].startswith('PBL-SESSION-LOST: ')


# What the job is


@pytest.mark.usefixtures('person')
def test_who_and_where_it_is(machine: Machine) -> None:
    """Started by that user's systemd manager, with XDG_RUNTIME_DIR and the session bus

    of that session; and in a directory of its own, which is removed afterwards.
    """
    found = ran(
        machine, 'id; ls -A; pwd; umask; cat /proc/self/cgroup; env', {'A': 'b'}
    )
    assert (found.status, found.err) == (0, '')
    uid = machine.check('id', '--user', 'tester').strip()
    ids, directory, umask, *rest = found.out.splitlines()
    assert ids == machine.check('id', 'tester').strip()
    assert re.fullmatch(f'/run/user/{uid}/plainbox-[0-9a-f]{{16}}', directory)
    assert machine.run('ls', directory).returncode != 0
    assert umask == '0022'
    (group,) = [line for line in rest if line.startswith('0::')]
    of_the_manager = f'0::/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/'
    assert group.startswith(of_the_manager)
    session = machine.check(
        'loginctl', 'show-seat', 'seat0', '--value', '-pActiveSession'
    )
    assert {
        f'XDG_RUNTIME_DIR=/run/user/{uid}',
        f'DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus',
        f'XDG_SESSION_ID={session.strip()}',
        'XDG_SESSION_TYPE=tty',
        'HOME=/home/tester',
        'A=b',
    } <= {*rest}
    assert manager(machine, 'list-units', '--all', '--no-legend', 'plainbox-*') == ''


@pytest.mark.usefixtures('person')
def test_it_gets_nothing_of_a_sandboxed_caller(machine: Machine) -> None:
    """Usable from a root service: the manager's view is the job's, and its ids."""
    text = (
        'readlink /proc/self/ns/mnt; grep -E "^(Cap(Prm|Amb)|NoNewP)" /proc/self/status'
    )
    options = ('--pipe', '--wait', '--quiet', '--collect', '--property=PrivateTmp=yes')
    limits = ('--property=NoNewPrivileges=yes', '--property=UMask=0')
    service = ('systemd-run', *options, *limits, '--')
    namespace, *rights = ran(machine, text, before=service).out.splitlines()
    assert namespace == machine.check('readlink', '/proc/1/ns/mnt').strip()
    none = '0' * 16
    assert [right.split()[1] for right in rights] == [none, none, '0']


NASTY = """printf '%s|' "$A" '%h %% %n ; $$ ${A} $A \\x41 \x1b\x01\x7f\x0b é "' "a
b" "$#" '"\\' '\t' ; # $"""


@pytest.mark.usefixtures('person')
def test_the_text_is_the_shells_alone(machine: Machine) -> None:
    """systemd.service(5), systemd.unit(5): no variable and no specifier is put in."""
    values = {'A': ' $HOME ${A} %h %% \\x41 "\' ; é\t', 'B': ''}
    found = ran(machine, NASTY, values)
    plain = machine.run(
        'env', '--ignore-environment', f'A={values["A"]}', 'bash', '-c', '--', NASTY
    )
    assert plain.stdout.count('|') == 6
    assert (found.out, found.err) == (plain.stdout, '')


@pytest.mark.usefixtures('person')
def test_no_value_is_seen_by_others(machine: Machine) -> None:
    """Row 42: secret in no cmdline and no journal line."""
    look = """
    for line in /proc/[0-9]*/cmdline; do
        mapfile -d '' words <"$line" 2>/dev/null && echo "${words[@]}"
    done
    """
    found = ran(machine, look, {'WORD': 'of-the-tester'})
    assert '--setenv=WORD' in found.out
    assert 'of-the-tester' not in found.out
    machine.check('journalctl', '--sync')
    assert 'of-the-tester' not in machine.check(
        'journalctl', '--quiet', '--output=json'
    )


# What is told of it


@pytest.mark.usefixtures('person')
def test_its_three_descriptors(machine: Machine) -> None:
    """Output as for any job."""
    text = 'wc -c; echo "to stderr" >&2; ls /proc/self/fd | wc -l'
    found = ran(machine, text, input='x' * 100_000)
    assert (found.out, found.err) == ('100000\n4\n', 'to stderr\n')


@pytest.mark.usefixtures('person')
@pytest.mark.parametrize(
    ('text', 'status'),
    [
        ('true', 0),
        ('exit 1', 1),
        ('exit 137', 137),
        ('exit 255', 255),
        ('kill -9 $$', -9),
        ('kill -TERM $$', -15),
        ('kill -PIPE $$', -13),
        ('setsid sleep 1000 & exit 0', 0),
        ('setsid sleep 1000 & exit 3', 3),
    ],
)
def test_how_it_ended(machine: Machine, text: str, status: int) -> None:
    """Exit status as for any job; a signal is none. What it left running is ended."""
    found = ran(machine, text)
    assert (found.status, found.said['cause'], found.out) == (status, 'exit', '')
    assert machine.run('pgrep', '-x', 'sleep').returncode == 1


@pytest.mark.usefixtures('person')
def test_the_time_that_it_took(machine: Machine) -> None:
    text = 'for ((n = 0; n < 300000; n++)); do :; done; times; sleep 0.1'
    found = ran(machine, text)
    user, system = (float(word.split('m')[1][:-1]) for word in found.out.split()[:2])
    assert found.said['cpu'] > (user + system) / 2 > 0


@pytest.mark.usefixtures('person')
@pytest.mark.parametrize(
    ('text', 'status'),
    [
        ('sleep 1000', -15),
        ('trap "exit 7" TERM; sleep 1000 & wait', 7),
        ('trap "exit 0" TERM; sleep 1000 & wait', 0),
        ('trap "" TERM; (setsid setsid sleep 1000 &); sleep 1000; sleep 1000', -9),
    ],
)
def test_the_time_limit_ends_all_of_it(
    machine: Machine, text: str, status: int
) -> None:
    """Time limit and cancel as for any job: TERM, 5 s, KILL, the whole tree."""
    found = ran(machine, text, seconds=1)
    assert (found.status, found.said['cause']) == (status, 'timeout')
    assert machine.run('pgrep', '-x', 'sleep').returncode == 1


@pytest.mark.usefixtures('person')
def test_less_patience_with_it(machine: Machine) -> None:
    """Where nobody is left who waits for the job, KILL comes before the manager's."""
    found = ran(machine, 'trap "" TERM; sleep 1000; sleep 1000', seconds=1, grace=0.5)
    assert (found.status, found.said['cause']) == (-9, 'timeout')
    assert machine.run('pgrep', '-x', 'sleep').returncode == 1


HOLD = """
exec 9>/run/alive
trap '' TERM
(setsid setsid sleep 1000 &)
echo >/run/running
sleep 1000
sleep 1000
"""
KILL = """
mkfifo --mode=666 /run/alive /run/running
cat /run/alive &
alive=$!
"$@" &
read line </run/running
kill -KILL $!
wait $alive
rm /run/alive /run/running
"""


@pytest.mark.usefixtures('person')
def test_it_does_not_outlive_the_launcher(machine: Machine) -> None:
    """Row 45. The pipe ends when the last process of the job has."""
    order(machine, HOLD)
    machine.check('bash', '-c', KILL, 'kill', *LAUNCH)
    assert machine.run('pgrep', '-x', 'sleep').returncode == 1


# What root does


def touched_by_root(machine: Machine, launch: tuple[str, ...] = LAUNCH) -> list[str]:
    """What was asked for below the user's directories, by a process while it was root.

    One that was started by a process that is no longer root counts as root.
    """
    trace = '/run/trace'
    calls = 'trace=%file,%network,setresuid'
    strace = ('strace', '-f', '-s', '999', '-e', calls, '-o', trace)
    ran(machine, 'true', before=strace, launch=launch)
    found, dropped = [], set()
    for line in machine.check('cat', trace).splitlines():
        pid, _, call = line.partition(' ')
        if re.match(r'\s*setresuid\((\d+), \1, \1\)\s+= 0', call):
            dropped.add(pid)
        elif re.search(r'"/(run/user|home)\b', call) and pid not in dropped:
            found.append(call)
    assert dropped
    return found


@pytest.mark.usefixtures('person')
def test_root_touches_nothing_of_the_users(machine: Machine) -> None:
    """Row 50: strace of the uid 0 process: nothing below /run/user or /home."""
    assert touched_by_root(machine) == []


@pytest.mark.usefixtures('person')
def test_which_is_seen_where_it_does(machine: Machine) -> None:
    """The canary of that: a room in which one tool is started as root."""
    machine.check('cp', '--recursive', ROOM, '/run/canary')
    file = '/run/canary/plainbox_launcher/trusted/desktop.py'
    text = machine.check('cat', file)
    assert text.count('_environ(account), account)') == 1
    text = text.replace('_environ(account), account)', '_environ(account))')
    machine.put(file, text)
    canary = (*LAUNCH[:4], '/run/canary', *LAUNCH[5:])
    try:
        assert any('/run/user' in call for call in touched_by_root(machine, canary))
    finally:
        machine.check('rm', '-r', '/run/canary')


# Through the launcher

PROVIDER = """
[PlainBox Provider]
name = 2026.plainbox.desktop:desktop
version = 1.0
location = /usr/lib/desktop-provider
"""
JOBS = """
id: ends
context: user-session
environ: WORD
command: echo "$(id -un) $WORD"; exit 137

id: stays
context: user-session
command: echo >/run/running; sleep 1000; sleep 1000
"""
FOLDER = '/usr/share/plainbox-trusted-launcher-1'
TERMINATE = """
mkfifo --mode=666 /run/running
PKEXEC_UID=$(id --user member) "$@" &
read line </run/running
kill -TERM $!
wait $!
status=$?
rm /run/running
exit $status
"""


@pytest.fixture
def hashes(machine: Machine) -> Iterator[dict[str, str]]:
    """Installs a provider; gives its jobs' hashes by their ids."""
    machine.check('install', '--directory', '/usr/lib/desktop-provider/units')
    machine.put('/usr/lib/desktop-provider/units/desktop.pxu', JOBS)
    machine.put(f'{FOLDER}/desktop.provider', PROVIDER)
    records = rfc822.parse(JOBS.encode(), 'jobs')
    yield {r.fields['id']: unit.checksum(r.fields) for r in records}
    machine.put(f'{FOLDER}/desktop.provider', None)
    machine.check('rm', '-r', '/usr/lib/desktop-provider')


@pytest.mark.usefixtures('person')
def test_from_the_caller_to_the_session(
    machine: Machine, hashes: dict[str, str]
) -> None:
    """Usable from an ssh login: member's job in the session of the tester."""
    call = f'pkexec {LAUNCHER} --hash {hashes["ends"]} WORD=given'
    with machine.unattended('member'):
        done = machine.ssh('member', call)
    assert (done.returncode, done.stdout, done.stderr) == (137, 'tester given\n', '')


@pytest.mark.usefixtures('person')
def test_a_launcher_that_is_told_to_stop(
    machine: Machine, hashes: dict[str, str]
) -> None:
    """A TERM to the launcher ends the job, and the status says so."""
    call = (LAUNCHER, '--hash', hashes['stays'])
    done = machine.run('bash', '-c', TERMINATE, 'terminate', *call)
    assert (done.returncode, done.stdout, done.stderr) == (128 + 15, '', '')
    assert machine.run('pgrep', '-x', 'sleep').returncode == 1


# On a desktop

WINDOW = """
xmessage -name plainbox -bg '#c02040' -geometry 300x200+100+100 'hello from a job' &
until xwininfo -name plainbox | grep IsViewable >&2; do sleep 0.1; done
base64 /run/screen/Xvfb_screen0
"""


def colours(screen: bytes) -> Counter[int]:
    """How many dots of each colour a screen has: <X11/XWDFile.h>."""
    header = struct.unpack('>25I', screen[:100])
    size, colours = header[0], header[19]
    dots = screen[size + 12 * colours :]
    return Counter(dot & 0xFFFFFF for (dot,) in struct.iter_unpack('<I', dots))


@pytest.mark.usefixtures('desktop')
def test_a_window_on_the_screen(machine: Machine) -> None:
    """A real X program whose window is seen (screenshot)."""
    found = ran(machine, WINDOW, {'DISPLAY': ':99', 'XAUTHORITY': '/none'})
    assert found.status == 0
    seen = colours(base64.b64decode(found.out))
    assert seen.total() == 640 * 480
    assert 0.9 * 300 * 200 < seen[0xC02040] <= 300 * 200
    # The window was its job's, and went with it.
    screen = machine.check('base64', '/run/screen/Xvfb_screen0')
    assert colours(base64.b64decode(screen))[0xC02040] == 0


@pytest.mark.usefixtures('desktop')
def test_a_desktop_that_keeps_its_display_to_itself(machine: Machine) -> None:
    manager(machine, 'unset-environment', 'DISPLAY')
    assert refused(machine) == 'PBL-SESSION-DISPLAY'
