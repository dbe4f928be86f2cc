# SPDX-License-Identifier: ISC
"""Patterns of ids, and of what a template may make."""

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as some

from plainbox_launcher import pattern
from plainbox_launcher.catalogue import Job, template_id
from plainbox_launcher.pattern import Pattern
from plainbox_launcher.trusted.errors import Refused
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

PROVIDER = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')


def job(id_: str, template: str = '') -> Job:
    unit = Unit({'id': id_}, PROVIDER, 'p.pxu:1')
    return Job(unit, installed=True, template=template)


def template(id_: str, **fields: str) -> Job:
    fields = {name.replace('_', '-'): value for name, value in fields.items()}
    unit = Unit({'unit': 'template', 'id': id_, **fields}, PROVIDER, 'p.pxu:1')
    return Job(unit, installed=True)


@pytest.mark.parametrize(
    ('text', 'ids', 'others'),
    [
        ('network', ['network', 'other::network'], ['Network', 'network ', 'etwork']),
        ('org.x::network', ['network'], ['other::network', 'a.org.x::network']),
        ('disk/*', ['disk/read', 'disk/', 'other::disk/x'], ['disk', 'adisk/read']),
        ('?etwork', ['network'], ['etwork', 'a/network']),
        ('odd[[]1]', ['odd[1]'], ['odd1']),
        ('[!a]b', ['cb'], ['ab', 'b']),
        ('*::a', ['a', 'other::a'], ['aa']),
        ('a.c', ['a.c'], ['abc']),
    ],
)
def test_shell_patterns(text: str, ids: list[str], others: list[str]) -> None:
    """plainbox(1): a shell pattern, for ids with or without their namespace."""
    made = pattern.glob(text)
    assert [id_ for id_ in ids + others if made.matches(job(id_))] == ids
    assert [id_ for id_ in ids + others if made.covers(job(id_))] == ids


@pytest.mark.parametrize(
    ('text', 'ids', 'others'),
    [
        ('network', ['network', 'other::network'], ['Network', 'networks', 'anetwork']),
        ('net|disk', ['net', 'disk'], ['netdisk', 'nets', 'adisk']),
        ('org.x::.*', ['a', 'b/c'], ['other::a']),
        ('disk/.*', ['disk/a', 'disk/'], ['disk']),
        ('^a$', ['a', 'other::a'], ['aa']),
        ('(?i)NET', ['net'], ['nets']),
        (r'a\.c', ['a.c'], ['abc']),
        ('a.c', ['a.c', 'abc'], ['ac']),
    ],
)
def test_regular_expressions(text: str, ids: list[str], others: list[str]) -> None:
    """Of the whole id, full or short."""
    made = pattern.regex(text)
    assert [id_ for id_ in ids + others if made.matches(job(id_))] == ids


@pytest.mark.parametrize(
    ('text', 'ids', 'others'),
    [
        ('net', ['net'], ['other::net', 'nets', 'anet']),
        ('.*net.*', ['net', 'a/nets'], ['other::net']),
        ('a|b', ['a', 'b'], ['ab', 'other::a']),
        ('other::net', ['other::net'], ['net', 'nother::net']),
        ('org.x::net', ['net'], ['orgyx::net', 'other::net']),
        ('.*::net', ['net', 'other::net'], ['nets']),
    ],
)
def test_of_a_plan(text: str, ids: list[str], others: list[str]) -> None:
    """plainbox-testplan(5): without a namespace, jobs of the plan's own."""
    made = pattern.of_plan(text, 'p.pxu:1', 'org.x')
    assert [id_ for id_ in ids + others if made.matches(job(id_))] == ids


@pytest.mark.parametrize('text', ['*', '[', '(', 'a{99999999999}', '(' * 9999, '(?z)'])
def test_no_regular_expression(text: str) -> None:
    """Each with file and line, if it has one."""
    with pytest.raises(Refused) as refused:
        pattern.of_plan(text, 'p.pxu:7', 'org.x')
    assert refused.value.code == 'PBL-PATTERN'
    assert refused.value.fact.startswith(f'p.pxu:7: {text} is no regular expression: ')
    with pytest.raises(Refused) as refused:
        pattern.regex(text)
    assert refused.value.fact.startswith(f'{text} is no regular expression: ')


# Templates


@pytest.mark.parametrize(
    ('made', 'id_', 'may', 'surely'),
    [
        (pattern.glob('*'), 'disk/{name}', True, True),
        (pattern.glob('disk/*'), 'disk/{name}', True, True),
        (pattern.glob('disk/*'), 'disk/read-{name}-{size}', True, True),
        (pattern.glob('disk/*/x'), 'disk/{name}', True, False),
        (pattern.glob('disk/sda'), 'disk/{name}', True, False),
        (pattern.glob('disk/??*'), 'disk/{name}', True, False),
        (pattern.glob('disk/[a-z]*'), 'disk/{name}', True, False),
        (pattern.glob('disk/sda'), 'disk/read-{name}', False, False),
        (pattern.glob('net*'), 'disk/{name}', False, False),
        (pattern.glob('*-x'), 'disk/{name}-y', False, False),
        (pattern.glob('disk/a'), '{kind}/a', True, False),
        (pattern.glob('disk/fixed'), 'disk/fixed', True, True),
        (pattern.glob('org.x::disk/*'), 'disk/{name}', True, True),
        (pattern.glob('other::disk/*'), 'disk/{name}', False, False),
        (pattern.glob('disk/*'), 'disk/{{ name }}', True, True),
        (pattern.regex('disk/.*'), 'disk/{name}', True, True),
        (pattern.regex('^disk/.*$'), 'disk/{name}', True, False),
        (pattern.regex('disk/.+'), 'disk/{name}', True, False),
        (pattern.glob('[a]*'), '[a]{name}', True, False),
        (pattern.regex('disx*k/.*'), 'disk/{name}', True, False),
        (pattern.regex(r'.*\w'), '{name}/disk', True, False),
        (pattern.regex('(?i).*DISK'), '{name}/disk', True, False),
        (pattern.regex('dis?k?/sda'), 'disk/{name}', True, False),
        (pattern.regex('disk/(?!sda).*'), 'disk/{name}', True, False),
        (pattern.regex('net/.*'), 'disk/{name}', False, False),
        (pattern.regex(r'.*\d'), 'disk/{name}', True, False),
        (pattern.regex('.*-x'), 'disk/{name}-y', False, False),
        (pattern.regex('net|disk/sda'), 'disk/{name}', True, False),
        (pattern.regex('(?i)DISK/.*'), 'disk/{name}', True, False),
        (pattern.of_plan('disk/.*', '', 'org.x'), 'disk/{name}', True, True),
        (pattern.of_plan('disk/.*', '', 'other'), 'disk/{name}', False, False),
    ],
)
def test_what_a_template_makes(
    made: Pattern, id_: str, may: bool, surely: bool
) -> None:
    """`{...}` stands for any text: what may match is selected, what may not match is
    not excluded."""
    assert made.matches(template(id_)) is may
    assert made.covers(template(id_)) is surely


PIECES = some.sampled_from(['a', 'b', '/', '.', '-'])
PARTS = some.lists(PIECES, max_size=3).map(''.join)
SPECIALS = some.sampled_from(['*', '.*', '?', '[!a]', r'\w', '+', '|', '(?:a|b)', '^'])
TEXTS = some.lists(PIECES | SPECIALS, max_size=6).map(''.join)
TEXTS |= TEXTS.map('org.x::{}'.format)


@settings(max_examples=500, deadline=None)
@given(TEXTS, some.sampled_from([pattern.regex, pattern.glob]), PARTS, PARTS, PARTS)
@example(r'\\a', pattern.regex, 'a', '', '')
@example('[!]a', pattern.glob, '[!', '', ']a')
def test_a_template_is_judged_by_all_that_it_may_make(
    text: str, read: Callable[[str], Pattern], head: str, value: str, tail: str
) -> None:
    """It counts as matching if a job of it may, and as excluded only if each one is."""
    assume(head + value + tail)
    try:
        made = read(text)
    except Refused:
        return
    whole, instance = template(f'{head}{{x}}{tail}'), job(f'{head}{value}{tail}')
    if made.matches(instance):
        assert made.matches(whole)
    if made.covers(whole):
        assert made.matches(instance)


IDS = [
    (template('disk/read-{name}', template_id='disk-read'), 'org.x::disk-read'),
    (template('disk/{kind}-{name}', template_id='o::disk'), 'o::disk'),
    (template('disk/read-{name}'), 'org.x::disk/read-name'),
    (template('disk/{{ name }}'), 'org.x::disk/name'),
    (template('o::disk/{name}'), 'org.x::disk/name'),
]


@pytest.mark.parametrize(('made', 'id_'), IDS)
def test_the_id_of_a_template(made: Job, id_: str) -> None:
    """`template-id`, or its `id` without {, } and blanks."""
    assert template_id(made.unit) == id_


@pytest.mark.parametrize('text', ['disk-read', 'org.x::disk-read'])
@pytest.mark.parametrize('kind', [pattern.glob, re.escape])
def test_all_of_a_template(text: str, kind: object) -> None:
    """Listing a template's id selects all that it makes."""
    made = pattern.glob(text) if kind is pattern.glob else pattern.regex(text)
    ours = template('{name}/read', template_id='disk-read')
    for each in ours, job('sda/read', 'org.x::disk-read'):
        assert made.matches(each)
        assert made.covers(each)
    for each in (
        template('{name}/read/', template_id='disk-write'),
        job('sda/read', 'org.x::disk-write'),
        job('sda/read'),
    ):
        assert not made.covers(each)
    assert not made.matches(job('sda/read', 'org.x::disk-write'))
    assert not pattern.of_plan('disk-read', '', 'other').matches(ours)
    assert pattern.of_plan('disk-read', '', 'org.x').matches(ours)
