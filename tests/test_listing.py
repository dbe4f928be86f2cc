# SPDX-License-Identifier: ISC
"""plainbox list and show: columns that fit, filters, JSON; plainbox(1)."""

import json
import re
from collections.abc import Iterator

import pytest
from house import PROVIDERS, House
from launching import digests, events
from running import plainbox
from terminal import on_a_terminal

LONG = 'a summary that goes on and on, in order to be too long for any terminal that '
LONG += 'is not as wide as those of people who never had to look for the end of it, so'
WIDE = '漢字' * 30
UNITS = f"""
id: short
command: true
_summary: {LONG}

id: wide
user: root
flags: noreturn, simple, odd
_summary: {WIDE}
command: true
timeout: 1h 2m 3.5s

id: session
context: user-session
plugin: user-verify
command: true
estimated_duration: 10

id: quiet
plugin: manual
_purpose: One
 two
_steps:
 1. {LONG}
 .
   $ a command
depends: short, other.space::job
after: wide
before: quieter
requires:
 thing.kind == 'A'
 thing.size in ['1']
_description:
 First line
 .
 last line

id: quieter
plugin: resource
command: printf 'a: b\\n'
timeout: 0

id: makes
plugin: local
command: printf 'id: made\\nplugin: attachment\\ncommand: echo\\n'

id: odd-times
plugin: shell
estimated_duration: soon
command: true

unit: test plan
id: plan-one
_name: {LONG}
include: short

unit: test plan
id: plan-two
_name: Two
include: wide
"""
NAMESPACE = '2026.plainbox.house'
OURS = f'{NAMESPACE}::*'
HASH = digests(UNITS)
IDS = {'short', 'wide', 'session', 'quiet', 'quieter', 'makes', 'made', 'odd-times'}


def where(start: str) -> str:
    """The file and line of the record that starts so."""
    line = UNITS[: UNITS.index(f'\n{start}\n') + 1].count('\n') + 1
    return f'/usr/lib/house-listing/units/house.pxu:{line}'


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('listing', UNITS):
        yield


def on_screen(house: House, columns: int, *arguments: str) -> list[str]:
    with on_a_terminal(house, *arguments, columns=columns) as terminal:
        pass
    assert terminal.status == 0
    return terminal.seen.splitlines()


def listed(house: House, *arguments: str) -> set[str]:
    ran = plainbox(house, 'list', *arguments, OURS)
    assert (ran.status, ran.errors) == (0, '')
    return {line.split()[0] for line in ran.lines}


# Columns


def test_columns_on_a_terminal(house: House) -> None:
    """A head, and summaries cut at its width, of whatever script they are."""
    head, *rows = on_screen(house, 60, 'list', OURS)
    assert head == 'JOB        USER          PLUGIN       SUMMARY'
    places = [head.index(word) for word in head.split()]
    by_id = {row.split()[0]: row for row in rows}
    assert by_id.keys() == IDS
    short = by_id['short']
    assert len(short) <= 60
    assert short.endswith('…')
    assert LONG.startswith(short[places[3] : -1].rstrip())
    wide = by_id['wide'][places[3] :]
    assert re.fullmatch('(漢字)*漢?…', wide)
    assert 59 <= places[3] + 2 * len(wide) - 1 <= 60
    assert by_id['session'][places[1] :].split() == ['user-session', 'user-verify', '-']


def test_a_wide_terminal(house: House) -> None:
    """All of a summary, where there is room for it."""
    rows = on_screen(house, 200, 'list', OURS)
    assert any(row.endswith(f'  {LONG}') for row in rows)
    assert any(row.endswith(f'  {WIDE}') for row in rows)
    assert all(len(row) < 200 for row in rows)


def test_a_narrow_terminal(house: House) -> None:
    """Ids are never cut: where they leave no room, the rest has its own line."""
    rows = on_screen(house, 45, 'list', OURS)
    assert rows[::2] == [row for row in rows if not row.startswith(' ')]
    assert {*rows[::2]} == IDS
    short = rows[rows.index('short') + 1]
    assert re.fullmatch(r'  -  +-  +a summary.*…', short)
    assert max(map(len, rows)) <= 45


def test_no_terminal(house: House) -> None:
    """Full lines and no head, for programs, however wide the terminal is said to be."""
    ran = plainbox(house, 'list', OURS, env={'PATH': '/usr/bin', 'COLUMNS': '60'})
    assert len(ran.lines) == len(IDS)
    assert any(line.endswith(f'  {LONG}') for line in ran.lines)
    assert '…' not in ran.text


# Filters


def test_root(house: House) -> None:
    """Only jobs of root, another user, or another session."""
    assert listed(house, '--root') == {'wide', 'session'}
    assert listed(house) == IDS


def test_plugins(house: House) -> None:
    assert listed(house, '--plugin', 'manual') == {'quiet'}
    both = ['--plugin', 'manual', '--plugin', 'attachment']
    assert listed(house, *both) == {'quiet', 'made'}
    assert listed(house, '--root', '--plugin', 'shell') == {'wide'}
    assert events(house) == []


@pytest.mark.parametrize('more', [[], ['--json']])
def test_a_filter_that_leaves_nothing(house: House, more: list[str]) -> None:
    """Nothing is selected: exit 4, a clear sentence, and what may have been meant."""
    filters = ['--root', '--plugin', 'manul']
    ran = plainbox(house, 'list', *more, *filters, OURS)
    assert (ran.status, ran.text) == (4, '')
    fact = f'no job matches {OURS} and --root --plugin manul; is it manual?'
    assert ran.errors.startswith(f'plainbox: PBL-NO-MATCH: {fact} (')


def test_no_job_at_all(house: House) -> None:
    """It is said, in a sentence."""
    system = house.path(PROVIDERS).glob('*.provider')
    names = [path.name for path in system]
    assert len(names) == 2
    house.check('sh', '-c', f'mkdir /tmp/away; mv {PROVIDERS}/*.provider /tmp/away')
    try:
        ran = plainbox(house, 'list')
        plans = plainbox(house, 'list', '--plans')
    finally:
        house.check('sh', '-c', f'mv /tmp/away/* {PROVIDERS}; rmdir /tmp/away')
    assert (ran.status, ran.text) == (4, '')
    fact = 'PBL-NO-JOBS: there is no job: no provider has one'
    assert ran.errors.startswith(f'plainbox: {fact} (')
    assert plans.status == 4
    assert 'PBL-NO-PLAN: there is no test plan: no provider has one (' in plans.errors


# JSON


def in_json(house: House, *arguments: str) -> dict[str, dict[str, object]]:
    ran = plainbox(house, *arguments, '--json')
    assert (ran.status, ran.errors, ran.text.isascii()) == (0, '', True)
    return {
        job['id'].removeprefix(f'{NAMESPACE}::'): job for job in json.loads(ran.text)
    }


def test_list_json(house: House) -> None:
    found = in_json(house, 'list', OURS)
    assert found.keys() == IDS
    assert found['wide'] == {
        'id': f'{NAMESPACE}::wide',
        'hash': HASH['wide'],
        'via': None,
        'unit': 'job',
        'template': None,
        'user': 'root',
        'context': None,
        'plugin': 'shell',
        'summary': WIDE,
        'flags': ['noreturn', 'odd', 'simple'],
        'estimated_duration': None,
        'time_limit': 3723.5,
        'provider': f'{NAMESPACE}:listing',
        'where': where('id: wide'),
        'installed': True,
    }
    assert found['made']['via'] == HASH['makes']
    session = found['session']
    assert (session['user'], session['context']) == (None, 'user-session')
    assert (session['estimated_duration'], session['time_limit']) == (10, 100)
    for id_ in 'quiet', 'quieter', 'odd-times':  # no command, no limit, no number
        assert found[id_]['time_limit'] is None
    assert found['short']['time_limit'] == 60


def test_show_json(house: House) -> None:
    """The same of each, what it depends on, and all its fields as they are written."""
    found = in_json(house, 'show', 'quiet', 'short')
    assert list(found) == ['quiet', 'short']
    quiet = found['quiet']
    assert quiet['depends'] == [f'{NAMESPACE}::short', 'other.space::job']
    assert quiet['after'] == [f'{NAMESPACE}::wide']
    assert quiet['before'] == [f'{NAMESPACE}::quieter']
    assert quiet['requires'] == ["thing.kind == 'A'", "thing.size in ['1']"]
    assert digests(record(quiet)) == {'quiet': HASH['quiet']}
    listed = in_json(house, 'list', OURS)['quiet']
    assert {name: quiet[name] for name in listed} == listed


def record(job: dict[str, object]) -> str:
    """The record again, from its fields."""
    fields = job['fields']
    assert isinstance(fields, dict)
    return ''.join(
        f'{name}:\n' + ''.join(f' {line or "."}\n' for line in value.split('\n'))
        for name, value in fields.items()
    )


# One job


def test_show(house: House) -> None:
    """What its fields mean together, and then the fields as they are written."""
    ran = plainbox(house, 'show', 'quiet')
    assert ran.lines[:11] == [
        f'id:         {NAMESPACE}::quiet',
        f'hash:       {HASH["quiet"]}',
        f'defined in: {where("id: quiet")}',
        'runs:       not by itself, a person does it',
        f'depends on: {NAMESPACE}::short',
        '            other.space::job',
        f'after:      {NAMESPACE}::wide',
        f'before:     {NAMESPACE}::quieter',
        "requires:   thing.kind == 'A'",
        "            thing.size in ['1']",
        '',
    ]
    written = UNITS.partition('id: quiet\n')[2].partition('\n\n')[0]
    written = written.replace('_purpose: One\n', '_purpose:\n One\n')
    assert '\n'.join(ran.lines[11:]) == f'id: quiet\n{written}'


@pytest.mark.parametrize(
    ('job', 'lines'),
    [
        (
            'wide',
            """\
time limit: 1h 2m 3.5s
flags:      noreturn: it restarts the machine or powers it off
            odd
            simple: a shell job, if it says nothing else
""",
        ),
        ('session', 'time limit: 1m 40s, unless --job-timeout says otherwise\n\n'),
        ('quieter', 'time limit: none\n\n'),
        (
            'odd-times',
            f'time limit: {where("id: odd-times")}: no duration: soon\n\n',
        ),
    ],
)
def test_time_limit_and_flags(house: House, job: str, lines: str) -> None:
    assert f'\n{lines}' in plainbox(house, 'show', job).text


def test_show_several(house: House) -> None:
    """In the order in which they were named, with an empty line between them."""
    ran = plainbox(house, 'show', 'wide', 'qui*')
    texts = [plainbox(house, 'show', id_).text for id_ in ('wide', 'quiet', 'quieter')]
    assert ran.text == '\n'.join(texts)


def test_show_on_a_terminal(house: House) -> None:
    """Texts for people are filled, and steps stay steps."""
    lines = on_screen(house, 60, 'show', 'quiet')
    start = lines.index('_steps:')
    assert '_purpose: One two' in lines
    assert lines[start + 1].startswith(' 1. a summary that goes on')
    assert lines[start + 2].startswith('    ')
    assert '   $ a command' in lines[start:]
    described = lines.index('_description:')
    assert lines[described : described + 4] == [
        '_description:',
        ' First line',
        '',
        ' last line',
    ]
    assert max(len(line) for line in lines[4:]) <= 60


# Test plans


def test_plans(house: House) -> None:
    ran = plainbox(house, 'list', '--plans', OURS)
    assert (ran.status, ran.lines) == (0, [f'plan-one  {LONG}', 'plan-two  Two'])
    assert plainbox(house, 'list', '--plans', '*-two').lines == ['plan-two  Two']
    head, first, second = on_screen(house, 60, 'list', '--plans', OURS)
    assert (head, second) == ('TEST PLAN  NAME', 'plan-two   Two')
    assert (len(first), first[-1]) == (60, '…')


def test_plans_with_one_short_id(house: House) -> None:
    """Where several have the same short id, their full ids; also if one is shown."""
    units = 'unit: test plan\nid: plan-two\nname: Too'
    with house.provider('other', units, namespace='2026.other.house'):
        ran = plainbox(house, 'list', '--plans', '*plan-*')
        one = plainbox(house, 'list', '--plans', f'{NAMESPACE}::plan-two')
    full = [line.split()[0] for line in ran.lines if 'plan-two' in line]
    assert sorted(full) == sorted(
        [f'{NAMESPACE}::plan-two', '2026.other.house::plan-two']
    )
    assert [line.split()[0] for line in ran.lines if 'plan-one' in line] == ['plan-one']
    assert one.lines == [f'{NAMESPACE}::plan-two  Two']


def test_plans_in_json(house: House) -> None:
    ran = plainbox(house, 'list', '--plans', '--json', '*::plan-two')
    assert json.loads(ran.text) == [
        {
            'id': f'{NAMESPACE}::plan-two',
            'name': 'Two',
            'where': where('unit: test plan\nid: plan-two'),
        }
    ]


def test_no_such_plan(house: House) -> None:
    ran = plainbox(house, 'list', '--plans', 'nope')
    assert (ran.status, ran.text) == (4, '')
    assert ran.errors.startswith('plainbox: PBL-NO-PLAN: no test plan matches nope (')


def test_plans_have_no_filters(house: House) -> None:
    ran = plainbox(house, 'list', '--plans', '--root')
    assert (ran.status, ran.text) == (2, '')
