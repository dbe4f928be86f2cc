# SPDX-License-Identifier: ISC
"""The further jobs that a job stands for: plainbox-job(5), Siblings."""

import json
from collections.abc import Iterator

import pytest
from house import House
from hypothesis import example, given
from hypothesis import strategies as st
from launching import refused
from probe import checksum, text

from plainbox_launcher.trusted import library, siblings, template, unit
from plainbox_launcher.trusted.errors import Fault
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

HERE = '2026.org.example'
NOWHERE = Provider(f'{HERE}:p', HERE, '', *[''] * 7)
SUSPEND = 'com.canonical.certification::suspend/suspend_advanced'

Fields = dict[str, str]


def unit_of(fields: Fields) -> Unit:
    return Unit(fields, NOWHERE, 'x.pxu:1')


def further(fields: Fields) -> list[Fields]:
    """The fields of the further jobs, none of which is at fault."""
    faults: list[Fault] = []
    made = siblings.of(unit_of(fields), faults)
    assert faults == []
    assert {(each.provider, each.where) for each in made} <= {(NOWHERE, 'x.pxu:1')}
    return [dict(each.fields) for each in made]


# siblings


def test_fields_that_differ() -> None:
    """Each object makes one further job, of the job's fields and its own in their
    place."""
    job = {'id': 'a', 'user': 'root', 'command': 'echo a', 'flags': 'simple'}
    listed = [{'id': 'b', 'command': 'echo b'}, {'id': 'o::c', 'depends': 'a b'}]
    assert further({**job, 'siblings': json.dumps(listed)}) == [
        {**job, 'id': 'b', 'command': 'echo b'},
        {**job, 'id': 'o::c', 'depends': 'a b'},
    ]


def test_the_hash_is_that_of_the_job_written_out() -> None:
    job = {'id': 'a', 'command': 'echo a'}
    listed = '[{"id": "b", "user": "root"}]'
    (made,) = siblings.of(unit_of({**job, 'siblings': listed}), [])
    assert made.checksum == unit.checksum({**job, 'id': 'b', 'user': 'root'})
    # What else stands in the list is nothing to it.
    longer = f'[{{"id": "c"}}, {listed[1:]}'
    others = siblings.of(unit_of({**job, 'siblings': longer}), [])
    assert others[1].checksum == made.checksum


@pytest.mark.parametrize('written', ['summary', '_summary'])
@pytest.mark.parametrize('other', ['summary', '_summary'])
def test_a_field_however_it_is_written(written: str, other: str) -> None:
    """A field with text for people may start with an underscore."""
    job = {'id': 'a', written: 'old'}
    listed = json.dumps([{'id': 'b', other: 'new'}])
    assert further({**job, 'siblings': listed}) == [{'id': 'b', other: 'new'}]


@pytest.mark.parametrize('name', ['siblings', '_siblings'])
def test_no_job_has_itself_for_a_sibling(name: str) -> None:
    """A further job has no further ones, whatever it says."""
    again = json.dumps([{'id': 'c'}])
    listed = json.dumps([{'id': 'b', 'siblings': again, 'flags': AUTO}])
    (fields,) = further({'id': 'a', name: listed})
    assert fields == {'id': 'b'}
    assert further(fields) == []


MALFORMED = [
    'x',
    '{',
    '{}',
    '{"id": "b"}',
    'null',
    '"b"',
    '["b"]',
    '[["id", "b"]]',
    '[{}]',
    '[{"command": "x"}]',
    '[{"id": 1}]',
    '[{"id": null}]',
    '[{"id": ["b"]}]',
    '[{"id": "b", "command": {"x": "y"}}]',
    '[{"id": "b", "estimated_duration": 5}]',
    '[{"id": "b", "id": "c"}]',
    '[{"id": "b", "": "x"}]',
    '[{"id": "b", "user ": "x"}]',
    '[{"id": "b", "a\\nuser": "x"}]',
    '[{"id": "b", "command": "x\\u0000y"}]',
    '[{"id": "b", "command": "\\ud800"}]',
    '[{"id": "b"}] trailing',
    '[{"id": "b"},]',
    "[{'id': 'b'}]",
    '[{{"id": "b"}}]',
    '[' * 100_000,
    '[' + '9' * 5000 + ']',
    'NaN',
]


@pytest.mark.parametrize('listed', MALFORMED, ids=range(len(MALFORMED)))
def test_malformed(listed: str) -> None:
    """A fault with file and line; the job itself lives on, and after a suspend too."""
    faults: list[Fault] = []
    job = unit_of({'id': 'a', 'siblings': listed, 'flags': AUTO})
    made = siblings.of(job, faults)
    assert [each.id for each in made] == [f'{HERE}::after-suspend-a']
    fact = 'siblings is no JSON list of objects, each with an id, all of text'
    assert [(each.where, each.fact) for each in faults] == [('x.pxu:1', fact)]


@pytest.mark.parametrize(
    ('listed', 'twice', 'left'),
    [
        ([{'id': 'a'}], 'a', []),
        ([{'id': f'{HERE}::a'}], 'a', []),
        ([{'id': 'b'}, {'id': 'b', 'user': 'root'}, {'id': 'c'}], 'b', ['b', 'c']),
        ([{'id': 'b'}, {'id': f'{HERE}::b'}], 'b', ['b']),
    ],
)
def test_two_of_one_id(listed: list[Fields], twice: str, left: list[str]) -> None:
    """The first of them counts, and that is the job itself."""
    faults: list[Fault] = []
    made = siblings.of(unit_of({'id': 'a', 'siblings': json.dumps(listed)}), faults)
    assert [each.id for each in made] == [f'{HERE}::{id_}' for id_ in left]
    assert [each.fact for each in faults] == [f'has {HERE}::{twice} twice, by siblings']


def test_too_many() -> None:
    faults: list[Fault] = []
    for number in 100, 101:
        listed = json.dumps([{'id': f'b{n}'} for n in range(number)])
        made = siblings.of(unit_of({'id': 'a', 'siblings': listed}), faults)
        assert len(made) == (100 if number == 100 else 0)
    assert [each.fact for each in faults] == ['has more than 100 siblings']


json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).map(json.dumps)


@given(st.text() | json_text, st.text())
@example('[{"id": "b", "flags": "\x85"}]', 'also-after-suspend\x85')
def test_any_text_makes_jobs_or_a_fault(listed: str, flags: str) -> None:
    faults: list[Fault] = []
    job = unit_of({'id': 'a', 'siblings': listed, 'flags': flags})
    for made in siblings.of(job, faults):
        assert siblings.of(made, faults) == []
        assert len(made.checksum) == 64
    assert len(faults) <= 1


# Jobs after a suspend

AUTO, BY_HAND = 'also-after-suspend', 'also-after-suspend-manual'


@pytest.mark.parametrize(
    ('flags', 'left', 'ids'),
    [
        (AUTO, None, ['after-suspend-a']),
        (BY_HAND, None, ['after-suspend-manual-a']),
        (f'{AUTO} {BY_HAND}', None, ['after-suspend-a', 'after-suspend-manual-a']),
        (f'simple, {AUTO}\n,noreturn', 'simple noreturn', ['after-suspend-a']),
        ('simple', 'simple', []),
        ('not-also-after-suspend', 'x', []),
        ('', '', []),
    ],
)
def test_after_suspend(flags: str, left: str | None, ids: list[str]) -> None:
    """The same job once more, without the flag."""
    made = further({'id': 'a', 'command': 'x', 'flags': flags})
    assert [fields['id'] for fields in made] == ids
    for fields in made:
        assert (fields['command'], fields.get('flags')) == ('x', left)
        assert further(fields) == []


@pytest.mark.parametrize(
    ('job', 'id_', 'depends'),
    [
        ({'id': 'a'}, 'after-suspend-a', f'a {SUSPEND}_auto'),
        ({'id': 'a', 'depends': 'b c'}, 'after-suspend-a', f'b c a {SUSPEND}_auto'),
        ({'id': 'o::a'}, 'o::after-suspend-a', f'o::a {SUSPEND}_auto'),
        ({'id': 'a', 'flags': BY_HAND}, 'after-suspend-manual-a', f'a {SUSPEND}'),
    ],
)
def test_what_it_depends_on(job: Fields, id_: str, depends: str) -> None:
    """On the job itself, on what that depends on, and on the one that suspends."""
    (fields,) = further({'flags': AUTO, **job})
    assert fields == {'id': id_, 'depends': depends}


def test_of_an_old_job() -> None:
    """Very old files say `name` instead of `id`."""
    (fields,) = further({'name': 'a', 'flags': AUTO})
    assert unit_of(fields).id == f'{HERE}::after-suspend-a'
    assert fields['depends'].split()[0] == 'a'


@pytest.mark.parametrize('kind', ['test plan', 'category', 'file'])
def test_only_of_jobs_and_templates(kind: str) -> None:
    assert further({'unit': kind, 'id': 'a', 'flags': AUTO, 'siblings': 'x'}) == []
    assert further({'flags': AUTO}) == []  # nor of what has no id


# Templates

TEMPLATE = {
    'unit': 'template',
    'template-resource': 'dev',
    'template-id': 'all',
    'id': 't/{name}',
    'command': 'echo {{}} {name}',
}


def instances(source: Unit, *names: str) -> list[Unit]:
    made, faults = template.instances(source, [{'name': name} for name in names])
    assert faults == []
    return made


def test_the_sibling_of_a_template_is_a_template() -> None:
    """With the same template-id, so that a plan that names it means both."""
    source = unit_of({**TEMPLATE, 'flags': AUTO})
    (second,) = siblings.of(source, [])
    assert second.fields == {
        **TEMPLATE,
        'id': 'after-suspend-t/{name}',
        'depends': f't/{{name}} {SUSPEND}_auto',
    }
    (job,) = instances(second, 'sda')
    assert job.fields == {
        'id': 'after-suspend-t/sda',
        'command': 'echo {} sda',
        'depends': f't/sda {SUSPEND}_auto',
    }
    assert [each.id for each in instances(source, 'sda')] == [f'{HERE}::t/sda']


def test_braces_of_a_template_are_written_twice() -> None:
    """As in all its fields; so the template itself has a sound field, too."""
    listed = '[{{"id": "s/{name}", "command": "echo {{{{}}}} of {name}"}}]'
    source = unit_of({**TEMPLATE, 'siblings': listed})
    (second,) = siblings.of(source, [])
    (first,), (job,) = instances(source, 'a'), instances(second, 'a')
    assert first.get('command') == 'echo {} a'
    assert (job.get('id'), job.get('command')) == ('s/a', 'echo {} of a')


@pytest.mark.parametrize(
    'name', ['", "user": "root', '"}, {"id": "y', '\\', '{{', '{name}', '\n']
)
def test_a_record_writes_no_sibling(name: str) -> None:
    """They are read before any record's value comes in."""
    listed = '[{{"id": "s/{name}"}}]'
    (second,) = siblings.of(unit_of({**TEMPLATE, 'siblings': listed}), [])
    (job,) = instances(second, name)
    assert job.fields == {'id': f's/{name}', 'command': f'echo {{}} {name}'}
    assert siblings.of(job, []) == []


# What root knows

JOB = {
    'id': 'job',
    'user': 'root',
    'flags': AUTO,
    'command': 'echo ran',
    'siblings': '[{"id": "by-hand", "command": "echo by hand"}]',
}
BAD = {'id': 'bad', 'user': 'root', 'command': 'echo bad ran', 'siblings': '[{]'}
PRINTED = {'id': 'printed', 'user': 'root', 'command': 'echo ran', 'flags': AUTO}
LOCAL = {
    'id': 'local',
    'plugin': 'local',
    'command': 'cat << "EOF"\n' + text(PRINTED) + 'EOF',
}


@pytest.fixture
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('siblings', text(JOB, BAD, LOCAL)):
        yield


@pytest.mark.usefixtures('_installed')
@pytest.mark.canary('library.py', 'yield from siblings.of(unit, faults)', 'pass')
def test_root_knows_them(house: House) -> None:
    """By the hash of the record that they stand for."""
    plain = {'user': 'root', 'command': 'echo ran'}
    after = {**plain, 'id': 'after-suspend-job', 'depends': f'job {SUSPEND}_auto'}
    by_hand = {**plain, 'id': 'by-hand', 'command': 'echo by hand'}
    said = [house.pkexec('--hash', checksum(each)) for each in (JOB, after, by_hand)]
    assert [each.stdout for each in said] == [b'ran\n', b'ran\n', b'by hand\n']


@pytest.mark.usefixtures('_installed')
def test_a_job_with_malformed_siblings_lives_on(house: House) -> None:
    assert house.pkexec('--hash', checksum(BAD)).stdout == b'bad ran\n'
    done = house.pkexec('--hash', '0' * 64)
    assert refused(done, 'PBL-NO-JOB')
    assert b'house.pxu:' in done.stderr
    assert b': siblings is no JSON list of objects, ' in done.stderr


@pytest.mark.usefixtures('_installed')
def test_what_a_local_job_prints_has_none(house: House) -> None:
    via = ('--via', checksum(LOCAL))
    assert house.pkexec('--hash', checksum(PRINTED), *via).stdout == b'ran\n'
    second = {key: value for key, value in PRINTED.items() if key != 'flags'}
    second |= {'id': 'after-suspend-printed', 'depends': f'printed {SUSPEND}_auto'}
    done = house.pkexec('--hash', checksum(second), *via)
    assert refused(done, 'PBL-NOT-GENERATED')


def test_runner_and_launcher_read_them_alike() -> None:
    """library.load is the one reader of both; so is this of its records."""
    source = text(JOB, BAD).encode()
    faults: list[Fault] = []
    found = [*library.units_of(source, 'x.pxu', NOWHERE, faults)]
    ids = [each.fields['id'] for each in found]
    assert ids == ['job', 'by-hand', 'after-suspend-job', 'bad']
    assert [each.where for each in faults] == [found[-1].where]
