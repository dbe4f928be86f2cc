# SPDX-License-Identifier: ISC
"""How long jobs may take, and how they end before: time limits, Ctrl-C, hangups."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from math import inf

import pytest
from house import CHECKOUT, HANGS, House
from hypothesis import example, given, settings
from hypothesis import strategies as some
from launching import cleared, events, others
from running import Ran, plainbox, run
from talking import children, emptied, only

from plainbox_launcher import plan
from plainbox_launcher.trusted import tree
from plainbox_launcher.trusted.errors import Fault, Refused
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

UNITS = r"""
id: own
command: echo own ran

id: root
user: root
command: echo root ran

id: slow
command: sleep 2; echo slow ran

id: slow-root
user: root
command: sleep 2; echo slow-root ran

id: unlimited
timeout: 0
command: sleep 2; echo unlimited ran

id: unlimited-root
user: root
timeout: 999999999h
command: sleep 2; echo unlimited-root ran

id: limited
timeout: 1s
command: sleep infinity

id: limited-root
user: root
timeout: 1s
command: sleep infinity

id: tidy
timeout: 1
command: trap 'echo tidied; exit 7' TERM; sleep infinity & wait

id: tidy-root
user: root
timeout: 1
command: trap 'echo tidied; exit 7' TERM; sleep infinity & wait

id: bad-limit
timeout: soon
command: echo bad-limit ran

id: bad-estimate
user: root
estimated_duration: -1
command: echo bad-estimate ran

id: thing
plugin: resource
timeout: 1
command: sleep infinity

id: of-thing
requires: thing.kind == 'A'
command: echo of-thing ran

id: waits
command: (setsid sleep 1000 &); echo started; sleep 1000

id: waits-root
user: root
command: (setsid sleep 1000 &); echo started; sleep 1000

id: stays
timeout: 1
command:
 trap 'touch /tmp/told' TERM
 setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 0.1; done' &
 echo started
 while :; do sleep 0.1; done

id: stays-root
user: root
timeout: 1
command:
 trap 'touch /tmp/told' TERM
 setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 0.1; done' &
 echo started
 while :; do sleep 0.1; done
"""
FILE = '/usr/lib/house-times/units/house.pxu'


@pytest.fixture
def jobs(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('times', UNITS):
        yield


# Durations

DURATIONS = {
    '0': 0,
    '90': 90,
    '1.5': 1.5,
    ' 90 ': 90,
    '3s': 3,
    '2m': 120,
    '1h': 3600,
    '1h 2m 3s': 3723,
    '1h2m3s': 3723,
    '1h:2m:3s': 3723,
    '1h 30m': 5400,
    '1m 0.5s': 60.5,
    '1h 5': 3605,
    '9' * 400: inf,
}
NO_DURATIONS = [
    *('', ' ', ':', ': :', '-1', '+1', '.5', '1.', '1,5', '1e3', 'nan', 'inf'),
    *('soon', '1 2', '1d', '1m 1h', '1s 1s', '1h 1h', '0x10', '1_000', '٣', '1\n2'),
]


@pytest.mark.parametrize('text', DURATIONS, ids=lambda text: text[:10])
def test_durations(text: str) -> None:
    """plainbox(1): a DURATION is seconds, or as `1h 30m`."""
    assert plan.duration(text) == DURATIONS[text]


@pytest.mark.parametrize('text', NO_DURATIONS)
def test_no_durations(text: str) -> None:
    with pytest.raises(Refused) as error:
        plan.duration(text)
    assert error.value.code == 'PBL-DURATION'
    assert error.value.fact == f'no duration: {text}'


@settings(deadline=None)
@given(some.text() | some.text('0123456789.hms :'))
@example('1:')
@example('1h' * 1000)
def test_whatever_text(text: str) -> None:
    """A number that is not negative, or a refusal."""
    try:
        assert plan.duration(text) >= 0
    except Refused:
        assert not re.fullmatch('[0-9]+[hms]?', text)


LIMITS = [
    ({}, None, 60),
    ({'estimated_duration': '30'}, None, 180),
    ({'estimated_duration': '1m 30s'}, None, 420),
    ({'estimated_duration': '30'}, 5, 5),
    ({'estimated_duration': '30'}, inf, inf),
    ({'timeout': '2m'}, None, 120),
    ({'timeout': '2m', 'estimated_duration': '1'}, 5, 120),
    ({'timeout': '0'}, 5, inf),
    ({'timeout': '2m', 'estimated_duration': 'soon'}, None, 120),
    ({'timeout': ''}, 5, 5),
]


def unit(fields: dict[str, str]) -> Unit:
    provider = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')
    return Unit({'id': 'x', **fields}, provider, 'p.pxu:7')


@pytest.mark.parametrize(('fields', 'default', 'seconds'), LIMITS)
def test_time_limits(
    fields: dict[str, str], default: float | None, seconds: float
) -> None:
    """plainbox-job(5): the field `timeout`, 0 for none; without it, four times the

    estimated duration and a minute. plainbox(1): `--job-timeout` instead of that.
    """
    assert plan.time_limit(unit(fields), default) == seconds


@pytest.mark.parametrize('field', ['timeout', 'estimated_duration'])
def test_malformed_time_limits(field: str) -> None:
    """It says where: the field is somebody else's."""
    with pytest.raises(Fault, match=r'^p\.pxu:7: no duration: soon$'):
        plan.time_limit(unit({field: 'soon'}), None)


@pytest.mark.usefixtures('jobs')
def test_malformed_time_limits_fail_their_jobs(house: House) -> None:
    """1: such a job fails, and does not run; the others do."""
    ran = run(house, 'bad-limit', 'bad-estimate', 'own', 'root')
    assert ran.status == 1
    lines = UNITS.splitlines()
    for id_, text in ('bad-limit', 'soon'), ('bad-estimate', '-1'):
        where = f'{FILE}:{lines.index(f"id: {id_}") + 1}'
        assert f'failed  {id_}: {where}: no duration: {text}' in ran.lines
        assert f'{id_} ran' not in ran.lines
    assert ran.lines[-1] == '4 jobs: 2 passed, 2 failed'


@pytest.mark.usefixtures('jobs')
def test_an_estimate_that_is_not_needed(house: House) -> None:
    assert run(house, '--job-timeout', '60', 'bad-estimate').status == 0


@pytest.mark.parametrize('option', ['--timeout', '--job-timeout'])
@pytest.mark.parametrize('text', ['', 'soon', '-1', ':', '1d'])
def test_malformed_options(house: House, option: str, text: str) -> None:
    """2: wrong usage."""
    ran = run(house, f'{option}={text}', 'smoke/user-account')
    assert (ran.status, ran.text) == (2, '')
    assert ran.errors.endswith(f'argument {option}: no duration: {text}\n')


@pytest.mark.parametrize('command', [['list'], ['run', 'own']])
@pytest.mark.usefixtures('jobs')
def test_a_local_job_with_a_malformed_time_limit(
    house: House, command: list[str]
) -> None:
    """It prints no jobs, and says why when it is run; the others do as ever."""
    with house.provider('local', 'id: local\nplugin: local\ntimeout: soon\n'):
        assert plainbox(house, *command).status == 0
        ran = run(house, 'local', 'own')
    assert ran.status == 1
    assert ran.lines[-3].endswith(
        '/usr/lib/house-local/units/house.pxu:1: no duration: soon'
    )


# Time limits


@pytest.mark.usefixtures('jobs')
def test_a_job_that_takes_more_than_its_time(house: House) -> None:
    """plainbox(1): it is ended with all that it started; the others go on."""
    with cleared(house):
        ran = run(house, 'stays', 'stays-root', 'own', 'root')
        assert others(house) == set()
        house.path('/tmp/told').unlink()  # TERM came first
    assert ran.status == 1
    assert [line for line in ran.lines if line.startswith('timed out')] == [
        'timed out  stays: it took more than its time',
        'timed out  stays-root: it took more than its time',
    ]
    assert ran.lines[-1] == '4 jobs: 2 passed, 2 timed out'
    assert {'own ran', 'root ran'} <= {*ran.lines}


@pytest.mark.usefixtures('jobs')
def test_a_job_may_tidy_up(house: House) -> None:
    """What it says and how it ends then does not change what became of it."""
    ran = run(house, 'tidy', 'tidy-root')
    assert ran.status == 1
    assert ran.lines.count('tidied') == 2
    assert ran.lines[-1] == '2 jobs: 2 timed out'


@pytest.mark.usefixtures('jobs')
def test_job_timeout(house: House) -> None:
    """The time limit of jobs that have none of their own."""
    ran = run(house, '--job-timeout', '1', 'slow*', 'unlimited*')
    assert ran.status == 1
    assert ran.lines[-1] == '4 jobs: 2 passed, 2 timed out'
    assert 'slow ran' not in ran.lines
    assert 'slow-root ran' not in ran.lines
    assert {'unlimited ran', 'unlimited-root ran'} <= {*ran.lines}


@pytest.mark.usefixtures('jobs')
def test_job_timeout_of_none(house: House) -> None:
    """0 for none: but a job's own stays."""
    ran = run(house, '--job-timeout', '0', 'slow*', 'limited*')
    assert ran.lines[-1] == '4 jobs: 2 passed, 2 timed out'
    assert {'slow ran', 'slow-root ran'} <= {*ran.lines}


@pytest.mark.usefixtures('jobs')
@pytest.mark.parametrize('job', ['waits', 'waits-root'])
def test_timeout(house: House, job: str) -> None:
    """After this time end the running job, and skip those that have not begun."""
    with cleared(house):
        ran = run(house, '--timeout', '2s', job, 'own', 'root')
        assert others(house) == set()
    assert ran.status == 1
    assert ran.lines[-6:] == [
        f'timed out  {job}: it took more than its time',
        '    started',
        f'    again: plainbox run {job}',
        'skipped    own: the time for this run is over',
        'skipped    root: the time for this run is over',
        '3 jobs: 1 timed out, 2 skipped',
    ]


@pytest.mark.usefixtures('jobs')
def test_timeout_that_is_not_reached(house: House) -> None:
    ran = run(house, '--timeout', '1h', 'own', 'root')
    assert (ran.status, ran.lines[-1]) == (0, '2 jobs: 2 passed')


@pytest.mark.usefixtures('jobs')
def test_a_resource_that_takes_more_than_its_time(house: House) -> None:
    with cleared(house):
        ran = run(house, 'of-thing')
        assert others(house) == set()
    assert ran.status == 0
    assert ran.has("    skipped: requires thing.kind == 'A', .*::thing: ended .* 143")


# Ctrl-C, and what works like it

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def heed() -> None:
    """Heed Ctrl-C: what a shell started in the background does not, nor its own."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def running(house: House, *jobs: str) -> Iterator[subprocess.Popen[bytes]]:
    """A runner, once its first job has started."""
    pipe = subprocess.PIPE
    command = ['plainbox', 'run', *jobs]
    with (
        house.popen(command, stdout=pipe, stderr=pipe, before=heed) as process,
        cleared(house),
    ):
        assert process.stdout
        while process.stdout.readline() != b'started\n':
            assert process.poll() is None
        yield process


def finished(process: subprocess.Popen[bytes]) -> Ran:
    out, err = process.communicate(timeout=HANGS)
    return Ran(subprocess.CompletedProcess(process.args, process.returncode, out, err))


@pytest.mark.usefixtures('jobs')
@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize('job', ['waits', 'waits-root'])
def test_interrupted(house: House, job: str, number: signal.Signals) -> None:
    """130: ends the running job and with it the run, which still shows its summary.

    SIGTERM and SIGHUP do as Ctrl-C, also if they reach the runner alone.
    """
    with running(house, job, 'own', 'root') as process:
        os.kill(process.pid, number)
        ran = finished(process)
        assert others(house) == set()
    assert (ran.status, ran.errors) == (130, '')
    assert re.match(r'    cancelled in \d+\.\d s$', ran.lines[0])
    assert ran.lines[-3:] == ['', f'cancelled  {job}', '1 job: 1 cancelled']
    assert 'interrupted' in ran.lines


@pytest.mark.usefixtures('jobs')
@pytest.mark.parametrize('number', SIGNALS[1:])
@pytest.mark.parametrize('job', ['stays', 'stays-root'])
def test_hung_up(house: House, job: str, number: signal.Signals) -> None:
    """At a logout there are no five seconds for a stubborn job."""
    with running(house, '--job-timeout', '0', job, 'own') as process:
        begun = time.monotonic()
        os.kill(process.pid, number)
        ran = finished(process)
        emptied(house)
        assert time.monotonic() - begun < tree.GRACE
        house.path('/tmp/told').unlink()
    assert (ran.status, ran.errors) == (130, '')
    assert 'own ran' not in ran.lines


@pytest.mark.usefixtures('jobs')
@pytest.mark.parametrize('job', ['stays', 'stays-root'])
def test_interrupted_twice(house: House, job: str) -> None:
    """A second one does not wait for that: for the five seconds of a stubborn job."""
    with running(house, '--job-timeout', '0', job, 'own') as process:
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        while not house.path('/tmp/told').exists():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        ran = finished(process)
        assert time.monotonic() - begun < tree.GRACE
        house.path('/tmp/told').unlink()
        emptied(house)
    assert ran.status == 130
    assert 'Traceback' not in ran.errors
    assert 'interrupted' in ran.lines
    assert 'own ran' not in ran.lines


@pytest.mark.usefixtures('jobs')
@pytest.mark.parametrize('job', ['stays', 'stays-root'])
def test_interrupted_again_and_again(house: House, job: str) -> None:
    """Whatever it is doing just then, it ends with 130, and takes all along."""
    with running(house, job, 'own') as process:
        while process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.02)
        ran = finished(process)
        emptied(house)
        house.path('/tmp/told').unlink(missing_ok=True)
    assert ran.status in (130, -signal.SIGINT)  # Python's own end; shells say 130
    assert 'Traceback' not in ran.errors


@pytest.mark.usefixtures('jobs')
def test_a_runner_that_is_killed(house: House) -> None:
    """plainbox-channel(7): everything is ended, also if the runner was killed."""
    with running(house, 'stays-root') as process:
        process.kill()
        process.wait(HANGS)
        emptied(house)
        house.path('/tmp/told').unlink(missing_ok=True)


@pytest.mark.usefixtures('jobs')
def test_a_launcher_that_is_killed(house: House) -> None:
    """Its jobs end with it; one's own go on. 3, root jobs could not be run."""
    with running(house, 'waits-root', 'root', 'own') as process:
        os.kill(only(children(process.pid)), signal.SIGKILL)
        ran = finished(process)
        emptied(house)
    assert ran.status == 3
    lost = 'PBL-LOST: the trusted launcher is gone (run it again; the system log may'
    assert ran.lines[-4:-1] == [
        f'lost    waits-root: {lost} say why)',
        '    again: plainbox run waits-root',
        f'denied  root: {lost} say why)',
    ]
    assert 'own ran' in ran.lines
    assert ran.lines[-1] == '3 jobs: 1 passed, 1 lost, 1 denied'


# Launchers of other releases


def of_the_checkout(house: House, *jobs: str) -> Ran:
    """A runner that has the room as it is, whatever launcher is installed."""
    command = ['/usr/bin/python3', '-m', 'plainbox_launcher', 'run', *jobs]
    env = {'PYTHONPATH': CHECKOUT, 'PATH': '/usr/bin:/bin', 'HOME': '/home/tester'}
    return Ran(house.run(command, env=env))


@pytest.mark.usefixtures('jobs')
def test_a_launcher_without_a_channel(house: House) -> None:
    """plainbox(1): pkexec for each root job, as older launchers need it.

    There are no time limits for them then.
    """
    modes = "('--hash', '--warmup', '--channel')"
    with house.canary('commandline.py', modes, "('--hash', '--warmup')"):
        ran = run(house, '--job-timeout', '1', 'root', 'own', 'slow-root')
    assert ran.status == 0
    assert {'root ran', 'own ran', 'slow-root ran'} <= {*ran.lines}
    assert events(house) == ['start', 'end'] * 2


@pytest.mark.usefixtures('jobs')
def test_per_job(house: House) -> None:
    assert run(house, '--per-job', '--job-timeout=1', 'root', 'slow-root').status == 0
    assert events(house) == ['start', 'end'] * 2


@pytest.mark.usefixtures('jobs')
def test_a_launcher_of_another_version(house: House) -> None:
    """3: it says so before any job runs."""
    with house.canary('frames.py', 'VERSION: Final = 1 ', 'VERSION: Final = 2 '):
        ran = of_the_checkout(house, 'own', 'root')
        own = of_the_checkout(house, 'own')
    assert (ran.status, ran.text) == (3, '')
    assert ran.errors.startswith('plainbox: PBL-VERSION: the runner speaks version 1 (')
    assert own.status == 0


@pytest.mark.usefixtures('jobs')
@pytest.mark.parametrize(('after', 'passed'), [('Hello', 0), ('Ready', 1)])
def test_a_launcher_that_talks_nonsense(house: House, after: str, passed: int) -> None:
    """Nobody can go on with it: the same as if it were gone."""
    good = f'frames.encode(frame) if isinstance(frame, {after}) else b"junk"'
    sent = '_unsent.append(frames.encode(frame))'
    with house.canary('channel.py', sent, f'_unsent.append({good})'):
        ran = run(house, 'own', 'root')
    assert ran.status == 3
    assert ran.lines.count('own ran') == passed
    assert 'PBL-LOST: the trusted launcher is gone (' in ran.text + ran.errors
    assert 'Traceback' not in ran.errors


@pytest.mark.usefixtures('jobs')
def test_a_limit_that_no_frame_holds(house: House) -> None:
    """It is none, rather than a refusal."""
    ran = plainbox(house, 'run', '--job-timeout', '9' * 300, 'root', 'own')
    assert (ran.status, ran.lines[-1]) == (0, '2 jobs: 2 passed')
