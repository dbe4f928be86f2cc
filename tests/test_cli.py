# SPDX-License-Identifier: ISC
"""plainbox(1): listings, wrong usage, and output that nobody reads."""

import re
from collections.abc import Iterator

import pytest
from house import CHECKOUT, PROVIDERS, House
from launching import events
from running import HASH, NAMESPACE, UNITS, Ran, plainbox, run

from plainbox_launcher import __version__

GENERATED = {'made', 'made-root'}


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('runner', UNITS):
        yield


# Listings


def test_special(house: House) -> None:
    """One line a job: hash, one space, full id; local jobs included."""
    ran = plainbox(house, 'special', '-J')
    assert (ran.status, ran.errors) == (0, '')
    pairs = [re.fullmatch('([0-9a-f]{64}) ([^ ]+::[^ ]+)', line) for line in ran.lines]
    assert all(pairs)
    found = {pair[2]: pair[1] for pair in pairs if pair}
    ours = {id_: hash_ for id_, hash_ in found.items() if id_.startswith(NAMESPACE)}
    jobs = HASH.keys() - {'of-{kind}'}
    assert ours == {f'{NAMESPACE}::{id_}': HASH[id_] for id_ in jobs}
    assert '2026.plainbox.launcher::smoke/root-account' in found
    assert plainbox(house, 'special', '--list-job-hashes').text == ran.text
    assert 'generate' not in events(house)


def test_list(house: House) -> None:
    ran = plainbox(house, 'list', f'{NAMESPACE}::*')
    assert (ran.status, ran.errors) == (0, '')
    rows = {line.split()[0]: line.split()[1:] for line in ran.lines}
    assert rows.keys() == (HASH.keys() - {'of-{kind}'}) | GENERATED | {'of-A', 'of-B'}
    assert rows['root'] == ['root', 'shell', 'Of', "root's"]
    assert rows['made-root'][0] == 'root'
    assert rows['own'][0] == '-'
    assert len(plainbox(house, 'list').lines) > len(ran.lines)


@pytest.mark.parametrize('command', ['list', 'show', 'run'])
def test_nothing_selected(house: House, command: str) -> None:
    """Exit 4, and what may have been meant."""
    ran = plainbox(house, command, 'root-fail')
    assert (ran.status, ran.text) == (4, '')
    fact = 'plainbox: PBL-NO-MATCH: no job matches root-fail; is it root-fails'
    assert ran.errors.startswith(fact)


def test_show(house: House) -> None:
    """Fields, hash, whether and as whom it would run."""
    ran = plainbox(house, 'show', 'root')
    assert (ran.status, ran.errors) == (0, '')
    assert ran.lines == [
        f'id:         {NAMESPACE}::root',
        f'hash:       {HASH["root"]}',
        'defined in: /usr/lib/house-runner/units/house.pxu:6',
        'runs:       as root, through pkexec and the trusted launcher',
        'time limit: 1m, unless --job-timeout says otherwise',
        '',
        'id: root',
        'plugin: shell',
        'user: root',
        "_summary: Of root's",
        '_description:',
        ' First line',
        ' .',
        ' last line',
        'command: echo root ran as $(id -un)',
    ]


@pytest.mark.parametrize(
    ('job', 'line'),
    [
        ('own', 'runs:       as you'),
        ('manual', 'runs:       not by itself, a person does it'),
        (
            'of-another',
            'runs:       as daemon, through pkexec and the trusted launcher',
        ),
        ('made-root', f'via:        {HASH["jobs"]} ({NAMESPACE}::jobs)'),
        ('made-root', 'runs:       as root, through pkexec and the trusted launcher'),
    ],
)
def test_how_a_job_runs(house: House, job: str, line: str) -> None:
    ran = plainbox(house, 'show', job)
    assert any(each.startswith(line) for each in ran.lines), ran.text


# Bad input, and no output


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['run'],
        ['nope'],
        ['special'],
        ['show'],
        ['run', '--nope', 'own'],
        ['run', 'own', '--provider'],
    ],
)
def test_wrong_usage(house: House, arguments: list[str]) -> None:
    ran = plainbox(house, *arguments)
    assert (ran.status, ran.text) == (2, '')
    assert ran.errors.startswith('usage: plainbox')


@pytest.mark.parametrize('command', ['run', 'submit'])
def test_nothing_to_run_is_named(house: House, command: str) -> None:
    """It is the command that says so, and how it is used."""
    ran = plainbox(house, command, '--regex')
    assert ran.errors.startswith(f'usage: plainbox {command} [-h] ')
    said = f'plainbox {command}: error: name a PATTERN, or a --plan\n'
    assert ran.errors.endswith(f'\n{said}')


def test_version(house: House) -> None:
    assert plainbox(house, '--version').text == f'{__version__}\n'


@pytest.mark.parametrize(
    ('script', 'status'),
    [
        ('plainbox list | head -n 1', 0),
        ('plainbox special -J | head -n 1', 0),
        ('plainbox run own fails | head -n 1', 3),
        ('plainbox list | true', 0),
        ('plainbox show own | true', 0),
        ('plainbox list > /dev/full', 3),
        ('plainbox run own > /dev/full', 3),
        ('plainbox list >&-', 0),
        ('plainbox run fails >&-', 1),
    ],
)
def test_output_that_goes_nowhere(house: House, script: str, status: int) -> None:
    """Never a traceback, and never a success of jobs that did not run."""
    command = ['bash', '-c', f'{script}; exit ${{PIPESTATUS[0]}}']
    ran = Ran(house.run(command))
    assert (ran.status, 'Traceback' in ran.errors) == (status, False), ran.errors
    assert 'Exception ignored' not in ran.errors


def test_a_fault_in_a_provider(house: House) -> None:
    """It is named, and everything else works."""
    with house.replaced(f'{PROVIDERS}/bad.provider', b'nonsense'):
        ran = run(house, 'own')
    assert ran.status == 0
    assert ran.errors.startswith(f'plainbox: {PROVIDERS}/bad.provider')


# The source tree


def test_the_source_tree_says_the_same(house: House) -> None:
    """`python3 -m plainbox_launcher` does the same as `bin/plainbox`."""
    installed = plainbox(house, 'list', f'{NAMESPACE}::*')
    module = ['/usr/bin/python3', '-m', 'plainbox_launcher']
    for command in ([*module], [f'{CHECKOUT}/bin/plainbox']):
        listed = house.run([*command, 'list', f'{NAMESPACE}::*'], cwd=CHECKOUT)
        assert listed.stdout.decode() == installed.text
        done = house.run([*command, 'run', 'own', 'root'], cwd=CHECKOUT)
        assert done.returncode == 0
        assert b'root ran as root\n' in done.stdout
    wrong = house.run([*module, 'nope'], cwd=CHECKOUT)
    assert wrong.stderr.startswith(b'usage: plainbox ')
