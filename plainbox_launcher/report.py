# SPDX-License-Identifier: ISC
"""What people see of a run: lines of plain text."""

from collections import Counter
from collections.abc import Iterable, Sequence

from .catalogue import Job
from .runner import DENIED, FAILED, PASSED, SKIPPED, Result
from .trusted.errors import printable

_ORDER = (PASSED, FAILED, DENIED, SKIPPED)


def heading(number: int, total: int, job: Job) -> str:
    """The line above the output of a job."""
    who = f', as {printable(job.user)}' if job.user else ''
    return f'[{number:>{len(str(total))}}/{total}] {printable(job.short_id)}{who}'


def verdict(result: Result) -> str:
    """The line below the output of a job."""
    time = f' in {result.seconds:.1f} s' if result.outcome in (PASSED, FAILED) else ''
    detail = f': {printable(result.detail)}' if result.detail else ''
    return f'    {result.outcome}{time}{detail}'


def summary(results: Sequence[Result]) -> str:
    """The count of each outcome, and again what did not pass."""
    counts = Counter(result.outcome for result in results)
    said = ', '.join(f'{counts[word]} {word}' for word in _ORDER if counts[word])
    lines = [
        f'{result.outcome:<8} {printable(result.job.short_id)}'
        + (f': {printable(result.detail)}' if result.detail else '')
        for result in sorted(results, key=lambda result: _ORDER.index(result.outcome))
        if result.outcome != PASSED
    ]
    jobs = 'job' if len(results) == 1 else 'jobs'
    return '\n'.join([*lines, f'{len(results)} {jobs}: {said or "nothing ran"}'])


def listing(jobs: Iterable[Job]) -> str:
    """A table of jobs: id, as whom, plugin, summary."""
    rows = [
        tuple(
            printable(cell) or '-'
            for cell in (j.short_id, j.user, j.unit.plugin, j.unit.get('summary'))
        )
        for j in jobs
    ]
    ids, users, plugins = (max(len(row[i]) for row in rows) for i in range(3))
    return '\n'.join(
        f'{id_:<{ids}}  {user:<{users}}  {plugin:<{plugins}}  {text}'
        for id_, user, plugin, text in rows
    )


def description(job: Job) -> str:
    """All there is to know about a job."""
    facts = [
        ('id', job.id),
        ('hash', job.unit.checksum),
        ('defined in', job.unit.where),
        ('runs', _runs(job)),
    ]
    if job.via:
        facts.insert(2, ('via', f'{job.via.checksum} ({job.via.id})'))
    head = [f'{name + ":":<12}{value}' for name, value in facts]
    fields = [_field(name, value) for name, value in job.unit.fields.items()]
    text = '\n'.join([*head, '', *fields])
    return '\n'.join(printable(line) for line in text.split('\n'))


def _runs(job: Job) -> str:
    if not job.unit.get('command'):
        return 'not by itself, a person does it'
    if not job.user:
        return 'as you'
    if not job.installed:
        return f'not at all: it wants {job.user}, and its provider is not installed'
    if job.user != 'root':
        return f'not at all: the launcher does not run jobs as {job.user} yet'
    return 'as root, through pkexec and the trusted launcher'


def _field(name: str, value: str) -> str:
    if '\n' not in value:
        return f'{name}: {value}'
    lines = ''.join(f'\n {line or "."}' for line in value.split('\n'))
    return f'{name}:{lines}'
