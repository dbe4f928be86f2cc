# SPDX-License-Identifier: ISC
"""Unit text: bytes in, records out. Pure; the one parser of both programs.

The format is PlainBox's, see plainbox-job(5). Only LF, CR and CR LF end a
line: what other programs take for a line end is an ordinary character here,
so that nobody reads a file differently than the one who hashes it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from .errors import Fault


class Record(NamedTuple):
    """Fields in the order of the file, and where the first of them stands."""

    fields: dict[str, str]
    path: str
    line: int


def parse(data: bytes, path: str) -> list[Record]:
    """Read all records of a file.

    Raises Fault, with file and line, if anything in it is malformed: a file
    counts as a whole or not at all.
    """
    return list(records(data, path))


def records(data: bytes, path: str) -> Iterator[Record]:
    """The same, one by one: for a text that may hold too many of them."""
    fields: dict[str, list[str]] = {}
    start = 0
    for number, line in enumerate(_lines(data, path), 1):
        if line.startswith('#'):
            continue
        if line.strip():
            start = start if fields else number
            _take(line, fields, f'{path}:{number}')
        elif fields:
            yield _record(fields, path, start)
            fields = {}
    if fields:
        yield _record(fields, path, start)


def _take(line: str, fields: dict[str, list[str]], where: str) -> None:
    """Add a line to the field above it, or begin a field with it."""
    if line.startswith(' '):
        if not fields:
            raise Fault(where, 'continues a field, but there is none')
        fields[next(reversed(fields))].append(line[1:])
        return
    key, rest = _field(line, where)
    if key in fields:
        raise Fault(where, f'field {key} is there twice')
    fields[key] = [rest] if rest else []


def _lines(data: bytes, path: str) -> Iterator[str]:
    """Decode strictly; each line keeps its line end."""
    data = data.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    if data.startswith(b'\xef\xbb\xbf'):
        raise Fault(f'{path}:1', 'starts with a byte order mark')
    if b'\0' in data:
        line = data.count(b'\n', 0, data.index(b'\0')) + 1
        raise Fault(f'{path}:{line}', 'holds a NUL byte')
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise Fault(f'{path}:{line}', 'is not UTF-8') from None
    *lines, last = text.split('\n')
    yield from (f'{line}\n' for line in lines)
    yield last


def _field(line: str, where: str) -> tuple[str, str]:
    key, colon, rest = line.partition(':')
    if not colon:
        raise Fault(where, 'is neither a field nor the continuation of one')
    if not key.strip():
        raise Fault(where, 'has no name before the colon')
    return key.strip(), rest.lstrip()


def _record(fields: dict[str, list[str]], path: str, line: int) -> Record:
    return Record({key: _value(lines) for key, lines in fields.items()}, path, line)


def _value(lines: list[str]) -> str:
    text = ''.join(lines)
    if text.count('\n') > 1:
        text = _dedent('\n'.join(map(_undot, text.split('\n'))))
    return text.strip()


def _undot(line: str) -> str:
    """A lone dot stands for an empty line, which would end the record."""
    return line[:-1] if line.lstrip(' ') == '.' else line


def _dedent(text: str) -> str:
    """Remove the common indentation.

    As textwrap.dedent of Python 3.11 does, written down here because a hash
    must not change with the version of Python.
    """
    lines = [line if line.strip(' \t') else '' for line in text.split('\n')]
    indentations = [_indentation(line) for line in lines if line] or ['']
    first, last = min(indentations), max(indentations)  # all others lie between
    margin = 0
    while (
        margin < len(first) and first[margin : margin + 1] == last[margin : margin + 1]
    ):
        margin += 1
    return '\n'.join(line[margin:] for line in lines)


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip(' \t'))]
