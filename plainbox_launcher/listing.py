# SPDX-License-Identifier: ISC
"""Which jobs and test plans there are: tables, descriptions, and JSON."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from gettext import gettext as _
from math import inf
from typing import Final

from . import plan, prose
from .catalogue import Job
from .plan import Selection
from .refusals import refusal, suggestion
from .report import shown
from .testplan import TestPlan
from .trusted.errors import Fault, Refused
from .trusted.unit import Unit, words

_READABLE: Final = 20  # columns; of a summary that is cut to less, little is left
_GAP: Final = '  '

#: Fields whose texts are for people, and filled where a person reads them.
_PROSE: Final = frozenset(
    {'summary', 'description', 'purpose', 'steps', 'verification'}
)


# Which


def chosen(
    jobs: Sequence[Job], pattern: str, *, root: bool, plugins: Collection[str]
) -> list[Job]:
    """The jobs that match a pattern, and the filters. Raises Refused if none does."""
    if not jobs:
        fact = _('there is no job: no provider has one')
        raise refusal('PBL-NO-JOBS', fact)
    matching = plan.select(jobs, Selection((pattern,)), ())
    found = [
        job
        for job in matching
        if (job.user or not root) and (job.unit.plugin in plugins or not plugins)
    ]
    if not found:
        options = ['--root'] * root + [f'--plugin {name}' for name in plugins]
        fact = _('no job matches {pattern} and {options}')
        fact = fact.format(pattern=pattern, options=' '.join(options))
        known = sorted({job.unit.plugin for job in jobs} - {''})
        odd = next((name for name in plugins if name not in known), '')
        raise refusal('PBL-NO-MATCH', fact + suggestion(odd, known, 0.5))
    return found


def chosen_plans(plans: Sequence[TestPlan], pattern: str) -> list[TestPlan]:
    """The test plans that match a shell pattern. Raises Refused if none does."""
    if not plans:
        fact = _('there is no test plan: no provider has one')
        raise refusal('PBL-NO-PLAN', fact)
    found = [
        each
        for each in plans
        if fnmatchcase(each.id, pattern) or fnmatchcase(_short(each.id), pattern)
    ]
    if not found:
        fact = _('no test plan matches {pattern}').format(pattern=pattern)
        raise refusal('PBL-NO-PLAN', fact)
    return found


# For people


def table(jobs: Iterable[Job], width: int | None) -> str:
    """A row for each job: id, as whom, plugin, summary. See _table."""
    head = (_('JOB'), _('USER'), _('PLUGIN'), _('SUMMARY'))
    rows = [(j.short_id, j.user, j.unit.plugin, j.unit.get('summary')) for j in jobs]
    return _table(head, rows, width)


def table_of_plans(
    plans: Iterable[TestPlan], known: Iterable[TestPlan], width: int | None
) -> str:
    """A row for each test plan: id and name. See _table.

    The id is the full one where a short one would mean several of those `known`.
    """
    several = Counter(_short(each.id) for each in known)
    rows = [
        (each.id if several[_short(each.id)] > 1 else _short(each.id), each.name)
        for each in plans
    ]
    return _table((_('TEST PLAN'), _('NAME')), rows, width)


def _table(
    head: tuple[str, ...], rows: Iterable[tuple[str, ...]], width: int | None
) -> str:
    """Columns, of which the last is cut at the width of a terminal; with a head there.

    Ids are never cut: where they leave too little room, the rest has its own line.
    Without a terminal all is there, and nothing else.
    """
    cells = [tuple(shown(cell) or '-' for cell in row) for row in rows]
    lines = cells if width is None else [head, *cells]
    widths = [max(map(prose.cells, column)) for column in zip(*lines, strict=True)]
    if width is None:
        return '\n'.join(_row(line, widths) for line in lines)
    if width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1) >= _READABLE:
        return '\n'.join(prose.cut(_row(line, widths), width) for line in lines)
    below = ((line[0], '  ' + _row(line[1:], widths[1:])) for line in cells)
    return '\n'.join(f'{id_}\n{prose.cut(rest, width)}' for id_, rest in below)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = map(prose.padded, cells[:-1], widths)
    return _GAP.join([*padded, cells[-1]])


def description(job: Job, width: int | None) -> str:
    """All there is to know about a job; for a terminal of that width, if for one."""
    facts = [(name, value) for name, value in _facts(job) if value]
    indent = max(prose.cells(name) for name, _value in facts) + 2
    head = [
        prose.padded(f'{name}:', indent) + f'\n{" " * indent}'.join(value.split('\n'))
        for name, value in facts
    ]
    fields = [_field(*field, width) for field in job.unit.fields.items()]
    text = '\n'.join([*head, '', *fields])
    return '\n'.join(shown(line) for line in text.split('\n'))


def _facts(job: Job) -> list[tuple[str, str]]:
    """What a job's fields mean together; lines, '' where there is nothing to say."""
    unit = job.unit
    return [
        ('id', job.id),
        ('hash', unit.checksum),
        ('via', f'{job.via.checksum} ({job.via.id})' if job.via else ''),
        (_('template'), job.template),
        (_('defined in'), unit.where),
        (_('runs'), _runs(job)),
        (_('time limit'), _limit(unit)),
        (_('depends on'), '\n'.join(plan.dependencies(unit))),
        (_('after'), '\n'.join(_ids(unit.get('after'), unit))),
        (_('before'), '\n'.join(_ids(unit.get('before'), unit))),
        (_('requires'), '\n'.join(plan.requirements(unit))),
        (_('flags'), '\n'.join(_flag(name) for name in sorted(unit.flags))),
    ]


def _runs(job: Job) -> str:
    if not _has_command(job.unit):
        return _('not by itself, a person does it')
    if not job.user:
        return _('as you')
    if not job.installed:
        text = _('not at all: it wants {user}, and its provider is not installed')
        return text.format(user=job.user)
    text = _('as {user}, through pkexec and the trusted launcher')
    return text.format(user=job.user)


def _limit(unit: Unit) -> str:
    if not _has_command(unit):
        return ''
    try:
        lasting = _lasting(plan.time_limit(unit, None))
    except Fault as fault:
        return str(fault)
    if unit.get('timeout'):
        return lasting
    return _('{time}, unless --job-timeout says otherwise').format(time=lasting)


def _lasting(seconds: float) -> str:
    """A time as plainbox-job(5) has it, `1h 2m 3s`."""
    if seconds == inf:
        return _('none')
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = [(hours, 'h'), (minutes, 'm'), (round(rest, 3), 's')]
    return ' '.join(f'{n:g}{unit}' for n, unit in parts if n) or '0s'


def _has_command(unit: Unit) -> bool:
    """Whether it runs one; that of a manual job is not run."""
    return bool(unit.get('command')) and unit.plugin != 'manual'


def _ids(text: str, unit: Unit) -> list[str]:
    return sorted(unit.full(id_) for id_ in words(text))


def _flag(name: str) -> str:
    """A flag and what it means, as far as we know it."""
    meaning = _flags().get(name)
    return f'{name}: {meaning}' if meaning else name


def _flags() -> dict[str, str]:
    return {
        'also-after-suspend': _('a further job does the same after a suspend'),
        'deprecated': _('not to be used any more'),
        'explicit-fail': _('a person who says that it failed has to say why'),
        'fail-on-resource': _('it fails where a requirement does not hold'),
        'login-shell': _('it runs in the login environment of its user'),
        'noreturn': _('it restarts the machine or powers it off'),
        'preserve-cwd': _('it runs in the directory that plainbox was started in'),
        'preserve-locale': _('it runs in the language of its caller'),
        'simple': _('a shell job, if it says nothing else'),
    }


def _field(name: str, value: str, width: int | None) -> str:
    """A field as it is written, but prose is filled where a person reads it."""
    if width is not None and name.removeprefix('_') in _PROSE:
        text = prose.filled(value, width, ' ')
        several = '\n' in text or len(name) + 1 + prose.cells(text) > width
        return f'{name}:\n{text}' if several else f'{name}:{text}'
    if '\n' not in value:
        return f'{name}: {value}'
    lines = ''.join(f'\n {line or "."}' for line in value.split('\n'))
    return f'{name}:{lines}'


def _short(id_: str) -> str:
    return id_.rpartition('::')[2]


# For programs


def in_json(jobs: Iterable[Job], *, whole: bool = False) -> str:
    """A list of jobs; the `whole` of them with all fields as they are written."""
    return _json([_record(job) | (_rest(job) if whole else {}) for job in jobs])


def plans_in_json(plans: Iterable[TestPlan]) -> str:
    """A list of test plans."""
    return _json([{'id': p.id, 'name': p.name, 'where': p.where} for p in plans])


def _json(found: object) -> str:
    return json.dumps(found, indent=2)  # in ASCII, whatever the terminal is


def _record(job: Job) -> dict[str, object]:
    """Times in seconds; None where there is none, or where it cannot be told."""
    unit = job.unit
    return {
        'id': job.id,
        'hash': unit.checksum,
        'via': job.via.checksum if job.via else None,
        'unit': unit.kind,
        'template': job.template or None,
        'user': unit.get('user') or None,
        'context': unit.get('context') or None,
        'plugin': unit.plugin or None,
        'summary': unit.get('summary') or None,
        'flags': sorted(unit.flags),
        'estimated_duration': _estimate(unit),
        'time_limit': _seconds(unit),
        'provider': unit.provider.name,
        'where': unit.where,
        'installed': job.installed,
    }


def _rest(job: Job) -> dict[str, object]:
    unit = job.unit
    return {
        'depends': plan.dependencies(unit),
        'after': _ids(unit.get('after'), unit),
        'before': _ids(unit.get('before'), unit),
        'requires': plan.requirements(unit),
        'fields': dict(unit.fields),
    }


def _estimate(unit: Unit) -> float | None:
    try:
        text = unit.get('estimated_duration')
        return plan.duration(text) if text else None
    except Refused:
        return None


def _seconds(unit: Unit) -> float | None:
    try:
        limit = plan.time_limit(unit, None)
    except Fault:
        return None
    return limit if _has_command(unit) and limit != inf else None
