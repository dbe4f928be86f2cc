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
        if _is_to_be_kept(path):
            with open(path, 'ab') as file:
                file.write(data)
        else:
            _replace(os.path.realpath(path), data)


def require_writable(path: str) -> None:
    """Make sure, before a run, that a file can be written, and empty it.

    An older report must not be taken for that of a run which a crash cut off.
    Raises OSError.
    """
    with _naming(path):
        if _is_to_be_kept(path) and not os.path.isdir(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
        else:
            with open(path, 'wb'):
                pass


def _is_to_be_kept(path: str) -> bool:
    """Whether it is what others read from, or our own output, as /dev/stdout is."""
    there = os.path.exists(path)
    return path.startswith('/dev/') or (there and not os.path.isfile(path))


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
