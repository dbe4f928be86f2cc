# SPDX-License-Identifier: ISC
"""Directories and files, opened first and then checked.

 1. A path is walked from / one name at a time, and no link is followed.
 2. Each directory on the way, and each file, MUST belong to root and MUST NOT
    be writable by group or others: what the open descriptor says counts, not
    what the name said before.
 3. A file MUST be regular and small. It is read once.

`trusted=False` leaves out rule 2 and links on the way, for the providers that
a developer runs without privileges. The launcher never says it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .errors import Fault, Missing

# The longest unit file in the published corpus has about 200 kB.
MAX_BYTES: Final = 4 << 20

# O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOCTTY: nor may a
# terminal become ours.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def directory(path: str, *, trusted: bool = True) -> Iterator[int]:
    """Open the directory `path`, absolute and without `..`, all the way down.

    Raises Fault naming the first part that is at fault; Missing if that fault
    is that it is not there.
    """
    if not trusted:
        path = os.path.realpath(path)
    fd, walked = _open('/', None, '/', trusted), ''
    try:
        for name in path.strip('/').split('/'):
            walked = f'{walked}/{name}'
            above, fd = fd, _open(name, fd, walked, trusted)
            os.close(above)
        yield fd
    finally:
        os.close(fd)


def read(name: str, parent: int, path: str, *, trusted: bool = True) -> bytes:
    """The bytes of the file `name` in the open directory `parent`."""
    with _blaming(path), closing(os.open(name, _FLAGS, dir_fd=parent)) as fd:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Fault(path, 'is not a regular file')
        if trusted:
            _check(status, path)
        return _read_all(fd, path)


def walk(
    parent: int,
    path: str,
    suffixes: tuple[str, ...],
    faults: list[Fault],
    *,
    depth: int = 0,
    trusted: bool = True,
) -> Iterator[tuple[str, bytes]]:
    """All files in `parent` whose names end so, in order: path and bytes.

    `depth` says how far to go down into directories. What is refused goes to
    `faults`; the others live on.
    """
    with _blaming(path):
        names = sorted(os.listdir(parent))
    for name in names:
        where = f'{path}/{name}'
        try:
            if name.endswith(suffixes):
                yield where, read(name, parent, where, trusted=trusted)
            elif depth and _is_directory(name, parent):
                with closing(_open(name, parent, where, trusted)) as fd:
                    yield from walk(
                        fd, where, suffixes, faults, depth=depth - 1, trusted=trusted
                    )
        except Fault as fault:
            faults.append(fault)


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)


def _open(name: str, parent: int | None, path: str, trusted: bool) -> int:
    with _blaming(path):
        fd = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=parent)
        try:
            if trusted:
                _check(os.fstat(fd), path)
        except (Fault, OSError):
            os.close(fd)
            raise
    return fd


@contextmanager
def _blaming(path: str) -> Iterator[None]:
    """What the system says no to in the block is a fault of this path."""
    try:
        yield
    except FileNotFoundError:
        raise Missing(path, 'is not there') from None
    except OSError as error:
        raise Fault(path, _reason(error)) from None


def _check(status: os.stat_result, path: str) -> None:
    if status.st_uid != 0:
        raise Fault(path, 'does not belong to root')
    if status.st_mode & stat.S_IWGRP:
        raise Fault(path, 'is writable by its group')
    if status.st_mode & stat.S_IWOTH:
        raise Fault(path, 'is writable by everyone')


def _read_all(fd: int, path: str) -> bytes:
    data = b''
    while chunk := os.read(fd, MAX_BYTES + 1 - len(data)):
        data += chunk
        if len(data) > MAX_BYTES:
            raise Fault(path, f'is larger than {MAX_BYTES >> 20} MiB')
    return data


def _is_directory(name: str, parent: int) -> bool:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False  # gone since it was listed
    return stat.S_ISDIR(status.st_mode)


def _reason(error: OSError) -> str:
    # open(2): ELOOP is O_NOFOLLOW's word for a link, ENOTDIR is O_DIRECTORY's.
    reasons = {
        errno.ELOOP: 'is a symbolic link',
        errno.ENOTDIR: 'is a symbolic link or not a directory',
    }
    return reasons.get(error.errno or 0, f'cannot be read: {error.strerror}')
