# SPDX-License-Identifier: ISC
"""--via: the jobs that a local job prints; plainbox-job(5), Local jobs.

A local job is an installed job like any other, so root may run it. What it
prints is not installed: it is trusted as far as the local job is, and bounded.
A job that it prints is never asked to print jobs in turn.
"""

from itertools import islice
from typing import Final

from . import execute, library, rfc822
from .errors import Fault, Refused, printable
from .unit import Unit

# The largest local job in the published corpus prints some hundred records.
LIMITS: Final = execute.Limits(max_bytes=4 << 20, seconds=30)
MAX_RECORDS: Final = 10_000


def evaluate(command: execute.Command, control: int | None) -> bytes:
    """What a local job's command prints. Raises Refused; see execute.run."""
    try:
        printed = execute.capture(command, LIMITS, control)
    except execute.Exceeded as error:
        raise Refused('PBL-GENERATOR-LIMIT', f'the local job {error}') from None
    if status := execute.shell_status(printed.status):
        reason = _last_line(printed.stderr)
        raise Refused(
            'PBL-GENERATOR-FAILED', f'the local job ended with {status}{reason}'
        )
    return printed.stdout


def read(output: bytes, local: Unit) -> list[Unit]:
    """The units in the output of a local job. Raises Refused."""
    try:
        found = rfc822.records(output, f'output of {local.id}')
        records = list(islice(found, MAX_RECORDS + 1))
    except Fault as fault:
        raise Refused('PBL-GENERATOR-OUTPUT', str(fault)) from None
    if len(records) > MAX_RECORDS:
        fact = f'the local job printed more than {MAX_RECORDS} records'
        raise Refused('PBL-GENERATOR-LIMIT', fact)
    return [library.unit_of(record, local.provider) for record in records]


def choose(units: list[Unit], checksum: str) -> Unit:
    """The job with this hash among generated ones. Raises Refused."""
    job = library.find(units, checksum)
    if job is None:
        raise Refused('PBL-NOT-GENERATED', 'the local job does not print such a job')
    if job.plugin == 'local':
        raise Refused('PBL-NESTED', 'the local job prints a local job')
    if any(job.id == other.id and job.fields != other.fields for other in units):
        raise Refused('PBL-GENERATOR-OUTPUT', 'the local job prints two jobs of one id')
    return job


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode('utf-8', 'replace').split('\n')
    last = next((line for line in reversed(lines) if line.strip()), '')
    return f': {printable(last)[:200]}' if last else ''
