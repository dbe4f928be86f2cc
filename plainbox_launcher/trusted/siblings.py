# SPDX-License-Identifier: ISC
"""The further jobs that an installed job stands for. Pure; plainbox-job(5), Siblings.

A further job is what it would be if it were written out: its hash is that of the
record with the fields in place, without `siblings` and the flags that ask for further
jobs. So it has none itself. The further ones of a template are templates: they are
read before any record's value comes in, which could otherwise end a JSON string.
"""

import re
from collections.abc import Mapping
from typing import Final

from .errors import Fault
from .unit import Unit

# Flag, what is put before the id, and the job that suspends the machine.
SUSPENDED: Final = {
    'also-after-suspend': (
        'after-suspend-',
        'com.canonical.certification::suspend/suspend_advanced_auto',
    ),
    'also-after-suspend-manual': (
        'after-suspend-manual-',
        'com.canonical.certification::suspend/suspend_advanced',
    ),
}
MAX_SIBLINGS: Final = 100

# What a unit file could hold, too.
_NAME: Final = re.compile('[A-Za-z_][A-Za-z0-9_-]*')
_TEXT: Final = re.compile('[^\0\ud800-\udfff]*')


def of(unit: Unit, faults: list[Fault]) -> list[Unit]:
    """The further jobs, or templates, of one. What is malformed goes to `faults`."""
    if unit.kind not in ('job', 'template') or not unit.id:
        return []
    found = _after_suspend(unit)
    try:
        found = _listed(unit) + found
    except Fault as fault:
        faults.append(fault)
    made = {unit.id: unit}
    for fields in found:
        further = unit._replace(fields=_written(unit.fields, fields))
        if made.setdefault(further.id, further) is not further:
            faults.append(Fault(unit.where, f'has {further.id} twice, by siblings'))
    return [*made.values()][1:]


def _after_suspend(unit: Unit) -> list[dict[str, str]]:
    if not any(flag in unit.get('flags') for flag in SUSPENDED):  # as of most jobs
        return []
    id_ = unit.get('id') or unit.get('name')
    space, colons, short = id_.rpartition('::')
    return [
        {
            'id': f'{space}{colons}{prefix}{short}',
            'depends': f'{unit.get("depends")} {id_} {suspend}'.strip(),
        }
        for flag, (prefix, suspend) in SUSPENDED.items()
        if flag in unit.flags
    ]


def _listed(unit: Unit) -> list[dict[str, str]]:
    """The objects in the field `siblings`. Raises Fault."""
    text = unit.get('siblings')
    if not text:
        return []
    if unit.kind == 'template':  # whose braces are all written twice
        text = re.sub(r'\{\{|\}\}', lambda pair: pair[0][0], text)
    import json  # costs root 2 ms, and few jobs have siblings

    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(map(_is_fields, found)):
        fact = 'siblings is no JSON list of objects, each with an id, all of text'
        raise Fault(unit.where, fact)
    if len(found) > MAX_SIBLINGS:
        raise Fault(unit.where, f'has more than {MAX_SIBLINGS} siblings')
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _is_fields(found: object) -> bool:
    return (
        isinstance(found, dict)
        and 'id' in found
        and all(map(_NAME.fullmatch, found))
        and all(isinstance(v, str) and _TEXT.fullmatch(v) for v in found.values())
    )


def _written(fields: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """The record with other fields in place, however they are written, and no more."""
    new = {name.removeprefix('_') for name in others}
    merged = {k: v for k, v in fields.items() if k.removeprefix('_') not in new}
    merged |= others
    merged.pop('siblings', None)
    flags = re.split(r'[\s,]+', merged.get('flags', ''))
    if SUSPENDED.keys() & flags:
        del merged['flags']
        if left := ' '.join(flag for flag in flags if flag not in SUSPENDED):
            merged['flags'] = left
    return merged
