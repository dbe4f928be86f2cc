# SPDX-License-Identifier: ISC
"""Which jobs run, and in which order."""

import pytest

from plainbox_launcher import plan
from plainbox_launcher.catalogue import Job
from plainbox_launcher.plan import PlanError
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

PROVIDER = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')


def job(id_: str, **fields: str) -> Job:
    return Job(Unit({'id': id_, **fields}, PROVIDER, 'p.pxu:1'), installed=True)


def ids(jobs: list[Job]) -> list[str]:
    return [each.short_id for each in jobs]


JOBS = [
    job('disk/read'),
    job('disk/write'),
    job('network'),
    job('other::foreign'),
    job('odd[1]'),
    job('UPPER'),
]


@pytest.mark.parametrize(
    ('patterns', 'selected'),
    [
        (['network'], ['network']),
        (['org.x::network'], ['network']),
        (['disk/*'], ['disk/read', 'disk/write']),
        (['network', 'disk/*'], ['network', 'disk/read', 'disk/write']),
        (['disk/write', 'disk/*', '*'], ['disk/write', 'disk/read', 'network']),
        (['foreign'], ['foreign']),
        (['other::*'], ['foreign']),
        (['*::network'], ['network']),
        (['?etwork'], ['network']),
        (['odd[[]1]'], ['odd[1]']),
        (['UPPER'], ['UPPER']),
    ],
)
def test_select(patterns: list[str], selected: list[str]) -> None:
    """In the order of the patterns, each of them once."""
    found = ids(plan.select(JOBS, patterns))
    assert found[: len(selected)] == selected
    assert len(set(found)) == len(found)
    assert len(found) == (len(JOBS) if '*' in patterns else len(selected))


@pytest.mark.parametrize(
    'pattern', ['upper', 'etwork', 'network ', '', 'read', 'x::network']
)
def test_a_pattern_that_matches_nothing(pattern: str) -> None:
    with pytest.raises(PlanError, match=f'no job matches {pattern}'):
        plan.select(JOBS, ['network', pattern])


def test_a_slip_of_the_pen() -> None:
    with pytest.raises(PlanError, match=r'no job matches netwrok; is it network\?'):
        plan.select(JOBS, ['netwrok'])


CHAIN = [
    job('last', depends='middle org.x::first'),
    job('middle', depends='first, other::foreign'),
    job('first'),
    job('alone'),
    job('other::foreign', depends='first'),
    job('lost', depends='nowhere'),
]


@pytest.mark.parametrize(
    ('selected', 'arranged'),
    [
        (['alone'], ['alone']),
        (['first', 'alone'], ['first', 'alone']),
        (['middle'], ['first', 'foreign', 'middle']),
        (['alone', 'last'], ['alone', 'first', 'foreign', 'middle', 'last']),
        (['last', 'first'], ['first', 'foreign', 'middle', 'last']),
        # It is for the run to say why this one cannot be.
        (['lost'], ['lost']),
    ],
)
def test_dependencies_come_first(selected: list[str], arranged: list[str]) -> None:
    chosen = plan.select(CHAIN, selected)
    assert ids(plan.arrange(chosen, CHAIN)) == arranged


def test_the_order_is_kept_where_nothing_speaks_against_it() -> None:
    assert plan.arrange(JOBS, JOBS) == JOBS
    assert plan.arrange(JOBS[::-1], JOBS) == JOBS[::-1]


@pytest.mark.parametrize(
    ('depends', 'circle'),
    [
        ({'a': 'a'}, 'org.x::a -> org.x::a'),
        ({'a': 'b', 'b': 'a'}, 'org.x::a -> org.x::b -> org.x::a'),
        ({'a': 'b', 'b': 'c', 'c': 'b'}, 'org.x::b -> org.x::c -> org.x::b'),
    ],
)
def test_circles(depends: dict[str, str], circle: str) -> None:
    jobs = [job(id_, depends=on) for id_, on in depends.items()]
    with pytest.raises(PlanError, match=f'jobs depend on each other: {circle}'):
        plan.arrange(jobs[:1], jobs)


def test_a_long_chain() -> None:
    jobs = [job(str(n), depends=str(n + 1)) for n in range(3000)] + [job('3000')]
    assert plan.arrange(jobs[:1], jobs) == jobs[::-1]


@pytest.mark.parametrize(
    ('requires', 'lines'),
    [
        ('', []),
        ("a.b == 'x'", ["a.b == 'x'"]),
        ("a.b == 'x'\n\n  c.d  \n", ["a.b == 'x'", 'c.d']),
    ],
)
def test_requirements(requires: str, lines: list[str]) -> None:
    assert plan.requirements(job('x', requires=requires).unit) == lines


IMPORTS = """
from 2013.com.canonical.plainbox import device
from org.y import package as software
 from  org.z   import   deep/id  as   deep
from nonsense
import nonsense
"""


@pytest.mark.parametrize(
    ('name', 'id_'),
    [
        ('device', '2013.com.canonical.plainbox::device'),
        ('software', 'org.y::package'),
        ('deep', 'org.z::deep/id'),
        ('package', 'org.x::package'),
        ('nonsense', 'org.x::nonsense'),
    ],
)
def test_resource_ids(name: str, id_: str) -> None:
    """A short id is one of the same namespace, unless it is imported."""
    unit = job('x', imports=IMPORTS).unit
    assert plan.resource_ids(unit, [name]) == {name: id_}


def test_dependencies() -> None:
    unit = job('x', depends='a,b  other::c\nd').unit
    assert plan.dependencies(unit) == ['org.x::a', 'org.x::b', 'org.x::d', 'other::c']
