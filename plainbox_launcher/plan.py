# SPDX-License-Identifier: ISC
"""Which jobs run, in which order. Pure."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from gettext import gettext as _
from math import inf
from typing import Final, NamedTuple

from . import pattern, testplan
from .catalogue import Job
from .pattern import Pattern, Rule
from .refusals import refusal
from .refusals import suggestion as suggestion
from .testplan import TestPlan
from .trusted import expression, template
from .trusted.errors import Fault, Refused
from .trusted.siblings import SUSPENDED
from .trusted.unit import Unit, words

_DURATION: Final = re.compile(
    r'(?=[0-9])(?:([0-9]+)h)?[ :]*(?:([0-9]+)m)?[ :]*(?:([0-9]+(?:\.[0-9]+)?)s?)?'
)
# What a template fills in, with the id around it: `{name}` or `{{ name }}`.
_HOLE: Final = re.compile(r'[^\s,]*\{[^}]*\}+[^\s,]*')


class Selection(NamedTuple):
    """What somebody asked for: patterns, and ids of test plans, full or short.

    `regex` makes regular expressions of `patterns` and `exclude`, which are shell
    patterns otherwise.
    """

    patterns: tuple[str, ...] = ()
    regex: bool = False
    exclude: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()


class Planned(NamedTuple):
    """A job that is to run; `implied` if only others want to know what it prints."""

    job: Job
    implied: bool


# Which


def select(
    jobs: Sequence[Job], selection: Selection, plans: Sequence[TestPlan]
) -> list[Job]:
    """The jobs that match, in the order of plans and patterns, each of them once.

    A template is among them if it may make such a job. Raises Refused: for a pattern
    that matches nothing, a plan that is not there, and if nothing is left.
    """
    jobs = [job for each in _by_key(jobs).values() for job in each]
    rules = _rules(selection, plans)
    chosen: dict[int, Job] = {}
    for rule, found in zip(rules, _matching(jobs, rules), strict=True):
        if not found and not rule.where:
            raise _no_match(rule.pattern.text, jobs)
        chosen |= {n: jobs[n] for n in found if not rule.excludes(jobs[n])}
    if not chosen:
        fact = _('of all that was asked for, nothing is left to run')
        raise refusal('PBL-NO-MATCH', fact)
    return list(chosen.values())


def accepts(job: Job, selection: Selection, plans: Sequence[TestPlan]) -> bool:
    """Whether a job is selected, of which at first only the template was known."""
    return any(rule.takes(job) for rule in _rules(selection, plans))


def unmatched(
    jobs: Sequence[Job], selection: Selection, plans: Sequence[TestPlan]
) -> list[str]:
    """Lines of plans, and exclusions, that match no job: may be a slip of the pen."""
    rules = [rule for rule in _rules(selection, plans) if rule.where]
    rules += [Rule(made) for made in _exclusions(selection)]
    idle = zip(rules, _matching(jobs, rules), strict=True)
    return [
        (f'{rule.where}: ' if rule.where else '')
        + _('no job matches {pattern}').format(pattern=rule.pattern.text)
        for rule, found in idle
        if not found
    ]


def literal(selection: Selection, plans: Sequence[TestPlan]) -> bool:
    """Whether each job is called by its id, or that of its template."""
    return all(rule.pattern.literal for rule in _rules(selection, plans))


def _rules(selection: Selection, plans: Sequence[TestPlan]) -> list[Rule]:
    """What is asked for, plans first; exclusions count for all of it."""
    made = [Rule(_pattern(text, selection)) for text in selection.patterns]
    but = tuple(_exclusions(selection))
    rules = [*testplan.rules(selection.plans, plans), *made]
    return [rule._replace(but=rule.but + but) for rule in rules]


def _exclusions(selection: Selection) -> Iterator[Pattern]:
    return (_pattern(text, selection) for text in selection.exclude)


def _pattern(text: str, selection: Selection) -> Pattern:
    return pattern.regex(text) if selection.regex else pattern.glob(text)


def _matching(jobs: Sequence[Job], rules: Iterable[Rule]) -> Iterator[list[int]]:
    """For each rule the jobs that match it, by their place in `jobs`.

    A plan has hundreds of lines, and most are ids: these are looked up.
    """
    named: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        full = (job.id, job.template)
        for name in {*full, *(id_.rpartition('::')[2] for id_ in full)}:
            named.setdefault(name, []).append(number)
    templates = [n for n, job in enumerate(jobs) if job.unit.kind == 'template']
    for rule in rules:
        among: Iterable[int] = range(len(jobs))
        if rule.pattern.literal:
            among = sorted({*named.get(rule.pattern.text, ()), *templates})
        yield [n for n in among if rule.pattern.matches(jobs[n])]


def _no_match(text: str, jobs: Sequence[Job]) -> Refused:
    fact = _('no job matches {pattern}').format(pattern=text)
    near = suggestion(text, [job.short_id for job in jobs], 0.5)
    return refusal('PBL-NO-MATCH', fact + near)


# In which order


def arrange(selected: Sequence[Job], jobs: Sequence[Job]) -> list[Planned]:
    """The selected jobs in their order, and before each what it waits for.

    Resource jobs that some of them ask about come first, as implied if they were not
    selected. What a job depends on is run with it; `after` and `before` only put in
    order what runs anyway. Templates among `jobs` are those not instantiated yet: one
    that may make what a job depends on is implied, too.

    Raises Refused before anything runs: for circles, for a dependency that there is
    not, and for two different jobs of one id.
    """
    known = _by_key(jobs) | _by_key(selected)
    templates = [job for each in known.values() for job in each if _is_template(job)]

    def asked(job: Job) -> list[str]:
        lacking = [id_ for id_ in dependencies(job.unit) if id_ not in known]
        return [*_resources(job.unit), *_makers(lacking, templates)]

    def needed(job: Job) -> list[str]:
        return [*asked(job), *dependencies(job.unit)]

    counted = _closure(map(_key, selected), known, lambda j: dependencies(j.unit))
    wanted = [key for job in counted.values() for key in asked(job)]
    running = _closure(wanted, known, needed) | counted
    _refuse_missing(running.values(), known, jobs, templates)
    waits = {key: [*needed(job), *_after(job.unit)] for key, job in running.items()}
    for key, job in running.items():
        for other in _before(job.unit):
            waits.get(other, []).append(key)
    return [Planned(running[key], key not in counted) for key in _in_order(waits)]


def dependencies(unit: Unit) -> list[str]:
    """The full ids of the jobs that must have passed before this one."""
    return _ids(unit.get('depends'), unit)


def requirements(unit: Unit) -> list[str]:
    """The expressions of `requires`, one a line."""
    lines = (line.strip() for line in unit.get('requires').splitlines())
    return [line for line in lines if line]


def resource_ids(unit: Unit, names: Iterable[str]) -> dict[str, str]:
    """The full id of each resource job that is called by these names."""
    return {name: unit.resource(name) for name in names}


def _resources(unit: Unit) -> list[str]:
    """The ids of the resource jobs that a job or template asks about."""
    names = [name for line in requirements(unit) for name in _names_in(line)]
    made_of = [template.resource(unit)] if unit.kind == 'template' else []
    return [*resource_ids(unit, names).values(), *made_of]


@lru_cache(4096)
def _names_in(line: str) -> tuple[str, ...]:
    """The resources in an expression; none in what is none, which fails its job."""
    with suppress(expression.ExpressionError):
        return tuple(sorted(expression.resources(expression.parse(line))))
    return ()


def _makers(ids: Iterable[str], templates: Iterable[Job]) -> list[str]:
    """The templates that may make jobs of these ids."""
    patterns = [pattern.glob(id_) for id_ in ids]
    return [_key(t) for t in templates if any(each.matches(t) for each in patterns)]


def _after(unit: Unit) -> list[str]:
    return _ids(unit.get('after'), unit)


def _before(unit: Unit) -> list[str]:
    """So is what is run once more after a suspend, unless it waits for that itself."""
    waits = {*dependencies(unit), *_after(unit)}
    suspends = {job for flag, (_, job) in SUSPENDED.items() if flag in unit.flags}
    return [*_ids(unit.get('before'), unit), *sorted(suspends - waits)]


def _ids(text: str, unit: Unit) -> list[str]:
    """Full ids from a field; of a template those that are the same in all its jobs."""
    if unit.kind == 'template':
        text = _HOLE.sub('', text)
    return sorted(unit.full(id_) for id_ in words(text))


def _is_template(job: Job) -> bool:
    return job.unit.kind == 'template'


def _key(job: Job) -> str:
    """By what a job is known here: templates may well have the same id."""
    return f'{job.id} ({job.unit.where})' if _is_template(job) else job.id


def _by_key(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    """The jobs by their ids, but each only once, however often it is there."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        same = found.setdefault(_key(job), [])
        if all(other.unit.checksum != job.unit.checksum for other in same):
            same.append(job)
    return found


def _closure(
    start: Iterable[str],
    known: Mapping[str, Sequence[Job]],
    edges: Callable[[Job], Iterable[str]],
) -> dict[str, Job]:
    """The jobs that can be reached, as far as there are. Raises Refused."""
    found: dict[str, Job] = {}
    todo = deque(start)
    while todo:
        key = todo.popleft()
        if key in known and key not in found:
            found[key] = _only(known[key])
            todo.extend(edges(found[key]))
    return found


def _only(jobs: Sequence[Job]) -> Job:
    if len(jobs) > 1:
        fact = _('several jobs are called {id}: {places}')
        places = ', '.join(job.unit.where for job in jobs)
        raise refusal('PBL-DUPLICATE', fact.format(id=jobs[0].id, places=places))
    return jobs[0]


def _refuse_missing(
    running: Iterable[Job],
    known: Mapping[str, Sequence[Job]],
    jobs: Sequence[Job],
    templates: Sequence[Job],
) -> None:
    """Refuse a dependency that there is not, if nothing can make it any more."""
    asked = {job.via.where for job in jobs if job.via}
    running = list(running)
    if any(j.unit.plugin == 'local' and j.unit.where not in asked for j in running):
        return  # what it prints is known when it has run
    for job in running:
        for id_ in dependencies(job.unit):
            if id_ not in known and not _makers([id_], templates):
                raise _no_dependency(job, id_, jobs)


def _in_order(waits: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Walk down, without recursion: chains of thousands of jobs do exist."""
    done: set[str] = set()
    for start in waits:
        path = {start: iter(waits[start])} if start not in done else {}
        while path:
            last = next(reversed(path))
            following = next(
                (k for k in path[last] if k in waits and k not in done), ''
            )
            if following in path:
                keys = list(path)
                circle = ' -> '.join([*keys[keys.index(following) :], following])
                fact = _('jobs wait for each other: {circle}')
                raise refusal('PBL-CIRCLE', fact.format(circle=circle))
            if following:
                path[following] = iter(waits[following])
            else:
                path.popitem()
                done.add(last)
                yield last


def _no_dependency(job: Job, id_: str, jobs: Sequence[Job]) -> Refused:
    fact = _('{where}: {job} depends on {id}, and there is no such job')
    fact = fact.format(where=job.unit.where, job=job.id, id=id_)
    short = id_.rpartition('::')[2]
    near = suggestion(short, [job.short_id for job in jobs], 0.5)
    return refusal('PBL-NO-DEPENDENCY', fact + near)


# For how long


def duration(text: str) -> float:
    """Seconds, from `90`, `1.5` or `1h 2m 3s`. Raises Refused."""
    if match := _DURATION.fullmatch(text.strip()):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds
    raise refusal('PBL-DURATION', _('no duration: {text}').format(text=text))


def estimate(job: Job | None) -> float | None:
    """The seconds that a job says it takes; None if it does not, or not in time."""
    text = job.unit.get('estimated_duration') if job else ''
    with suppress(Refused):
        return duration(text)
    return None


def time_limit(unit: Unit, default: float | None) -> float:
    """The seconds after which a job is ended: its field `timeout`.

    Else `default`; if that is None, four times what it is estimated to take, and a
    minute. Raises Fault.
    """
    try:
        if text := unit.get('timeout'):
            return duration(text) or inf
        if default is not None:
            return default
        return 4 * duration(unit.get('estimated_duration') or '0') + 60
    except Refused as refused:
        raise Fault(unit.where, refused.fact) from None
