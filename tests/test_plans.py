# SPDX-License-Identifier: ISC
"""Test plans, templates and dependencies, run for real; plainbox-testplan(5)."""

import re
from collections.abc import Iterator

import pytest
from house import House
from running import plainbox

UNITS = r"""
unit: test plan
id: all
_name: All there is
include:
 disk/.*
 of-kind  # the template
 last       certification-status=blocker
mandatory_include: first
nested_part:
 more
exclude:
 disk/secret

unit: test plan
id: more
include:
 needs-.*
 not-here
exclude: needs-nothing

id: first
command: echo first ran

id: last
before: disk/b
command: echo last ran

id: disk/b
command: echo disk/b ran

id: disk/a
after: disk/b
command: echo disk/a ran; exit 1

id: disk/secret
command: echo EVIL ran

id: needs-a
depends: disk/a
command: echo needs-a ran

id: needs-nothing
command: echo EVIL ran

id: needs-other
depends: other
requires: thing.kind == 'B' and int(thing.size) > 5
command: echo needs-other ran

id: needs-much
requires: thing.kind == 'A' and int(thing.size) > 5
command: echo needs-much ran

id: other
command: echo other ran

id: thing
plugin: resource
command: printf 'kind: A\nsize: 1\n\nkind: B\nsize: 10\n'

unit: template
id: of-{kind}
template-resource: thing
command: echo of {kind} ran

unit: template
id: jinja-{{ kind }}
template-engine: jinja2
template-resource: thing
command: echo of {{ kind }} ran

unit: template
id: none-{kind}
template-resource: thing
template-filter: thing.kind == 'C'
command: echo none ran

unit: template
id: broken-{kind
template-resource: thing
command: echo none ran

unit: template
id: of-broken-{kind}
template-resource: broken
command: echo none ran

id: broken
plugin: resource
command: echo this is no record

id: a-suspend
flags: also-after-suspend
command: echo $PLAINBOX_SESSION_SHARE > /dev/null; echo a-suspend ran

id: of-garbage
requires: broken.name == 'x'
command: echo none ran
"""


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('plans', UNITS):
        yield


def headings(text: str) -> list[str]:
    return re.findall(r'(?m)^\[[ \d]+/\d+\] (\S+)', text)


def test_a_plan(house: House) -> None:
    """Nested parts, templates and dependencies, in listed order as far as these allow;
    what is skipped says which expression failed, or which job."""
    ran = plainbox(house, 'run', '--plan', 'all')
    assert headings(ran.text) == [
        'first',
        'last',  # before disk/b
        'disk/b',
        'disk/a',  # after it
        'of-A',
        'of-B',
        'needs-a',
        'other',  # as needs-other depends on it
        'needs-other',
        'needs-much',
    ]
    assert ran.status == 1
    assert 'EVIL' not in ran.text
    assert 'skipped  needs-a: needs 2026.plainbox.house::disk/a to pass' in ran.lines
    unmet = "requires thing.kind == 'A' and int(thing.size) > 5"
    assert f'skipped  needs-much: {unmet}' in ran.lines
    assert ran.lines[-1] == '10 jobs: 7 passed, 1 failed, 2 skipped'
    assert 'house.pxu:1: no job matches not-here' not in ran.errors
    assert 'no job matches not-here' in ran.errors  # a warning, with file and line


def test_exclude(house: House) -> None:
    ran = plainbox(house, 'run', '--plan', 'all', 'other', '--exclude', 'd*')
    assert not any(name.startswith('disk/b') for name in headings(ran.text))
    assert headings(ran.text)[0] == 'first'
    assert 'other' in headings(ran.text)


def test_regex(house: House) -> None:
    """--regex: regular expressions, of whole ids."""
    ran = plainbox(house, 'run', '--regex', 'needs-(much|other)', '(of-)[AB]')
    wanted = ['other', 'needs-other', 'needs-much', 'of-A', 'of-B']
    assert headings(ran.text) == wanted
    assert plainbox(house, 'run', '--regex', 'needs').status == 4
    wrong = plainbox(house, 'run', '--regex', '(')
    assert wrong.status == 3
    assert 'PBL-PATTERN: ( is no regular expression' in wrong.errors


def test_an_unknown_plan(house: House) -> None:
    ran = plainbox(house, 'run', '--plan', 'al')
    assert ran.status == 4
    assert 'PBL-NO-PLAN: no test plan is called al; is it all?' in ran.errors


@pytest.mark.parametrize(
    ('template', 'outcome'),
    [
        ('jinja-*', 'skipped  jinja-.*: its template-engine is jinja2, which is not'),
        ('none-*', 'skipped  none-.*: no record of 2026.plainbox.house::thing fits'),
        ('broken-*', r'failed  broken-.*house.pxu:\d+: field id has a brace'),
        ('of-broken-*', 'skipped  of-broken-.*: PBL-RESOURCE: output of .*::broken:1'),
        ('of-garbage', "skipped  of-garbage: requires broken.name == 'x', but PBL-RES"),
        ('broken', 'failed  broken: PBL-RESOURCE: output of .*::broken:1: is neither'),
    ],
)
def test_what_makes_no_job(house: House, template: str, outcome: str) -> None:
    """jinja2 templates are skipped with a reason; others say what is wrong."""
    ran = plainbox(house, 'run', template)
    assert re.search(f'(?m)^{outcome}', ran.text), ran.text + ran.errors
    assert 'none ran' not in ran.lines


def test_further_jobs(house: House) -> None:
    """also-after-suspend gives a further job, which has a hash of its own."""
    ran = plainbox(house, 'list', '*a-suspend*')
    assert [line.split()[0] for line in ran.lines] == [
        'a-suspend',
        'after-suspend-a-suspend',
    ]
    hashes = {
        line.split()[0]
        for line in plainbox(house, 'special', '-J').lines
        if line.endswith('a-suspend')
    }
    assert len(hashes) == 2
