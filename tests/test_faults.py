# SPDX-License-Identifier: ISC
"""What becomes of a run to which the worst happens; plainbox(1), DESIGN."""

import json
import os
import re
import shutil
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from house import CHECKOUT, LEDGER, House
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
    asked_for = [row for row in rows if not row['implied']]
    outcomes = Counter(row['outcome'] for row in asked_for)
    for row in asked_for:
        if row['outcome'] == 'lost':
            assert f'lost     {row["job"]}: the run ended' in said[-1].text
    (total,) = said[-1].lines[-1:]
    found = re.findall(r'(\d+) (\w+)', total.partition(': ')[2])
    assert {word: int(number) for number, word in found} == outcomes
    reported = json.loads(plainbox(house, 'report', '--format=json').text)
    assert [(job['id'], job['status']) for job in reported['jobs']] == [
        (row['id'], row['status']) for row in rows
    ]


def test_killed_at_any_point(house: House) -> None:
    """kill -9 at every step of the store: nothing that had completed is lost or run
    twice, and what was running is lost and said so. Some die a second time.
    """
    total = points(house)
    for number in range(1, total + 1, STRIDE):
        fresh(house)
        said = [faulty(house, 'kill', number, 'run', *JOBS)]
        assert said[0].status == -signal.SIGKILL, (number, said[0].errors)
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
            assert re.search('\nto go on: plainbox resume ', said[0].text)
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
