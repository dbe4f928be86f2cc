# SPDX-License-Identifier: ISC
"""What becomes of a run to which the worst happens; plainbox(1), DESIGN."""

import json
import os
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from house import CHECKOUT, CLEAN, HANGS, LEDGER, House
from launching import cleared
from running import Ran, plainbox

UNITS = r"""
id: own
command: echo own >> /tmp/ran; echo own printed

id: root
user: root
command: echo root >> /tmp/ran; echo root printed

id: fails
command: echo fails >> /tmp/ran; echo fails printed; exit 3

id: thing
plugin: resource
command: echo thing >> /tmp/ran; printf 'kind: A\n\nkind: B\n'

id: broken
plugin: resource
command: echo broken >> /tmp/ran; exit 5

id: met
requires: thing.kind == 'A'
command: echo met >> /tmp/ran; echo met printed

id: unmet
requires: broken.kind == 'A'
command: echo unmet >> /tmp/ran

id: unmet-too
requires: broken.kind == 'B'
command: echo unmet-too >> /tmp/ran

id: after
depends: own
command: echo after >> /tmp/ran; echo after printed

id: waits
command:
 setsid sleep 1000 &
 until grep -q sleep /proc/$!/comm; do :; done
 echo waits >> /tmp/ran; sleep 1000; echo went on >> /tmp/ran

id: root-waits
user: root
command: echo root-waits >> /tmp/ran; sleep 1000; echo went on >> /tmp/ran

id: floods
command: echo floods >> /tmp/ran; head -c 8M /dev/zero; echo went on >> /tmp/ran

id: fills
command: echo fills >> /tmp/ran; cat /dev/zero > $PLAINBOX_SESSION_SHARE/fill; true

id: long
plugin: resource
command: echo long >> /tmp/ran; printf 'kind: %0999d\n\nkind: A\n' 0

id: of-long
requires: long.kind == 'A'
command: echo of-long >> /tmp/ran

unit: template
id: of-{kind}
template-resource: thing
command: echo of-{kind} >> /tmp/ran; echo of-{kind} printed
"""
JOBS = ('own', 'root', 'fails', 'met', 'unmet', 'unmet-too', 'after', 'of-A', 'of-B')

FATES = {
    'own': 'completed',
    'root': 'completed',
    'fails': 'failed',
    'thing': 'completed',
    'broken': 'failed',
    'met': 'completed',
    'unmet': 'skipped',
    'unmet-too': 'skipped',
    'after': 'completed',
    'of-A': 'completed',
    'of-B': 'completed',
}
PRINTS = {
    'own': 'own printed\n',
    'root': 'root printed\n',
    'fails': 'fails printed\n',
    'thing': 'kind: A\n\nkind: B\n',
    'met': 'met printed\n',
    'after': 'after printed\n',
    'of-A': 'of-A printed\n',
    'of-B': 'of-B printed\n',
}

CUT_OFF = ('lost', 'cancelled')

PYTHON = '/usr/bin/python3'
FAULTY = f'{CHECKOUT}/tests/faulty.py'
STATE = f'/home/tester/{LEDGER}'

# Each point takes more than a second; these are all of them, or one of so many.
STRIDE = 1 if os.environ.get('PLAINBOX_FAULTS') == 'all' else 11

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    fresh(house)
    with house.provider('faults', UNITS):
        yield
    house.check('rm', '-f', '/tmp/ran')


def fresh(house: House) -> None:
    """As if nothing had ever run."""
    house.check('rm', '-rf', STATE)
    house.check('install', '-m', '666', '/dev/null', '/tmp/ran')


def ran(house: House) -> list[str]:
    """Which jobs ran, as they say themselves."""
    return house.path('/tmp/ran').read_text().splitlines()


def faulty(house: House, effect: str, number: int, *arguments: str) -> Ran:
    """Runs plainbox, and has something happen to it."""
    command = [PYTHON, FAULTY, effect, str(number), *arguments]
    with cleared(house):
        return Ran(house.run(command))


def written(house: House) -> list[Row]:
    """The ledger as it lies on the disk, which looking at it does not change."""
    with tempfile.TemporaryDirectory() as folder:
        for path in house.path(STATE).glob('ledger.sqlite*'):
            shutil.copy(path, folder)
        database = sqlite3.connect(f'{folder}/ledger.sqlite')
        database.row_factory = sqlite3.Row
        with closing(database):
            if not database.execute('PRAGMA user_version').fetchone()[0]:
                return []
            found = database.execute('SELECT * FROM jobs ORDER BY number').fetchall()
        return [{**row, 'job': row['job'].rpartition('::')[2]} for row in found]


def kept(house: House, row: Row) -> str:
    """What a job printed, as it lies on the disk."""
    path = house.path(f'{STATE}/sessions/{row["session"]}/{row["stdout"]}')
    return path.read_text() if row['stdout'] and path.exists() else ''


def resumed(house: House, said: Ran) -> Ran:
    """Goes on until there is nothing to go on with."""
    while True:
        again = plainbox(house, 'resume')
        if again.errors.startswith('plainbox: PBL-NO-SESSION: '):
            return said
        assert again.status in (0, 1, 3), (again.text, again.errors)
        said = again


def show_that_nothing_was_lost(house: House, stages: list[list[Row]]) -> None:
    """Looks at the ledger after each crash, and what it says in the end."""
    last = stages[-1]
    assert all(row['outcome'] for row in last), last
    now = {row['id']: row for row in last}
    for rows in stages:
        for row in rows:
            if row['outcome']:
                assert now[row['id']] == row, 'what had ended was changed'
            elif row['status'] == 'running':
                assert now[row['id']]['status'] == 'lost'
                assert now[row['id']]['reason'] == 'the run ended before the job did'
    running = {r['id'] for rows in stages for r in rows if r['status'] == 'running'}
    assert {row['id'] for row in last if row['status'] == 'lost'} == running
    show_that_each_ran_once(house, last)


def show_that_each_ran_once(house: House, rows: list[Row]) -> None:
    started = [row for row in rows if row['started_at']]
    done = [row['job'] for row in started if row['status'] not in CUT_OFF]
    lost = [row['job'] for row in rows if row['status'] in CUT_OFF]
    marks = ran(house)
    assert len(set(done)) == len(done), 'something ran twice'
    assert not Counter(done) - Counter(marks), 'something did not run'
    assert not Counter(marks) - Counter(done) - Counter(lost), 'something ran too often'
    asked_for = [row['job'] for row in rows if not row['implied']]
    assert asked_for == list(JOBS)
    order = [row['job'] for row in started if row['job'] in marks]
    assert [job for job in order if job in asked_for] == [
        job for job in marks if job in asked_for
    ]
    for row in rows:
        if row['job'] not in lost:
            skipped = row['job'] == 'after' and 'own' in lost
            assert row['status'] == ('skipped' if skipped else FATES[row['job']]), row


def show_that_it_is_said(house: House, said: list[Ran], rows: list[Row]) -> None:
    """What was printed before a crash is in the files, and the last summary is true."""
    printed = {row['job']: kept(house, row) for row in rows}
    for line in (line for each in said for line in each.lines):
        if re.fullmatch(r'\S+ printed', line):
            assert line in printed[line.partition(' ')[0]].splitlines()
    for row in rows:
        if row['started_at'] and row['status'] not in CUT_OFF and row['job'] in PRINTS:
            assert printed[row['job']] == PRINTS[row['job']]
    show_that_the_summary_is_true(house, said[-1], rows)
    reported = json.loads(plainbox(house, 'report', '--format=json').text)
    assert [(job['id'], job['status']) for job in reported['jobs']] == [
        (row['id'], row['status']) for row in rows
    ]


def show_that_the_summary_is_true(house: House, said: Ran, rows: list[Row]) -> None:
    asked_for = [row for row in rows if not row['implied']]
    outcomes = Counter(row['outcome'] for row in asked_for)
    last = said
    if last.status == -signal.SIGKILL:  # after its last step, before the summary
        last = plainbox(house, 'report')
    for row in asked_for:
        if row['outcome'] == 'lost':
            assert re.search(rf'lost +\S*{row["job"]}.*: the run ended', last.text)
    if last is said:  # the report also counts what failed without being asked for
        (total,) = last.lines[-1:]
        found = re.findall(r'(\d+) (\w+)', total.partition(': ')[2])
        assert {word: int(number) for number, word in found} == outcomes


def test_killed_at_any_point(house: House) -> None:
    """kill -9 at every step of the store: nothing that had completed is lost or run
    twice, and what was running is lost and said so. Some die a second time.
    """
    total = points(house)
    for number in range(1, total + 1, STRIDE):
        fresh(house)
        said = [faulty(house, 'kill', number, 'run', *JOBS)]
        # What comes in one piece or in two makes a few points more or less.
        killed = said[0].status == -signal.SIGKILL
        assert killed or number > total - 10, (number, said[0].errors)
        stages = [written(house)]
        if number % 2:
            said.append(faulty(house, 'kill', total - number, 'resume'))
            stages.append(written(house))
        show_the_end(house, f'killed at point {number} of {total}', said, stages)
    fresh(house)


def test_interrupted_at_any_point(house: House) -> None:
    """Ctrl-C: nothing is running any more, and nothing is lost, not even the running
    job, which was cancelled. What could not begin leaves nothing.
    """
    total = points(house)
    for number in range(1, total + 1, STRIDE):
        fresh(house)
        said = [faulty(house, 'interrupt', number, 'run', *JOBS)]
        stages = [written(house)]
        assert 'running' not in {row['status'] for row in stages[0]}, number
        if any(not row['outcome'] for row in stages[0]):
            assert said[0].status == 130
            assert re.search('\nto resume: plainbox resume ', said[0].text)
        show_the_end(house, f'interrupted at point {number} of {total}', said, stages)
    fresh(house)


def test_full_at_any_point(house: House) -> None:
    """Disk full: no further job starts, PBL-STATE says why, and resume goes on."""
    total = points(house)
    for number in range(1, total + 1, STRIDE):
        fresh(house)
        with small(house):
            said = [faulty(house, 'full', number, 'run', *JOBS)]
            stages = [written(house)]
            begun = [row for row in stages[0] if row['started_at']]
            running = [row for row in begun if row['status'] == 'running']
            assert len(running) < 2, number
            assert {*ran(house)} <= {row['job'] for row in begun}, number
            if said[0].status != 1:
                assert said[0].status == 3
                assert said[0].errors.startswith('plainbox: PBL-STATE: ')
            house.check('rm', '-f', f'{STATE}/fill')
            show_the_end(house, f'full at point {number} of {total}', said, stages)
    fresh(house)


def show_the_end(
    house: House, when: str, said: list[Ran], stages: list[list[Row]]
) -> None:
    """Goes on to the end, and looks at all that is known then."""
    said.append(resumed(house, said[-1]))
    stages.append(written(house))
    try:
        if stages[-1]:
            show_that_nothing_was_lost(house, stages)
            show_that_it_is_said(house, said, stages[-1])
        else:
            assert {*ran(house)} <= {'thing', 'broken'}, 'more than the plan needs'
    except BaseException as error:
        told = '\n'.join(each.text + each.errors for each in said)
        error.add_note(f'{when}:\n{told}')
        raise


@contextmanager
def small(house: House) -> Iterator[None]:
    """Has the ledger on a file system of its own."""
    owner = house.path('/home/tester').stat()
    options = f'size=1M,mode=700,uid={owner.st_uid},gid={owner.st_gid}'
    house.check('mkdir', '-p', STATE, user='tester')
    house.check('mount', '-t', 'tmpfs', '-o', options, 'small', STATE)
    try:
        yield
    finally:
        house.check('umount', STATE)


# What a killed runner leaves


@pytest.mark.parametrize('group', [False, True], ids=['alone', 'with its group'])
def test_what_a_killed_runner_leaves(house: House, *, group: bool) -> None:
    """What the lost job had left running is ended before anything else runs."""
    with cleared(house):
        jobs = 'own', 'waits', 'root-waits', 'after'
        cut_off(house, 'waits', *jobs, group=group)
        left = sorted(name for name in house.strangers().values())
        assert left == (['sleep'] if group else ['bash', 'sleep', 'sleep'])
        process = house.popen(['plainbox', 'resume'], stdout=-1, stderr=-1)
        until(house, 'root-waits')
        sleeping: list[str] = []
        deadline = time.monotonic() + HANGS
        while not sleeping and time.monotonic() < deadline:  # bash becomes it
            sleeping = [n for n in house.strangers().values() if n == 'sleep']
        assert sleeping == ['sleep'], 'but for that of root-waits'
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate(timeout=HANGS)
    assert f'was ended: {", ".join(left)}\n' in errors.decode()
    (lost,) = (row for row in written(house) if row['status'] == 'lost')
    assert json.loads(lost['left_running']) == left
    assert 'went on' not in ran(house)


def test_what_a_killed_runner_leaves_of_root(house: House) -> None:
    """The launcher ends what it runs when nobody is there any more."""
    with cleared(house):
        cut_off(house, 'root-waits', 'root-waits', 'own')
        assert not house.strangers()
        assert plainbox(house, 'resume').status == 3
    assert ran(house) == ['root-waits', 'own']


def test_others_are_let_be(house: House) -> None:
    """What has another session in its environment, or goes on with this one itself."""
    with cleared(house):
        cut_off(house, 'waits', 'waits', 'own')
        share = house.path(f'{STATE}/sessions/{written(house)[0]["session"]}/share')
        mine = f'PLAINBOX_SESSION_SHARE={str(share).partition("root")[2]}'
        stranger = house.popen(['env', f'{mine}x', 'sleep', '1000'])
        command = f'export {mine}; plainbox resume; echo lives'
        assert house.run(['sh', '-c', command]).stdout.endswith(b'lives\n')
        assert stranger.poll() is None
        assert [*house.strangers().values()] == ['sleep']


def test_what_a_resource_printed_is_kept_whole(house: House) -> None:
    """Also where --max-output cuts what others print: it is read again."""
    with cleared(house):
        cut_off(house, 'waits', '--max-output=1', 'long', 'waits', 'of-long')
        assert plainbox(house, 'resume').status == 3
    assert ran(house) == ['thing', 'long', 'waits', 'of-long']


def cut_off(house: House, job: str, *arguments: str, group: bool = False) -> None:
    """A run that dies in the middle of a job, alone or with its process group."""
    process = house.popen(['plainbox', 'run', *arguments], stdout=-1, stderr=-1)
    until(house, job)
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    process.communicate(timeout=HANGS)


def until(house: House, job: str) -> None:
    deadline = time.monotonic() + HANGS
    while job not in ran(house):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Disks


def test_a_disk_that_is_full_before(house: House) -> None:
    with small(house):
        house.run(['sh', '-c', f'cat /dev/zero > {STATE}/fill'])
        refused(house, 'PBL-STATE', 'run', 'own', 'root')
        assert ran(house) == []
        house.check('rm', f'{STATE}/fill')
        assert plainbox(house, 'run', 'own').status == 0


@pytest.mark.parametrize('job', ['floods', 'fills'])
def test_a_disk_that_a_job_fills(house: House, job: str) -> None:
    """By what it prints, or by itself: it is ended, or lost, and nothing else runs."""
    with small(house):
        said = refused(house, 'PBL-STATE', 'run', 'own', job, 'root', 'after')
        assert 'own printed' in said.lines
        assert ran(house) == ['own', job]
        assert [row['status'] for row in written(house)] == [
            'completed',
            'running',
            'pending',
            'pending',
        ]
        house.check(
            'sh', '-c', f'rm -f {STATE}/sessions/*/*/*fill* {STATE}/*/*/*/*floods*'
        )
        assert plainbox(house, 'resume').status == 3
        assert ran(house) == ['own', job, 'root', 'after']
        assert [row['status'] for row in written(house)] == [
            'completed',
            'lost',
            'completed',
            'completed',
        ]


def test_an_output_that_cannot_be_kept(house: House) -> None:
    """Though the row of the job still can, nothing further runs."""
    command = 'ulimit -f 1024; exec plainbox run own floods fails after'  # KiB
    said = Ran(house.run(['bash', '-c', command]))
    assert said.status == 3
    assert re.search('^plainbox: PBL-STATE: .*floods.out: File too large', said.errors)
    assert ran(house) == ['own', 'floods']
    assert plainbox(house, 'resume').status == 1
    assert ran(house) == ['own', 'floods', 'fails', 'after']


def test_a_disk_that_is_read_only(house: House) -> None:
    """A state directory that cannot be written is known before any job runs."""
    with small(house):
        assert plainbox(house, 'run', 'own').status == 0
        house.check('mount', '-o', 'remount,ro', STATE)
        refused(house, 'PBL-STATE', 'run', 'own', 'root')
        house.check('mount', '-o', 'remount,rw', STATE)
    assert ran(house) == ['own']


@pytest.mark.parametrize('place', ['/proc/nowhere', '/usr/share', '/etc/passwd'])
def test_a_directory_that_cannot_be_made(house: House, place: str) -> None:
    env = {**CLEAN, 'HOME': '/home/tester', 'XDG_STATE_HOME': place}
    for arguments in ['run', 'own', 'root'], ['submit', 'own'], ['work', '--once']:
        said = plainbox(house, *arguments, env=env)
        assert (said.status, said.text) == (3, '')
        assert said.errors.startswith(f'plainbox: PBL-STATE: {place}')
    assert ran(house) == []


def test_another_users_directory(house: House) -> None:
    """As after sudo with the home of its caller."""
    house.check('mkdir', '-p', STATE)
    refused(house, 'PBL-STATE', 'run', 'own')
    assert ran(house) == []


def test_a_damaged_ledger(house: House) -> None:
    """PBL-LEDGER, before any job runs; nothing is written into it."""
    assert plainbox(house, 'run', 'own').status == 0
    path = house.path(f'{STATE}/ledger.sqlite')
    path.write_bytes(b'garbage' * 1000)
    for arguments in ['run', 'own'], ['resume'], ['sessions'], ['report'], ['work']:
        refused(house, 'PBL-LEDGER', *arguments)
    assert ran(house) == ['own']
    assert path.read_bytes() == b'garbage' * 1000


def refused(house: House, code: str, *arguments: str) -> Ran:
    said = plainbox(house, *arguments)
    assert said.status == 3, said.text
    assert said.errors.splitlines()[-1].startswith(f'plainbox: {code}: '), said.errors
    assert 'Traceback' not in said.errors
    return said


# Others at the same time, other times, and many


def test_two_runners(house: House) -> None:
    """Each with a session of its own: both run, and all is written down."""
    command = ['plainbox', 'run', *JOBS]
    both = [house.popen(command, stdout=-1, stderr=-1) for _ in range(2)]
    for process in both:
        out, errors = process.communicate(timeout=HANGS)
        assert (process.returncode, errors) == (1, b''), out
    rows = written(house)
    for id_ in {row['session'] for row in rows}:
        mine = {row['job']: row['status'] for row in rows if row['session'] == id_}
        assert mine == FATES
    assert Counter(ran(house)) == {job: 2 for job in FATES if 'unmet' not in job}


def test_two_workers(house: House) -> None:
    """two workers cannot run the same queue"""
    for job in 'root-waits', 'own':
        assert plainbox(house, 'submit', job).status == 0
    with cleared(house):
        worker = house.popen(['plainbox', 'work'], stdout=-1, stderr=-1)
        until(house, 'root-waits')
        refused(house, 'PBL-SESSION-BUSY', 'work', '--once')
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate(timeout=HANGS)
        assert plainbox(house, 'work', '--once').status == 3
    assert ran(house) == ['root-waits', 'own']
    assert [row['status'] for row in written(house)] == ['lost', 'completed']


@pytest.mark.parametrize('part', [0.3, 0.5, 0.7, 0.8])
def test_the_clock_is_set_back(house: House, part: float) -> None:
    """Order and durations stay right, no job ends before it starts, and reports are
    made.
    """
    at = int(points(house) * part)
    fresh(house)
    assert faulty(house, 'clock', at, 'run', *JOBS).status == 1
    rows = written(house)
    assert {row['job']: row['status'] for row in rows} == FATES
    assert len({row['completed_at'][:10] for row in rows}) == 2, 'two days'
    for row in rows:
        assert 0 <= row['seconds'] < HANGS
        assert row['completed_at'] >= (row['started_at'] or '')
    for form in 'text', 'json', 'junit':
        assert plainbox(house, 'report', '--format', form).status == 0
    times = re.findall(
        r'time="([^"]*)"', plainbox(house, 'report', '--format=junit').text
    )
    assert times
    assert all(0 <= float(time) < HANGS for time in times)


def test_ten_thousand_jobs(house: House) -> None:
    """They are written down, run in their order, and reported. All of them run only
    where PLAINBOX_SLOW is set: they take a minute.
    """
    count, limit = 10_000, ['--timeout', '3s']
    if 'PLAINBOX_SLOW' in os.environ:
        limit = []
    units = '\n'.join(f'id: n{n:05}\ncommand: true\n' for n in range(count))
    with house.provider('many', units):
        process = house.popen(
            ['plainbox', 'run', '--quiet', *limit, 'n?????'], stdout=-1, stderr=-1
        )
        out, errors = process.communicate()
        assert (process.returncode, errors) == (1 if limit else 0, b'')
    rows = [row for row in written(house) if not row['implied']]
    assert [row['job'] for row in rows] == [f'n{n:05}' for n in range(count)]
    done = Counter(row['status'] for row in rows)
    assert done['completed'] > 100
    assert done['completed'] + done['skipped'] == count
    assert [row['status'] for row in rows] == [
        *['completed'] * done['completed'],
        *['skipped'] * done['skipped'],
    ]
    assert out.decode().splitlines()[-1].startswith(f'{count} jobs: ')
    said = plainbox(house, 'report')
    assert (said.status, said.errors) == (0, '')
    assert said.lines[-1].startswith(f'{count} jobs: {done["completed"]} passed')
    (session,) = json.loads(plainbox(house, 'sessions', '--json').text)['sessions']
    assert session['counts']['passed'] == done['completed']


def points(house: House) -> int:
    """How many there are, found by halves."""
    low, high = 1, 4096  # alive at the second, not at the first
    while high - low > 1:
        middle = (low + high) // 2
        fresh(house)
        dead = faulty(house, 'kill', middle, 'run', *JOBS).status == -signal.SIGKILL
        low, high = (middle, high) if dead else (low, middle)
    assert low > 100
    return low
