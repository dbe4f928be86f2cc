# SPDX-License-Identifier: ISC
"""Sessions for real: written down, cut off, gone on with, run again; plainbox(1)."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from house import HANGS, LEDGER, House
from launching import cleared
from running import plainbox, run

UNITS = r"""
id: one
command: echo one ran; echo one >> /tmp/ran

id: root
user: root
command: echo root ran; echo root >> /tmp/ran

id: waits
command: echo waits ran; echo waits >> /tmp/ran; sleep infinity

id: root-waits
user: root
command: echo root-waits ran; echo root-waits >> /tmp/ran; sleep infinity

id: two
command: echo two ran; echo two >> /tmp/ran

id: after-waits
depends: waits
command: echo after-waits ran

id: fails
command: echo fails >> /tmp/ran; echo no luck >&2; exit 3

id: sometimes
command: echo sometimes >> /tmp/ran; test -e /tmp/luck

id: needs
depends: sometimes
command: echo needs >> /tmp/ran

id: thing
plugin: resource
command: echo thing >> /tmp/ran; printf 'kind: A\n\nkind: B\n'

id: asks
requires: thing.kind == 'B'
command: echo asks >> /tmp/ran

unit: template
id: of-{kind}
template-resource: thing
command: echo of-{kind} >> /tmp/ran

unit: template
id: root-of-{kind}
template-resource: thing
user: root
command: echo root-of-{kind} as $(id -un) >> /tmp/ran

id: secret
plugin: resource
user: root
command: test $(id -u) = 0 && printf 'name: x\n\nname: y\n'

unit: template
id: made-{name}
template-resource: secret
command: echo made-{name} >> /tmp/ran

id: lists
plugin: attachment
command: echo kept; echo said >&2

id: floods
command: head -c 3000 /dev/zero | tr '\0' x; echo >&2 short

id: old
flags: deprecated
command: echo old ran

id: fails-on
flags: fail-on-resource
requires: thing.kind == 'C'
command: echo never

id: here
flags: preserve-cwd
command: pwd
"""


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    house.path('/tmp/ran').touch()
    house.path('/tmp/ran').chmod(0o666)
    with house.provider('session', UNITS):
        yield
    house.check('rm', '-f', '/tmp/ran', '/tmp/luck')


def ran(house: House) -> list[str]:
    """Which jobs ran, as they say themselves."""
    return house.path('/tmp/ran').read_text().splitlines()


def report(house: House, *arguments: str) -> dict[str, Any]:
    said = plainbox(house, 'report', '--format', 'json', *arguments)
    assert said.status == 0, said.errors
    whole: dict[str, Any] = json.loads(said.text)
    return whole


def statuses(house: House) -> dict[str, str]:
    """What became of each job of the last session."""
    jobs = report(house)['jobs']
    return {each['job'].rpartition('::')[2]: each['status'] for each in jobs}


def killed(house: House, job: str, *arguments: str) -> None:
    """A run that dies in the middle of a job."""
    with cleared(house):
        process = house.popen(['plainbox', 'run', *arguments], parent=False)
        deadline = time.monotonic() + HANGS
        while job not in ran(house):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(HANGS)


@pytest.mark.parametrize('job', ['waits', 'root-waits'])
def test_resume_after_a_crash(house: House, job: str) -> None:
    """After kill -9 resume goes on where it was: what ran is not run again, what was
    running is lost, and said so."""
    after = ['after-waits'] if job == 'waits' else []
    killed(house, job, 'one', 'root', job, 'two', *after)
    assert statuses(house)[job] == 'lost'
    resumed = plainbox(house, 'resume')
    assert resumed.status == 3
    assert ran(house) == ['one', 'root', job, 'two']
    assert ran(house).count(job) == 1
    assert re.search(f'lost +{job}: the run ended before the job did', resumed.text)
    assert statuses(house) == {
        'one': 'completed',
        'root': 'completed',
        job: 'lost',
        'two': 'completed',
        **dict.fromkeys(after, 'skipped'),
    }


def test_nothing_printed_is_lost(house: House) -> None:
    """Nothing that was printed before the crash is lost."""
    with cleared(house):
        command = ['plainbox', 'run', 'waits']
        with house.popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert b'waits ran\n' in iter(process.stdout.readline, b'')
            process.kill()
    assert report(house)['jobs'][0]['stdout'] == 'waits ran\n'
    assert plainbox(house, 'resume').status == 3
    assert report(house)['jobs'][0]['stdout'] == 'waits ran\n'


def test_resume_after_ctrl_c(house: House) -> None:
    """An interrupted run says how to go on. The interrupted job was cancelled."""
    with cleared(house):
        process = house.popen(['plainbox', 'run', 'waits', 'two'], stdout=-1, stderr=-1)
        while not ran(house):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _err = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    (id_,) = re.findall('to resume: plainbox resume ([0-9a-f-]+)', out.decode())
    resumed = plainbox(house, 'resume', id_)
    assert resumed.lines[0] == '[2/2] two'
    assert statuses(house) == {'waits': 'cancelled', 'two': 'completed'}


def test_resume_what_is_over(house: House) -> None:
    assert run(house, 'one').status == 0
    said = plainbox(house, 'resume')
    assert said.status == 3
    assert said.errors.startswith('plainbox: PBL-NO-SESSION: ')
    assert ran(house) == ['one']


def test_resume_twice_at_once(house: House) -> None:
    """Two runners at once: the second is refused, the first goes on."""
    killed(house, 'waits', 'waits', 'root-waits')
    with cleared(house):
        process = house.popen(['plainbox', 'resume'], stdout=-1, stderr=-1)
        while 'root-waits' not in ran(house):
            time.sleep(0.01)
        id_ = plainbox(house, 'sessions').text.split()[0]
        again = plainbox(house, 'resume', id_)
        removed = plainbox(house, 'session', 'rm', id_)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANGS)
    for said in again, removed:
        assert (said.status, said.text) == (3, '')
        assert said.errors.startswith('plainbox: PBL-SESSION-BUSY: ')
    assert statuses(house)['root-waits'] == 'cancelled'


def test_a_job_that_has_changed(house: House) -> None:
    """A job whose definition is another one now is denied, and the others run."""
    killed(house, 'waits', 'waits', 'one', 'two')
    changed = UNITS.replace('echo two ran', 'echo EVIL ran')
    with house.replaced('/usr/lib/house-session/units/house.pxu', changed.encode()):
        said = plainbox(house, 'resume')
    assert said.status == 3
    assert 'one ran' in said.lines
    assert 'EVIL' not in said.text
    assert 'denied  two: PBL-CHANGED: ' in said.text
    assert statuses(house)['two'] == 'denied'


def test_rerun(house: House) -> None:
    """A session again, as a new one; or what of it did not pass."""
    assert run(house, 'one', 'fails', 'sometimes', 'needs').status == 1
    house.path('/tmp/luck').touch()
    assert plainbox(house, 'rerun', '--failed').status == 1
    assert ran(house)[-2:] == ['fails', 'sometimes']
    first = plainbox(house, 'sessions').text.split()[0]
    assert plainbox(house, 'rerun', first).status == 1
    assert ran(house)[-4:] == ['one', 'fails', 'sometimes', 'needs']
    assert len(plainbox(house, 'sessions').lines) >= 3


def test_rerun_where_nothing_failed(house: House) -> None:
    run(house, 'one')
    said = plainbox(house, 'rerun', '--failed')
    assert said.status == 4
    assert re.search('PBL-NO-MATCH: session .* has no job to run again', said.errors)


@pytest.mark.parametrize('verb', ['ack', 'rm'])
def test_ack_and_rm(house: House, verb: str) -> None:
    """A result is kept until it is acknowledged or removed, with all its files."""
    run(house, 'one')
    listed = plainbox(house, 'sessions').text
    (id_,) = re.findall(r'\d{4}-\d\d-\d\d-[0-9a-f]{4}', listed)
    folder = house.path(f'/home/tester/{LEDGER}/sessions/{id_}')
    assert (folder / 'output').is_dir()
    assert plainbox(house, 'session', verb, id_[:-1]).status == 0
    assert not folder.exists()
    assert id_ not in plainbox(house, 'sessions').text
    assert 'PBL-NO-SESSION' in plainbox(house, 'session', 'show', id_).errors


def test_ack_of_what_is_not_over(house: House) -> None:
    killed(house, 'waits', 'waits', 'two')
    id_ = plainbox(house, 'sessions').text.split()[0]
    said = plainbox(house, 'session', 'ack', id_)
    assert said.status == 3
    assert 'PBL-UNFINISHED' in said.errors
    assert plainbox(house, 'session', 'rm', id_).status == 0


def test_nothing_remains_of_what_could_not_begin(house: House) -> None:
    before = plainbox(house, 'sessions').text
    assert run(house, 'nope').status == 4
    assert plainbox(house, 'sessions').text == before
    assert ran(house) == []


# What a plan may hold


def test_a_resource_job_is_written_down_too(house: House) -> None:
    """Every job is a row before it starts: also one that only `requires` asks about."""
    assert run(house, 'asks').status == 0
    jobs = report(house)['jobs']
    found = [(each['job'].rpartition('::')[2], each['implied']) for each in jobs]
    assert found == [('thing', True), ('asks', False)]
    assert jobs[0]['stdout'] == 'kind: A\n\nkind: B\n'
    assert ran(house) == ['thing', 'asks']


@pytest.mark.parametrize('pattern', ['of-*', 'of-A', '[or]*f-{kind}'])
def test_templates(house: House, pattern: str) -> None:
    """A template makes a job of each record; its id selects them all."""
    said = run(house, pattern)
    assert said.status in (0, 4)
    made = [line for line in ran(house) if line.startswith('of-')]
    wanted = {'of-*': ['of-A', 'of-B'], 'of-A': ['of-A']}
    assert made == wanted.get(pattern, [])


def test_root_templates(house: House) -> None:
    """Root makes the job of the template itself, from its own run of the resource."""
    said = run(house, 'root-of-B')
    assert said.status == 0, said.text
    assert 'root-of-B as root' in ran(house)
    assert 'root-of-A as root' not in ran(house)


def test_templates_of_a_resource_that_needs_root(house: House) -> None:
    """Such jobs are known once there is consent."""
    said = run(house, 'made-y')
    assert said.status == 0, said.text + said.errors
    assert ran(house) == ['made-y']
    assert said.lines[-1] == '1 job: 1 passed'
    assert run(house, 'made-z').status == 4


def test_an_attachment(house: House) -> None:
    """attachment: what it prints is kept as a file, and not shown."""
    said = run(house, 'lists')
    assert said.status == 0
    assert 'kept' not in said.lines
    assert 'said' in said.errors
    session = report(house)['session']['id']
    folder = house.path(f'/home/tester/{LEDGER}/sessions/{session}/attachments')
    assert [path.read_text() for path in sorted(folder.glob('*.out'))] == ['kept\n']


def test_output_is_capped(house: House) -> None:
    """--max-output: what is more is cut, with a mark, and the job goes on."""
    said = run(house, '--max-output', '1k', 'floods')
    assert said.status == 0
    (job,) = report(house)['jobs']
    mark = '\n[plainbox: cut here, after 1024 bytes]\n'
    assert job['stdout'] == 'x' * 1024 + mark
    assert job['stderr'] == 'short\n'
    assert said.text.count('x') < 1200


def test_deprecated(house: House) -> None:
    said = run(house, 'old')
    assert said.status == 0
    assert 'old is deprecated' in said.errors


def test_fail_on_resource(house: House) -> None:
    """fail-on-resource: fails, where others are skipped."""
    said = run(house, 'fails-on')
    assert said.status == 1
    assert "failed  fails-on: requires thing.kind == 'C'" in said.text


def test_preserve_cwd(house: House) -> None:
    done = house.run(['plainbox', 'run', 'here'], cwd='/usr/share')
    assert b'\n/usr/share\n' in done.stdout
