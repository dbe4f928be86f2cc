# SPDX-License-Identifier: ISC
"""Test plans and whitelists: what they are, and what is nested in them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from plainbox_launcher import catalogue, testplan
from plainbox_launcher.catalogue import Catalogue, Job
from plainbox_launcher.testplan import Line
from plainbox_launcher.trusted import library
from plainbox_launcher.trusted.errors import Fault, Refused
from plainbox_launcher.trusted.library import Library
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

PROVIDER = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')
NOTHING = Library((), (), ())


def library_of(text: str, *, provider: Provider = PROVIDER) -> Library:
    units = library.units_of(text.encode(), 'p.pxu', provider, [])
    return Library((provider,), tuple(units), ())


def read(
    text: str = '', *, own: Library = NOTHING, provider: Provider = PROVIDER
) -> tuple[testplan.TestPlan, ...]:
    faults: list[Fault] = []
    found = Catalogue((), library_of(text, provider=provider), own)
    plans = testplan.read(found, faults)
    assert faults == []
    return plans


PLAN = """
unit: test plan
id: all
_name: All of it
_description: What it is for.
include:
    disk/read  category-id=org.x::disk  certification-status=blocker
    # a comment
    net/.*     # another one
    .
    other::cpu
mandatory_include: first
bootstrap_include:
 device
exclude: net/slow
nested_part:
 more
estimated_duration: 1h

id: disk/read

unit: category
id: disk
"""


def test_a_plan() -> None:
    """Lines of ids or patterns, with comments; what else it has is left alone."""
    (plan,) = read(PLAN)
    assert (plan.id, plan.name, plan.where) == ('org.x::all', 'All of it', 'p.pxu:2')
    overrides = 'category-id=org.x::disk  certification-status=blocker'
    assert plan.include == (
        Line(f'disk/read  {overrides}', 'p.pxu:2'),
        Line('net/.*', 'p.pxu:2'),
        Line('other::cpu', 'p.pxu:2'),
    )
    assert plan.mandatory_include == (Line('first', 'p.pxu:2'),)
    assert plan.bootstrap_include == (Line('device', 'p.pxu:2'),)
    assert plan.exclude == (Line('net/slow', 'p.pxu:2'),)
    assert plan.nested_part == (Line('more', 'p.pxu:2'),)


def test_ones_own_takes_the_place_of_the_installed() -> None:
    """As for jobs: a provider of the same name."""
    text = 'unit: test plan\nid: a\ninclude: old'
    own = library_of(text.replace('old', 'new'))
    (plan,) = read(text, own=own)
    assert [line.text for line in plan.include] == ['new']
    other = library_of(text, provider=PROVIDER._replace(name='org.x:q'))
    assert len(read(text, own=other)) == 1  # the same text
    assert len(read(text.replace('old', 'x'), own=other)) == 2


# Whitelists


@pytest.fixture
def lists(tmp_path: Path) -> Provider:
    """Gives a provider with a directory of whitelists, as a developer has one."""
    (tmp_path / 'default.whitelist').write_text(
        '# All of it\r\n\r\ndisk/read\r\n  net/.*  # some\r\n'
    )
    (tmp_path / 'empty.whitelist').write_text('')
    (tmp_path / 'README').write_text('not a list')
    return PROVIDER._replace(whitelists=str(tmp_path))


def test_whitelists(lists: Provider) -> None:
    """NAME.whitelist is the plan NAMESPACE::NAME, each line one of `include`."""
    default, empty = read(own=library_of('', provider=lists))
    path = f'{lists.whitelists}/default.whitelist'
    assert (default.id, default.where) == ('org.x::default', path)
    assert default.include == (
        Line('disk/read', f'{path}:3'),
        Line('net/.*', f'{path}:4'),
    )
    assert (empty.id, empty.include) == ('org.x::empty', ())


@pytest.mark.parametrize('line', ['location', 'whitelists_dir'])
def test_where_whitelists_are(tmp_path: Path, line: str) -> None:
    """plainbox-provider(5): LOCATION/whitelists, or `whitelists_dir`."""
    folder = tmp_path / ('whitelists' if line == 'location' else 'lists')
    folder.mkdir()
    (folder / 'all.whitelist').write_text('a')
    place = tmp_path if line == 'location' else folder
    text = f'[PlainBox Provider]\nname = org.x:p\n{line} = {place}\n'
    (tmp_path / 'p.provider').write_text(text)
    plans = testplan.read(catalogue.read([str(tmp_path)]), [])
    assert 'org.x::all' in [plan.id for plan in plans]


def test_a_unit_goes_before_a_whitelist(lists: Provider) -> None:
    text = 'unit: test plan\nid: default\ninclude: new'
    plans = read(text, own=library_of('', provider=lists._replace(name='org.x:q')))
    assert [(plan.id, len(plan.include)) for plan in plans] == [
        ('org.x::default', 1),
        ('org.x::empty', 0),
    ]


def test_whitelists_of_what_was_replaced_are_not_read(lists: Provider) -> None:
    assert read(provider=lists, own=library_of('')) == ()


def test_bad_whitelists(lists: Provider) -> None:
    """What cannot be read is named, the others work."""
    place = Path(lists.whitelists)
    (place / 'bad.whitelist').write_bytes(b'\xff')
    (place / 'gone.whitelist').symlink_to('/nowhere')
    faults: list[Fault] = []
    found = Catalogue((), NOTHING, library_of('', provider=lists))
    plans = testplan.read(found, faults)
    assert [plan.name for plan in plans] == ['default', 'empty']
    assert [str(fault) for fault in faults] == [
        f'{place}/gone.whitelist: is a symbolic link',
        f'{place}/bad.whitelist: is not UTF-8',
    ]
    faults.clear()
    gone = lists._replace(whitelists='/nowhere')
    found = Catalogue((), NOTHING, library_of('', provider=gone))
    assert testplan.read(found, faults) == ()
    assert [str(fault) for fault in faults] == ['/nowhere: is not there']


# Nested


def plans(**fields: str) -> tuple[testplan.TestPlan, ...]:
    """Plans by their ids, with fields as `include=a b; exclude=c`."""
    texts = []
    for id_, text in fields.items():
        lines = (part.replace('=', ': ', 1).strip() for part in text.split(';'))
        body = '\n'.join(lines).replace(',', '\n ')
        texts.append(f'unit: test plan\nid: {id_}\n{body}\n')
    return read('\n'.join(texts))


JOBS = [
    Job(Unit({'id': id_}, PROVIDER, f'j.pxu:{id_}'), installed=True) for id_ in 'abcdef'
]


def taken(ids: Sequence[str], found: Sequence[testplan.TestPlan]) -> str:
    """The jobs that plans take, in order, as they do it."""
    rules = testplan.rules(ids, found)
    return ''.join(job.short_id for rule in rules for job in JOBS if rule.takes(job))


@pytest.mark.parametrize(
    ('given', 'jobs'),
    [
        ({'p': 'include=a,b'}, 'ab'),
        ({'p': 'include=b,a'}, 'ba'),
        ({'p': 'include=[a-c]'}, 'abc'),
        ({'p': 'include=.*; exclude=b|c'}, 'adef'),
        ({'p': ''}, ''),
        ({'p': 'include=a; mandatory_include=b; bootstrap_include=c'}, 'cba'),
        ({'p': 'mandatory_include=a; bootstrap_include=b; exclude=a,b'}, 'ba'),
        (
            {'p': 'nested_part=q,r; include=a', 'r': 'include=c', 'q': 'include=b'},
            'abc',
        ),
        ({'p': 'nested_part=org.x::q', 'q': 'include=b'}, 'b'),
        # Of all plans together: what must come first does.
        (
            {
                'p': 'nested_part=q; include=a; mandatory_include=b',
                'q': 'include=c; mandatory_include=d; bootstrap_include=e',
            },
            'ebdac',
        ),
        # What is excluded around a plan, too, but not beside or above it.
        ({'p': 'nested_part=q; exclude=b', 'q': 'include=b,c'}, 'c'),
        ({'p': 'nested_part=q; exclude=b', 'q': 'mandatory_include=b,c'}, 'bc'),
        ({'p': 'nested_part=q; include=b', 'q': 'include=b,c; exclude=b'}, 'bc'),
        (
            {
                'p': 'nested_part=q,r',
                'q': 'nested_part=s; exclude=a',
                'r': 'nested_part=s',
                's': 'include=a,b',
            },
            'bab',
        ),
        ({'p': 'nested_part=q,q,q', 'q': 'include=a'}, 'a'),
        ({'p': 'include=a x=y z-1=,b'}, 'ab'),
    ],
)
def test_what_a_plan_takes(given: dict[str, str], jobs: str) -> None:
    """bootstrap_include first, then mandatory_include, include, nested parts in listed
    order; exclude takes away from include."""
    assert taken(['p'], plans(**given)) == jobs
    assert taken(['org.x::p'], plans(**given)) == jobs


def test_several_plans() -> None:
    """In the order in which they are given."""
    found = plans(p='include=a; mandatory_include=b', q='include=c')
    assert taken(['q', 'p'], found) == 'bca'


def test_nested_very_often() -> None:
    """Plans that are nested twice each are walked once."""
    fields = {f'p{n}': f'nested_part=p{n + 1},q{n + 1}' for n in range(99)}
    fields |= {f'q{n}': f'nested_part=p{n + 1},q{n + 1}' for n in range(99)}
    found = plans(**fields, p99='include=a', q99='include=b')
    assert taken(['p0'], found) == 'ab'


def test_nested_very_deeply() -> None:
    fields = {f'p{n}': f'nested_part=p{n + 1}' for n in range(2000)}
    assert taken(['p0'], plans(**fields, p2000='include=a')) == 'a'


@pytest.mark.parametrize(
    ('asked', 'given', 'code', 'fact'),
    [
        ('p', {}, 'PBL-NO-PLAN', 'no test plan is called p'),
        (
            'sm0ke',
            {'smoke': ''},
            'PBL-NO-PLAN',
            'no test plan is called sm0ke; is it smoke?',
        ),
        (
            'p',
            {'p': 'nested_part=other', 'others': ''},
            'PBL-NO-PLAN',
            'p.pxu:1: no test plan is called org.x::other; is it others?',
        ),
        (
            'p',
            {'p': 'nested_part=p'},
            'PBL-CIRCLE',
            'test plans are nested in each other: org.x::p -> org.x::p',
        ),
        (
            'p',
            {'p': 'nested_part=q', 'q': 'nested_part=r', 'r': 'nested_part=q'},
            'PBL-CIRCLE',
            'test plans are nested in each other: org.x::q -> org.x::r -> org.x::q',
        ),
        (
            'p',
            {'p': 'include=a,b b'},
            'PBL-PATTERN',
            'p.pxu:1: nothing but NAME=VALUE may follow b',
        ),
        (
            'p',
            {'p': 'nested_part=q', 'q': 'exclude=*'},
            'PBL-PATTERN',
            'p.pxu:5: * is no regular expression: nothing to repeat at position 0',
        ),
    ],
)
def test_bad_plans(asked: str, given: dict[str, str], code: str, fact: str) -> None:
    """Each with what is wrong, and the file and line of the plan that says it."""
    with pytest.raises(Refused) as refused:
        testplan.rules([asked], plans(**given))
    assert (refused.value.code, refused.value.fact) == (code, fact)


def test_a_bad_plan_does_no_harm_to_others() -> None:
    found = plans(p='include=a', q='include=(; nested_part=nope', r='nested_part=r')
    assert taken(['p'], found) == 'a'


def test_plans_of_one_name() -> None:
    """Which one is meant has to be said; two of one full id cannot be told apart."""
    text = 'unit: test plan\nid: p\ninclude: a'
    other = library_of(text, provider=PROVIDER._replace(name='o:p', namespace='o'))
    found = read(text, own=other)
    assert taken(['org.x::p'], found) == 'a'
    with pytest.raises(Refused) as refused:
        testplan.rules(['p'], found)
    assert refused.value.code == 'PBL-DUPLICATE'
    named = 'org.x::p (p.pxu:1), o::p (p.pxu:1)'
    assert refused.value.fact == f'several test plans are called p: {named}'
    with pytest.raises(Refused) as refused:
        testplan.rules(['org.x::p'], read(f'{text}\n\n{text} b'))
    assert '(p.pxu:1), org.x::p (p.pxu:5)' in refused.value.fact
