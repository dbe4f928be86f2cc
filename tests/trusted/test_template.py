# SPDX-License-Identifier: ISC
"""What templates make of records: plainbox-job(5), Templates."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plainbox_launcher.trusted import template, unit
from plainbox_launcher.trusted.errors import Fault
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.template import instances
from plainbox_launcher.trusted.unit import Unit

VECTORS = json.loads(Path(__file__).with_name('vectors.json').read_text())
NOWHERE = Provider('2026.org.example:p', '2026.org.example', '', *[''] * 7)
DISKS = [
    {'name': 'sda', 'kind': 'DISK', 'size': '10'},
    {'name': 'eth0', 'kind': 'NETWORK'},
    {'name': 'sdb', 'kind': 'DISK', 'size': '200'},
]


def made_of(fields: dict[str, str]) -> Unit:
    """A template that is bound to `dev`."""
    base = {'unit': 'template', 'template-resource': 'dev', 'id': 'x-{__index__}'}
    return Unit({**base, **fields}, NOWHERE, 'x.pxu:1')


def commands(command: str, *records: dict[str, str], **fields: str) -> list[str]:
    made, faults = instances(made_of({'command': command, **fields}), records)
    assert faults == []
    return [unit.fields['command'] for unit in made]


def fault(fields: dict[str, str], *records: dict[str, str]) -> str:
    """Why a template makes nothing at all, in spite of a record."""
    made, (found,) = instances(made_of(fields), records or DISKS)
    assert (made, found.where) == ([], 'x.pxu:1')
    return found.fact


# What is made, and its hash


@pytest.mark.parametrize('vector', VECTORS['templates'], ids=lambda v: v['name'])
def test_units_are_plainboxs(vector: dict[str, Any]) -> None:
    """Id, command and hash of each unit are what PlainBox makes of the template."""
    source = Unit(vector['template'], NOWHERE, 'x.pxu:1')
    made, faults = instances(source, vector['resources'])
    found = [
        {'id': u.get('id'), 'command': u.get('command'), 'checksum': u.checksum}
        for u in made
    ]
    assert (found, faults) == (vector['units'], [])
    assert source.checksum == vector['template_checksum']


def test_a_job_has_the_fields_of_its_template() -> None:
    """Those that start with `template-` are the template's own."""
    source = made_of(
        {
            'template-unit': 'job',
            'template-engine': 'default',
            'template-id': 'x',
            'template-summary': 'many',
            'id': 'd/{name}',
            '_summary': 'Disk {name}',
            'user': 'root',
        }
    )
    (job,), _ = instances(source, DISKS[:1])
    assert job.fields == {'id': 'd/sda', '_summary': 'Disk sda', 'user': 'root'}
    assert (job.kind, job.id) == ('job', '2026.org.example::d/sda')
    assert (job.provider, job.where) == (NOWHERE, 'x.pxu:1')


def test_the_hash_hangs_on_what_is_used_only() -> None:
    """Of the record only those names that the fields really use, plus `__index__`."""

    def digests(*records: dict[str, str]) -> list[str]:
        made, _ = instances(made_of({'command': 'echo {name}'}), records)
        return [unit.checksum for unit in made]

    plain = digests({'name': 'a'}, {'name': 'a'})
    assert len({*plain}) == 2  # the second has another __index__
    assert digests({'name': 'a', 'more': 'x'}, {'more': 'y', 'name': 'a'}) == plain
    assert digests({'name': 'a', '__index__': '7'}, {'name': 'a'}) == plain
    assert not {*digests({'name': 'b'}, {'name': 'b'})} & {*plain}


# The filter


@pytest.mark.parametrize(
    ('lines', 'names'),
    [
        ('', ['1 sda', '2 eth0', '3 sdb']),
        ('\n \n', ['1 sda', '2 eth0', '3 sdb']),
        ("dev.kind == 'DISK'", ['1 sda', '2 sdb']),
        ("dev.kind == 'DISK'\nint(dev.size) > 10", ['1 sdb']),
        ("dev.kind == 'DISK'\n\n  dev.name == 'eth0'", []),
        ("dev.name in ['sdb', 'eth0']", ['1 eth0', '2 sdb']),
        ("dev.nope != 'x'", []),
        ('True', ['1 sda', '2 eth0', '3 sdb']),
        ('False', []),
        ('int(dev.name) > 0', []),
    ],
)
def test_the_filter(lines: str, names: list[str]) -> None:
    """A line holds for that single record; `__index__` counts those that pass."""
    fields = {'template-filter': lines}
    assert commands('{__index__} {name}', *DISKS, **fields) == names


@pytest.mark.parametrize(
    ('resource', 'imports', 'name', 'id_'),
    [
        ('dev', '', 'dev', '2026.org.example::dev'),
        ('dev', 'from a.b import c as dev', 'dev', 'a.b::c'),
        ('c', 'from a.b import c', 'c', 'a.b::c'),
        ('a.b::c', 'from a.b import c', 'c', 'a.b::c'),
        ('a.b::c', 'from a.b import c as d', 'd', 'a.b::c'),
        ('2026.org.example::dev', '', 'dev', '2026.org.example::dev'),
    ],
)
def test_the_resource(resource: str, imports: str, name: str, id_: str) -> None:
    """Short ids in the own namespace, or by `imports`; the filter calls it alike."""
    for field in 'imports', 'template-imports':
        fields = {'template-resource': resource, field: imports}
        accepting = {**fields, 'template-filter': f"{name}.name == 'sda'"}
        assert template.resource(made_of(fields)) == id_
        assert commands('{name}', *DISKS, **accepting) == ['sda']


def test_bound_to_nothing() -> None:
    assert template.resource(Unit({'unit': 'template'}, NOWHERE, '')) == ''


@pytest.mark.parametrize(
    ('lines', 'why'),
    [
        ("other.kind == 'DISK'", 'asks about other, which is not its resource'),
        ("dev.kind == 'DISK'\nother.a == dev.b", 'asks about other, which'),
        ("a.b.kind == 'x'", 'is malformed, it may not use a.b.kind: '),
        ("open('/etc/shadow')", "is malformed, it may not use open('/etc/shadow'): "),
        ('dev.kind ==', 'is malformed, it cannot be parsed: dev.kind =='),
        ('9' * 3000, f'is malformed, it is too long: {"9" * 80}'),
    ],
)
def test_what_is_no_filter(lines: str, why: str) -> None:
    """Names in a filter must mean the template's resource."""
    assert fault({'template-filter': lines}).startswith(f'template-filter {why}')


# Substitution


@pytest.mark.parametrize(
    ('text', 'result'),
    [
        ('', ''),
        ('no braces', 'no braces'),
        ('{name}', 'sda'),
        ('{name}{name}', 'sdasda'),
        ('{name}\n{size}', 'sda\n10'),
        ('{{name}}', '{name}'),
        ('{{{name}}}', '{sda}'),
        ('{{{{name}}}}', '{{name}}'),
        ('${{name}} {{ }} {{}}', '${name} { } {}'),
        ('%s %(name)s $name', '%s %(name)s $name'),
        ('{__index__}', '1'),
        ('{with-dash} {with space}', 'd s'),
    ],
)
def test_what_is_put_in(text: str, result: str) -> None:
    """`{name}` in any field; `{{` and `}}` escape."""
    record = {**DISKS[0], 'with-dash': 'd', 'with space': 's'}
    assert commands(text, record) == [result]


MALFORMED = """
{ } {} {name {name}} {{name} {{{name}} {a{name}} {0} {1} {00} {name.upper} {name[0]}
{name!r} {name!s:>9} {name:>9} {name:{size}} {.name} {[0]} {0.__class__}
{name.__class__.__mro__[1].__subclasses__} {__index__.real} {:} {!r} {name]}
"""


@pytest.mark.parametrize('text', MALFORMED.split())
@pytest.mark.parametrize('field', ['command', '_summary', 'user', 'x-nobody'])
def test_what_is_malformed(field: str, text: str) -> None:
    """Plain names only: an attribute, index, conversion or format is refused, by
    file, line and field."""
    found = fault({field: f'first\nsecond {text}\nlast'})
    assert found.startswith(f'field {field} has a brace that is no plain {{name}}: ')
    assert '\n' not in found


def test_a_name_that_only_some_records_have() -> None:
    """Such a record makes no job, and that is said; the others do."""
    source = made_of({'command': '{size} {name}', 'template-filter': ''})
    made, faults = instances(source, [*DISKS, {'size': '1'}, {}, {'size': '2'}])
    assert [unit.fields['command'] for unit in made] == ['10 sda', '200 sdb']
    assert [unit.fields['id'] for unit in made] == ['x-1', 'x-3']
    assert [each.fact for each in faults] == [
        'makes no job of 1 records without size',
        'makes no job of 3 records without name',
    ]


@pytest.mark.parametrize(
    ('fields', 'why'),
    [
        (
            {'template-engine': 'jinja2', 'command': '{{ name }} {% if x %}'},
            'is a template for another engine: jinja2',
        ),
        ({'template-engine': ''}, 'is a template for another engine: '),
        (
            {'template-unit': 'test plan'},
            'is a template for another kind of unit: test plan',
        ),
    ],
)
def test_what_is_not_ours(fields: dict[str, str], why: str) -> None:
    """No jobs, and a fault that says so."""
    assert fault(fields) == why


VALUES = [
    '{path}',
    '{{name}}',
    '{0.__class__.__mro__}',
    '{name',
    '}',
    '%s',
    '$(id) `id` ; rm -rf / & | > < \'"\\',
    'x\nuser: root\n\ncommand: id',
    '__index__',
    '\\1 \\g<1> \\n',
    '\x00\x1b[2J',
]


@pytest.mark.parametrize('value', VALUES)
def test_a_value_is_put_in_once(value: str) -> None:
    """Braces, references, blank lines: a value is text, in its place and no other."""
    record = {'name': value, 'path': '/dev/{name}', 'user': 'daemon'}
    fields = {'command': 'a {name} b {path} c', 'user': 'nobody'}
    (job,), faults = instances(made_of(fields), [record])
    assert job.fields == {
        'id': 'x-1',
        'command': f'a {value} b /dev/{{name}} c',
        'user': 'nobody',
    }
    assert faults == []


def test_no_two_records_have_one_hash() -> None:
    """What could be moved from one value, or from a field, to another."""
    source = made_of({'id': 'x', 'command': '{a} {b}'})
    values = ['', '"', '","b":"', 'x', '1', '{b}', '\\', '\\"']
    found = {
        unit.checksum
        for first in values
        for second in values
        for unit in instances(source, [{'a': first, 'b': second}])[0]
    }
    assert len(found) == len(values) ** 2
    written = made_of({'id': 'x', 'command': 'x 1'})
    assert instances(written, [{'a': 'x', 'b': '1'}])[0][0].checksum not in found


PIECES = ['{', '}', '{{', '}}', '{a}', '{b}', '{a.b}', '{a[0]}', '{a!r}', '{a:9}', '0']


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=2)).map(''.join), st.text())
@example('{a}}}', '{b}')
@example('{\u0663}', '')
@example('{a\n}', '')
def test_as_python_formats_it(text: str, value: str) -> None:
    """Python's format syntax with plain names only: the same text, or a fault."""
    record = {'a': value, 'b': '{a}', 'a\n': 'c', '0': 'd'}
    made, faults = instances(made_of({'command': text}), [record])
    try:
        parts = list(string.Formatter().parse(text))
        expected = text.format_map({**record, '__index__': 1})
    except (ValueError, AttributeError, IndexError, KeyError, TypeError):
        assert made == []
        return
    plain = all(p[1] is None or (p[1] in record and p[2:] == ('', None)) for p in parts)
    assert [u.fields['command'] for u in made] == ([expected] if plain else [])
    assert bool(faults) is not bool(made)


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_any_record_makes_a_job_or_a_fault(record: dict[str, str]) -> None:
    fields = {'template-filter': "dev.name != 'x' or True", 'command': '{name}'}
    made, faults = instances(made_of(fields), [record])
    assert len(made) + len(faults) == 1 or record.keys().isdisjoint({'name'})
    for job in made:
        assert job.fields == {'id': 'x-1', 'command': record['name']}


# How much


def test_too_many() -> None:
    """10,000 jobs of one template; what is more is not made, and that is said."""
    many = [{'n': str(n)} for n in range(template.MAX_INSTANCES + 1)]
    made, faults = instances(made_of({}), many[:-1])
    assert (len(made), faults) == (10_000, [])
    made, faults = instances(made_of({}), many)
    assert len(made) == 10_000
    assert [each.fact for each in faults] == [
        'makes too many jobs, or too large ones: some are missing'
    ]


def test_too_large() -> None:
    """16 Mi characters in all, however often a field uses a large value."""
    source = made_of({'command': '{n}' * 64})
    made, (told,) = instances(source, [{'n': 'x' * (64 << 10)}] * 9)
    assert len(made) == 3
    assert told.fact == 'makes too many jobs, or too large ones: some are missing'
    assert isinstance(told, Fault)


def test_the_records_are_left_as_they_were() -> None:
    before = json.dumps(DISKS)
    instances(made_of({'command': '{name} {__index__}'}), DISKS)
    assert json.dumps(DISKS) == before
    assert unit.checksum({'id': 'a'}) == unit.checksum({'id': 'a'})
