# SPDX-License-Identifier: ISC
"""A unit as the job format says it, and its hash."""

import base64
import json
import string
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plainbox_launcher.trusted import expression, unit
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

VECTORS = json.loads(Path(__file__).with_name('vectors.json').read_text())
NOWHERE = Provider('2026.org.example:p', '2026.org.example', '', *[''] * 7)

Fields = dict[str, str]


def made(fields: Fields) -> Unit:
    return Unit(MappingProxyType(fields), NOWHERE, 'x.pxu:1')


# The hash


@given(st.dictionaries(st.text(), st.text() | st.integers()))
@example({'é': '\U0001f600', 'e': '\U0010ffff\uffff', '': '', '\x7f': '\x80'})
@example({'__index__': 10, '_': '"\\/\b\f\n\r\t\x00\x1f\x7f'})
def test_the_canonical_form_is_jsons(fields: dict[str, str | int]) -> None:
    """As Python's json.dumps(dict(sorted(fields.items())), separators=(',', ':'))
    writes it."""
    as_json = json.dumps(dict(sorted(fields.items())), separators=(',', ':'))
    assert unit.canonical(fields).decode('ascii') == as_json


def test_the_canonical_form_of_each_character_is_jsons() -> None:
    # A surrogate is no character, and not in UTF-8.
    codes = (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    fields = {'key': ''.join(map(chr, codes))}
    as_json = json.dumps(fields, separators=(',', ':'))
    assert unit.canonical(fields).decode('ascii') == as_json


def test_all_fields_count_also_those_nobody_knows() -> None:
    fields = {'id': 'a', 'command': 'true', 'X-nobody': ''}
    hashes = {unit.checksum({**fields, name: 'other'}) for name in fields}
    hashes |= {unit.checksum({**fields, name: 'other'}) for name in ('new', '_id')}
    assert len(hashes | {unit.checksum(fields)}) == 6


# Templates


def instances(vector: dict[str, Any]) -> Iterator[tuple[dict[str, str | int], Fields]]:
    """For each accepted record what names the fields use, and the fields themselves.

    Written here once more, from the job format.
    """
    template: Fields = vector['template']
    fields = {k: v for k, v in template.items() if not k.startswith('template-')}
    pieces = [
        piece for text in fields.values() for piece in string.Formatter().parse(text)
    ]
    used = {name for _, name, _, _ in pieces if name}
    number = 0
    for record in vector['resources']:
        condition = template.get('template-filter', 'True')
        resource = {template['template-resource']: [record]}
        if expression.holds(expression.parse(condition), resource):
            number += 1
            values = {**record, '__index__': number}
            needed = {name: values[name] for name in (*used, '__index__')}
            unit_fields = {k: v.format(**values) for k, v in fields.items()}
            yield needed, unit_fields


@pytest.mark.parametrize(
    'vector', VECTORS['templates'], ids=lambda vector: vector['name']
)
def test_the_hash_of_what_a_template_makes(vector: dict[str, Any]) -> None:
    """Canonical form of the template's fields without those starting `template-`, but
    with `template-engine` and `unit`, values uninstantiated; followed by that of the
    parameters: only those names that the fields really use, plus `__index__`."""
    template = vector['template']
    assert unit.checksum(template) == vector['template_checksum']
    found = [
        {
            'id': fields['id'],
            'command': fields['command'],
            'checksum': unit.instance_checksum(template, parameters),
        }
        for parameters, fields in instances(vector)
    ]
    assert found == vector['units']


def test_what_is_said_of_a_template_counts() -> None:
    template = {'unit': 'template', 'id': 'x{y}', 'template-resource': 'r'}
    parameters: dict[str, str | int] = {'y': '1', '__index__': 1}
    hash_of = unit.instance_checksum
    plain = hash_of(template, parameters)
    assert hash_of({**template, 'template-engine': 'default'}, parameters) == plain
    assert hash_of({**template, 'template-unit': 'job'}, parameters) == plain
    assert hash_of({**template, 'template-resource': 's'}, parameters) == plain
    others = [
        hash_of({**template, 'template-engine': 'jinja2'}, parameters),
        hash_of({**template, 'template-unit': 'file'}, parameters),
        hash_of(template, {**parameters, '__index__': 2}),
        hash_of(template, {**parameters, '__index__': '1'}),  # a number, not a text
    ]
    assert len({plain, *others}) == 5


# Fields


def test_a_field_plain_or_translatable_the_plain_one_first() -> None:
    both = made({'_summary': 'Hello', 'summary': 'Bye', '_description': 'Long'})
    assert both.get('summary') == 'Bye'
    assert both.get('description') == 'Long'
    assert both.get('purpose') == ''


@pytest.mark.parametrize(
    ('fields', 'full'),
    [
        ({'id': 'a'}, '2026.org.example::a'),
        ({'id': 'a/b:c'}, '2026.org.example::a/b:c'),
        ({'id': '2013.com.other::a'}, '2013.com.other::a'),
        ({'name': 'a'}, '2026.org.example::a'),
        ({'name': 'old', 'id': 'new'}, '2026.org.example::new'),
        ({}, ''),
    ],
)
def test_the_full_id(fields: Fields, full: str) -> None:
    """namespace::id; an id that holds `::` is full already. Very old files say
    `name`."""
    assert made(fields).id == full


@pytest.mark.parametrize(
    ('id_', 'full'),
    [
        ('a', '2026.org.example::a'),
        ('a/b:c', '2026.org.example::a/b:c'),
        ('2013.com.other::a', '2013.com.other::a'),
    ],
)
def test_ids_that_are_named_in_fields(id_: str, full: str) -> None:
    """A short id is one of the same namespace."""
    assert made({'id': 'x'}).full(id_) == full


@pytest.mark.parametrize('field', ['imports', 'template-imports'])
def test_names_of_resources(field: str) -> None:
    """`from NAMESPACE import ID as NAME`, for resources of other namespaces."""
    text = (
        'from a.b import c as d\nfrom a.b import e\nimport f\n from g  import  h/i as j'
    )
    names = ('d', 'c', 'e', 'f', 'j', 'a.b::x')
    here = '2026.org.example'
    assert [made({field: text}).resource(name) for name in names] == [
        *('a.b::c', f'{here}::c', 'a.b::e', f'{here}::f', 'g::h/i', 'a.b::x'),
    ]


def test_a_record_without_a_kind_is_a_job() -> None:
    assert made({'id': 'a'}).kind == 'job'
    assert made({'id': 'a', 'unit': 'template'}).kind == 'template'


@pytest.mark.parametrize(
    ('fields', 'plugin'),
    [
        ({'plugin': 'local'}, 'local'),
        ({'flags': 'simple'}, 'shell'),
        ({'flags': 'also-after-suspend, simple', 'plugin': 'manual'}, 'manual'),
        ({'flags': 'preserve-cwd simple'}, 'shell'),
        ({'flags': 'not-simple'}, ''),
        ({}, ''),
    ],
)
def test_none_given_with_simple_means_shell(fields: Fields, plugin: str) -> None:
    assert made(fields).plugin == plugin


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ('', set()),
        (' , ,', set()),
        ('A', {'A'}),
        ('A B', {'A', 'B'}),
        ('A,B', {'A', 'B'}),
        ('A, B ,\n\tC', {'A', 'B', 'C'}),
        ('A;B', {'A;B'}),
        ('AB A', {'AB', 'A'}),
    ],
)
def test_names_separated_by_blanks_and_commas(text: str, names: set[str]) -> None:
    assert made({'environ': text}).environ == names
    assert made({'flags': text}).flags == names


def test_a_unit_of_a_template_has_a_hash_of_its_own() -> None:
    assert made({'id': 'a'})._replace(digest='0' * 64).checksum == '0' * 64


def test_the_checksum_of_a_unit_is_that_of_its_record() -> None:
    minimal = next(v for v in VECTORS['records'] if v['name'] == 'minimal')
    assert base64.b64decode(minimal['text_base64']).startswith(b'id: a\n')
    job = made({'id': 'a', 'plugin': 'shell', 'command': 'true'})
    assert [job.checksum] == minimal['checksums']
