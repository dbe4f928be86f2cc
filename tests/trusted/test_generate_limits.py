# SPDX-License-Identifier: ISC
"""How much a local job may print, and for how long; and what ends with it."""

import subprocess
from collections.abc import Iterator

import pytest
from house import LAUNCHER, House
from launching import UNKNOWN, cleared, digests, others, refused

from plainbox_launcher.trusted import generate

UNITS = r"""
id: flood
plugin: local
command: yes

id: long
plugin: local
command: seq 5000000 | sed 's/^/#/'; printf 'id: made\nuser: root\ncommand: echo ran\n'

id: flood-of-errors
plugin: local
command: yes >&2

id: records
plugin: local
command: yes 'a:' | sed G | head -c 4190000

id: lines
plugin: local
command: yes '' | head -c 4190000

id: slow
plugin: local
command:
 . hardy
 printf 'id: made\nuser: root\ncommand: echo ran\n\n'
 for second in {1..33}; do echo '#'; sleep 1; done

id: slower
plugin: local
command:
 . hardy
 printf 'id: made\nuser: root\ncommand: echo ran\n\n'
 for second in {1..4}; do echo '#'; sleep 1; done

id: floods-from-hiding
plugin: local
command:
 . hardy
 yes

id: deep
plugin: local
command:
 printf 'id: made\nuser: root\ncommand: echo ran\n'
 nest() { if test "$1" -gt 0; then (nest $(($1 - 1)); true) & fi; sleep infinity; }
 (nest 500 > /dev/null; true) &
 until test "$(pgrep -c sleep)" -gt 500; do sleep 0.1; done

id: holds
plugin: local
command:
 printf 'id: made\nuser: root\ncommand: echo ran\n'
 setsid setsid sleep infinity &
"""

# Detached twice, deaf to TERM, and it holds our pipe.
HARDY = r"""
setsid setsid bash -c 'trap "" TERM; echo $$ > /tmp/hardy; while :; do sleep 1; done' &
until [ -s /tmp/hardy ]; do sleep 0.01; done
"""

HASH = digests(UNITS)
(MADE,) = digests('id: made\nuser: root\ncommand: echo ran\n').values()

END = 'finally:\n            tree.end_tree(0)'  # the canary of what is ended

RSS = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)
"""


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('limits', {'units/house.pxu': UNITS, 'bin/hardy': HARDY}):
        yield


def via(house: House, job: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the job `made` of this local job."""
    return house.pkexec('--hash', MADE, '--via', HASH[job])


@pytest.mark.canary('execute.py', 'if len(text) > max_bytes:', 'if False:')
def test_a_flood_is_cut_off(house: House) -> None:
    """At 4 MiB; without that, 39 MB go through and the job is found."""
    assert refused(via(house, 'long'), 'PBL-GENERATOR-LIMIT')


@pytest.mark.canary('generate.py', 'if len(some) > MAX_RECORDS:', 'if False:')
def test_many_records_are_too_many(house: House) -> None:
    assert refused(via(house, 'records'), 'PBL-GENERATOR-LIMIT')


@pytest.mark.parametrize('job', ['flood', 'flood-of-errors', 'records', 'lines'])
def test_flat_memory(house: House, job: str) -> None:
    """Row 36: whatever a local job prints, the launcher stays small."""
    assert peak(house, job) < 256  # MiB


@pytest.mark.canary('generate.py', 'islice(found, MAX_RECORDS + 1)', 'found')
def test_records_are_counted_as_they_come(house: House) -> None:
    assert peak(house, 'records') < 256  # MiB


def peak(house: House, job: str) -> int:
    """Runs the local job as root: the most memory that the launcher had, in MiB."""
    command = [LAUNCHER, '--hash', UNKNOWN, '--via', HASH[job]]
    done = house.run(['/usr/bin/python3', '-c', RSS, *command], user='root')
    return int(done.stdout)


def test_a_local_job_takes_too_long(house: House) -> None:
    """30 seconds, although it says something each second and nothing is wrong."""
    with cleared(house):
        done = via(house, 'slow')
        assert refused(done, 'PBL-GENERATOR-LIMIT')
        assert b'the local job took more than 30 seconds (' in done.stderr
        assert not others(house)


@pytest.mark.canary('execute.py', 'if time.monotonic() > deadline:', 'if False:')
@pytest.mark.canary('execute.py', END, END.replace('tree.end_tree(0)', 'pass'))
def test_who_takes_too_long_is_ended(house: House) -> None:
    """The whole tree, also who detached itself twice and ignores TERM."""
    with cleared(house), house.canary('generate.py', 'seconds=30', 'seconds=1'):
        done = via(house, 'slower')
        assert not others(house)
    assert refused(done, 'PBL-GENERATOR-LIMIT')


@pytest.mark.canary('execute.py', END, END.replace('tree.end_tree(0)', 'pass'))
def test_who_prints_too_much_is_ended(house: House) -> None:
    with cleared(house):
        done = via(house, 'floods-from-hiding')
        assert not others(house)
    assert refused(done, 'PBL-GENERATOR-LIMIT')


@pytest.mark.canary('execute.py', END, END.replace('tree.end_tree(0)', 'pass'))
def test_who_holds_the_pipe_is_ended(house: House) -> None:
    """The local job's own end counts; what it left is ended, and the job runs."""
    with cleared(house):
        done = via(house, 'holds')
        assert not others(house)
    assert (done.returncode, done.stdout) == (0, b'ran\n')


@pytest.mark.canary('tree.py', 'if pids != told:', 'if False:')
def test_a_deep_tree_is_ended(house: House) -> None:
    """A generation at a time, for as long as something changes."""
    with cleared(house):
        done = via(house, 'deep')
        assert not others(house)
    assert (done.returncode, done.stdout) == (0, b'ran\n')


def test_the_limits() -> None:
    """No published local job prints more than some hundred records."""
    assert generate.LIMITS == (4 << 20, 30)
    assert generate.MAX_RECORDS == 10_000
