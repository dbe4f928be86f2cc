# SPDX-License-Identifier: ISC
"""Reports of a session in the formats there are, made from the ledger, and as files."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EBUSY, EPERM, EROFS
from typing import Final

from . import chronicle, junit, record
from .store import Ledger, Session

_WRITERS: Final[dict[str, Callable[[Ledger, Session], str | bytes]]] = {
    'text': chronicle.in_text,
    'json': record.in_json,
    'junit': junit.in_junit,
}

#: The first is what people want who say nothing.
FORMATS: Final = tuple(_WRITERS)

# What is open already, by us or for us, maybe with something in it: proc(5).
_OPEN: Final = ('/dev/stdout', '/dev/stderr', '/dev/fd/', '/proc/')
# Not our directory to make files in, or a file that is mounted there.
_NO_PLACE: Final = (EACCES, EBUSY, EPERM, EROFS)


def write(ledger: Ledger, session: Session, form: str) -> bytes:
    """A report of what is known by now. Raises Refused."""
    now = ledger.session(session.id)  # it has gone on since it was looked up
    written = _WRITERS[form](ledger, now)
    return written if isinstance(written, bytes) else written.encode()


def save(ledger: Ledger, session: Session, form: str, path: str) -> None:
    """Write a report into a file, all of it or nothing; into a device as it comes.

    Raises Refused, and OSError which names the file.
    """
    data = write(ledger, session, form)
    with _naming(path):
        if _is_stream(path):
            with open(path, 'ab') as file:
                file.write(data)
        else:
            _insist(path)
            _replace(os.path.realpath(path), data)


def require_writable(path: str) -> None:
    """Make sure, before a run, that a file can be written, and empty it.

    An older report must not be taken for that of a run which a crash cut off.
    Raises OSError, which names the file.
    """
    with _naming(path):
        if _is_stream(path):
            _insist(path)  # to open it could take until somebody reads it
        else:
            with open(path, 'wb'):
                pass


def _is_stream(path: str) -> bool:
    """Whether it is no file to be replaced, but what others read, as /dev/stdout."""
    is_file = os.path.isfile(path) or os.path.isdir(path) or not os.path.exists(path)
    return path.startswith(_OPEN) or not is_file


def _insist(path: str) -> None:
    """What is there may not be ours to write, though we could replace it."""
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise PermissionError(EACCES, os.strerror(EACCES))


def _replace(path: str, data: bytes) -> None:
    """Put a file in the place of another, or into it where there is no other way."""
    temporary = f'{os.path.dirname(path)}/.plainbox-{secrets.token_hex(8)}'
    try:
        try:
            _create(temporary, data)
            os.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        with open(path, 'wb') as file:
            file.write(data)


def _create(path: str, data: bytes) -> None:
    with open(path, 'xb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Have an error tell the file that was meant."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
