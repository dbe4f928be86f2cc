# SPDX-License-Identifier: ISC
"""What the launcher writes into the system log: authpriv, through /dev/log."""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator

import probe
import pytest
from house import LAUNCHER, House, put
from probe import PROGRAM, UNKNOWN, told, uid, unescaped, written

AUTHPRIV, NOTICE, WARNING = 10, 5, 4  # <syslog.h>


# What is in them


def test_before_and_after(house: House) -> None:
    """One line before the job (uid and name of the caller, job id, hash, via, target
    user, names of variables passed and dropped) and one after (status, duration)."""
    with probe.installed(house, probe.job('exit 3', environ='B A LD_X')) as (checksum,):
        done = house.pkexec('--hash', checksum, 'A=1', 'LD_X=2', 'C=3', 'B=4')
    assert done.returncode == 3
    (first, start), (last, end) = written(house)
    common = {'uid': uid(house), 'caller': 'tester', 'hash': checksum, 'via': '-'}
    common['job'] = '2026.plainbox.house::probe'
    assert (first, last) == ('start', 'end')
    before = {'user': 'root', 'passed': 'A,B', 'dropped': 'C,LD_X', 'faults': '-'}
    assert start == {**common, **before}
    assert re.fullmatch(r'\d+\.\d{3}', end.pop('seconds'))
    assert end == {**common, 'status': '3', 'cause': 'exit', 'left': '0'}


def test_sender_and_priority(house: House) -> None:
    """authpriv; notice for what was done, warning for what was refused."""
    probe.seen(house, ':', call=house.pkexec)
    house.pkexec('--hash', UNKNOWN)
    lines = house.log(PROGRAM)
    assert [line.uid for line in lines] == [0, 0, 0]
    levels = [divmod(line.priority, 8) for line in lines]
    assert levels == [(AUTHPRIV, NOTICE)] * 2 + [(AUTHPRIV, WARNING)]
    assert {told(line).split()[0] for line in lines} == {'start', 'end', 'refused'}


@pytest.mark.parametrize('user', ['tester', 'stranger'])
def test_who_asked(house: House, user: str) -> None:
    """The caller as pkexec knows them, not as they say."""
    env = {'PKEXEC_UID': '0', 'USER': 'root', 'LOGNAME': 'root', 'SUDO_UID': '0'}
    with house.replaced('/etc/polkit-1/rules.d/00-all.rules', ALL):
        house.new_polkitd()
        done = probe.seen(house, ':', call=house.pkexec, user=user, env=env)
    house.new_polkitd()
    assert done.returncode == 0
    for _, fields in written(house):
        assert (fields['uid'], fields['caller']) == (uid(house, user), user)


ALL = b'polkit.addRule(function () { return polkit.Result.YES; });'


def test_a_caller_without_a_name(house: House) -> None:
    """Root itself may say for whom; a number without an account is no surprise."""
    probe.seen(house, ':', env={'PKEXEC_UID': '4000000000'})
    for _, fields in written(house):
        assert (fields['uid'], fields['caller']) == ('4000000000', '-')


def test_a_generated_job(house: House) -> None:
    """The run of the local job is announced, too, before it starts."""
    one = {'id': 'made', 'user': 'root', 'command': 'true'}
    local = probe.job(f"echo '{probe.text(one)}'", id='maker', plugin='local')
    with probe.installed(house, local) as (via,):
        house.pkexec('--hash', probe.checksum(one), '--via', via)
    events = written(house)
    assert [event for event, _ in events] == ['generate', 'start', 'end']
    assert [fields['job'].split('::')[1] for _, fields in events] == [
        *('maker', 'made', 'made')
    ]
    for _, fields in events:
        assert (fields['hash'], fields['via']) == (probe.checksum(one), via)


def test_a_refusal(house: House) -> None:
    done = house.pkexec('--hash', UNKNOWN, 'A=1')
    assert probe.code(done) == 'PBL-NO-JOB'
    ((event, fields),) = written(house)
    assert event == 'refused'
    assert (fields['hash'], fields['code']) == (UNKNOWN, 'PBL-NO-JOB')
    assert fields['uid'] == uid(house)


def test_faults_are_named(house: House) -> None:
    """One bad provider or file is refused by name in the audit line."""
    with house.replaced('/usr/share/plainbox-trusted-launcher-1/bad.provider', b''):
        assert probe.seen(house, ':').stderr == b''
    (_, start), _ = written(house)
    path = '/usr/share/plainbox-trusted-launcher-1/bad.provider'
    assert unescaped(start['faults']).startswith(f'{path}: has no section')


# Row 42: no values


@pytest.mark.canary(
    'job.py',
    'passed=environment.passed',
    'passed=tuple(map("".join, environment.values.items()))',
)
@pytest.mark.canary(
    'environ.py', 'tuple(sorted(offers - passed))', 'tuple(offered.values())'
)
def test_no_values(house: House) -> None:
    """Names only: neither of what is passed nor of what is dropped or refused."""
    marker = 'hunter2'
    offers = [f'A=1{marker}', f'B=2{marker}', f'LD_PRELOAD=3{marker}']
    one = {'id': 'made', 'user': 'root', 'command': 'true'}
    local = probe.job(
        f"echo '{probe.text(one)}'", id='maker', plugin='local', environ='A'
    )
    with probe.installed(house, probe.job(':', environ='A'), local) as (checksum, via):
        house.launcher('--hash', checksum, *offers)
        house.launcher('--hash', probe.checksum(one), '--via', via, *offers)
        house.launcher('--hash', UNKNOWN, *offers)
        house.launcher('--hash', checksum, f'CHECKBOX_DATA=/tmp/{marker}')
        house.launcher('--hash', checksum, f'A=\x1b{marker}')
    events = [event for event, _ in written(house)]
    assert events == ['start', 'end', 'generate', 'start', 'end', 'refused', 'refused']
    assert not [line for line in house.log(PROGRAM) if marker in line.text]


# Row 56: nobody forges a line or a field

IDS = [
    'a b',
    'a user=nobody status=0',
    'a\tb',
    'a=b',
    '=',
    'a\\x20b',
    'a\x1b]0;evil\a',
    'a\x9b2J',
    'a\x7f\b\b',
    '\xe4\u20ac\U0001f600',
    '\u202eevil',
    'a\x85b\u2028c\vd\fe',
    '"\'`$(id)',
    '<13>Nov 21 00:00:00 kernel: evil',
    '%s%n{0.__class__}',
]


@pytest.mark.canary(
    'audit.py',
    "if '!' <= c <= '~' and c != '\\\\' else",
    "if c != '\\n' else",
    crashes=True,
)
@pytest.mark.parametrize('name', [i for i in IDS if not re.fullmatch('[!-~]+', i)])
def test_forged_fields(house: House, name: str) -> None:
    """A job's id is one word of one line, whatever it holds."""
    check_id(house, name)


@pytest.mark.parametrize('name', IDS)
def test_what_is_escaped_can_be_read(house: House, name: str) -> None:
    check_id(house, name)


def check_id(house: House, name: str) -> None:
    done = probe_with_id(house, name)
    assert (done.returncode, done.stderr) == (0, b'')
    (_, start), (_, end) = written(house)
    assert unescaped(start['job']) == f'2026.plainbox.house::{name}'
    assert start['job'] == end['job']
    assert (start['user'], end['status']) == ('root', '0')


def probe_with_id(house: House, name: str) -> probe.Done:
    with probe.installed(house, probe.job(':', id=name)) as (checksum,):
        return house.launcher('--hash', checksum)


@pytest.mark.canary('audit.py', 'if len(escaped) > _MAX_FIELD:', 'if False:')
def test_a_huge_field(house: House) -> None:
    """Cut short, so that the line always fits into a datagram of the log."""
    assert probe_with_id(house, 'x' * 100_000).returncode == 0
    (_, start), _ = written(house)
    assert len(start['job']) < 2000
    assert max(len(line.text) for line in house.log(PROGRAM)) < 8192


# Row 57: no line, no job


@pytest.mark.parametrize(
    'command', ['exit 0', 'exit 1', 'exit 255', 'kill -9 $$', 'kill $$', 'kill -9 0']
)
def test_a_pair_for_each_run(house: House, command: str) -> None:
    """However it ends; only who kills the launcher itself silences it."""
    done = probe.seen(house, f'setsid bash -c "{command}"; exit $?')
    (first, _), (last, end) = written(house)
    assert (first, last, end['status']) == ('start', 'end', str(done.returncode))


def test_before_the_job(house: House) -> None:
    """The first is in the log when the job starts, the second when it has ended."""
    with probe.installed(house, probe.job('echo ready; read')) as (checksum,):
        process = house.popen(
            [LAUNCHER, '--hash', checksum],
            user='root',
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout
            assert process.stdout.readline() == b'ready\n'
            assert [event for event, _ in written(house)] == ['start']
            process.communicate(b'go\n')
    assert [event for event, _ in written(house)] == ['start', 'end']


@contextlib.contextmanager
def other_log(house: House, kind: str) -> Iterator[None]:
    """Another thing at /dev/log, or none; the collector's socket comes back."""
    log, aside = house.path('/dev/log'), house.path('/dev/log.aside')
    log.rename(aside)
    try:
        with contextlib.ExitStack() as ends:
            replace(house, kind, ends)
            yield
    finally:
        if kind == 'a directory':
            log.rmdir()
        else:
            log.unlink(missing_ok=True)
        aside.rename(log)


def replace(house: House, kind: str, ends: contextlib.ExitStack) -> None:
    log = house.path('/dev/log')
    if kind == 'a plain file':
        put(log, b'')
    elif kind == 'a directory':
        log.mkdir()
    elif kind == 'a link to nothing':
        log.symlink_to('/run/nothing')
    elif kind == 'a FIFO':
        os.mkfifo(log)
    elif kind != 'nothing':
        of_streams = kind == 'a socket of streams'
        form = socket.SOCK_STREAM if of_streams else socket.SOCK_DGRAM
        reader = ends.enter_context(socket.socket(socket.AF_UNIX, form))
        reader.bind(str(log))
        if of_streams:
            reader.listen()
        elif kind == 'a socket left behind':
            reader.close()
        else:  # 'a socket nobody reads'
            fill(str(log), ends)


def fill(log: str, ends: contextlib.ExitStack) -> None:
    writer = ends.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    writer.connect(log)
    with contextlib.suppress(BlockingIOError):
        while True:
            writer.send(b'x', socket.MSG_DONTWAIT)


DEAF = (
    *('nothing', 'a plain file', 'a directory', 'a link to nothing', 'a FIFO'),
    *('a socket of streams', 'a socket left behind'),
)
LOUD = "raise Refused('PBL-AUDIT', f'{_LOG} takes no line: {reason}') from None"


@pytest.mark.canary('audit.py', LOUD, 'pass')
@pytest.mark.parametrize('kind', DEAF)
def test_a_deaf_log(house: House, kind: str) -> None:
    """No line before, no job; neither does a local job run."""
    check_deaf(house, kind)


def test_a_log_that_is_stuck(house: House) -> None:
    """It is waited for, but not for ever."""
    check_deaf(house, 'a socket nobody reads')


def check_deaf(house: House, kind: str) -> None:
    touch = 'touch /tmp/ran; echo ran'
    local = probe.job(touch, id='local', plugin='local')
    ran = house.path('/tmp/ran')
    with probe.installed(house, probe.job(touch), local) as (checksum, via):
        arguments = ['--via', via] if kind == 'nothing' else []
        with other_log(house, kind):
            done = house.launcher('--hash', checksum, *arguments)
    found = ran.exists()
    ran.unlink(missing_ok=True)
    assert not found
    assert probe.code(done) == 'PBL-AUDIT'
    assert done.stdout == b''


def test_a_log_behind_a_link(house: House) -> None:
    """As where systemd is: a link is as good as what it leads to."""
    with contextlib.ExitStack() as undo:
        log, real = house.path('/dev/log'), house.path('/run/real-log')
        log.rename(log.with_name('log.aside'))
        undo.callback(log.with_name('log.aside').rename, log)
        reader = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        reader.bind(str(real))
        undo.callback(real.unlink)
        log.symlink_to('/run/real-log')
        undo.callback(log.unlink)
        assert probe.seen(house, 'echo ran').stdout == b'ran\n'
        assert b': start ' in reader.recv(8192)
        assert b': end ' in reader.recv(8192)
