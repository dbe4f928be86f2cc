# SPDX-License-Identifier: ISC
"""plainbox(1) for real: an ordinary user runs jobs, root's among them."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
from house import HANGS, House
from launching import cleared, events, others
from running import NAMESPACE, UNITS, plainbox, run


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('runner', UNITS):
        yield


@pytest.mark.parametrize(
    ('job', 'status', 'verdict'),
    [
        ('own', 0, 'passed in '),
        ('root', 0, 'passed in '),
        ('fails', 1, 'failed in .*: exit status 3'),
        ('root-fails', 1, 'failed in .*: exit status 3'),
        ('killed', 1, 'failed in .*: ended by signal 9'),
        ('root-killed', 1, 'failed in .*: ended by signal 9'),
        ('root-125', 1, 'failed in .*: exit status 125'),
        ('root-126', 1, 'failed in .*: exit status 126'),
        ('root-127', 1, 'failed in .*: exit status 127'),
        ('root-silent', 1, 'failed in .*: exit status 127'),
        ('root-mimics', 1, 'failed in .*: exit status 127'),
        ('met', 0, 'passed in '),
        ('unmet', 0, 'skipped: requires thing.kind == .A. and int.thing.size. > 50'),
        ('unmet-root', 0, "skipped: requires thing.kind == 'C'"),
        ('malformed', 1, r'failed in .*: PBL-EXPRESSION: .*house.pxu:\d+: requires: '),
        ('of-no-resource', 0, r'skipped: requires .*, but .*::nowhere: no such res'),
        ('manual', 0, 'skipped: a person has to do it'),
        ('of-another', 0, 'passed in '),
        ('of-nobody', 3, 'denied: PBL-ACCOUNT: there is no account nobody-such'),
        ('jobs-that-fail', 1, 'failed in .*: PBL-GENERATOR-FAILED: .* 4: no luck'),
        ('jobs-not-here', 0, "skipped: requires thing.kind == 'C'"),
    ],
)
def test_verdicts(house: House, job: str, status: int, verdict: str) -> None:
    """0 all passed or skipped, 1 a job failed, 3 could not run."""
    ran = run(house, job)
    assert ran.status == status, ran.text
    assert re.match(r'\[1/1\] ', ran.lines[0])
    (line,) = (line for line in ran.lines if re.match(f'    {verdict}', line))
    outcome = line.split()[0].rstrip(':')
    assert ran.lines[-1] == f'1 job: 1 {outcome}'


def test_a_run(house: House) -> None:
    """Output as it comes, a line above and below each job, a summary."""
    ran = run(house, 'own', 'root', 'fails', 'unmet')
    assert ran.status == 1
    assert re.sub(r'\d+\.\d', '0.0', ran.text).splitlines() == [
        '[1/4] own',
        'own ran as tester',
        '    passed in 0.0 s',
        '[2/4] root, as root',
        'root ran as root',
        '    passed in 0.0 s',
        '[3/4] fails',
        '    failed in 0.0 s: exit status 3',
        '[4/4] unmet',
        "    skipped: requires thing.kind == 'A' and int(thing.size) > 50",
        '',
        'failed   fails: exit status 3',
        '    wrong',
        '    again: plainbox run fails',
        "skipped  unmet: requires thing.kind == 'A' and int(thing.size) > 50",
        '4 jobs: 2 passed, 1 failed, 1 skipped',
    ]
    assert ran.errors == 'wrong\n'


def test_dependencies(house: House) -> None:
    """What a job depends on runs too, before it; without it the job is skipped."""
    ran = run(house, 'after', 'after-own')
    assert ran.status == 1
    headings = [line.split()[1] for line in ran.lines if line.startswith('[')]
    assert headings == ['fails', 'own', 'after', 'after-own']
    assert 'after-own ran' in ran.lines
    assert f'    skipped: needs {NAMESPACE}::fails to pass' in ran.lines
    assert 'after ran' not in ran.lines


@pytest.mark.parametrize('pattern', ['jobs', 'made*'])
def test_generated_jobs(house: House, pattern: str) -> None:
    """By the local job or by their own ids; its root jobs root generates again."""
    ran = run(house, pattern)
    assert ran.status == 0
    assert 'made ran' in ran.lines
    assert 'made-root ran as root' in ran.lines
    assert events(house) == ['open', 'generate', 'start', 'end', 'close']


def test_a_local_job_that_needs_root(house: House) -> None:
    """It is not asked before the password is, and not by `list` at all."""
    assert plainbox(house, 'list').status == 0
    assert events(house) == []
    ran = run(house, 'jobs-of-root')
    assert ran.status == 0
    assert 'made-later ran' in ran.lines


def test_a_resource_runs_once(house: House) -> None:
    ran = run(house, 'met', 'jobs-of-root', 'secret')
    assert ran.status == 0
    assert ran.has(r'    passed in \d+\.\d s: prints 1 record')
    assert events(house) == ['open', 'start', 'end', 'close']


def test_a_resource_that_fails(house: House) -> None:
    """Why is said where it is needed, and where it is run itself."""
    ran = run(house, 'of-broken', 'broken')
    assert ran.status == 1
    fault = f'{NAMESPACE}::broken: ended with 5: no luck'
    assert f"    skipped: requires broken.kind == 'C', but {fault}" in ran.lines
    assert f'failed   broken: {fault}' in ran.lines


def test_a_circle(house: House) -> None:
    """What cannot be put in order is not run at all: 3."""
    ran = run(house, 'own', 'round')
    circle = f'{NAMESPACE}::round -> {NAMESPACE}::round-again -> {NAMESPACE}::round'
    assert (ran.status, ran.text) == (3, '')
    fact = f'plainbox: PBL-CIRCLE: jobs wait for each other: {circle} ('
    assert ran.errors.startswith(fact)


def test_a_dependency_that_is_not_there(house: House) -> None:
    """Nor is anything run if a job can never be: 3, with file and line."""
    ran = run(house, 'own', 'after-nothing')
    assert (ran.status, ran.text) == (3, '')
    place = '/usr/lib/house-runner/units/house.pxu:'
    job = f'{NAMESPACE}::after-nothing depends on {NAMESPACE}::nowhere'
    fact = f'plainbox: PBL-NO-DEPENDENCY: {place}[0-9]+: {job}, and there is no such'
    assert re.match(fact, ran.errors)


def test_two_jobs_of_one_id(house: House) -> None:
    """Which one is meant cannot be told: 3, with both places."""
    with house.provider('again', UNITS.replace('echo own ran', 'echo other ran')):
        ran = run(house, 'root', 'own')
        assert run(house, 'root').status == 0  # the same text in both
    assert (ran.status, ran.text) == (3, '')
    fact = f'plainbox: PBL-DUPLICATE: several jobs are called {NAMESPACE}::own: /usr/'
    assert ran.errors.startswith(fact)
    assert '/usr/lib/house-again/units/house.pxu:2' in ran.errors


def test_root_is_called_by_the_runner_itself(house: House) -> None:
    """polkit keeps a password for the process that called pkexec."""
    ran = run(house, '--per-job', 'parents')
    assert '/usr/bin/python3 /usr/bin/plainbox run --per-job parents ' in ran.lines
    assert ran.lines[2].startswith('    passed')  # although there was no line end


def test_one_share_for_a_run(house: House) -> None:
    """The same directory for one's own jobs and root's, which lasts as long as it."""
    ran = run(house, 'share', 'share-root')
    assert ran.status == 0
    own, both = (line[6:] for line in ran.lines if line.startswith('share='))
    assert both == f'{own},{own}'
    assert 'own' in ran.lines
    assert house.path(own).exists()
    assert plainbox(house, 'session', 'rm', own.split('/')[-2]).status == 0
    assert not house.path(own).exists()


def test_the_environment_of_ones_own_jobs(house: House) -> None:
    """The session's, with LANG=C.UTF-8, and what the format says."""
    given = {
        'LANG': 'de_DE.UTF-8',
        'LANGUAGE': 'de',
        'LC_ALL': 'de_DE.UTF-8',
        'LISTED': '1',
        'OTHER': '2',
        'XDG_RUNTIME_DIR': '/run/user/1',
        'HOME': '/home/tester',
        'PATH': '/usr/bin:/bin',
    }
    ran = plainbox(house, 'run', 'environment', env=given)
    found = json.loads(ran.lines[1])
    assert found['LANG'] == 'C.UTF-8'
    assert not {'LANGUAGE', 'LC_ALL'} & found.keys()
    assert (found['LISTED'], found['OTHER']) == ('1', '2')
    assert found['XDG_RUNTIME_DIR'] == '/run/user/1'
    assert found['PATH'].split(':')[0] == '/usr/lib/house-runner/bin'
    assert found['PLAINBOX_PROVIDER_DATA'] == '/usr/lib/house-runner/data'
    assert found['CHECKBOX_DATA'] == found['PLAINBOX_SESSION_SHARE']


def test_the_environment_of_roots_jobs(house: House) -> None:
    given = {'LISTED': 'a b', 'OTHER': 'c', 'PATH': '/usr/bin:/bin'}
    ran = plainbox(house, 'run', 'environment-root', env=given)
    assert 'listed=a b other=' in ran.lines


LOCALE = """
id: locale-root
user: root
flags: preserve-locale
command: echo "$LANG $LANGUAGE $LC_ALL $LC_TIME"

id: locale-own
flags: preserve-locale
command: echo "$LANG $LANGUAGE $LC_ALL $LC_TIME"

id: locale-not
user: root
environ: LANG
command: echo "$LANG $LANGUAGE $LC_ALL $LC_TIME"
"""


@pytest.mark.parametrize('how', [(), ('--per-job',)])
def test_the_locale(house: House, how: tuple[str, ...]) -> None:
    """With the flag preserve-locale, of one's own and root's; what is no name of a
    locale is not even sent."""
    given = {'LANG': 'C.utf8', 'LANGUAGE': 'de:en', 'LC_ALL': '/x', 'LC_TIME': 'C'}
    env = {**given, 'PATH': '/usr/bin:/bin'}
    with house.provider('locale', LOCALE):
        ran = plainbox(house, 'run', *how, 'locale-*', env=env)
    assert [line for line in ran.lines if line.startswith('C.')] == [
        *['C.utf8 de:en  C'] * 2,
        'C.UTF-8   ',
    ]
    sent = [line.text for line in house.log() if 'locale-root' in line.text]
    assert sent
    assert not [line for line in sent if 'LC_ALL' in line]


def test_a_fresh_place(house: House) -> None:
    """An empty directory of its own, removed afterwards."""
    ran = run(house, 'place')
    assert re.fullmatch('/tmp/plainbox-[a-z0-9_]+', ran.lines[1])
    assert ran.lines[2] == '0022'
    assert not house.path(ran.lines[1]).exists()


@pytest.mark.parametrize(('job', 'left'), [('background', 1), ('root-background', 0)])
def test_a_job_that_leaves_a_process(house: House, job: str, left: int) -> None:
    """It may hold our pipe for ever; its own end counts. Root's end with the run."""
    with cleared(house):
        ran = run(house, job)
        assert ran.status == 0
        assert ran.lines[1] == 'started'
        assert len(others(house)) == left


@pytest.mark.parametrize('job', ['waits', 'root-waits'])
def test_ctrl_c(house: House, job: str) -> None:
    """Exit 130; the job is ended, the next ones do not run, the summary comes."""
    command = ['plainbox', 'run', job, 'own']
    with (
        house.popen(command, stdout=subprocess.PIPE) as process,
        cleared(house),
    ):
        assert process.stdout
        while process.stdout.readline() != b'started\n':
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(HANGS) == 130
        rest = process.stdout.read().decode().splitlines()
    assert 'interrupted' in rest
    assert 'own ran as tester' not in rest
    if job == 'root-waits':
        assert events(house) == ['open', 'start', 'end', 'close']
