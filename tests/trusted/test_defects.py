# SPDX-License-Identifier: ISC
"""Row 30: each defect of a directory or file, at each level, through the launcher.

Two providers are installed: `good`, in the second of the two directories, and `bad`,
of which one directory or file is spoiled. Then the jobs that hang on it are not there,
the refusal and the log name it with a sentence of its own, and all others still run.
"""

import os
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from house import PROVIDERS, House, make_folders, put

from plainbox_launcher.trusted import unit

OTHERS: Final = '/usr/share/plainbox-providers-1'
TOP: Final = '/usr/lib/house-bad'
USER: Final = 1234  # anyone but root

# Where the defect is, and whether the rest of the provider goes with it.
FOLDERS: Final = {
    'definitions': PROVIDERS,
    'parent': TOP,
    'location': f'{TOP}/lib',
    'units': f'{TOP}/lib/units',
    'jobs': f'{TOP}/lib/jobs',
    'bin': f'{TOP}/lib/bin',
    'data': f'{TOP}/lib/data',
    'below units': f'{TOP}/lib/units/deep',
}
FILES: Final = {
    'definition': f'{PROVIDERS}/bad.provider',
    'unit file': f'{TOP}/lib/units/deep/bad.pxu',
    'job file': f'{TOP}/lib/jobs/bad.txt.in',
}
ALONE: Final = ('below units', 'unit file', 'job file')

Make = Callable[[Path], object]


def job(name: str) -> dict[str, str]:
    return {'id': name, 'user': 'root', 'plugin': 'shell', 'command': f'echo {name}'}


def text(*names: str) -> str:
    records = (''.join(f'{k}: {v}\n' for k, v in job(name).items()) for name in names)
    return '\n'.join(records)


@pytest.fixture(scope='module')
def good(house: House) -> Iterator[None]:
    """Gives a provider where packages for PlainBox put theirs."""
    folder, units = house.path(OTHERS), house.path('/usr/lib/house-good/units')
    was_there = folder.exists()
    make_folders(folder)
    make_folders(units)
    definition = b'[PlainBox Provider]\nname = a:good\nlocation = /usr/lib/house-good\n'
    put(folder / 'good.provider', definition)
    put(units / 'good.pxu', text('good').encode())
    yield
    shutil.rmtree(units.parent)
    put(folder / 'good.provider', None)
    if not was_there:
        folder.rmdir()


@pytest.fixture
def bad(house: House, good: None) -> Iterator[None]:
    """Gives a provider to be spoiled."""
    del good
    parts: dict[str, str | bytes] = {
        'lib/units/deep/bad.pxu': text('from unit file'),
        'lib/jobs/bad.txt.in': text('from job file'),
        'lib/units/fine.pxu': text('fine'),
        'lib/bin/tool': '',
        'lib/data/some': '',
    }
    with house.provider('bad', parts, location=f'{TOP}/lib'):
        yield


def run(house: House, name: str) -> str:
    """What is printed by the job, or else by the launcher, which must have refused."""
    done = house.launcher('--hash', unit.checksum(job(name)))
    assert (done.returncode, not done.stdout) in ((0, False), (125, True)), done
    return (done.stdout or done.stderr).decode().rstrip('\n')


def refused(house: House, level: str, fault: str) -> None:
    """The promise of this file."""
    where = {**FOLDERS, **FILES}[level]
    name = 'from job file' if level in ('jobs', 'job file') else 'from unit file'
    said = run(house, name)
    assert said.startswith('plainbox-trusted-launcher-1: PBL-NO-JOB: no such job; ')
    assert f'; refused were {where}: {fault} (' in said
    assert run(house, 'good') == 'good'
    _, start, _ = house.log('plainbox-trusted-launcher-1')
    escaped = f'{where}: {fault}'.replace(' ', r'\x20')
    assert start.text.endswith(f' faults={escaped}')
    if level in ALONE:
        assert run(house, 'fine') == 'fine'
    else:
        assert 'PBL-NO-JOB' in run(house, 'fine')


# The owner and the mode

levels = pytest.mark.parametrize('level', [*FOLDERS, *FILES])
folders = pytest.mark.parametrize('level', FOLDERS)
plain_files = pytest.mark.parametrize('level', FILES)


@contextmanager
def changed(house: House, level: str, *, uid: int = 0, mode: int = 0) -> Iterator[None]:
    path = house.path({**FOLDERS, **FILES}[level])
    before = path.stat()
    os.chown(path, uid, 0)
    path.chmod(before.st_mode | mode)
    try:
        yield
    finally:
        os.chown(path, 0, 0)
        path.chmod(before.st_mode)


@pytest.mark.canary('files.py', 'if status.st_uid != 0:', 'if False:')
@levels
@pytest.mark.usefixtures('bad')
def test_owner(house: House, level: str) -> None:
    with changed(house, level, uid=USER):
        refused(house, level, 'does not belong to root')


@pytest.mark.canary('files.py', 'if status.st_mode & stat.S_IWGRP:', 'if False:')
@levels
@pytest.mark.usefixtures('bad')
def test_group(house: House, level: str) -> None:
    with changed(house, level, mode=0o020):
        refused(house, level, 'is writable by its group')


@pytest.mark.canary('files.py', 'if status.st_mode & stat.S_IWOTH:', 'if False:')
@levels
@pytest.mark.usefixtures('bad')
def test_everyone(house: House, level: str) -> None:
    with changed(house, level, mode=0o002):
        refused(house, level, 'is writable by everyone')


@pytest.mark.canary('files.py', 'if status.st_mode & stat.S_IWGRP:', 'if False:')
@levels
@pytest.mark.usefixtures('bad')
def test_an_access_control_list(house: House, level: str) -> None:
    """acl(5): whom it lets write, the group bits show."""
    path = house.path({**FOLDERS, **FILES}[level])
    # struct posix_acl_xattr_header, then entries: tag, permissions, id.
    nobody = 0xFFFFFFFF
    entries = [(1, 7, nobody), (2, 7, USER), (4, 5, nobody), (16, 7, nobody)]
    packed = b''.join(
        struct.pack('<HHI', *entry) for entry in (*entries, (32, 5, nobody))
    )
    mode = path.stat().st_mode
    os.setxattr(path, 'system.posix_acl_access', struct.pack('<I', 2) + packed)
    try:
        refused(house, level, 'is writable by its group')
    finally:
        os.removexattr(path, 'system.posix_acl_access')
        path.chmod(mode)


@pytest.mark.canary('files.py', 'if status.st_uid != 0:', 'if False:')
@plain_files
@pytest.mark.usefixtures('bad')
def test_a_hard_link_to_a_users_file(house: House, level: str) -> None:
    """To a file of root's it would be as good as any other name of that file."""
    path = house.path(FILES[level])
    with something_else(house, level, lambda place: place.hardlink_to(aside(house))):
        os.chown(path, USER, 0)
        refused(house, level, 'does not belong to root')
        os.chown(path, 0, 0)
        assert run(house, 'from unit file') == 'from unit file'


@pytest.mark.parametrize(
    ('location', 'fault'),
    [
        ('/tmp/bad', '/tmp: is writable by its group'),
        ('/var/tmp/bad', '/var/tmp: is writable by its group'),
        ('/dev/shm/bad', '/dev/shm: is writable by its group'),
        ('/home/tester/bad', '/home/tester: does not belong to root'),
    ],
)
def test_where_users_write(house: House, location: str, fault: str) -> None:
    """The first part that is at fault, from / on; whatever lies below."""
    folder = house.path(location)
    make_folders(folder)
    try:
        with house.provider('bad', text('from unit file'), location=location):
            assert f'; refused were {fault} (' in run(house, 'from unit file')
    finally:
        folder.rmdir()


# Something else in its place


def aside(house: House) -> Path:
    return house.path('/usr/lib/house-aside')


@contextmanager
def something_else(house: House, level: str, make: Make) -> Iterator[None]:
    path = house.path({**FOLDERS, **FILES}[level])
    shutil.move(path, aside(house))
    make(path)
    try:
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        shutil.move(aside(house), path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_device(path: Path) -> None:
    os.mknod(path, 0o020644, os.makedev(1, 3))


def a_link(path: Path) -> None:
    path.symlink_to('/usr/lib/house-aside')


def a_dangling_link(path: Path) -> None:
    path.symlink_to('/nowhere')


def a_file(path: Path) -> None:
    put(path, b'')


def sparse(path: Path) -> None:
    put(path, b'')
    os.truncate(path, 100 << 20)


NO_FOLLOW = 'os.O_RDONLY | os.O_NOFOLLOW |', 'os.O_RDONLY |'
NAMED = [level for level in FOLDERS if level != 'below units']
NOT_A_DIRECTORY = 'is a symbolic link or not a directory'


@pytest.mark.canary('files.py', *NO_FOLLOW)
@pytest.mark.parametrize('level', [*NAMED, *FILES])
@pytest.mark.usefixtures('bad')
def test_a_symbolic_link(house: House, level: str) -> None:
    """Also to what would be sound itself."""
    with something_else(house, level, a_link):
        fault = 'is a symbolic link' if level in FILES else NOT_A_DIRECTORY
        refused(house, level, fault)


@pytest.mark.parametrize(
    'make', [os.mkfifo, a_socket, a_device, a_file, a_dangling_link]
)
@pytest.mark.parametrize('level', NAMED)
@pytest.mark.usefixtures('bad')
def test_no_directory(house: House, level: str, make: Make) -> None:
    with something_else(house, level, make):
        refused(house, level, NOT_A_DIRECTORY)


@pytest.mark.parametrize('make', [os.mkfifo, a_socket, a_device, a_file, a_link])
@pytest.mark.usefixtures('bad')
def test_what_is_below_units_by_another_name(house: House, make: Make) -> None:
    """Unit files are *.pxu, found in directories: the rest is not looked at."""
    with something_else(house, 'below units', make):
        assert run(house, 'from unit file').endswith(
            'no such job (install the provider that defines it, or update the caller)'
        )
        assert run(house, 'fine') == 'fine'


REGULAR = 'if not stat.S_ISREG(status.st_mode):', 'if False:'


@pytest.mark.canary('files.py', *REGULAR, crashes=True)
@pytest.mark.parametrize('make', [os.mkfifo, a_device, Path.mkdir])
@plain_files
@pytest.mark.usefixtures('bad')
def test_no_regular_file(house: House, level: str, make: Make) -> None:
    """A FIFO without a writer does not hang it either."""
    with something_else(house, level, make):
        path = house.path(FILES[level])
        path.chmod(0o755)
        refused(house, level, 'is not a regular file')


@plain_files
@pytest.mark.usefixtures('bad')
def test_a_socket_for_a_file(house: House, level: str) -> None:
    with something_else(house, level, a_socket):
        refused(house, level, 'cannot be read: No such device or address')


@plain_files
@pytest.mark.usefixtures('bad')
def test_a_link_to_nowhere(house: House, level: str) -> None:
    with something_else(house, level, a_dangling_link):
        refused(house, level, 'is a symbolic link')


@pytest.mark.canary('files.py', 'if len(data) > MAX_BYTES:', 'if False:')
@plain_files
@pytest.mark.usefixtures('bad')
def test_100_megabytes(house: House, level: str) -> None:
    with something_else(house, level, sparse):
        refused(house, level, 'is larger than 4 MiB')


@pytest.mark.usefixtures('bad')
def test_an_empty_definition(house: House) -> None:
    with something_else(house, 'definition', a_file):
        refused(house, 'definition', 'has no section [PlainBox Provider]')


@pytest.mark.parametrize('level', ['unit file', 'job file'])
@pytest.mark.usefixtures('bad')
def test_an_empty_file_of_units(house: House, level: str) -> None:
    """Is nothing: no job and no fault."""
    with something_else(house, level, a_file):
        said = run(house, f'from {level}')
    assert 'PBL-NO-JOB' in said
    assert 'refused were' not in said


@pytest.mark.usefixtures('bad')
def test_a_directory_that_is_named_and_gone(house: House) -> None:
    with something_else(house, 'location', lambda _: None):
        refused(house, 'location', 'is not there')
