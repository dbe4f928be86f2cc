# SPDX-License-Identifier: ISC
"""Sessions that outlive the machine: it restarts, or loses power; plainbox(1)."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine.base import PASSWORDS
from machine.booted import Machine, booted, install
from machine.cell import HANGS
from machine.console import QUESTION

CHECKOUT = Path(__file__).parents[2]
UNIT = '/usr/lib/systemd/user/plainbox-work.service'
ADMIN = PASSWORDS['admin'] + '\r'

# Each job says that it ran. `then` is what a job does that restarts the machine.
RESTART = """
id: {id}
user: root
flags: noreturn
command: echo {id} >>/srv/ran; {then}
"""
THEN = {
    'restart': 'systemctl reboot',
    'sleeps': 'systemctl reboot; sleep 1000; exit 3',
    'stubborn': 'trap "" TERM HUP; systemctl reboot; sleep 1000; sleep 1000',
    'says-no': 'trap "exit 1" TERM; systemctl reboot; while sleep 0.1; do :; done',
    'says-yes': 'trap "exit 0" TERM; systemctl reboot; while sleep 0.1; do :; done',
    'at-once': 'systemctl reboot --force',
}
JOBS = """
id: own
command: echo own >>/srv/ran; echo $(id -un)

id: root
user: root
command: echo root >>/srv/ran; echo $(id -un)

id: after-restart
user: root
depends: restart own
command: echo after-restart >>/srv/ran; cat /proc/sys/kernel/random/boot_id

id: waits
user: root
command: echo waits >>/srv/ran; sleep 1000

id: last
command: echo last >>/srv/ran

unit: test plan
id: restarting
_name: With a restart in the middle
include:
 own
 root
 restart
 after-restart
 last
"""
UNITS = JOBS + ''.join(RESTART.format(id=id_, then=THEN[id_]) for id_ in THEN)
PLAN = ['own', 'root', 'restart', 'after-restart', 'last']
PROVIDER = """[PlainBox Provider]
name = 2026.plainbox.machine:restarts
version = 1.0
location = /usr/lib/restarts
"""


@pytest.fixture
def bench(machine: Machine, debs: Path | None) -> Iterator[Machine]:
    """A machine that is not the others', and our jobs on it."""
    with booted(machine.release, CHECKOUT, debs) as other:
        install(other)
        other.check('mkdir', '--parents', '/usr/lib/restarts/units')
        other.put('/usr/lib/restarts/units/restarts.pxu', UNITS)
        folder = '/usr/share/plainbox-trusted-launcher-1'
        other.put(f'{folder}/restarts.provider', PROVIDER)
        other.put('/srv/ran', '')
        other.check('chmod', '666', '/srv/ran')
        yield other


def by(bench: Machine, user: str, command: str, *, status: int = 0) -> str:
    """What a command says that a user gives over ssh."""
    done = bench.ssh(user, command)
    assert done.returncode == status, (command, done.stdout, done.stderr)
    return done.stdout


def serve(bench: Machine, user: str) -> None:
    """Has the queue of a user worked on from now on, at each boot."""
    # logind wants to know whose control group asks, and ours is none of the machine's.
    linger = ('loginctl', 'enable-linger', user)
    bench.check('systemd-run', '--quiet', '--wait', '--collect', *linger)
    by(bench, user, 'systemctl --user enable --now plainbox-work')


def ran(bench: Machine) -> list[str]:
    """Which jobs ran, as they say themselves."""
    return bench.check('cat', '/srv/ran').split()


def until_in(bench: Machine, job: str) -> None:
    """Waits until the machine is in the middle of a job."""
    deadline = time.monotonic() + HANGS
    while job not in ran(bench):
        assert time.monotonic() < deadline


def boot(bench: Machine) -> str:
    return bench.check('cat', '/proc/sys/kernel/random/boot_id').strip()


def report(bench: Machine, user: str) -> dict[str, Any]:
    """The report of the last session."""
    found: dict[str, Any] = json.loads(by(bench, user, 'plainbox report --format json'))
    return found


def jobs(bench: Machine, user: str) -> dict[str, dict[str, Any]]:
    """The jobs of the last session by their ids, in their order."""
    found = report(bench, user)['jobs']
    return {each['job'].rpartition('::')[2]: each for each in found}


def statuses(bench: Machine, user: str) -> dict[str, str]:
    return {id_: job['status'] for id_, job in jobs(bench, user).items()}


def until(bench: Machine, user: str, state: str) -> None:
    """Waits until the last session is in a state."""
    deadline = time.monotonic() + HANGS
    while (found := report(bench, user)['session']['state']) != state:
        assert time.monotonic() < deadline, found


def require_whole(bench: Machine, user: str, before: str) -> None:
    """The plan ran: all passed, in order, nothing twice, in two boots."""
    after = boot(bench)
    assert after != before
    assert ran(bench) == PLAN
    found = jobs(bench, user)
    assert list(found) == PLAN
    assert {job['outcome'] for job in found.values()} == {'passed'}
    assert [job['boot_id'] for job in found.values()] == [before] * 3 + [after] * 2
    assert found['restart']['reason'] == 'the machine was restarted'
    assert found['after-restart']['stdout'] == f'{after}\n'
    told = report(bench, user)['session']
    assert told['state'] == 'finished'


# The machine restarts


def test_the_service_goes_on(bench: Machine) -> None:
    """A user's service works on the queue, also after a boot without login; a job

    that restarts the machine is completed by that, and what comes after it runs.
    """
    verify = f'systemd-analyze --user --man=no verify {UNIT}'
    with bench.unattended('member'):
        assert bench.ssh('member', verify).stderr == ''
        serve(bench, 'member')
        before = boot(bench)
        by(bench, 'member', 'plainbox submit --plan restarting')
        bench.arrive()
        until(bench, 'member', 'finished')
        require_whole(bench, 'member', before)
        junit = by(bench, 'member', 'plainbox report --format junit')
        assert junit.count('<testcase ') == len(PLAN)
        assert '<failure' not in junit
        active = by(bench, 'member', 'systemctl --user is-active plainbox-work')
        assert active == 'active\n'


def test_it_is_not_on_by_itself(bench: Machine) -> None:
    """Not enabled by the package: who wants it says so."""
    enabled = 'systemctl --user is-enabled plainbox-work'
    assert by(bench, 'member', enabled, status=1) == 'disabled\n'
    assert bench.ssh('member', 'pgrep plainbox').stdout == ''


def test_the_service_is_stopped(bench: Machine) -> None:
    """It ends the running job in order, and goes on behind it when it is started."""
    with bench.unattended('member'):
        serve(bench, 'member')
        by(bench, 'member', 'plainbox submit own waits last')
        until_in(bench, 'waits')
        by(bench, 'member', 'systemctl --user stop plainbox-work')
        assert bench.run('pgrep', '-x', 'sleep').returncode == 1
        failed = 'systemctl --user is-failed plainbox-work'
        assert by(bench, 'member', failed, status=1) == 'inactive\n'
        assert statuses(bench, 'member') == {
            'own': 'completed',
            'waits': 'cancelled',
            'last': 'pending',
        }
        by(bench, 'member', 'systemctl --user start plainbox-work')
        until(bench, 'member', 'finished')
        assert ran(bench) == ['own', 'waits', 'last']


def run_at_console(bench: Machine, user: str, what: str, answer: str = '') -> None:
    """Logs in, and runs what restarts the machine."""
    bench.console.log_in(user)
    bench.console.type(f'plainbox run {what}\r')
    if answer:
        bench.console.wait(QUESTION)
        assert any(bench.console.hides() for _ in range(HANGS))
        bench.console.type(answer)
    bench.arrive()


def test_a_person_goes_on(bench: Machine) -> None:
    """resume: go on with a session that was cut off."""
    before = boot(bench)
    run_at_console(bench, 'tester', '--plan restarting', ADMIN)
    assert statuses(bench, 'tester')['after-restart'] == 'pending'
    bench.console.log_in('tester')
    said = bench.console.enter('plainbox resume', ADMIN)
    assert (said.asked, said.status) == (1, 0), said.text
    assert said.text.endswith('\n5 jobs: 5 passed')
    require_whole(bench, 'tester', before)


def test_a_persons_session_waits_for_them(bench: Machine) -> None:
    """A service that may not run the rest of it, since a person would be asked, leaves

    it to them.
    """
    before = boot(bench)
    serve(bench, 'tester')
    run_at_console(bench, 'tester', '--plan restarting', ADMIN)
    journal = ('journalctl', '_SYSTEMD_USER_UNIT=plainbox-work.service')
    deadline = time.monotonic() + HANGS
    while 'plainbox: PBL-NO' not in bench.check(*journal):
        assert time.monotonic() < deadline
    until(bench, 'tester', 'interrupted')
    assert statuses(bench, 'tester')['after-restart'] == 'pending'
    bench.console.log_in('tester')
    said = bench.console.enter('plainbox resume', ADMIN)
    assert (said.asked, said.status) == (1, 0), said.text
    require_whole(bench, 'tester', before)


def test_however_the_job_ends(bench: Machine) -> None:
    """What the machine does to a job, its launcher and its runner as it goes down is

    not the job's failure, whoever of them is the first to end.
    """
    with bench.unattended('member'):
        for id_ in THEN:
            for how in ('', '--per-job '):
                run_at_console(bench, 'member', f'{how}{id_} last')
                found = statuses(bench, 'member')
                assert found == {id_: 'completed', 'last': 'pending'}, how
                by(bench, 'member', 'plainbox resume')
                assert set(statuses(bench, 'member').values()) == {'completed'}
    assert ran(bench) == [word for id_ in THEN for word in (id_, 'last') * 2]


# The machine loses power


def test_power_loss(bench: Machine) -> None:
    """Nothing that had completed is lost or run twice; what was running is lost, and

    said so. (What the disk has by then, no machine of ours can tell: its is memory.)
    """
    before = boot(bench)
    with bench.unattended('member'):
        by(bench, 'member', 'plainbox submit own root waits last')
        serve(bench, 'member')
        until_in(bench, 'waits')
        bench.lose_power()
        until(bench, 'member', 'finished')
    assert ran(bench) == ['own', 'root', 'waits', 'last']
    found = jobs(bench, 'member')
    assert {id_: job['status'] for id_, job in found.items()} == {
        'own': 'completed',
        'root': 'completed',
        'waits': 'lost',
        'last': 'completed',
    }
    assert found['own']['stdout'] == 'member\n'
    assert found['root']['stdout'] == 'root\n'
    assert found['waits']['reason'] == 'the run ended before the job did'
    assert [job['boot_id'] for job in found.values()] == [before] * 3 + [boot(bench)]


def test_power_loss_of_a_person(bench: Machine) -> None:
    """A session that a person began is gone on with by them: resume."""
    bench.console.log_in('tester')
    bench.console.type('plainbox run own root waits last\r')
    bench.console.wait(QUESTION)
    assert any(bench.console.hides() for _ in range(HANGS))
    bench.console.type(ADMIN)
    until_in(bench, 'waits')
    bench.lose_power()
    said = by(bench, 'tester', 'plainbox resume', status=3)
    assert said.endswith('\n4 jobs: 3 passed, 1 lost\n')
    assert ran(bench) == ['own', 'root', 'waits', 'last']
