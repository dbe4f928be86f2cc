# SPDX-License-Identifier: ISC
"""What a report says of each job: plainbox-report(5), JSON."""

import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from house import CLEAN, HANGS, House
from launching import cleared, digests, events
from reporting import Record, job, module, planned, schema, validate
from running import NAMESPACE, Ran, plainbox, run

from plainbox_launcher.process import Ended
from plainbox_launcher.record import in_json
from plainbox_launcher.result import Result
from plainbox_launcher.store import open_ledger

UNITS = r"""
id: own
command: echo own ran; echo a warning >&2

id: root
user: root
command: echo root ran; echo a warning >&2

id: daemon
user: daemon
command: echo daemon ran

id: fails
command: exit 3

id: fails-root
user: root
command: exit 125

id: killed
command: kill -9 $$

id: killed-root
user: root
command: kill -9 $$

id: limited
timeout: 1
command: echo begun; sleep infinity

id: limited-root
user: root
timeout: 1
command: echo begun; sleep infinity

id: tidy-root
user: root
timeout: 1
command: trap 'exit 7' TERM; sleep infinity & wait

id: waits
command: echo started; sleep infinity

id: waits-root
user: root
command: echo started; sleep infinity

id: leaves
command: sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done

id: leaves-root
user: root
command: sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done

id: busy
command: /usr/bin/python3 -c 'b = b"x" * (64 << 20); sum(range(3_000_000))'

id: busy-root
user: root
command: /usr/bin/python3 -c 'b = b"x" * (64 << 20); sum(range(3_000_000))'

id: unmet
requires: thing.kind == 'B'
command: echo unmet ran

id: thing
plugin: resource
command: echo 'kind: A'

id: broken
plugin: resource
command: echo no luck >&2; exit 5

id: nobody
user: nobody-such
command: echo ran

id: jobs
plugin: local
command: printf 'id: made-root\nuser: root\ncommand: echo made ran\n'

id: odd
command:
 printf '\377\200 \355\240\200 \033[31m\0\007\177\r'
 printf '\302\205\342\200\250"\\ \303\274\n'

id: odd-root
user: root
command:
 printf '\377\200 \355\240\200 \033[31m\0\007\177\r'
 printf '\302\205\342\200\250"\\ \303\274\n'

id: flood
command: yes plainbox | head -c 1000000

id: imitates
command: yes | head -c 70000; printf '\n[plainbox: cut here, after 67108864 bytes]\n'

id: wide
command:
 /usr/bin/python3 -c 'print("\u20ac" * 30000 + "x")'

id: long
command: seq 20000; echo end

id: long-root
user: root
command: seq 20000; echo end
"""
HASH = digests(UNITS)
REPORT = '/tmp/reports/report'


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    house.check('install', '-d', '-o', 'tester', '/tmp/reports')
    with house.provider('record', UNITS):
        yield
    house.check('rm', '-r', '/tmp/reports')


def read(house: House, path: str = REPORT) -> list[Record]:
    """The records of a report, each of which has all fields."""
    whole = json.loads(house.path(path).read_bytes().decode())
    assert whole.keys() == schema()['properties'].keys()
    version = house.check('plainbox', '--version').decode().strip()
    assert (whole['format'], whole['plainbox']) == (2, version)
    for record in whole['jobs']:
        assert record.keys() == schema()['$defs']['job']['properties'].keys()
    # Resource jobs that others ask about have tests of their own.
    return [record for record in whole['jobs'] if not record['implied']]


def reported(house: House, *jobs: str) -> tuple[Ran, list[Record]]:
    ran = run(house, f'--report=json={REPORT}', *jobs)
    return ran, read(house)


def one(house: House, job: str) -> Record:
    (record,) = reported(house, job)[1]
    return record


# Each field


def test_who_it_is(house: House) -> None:
    """A unique id, the job's id, what root knows it by, and as whom it ran."""
    _, records = reported(house, 'own', 'root', 'daemon', 'own')
    assert [record['job'] for record in records] == [
        f'{NAMESPACE}::{id_}' for id_ in ('own', 'root', 'daemon')
    ]
    for record in records:
        assert record['hash'] == HASH[record['job'].rpartition('::')[2]]
        assert record['via'] is None
        assert record['context'] is None
    assert [record['user'] for record in records] == [None, 'root', 'daemon']
    ids = {record['id'] for record in (*records, one(house, 'own'))}
    assert len({uuid.UUID(id_) for id_ in ids}) == 4


def test_via(house: House) -> None:
    """Of a job that a local job prints, root has to know that one, too."""
    record = one(house, 'made-root')
    assert record['via'] == HASH['jobs']
    command = ['--hash', record['hash'], '--via', record['via']]
    assert house.pkexec(*command).stdout == b'made ran\n'


def test_context(house: House) -> None:
    """The field of the job; here is no session to run it in."""
    with house.provider('shown', 'id: shown\nuser: x\ncontext: user-session\n'):
        record = one(house, 'shown')
    assert (record['context'], record['status']) == ('user-session', 'denied')


STATUSES = {
    'own': ('completed', None, None, 0, None),
    'root': ('completed', None, None, 0, None),
    'fails': ('failed', 'exit status 3', None, 3, None),
    'fails-root': ('failed', 'exit status 125', None, 125, None),
    'killed': ('failed', 'ended by signal 9', None, None, 9),
    'killed-root': ('failed', 'ended by signal 9', None, None, 9),
    'limited': ('timeout', 'it took more than its time', None, None, 15),
    'limited-root': ('timeout', 'it took more than its time', None, None, 15),
    'tidy-root': ('timeout', 'it took more than its time', None, 7, None),
    'unmet': ('skipped', "requires thing.kind == 'B'", None, None, None),
    'thing': ('completed', 'prints 1 record', None, 0, None),
    'broken': ('failed', f'{NAMESPACE}::broken: ended with 5: no luck', None, 5, None),
}


@pytest.mark.parametrize('job', STATUSES)
def test_statuses(house: House, job: str) -> None:
    """Why, for people, and how its shell ended."""
    record = one(house, job)
    keys = ('status', 'reason', 'code', 'exit_code', 'signal')
    assert tuple(record[key] for key in keys) == STATUSES[job]


def test_denied(house: House) -> None:
    """The code of a refusal. Nothing has run, so nothing has started."""
    ran, (record, other) = reported(house, 'nobody', 'root')
    assert ran.status == 3
    assert (record['status'], record['code']) == ('denied', 'PBL-ACCOUNT')
    assert record['reason'].startswith('PBL-ACCOUNT: there is no account nobody-such (')
    assert record['started_at'] is record['exit_code'] is record['cpu_seconds'] is None
    assert (record['stdout'], record['left_running']) == ('', [])
    assert other['status'] == 'completed'


def test_times(house: House) -> None:
    """In UTC, ISO 8601; all jobs are created with the run, and run in turn."""
    before = datetime.now(UTC)
    _, records = reported(house, 'own', 'unmet', 'root')
    after = datetime.now(UTC)
    text = records[0]['created_at']
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00', text)
    assert {record['created_at'] for record in records} == {text}
    created = datetime.fromisoformat(text)
    assert abs(created - before) < after - before
    last = created
    for record in records:
        if record['status'] == 'skipped':
            assert record['started_at'] is None
        else:
            started = datetime.fromisoformat(record['started_at'])
            assert started >= last
            last = started
        completed = datetime.fromisoformat(record['completed_at'])
        assert completed >= last
        last = completed


def test_figures(house: House) -> None:
    """Its CPU time, and the memory of its largest process."""
    for record in reported(house, 'busy', 'busy-root')[1]:
        assert record['cpu_seconds'] > 0.01
        assert record['peak_kib'] > 64 << 10
    for record in reported(house, 'own', 'root')[1]:
        assert 0 <= record['cpu_seconds'] < 10
        assert 0 < record['peak_kib'] < 64 << 10


def test_what_is_left_running(house: House) -> None:
    with cleared(house):
        own, roots = reported(house, 'leaves', 'leaves-root')[1]
    assert own['left_running'] == roots['left_running'] == ['sleep']
    assert own['status'] == roots['status'] == 'completed'


# Output


def test_output(house: House) -> None:
    """Both outputs, which were shown as well."""
    ran, records = reported(house, 'own', 'root')
    for record, who in zip(records, ('own', 'root'), strict=True):
        assert record['stdout'] == f'{who} ran\n'
        assert record['stderr'] == 'a warning\n'
        assert f'{who} ran' in ran.lines


@pytest.mark.parametrize('job', ['long', 'long-root'])
def test_long_output(house: House, job: str) -> None:
    """The last 64 KiB of each."""
    text = ''.join(f'{n}\n' for n in range(1, 20001)) + 'end\n'
    assert one(house, job)['stdout'] == text[-65536:]


@pytest.mark.parametrize('job', ['odd', 'odd-root'])
def test_odd_output(house: House, job: str) -> None:
    """What is not UTF-8 is replaced; all else is as it was, also what is no text."""
    command = ['plainbox', 'run', f'--report=json={REPORT}', job]
    done = house.run(command)
    (record,) = read(house)
    shown = done.stdout.split(b'\n')[1] + b'\n'
    assert record['stdout'] == shown.decode('utf-8', 'replace')
    assert '\0\a\x7f\r\x85\u2028"\\ \u00fc\n' in record['stdout']
    raw = house.path(REPORT).read_bytes()
    assert not re.search(rb'[\0-\x09\x0b-\x1f]', raw)


# The file


@pytest.mark.parametrize(
    ('path', 'why'),
    [
        ('/tmp/nowhere/report', 'No such file or directory'),
        ('/usr/report', 'Permission denied'),
        ('/tmp/reports', 'Is a directory'),
    ],
)
def test_a_file_that_cannot_be_written(house: House, path: str, why: str) -> None:
    """3, before any job runs and anybody is asked."""
    ran = run(house, f'--report=json={path}', 'own', 'root')
    assert (ran.status, ran.text) == (3, '')
    assert ran.errors == f'plainbox: {path}: {why}\n'
    assert events(house) == []


@pytest.mark.parametrize('value', ['', 'json', 'json=', 'xml=/tmp/x', '/tmp/x'])
def test_what_is_no_report(house: House, value: str) -> None:
    """2: wrong usage."""
    ran = run(house, '--report', value, 'own')
    assert (ran.status, ran.text) == (2, '')
    assert 'argument --report: write FORMAT=FILE, with one of the' in ran.errors


def test_a_full_disk(house: House) -> None:
    """3: what is missing is said."""
    ran = run(house, '--report=json=/dev/full', 'own')
    assert ran.status == 3
    assert ran.lines[-1] == '1 job: 1 passed'
    assert ran.errors.endswith(': No space left on device\n')
    assert 'Traceback' not in ran.errors


def test_two_reports(house: House) -> None:
    """The option may be given again; both are the same but for nothing."""
    paths = [f'/tmp/reports/{name}' for name in ('a=b', 'ü c')]
    run(house, *(f'--report=json={path}' for path in paths), 'own', 'root')
    first, second = (read(house, path) for path in paths)
    assert len(first) == 2
    assert [r['stdout'] for r in first] == [r['stdout'] for r in second]


def test_no_consent(house: House) -> None:
    """No job ran, so there is no report, and no older one is taken for it."""
    command = ['plainbox', 'run', '--report=json=/tmp/report', 'own', 'root']
    try:
        house.path('/tmp/report').write_bytes(b'all is well')
        house.check('chown', 'stranger', '/tmp/report')
        done = house.run(command, user='stranger')
        assert done.returncode == 3
        assert house.path('/tmp/report').read_bytes() == b''
    finally:
        house.check('rm', '/tmp/report')


def heed() -> None:
    """Heed Ctrl-C: what a shell started in the background does not, nor its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('job', ['waits', 'waits-root'])
def test_after_ctrl_c(house: House, job: str) -> None:
    """It is written, too; what has not run is there as well."""
    command = ['plainbox', 'run', f'--report=json={REPORT}', 'own', job, 'root']
    with (
        house.popen(command, stdout=subprocess.PIPE, before=heed) as process,
        cleared(house),
    ):
        assert process.stdout
        while process.stdout.readline() != b'started\n':
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=HANGS)
    assert process.returncode == 130
    first, last, never = read(house)
    assert first['status'] == 'completed'
    assert (never['status'], never['outcome']) == ('pending', None)
    assert never['completed_at'] is never['reason'] is never['stdout_file'] is None
    assert (last['job'], last['status']) == (f'{NAMESPACE}::{job}', 'cancelled')
    assert (last['exit_code'], last['signal']) == (None, 15)
    assert last['stdout'] == 'started\n'


def test_a_lost_launcher(house: House) -> None:
    with house.canary(
        'keeper.py', 'tree.own_descendants()', 'os.kill(os.getppid(), 9)'
    ):
        ran, records = reported(house, 'root', 'own')
    assert ran.status == 3
    assert [record['code'] for record in records] == ['PBL-LOST', None]


# The view


def shut_in(house: House, *jobs: str) -> Ran:
    """A run where / is read-only, as in a service with ProtectSystem=strict."""
    person = 'setpriv --reuid=tester --regid=tester --init-groups'
    script = f'mount -o remount,bind,ro / && exec {person} "$@"'
    command = ['plainbox', 'run', f'--report=json={REPORT}', *jobs]
    done = house.run(
        ['unshare', '--mount', 'sh', '-c', script, 'sh', *command],
        user='root',
        env={**CLEAN, 'XDG_STATE_HOME': '/tmp/.local/state'},
    )
    return Ran(done)


def test_the_machine_as_it_is(house: House) -> None:
    ran, records = reported(house, 'own', 'root')
    assert [record['view'] for record in records] == [[], []]
    assert ran.errors == 'a warning\n' * 2


def test_a_sandbox(house: House) -> None:
    """In what way the job did not see the machine as it is; people are warned."""
    ran = shut_in(house, 'own', 'root')
    own, roots = read(house)
    assert ran.status == 0
    assert roots['view'] == ['private-mounts', 'read-only-root']
    assert 'read-only-root' in own['view']
    assert ran.errors.splitlines()[0] == (
        "plainbox: root's jobs see a sandbox instead of the machine: "
        'private-mounts, read-only-root'
    )


def test_a_sandbox_without_root(house: House) -> None:
    """Nobody is warned of what root's jobs see where there are none."""
    ran = shut_in(house, 'own')
    assert (ran.status, ran.errors) == (0, 'a warning\n')


def test_the_jobs_of_a_file(house: House) -> None:
    """In the order of the run, with what a job depends on."""
    text = 'id: second\ndepends: first\ncommand: true\n\nid: first\ncommand: true\n'
    with house.provider('order', text):
        _, records = reported(house, 'second')
    assert [Path(r['job']).name.rpartition('::')[2] for r in records] == [
        'first',
        'second',
    ]


# What the ledger adds


def test_session(house: House) -> None:
    """Its state, its times, its folder, and the command that asks for the same."""
    run(house, f'--report=json={REPORT}', '--max-output=1M', 'own', 'unmet')
    session = json.loads(house.path(REPORT).read_bytes())['session']
    assert session.keys() == schema()['$defs']['session']['properties'].keys()
    assert session['state'] == 'finished'
    report = f'--report=json={REPORT}'
    words = ['plainbox', 'run', '--max-output=1048576', report, 'own', 'unmet']
    assert session['command'] == words
    times = [session[f'{word}_at'] for word in ('created', 'started', 'completed')]
    assert times == sorted(times)
    assert house.path(session['folder']).is_dir()


def test_the_session_is_the_last_one(house: House) -> None:
    """`plainbox report` writes the same as --report does, and again."""
    run(house, f'--report=json={REPORT}', 'own', 'fails')
    for _ in range(2):
        said = plainbox(house, 'report', '--format=json')
        assert said.text == house.path(REPORT).read_text()


def test_those_that_others_ask_about(house: House) -> None:
    """Implied is a resource job that runs because others ask about it."""
    run(house, f'--report=json={REPORT}', 'unmet')
    records = json.loads(house.path(REPORT).read_bytes())['jobs']
    assert [(Path(r['job']).name, r['implied']) for r in records] == [
        (f'{NAMESPACE}::thing', True),
        (f'{NAMESPACE}::unmet', False),
    ]
    assert records[0]['stdout'] == 'kind: A\n'
    assert records[0]['number'] < records[1]['number']


def test_what_was_kept(house: House) -> None:
    """The file with what was kept, its size, and whether there was more."""
    _, (record,) = reported(house, '--max-output=100k', 'flood')
    text = house.path(record['stdout_file']).read_bytes()
    assert (record['stdout_bytes'], record['stdout_cut']) == (len(text), True)
    assert record['stdout'] == text[-65536:].decode()
    assert record['stdout'].endswith('[plainbox: cut here, after 102400 bytes]\n')
    assert (record['stderr_bytes'], record['stderr_cut']) == (0, False)


def test_an_imitated_mark(house: House) -> None:
    """Cut is what had no room, not what says so."""
    record = one(house, 'imitates')
    assert record['stdout'].endswith('[plainbox: cut here, after 67108864 bytes]\n')
    assert record['stdout_cut'] is False


def test_a_character_in_two(house: House) -> None:
    """The last 64 KiB; of what begins before them, nothing is there."""
    record = one(house, 'wide')
    assert record['stdout_bytes'] == 3 * 30000 + 2
    assert record['stdout'] == '\u20ac' * (65534 // 3) + 'x\n'


EACH = ('own', 'fails', 'killed-root', 'limited', 'unmet', 'nobody', 'thing', 'odd')


def test_schema(house: House) -> None:
    """report.schema.json is the JSON Schema of it: of jobs of all outcomes."""
    house.run(['plainbox', 'run', f'--report=json={REPORT}', *EACH])
    whole = validate(house.path(REPORT).read_bytes())
    assert {record['outcome'] for record in whole['jobs']} == {
        *('passed', 'failed', 'timeout', 'skipped', 'denied')
    }
    jsonschema = module('jsonschema')
    for name in schema()['$defs']['job']['required']:
        less = {k: v for k, v in whole['jobs'][0].items() if k != name}
        with pytest.raises(jsonschema.ValidationError, match=f"'{name}' is a required"):
            validate(json.dumps({**whole, 'jobs': [less]}))


LOST = {
    'status': 'lost',
    'outcome': 'lost',
    'reason': 'the run ended before the job did',
}


def test_schema_of_what_did_not_end(tmp_path: Path) -> None:
    """The same of jobs that run, are lost, are cancelled, or have not run.

    Whether a job runs or is lost is whether anybody is there who works on the session.
    """
    names = ['ran', 'lost', 'cancelled', 'reboots', 'waits']
    jobs = {name: job(f'id: {name}\n_summary: S\ncommand: true\n') for name in names}
    with open_ledger(str(tmp_path)) as ledger:
        session = planned(ledger, *jobs.values())
        rows = {row.short_id: row for row in ledger.rows(session)}
        for name in 'ran', 'lost', 'reboots':
            rows[name] = ledger.start(rows[name], ['x'], noreturn=name == 'reboots')
            if name == 'ran':
                ended = Ended(0, b'', b'', 'exit', 0.25, 1024, ('sleep',))
                result = Result(jobs['ran'], 'passed', ended=ended, comment='fine')
                ledger.end(rows['ran'], result)
        ledger.end(rows['cancelled'], Result(jobs['cancelled'], 'cancelled'))
        with open_ledger(str(tmp_path)) as another, another.lock(session):
            running = validate(in_json(ledger, session))
        whole = validate(in_json(ledger, session))
    assert [(each['status'], each['outcome']) for each in whole['jobs']] == [
        ('completed', 'passed'),
        ('lost', 'lost'),
        ('cancelled', 'cancelled'),
        ('rebooting', None),
        ('pending', None),
    ]
    assert running['session']['state'] == 'running'
    assert {**running['jobs'][1], **LOST} == {**whole['jobs'][1], 'completed_at': None}
    assert whole['jobs'][0]['comment'] == 'fine'
    assert whole['session']['state'] == 'interrupted'


def test_what_no_encoding_knows(tmp_path: Path) -> None:
    """A name of a file may be no text, and nothing of a report drives a terminal."""
    with open_ledger(str(tmp_path)) as ledger:
        first = job('id: \u202ea\x9b\U0001f600\ncommand: true\n')
        session = planned(ledger, first, providers=('/tmp/\udcff',))
        text = in_json(ledger, session)
    assert text.isprintable() or not re.search(r'[^\n\x20-\x7e\U0001f600]', text)
    whole = json.loads(text.encode())
    assert whole['session']['command'][3] == '/tmp/\udcff'
    assert whole['jobs'][0]['job'] == first.id
