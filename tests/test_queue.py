# SPDX-License-Identifier: ISC
"""The queue: what was submitted, and who works on it; plainbox(1), THE QUEUE."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from house import HANGS, House, ended
from launching import cleared, events
from running import Ran, plainbox
from talking import children, is_launcher, only, stop

from plainbox_launcher import session
from plainbox_launcher.store import open_ledger

UNITS = r"""
id: one
command: echo one >> /tmp/ran

id: two
command: echo two >> /tmp/ran

id: root
user: root
command: echo root >> /tmp/ran

id: waits
command: echo waits >> /tmp/ran; sleep infinity

id: root-waits
user: root
command: echo root-waits >> /tmp/ran; sleep infinity

id: gate
command: echo gate >> /tmp/ran; until test -e /tmp/open; do sleep 0.02; done

id: fails
command: echo fails >> /tmp/ran; exit 3

id: by-hand
plugin: manual
_description: Look at it.

id: fails-to-restart
flags: noreturn
command: echo fails-to-restart >> /tmp/ran; exit 1

id: after-restart
depends: fails-to-restart
command: echo after-restart >> /tmp/ran

id: no-restart
flags: noreturn
command: echo no-restart >> /tmp/ran

id: gives-up
flags: noreturn
command:
 echo gives-up >> /tmp/ran
 until test -e /tmp/open; do sleep 0.02; done
 exit 1

id: restarts
flags: noreturn
command: echo restarts >> /tmp/ran; sleep infinity

id: root-restarts
user: root
flags: noreturn
command: echo root-restarts >> /tmp/ran; sleep infinity
"""


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    house.path('/tmp/ran').touch()
    house.path('/tmp/ran').chmod(0o666)
    with house.provider('queue', UNITS):
        yield
    house.check('rm', '-f', '/tmp/ran', '/tmp/open', '/tmp/report')


def ran(house: House) -> list[str]:
    """Which jobs ran, as they say themselves."""
    return house.path('/tmp/ran').read_text().splitlines()


def submit(house: House, *arguments: str) -> str:
    """Submits a session; gives its id."""
    said = plainbox(house, 'submit', *arguments)
    assert (said.status, said.errors, len(said.lines)) == (0, '', 1), said.text
    return said.lines[0]


def drain(house: House) -> Ran:
    return plainbox(house, 'work', '--once')


def whole(house: House, id_: str = '') -> dict[str, Any]:
    """The report of a session; of the last one, if it is not named."""
    said = plainbox(house, 'report', '--format=json', *([id_] if id_ else []))
    assert said.status == 0, said.errors
    found: dict[str, Any] = json.loads(said.text)
    return found


def statuses(house: House, id_: str) -> dict[str, str]:
    """What became of each job of a session."""
    jobs = whole(house, id_)['jobs']
    return {each['job'].rpartition('::')[2]: each['status'] for each in jobs}


@contextmanager
def at_work(house: House, job: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A plainbox that is in the middle of a job."""
    pipe = subprocess.PIPE
    argv = ['plainbox', *(command or ('work',))]
    with house.popen(argv, stdout=pipe, stderr=pipe) as process, cleared(house):
        deadline = time.monotonic() + HANGS
        while job not in ran(house):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process


def ended_by(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Sends a signal; gives how the process ended."""
    process.send_signal(number)
    process.communicate(timeout=HANGS)
    return process.returncode


# What is in the queue


def test_submit_runs_nothing(house: House) -> None:
    """submit: put jobs into the queue, and print the id of the session. Nothing runs,

    and nobody is asked for consent.
    """
    id_ = submit(house, 'root', 'one')
    assert statuses(house, id_) == {'root': 'pending', 'one': 'pending'}
    assert (ran(house), events(house)) == ([], [])
    listed = plainbox(house, 'sessions').text
    assert id_ in listed
    assert 'queued' in listed


def test_submit_what_cannot_be_planned(house: House) -> None:
    """It is refused as `run` refuses it, and nothing of it is in the queue."""
    said = plainbox(house, 'submit', 'nope')
    assert (said.status, said.text) == (4, '')
    assert 'PBL-NO-MATCH' in said.errors
    assert drain(house).text == ''


def test_it_is_in_the_queue_once_it_is_planned(tmp_path: Path) -> None:
    """A worker does not see a session of which submit does not know the jobs yet."""
    with open_ledger(str(tmp_path / 'ledger')) as ledger:
        made = ledger.create({})
        assert session.waiting(ledger) == []
        ledger.enqueue(made)
        assert [each.id for each in session.waiting(ledger)] == [made.id]


def test_the_order_is_that_of_submission(house: House) -> None:
    """work: run what is in the queue, in the order of submission."""
    ids = [submit(house, 'two', 'root'), submit(house, 'one'), submit(house, 'two')]
    said = drain(house)
    assert said.status == 0, said.text + said.errors
    assert ran(house) == ['two', 'root', 'one', 'two']
    assert [line.split()[-1] for line in said.lines if 'session' in line] == ids
    assert drain(house).text == ''
    assert len(ran(house)) == 4


def test_what_is_submitted_meanwhile(house: House) -> None:
    """It is taken up, in its turn; --once ends when the queue is empty."""
    submit(house, 'gate')
    with at_work(house, 'gate', 'work', '--once') as process:
        submit(house, 'two')
        submit(house, 'one')
        house.path('/tmp/open').touch()
        process.communicate(timeout=HANGS)
    assert process.returncode == 0
    assert ran(house) == ['gate', 'two', 'one']


def test_without_once_it_waits_for_more(house: House) -> None:
    """It goes on after the queue was empty."""
    submit(house, 'one')
    with at_work(house, 'one') as process:
        submit(house, 'two')
        while 'two' not in ran(house):
            assert process.poll() is None
            time.sleep(0.01)
        assert ended_by(process, signal.SIGTERM) == 130
    assert ran(house) == ['one', 'two']


def test_what_submit_was_told(house: House) -> None:
    """The session runs as it was submitted: its limits, its reports, nobody asked."""
    ids = submit(house, '--report=json=/tmp/report', '--job-timeout=1', 'waits', 'one')
    assert drain(house).status == 1
    assert statuses(house, ids) == {'waits': 'timeout', 'one': 'completed'}
    written = json.loads(house.path('/tmp/report').read_text())
    assert written['session']['id'] == ids


def test_nobody_is_there_to_be_asked(house: House) -> None:
    """A worker has no terminal: what a person has to do is skipped."""
    id_ = submit(house, 'by-hand', 'one')
    assert drain(house).status == 0
    assert statuses(house, id_) == {'by-hand': 'skipped', 'one': 'completed'}


@pytest.mark.parametrize(('first', 'status'), [('fails', 1), ('one', 0)])
def test_its_exit_status(house: House, first: str, status: int) -> None:
    """That of the worst session: 1, if a job failed."""
    submit(house, first)
    submit(house, 'two')
    assert drain(house).status == status
    assert ran(house) == [first, 'two']


def test_without_consent(house: House) -> None:
    """3: where root jobs may not run, the jobs of that session are denied, and the

    queue goes on.
    """
    for arguments in (['root', 'one'], ['two']):
        done = house.run(['plainbox', 'submit', *arguments], user='stranger')
        assert done.returncode == 0, done.stderr
    done = house.run(['plainbox', 'work', '--once'], user='stranger')
    assert done.returncode == 3
    assert b'PBL-NO-AGENT' in done.stderr or b'PBL-NOT-AUTHORIZED' in done.stderr
    assert ran(house) == ['two']
    said = house.run(['plainbox', 'sessions', '--json'], user='stranger')
    denied, passed = json.loads(said.stdout)['sessions']
    assert denied['counts']['denied'] == 2
    assert passed['counts']['passed'] == 1


# Who works on it


def test_two_workers(house: House) -> None:
    """Two workers cannot run the same queue: PBL-SESSION-BUSY, the first goes on."""
    submit(house, 'gate')
    with at_work(house, 'gate', 'work', '--once') as process:
        second = drain(house)
        house.path('/tmp/open').touch()
        process.communicate(timeout=HANGS)
    assert (second.status, second.text) == (3, '')
    assert second.errors.startswith('plainbox: PBL-SESSION-BUSY: ')
    assert process.returncode == 0
    assert ran(house) == ['gate']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('job', ['waits', 'root-waits'])
def test_a_worker_that_is_stopped(
    house: House, job: str, number: signal.Signals
) -> None:
    """130, and nothing further begins. The next worker goes on with the session."""
    cut_off, other = submit(house, 'one', job, 'two'), submit(house, 'root')
    with at_work(house, job) as process:
        assert ended_by(process, number) == 130
    assert ran(house) == ['one', job]
    ended = {'one': 'completed', job: 'cancelled'}
    assert statuses(house, cut_off) == ended | {'two': 'pending'}
    assert drain(house).status == 0
    assert ran(house) == ['one', job, 'two', 'root']
    assert statuses(house, cut_off) == ended | {'two': 'completed'}
    assert statuses(house, other) == {'root': 'completed'}


@pytest.mark.parametrize('job', ['waits', 'root-waits'])
def test_a_worker_that_is_killed(house: House, job: str) -> None:
    """Nothing that had completed is run twice, what was running is lost and said so,

    and the rest of the queue is there.
    """
    first, other = submit(house, 'one', job, 'two'), submit(house, 'root')
    with at_work(house, job) as process:
        assert ended_by(process, signal.SIGKILL) == -signal.SIGKILL
    said = drain(house)
    assert said.status == 3
    assert ran(house) == ['one', job, 'two', 'root']
    assert statuses(house, first) == {
        'one': 'completed',
        job: 'lost',
        'two': 'completed',
    }
    assert statuses(house, other) == {'root': 'completed'}


def test_ack_once_it_is_over(house: House) -> None:
    """session ack: the receiver has the results, and they are deleted; not before."""
    id_ = submit(house, 'one')
    early = plainbox(house, 'session', 'ack', id_)
    assert (early.status, early.text) == (3, '')
    assert early.errors.startswith('plainbox: PBL-UNFINISHED: ')
    assert drain(house).status == 0
    assert plainbox(house, 'session', 'ack', id_).status == 0
    assert id_ not in plainbox(house, 'sessions').text


# Jobs that restart the machine; really so in tests/machine/test_reboot.py


def test_a_restart_that_fails(house: House) -> None:
    """A job that was to restart the machine and said no has failed as any other."""
    id_ = submit(house, 'fails-to-restart', 'after-restart', 'one')
    assert drain(house).status == 1
    assert ran(house) == ['fails-to-restart', 'one']
    assert statuses(house, id_) == {
        'fails-to-restart': 'failed',
        'after-restart': 'skipped',
        'one': 'completed',
    }


@pytest.mark.skipif('PLAINBOX_SLOW' not in os.environ, reason='takes five minutes')
def test_a_restart_that_does_not_come(house: House) -> None:
    """noreturn: it has failed if the machine is there still after 300 s."""
    id_ = submit(house, 'no-restart', 'one')
    with at_work(house, 'no-restart', 'work', '--once') as process:
        out, _err = process.communicate(timeout=300 + HANGS)
    assert process.returncode == 1
    assert b'the machine did not restart within 300 s' in out
    assert statuses(house, id_) == {'no-restart': 'failed', 'one': 'completed'}


@pytest.mark.parametrize('launcher_first', [False, True])
@pytest.mark.parametrize('job', ['restarts', 'root-restarts'])
def test_told_to_stop_by_a_restart(
    house: House, job: str, launcher_first: bool
) -> None:
    """The next boot says what became of the job, not the TERM that comes before; be

    the launcher the first to end, or its runner. In the same boot it is lost.
    """
    command = ['run', job, 'one', 'root']
    with at_work(house, job, *command) as process:
        if launcher_first:
            end_launcher(process, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert ended_by(process, signal.SIGCONT) == 130
    assert ran(house) == [job]
    (id_,) = (line.split()[0] for line in plainbox(house, 'sessions').lines)
    assert statuses(house, id_)[job] == 'rebooting'
    assert plainbox(house, 'resume').status == 3
    assert ran(house) == [job, 'one', 'root']
    assert statuses(house, id_)[job] == 'lost'


def end_launcher(runner: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Ends the launcher of a runner, which is stopped and does not see that yet."""
    stop(runner.pid)
    launcher = only({pid for pid in children(runner.pid) if is_launcher(pid)})
    os.kill(launcher, number)
    assert ended(launcher, HANGS)


def test_a_job_that_a_restart_ends(house: House) -> None:
    """Nor does the job itself say it, if it ends just before its runner is told."""
    with at_work(house, 'gives-up', 'run', 'gives-up', 'one') as process:
        house.path('/tmp/open').touch()
        while children(process.pid):
            time.sleep(0.01)
        assert ended_by(process, signal.SIGTERM) == 130
    assert ran(house) == ['gives-up']
    (job, _one) = whole(house)['jobs']
    assert job['status'] == 'rebooting'


def test_ctrl_c_while_the_launcher_goes(house: House) -> None:
    """Ctrl-C ends the run, also if the launcher is gone before it heard of that."""
    with at_work(house, 'root-waits', 'run', 'root-waits', 'one') as process:
        end_launcher(process, signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        assert ended_by(process, signal.SIGCONT) == 130
    assert ran(house) == ['root-waits']
