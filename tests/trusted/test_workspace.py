# SPDX-License-Identifier: ISC
"""The directory that a job runs in."""

import functools
import os
import re
import shutil
from collections.abc import Callable

import probe
import pytest
from house import House, put
from probe import sweep

WORKSPACE = rb'/tmp/plainbox-[0-9a-f]{16}'


@pytest.fixture(params=['pkexec', 'root'])
def call(request: pytest.FixtureRequest, house: House) -> probe.Call:
    return {'pkexec': house.pkexec, 'root': house.launcher}[request.param]


# Row 16: the working directory


def gone() -> None:
    os.mkdir('/tmp/gone')
    os.chdir('/tmp/gone')
    os.rmdir('/tmp/gone')


def of_the_user() -> None:
    os.chdir('/home/tester')


def without_access() -> None:
    os.mkdir('/tmp/closed')
    os.chdir('/tmp/closed')
    os.chmod('.', 0)
    os.rmdir('/tmp/closed')


@pytest.mark.canary('execute.py', "environ['HOME'] if", 'os.getcwd() if')
@pytest.mark.canary('execute.py', 'os.chdir(directory)', 'pass')
@pytest.mark.parametrize('before', [gone, of_the_user, without_access])
def test_preserve_cwd(
    house: House, call: probe.Call, before: Callable[[], None]
) -> None:
    """`flags: preserve-cwd`: root's home, never a directory of the caller's."""
    if call == house.pkexec:
        call = functools.partial(call, options=['--keep-cwd'])
    one = probe.job('pwd', flags='preserve-cwd')
    with probe.installed(house, one) as (checksum,):
        done = call('--hash', checksum, 'PWD=/home/tester', before=before)
    assert (done.returncode, done.stdout, done.stderr) == (0, b'/root\n', b'')


@pytest.mark.canary('start.py', "os.chdir('/')", 'pass')
@pytest.mark.canary('execute.py', 'os.chdir(directory)', 'pass')
@pytest.mark.parametrize('before', [gone, of_the_user, without_access])
def test_working_directory(
    house: House, call: probe.Call, before: Callable[[], None]
) -> None:
    """A fresh and empty directory of root's, removed afterwards."""
    command = """
        readlink /proc/$PPID/cwd /proc/$$/cwd
        stat -c '%u %g %a' .
        ls -A
    """
    if call == house.pkexec:
        call = functools.partial(call, options=['--keep-cwd'])
    done = probe.seen(house, command, call=call, before=before)
    assert re.fullmatch(rb'/\n%s\n0 0 700\n' % WORKSPACE, done.stdout)
    assert (done.returncode, done.stderr) == (0, b'')


@pytest.mark.canary(
    'execute.py',
    'else:\n                _remove(path)\n',
    'else:\n                pass\n',
)
def test_the_working_directory_is_removed(house: House) -> None:
    """Whatever lies in it."""
    command = """
        pwd
        mkdir -p deep/er; > deep/er/file; > -odd; > $'\\n\\xff'; mkfifo fifo
        ln -s / folder; ln -s nowhere link; mkdir closed; chmod 0 closed
    """
    done = probe.seen(house, command)
    folder = house.path(done.stdout.decode().strip())
    left = folder.exists()
    sweep(house)
    assert not left
    assert (done.returncode, done.stderr) == (0, b'')


@pytest.mark.canary(
    'execute.py', "if any(f' {path}' in mount for mount in mounts):", 'if 0:'
)
def test_what_is_mounted_there_survives(house: House) -> None:
    """The working directory is not removed while something is mounted in it."""
    precious = house.path('/opt/precious')
    precious.mkdir()
    put(precious / 'file', b'precious')
    try:
        done = probe.seen(house, 'pwd; mkdir m; mount --bind /opt/precious m')
        folder = done.stdout.decode().strip()
        house.check('umount', f'{folder}/m')
        shutil.rmtree(house.path(folder), ignore_errors=True)
        assert os.listdir(precious) == ['file']
    finally:
        shutil.rmtree(precious)


@pytest.mark.parametrize('target', ['/opt/precious', '/opt/precious/file'])
def test_what_is_linked_there_survives(house: House, target: str) -> None:
    precious = house.path('/opt/precious')
    precious.mkdir()
    put(precious / 'file', b'precious')
    try:
        done = probe.seen(house, f'pwd; ln -s {target} link; mkdir d; ln -s {target} d')
        assert (precious / 'file').read_bytes() == b'precious'
        assert not house.path(done.stdout.decode().strip()).exists()
    finally:
        shutil.rmtree(precious)
