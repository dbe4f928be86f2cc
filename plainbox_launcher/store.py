# SPDX-License-Identifier: ISC
"""The ledger: every job of every run, written down before it starts; plainbox(1).

 1. A job MUST be a row before it starts, and MUST be marked as started before its
    command is: so what ran is known after any crash, and never runs twice.
 2. What it printed MUST lie on the disk before its row says that it has ended.
 3. Where something cannot be written, nothing further MUST start.

SQLite keeps the rows; https://www.sqlite.org/wal.html says what a WAL with
synchronous=FULL promises: a transaction that returned outlasts the loss of power.
"""

import fcntl
import json
import os
import secrets
import shutil
import sqlite3
import stat
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from gettext import gettext as _
from typing import Any, Final, NamedTuple, Self

from xdg import BaseDirectory

from .plan import Planned
from .process import unbroken
from .refusals import refusal
from .result import CANCELLED, DENIED, FAILED, LOST, PASSED, SKIPPED, TIMEOUT, Result
from .trusted.errors import Refused

#: XDG Base Directory Specification: what should outlast a restart.
STATE: Final = os.path.join(BaseDirectory.xdg_state_home, 'plainbox-launcher')

PENDING: Final = 'pending'
RUNNING: Final = 'running'
REBOOTING: Final = 'rebooting'  # as running, but the machine is to go down with it
COMPLETED: Final = 'completed'

#: What is kept of each output of a job, in bytes.
MAX_OUTPUT: Final = 64 << 20

_STATUS: Final = {
    PASSED: COMPLETED,
    FAILED: 'failed',
    TIMEOUT: 'timeout',
    CANCELLED: 'cancelled',
    LOST: 'lost',
    SKIPPED: 'skipped',
    DENIED: 'denied',
}
_SHARE: Final = 'share'
_OUTPUT: Final = 'output'
_ATTACHMENTS: Final = 'attachments'
_FOLDERS: Final = (_SHARE, _OUTPUT, _ATTACHMENTS)
_OPEN: Final = (PENDING, RUNNING, REBOOTING)
_LOCK: Final = 'hhqqi'  # struct flock, fcntl(2): type, whence, start, length, pid
_EXCLUSIVE: Final = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_PATIENCE: Final = 10.0  # seconds for another program that writes
_REMEMBERED: Final = 5  # durations of each job

# Each brings the schema from version n to n + 1. What was released is never changed.
_MIGRATIONS: Final = (
    """
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        queued INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT
    ) STRICT;
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT UNIQUE NOT NULL,
        session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
        job TEXT NOT NULL,
        hash TEXT NOT NULL,
        via TEXT,
        user TEXT,
        context TEXT,
        plugin TEXT NOT NULL,
        summary TEXT NOT NULL,
        implied INTEGER NOT NULL,
        status TEXT NOT NULL,
        outcome TEXT,
        reason TEXT,
        code TEXT,
        comment TEXT,
        exit_status INTEGER,
        signal INTEGER,
        seconds REAL,
        cpu_seconds REAL,
        peak_kib INTEGER,
        left_running TEXT NOT NULL DEFAULT '[]',
        view TEXT NOT NULL DEFAULT '[]',
        created_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT,
        boot_id TEXT,
        stdout TEXT,
        stderr TEXT
    ) STRICT;
    CREATE INDEX jobs_of_session ON jobs (session, number);
    """,
    """
    CREATE TABLE durations (
        number INTEGER PRIMARY KEY,
        hash TEXT NOT NULL,
        seconds REAL NOT NULL
    ) STRICT;
    CREATE INDEX durations_of_job ON durations (hash, number);
    """,
)


class Session(NamedTuple):
    """A run. Times are ISO 8601 in UTC; `request` is what was asked for."""

    id: str
    request: Mapping[str, Any]
    queued: bool
    created_at: str
    started_at: str | None
    completed_at: str | None


class Row(NamedTuple):
    """A job of a run, as the ledger has it; plainbox-report(5).

    `number` is the order of creation, in which jobs run. `implied` is a resource job
    that was not asked for, but is needed by one that was. `outcome` is None until it
    has ended, `stdout` and `stderr` are paths below the session's folder.
    """

    number: int
    id: str
    session: str
    job: str
    hash: str
    via: str | None
    user: str | None
    context: str | None
    plugin: str
    summary: str
    implied: bool
    status: str
    outcome: str | None
    reason: str | None
    code: str | None
    comment: str | None
    exit_status: int | None
    signal: int | None
    seconds: float | None
    cpu_seconds: float | None
    peak_kib: int | None
    left_running: tuple[str, ...]
    view: tuple[str, ...]
    created_at: str
    started_at: str | None
    completed_at: str | None
    boot_id: str | None
    stdout: str | None
    stderr: str | None

    @property
    def short_id(self) -> str:
        """The job's id without its namespace."""
        return self.job.rpartition('::')[2]


class Broken(Exception):
    """The ledger cannot be used, so that nothing further may run; `refused` says why.

    No Refused, which is what becomes of one job, and others are run after it.
    """

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused)
        self.refused = refused


class Kept:
    """A file for what a job prints, up to so many bytes, and a mark where it was cut.

    `cut` tells that there was more.
    """

    def __init__(self, path: str, most: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with _explained(path):
            self._fd = os.open(path, flags, 0o600)
        self._path = path
        self._room = most
        self._mark = cut_mark(most)
        self.cut = False

    def write(self, data: bytes) -> bytes:
        """Take what there is room for; returns that. Raises Broken."""
        if self.cut:
            return b''
        if len(data) > self._room:
            data = data[: self._room] + self._mark
            self.cut = True
        self._room -= len(data)
        rest = memoryview(data)
        with _explained(self._path):
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        return data

    def close(self) -> None:
        """Have it on the disk. Raises Broken."""
        try:
            with _explained(self._path):
                os.fsync(self._fd)
        finally:
            os.close(self._fd)


class Ledger:
    """The rows, and beside them a folder for each session."""

    def __init__(self, folder: str, database: sqlite3.Connection) -> None:
        self._folder = folder
        self._path = _database(folder)
        self._database = database
        self._ours: set[str] = set()  # ids of sessions that we work on

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_given: object) -> None:
        self.close()

    # Sessions

    def create(self, request: Mapping[str, Any]) -> Session:
        """A session that has no jobs yet. Raises Broken, as all of these do."""
        with self._transaction():
            id_ = self._new_id()
            self._database.execute(
                'INSERT INTO sessions VALUES (?, ?, 0, ?, NULL, NULL)',
                (id_, json.dumps(request), now()),
            )
            session = self.session(id_)
            self._sweep()
            self._furnish(session)
        return session

    def enqueue(self, session: Session) -> None:
        """Let it be run by who works on the queue."""
        with self._transaction():
            self._database.execute(
                'UPDATE sessions SET queued = TRUE WHERE id = ?', (session.id,)
            )

    def sessions(self) -> list[Session]:
        """All of them, in the order of their creation."""
        found = self._rows('SELECT * FROM sessions ORDER BY rowid')
        return [_session(values) for values in found]

    def session(self, id_: str) -> Session:
        """The session with this id, or the only one whose id begins so.

        Raises Refused.
        """
        found = [each for each in self.sessions() if each.id.startswith(id_)]
        for each in found:
            if each.id == id_:
                return each
        if len(found) == 1 and id_:
            return found[0]
        if found:
            fact = _('several sessions have ids that begin with {id}').format(id=id_)
        else:
            fact = _('there is no session {id}').format(id=id_)
        raise refusal('PBL-NO-SESSION', fact)

    def newest(self) -> Session:
        """The last that was created. Raises Refused if there is none."""
        sessions = self.sessions()
        if not sessions:
            raise refusal('PBL-NO-SESSION', _('there is no session yet'))
        return sessions[-1]

    def remove(self, session: Session) -> None:
        """Forget a session: its rows, and then its files."""
        with self.lock(session), self._transaction():
            self._database.execute('DELETE FROM sessions WHERE id = ?', (session.id,))
        with self._transaction():
            self._sweep()

    def folder(self, session: Session | Row) -> str:
        """Where the files of a session lie."""
        id_ = session.id if isinstance(session, Session) else session.session
        return f'{self._folder}/sessions/{id_}'

    @contextmanager
    def lock(self, session: Session) -> Iterator[None]:
        """Let nobody else work on a session meanwhile. Raises Refused."""
        fact = _('another plainbox is working on session {id}').format(id=session.id)
        with _explained(self._path):
            self._furnish(session)  # where somebody was too tidy
        with _locked(f'{self.folder(session)}/lock', fact):
            self._ours.add(session.id)
            try:
                yield
            finally:
                self._ours.discard(session.id)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Let nobody else take from the queue meanwhile. Raises Refused."""
        with _locked(
            f'{self._folder}/work.lock', _('another plainbox is working on the queue')
        ):
            yield

    def is_locked(self, session: Session) -> bool:
        """Whether somebody else works on a session, whom this does not disturb."""
        if session.id in self._ours:
            return False
        try:
            with open(f'{self.folder(session)}/lock', 'rb') as file:
                found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _EXCLUSIVE)
        except FileNotFoundError:  # nobody ever did
            return False
        kind, *_rest = struct.unpack(_LOCK, found)
        return bool(kind != fcntl.F_UNLCK)

    # Jobs

    def rows(self, session: Session) -> list[Row]:
        """The jobs of a session, in the order in which they run."""
        query = 'SELECT * FROM jobs WHERE session = ? ORDER BY number'
        return [_row(values) for values in self._rows(query, session.id)]

    def row(self, id_: str) -> Row:
        """A job as it is by now."""
        (values,) = self._rows('SELECT * FROM jobs WHERE id = ?', id_)
        return _row(values)

    def replan(self, session: Session, planned: Iterable[Planned]) -> None:
        """Put other jobs in the place of those which have not started."""
        with self._transaction():
            self._database.execute(
                'DELETE FROM jobs WHERE session = ? AND status = ?',
                (session.id, PENDING),
            )
            self._insert(session, planned)

    def add(self, session: Session, planned: Planned) -> Row:
        """One more job, behind those that there are."""
        with self._transaction():
            self._insert(session, [planned])
        return self.rows(session)[-1]

    def begin(self, session: Session) -> None:
        """Note that a session has begun, if it is for the first time."""
        with self._transaction():
            self._database.execute(
                'UPDATE sessions SET started_at = coalesce(started_at, ?), '
                'completed_at = NULL WHERE id = ?',
                (now(), session.id),
            )

    def start(self, row: Row, view: Sequence[str], *, noreturn: bool = False) -> Row:
        """Mark a job as started. Raises Broken if it already was."""
        status = REBOOTING if noreturn else RUNNING
        started = now()
        with self._transaction():
            paths = self._names(row)
            changed = self._database.execute(
                'UPDATE jobs SET status = ?, started_at = ?, boot_id = ?, view = ?, '
                'stdout = ?, stderr = ? WHERE id = ? AND status = ?',
                (status, started, boot_id(), json.dumps(view), *paths, row.id, PENDING),
            ).rowcount
        if changed != 1:
            fact = _('{job} has been started by somebody else').format(job=row.job)
            raise Broken(refusal('PBL-SESSION-BUSY', fact))
        out, err = paths
        return row._replace(status=status, started_at=started, stdout=out, stderr=err)

    @contextmanager
    def outputs(self, row: Row, most: int) -> Iterator[tuple[Kept, Kept]]:
        """The files for what a started job prints. They are on the disk afterwards."""
        assert row.stdout  # noqa: S101  # it has been started
        assert row.stderr  # noqa: S101
        folder = self.folder(row)
        with (
            closing(Kept(f'{folder}/{row.stdout}', most)) as out,
            closing(Kept(f'{folder}/{row.stderr}', most)) as err,
        ):
            yield out, err
        with _explained(folder):
            _sync(os.path.dirname(f'{folder}/{row.stdout}'))

    def put_back(self, row: Row) -> None:
        """A person ended the run instead of saying what came of a job."""
        with self._transaction():
            self._update(row, {'status': PENDING, 'started_at': None})

    def end(self, row: Row, result: Result) -> None:
        """Write down what became of a job, started or not."""
        ended = result.ended
        status = ended.status if ended else None
        values = {
            'status': _STATUS[result.outcome],
            'outcome': result.outcome,
            'reason': result.detail or None,
            'code': result.code or None,
            'comment': result.comment or None,
            'exit_status': status if status is not None and status >= 0 else None,
            'signal': -status if status is not None and status < 0 else None,
            'seconds': round(result.seconds, 3),
            'cpu_seconds': round(ended.cpu, 6) if ended else None,
            'peak_kib': ended.peak if ended else None,
            'left_running': json.dumps(ended.left if ended else ()),
            'completed_at': _later(row, iso(result.started + result.seconds)),
        }
        with self._transaction():
            self._update(row, values)
            if result.outcome == PASSED and ended:
                self._remember(row.hash, result.seconds)

    def recover(self, session: Session, left: Sequence[str] = ()) -> None:
        """Say of what ran when a runner or the machine went down what is known.

        `left` are the names of processes that it left running.
        """
        for row in self.rows(session):
            known = recovered(row)
            if known is not row:
                names = 'status', 'outcome', 'reason', 'completed_at'
                values = {name: getattr(known, name) for name in names}
                with self._transaction():
                    self._update(row, {**values, 'left_running': json.dumps(left)})

    def finish(self, session: Session) -> bool:
        """Note that a session is over, if no job of it is open any more."""
        over = all(row.status not in _OPEN for row in self.rows(session))
        if over:
            with self._transaction():
                self._database.execute(
                    'UPDATE sessions SET completed_at = ? WHERE id = ?',
                    (now(), session.id),
                )
        return over

    def output(self, row: Row, which: str, last: int | None = None) -> bytes:
        """What a job printed on `stdout` or `stderr`, or the last bytes of it."""
        path = getattr(row, which)
        if not path:
            return b''
        try:
            with open(f'{self.folder(row)}/{path}', 'rb') as file:
                if last is not None:
                    file.seek(max(os.fstat(file.fileno()).st_size - last, 0))
                return file.read()
        except FileNotFoundError:  # it had not started yet
            return b''

    def durations(self) -> dict[str, float]:
        """How long jobs took lately on this machine, in seconds, by their hashes."""
        query = 'SELECT hash, avg(seconds) FROM durations GROUP BY hash'
        return dict(self._rows(query))

    # How it is written

    def _names(self, row: Row) -> tuple[str, str]:
        """The files for what a job prints, below the folder of its session.

        They are numbered as their jobs start: places in the order of rows would change
        with a new plan. One that was put back keeps its own.
        """
        if row.stdout and row.stderr:
            return row.stdout, row.stderr
        query = 'SELECT count(*) FROM jobs WHERE session = ? AND stdout IS NOT NULL'
        ((before,),) = self._rows(query, row.session)
        folder = _ATTACHMENTS if row.plugin == 'attachment' else _OUTPUT
        name = f'{folder}/{before + 1}-{_plain(row.short_id)}'
        return f'{name}.out', f'{name}.err'

    def _insert(self, session: Session, planned: Iterable[Planned]) -> None:
        values = [
            (
                *(str(uuid.uuid4()), session.id, job.id, job.unit.checksum),
                job.via.checksum if job.via else None,
                job.unit.get('user') or None,
                job.unit.get('context') or None,
                *(job.unit.plugin, job.unit.get('summary'), implied, PENDING, now()),
            )
            for job, implied in planned
        ]
        self._database.executemany(
            'INSERT INTO jobs (id, session, job, hash, via, user, context, plugin, '
            'summary, implied, status, created_at) '
            'VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
            values,
        )

    def _update(self, row: Row, values: Mapping[str, object]) -> None:
        """A row that has ended is never changed again."""
        columns = ', '.join(f'{name} = ?' for name in values)
        marks = ', '.join('?' * len(_OPEN))
        self._database.execute(
            f'UPDATE jobs SET {columns} WHERE id = ? AND status IN ({marks})',  # noqa: S608  # names of ours
            (*values.values(), row.id, *_OPEN),
        )

    def _remember(self, hash_: str, seconds: float) -> None:
        self._database.execute(
            'INSERT INTO durations (hash, seconds) VALUES (?, ?)', (hash_, seconds)
        )
        self._database.execute(
            'DELETE FROM durations WHERE hash = ? AND number NOT IN (SELECT number '
            'FROM durations WHERE hash = ? ORDER BY number DESC LIMIT ?)',
            (hash_, hash_, _REMEMBERED),
        )

    def _furnish(self, session: Session) -> None:
        """Have the folders for the files of a session, whatever became of them."""
        folder = self.folder(session)
        for path in folder, *(f'{folder}/{name}' for name in _FOLDERS):
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        _sync(folder)
        _sync(os.path.dirname(folder))

    def _sweep(self) -> None:
        """Remove the folders of sessions that there are not, whoever left them."""
        known = {session.id for session in self.sessions()}
        for name in set(os.listdir(f'{self._folder}/sessions')) - known:
            # What root's jobs left in a share is not ours to remove.
            shutil.rmtree(f'{self._folder}/sessions/{name}', ignore_errors=True)

    def _new_id(self) -> str:
        """A day and a few letters, which people can say and type."""
        taken = {session.id for session in self.sessions()}
        while True:
            id_ = f'{now()[:10]}-{secrets.token_hex(2)}'
            if id_ not in taken:
                return id_

    def _rows(self, query: str, *values: object) -> list[Any]:
        with _explained(self._path):
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of what is in the block, or nothing of it."""
        with _explained(self._path), unbroken():
            self._database.execute('BEGIN IMMEDIATE')
            try:
                yield
                self._database.execute('COMMIT')
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have rolled it back
                    self._database.execute('ROLLBACK')
                raise


def open_ledger(folder: str = STATE) -> Ledger:
    """Open the ledger; it is made if there is none yet. Raises Broken."""
    path = _database(folder)
    with _explained(path):
        _private(folder)
        os.makedirs(f'{folder}/sessions', 0o700, exist_ok=True)
        database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            with _first_come(folder):
                _prepare(database)
        except BaseException:
            database.close()
            raise
    return Ledger(folder, database)


def recovered(row: Row) -> Row:
    """What is known of a job when nobody is there any more who runs it.

    One that was to restart the machine has done so if this is another boot.
    """
    if row.status not in (RUNNING, REBOOTING):
        return row
    status, outcome, reason = 'lost', LOST, _('the run ended before the job did')
    if row.status == REBOOTING and row.boot_id != boot_id():
        status, outcome, reason = COMPLETED, PASSED, _('the machine was restarted')
    return row._replace(
        status=status, outcome=outcome, reason=reason, completed_at=_later(row, now())
    )


def cut_mark(most: int) -> bytes:
    """What stands where more than so many bytes were to be kept."""
    return f'\n[plainbox: cut here, after {most} bytes]\n'.encode()


def now() -> str:
    """The time, as the ledger has it."""
    return datetime.now(UTC).isoformat(timespec='milliseconds')


def iso(seconds: float) -> str:
    """Seconds since the epoch, as the ledger has them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec='milliseconds')


def boot_id() -> str:
    """Which of its lives the machine is in: random(4)."""
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as file:
        return file.read().strip()


def _database(folder: str) -> str:
    return f'{folder}/ledger.sqlite'


def _private(folder: str) -> None:
    """Make the folder, or make sure that it is ours alone."""
    os.makedirs(folder, 0o700, exist_ok=True)
    status = os.stat(folder)
    if status.st_uid != os.getuid():
        fact = _('{path} belongs to another user').format(path=folder)
        raise Broken(refusal('PBL-STATE', fact))
    if stat.S_IMODE(status.st_mode) != 0o700:
        os.chmod(folder, 0o700)


@contextmanager
def _first_come(folder: str) -> Iterator[None]:
    """Let others wait who open the ledger, too.

    SQLite has nobody wait for who makes a WAL: "database is locked", it says at once.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _prepare(database: sqlite3.Connection) -> None:
    database.execute('PRAGMA journal_mode = WAL')
    database.execute('PRAGMA synchronous = FULL')
    database.execute('PRAGMA foreign_keys = ON')
    ((sound,),) = database.execute('PRAGMA quick_check(1)').fetchall()
    if sound != 'ok':
        raise sqlite3.DatabaseError(sound)
    database.execute('BEGIN IMMEDIATE')  # another program may be doing the same
    ((version,),) = database.execute('PRAGMA user_version').fetchall()
    if version > len(_MIGRATIONS):
        raise sqlite3.DatabaseError(_('a newer plainbox has written it'))
    for script in _MIGRATIONS[version:]:
        for statement in script.split(';'):
            database.execute(statement)
    database.execute(f'PRAGMA user_version = {len(_MIGRATIONS)}')
    database.execute('COMMIT')


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """What goes wrong with the disk or with SQLite is told as a refusal."""
    try:
        yield
    except sqlite3.OperationalError as error:  # as read-only, full, locked
        fact = _('{path}: {reason}').format(path=path, reason=error)
        raise Broken(refusal('PBL-STATE', fact)) from None
    except sqlite3.Error as error:
        fact = _('{path}: {reason}').format(path=path, reason=error)
        raise Broken(refusal('PBL-LEDGER', fact)) from None
    except OSError as error:
        path = error.filename or path
        fact = _('{path}: {reason}').format(path=path, reason=error.strerror or error)
        raise Broken(refusal('PBL-STATE', fact)) from None


@contextmanager
def _locked(path: str, fact: str) -> Iterator[None]:
    """Hold a lock that the kernel takes back from the dead; fcntl(2), open file locks.

    Not flock(2): one cannot look at such a lock without taking it.
    """
    with _explained(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _EXCLUSIVE)
        except (BlockingIOError, PermissionError):  # either, says fcntl(2)
            raise refusal('PBL-SESSION-BUSY', fact) from None
        yield
    finally:
        os.close(fd)


def _sync(folder: str) -> None:
    """Have the names in a folder on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _later(row: Row, time: str) -> str:
    """Not before a job has started, whatever somebody did to the clock."""
    return max(time, row.started_at or '')


def _plain(id_: str) -> str:
    """An id as a part of the name of a file."""
    return ''.join(c if c.isalnum() or c in '._-' else '-' for c in id_)[:100]


def _session(values: Sequence[Any]) -> Session:
    id_, request, queued, *times = values
    return Session(id_, json.loads(request), bool(queued), *times)


def _row(values: Sequence[Any]) -> Row:
    row = Row(*values)
    return row._replace(
        implied=bool(row.implied),
        left_running=tuple(json.loads(str(row.left_running))),
        view=tuple(json.loads(str(row.view))),
    )
