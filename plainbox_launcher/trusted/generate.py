# SPDX-License-Identifier: ISC
"""--via: the jobs that come of what another job prints; plainbox-job(5).

A local job prints jobs; of the records of a resource job, installed templates make
jobs. Both are installed jobs like any other, so root may run them. What they print is
not installed: it is trusted as far as they are, and bounded. A job that comes of it is
never asked to print jobs in turn.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from . import execute, library, rfc822, template
from .errors import Fault, Refused, printable
from .unit import Unit

GENERATORS: Final = ('local', 'resource')

# The largest local job in the published corpus prints some hundred records.
LIMITS: Final = execute.Limits(max_bytes=4 << 20, seconds=30)
MAX_RECORDS: Final = 10_000


def evaluate(command: execute.Command, plugin: str, control: int | None) -> bytes:
    """What the command of such a job prints. Raises Refused; see execute.run."""
    try:
        printed = execute.capture(command, LIMITS, control)
    except execute.Exceeded as error:
        raise Refused('PBL-GENERATOR-LIMIT', f'the {plugin} job {error}') from None
    if status := execute.shell_status(printed.status):
        reason = _last_line(printed.stderr)
        raise Refused(
            'PBL-GENERATOR-FAILED', f'the {plugin} job ended with {status}{reason}'
        )
    return printed.stdout


def records(output: bytes, job: Unit) -> list[rfc822.Record]:
    """The records in the output of a local or resource job. Raises Refused."""
    try:
        found = rfc822.records(output, f'output of {job.id}')
        some = list(islice(found, MAX_RECORDS + 1))
    except Fault as fault:
        raise Refused('PBL-GENERATOR-OUTPUT', str(fault)) from None
    if len(some) > MAX_RECORDS:
        fact = f'the {job.plugin} job printed more than {MAX_RECORDS} records'
        raise Refused('PBL-GENERATOR-LIMIT', fact)
    return some


def read(output: bytes, local: Unit) -> list[Unit]:
    """The units in the output of a local job. Raises Refused."""
    return [library.unit_of(each, local.provider) for each in records(output, local)]


def choose(output: bytes, job: Unit, checksum: str, installed: Iterable[Unit]) -> Unit:
    """The job with this hash that comes of what `job` printed. Raises Refused."""
    if job.plugin == 'resource':
        found = library.find(_instances(output, job, installed), checksum)
    else:
        units = read(output, job)
        found = library.find(units, checksum)
        if found and any(
            found.id == other.id and found.fields != other.fields for other in units
        ):
            fact = 'the local job prints two jobs of one id'
            raise Refused('PBL-GENERATOR-OUTPUT', fact)
    if found is None:
        fact = f'of what the {job.plugin} job prints comes no such job'
        raise Refused('PBL-NOT-GENERATED', fact)
    if found.plugin == 'local':
        fact = f'of what the {job.plugin} job prints comes a local job'
        raise Refused('PBL-NESTED', fact)
    return found


def _instances(
    output: bytes, resource: Unit, installed: Iterable[Unit]
) -> Iterator[Unit]:
    """What each of the templates that are bound to a resource job makes of it."""
    fields = [record.fields for record in records(output, resource)]
    for unit in installed:
        if unit.kind == 'template' and template.resource(unit) == resource.id:
            yield from template.instances(unit, fields)[0]


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode('utf-8', 'replace').split('\n')
    last = next((line for line in reversed(lines) if line.strip()), '')
    return f': {printable(last)[:200]}' if last else ''
