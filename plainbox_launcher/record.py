# SPDX-License-Identifier: ISC
"""The record of a job in a run, for programs: plainbox(1), REPORT FORMAT."""

import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from . import __version__
from .process import Ended
from .runner import (
    CANCELLED,
    DENIED,
    FAILED,
    LOST,
    PASSED,
    SKIPPED,
    TIMEOUT,
    Result,
)

_STATUS = {
    PASSED: 'completed',
    FAILED: 'failed',
    TIMEOUT: 'timeout',
    CANCELLED: 'cancelled',
    LOST: 'lost',
    SKIPPED: 'skipped',
    DENIED: 'denied',
}


def in_json(
    results: Iterable[Result], views: tuple[Sequence[str], Sequence[str]]
) -> str:
    """All records of a run. `views` are those of one's own jobs, and of others'."""
    jobs = [
        # In a session it is the manager's view, of which we know nothing.
        record(result, () if _context(result) else views[bool(result.job.user)])
        for result in results
    ]
    whole = {'format': 1, 'plainbox': __version__, 'jobs': jobs}
    return json.dumps(whole, ensure_ascii=False, indent=2) + '\n'


def record(result: Result, view: Sequence[str]) -> dict[str, object]:
    """What is known of a job that was run, or was not.

    Times are ISO 8601 in UTC, `exit_code` or `signal` is None where there is none,
    `stdout` and `stderr` are the last 64 KiB of each.
    """
    job, ended = result.job, result.ended
    return {
        'id': str(uuid.uuid4()),
        'job': job.id,
        'hash': job.unit.checksum,
        'via': job.via.checksum if job.via else None,
        'user': job.unit.get('user') or None,
        'context': _context(result),
        'view': list(view),
        'status': _STATUS[result.outcome],
        'reason': result.detail or None,
        'code': result.code or None,
        'created_at': _time(result.created),
        'started_at': _time(result.started) if ended else None,
        'completed_at': _time(result.started + result.seconds),
        **_process(ended),
    }


def _context(result: Result) -> str | None:
    return result.job.unit.get('context') or None


def _process(ended: Ended | None) -> dict[str, object]:
    """How a job's process ended, if it had one."""
    ended = ended or Ended(0, cause='')
    ran = bool(ended.cause)
    return {
        'exit_code': ended.status if ran and ended.status >= 0 else None,
        'signal': -ended.status if ended.status < 0 else None,
        'cpu_seconds': round(ended.cpu, 6) if ran else None,
        'peak_kib': ended.peak if ran else None,
        'left_running': list(ended.left),
        'stdout': ended.stdout.decode('utf-8', 'replace'),
        'stderr': ended.stderr.decode('utf-8', 'replace'),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec='milliseconds')
