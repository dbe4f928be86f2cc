# SPDX-License-Identifier: ISC
"""What jobs may do to a runner, and it goes on all the same."""

import os
import signal
from collections.abc import Iterator

import pytest
from house import House
from launching import cleared, digests, refused
from running import plainbox, run

UNITS = r"""
id: root-leaves
user: root
plugin: shell
command: mkdir $PLAINBOX_SESSION_SHARE/d; echo > $PLAINBOX_SESSION_SHARE/d/x

id: leaves-writers
plugin: shell
command: for each in 1 2; do yes & done; sleep 0.3

id: mimics
user: root
plugin: shell
command: echo 'Error executing /opt/tool: No such file' >&2; exit 127

id: paints
plugin: shell
user: ESC[31m
_description: ESC[2J
command: true

id: base
plugin: shell
command: echo base

id: jobs
plugin: local
command: printf 'id: made\nplugin: shell\ndepends: base\ncommand: echo made\n'

id: floods
plugin: resource
command: yes 'name: x'

id: of-the-flood
plugin: shell
requires: floods.name == 'x'
command: true

id: begun
user: root
plugin: shell
command: touch /tmp/begun
""".replace('ESC', '\x1b')


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('robust', UNITS):
        yield


def test_root_leaves_a_folder_in_the_share(house: House) -> None:
    """What root left there is not the runner's to remove, nor a failure of the job."""
    ran = run(house, 'root-leaves')
    assert (ran.status, ran.lines[-1]) == (0, '1 job: 1 passed'), ran.text
    session = plainbox(house, 'sessions').text.split()[0]
    assert plainbox(house, 'session', 'rm', session).status == 0
    assert session not in plainbox(house, 'sessions').text


def test_writers_are_left_behind(house: House) -> None:
    """A command's own end counts, not that of what it left behind."""
    with cleared(house):
        assert run(house, 'leaves-writers').status == 0


def test_words_like_pkexecs(house: House) -> None:
    """A job that says what pkexec might say of the launcher has failed by itself."""
    ran = run(house, 'mimics')
    assert (ran.status, ran.lines[-1]) == (1, '1 job: 1 failed'), ran.text


def test_no_job_paints_the_terminal(house: House) -> None:
    for arguments in (['show', 'paints'], ['run', 'paints']):
        ran = plainbox(house, *arguments)
        assert '\x1b' not in ran.text + ran.errors
        assert r'\x1b[31m' in ran.text


def test_dependencies_of_a_generated_job(house: House) -> None:
    ran = run(house, 'jobs')
    assert (ran.status, ran.lines[-1]) == (0, '2 jobs: 2 passed'), ran.text


def test_a_resource_that_floods(house: House) -> None:
    """Bounded as a local job is for root."""
    with cleared(house):
        ran = run(house, 'of-the-flood')
    assert 'PBL-GENERATOR-LIMIT' in ran.text
    assert ran.lines[-1] == '1 job: 1 skipped'


@pytest.mark.canary('execute.py', 'if signal.sigpending() & STOPS:', 'if False:')
def test_told_to_stop_before_it_starts(house: House) -> None:
    """PBL-STOPPED: the job was not started."""

    def told() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)

    checksum = digests(UNITS)['begun']
    done = house.launcher('--hash', checksum, before=told)
    begun = house.path('/tmp/begun')
    try:
        assert not begun.exists()
    finally:
        begun.unlink(missing_ok=True)
    assert refused(done, 'PBL-STOPPED')
