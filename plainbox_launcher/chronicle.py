# SPDX-License-Identifier: ISC
"""What the ledger knows of a session, for people: plainbox-report(5)."""

import os
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from gettext import gettext as _
from gettext import ngettext
from typing import Final

from . import record
from .process import Ended
from .report import counted, last_lines, shown, total, word
from .result import FAILED, LOST, TIMEOUT
from .session import asked
from .store import Ledger, Row, Session

_LAST: Final = 1 << 14  # bytes in which to look for last lines


def in_text(ledger: Ledger, session: Session) -> str:
    """The report of a session. Raises Refused, as all of these do."""
    rows = record.told(record.rows(ledger, session))
    lines = [
        line
        for row, first in zip(rows, _table(rows), strict=True)
        for line in (first, *_aftermath(ledger, row))
    ]
    head = _head(ledger, session)
    return _joined([*head, '', *lines, '', total(record.counts(rows))])


def session_in_text(ledger: Ledger, session: Session) -> str:
    """All jobs of a session, and where what they printed lies."""
    rows, most = record.rows(ledger, session), asked(session).most
    lines = [
        line
        for row, first in zip(rows, _table(rows), strict=True)
        for line in (first, *_files(ledger, row, most))
    ]
    folder = _entry(_('folder'), ledger.folder(session))
    return _joined([*_head(ledger, session), folder, '', *lines])


def sessions_in_text(ledger: Ledger) -> str:
    """A table of all sessions: id, time, state, what was asked for, and its results."""
    cells = [_summed_up(ledger, session) for session in ledger.sessions()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return _joined(
        '  '.join(f'{cell:<{width}}' for cell, width in zip(row, widths, strict=True))
        for row in cells
    )


def _head(ledger: Ledger, session: Session) -> list[str]:
    boots = [row.boot_id for row in record.rows(ledger, session) if row.boot_id]
    machine = os.uname().nodename
    if boots:
        ids = ', '.join(dict.fromkeys(boots))  # more than one after a restart
        machine = _('{machine}, boot {ids}').format(machine=machine, ids=ids)
    state = _states()[record.state(ledger, session)]
    return [
        _entry(_('session'), f'{session.id}, {state}'),
        _entry(_('command'), shlex.join(record.command(session))),
        *(
            _entry(name, _time(time))
            for name, time in (
                (_('created'), session.created_at),
                (_('begun'), session.started_at),
                (_('ended'), session.completed_at),
            )
            if time
        ),
        _entry(_('machine'), machine),
    ]


def _entry(name: str, value: str) -> str:
    return f'{name + ":":<12}{shown(value)}'


def _table(rows: Sequence[Row]) -> list[str]:
    """A line for each job: what became of it, in which time, and why."""
    known = {what: word(what) for what in record.counts(rows)}
    cells = [(known[row.outcome or row.status], _seconds(row)) for row in rows]
    words, times = (max((len(cell[i]) for cell in cells), default=0) for i in range(2))
    return [
        f'{what:<{words}}  {time:>{times}}  {_called(row)}'
        for row, (what, time) in zip(rows, cells, strict=True)
    ]


def _seconds(row: Row) -> str:
    if row.seconds is None or not record.began(row):
        return '-'
    return _('{seconds} s').format(seconds=f'{row.seconds:.1f}')


def _called(row: Row) -> str:
    user = row.user or row.context
    return ''.join(
        [
            shown(row.short_id),
            _(', as {user}').format(user=shown(user)) if user else '',
            _(', only because others require it') if row.implied else '',
            f': {shown(row.reason)}' if row.reason else '',
        ]
    )


def _aftermath(ledger: Ledger, row: Row) -> list[str]:
    """What a person said of a job, and the last lines of one that failed."""
    lines = []
    if row.comment:
        lines = [_('comment: {text}').format(text=shown(row.comment))]
    if row.outcome in (FAILED, TIMEOUT, LOST):
        out, err = (ledger.output(row, name, _LAST) for name in ('stdout', 'stderr'))
        lines += last_lines(Ended(0, out, err))
    return [f'    {line}' for line in lines]


def _files(ledger: Ledger, row: Row, most: int) -> list[str]:
    """The files in the folder with what a job printed, if it printed anything."""
    lines = []
    for name, which in ((row.stdout, 'stdout'), (row.stderr, 'stderr')):
        each = record.output(ledger, row, which, most)
        text = ngettext('{path}, {number} byte', '{path}, {number} bytes', each.size)
        line = text.format(path=shown(name or ''), number=each.size)
        lines += [line + (_(', cut') if each.cut else '')] if each.size else []
    return [f'    {line}' for line in lines]


def _summed_up(ledger: Ledger, session: Session) -> tuple[str, ...]:
    chosen = asked(session)
    what = [*chosen.selection.plans, *chosen.selection.patterns]
    return (
        session.id,
        _time(session.created_at)[:16],
        _states()[record.state(ledger, session)],
        shown(shlex.join(what)),
        counted(record.counts(record.told(record.rows(ledger, session)))),
    )


def _states() -> dict[str, str]:
    """States of sessions as people see them."""
    return {
        record.QUEUED: _('queued'),
        record.RUNNING: _('running'),
        record.INTERRUPTED: _('interrupted'),
        record.FINISHED: _('finished'),
    }


def _time(text: str) -> str:
    """A time of the ledger, where we are."""
    return datetime.fromisoformat(text).astimezone().isoformat(' ', 'seconds')


def _joined(lines: Iterable[str]) -> str:
    return ''.join(f'{line.rstrip()}\n' for line in lines)
