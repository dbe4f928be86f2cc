# SPDX-License-Identifier: ISC
"""Which jobs run, and in which order."""

import json

import pytest

from plainbox_launcher import plan, testplan
from plainbox_launcher.catalogue import Job
from plainbox_launcher.plan import Planned, Selection
from plainbox_launcher.testplan import Line
from plainbox_launcher.trusted.errors import Refused
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

PROVIDER = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')


def job(id_: str, where: str = '', **fields: str) -> Job:
    """A job; the fields of a template have a hyphen in their names."""
    given = {
        'id': id_,
        **{k.replace('template_', 'template-'): fields[k] for k in fields},
    }
    return Job(Unit(given, PROVIDER, where or f'p.pxu:{id_}'), installed=True)


def template(id_: str, where: str = '', **fields: str) -> Job:
    return job(id_, where, unit='template', **fields)


def ids(jobs: list[Job]) -> list[str]:
    return [each.short_id for each in jobs]


def select(
    jobs: list[Job], *patterns: str, plans: tuple[testplan.TestPlan, ...] = ()
) -> list[str]:
    return ids(plan.select(jobs, Selection(patterns), plans))


def refused(jobs: list[Job], selection: Selection) -> tuple[str, str]:
    with pytest.raises(Refused) as error:
        plan.select(jobs, selection, PLANS)
    return error.value.code, error.value.fact


JOBS = [
    job('disk/read'),
    job('disk/write'),
    job('network'),
    job('other::foreign'),
    job('odd[1]'),
    job('UPPER'),
]


def plan_of(
    id_: str, *include: str, exclude: tuple[str, ...] = ()
) -> testplan.TestPlan:
    lines = tuple(Line(text, f'plans.pxu:{n}') for n, text in enumerate(include, 1))
    away = tuple(Line(text, 'plans.pxu:9') for text in exclude)
    return testplan.TestPlan(
        f'org.x::{id_}', '', 'plans.pxu:1', 'org.x', include=lines, exclude=away
    )


PLANS = (
    plan_of('disks', 'disk/write', 'disk/.*'),
    plan_of('some', 'disk/.*', 'nope', 'network', exclude=('disk/write',)),
    plan_of('none', 'nope'),
    plan_of('bad', '('),
)

NOTHING_LEFT = 'of all that was asked for, nothing is left to run'

# Which


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
    found = select(JOBS, *patterns)
    assert found[: len(selected)] == selected
    assert len(set(found)) == len(found)
    assert len(found) == (len(JOBS) if '*' in patterns else len(selected))


@pytest.mark.parametrize(
    ('selection', 'selected'),
    [
        (Selection(('disk/.*',), regex=True), ['disk/read', 'disk/write']),
        (Selection(('net.*|UPPER',), regex=True), ['network', 'UPPER']),
        (Selection((r'odd\[1\]',), regex=True), ['odd[1]']),
        (Selection(('disk/*',), exclude=('*/read',)), ['disk/write']),
        (
            Selection(('.*',), regex=True, exclude=('disk/.*', '[a-z].*::[^n].*')),
            ['network'],
        ),
        (Selection(('disk/*',), exclude=('nothing',)), ['disk/read', 'disk/write']),
        (Selection(plans=('disks',)), ['disk/write', 'disk/read']),
        (Selection(plans=('org.x::disks',)), ['disk/write', 'disk/read']),
        (Selection(plans=('some',)), ['disk/read', 'network']),
        (Selection(plans=('some', 'disks')), ['disk/read', 'network', 'disk/write']),
        (
            Selection(('UPPER', 'network'), plans=('disks',)),
            ['disk/write', 'disk/read', 'UPPER', 'network'],
        ),
        (Selection(plans=('disks',), exclude=('*/write',)), ['disk/read']),
        # What a plan excludes, a pattern may bring back; --exclude is for all.
        (Selection(('disk/write',), plans=('some',)), None),
        (Selection(('network',), plans=('none',)), ['network']),
    ],
)
def test_selections(selection: Selection, selected: list[str] | None) -> None:
    """Plans first; exclude takes away from all. A job is accepted if it is selected."""
    selected = selected or ['disk/read', 'network', 'disk/write']
    assert ids(plan.select(JOBS, selection, PLANS)) == selected
    accepted = [each for each in JOBS if plan.accepts(each, selection, PLANS)]
    assert sorted(ids(accepted)) == sorted(selected)


def test_a_selection_can_be_stored() -> None:
    """As JSON, and is the same again."""
    for selection in (
        Selection(),
        Selection(('a', 'b'), regex=True, exclude=('c',), plans=('d',)),
    ):
        patterns, regex, exclude, plans = json.loads(json.dumps(selection))
        read = Selection(tuple(patterns), regex, tuple(exclude), tuple(plans))
        assert read == selection


@pytest.mark.parametrize(
    'pattern', ['upper', 'etwork', 'network ', '', 'read', 'x::network']
)
def test_a_pattern_that_matches_nothing(pattern: str) -> None:
    code, fact = refused(JOBS, Selection(('network', pattern)))
    assert code == 'PBL-NO-MATCH'
    assert fact.startswith(f'no job matches {pattern}')


@pytest.mark.parametrize(
    ('selection', 'code', 'fact'),
    [
        (
            Selection(('netwrok',)),
            'PBL-NO-MATCH',
            'no job matches netwrok; is it network?',
        ),
        (
            Selection(plans=('dsiks',)),
            'PBL-NO-PLAN',
            'no test plan is called dsiks; is it disks?',
        ),
        (
            Selection(('disk/(',), regex=True),
            'PBL-PATTERN',
            'disk/( is no regular expression: missing ), unterminated subpattern at '
            'position 5',
        ),
        (
            Selection(('network',), regex=True, exclude=('*',)),
            'PBL-PATTERN',
            '* is no regular expression: nothing to repeat at position 0',
        ),
        (
            Selection(plans=('bad',)),
            'PBL-PATTERN',
            'plans.pxu:1: ( is no regular expression: missing ), unterminated '
            'subpattern at position 0',
        ),
        *(
            (selection, 'PBL-NO-MATCH', NOTHING_LEFT)
            for selection in (
                Selection(),
                Selection(plans=('none',)),
                Selection(('network',), exclude=('network',)),
                Selection(('*',), exclude=('*',)),
                Selection(plans=('disks',), exclude=('disk/*',)),
            )
        ),
    ],
)
def test_what_cannot_be_selected(selection: Selection, code: str, fact: str) -> None:
    """With what may have been meant."""
    assert refused(JOBS, selection) == (code, fact)


def test_lines_that_match_nothing() -> None:
    """No error, since their providers may not be there, but told."""
    selection = Selection(('network',), plans=('some', 'disks'), exclude=('x*', 'U*'))
    assert plan.unmatched(JOBS, selection, PLANS) == [
        'plans.pxu:2: no job matches nope',
        'no job matches x*',
    ]
    assert plan.unmatched(JOBS, Selection(('network',)), PLANS) == []


def test_the_same_job_twice() -> None:
    """Once; a different one of its id is another job."""
    again, other = job('a', 'q.pxu:1'), job('a', 'r.pxu:1', command='x')
    assert plan.select([job('a'), again], Selection(('a',)), ()) == [job('a')]
    found = plan.select([job('a'), again, other], Selection(('a',)), ())
    assert found == [job('a'), other]


INSTANCES = [job(f'disk/read-{name}')._replace(template='org.x::read') for name in 'ab']
TEMPLATE = template('disk/read-{name}', template_id='read')


@pytest.mark.parametrize(
    ('selection', 'before', 'after'),
    [
        (Selection(('disk/*',)), True, 'ab'),
        (Selection(('disk/read-a',)), True, 'a'),
        (Selection(('read',)), True, 'ab'),
        (Selection(('org.x::read',)), True, 'ab'),
        (Selection(('disk/read-a', 'network'), exclude=('read',)), False, ''),
        (Selection(('disk/read-c',)), True, ''),
        (Selection(('disk/write*', 'network')), False, ''),
        (Selection(('*',), exclude=('disk/read-b',)), True, 'a'),
        (Selection(('*',), exclude=('disk/*',)), False, ''),
        (Selection(('.*-[b-z]',), regex=True), True, 'b'),
        (Selection(plans=('disks',)), True, 'ab'),
        (Selection(plans=('disks',), exclude=('*-a',)), True, 'b'),
    ],
)
def test_templates(selection: Selection, before: bool, after: str) -> None:
    """One is selected if it may make a job that is; those are accepted one by one."""
    assert plan.accepts(TEMPLATE, selection, PLANS) is before
    found = [each for each in INSTANCES if plan.accepts(each, selection, PLANS)]
    assert ids(found) == [f'disk/read-{name}' for name in after]
    # The same are selected where they are known.
    more = [*JOBS, TEMPLATE, *INSTANCES, job('disk/write-c')]
    selected = plan.select(more, selection, PLANS)
    assert (TEMPLATE in selected) is before
    assert [each for each in selected if each in INSTANCES] == found


# In which order


def arranged(jobs: list[Job], *selected: str) -> list[str]:
    """The short ids of what runs, those that are implied in brackets."""
    chosen = plan.select(jobs, Selection(selected), ())
    return [
        f'({each.job.short_id})' if each.implied else each.job.short_id
        for each in plan.arrange(chosen, jobs)
    ]


CHAIN = [
    job('last', depends='middle org.x::first'),
    job('middle', depends='first, other::foreign'),
    job('first'),
    job('alone'),
    job('other::foreign', depends='first'),
    job('early', before='first nowhere'),
    job('late', after='alone nowhere', before='last'),
]


@pytest.mark.parametrize(
    ('selected', 'order'),
    [
        (['alone'], ['alone']),
        (['first', 'alone'], ['first', 'alone']),
        (['middle'], ['first', 'foreign', 'middle']),
        (['alone', 'last'], ['alone', 'first', 'foreign', 'middle', 'last']),
        (['last', 'first'], ['first', 'foreign', 'middle', 'last']),
        # These only order what runs anyway.
        (['early'], ['early']),
        (['first', 'early'], ['early', 'first']),
        (['middle', 'early'], ['early', 'first', 'foreign', 'middle']),
        (['late'], ['late']),
        (['late', 'alone'], ['alone', 'late']),
        (['alone', 'early', 'late'], ['alone', 'early', 'late']),
        (
            ['last', 'late', 'alone'],
            ['first', 'foreign', 'middle', 'alone', 'late', 'last'],
        ),
    ],
)
def test_dependencies_come_first(selected: list[str], order: list[str]) -> None:
    """And are run; `after` and `before` only order what runs anyway."""
    assert arranged(CHAIN, *selected) == order


SUSPEND = 'com.canonical.certification::suspend/suspend_advanced'
AUTO = 'also-after-suspend'
SUSPENDING = [
    job(f'{SUSPEND}_auto'),
    job(SUSPEND),
    job('twice', flags=AUTO),
    job('by-hand', flags=f'simple, {AUTO}-manual'),
    job('late', flags=AUTO, after=f'{SUSPEND}_auto'),
    template('made-{x}', template_resource='things', flags=AUTO),
    job('things', plugin='resource'),
]


@pytest.mark.parametrize(
    ('selected', 'order'),
    [
        (['suspend/*_auto', 'twice'], ['twice', 'suspend/suspend_advanced_auto']),
        (['suspend/*_auto', 'late'], ['suspend/suspend_advanced_auto', 'late']),
        (['suspend/*_auto', 'by-hand'], ['suspend/suspend_advanced_auto', 'by-hand']),
        (['suspend/*_advanced', 'by-hand'], ['by-hand', 'suspend/suspend_advanced']),
        (
            ['*auto', 'made-*'],
            ['(things)', 'made-{x}', 'suspend/suspend_advanced_auto'],
        ),
        (['twice'], ['twice']),
    ],
)
def test_what_runs_once_more_after_a_suspend(
    selected: list[str], order: list[str]
) -> None:
    """It runs before that, unless it says that it waits for it."""
    assert arranged(SUSPENDING, *selected) == order


def test_the_order_is_kept_where_nothing_speaks_against_it() -> None:
    for jobs in JOBS, JOBS[::-1]:
        assert plan.arrange(jobs, jobs) == [
            Planned(each, implied=False) for each in jobs
        ]


ASKING = [
    job('asks', requires="r.a == '1'\ns.b == '2' and r.c == '3'", depends='plain'),
    job('plain'),
    job('r', plugin='resource'),
    job('s', plugin='resource', requires="o.x == '1'", depends='setup'),
    job('setup'),
    job('o', plugin='resource'),
    job('imports', imports='from other import far as f', requires='f.a == 1'),
    job('other::far', plugin='resource'),
    job('odd', requires='r.a ==\nopen(s)\n{x}\no.x'),
    job('lost', requires="nowhere.a == '1'"),
    job('local', plugin='local', requires='r.a'),
    template('made-{name}', template_resource='o', requires="r.a == '{name}'"),
    template(
        'made-by-{{ name }}',
        template_resource='f',
        imports='from other import far as f',
        depends='plain, made-{{ name }}',
        after='x-{{ name }}-{{ size }}',
    ),
]


@pytest.mark.parametrize(
    ('selected', 'order'),
    [
        (['plain'], ['plain']),
        (['asks'], ['(r)', '(o)', '(setup)', '(s)', 'plain', 'asks']),
        (['plain', 'asks'], ['(r)', '(o)', '(setup)', '(s)', 'plain', 'asks']),
        (['asks', 's'], ['(r)', '(o)', 'setup', 's', 'plain', 'asks']),
        (['imports', 'plain'], ['(far)', 'imports', 'plain']),
        (['plain', 'imports', 'far'], ['far', 'plain', 'imports']),
        # What is no expression, or asks about nothing there is, fails its job later.
        (['odd', 'lost'], ['(o)', 'odd', 'lost']),
        (['local'], ['(r)', 'local']),
        (['made-x'], ['(r)', '(o)', 'made-{name}']),
        # Either template may make it, as far as can be told.
        (
            ['made-by-x'],
            ['(r)', '(o)', '(far)', 'made-{name}', 'plain', 'made-by-{{ name }}'],
        ),
    ],
)
def test_resources_come_first(selected: list[str], order: list[str]) -> None:
    """What `requires` and a template ask about, as implied if it was not selected."""
    assert arranged(ASKING, *selected) == order


@pytest.mark.parametrize(
    ('fields', 'circle'),
    [
        ({'a': {'depends': 'a'}}, 'a a'),
        ({'a': {'depends': 'b'}, 'b': {'depends': 'a'}}, 'a b a'),
        (
            {'a': {'depends': 'b'}, 'b': {'depends': 'c'}, 'c': {'depends': 'b'}},
            'b c b',
        ),
        ({'a': {'after': 'b'}, 'b': {'after': 'a'}}, 'a b a'),
        ({'a': {'before': 'b'}, 'b': {'before': 'a'}}, 'a b a'),
        ({'a': {'after': 'b'}, 'b': {'depends': 'c'}, 'c': {'after': 'a'}}, 'a b c a'),
        ({'a': {'depends': 'b', 'before': 'b'}, 'b': {}}, 'a b a'),
        ({'a': {'before': 'a'}}, 'a a'),
        (
            {
                'a': {'requires': 'b.x'},
                'b': {'requires': 'c.x'},
                'c': {'requires': 'b.x'},
            },
            'b c b',
        ),
    ],
)
def test_circles(fields: dict[str, dict[str, str]], circle: str) -> None:
    """Each is named, whatever the jobs wait for each other by."""
    jobs = [job(id_, **given) for id_, given in fields.items()]
    with pytest.raises(Refused) as error:
        plan.arrange(jobs, jobs)
    named = ' -> '.join(f'org.x::{id_}' for id_ in circle.split())
    assert error.value.code == 'PBL-CIRCLE'
    assert error.value.fact == f'jobs wait for each other: {named}'


def test_circles_of_what_does_not_run_do_no_harm() -> None:
    jobs = [job('a', after='b'), job('b', depends='c'), job('c', after='a')]
    assert arranged([*jobs, job('d')], 'a', 'd') == ['a', 'd']
    assert arranged(jobs, 'a', 'c') == ['a', 'c']


# What is not there, or twice


def test_a_dependency_that_is_not_there() -> None:
    """Which job wants it, where that stands, and what may have been meant."""
    jobs = [job('a', depends='b'), job('b', 'q.pxu:5', depends='disk/raed'), *JOBS]
    with pytest.raises(Refused) as error:
        arranged(jobs, 'a')
    assert error.value.code == 'PBL-NO-DEPENDENCY'
    assert error.value.fact == (
        'q.pxu:5: org.x::b depends on org.x::disk/raed, and there is no such job; '
        'is it disk/read or disk/write?'
    )
    assert arranged(jobs, 'network') == ['network']


LOCAL = job('local', plugin='local')
MADE = Job(job('made').unit, installed=True, via=LOCAL.unit)


@pytest.mark.parametrize(
    ('jobs', 'selected', 'order'),
    [
        # A template may make it, and is asked then.
        (
            [
                template('made-{name}', template_resource='r'),
                job('r', plugin='resource'),
            ],
            [],
            ['(r)', '(made-{name})', 'a'],
        ),
        ([template('made-{name}')], ['made-y'], ['made-{name}', 'a']),
        ([template('other-{name}')], [], None),
        # A local job may print it, if it is run.
        ([LOCAL], ['local'], ['a', 'local']),
        ([LOCAL], [], None),
        ([LOCAL, MADE], ['local'], None),
        # Here it is.
        ([job('made-x')], [], ['made-x', 'a']),
        ([template('made-{name}'), job('made-x')], [], ['made-x', 'a']),
    ],
)
def test_a_dependency_that_may_yet_be_made(
    jobs: list[Job], selected: list[str], order: list[str] | None
) -> None:
    """It is missing only if nothing that runs can make it any more."""
    asking = [job('a', depends='made-x'), *jobs]
    if order:
        assert arranged(asking, 'a', *selected) == order
        return
    with pytest.raises(Refused) as error:
        arranged(asking, 'a', *selected)
    assert error.value.code == 'PBL-NO-DEPENDENCY'


def test_one_of_two_dependencies_may_be_made() -> None:
    jobs = [job('a', depends='made-x b'), template('made-{name}')]
    with pytest.raises(Refused) as error:
        arranged(jobs, 'a')
    assert 'depends on org.x::b, and' in error.value.fact


TWINS = [job('a', 'p.pxu:1', command='x'), job('a', 'q.pxu:7', command='y')]


@pytest.mark.parametrize(
    'jobs',
    [
        TWINS,
        [*TWINS, job('b')],
        [job('b', depends='a'), *TWINS],
        [job('b', requires='a.x == 1'), *TWINS],
    ],
)
def test_two_jobs_of_one_id(jobs: list[Job]) -> None:
    """Different ones, in what is to run: each with file and line."""
    with pytest.raises(Refused) as error:
        arranged(jobs, jobs[0].short_id)
    assert error.value.code == 'PBL-DUPLICATE'
    assert error.value.fact == 'several jobs are called org.x::a: p.pxu:1, q.pxu:7'


def test_two_jobs_of_one_id_that_do_no_harm() -> None:
    """The same text twice, one that does not run, and templates."""
    same = [TWINS[0], TWINS[0]._replace(via=LOCAL.unit)]
    assert arranged([*same, job('b', depends='a')], 'a', 'b') == ['a', 'b']
    assert arranged([*TWINS, job('b')], 'b') == ['b']
    assert plan.arrange([TWINS[1]], TWINS) == [Planned(TWINS[1], implied=False)]
    twins = [template('a-{x}', 'p.pxu:1'), template('a-{x}', 'p.pxu:4', command='y')]
    assert arranged(twins, 'a-*') == ['a-{x}', 'a-{x}']


# Ten thousand of them

MANY = 10_000


@pytest.mark.parametrize('field', ['depends', 'after'])
def test_a_long_chain(field: str) -> None:
    jobs = [job(str(n), **{field: str(n + 1)}) for n in range(MANY)] + [job(str(MANY))]
    found = plan.arrange(jobs[:1] if field == 'depends' else jobs, jobs)
    assert [each.job for each in found] == jobs[::-1]


def test_a_long_chain_backwards() -> None:
    jobs = [job(str(n), before=str(n - 1)) for n in range(MANY)]
    assert [each.job for each in plan.arrange(jobs, jobs)] == jobs[::-1]


def test_many_that_ask() -> None:
    """Of a plan that lists them one by one, each with a requirement of its own."""
    jobs = [job(str(n), requires=f"r.a == '{n}'") for n in range(MANY)]
    jobs.append(job('r', plugin='resource'))
    lines = [str(n) for n in reversed(range(MANY))]
    plans = (plan_of('many', *lines, exclude=('5.*',)),)
    chosen = plan.select(jobs, Selection(plans=('many',)), plans)
    found = [each.job.short_id for each in plan.arrange(chosen, jobs)]
    assert found == ['r', *(line for line in lines if line[0] != '5')]


def test_a_long_circle() -> None:
    jobs = [job(str(n), depends=str((n + 1) % MANY)) for n in range(MANY)]
    with pytest.raises(Refused) as error:
        plan.arrange(jobs[:1], jobs)
    assert error.value.code == 'PBL-CIRCLE'


# Fields


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
