# SPDX-License-Identifier: ISC
"""Reports as files and for people: plainbox-report(5), plainbox(1)."""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from house import HANGS, House
from launching import cleared
from reporting import job, planned, ran
from running import plainbox, run

from plainbox_launcher import chronicle, reports
from plainbox_launcher.process import Ended
from plainbox_launcher.result import Result
from plainbox_launcher.store import Ledger, Session, open_ledger
from plainbox_launcher.trusted.errors import Refused

UNITS = r"""
id: own
command: echo own ran

id: root
user: root
command: echo root ran

id: fails
command: seq 20; echo no luck >&2; exit 3

id: unmet
requires: thing.kind == 'B'
command: true

id: thing
plugin: resource
command: echo 'kind: A'

id: waits
command: echo started; sleep infinity

id: flood
command: yes | head -c 2000000
"""


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest, _tidy: None) -> Iterator[None]:
    if 'house' not in request.fixturenames:
        yield
        return
    house: House = request.getfixturevalue('house')
    with house.provider('reports', UNITS):
        yield


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(str(tmp_path / 'state')) as ledger:
        yield ledger


@pytest.fixture
def session(ledger: Ledger) -> Session:
    """One of a job that has passed, and one that has not run."""
    one, two = (job(f'id: {name}\ncommand: true\n') for name in ('one', 'two'))
    session = planned(ledger, one, two)
    ran(ledger, ledger.rows(session)[0], Result(one, 'passed', ended=Ended(0)), b'hi\n')
    return session


# For people


def shape(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d', 'TIME', text)
    text = re.sub(r'\d{4}-\d\d-\d\d-[0-9a-f]{4}', 'SESSION', text)
    text = re.sub(r'[0-9a-f]{8}-[0-9a-f-]{27}', 'BOOT', text)
    return re.sub(r'\d+\.\d s', '0.0 s', text)


HEAD = f"""\
session:    SESSION, {{state}}
command:    {{command}}
created:    TIME
begun:      TIME
{{ended}}machine:    {os.uname().nodename}, boot BOOT
"""


def test_text(house: House) -> None:
    """A line for each job, the last lines of what failed, the number of outcomes."""
    run(house, 'own', 'root', 'fails', 'unmet')
    said = plainbox(house, 'report')
    numbers = '\n'.join(f'    {number}' for number in range(12, 21))
    head = HEAD.format(
        state='finished',
        command='plainbox run own root fails unmet',
        ended='ended:      TIME\n',
    )
    assert shape(said.text) == (
        f'{head}\n'
        'passed   0.0 s  own\n'
        'passed   0.0 s  root, as root\n'
        'failed   0.0 s  fails: exit status 3\n'
        f'{numbers}\n'
        '    no luck\n'
        "skipped      -  unmet: requires thing.kind == 'B'\n"
        '\n'
        '4 jobs: 2 passed, 1 failed, 1 skipped\n'
    )


def test_text_after_a_crash(house: House) -> None:
    """What ran is lost, what has not run is said; nothing that was printed is lost."""
    command = ['plainbox', 'run', 'own', 'waits', 'root']
    with house.popen(command, stdout=subprocess.PIPE) as process, cleared(house):
        assert process.stdout
        while process.stdout.readline() != b'started\n':
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=HANGS)
    said = plainbox(house, 'report')
    head = HEAD.format(
        state='interrupted', command='plainbox run own waits root', ended=''
    )
    assert shape(said.text) == (
        f'{head}\n'
        'passed       0.0 s  own\n'
        'lost             -  waits: the run ended before the job did\n'
        '    started\n'
        'not run yet      -  root, as root\n'
        '\n'
        '3 jobs: 1 passed, 1 lost, 1 not run yet\n'
    )


def test_while_it_runs(house: House) -> None:
    """A report is of what is known when it is made."""
    command = ['plainbox', 'run', 'own', 'waits']
    with house.popen(command, stdout=subprocess.PIPE) as process, cleared(house):
        assert process.stdout
        while process.stdout.readline() != b'started\n':
            assert process.poll() is None
        said, listed = plainbox(house, 'report'), plainbox(house, 'sessions')
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=HANGS)
    assert said.has(r'session: +\S+, running')
    assert said.has(r'running +-  waits')
    assert said.lines[-1] == '2 jobs: 1 passed, 1 running'
    assert listed.has(r'\S+  \S+ \S+  running  own waits  1 passed, 1 running')


def test_comments_and_terminals(ledger: Ledger) -> None:
    """Nothing of it drives a terminal."""
    odd = job('id: odd\x9b\u202e\nplugin: manual\n')
    session = planned(ledger, odd)
    (row,) = ledger.rows(session)
    result = Result(odd, 'failed', 'it\x1b[2J', comment='two\nlines\x07')
    ran(ledger, row, result, b'\x1b[31mred\x1b[0m\r\n\x9b\xff\n')
    for text in (
        chronicle.in_text(ledger, session),
        chronicle.session_in_text(ledger, session),
        chronicle.sessions_in_text(ledger),
    ):
        assert all(line.isprintable() for line in text.split('\n'))
    lines = chronicle.in_text(ledger, session).split('\n')
    assert 'failed  0.0 s  odd\\x9b\\u202e: it\\x1b[2J' in lines
    assert '    comment: two\\nlines\\x07' in lines
    assert '    red' in lines


def test_after_a_restart(ledger: Ledger, session: Session, tmp_path: Path) -> None:
    """A job that was to restart the machine has done so, once it is another boot."""
    (row,) = (row for row in ledger.rows(session) if row.status == 'pending')
    ledger.start(row, [], noreturn=True)
    before = chronicle.in_text(ledger, session)
    assert before.endswith('2 jobs: 1 passed, 1 restarting the machine\n')
    with closing(sqlite3.connect(tmp_path / 'state/ledger.sqlite')) as database:
        database.execute("UPDATE jobs SET boot_id = 'before' WHERE id = ?", (row.id,))
        database.commit()
    after = chronicle.in_text(ledger, session)
    assert 'passed      -  two: the machine was restarted\n' in after
    assert after.endswith('2 jobs: 2 passed\n')
    assert re.search(r'(?m)^machine: .*, boot \S{36}, before$', after)
    assert {row.status for row in ledger.rows(session)} == {'completed', 'rebooting'}


# Sessions


def test_sessions(house: House) -> None:
    """Id, time, state, what was asked for, and its results; also as JSON."""
    assert plainbox(house, 'sessions').text == ''
    run(house, 'own', 'fails')
    submitted = plainbox(house, 'submit', '--exclude=own', 'o*', 'root').text.strip()
    first, second = plainbox(house, 'sessions').lines
    pattern = r'(\S+)  \d{4}-\d\d-\d\d \d\d:\d\d  '
    assert re.fullmatch(pattern + r'finished  own fails  1 passed, 1 failed', first)
    assert re.fullmatch(pattern + r"queued    'o\*' root  1 not run yet", second)
    assert second.startswith(f'{submitted}  ')
    whole = json.loads(plainbox(house, 'sessions', '--json').text)
    one, two = whole['sessions']
    assert whole['format'] == 2
    assert (one['state'], one['counts']) == ('finished', {'passed': 1, 'failed': 1})
    assert (two['id'], two['state'], two['counts']) == (
        submitted,
        'queued',
        {'pending': 1},
    )
    assert two['command'] == ['plainbox', 'submit', '--exclude=own', 'o*', 'root']


def test_session_show(house: House) -> None:
    """All jobs, and where what they printed lies."""
    run(house, '--max-output=1M', 'unmet', 'fails', 'flood')
    (id_,) = re.findall(r'^\S+', plainbox(house, 'sessions').text)
    said = plainbox(house, 'session', 'show', id_[:-1])
    (folder,) = re.findall(r'(?m)^folder: +(/\S+)$', said.text)
    assert folder.endswith(f'/sessions/{id_}')
    lines = shape(said.text).splitlines()
    assert 'passed   0.0 s  thing, only because others require it' in lines
    files = re.findall(r'(?m)^    (\S+), (\d+) bytes(, cut)?$', said.text)
    names = ['thing.out', 'fails.out', 'fails.err', 'flood.out']
    assert [name.partition('-')[2] for name, _size, _cut in files] == names
    for name, size, cut in files:
        assert house.path(f'{folder}/{name}').stat().st_size == int(size)
        assert bool(cut) == name.endswith('flood.out')


COMMANDS = [
    ['run', 'own'],
    ['run', '--regex', '--exclude=x.*', 'ow[n]', 'root'],
    ['run', '--timeout=90', '--job-timeout=0', '--non-interactive', 'own'],
    ['run', '--per-job', '--job-timeout=5', '--max-output=1000', 'own'],
]


@pytest.mark.parametrize('words', COMMANDS)
def test_command(house: House, words: list[str]) -> None:
    """The command that asks for the same."""
    plainbox(house, *words)
    whole = json.loads(plainbox(house, 'report', '--format=json').text)
    assert whole['session']['command'] == ['plainbox', *words]


def test_no_session(house: House) -> None:
    """A clear error with a code."""
    for words in ['report'], ['report', 'nope'], ['session', 'show', 'nope']:
        said = plainbox(house, *words)
        assert (said.status, said.text) == (3, '')
        assert said.errors.startswith('plainbox: PBL-NO-SESSION: there is no session ')


def test_no_such_format(house: House) -> None:
    said = plainbox(house, 'report', '--format=yaml')
    assert said.status == 2
    assert re.search('choose from .*text.*json.*junit', said.errors)


# Files


@pytest.mark.parametrize('form', reports.FORMATS)
def test_a_file(ledger: Ledger, session: Session, tmp_path: Path, form: str) -> None:
    """A file is replaced as a whole, and by nothing else; its mode is as umask says."""
    path = tmp_path / 'new' / ('x' * 250)
    path.parent.mkdir()
    old = os.umask(0o027)
    try:
        reports.save(ledger, session, form, str(path))
    finally:
        os.umask(old)
    assert path.read_bytes() == reports.write(ledger, session, form)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with path.open('rb') as before:
        reports.save(ledger, session, form, str(path))
        assert before.read() == path.read_bytes()
        assert os.fstat(before.fileno()).st_nlink == 0
    assert os.listdir(path.parent) == [path.name]


def test_a_link(ledger: Ledger, session: Session, tmp_path: Path) -> None:
    """What it leads to is replaced."""
    link, target = tmp_path / 'link', tmp_path / 'target'
    target.write_text('before')
    link.symlink_to('target')
    reports.save(ledger, session, 'text', str(link))
    assert link.is_symlink()
    assert target.read_bytes() == reports.write(ledger, session, 'text')


def test_stale(ledger: Ledger, session: Session) -> None:
    """A report is of what is known when it is made, not when it was asked for."""
    before = reports.write(ledger, session, 'json')
    (two,) = (row for row in ledger.rows(session) if row.status == 'pending')
    ledger.end(two, Result(job('id: two\n'), 'skipped', 'why not'))
    ledger.finish(session)
    after = reports.write(ledger, session, 'json')
    assert [json.loads(text)['session']['state'] for text in (before, after)] == [
        'interrupted',
        'finished',
    ]


@pytest.mark.parametrize('path', ['/dev/stdout', '/dev/fd/1', '-'])
def test_standard_output(house: House, path: str) -> None:
    """Also where that is a file: what others wrote there stays."""
    run(house, 'own')
    script = f'exec > /tmp/out; echo before; plainbox report -o {path}'
    try:
        house.check('sh', '-c', script, user='tester')
        text = house.path('/tmp/out').read_text()
    finally:
        house.check('rm', '/tmp/out')
    assert text == 'before\n' + plainbox(house, 'report').text


def test_a_pipe(house: House) -> None:
    """What others read from is written to as it is."""
    script = """
    mkfifo /tmp/pipe
    cat /tmp/pipe &
    plainbox run -q --report=json=/tmp/pipe own > /tmp/said
    wait
    test -p /tmp/pipe && rm /tmp/pipe /tmp/said
    """
    said = house.check('sh', '-c', script, user='tester')
    assert json.loads(said)['jobs'][0]['outcome'] == 'passed'


@pytest.mark.parametrize(
    ('make', 'name', 'why'),
    [
        ('true', 'nowhere/report', 'No such file or directory'),
        ('mkdir report', 'report', 'Is a directory'),
        ('touch report; chmod 444 report', 'report', 'Permission denied'),
        ('chmod 555 .', 'report', 'Permission denied'),
        ('ln -s /dev/full report', 'report', 'No space left on device'),
    ],
)
def test_errors(house: House, make: str, name: str, why: str) -> None:
    """An error names the file."""
    run(house, 'own')
    script = f'mkdir /tmp/r && cd /tmp/r && ({make})'
    try:
        house.check('sh', '-c', script, user='tester')
        said = plainbox(house, 'report', f'--output=/tmp/r/{name}')
    finally:
        house.check('rm', '-r', '/tmp/r')
    assert (said.status, said.text) == (3, '')
    assert said.errors == f'plainbox: /tmp/r/{name}: {why}\n'


def test_a_file_in_a_place_of_others(house: House) -> None:
    """It is written into where it cannot be replaced."""
    make = 'mkdir /tmp/r && echo old > /tmp/r/report && chown tester /tmp/r/report'
    house.check('sh', '-c', make)
    try:
        run(house, '--report=text=/tmp/r/report', 'own')
        text = house.path('/tmp/r/report').read_text()
    finally:
        house.check('rm', '-r', '/tmp/r')
    assert text == plainbox(house, 'report').text


def test_a_full_disk(house: House) -> None:
    """All of it or nothing: the older one stays, and no half of a new one."""
    run(house, 'flood')
    script = """
    mkdir /tmp/r && mount -t tmpfs -o size=64k,mode=1777 small /tmp/r
    echo older > /tmp/r/report && chown tester /tmp/r/report
    """
    try:
        house.check('sh', '-c', script)
        said = plainbox(house, 'report', '--format=json', '-o', '/tmp/r/report')
        assert house.check('sh', '-c', 'cd /tmp/r; ls -A; cat *') == b'report\nolder\n'
    finally:
        house.check('sh', '-c', 'umount /tmp/r; rmdir /tmp/r')
    assert said.status == 3
    assert said.errors == 'plainbox: /tmp/r/report: No space left on device\n'


def test_before_a_run(house: House) -> None:
    """A file that cannot be written is an error before any job runs."""
    said = run(house, '--report=text=/tmp/x/y', '--report=json=/tmp/z', 'own')
    assert (said.status, said.text) == (3, '')
    assert said.errors == 'plainbox: /tmp/x/y: No such file or directory\n'
    assert plainbox(house, 'sessions').text == ''


def test_formats(house: House) -> None:
    """Each format there is, of one run."""
    forms = {form: f'/tmp/r/{form}' for form in reports.FORMATS}
    house.check('install', '-d', '-o', 'tester', '/tmp/r')
    try:
        run(house, *(f'--report={form}={path}' for form, path in forms.items()), 'own')
        for form, path in forms.items():
            written = plainbox(house, 'report', f'--format={form}').text
            assert house.path(path).read_text() == written
    finally:
        house.check('rm', '-r', '/tmp/r')


def test_what_is_no_format(ledger: Ledger, session: Session) -> None:
    with pytest.raises(KeyError):
        reports.write(ledger, session, 'yaml')
    ledger.remove(session)
    with pytest.raises(Refused, match='there is no session'):
        reports.write(ledger, session, 'text')
