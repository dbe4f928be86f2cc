# SPDX-License-Identifier: ISC
"""The ledger of one session, open at the job that runs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .catalogue import Job
from .plan import Planned
from .result import Result
from .store import PENDING, Kept, Ledger, Row, Session
from .trusted import generate


class Book:
    """What a run writes down of its jobs. `most` bytes of each output are kept.

    What ran without having been planned, as a resource job whose records say which
    jobs there are, becomes a row just before.
    """

    def __init__(self, ledger: Ledger, session: Session, most: int) -> None:
        self.ledger = ledger
        self.session = session
        self._most = most
        self._pending: dict[str, Row] = {}
        self._started: dict[str, Row] = {}
        self.look()

    @property
    def share(self) -> str:
        """The directory that all jobs of the session may write to."""
        return f'{self.ledger.folder(self.session)}/share'

    def look(self) -> list[Row]:
        """Look up what has not started yet; returns that."""
        rows = self.ledger.rows(self.session)
        self._pending = {row.job: row for row in rows if row.status == PENDING}
        return list(self._pending.values())

    @contextmanager
    def entry(
        self, job: Job, view: Sequence[str], *, implied: bool
    ) -> Iterator[tuple[Kept, Kept]]:
        """A job starts, and ends; its outputs are kept meanwhile.

        If it is `implied`, whoever asked for it sees it run another time. What a person
        has run once more is the same job still.
        """
        row = self._started.get(job.id)
        if row is None:
            row = self._pending.get(job.id)
            if row is None or row.implied != implied:
                row = self.ledger.add(self.session, Planned(job, implied))
            else:
                del self._pending[job.id]
            self._started[job.id] = row  # who interrupts us now has to note it
            noreturn = 'noreturn' in job.unit.flags
            row = self.ledger.start(row, view, noreturn=noreturn)
            self._started[job.id] = row
        most = self._most
        if job.unit.plugin in ('local', 'resource'):  # needed whole, after a crash
            most = max(most, generate.LIMITS.max_bytes)
        with self.ledger.outputs(row, most) as kept:
            yield kept

    def where(self, row: Row) -> str:
        """The file with what a job printed, if there is one."""
        found = self.ledger.row(row.id).stdout
        path = f'{self.ledger.folder(row)}/{found}'
        return path if found and os.path.exists(path) else ''

    def put_back(self, job: Job) -> None:
        """A job has not been done after all, and is to be done another time."""
        if row := self._started.pop(job.id, None):
            self.ledger.put_back(row)

    def end(self, result: Result) -> None:
        """Write down what became of a job, whether it ever started or not."""
        id_ = result.job.id
        if row := self._started.get(id_) or self._pending.get(id_):
            self.ledger.end(row, result)
            self._started.pop(id_, None) or self._pending.pop(id_, None)
