# SPDX-License-Identifier: ISC
"""Which jobs run, in which order. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from gettext import gettext as _
from math import inf
from typing import Final

from .catalogue import Job
from .trusted.errors import Fault
from .trusted.unit import Unit, words

_DURATION: Final = re.compile(
    r'(?=[0-9])(?:([0-9]+)h)?[ :]*(?:([0-9]+)m)?[ :]*(?:([0-9]+(?:\.[0-9]+)?)s?)?'
)


class PlanError(Exception):
    """A plan that cannot be made; the argument says why, in plain words."""


class NothingSelected(PlanError):
    """A pattern that no job matches."""


def select(jobs: Sequence[Job], patterns: Iterable[str]) -> list[Job]:
    """The jobs that match, in the order of the patterns, each of them once.

    Raises NothingSelected for a pattern that matches nothing.
    """
    selected: dict[str, Job] = {}
    for pattern in patterns:
        found = [job for job in jobs if job.matches(pattern)]
        if not found:
            reason = _('no job matches {pattern}').format(pattern=pattern)
            known = [job.short_id for job in jobs]
            raise NothingSelected(reason + suggestion(pattern, known, 0.5))
        selected |= {job.id: job for job in found if job.id not in selected}
    return list(selected.values())


def arrange(selected: Sequence[Job], jobs: Sequence[Job]) -> list[Job]:
    """The selected jobs and what they depend on, dependencies first.

    Raises PlanError where jobs depend on each other in a circle.
    """
    known = {job.id: job for job in jobs} | {job.id: job for job in selected}
    arranged: dict[str, Job] = {}
    for job in selected:
        _arrange(job, known, arranged)
    return list(arranged.values())


def dependencies(unit: Unit) -> list[str]:
    """The full ids of the jobs that must have passed before this one."""
    return sorted(unit.full(id_) for id_ in words(unit.get('depends')))


def requirements(unit: Unit) -> list[str]:
    """The expressions of `requires`, one a line."""
    lines = (line.strip() for line in unit.get('requires').splitlines())
    return [line for line in lines if line]


def duration(text: str) -> float:
    """Seconds, from `90`, `1.5` or `1h 2m 3s`. Raises PlanError."""
    if match := _DURATION.fullmatch(text.strip()):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds
    raise PlanError(_('no duration: {text}').format(text=text))


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
    except PlanError as error:
        raise Fault(unit.where, str(error)) from None


def resource_ids(unit: Unit, names: Iterable[str]) -> dict[str, str]:
    """The full id of each resource job that is called by these names."""
    return {name: unit.resource(name) for name in names}


def _arrange(job: Job, known: Mapping[str, Job], arranged: dict[str, Job]) -> None:
    """Walk down, without recursion: chains of a thousand jobs do exist."""
    path = {job.id: job}
    while path:
        last = next(reversed(path.values()))
        below = [id_ for id_ in dependencies(last.unit) if id_ in known]
        id_ = next((id_ for id_ in below if id_ not in arranged), '')
        if not id_:
            arranged.setdefault(last.id, last)
            del path[last.id]
        elif id_ in path:
            above = list(path)
            circle = ' -> '.join([*above[above.index(id_) :], id_])
            reason = _('jobs depend on each other: {circle}')
            raise PlanError(reason.format(circle=circle))
        else:
            path[id_] = known[id_]


def suggestion(word: str, known: Sequence[str], likeness: float) -> str:
    """What may have been meant, to stand behind what is wrong; '' if nothing."""
    near = get_close_matches(word, known, 3, likeness)
    return _('; is it {names}?').format(names=_(' or ').join(near)) if near else ''
