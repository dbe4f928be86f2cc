# SPDX-License-Identifier: ISC
"""Test plans: units of that kind, and old whitelists. Pure but for reading these.

See plainbox-testplan(5).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from gettext import gettext as _
from typing import Final, NamedTuple

from . import pattern
from .catalogue import Catalogue
from .pattern import Pattern, Rule
from .refusals import refusal, suggestion
from .trusted import files
from .trusted.errors import Fault
from .trusted.library import Library
from .trusted.provider import Provider
from .trusted.unit import Unit

_SUFFIX: Final = '.whitelist'
# What may follow a pattern, as `certification-status=blocker`: for other programs.
_OVERRIDE: Final = re.compile(r'[\w-]+=\S*')


class Line(NamedTuple):
    """A line of a plan without its comment; `where` is a file and line."""

    text: str
    where: str


class TestPlan(NamedTuple):
    """What a plan says. `namespace` is that of short ids and patterns in it."""

    id: str
    name: str
    where: str
    namespace: str
    include: tuple[Line, ...] = ()
    mandatory_include: tuple[Line, ...] = ()
    bootstrap_include: tuple[Line, ...] = ()
    exclude: tuple[Line, ...] = ()
    nested_part: tuple[Line, ...] = ()


class Part(NamedTuple):
    """A plan that takes part, and what is excluded from it, also by those around it."""

    plan: TestPlan
    but: tuple[Pattern, ...]


def read(found: Catalogue, faults: list[Fault]) -> tuple[TestPlan, ...]:
    """All plans. A whitelist gives way to a unit of its id.

    Whitelists that cannot be read go to `faults`.
    """
    own = {provider.name for provider in found.own.providers}
    units = {
        (unit.id, unit.checksum): unit
        for library in (found.installed, found.own)  # the latter replace the former
        for unit in library.units
        if unit.kind == 'test plan' and unit.id
        if library is found.own or unit.provider.name not in own
    }
    plans = [_plan(unit) for unit in units.values()]
    known = {plan.id for plan in plans}
    lists = [
        *_whitelists(found.own, frozenset(), faults, trusted=False),
        *_whitelists(found.installed, own, faults, trusted=True),
    ]
    return (*plans, *(plan for plan in lists if plan.id not in known))


def rules(ids: Sequence[str], plans: Sequence[TestPlan]) -> list[Rule]:
    """What the plans of these ids select, and all that are nested in them.

    Raises Refused for a plan that is not there, for plans nested in a circle, and for a
    line that is no pattern.
    """
    parts = _parts(ids, plans)
    always = [(part.plan, part.plan.bootstrap_include) for part in parts]
    always += [(part.plan, part.plan.mandatory_include) for part in parts]
    found = [rule for plan, lines in always for rule in _rules(lines, plan, ())]
    for plan, but in parts:
        found += _rules(plan.include, plan, but)
    return found


def _plan(unit: Unit) -> TestPlan:
    def lines(field: str) -> tuple[Line, ...]:
        return _lines((text, unit.where) for text in unit.get(field).splitlines())

    return TestPlan(
        unit.id,
        unit.get('name'),
        unit.where,
        unit.provider.namespace,
        include=lines('include'),
        mandatory_include=lines('mandatory_include'),
        bootstrap_include=lines('bootstrap_include'),
        exclude=lines('exclude'),
        nested_part=lines('nested_part'),
    )


def _lines(numbered: Iterable[tuple[str, str]]) -> tuple[Line, ...]:
    stripped = (Line(text.partition('#')[0].strip(), where) for text, where in numbered)
    return tuple(line for line in stripped if line.text)


def _whitelists(
    library: Library, replaced: Set[str], faults: list[Fault], *, trusted: bool
) -> Iterator[TestPlan]:
    for owner in library.providers:
        if owner.whitelists and owner.name not in replaced:
            for path, data in _texts(owner.whitelists, faults, trusted):
                try:
                    yield _whitelist(path, data, owner)
                except Fault as fault:
                    faults.append(fault)


def _texts(folder: str, faults: list[Fault], trusted: bool) -> list[tuple[str, bytes]]:
    try:
        with files.directory(folder, trusted=trusted) as fd:
            return list(files.walk(fd, folder, (_SUFFIX,), faults, trusted=trusted))
    except Fault as fault:
        faults.append(fault)
        return []


def _whitelist(path: str, data: bytes, owner: Provider) -> TestPlan:
    """Raises Fault."""
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError:
        raise Fault(path, _('is not UTF-8')) from None
    name = os.path.basename(path).removesuffix(_SUFFIX)
    lines = enumerate(text.splitlines(), 1)
    include = _lines((line, f'{path}:{number}') for number, line in lines)
    id_ = f'{owner.namespace}::{name}'
    return TestPlan(id_, name, path, owner.namespace, include=include)


def _rules(
    lines: Iterable[Line], plan: TestPlan, but: tuple[Pattern, ...]
) -> Iterator[Rule]:
    return (Rule(_pattern(line, plan), line.where, but) for line in lines)


def _pattern(line: Line, plan: TestPlan) -> Pattern:
    """The pattern of a line, which begins it. Raises Refused."""
    text, *overrides = line.text.split()
    if not all(map(_OVERRIDE.fullmatch, overrides)):
        fact = _('{where}: nothing but NAME=VALUE may follow {pattern}')
        raise refusal('PBL-PATTERN', fact.format(where=line.where, pattern=text))
    return pattern.of_plan(text, line.where, plan.namespace)


def _parts(ids: Sequence[str], plans: Sequence[TestPlan]) -> list[Part]:
    """The plans of these ids, each before those that are nested in it."""
    found: dict[tuple[str, frozenset[Pattern]], Part] = {}
    start: tuple[str, ...] = ()
    todo = [(Part(_find(id_, plans), ()), start) for id_ in reversed(ids)]
    while todo:
        (plan, but), above = todo.pop()
        if plan.id in above:
            circle = ' -> '.join([*above[above.index(plan.id) :], plan.id])
            fact = _('test plans are nested in each other: {circle}')
            raise refusal('PBL-CIRCLE', fact.format(circle=circle))
        but = (*but, *(_pattern(line, plan) for line in plan.exclude))
        if (plan.id, frozenset(but)) not in found:
            found[plan.id, frozenset(but)] = Part(plan, but)
            nested = [_nested(line, plan, plans) for line in reversed(plan.nested_part)]
            todo += [(Part(each, but), (*above, plan.id)) for each in nested]
    return list(found.values())


def _nested(line: Line, plan: TestPlan, plans: Sequence[TestPlan]) -> TestPlan:
    id_ = line.text.split()[0]
    full = id_ if '::' in id_ else f'{plan.namespace}::{id_}'
    return _find(full, plans, f'{line.where}: ')


def _find(id_: str, plans: Sequence[TestPlan], where: str = '') -> TestPlan:
    """The plan of a full or short id. Raises Refused."""
    found = [plan for plan in plans if plan.id == id_]
    found = found or [plan for plan in plans if _short(plan.id) == id_]
    if not found:
        fact = _('no test plan is called {id}').format(id=id_)
        near = suggestion(_short(id_), [_short(plan.id) for plan in plans], 0.5)
        raise refusal('PBL-NO-PLAN', f'{where}{fact}{near}')
    if len(found) > 1:
        fact = _('several test plans are called {id}: {plans}')
        named = ', '.join(f'{plan.id} ({plan.where})' for plan in found)
        raise refusal('PBL-DUPLICATE', where + fact.format(id=id_, plans=named))
    return found[0]


def _short(id_: str) -> str:
    return id_.rpartition('::')[2]
