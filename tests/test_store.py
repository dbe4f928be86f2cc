# SPDX-License-Identifier: ISC
"""The ledger, on a real directory: what it keeps, whatever happens to its files."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from plainbox_launcher import store
from plainbox_launcher.catalogue import Job
from plainbox_launcher.plan import Planned
from plainbox_launcher.process import Ended
from plainbox_launcher.result import DENIED, FAILED, PASSED, TIMEOUT, Result
from plainbox_launcher.store import Broken, Ledger, Row, Session, open_ledger
from plainbox_launcher.trusted.errors import Refused
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

PROVIDER = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')
TOP = Path(__file__).parent.parent

# As the first release has it. What was released is never changed.
FIRST = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, request TEXT NOT NULL,
    queued INTEGER NOT NULL, created_at TEXT NOT NULL, started_at TEXT,
    completed_at TEXT) STRICT;
CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
    session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE, job TEXT NOT NULL,
    hash TEXT NOT NULL, via TEXT, user TEXT, context TEXT, plugin TEXT NOT NULL,
    summary TEXT NOT NULL, implied INTEGER NOT NULL, status TEXT NOT NULL,
    outcome TEXT, reason TEXT, code TEXT, comment TEXT, exit_status INTEGER,
    signal INTEGER, seconds REAL, cpu_seconds REAL, peak_kib INTEGER,
    left_running TEXT NOT NULL DEFAULT '[]', view TEXT NOT NULL DEFAULT '[]',
    created_at TEXT NOT NULL, started_at TEXT, completed_at TEXT, boot_id TEXT,
    stdout TEXT, stderr TEXT) STRICT;
CREATE INDEX jobs_of_session ON jobs (session, number);
INSERT INTO sessions VALUES
    ('2026-01-01-0000', '{}', 0, '2026-01-01T00:00:00.000+00:00', NULL, NULL);
INSERT INTO jobs (id, session, job, hash, plugin, summary, implied, status, created_at)
    VALUES ('u', '2026-01-01-0000', 'org.x::old', 'h', 'shell', '', 0, 'pending', 't');
PRAGMA user_version = 1;
"""

# Another plainbox, which holds a lock until it is killed.
HOLDER = """
import sys, time
from plainbox_launcher.store import open_ledger
with open_ledger(sys.argv[1]) as ledger:
    held = ledger.worker() if sys.argv[2:] else ledger.lock(ledger.newest())
    with held:
        print('held', flush=True)
        time.sleep(1000)
"""
OPENER = """
import sys
from plainbox_launcher.store import open_ledger
sys.stdin.read()
for _ in range(5):
    with open_ledger(sys.argv[1]) as ledger:
        ledger.create({})
"""


def job(id_: str, **fields: str) -> Job:
    unit = Unit({'id': id_, 'plugin': 'shell', **fields}, PROVIDER, f'p.pxu:{id_}')
    return Job(unit, installed=True)


def planned(*ids: str) -> list[Planned]:
    return [Planned(job(id_), implied=False) for id_ in ids]


def result(outcome: str, status: int = 0) -> Result:
    return Result(job('any'), outcome, 'why', 1.5, ended=Ended(status), started=1e9)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / 'state' / 'plainbox-launcher')


@pytest.fixture
def ledger(folder: str) -> Iterator[Ledger]:
    with open_ledger(folder) as opened:
        yield opened


@pytest.fixture
def session(ledger: Ledger) -> Session:
    return ledger.create({'of': 'anything'})


def rows(ledger: Ledger, session: Session) -> list[Row]:
    return ledger.rows(session)


def ids(ledger: Ledger, session: Session) -> list[str]:
    return [row.short_id for row in ledger.rows(session)]


def change(folder: str, statement: str, *values: object) -> None:
    """Writes into the ledger behind its back."""
    with closing(sqlite3.connect(f'{folder}/ledger.sqlite')) as database:
        database.execute(statement, values)
        database.commit()


def broken(code: str, act: Callable[[], object]) -> str:
    """What is said of a ledger that cannot be used."""
    with pytest.raises(Broken) as error:
        act()
    assert error.value.refused.code == code
    return error.value.refused.fact


# The file, and the directory


def test_what_returned_outlasts_the_loss_of_power(ledger: Ledger) -> None:
    """SQLite, WAL, synchronous=FULL: asserted on the connection that writes."""
    (database,) = [
        value
        for value in vars(ledger).values()
        if isinstance(value, sqlite3.Connection)
    ]
    assert database.execute('PRAGMA journal_mode').fetchone() == ('wal',)
    assert database.execute('PRAGMA synchronous').fetchone() == (2,)  # FULL
    assert database.execute('PRAGMA foreign_keys').fetchone() == (1,)


def test_the_schema_has_a_version(folder: str) -> None:
    open_ledger(folder).close()
    with closing(sqlite3.connect(f'{folder}/ledger.sqlite')) as database:
        assert database.execute('PRAGMA user_version').fetchone() == (2,)


def test_a_ledger_of_the_first_version(folder: str) -> None:
    """schema versioned with migrations: an old ledger is kept, with all in it."""
    os.makedirs(folder)
    with closing(sqlite3.connect(f'{folder}/ledger.sqlite')) as database:
        database.executescript(FIRST)
    for _time in 'once', 'again':
        with open_ledger(folder) as ledger:
            (session,) = ledger.sessions()
            (row,) = ledger.rows(session)
            assert (row.job, row.status, row.view) == ('org.x::old', 'pending', ())
            assert ledger.durations() == {}
    with open_ledger(folder) as ledger:
        ledger.end(ledger.start(row, ()), result(PASSED))
        assert ledger.durations() == {'h': 1.5}


def test_the_first_version_is_what_it_was(folder: str) -> None:
    open_ledger(folder).close()

    def columns(database: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
        tables = 'sessions', 'jobs'
        return [
            database.execute(f'PRAGMA table_info({table})').fetchall()
            for table in tables
        ]

    with (
        closing(sqlite3.connect(':memory:')) as first,
        closing(sqlite3.connect(f'{folder}/ledger.sqlite')) as now,
    ):
        first.executescript(FIRST)
        assert columns(first) == columns(now)


def test_a_newer_ledger_is_left_alone(folder: str, ledger: Ledger) -> None:
    ledger.close()
    change(folder, 'PRAGMA user_version = 99')
    fact = broken('PBL-LEDGER', lambda: open_ledger(folder))
    assert fact == f'{folder}/ledger.sqlite: a newer plainbox has written it'
    change(folder, 'PRAGMA user_version = 2')
    open_ledger(folder).close()


@pytest.mark.parametrize('mode', [0o755, 0o777, 0o500])
def test_the_directory_is_private(folder: str, mode: int) -> None:
    """directory 0700: made so whatever the umask, and mended."""
    before = os.umask(0)
    try:
        open_ledger(folder).close()
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        os.chmod(folder, mode)
        with open_ledger(folder) as ledger:
            session = ledger.create({})
            files = ledger.folder(session)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    for path in files, f'{files}/output', f'{files}/share', f'{files}/attachments':
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason='not root')
@pytest.mark.parametrize('link', [False, True])
def test_the_directory_of_another(tmp_path: Path, link: bool) -> None:
    theirs = tmp_path / 'theirs'
    theirs.mkdir()
    os.chown(theirs, 1, 1)
    path = tmp_path / 'link' if link else theirs
    if link:
        path.symlink_to(theirs)
    fact = broken('PBL-STATE', lambda: open_ledger(str(path)))
    assert fact == f'{path} belongs to another user'
    assert list(theirs.iterdir()) == []


def test_a_link_to_ones_own_directory(tmp_path: Path) -> None:
    """As where somebody keeps the ledger on another disk."""
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'link').symlink_to('disk')
    with open_ledger(str(tmp_path / 'link')) as ledger:
        session = ledger.create({})
    assert (tmp_path / 'disk' / 'sessions' / session.id / 'share').is_dir()


@pytest.mark.parametrize('inside', ['', '/ledger.sqlite', '/sessions'])
def test_something_else_in_its_place(folder: str, inside: str) -> None:
    path = Path(folder + inside)
    path.parent.mkdir(parents=True, exist_ok=True)
    if inside == '/ledger.sqlite':
        path.mkdir()
    else:
        path.write_text('mine')
    assert str(path) in broken('PBL-STATE', lambda: open_ledger(folder))


def test_nothing_at_the_end_of_a_link(tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to('nowhere')
    broken('PBL-STATE', lambda: open_ledger(str(tmp_path / 'link')))


# Damage. Whoever finds the ledger damaged says so, and writes nothing.


def filled(folder: str) -> Path:
    with open_ledger(folder) as ledger:
        session = ledger.create({})
        ledger.replan(session, planned(*(f'job-{n}' for n in range(500))))
    return Path(folder, 'ledger.sqlite')


@pytest.mark.parametrize(
    ('at', 'length'), [(0, 16), (0, 100), (100, 8), (4096 * 8, 4096), (4096 * 20, 8192)]
)
def test_garbage_in_the_file(folder: str, at: int, length: int) -> None:
    path = filled(folder)
    data = bytearray(path.read_bytes())
    data[at : at + length] = b'\xa5' * length
    path.write_bytes(data)
    assert str(path) in broken('PBL-LEDGER', lambda: open_ledger(folder))
    assert path.read_bytes() == data


@pytest.mark.parametrize('length', [10, 4096, 4096 * 10, -4096])
def test_a_file_that_was_cut(folder: str, length: int) -> None:
    path = filled(folder)
    path.write_bytes(path.read_bytes()[:length])
    assert str(path) in broken('PBL-LEDGER', lambda: open_ledger(folder))


def test_an_empty_file_is_a_new_ledger(folder: str) -> None:
    """As a crash may leave it which was sooner than the first write."""
    os.makedirs(folder)
    Path(folder, 'ledger.sqlite').touch()
    with open_ledger(folder) as ledger:
        assert ledger.sessions() == []


def test_without_its_wal(folder: str, ledger: Ledger, session: Session) -> None:
    """Who removes that loses what was written last, but not the ledger."""
    ledger.replan(session, planned('one'))
    before = Path(folder, 'ledger.sqlite').read_bytes()
    ledger.close()
    Path(folder, 'ledger.sqlite').write_bytes(before)
    with open_ledger(folder) as again:
        for each in again.sessions():
            again.rows(each)
        again.create({})


# Sessions


def test_ids(ledger: Ledger) -> None:
    """The day and a few letters; as few as only one begins with will do."""
    ids = [ledger.create({}).id for _ in range(50)]
    assert len(set(ids)) == 50
    assert [each.id for each in ledger.sessions()] == ids
    assert ledger.newest().id == ids[-1]
    assert ledger.session(ids[7]).id == ids[7]
    for unknown in '', ids[0][:4], 'nope', f'{ids[0]}0', '%':
        with pytest.raises(Refused) as error:
            ledger.session(unknown)
        assert error.value.code == 'PBL-NO-SESSION'


def test_a_request_comes_back_as_it_was(ledger: Ledger) -> None:
    request = {'words': ['*', 'ü', '\udcff', "'; DROP TABLE jobs"], 'number': 1.5}
    session = ledger.create(request)
    assert ledger.session(session.id).request == json.loads(json.dumps(request))


def test_no_session_yet(ledger: Ledger) -> None:
    with pytest.raises(Refused) as error:
        ledger.newest()
    assert error.value.code == 'PBL-NO-SESSION'


def test_removal(folder: str, ledger: Ledger, session: Session) -> None:
    """Its rows, and all its files; nothing of another session."""
    other = ledger.create({})
    for each in session, other:
        ledger.replan(each, planned('one'))
        Path(ledger.folder(each), 'share', 'deep', 'er').mkdir(parents=True)
    ledger.remove(session)
    assert ledger.sessions() == [other]
    assert rows(ledger, session) == []
    assert os.listdir(f'{folder}/sessions') == [other.id]
    assert ids(ledger, other) == ['one']


def test_a_folder_that_nobody_knows(folder: str, ledger: Ledger) -> None:
    """What a crash left of a session that was made or removed goes with the next."""
    orphan = Path(folder, 'sessions', '2026-01-01-dead')
    (orphan / 'output').mkdir(parents=True)
    session = ledger.create({})
    assert not orphan.exists()
    assert Path(ledger.folder(session)).is_dir()


def test_a_folder_that_is_gone(ledger: Ledger, session: Session) -> None:
    """Who removed it by hand can go on all the same, and remove the rest."""
    ledger.replan(session, planned('one'))
    subprocess.run(['rm', '-r', ledger.folder(session)], check=True)
    (row,) = rows(ledger, session)
    assert ledger.output(row, 'stdout') == b''
    assert not ledger.is_locked(session)
    with ledger.lock(session), ledger.outputs(ledger.start(row, ()), 100) as (out, _):
        out.write(b'x')
    subprocess.run(['rm', '-r', ledger.folder(session)], check=True)
    ledger.remove(session)
    assert ledger.sessions() == []


# Jobs


def test_they_run_in_the_order_of_creation(ledger: Ledger, session: Session) -> None:
    ledger.replan(session, planned('b', 'a', 'c'))
    added = ledger.add(session, Planned(job('thing'), implied=True))
    assert ids(ledger, session) == ['b', 'a', 'c', 'thing']
    assert (added.short_id, added.implied, added.status) == ('thing', True, 'pending')
    numbers = [row.number for row in rows(ledger, session)]
    assert numbers == sorted(numbers)


def test_what_has_started_stays(ledger: Ledger, session: Session) -> None:
    """Put other jobs in the place of those which have not started."""
    ledger.replan(session, planned('a', 'b', 'c', 'd'))
    first, second, *_rest = rows(ledger, session)
    ledger.end(ledger.start(first, ()), result(FAILED, 3))
    ledger.start(second, ())
    ledger.replan(session, planned('d', 'x'))
    assert ids(ledger, session) == ['a', 'b', 'd', 'x']
    statuses = [row.status for row in rows(ledger, session)]
    assert statuses == ['failed', 'running', 'pending', 'pending']


def test_a_number_is_never_used_again(ledger: Ledger, session: Session) -> None:
    """So no row takes the place of another in the order."""
    ledger.replan(session, planned('a'))
    (first,) = rows(ledger, session)
    ledger.replan(session, planned('a'))
    (second,) = rows(ledger, session)
    assert second.number > first.number


def test_a_job_is_started_but_once(ledger: Ledger, session: Session) -> None:
    ledger.replan(session, planned('a'))
    (row,) = rows(ledger, session)
    ledger.start(row, ('a-view',))
    broken('PBL-SESSION-BUSY', lambda: ledger.start(row, ()))
    (now,) = rows(ledger, session)
    assert (now.status, now.view, now.boot_id) == (
        'running',
        ('a-view',),
        store.boot_id(),
    )


def test_what_has_ended_is_never_changed(ledger: Ledger, session: Session) -> None:
    ledger.replan(session, planned('a'))
    (row,) = rows(ledger, session)
    ledger.end(ledger.start(row, ()), result(PASSED))
    ended = rows(ledger, session)
    broken('PBL-SESSION-BUSY', lambda: ledger.start(row, ()))
    ledger.end(row, result(FAILED, 1))
    ledger.put_back(row)
    ledger.recover(session)
    ledger.replan(session, [])
    assert rows(ledger, session) == ended


@pytest.mark.parametrize(
    ('outcome', 'status', 'found'),
    [
        (PASSED, 0, ('completed', 0, None)),
        (FAILED, 3, ('failed', 3, None)),
        (FAILED, -9, ('failed', None, 9)),
        (TIMEOUT, -15, ('timeout', None, 15)),
    ],
)
def test_how_a_job_ended(
    ledger: Ledger,
    session: Session,
    outcome: str,
    status: int,
    found: tuple[str, int | None, int | None],
) -> None:
    ledger.replan(session, planned('a'))
    (row,) = rows(ledger, session)
    ledger.end(ledger.start(row, ()), result(outcome, status))
    (now,) = rows(ledger, session)
    assert (now.status, now.exit_status, now.signal) == found
    assert (now.outcome, now.reason, now.seconds) == (outcome, 'why', 1.5)


def test_a_job_that_never_started(ledger: Ledger, session: Session) -> None:
    ledger.replan(session, planned('a'))
    (row,) = rows(ledger, session)
    denied = Result(job('a'), DENIED, 'no', code='PBL-NO', started=1e9)
    ledger.end(row, denied)
    (now,) = rows(ledger, session)
    assert (now.status, now.code, now.started_at) == ('denied', 'PBL-NO', None)
    assert (now.exit_status, now.stdout) == (None, None)


def test_put_back(ledger: Ledger, session: Session) -> None:
    """A person ended the run instead of saying what came of a job."""
    ledger.replan(session, planned('a', 'b'))
    row = rows(ledger, session)[0]
    with ledger.outputs(ledger.start(row, ()), 100) as (out, _err):
        out.write(b'first ')
    ledger.put_back(row)
    (now, _other) = rows(ledger, session)
    assert (now.status, now.started_at) == ('pending', None)
    with ledger.outputs(ledger.start(now, ()), 100) as (out, _err):
        out.write(b'second')
    (now, _other) = rows(ledger, session)
    assert ledger.output(now, 'stdout') == b'first second'


def test_it_never_ends_before_it_starts(ledger: Ledger, session: Session) -> None:
    """Durations are right whatever the clock does, and times are in order."""
    ledger.replan(session, planned('a', 'b'))
    for row in rows(ledger, session):
        ledger.start(row, ())
    first, second = rows(ledger, session)
    ledger.end(first, result(PASSED))  # in the year 2001, says the clock
    change(ledger_folder(ledger), "UPDATE jobs SET started_at = '2999'")
    ledger.recover(session)
    first, second = rows(ledger, session)
    assert first.seconds == 1.5
    assert second.completed_at == '2999'


def ledger_folder(ledger: Ledger) -> str:
    return os.path.dirname(os.path.dirname(ledger.folder(ledger.newest())))


# After a crash


def test_what_was_running_is_lost(ledger: Ledger, session: Session) -> None:
    ledger.replan(session, planned('a', 'b', 'c'))
    first, second, _third = rows(ledger, session)
    ledger.end(ledger.start(first, ()), result(PASSED))
    ledger.start(second, ())
    ledger.recover(session)
    statuses = [row.status for row in rows(ledger, session)]
    assert statuses == ['completed', 'lost', 'pending']
    lost = rows(ledger, session)[1]
    assert (lost.outcome, lost.reason) == ('lost', 'the run ended before the job did')
    assert lost.completed_at


@pytest.mark.parametrize(
    ('noreturn', 'another_boot', 'status'),
    [
        (True, True, 'completed'),
        (True, False, 'lost'),
        (False, True, 'lost'),
        (False, False, 'lost'),
    ],
)
def test_a_restart(
    folder: str,
    ledger: Ledger,
    session: Session,
    noreturn: bool,
    another_boot: bool,
    status: str,
) -> None:
    """A noreturn job is done if the boot id changed; any other running one is lost."""
    ledger.replan(session, planned('a'))
    (row,) = rows(ledger, session)
    row = ledger.start(row, (), noreturn=noreturn)
    assert row.status == ('rebooting' if noreturn else 'running')
    if another_boot:
        change(folder, "UPDATE jobs SET boot_id = 'of another boot'")
    ledger.recover(session)
    (now,) = rows(ledger, session)
    assert now.status == status
    assert now.outcome == {'completed': PASSED, 'lost': 'lost'}[status]


def test_a_session_is_over_when_no_job_is_open(
    ledger: Ledger, session: Session
) -> None:
    ledger.replan(session, planned('a', 'b'))
    first, second = rows(ledger, session)
    ledger.begin(session)
    ledger.end(ledger.start(first, ()), result(PASSED))
    assert not ledger.finish(session)
    assert ledger.newest().completed_at is None
    ledger.end(ledger.start(second, ()), result(PASSED))
    assert ledger.finish(session)
    begun = ledger.newest().started_at
    ledger.begin(session)
    assert ledger.newest()[-2:] == (begun, None)


# Output


MARK = b'\n[plainbox: cut here, after 10 bytes]\n'


@pytest.mark.parametrize(
    ('pieces', 'kept'),
    [
        ([], b''),
        ([b'123456789'], b'123456789'),
        ([b'1234567890'], b'1234567890'),
        ([b'1234567890', b''], b'1234567890'),
        ([b'12345678901'], b'1234567890' + MARK),
        ([b'1234567890', b'1'], b'1234567890' + MARK),
        ([b'12345', b'67890', b'1', b'2'], b'1234567890' + MARK),
        ([b'12345', b'x' * 1000], b'12345xxxxx' + MARK),
    ],
)
def test_output_is_capped(
    ledger: Ledger, session: Session, pieces: list[bytes], kept: bytes
) -> None:
    """capped per job with a clear mark; at exactly the boundary there is none."""
    ledger.replan(session, planned('a'))
    row = ledger.start(rows(ledger, session)[0], ())
    with ledger.outputs(row, 10) as (out, err):
        said = b''.join(map(out.write, pieces))
        err.write(b'short')
    assert said == kept, 'what is shown is what is kept'
    assert ledger.output(row, 'stdout') == kept
    assert ledger.output(row, 'stderr') == b'short'


@pytest.mark.parametrize(
    ('last', 'found'), [(0, b''), (1, b'9'), (10, b'0123456789'), (11, b'0123456789')]
)
def test_the_end_of_an_output(
    ledger: Ledger, session: Session, last: int, found: bytes
) -> None:
    ledger.replan(session, planned('a'))
    row = ledger.start(rows(ledger, session)[0], ())
    with ledger.outputs(row, 100) as (out, _err):
        out.write(b'0123456789')
    assert ledger.output(row, 'stdout', last) == found


def test_the_names_of_files(folder: str, ledger: Ledger, session: Session) -> None:
    """No id leads out of the session's folder, or is too long for a name."""
    wild = '../../../../../../tmp/x', '.', 'a' * 5000, 'ü/\x1b[31m', ' '
    ledger.replan(session, planned(*wild))
    for row in rows(ledger, session):
        with ledger.outputs(ledger.start(row, ()), 100) as (out, _err):
            out.write(b'x')
    files = sorted(Path(folder, 'sessions').rglob('*.out'))
    assert [path.parent.name for path in files] == ['output'] * len(wild)
    assert all(path.name.isprintable() for path in files)


def test_files_are_numbered_as_jobs_start(ledger: Ledger, session: Session) -> None:
    """From 1 in each session, whatever is planned anew; none is used by two jobs."""
    names = []
    for each in ledger.create({}), session:
        ledger.replan(each, planned('a', 'b'))
        # As a local job runs while its jobs are not planned yet.
        names.append(started(ledger, ledger.add(each, planned('maker')[0])))
        ledger.replan(each, planned('a', 'maker', 'b'))
        _ran, first, again, last = rows(ledger, each)
        names += [started(ledger, first), started(ledger, again)]
        ledger.put_back(again)
        names += [started(ledger, again), started(ledger, last)]
    expected = ['1-maker', '2-a', '3-maker', '3-maker', '4-b']
    assert names == [f'output/{name}.out' for name in expected * 2]


def started(ledger: Ledger, row: Row) -> str | None:
    return ledger.start(ledger.row(row.id), ()).stdout


# Two at once


def test_locks(folder: str, ledger: Ledger) -> None:
    """two workers cannot run the same queue; and the kernel takes a lock back from the
    dead.
    """
    with another(HOLDER, folder, 'worker'):
        with pytest.raises(Refused) as error, ledger.worker():
            pass
        assert error.value.code == 'PBL-SESSION-BUSY'
    with ledger.worker():
        pass


def test_looking_at_a_lock_disturbs_nobody(
    folder: str, ledger: Ledger, session: Session
) -> None:
    assert not ledger.is_locked(session)
    with another(HOLDER, folder):
        assert ledger.is_locked(session)
        with pytest.raises(Refused) as error:
            ledger.remove(session)
        assert error.value.code == 'PBL-SESSION-BUSY'
        assert ledger.sessions() == [session]
    assert not ledger.is_locked(session)
    with ledger.lock(session), open_ledger(folder) as other:
        assert not ledger.is_locked(session), 'by somebody else'
        assert other.is_locked(session)
        assert other.is_locked(session), 'and it was not given up by that'


def test_many_at_once(folder: str) -> None:
    """Also where there is no ledger yet, and each would make it."""
    count = 8
    processes = [start(OPENER, folder) for _ in range(count)]
    time.sleep(0.2)  # for most of them to be there
    for process in processes:
        assert process.stdin
        process.stdin.close()
    for process in processes:
        assert process.stderr
        with process, process.stderr:
            assert process.stderr.read() == b''
    with open_ledger(folder) as ledger:
        assert len(ledger.sessions()) == 5 * count
        assert len(os.listdir(f'{folder}/sessions')) == 5 * count


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, '-c', program, *arguments],
        cwd=TOP,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )


@contextmanager
def another(program: str, *arguments: str) -> Iterator[None]:
    """Another plainbox works meanwhile, until it is killed."""
    process = start(program, *arguments)
    try:
        assert process.stdout
        assert process.stdout.readline() == b'held\n'
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
