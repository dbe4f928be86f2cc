# SPDX-License-Identifier: ISC
"""What the ledger knows of a session, for programs: plainbox-report(5)."""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from glob import escape
from math import inf
from typing import Final, NamedTuple

from . import __version__
from .elevate import LAUNCHER
from .result import DENIED, PASSED, SKIPPED
from .runner import Terms
from .session import Request, asked
from .store import (
    MAX_OUTPUT,
    REBOOTING,
    Ledger,
    Row,
    Session,
    boot_id,
    cut_mark,
    recovered,
)

#: The number of the format. Fields may be added to it, but mean the same for ever.
FORMAT: Final = 2

#: What a report has of each output of a job, in bytes; the rest is in its file.
MOST: Final = 1 << 16

# Sessions, as to how far they are.
QUEUED: Final = 'queued'
RUNNING: Final = 'running'
INTERRUPTED: Final = 'interrupted'
FINISHED: Final = 'finished'

# What a terminal or an editor could take for its own; in JSON all else may be raw.
_NOT_ASCII: Final = re.compile(r'[^\n -~]+')
_CONTINUED: Final = bytes(range(0x80, 0xC0))  # RFC 3629: no character begins so


class Output(NamedTuple):
    """What a job printed on one of its outputs.

    `path` is the file with all of it, '' if there is none, `size` how many bytes are
    in there; `cut` tells that there was more than was to be kept. `text` is the end.
    """

    path: str
    size: int
    cut: bool
    text: str

    @property
    def whole(self) -> bool:
        """Whether the text is all there was."""
        return not self.cut and self.size <= MOST


def in_json(ledger: Ledger, session: Session) -> str:
    """All that is known of a session. Raises Refused."""
    most = asked(session).most
    return _in_json(
        {
            'session': of_session(ledger, session),
            'jobs': [of_job(ledger, row, most) for row in rows(ledger, session)],
        }
    )


def sessions_in_json(ledger: Ledger) -> str:
    """All sessions there are, with the number of jobs of each outcome."""
    return _in_json(
        {
            'sessions': [
                {**of_session(ledger, each), 'counts': counts(told(rows(ledger, each)))}
                for each in ledger.sessions()
            ]
        }
    )


def of_session(ledger: Ledger, session: Session) -> dict[str, object]:
    """What is known of a session itself."""
    return {
        'id': session.id,
        'state': state(ledger, session),
        'command': command(session),
        'created_at': session.created_at,
        'started_at': session.started_at,
        'completed_at': session.completed_at,
        'hostname': os.uname().nodename,
        'folder': ledger.folder(session),
    }


def of_job(ledger: Ledger, row: Row, most: int) -> dict[str, object]:
    """What is known of a job, of which `most` bytes of each output were to be kept."""
    return {
        'number': row.number,
        'id': row.id,
        'job': row.job,
        'plugin': row.plugin,
        'summary': row.summary,
        'implied': row.implied,
        'hash': row.hash,
        'via': row.via,
        'user': row.user,
        'context': row.context,
        'view': list(row.view),
        'status': row.status,
        'outcome': row.outcome,
        'reason': row.reason,
        'code': row.code,
        'comment': row.comment,
        'created_at': row.created_at,
        'started_at': began(row),
        'completed_at': row.completed_at,
        'seconds': row.seconds,
        'boot_id': row.boot_id,
        'exit_code': row.exit_status,
        'signal': row.signal,
        'cpu_seconds': row.cpu_seconds,
        'peak_kib': row.peak_kib,
        'left_running': list(row.left_running),
        **_in_fields('stdout', output(ledger, row, 'stdout', most)),
        **_in_fields('stderr', output(ledger, row, 'stderr', most)),
    }


def began(row: Row) -> str | None:
    """When a job began; it is marked as started before anybody denies it that."""
    return None if row.outcome == DENIED else row.started_at


def state(ledger: Ledger, session: Session) -> str:
    """How far a session is. What nobody works on any more was interrupted."""
    if session.completed_at:
        return FINISHED
    if ledger.is_locked(session):
        return RUNNING
    return QUEUED if session.queued and not session.started_at else INTERRUPTED


def rows(ledger: Ledger, session: Session) -> list[Row]:
    """The jobs of a session. What ran in one that was interrupted is lost.

    But a job that restarts the machine may still be at it.
    """
    found = ledger.rows(session)
    if state(ledger, session) != INTERRUPTED:
        return found
    return [row if _restarts(row) else recovered(row) for row in found]


def _restarts(row: Row) -> bool:
    return row.status == REBOOTING and row.boot_id == boot_id()


def counts(jobs: Sequence[Row]) -> Counter[str]:
    """The number of jobs of each outcome, or status where there is none yet."""
    return Counter(row.outcome or row.status for row in jobs)


def told(jobs: Sequence[Row]) -> list[Row]:
    """What was asked for; and what was not, but went wrong."""
    fine = (PASSED, SKIPPED, None)
    return [row for row in jobs if not row.implied or row.outcome not in fine]


def output(ledger: Ledger, row: Row, which: str, most: int) -> Output:
    """What a job printed on `stdout` or `stderr`, as far as it is there."""
    name = getattr(row, which)
    path = f'{ledger.folder(row)}/{name}' if name else ''
    if not os.path.isfile(path):
        return Output('', 0, cut=False, text='')
    size = os.path.getsize(path)
    end = ledger.output(row, which, MOST)
    # A job may imitate our mark, but not where there is no room for it.
    cut = size > most and end.endswith(cut_mark(most))
    if size > MOST:  # it may begin in the middle of a character
        end = end.lstrip(_CONTINUED)
    return Output(path, size, cut, end.decode('utf-8', 'replace'))


def command(session: Session) -> list[str]:
    """The command that asks for the same."""
    request = asked(session)
    return [
        *('plainbox', 'submit' if session.queued else 'run'),
        *_of_terms(request.terms),
        *(word for path in request.providers for word in ('--provider', path)),
        *([] if request.interactive else ['--non-interactive']),
        *([f'--max-output={request.most}'] if request.most != MAX_OUTPUT else []),
        *(f'--report={form}={path}' for form, path in request.reports),
        *_of_choice(request),
    ]


def _of_terms(terms: Terms) -> list[str]:
    return [
        *(['--launcher', terms.launcher] if terms.launcher != LAUNCHER else []),
        *(['--per-job'] if terms.per_job else []),
        *_of_limit('--timeout', terms.timeout),
        *_of_limit('--job-timeout', terms.job_timeout),
    ]


def _of_limit(option: str, seconds: float | None) -> list[str]:
    """A time limit, as far as it was said; no limit at all is the word for jobs."""
    if seconds is None or (seconds == inf and option == '--timeout'):
        return []
    return [f'{option}={0 if seconds == inf else seconds:g}']


def _of_choice(request: Request) -> list[str]:
    if request.only:
        return [escape(id_) for id_ in request.only]
    chosen = request.selection
    return [
        *(['--regex'] if chosen.regex else []),
        *(f'--exclude={pattern}' for pattern in chosen.exclude),
        *(f'--plan={id_}' for id_ in chosen.plans),
        *chosen.patterns,
    ]


def _in_fields(name: str, printed: Output) -> dict[str, object]:
    return {
        name: printed.text,
        f'{name}_file': printed.path or None,
        f'{name}_bytes': printed.size,
        f'{name}_cut': printed.cut,
    }


def _in_json(values: dict[str, object]) -> str:
    whole = {'format': FORMAT, 'plainbox': __version__, **values}
    text = json.dumps(whole, ensure_ascii=False, indent=2) + '\n'
    return _NOT_ASCII.sub(lambda found: _escaped(found[0]), text)


def _escaped(text: str) -> str:
    """Text of any script as it is, and all else in the way of JSON.

    Also halves of characters, which no encoding knows; names of files may have them.
    """
    return ''.join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
