# SPDX-License-Identifier: ISC
"""A unit of a provider, and its hash: plainbox-job(5).

The hash is the name by which root knows a job. Runner and launcher compute it
with this one function, from the record as it was written: every field counts,
also those nobody knows.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from .provider import Provider

# json.dumps writes these so, what is left of _SPECIAL as \uXXXX, the rest as it is.
_SHORT: Final = {
    '"': '\\"',
    '\\': '\\\\',
    '\b': '\\b',
    '\f': '\\f',
    '\n': '\\n',
    '\r': '\\r',
    '\t': '\\t',
}
_SPECIAL: Final = re.compile(r'[^ !#-\[\]-~]')

_IMPORT: Final = re.compile(r'from\s+(\S+)\s+import\s+(\S+?)(?:\s+as\s+(\w+))?')


class Unit(NamedTuple):
    """A record together with the provider that it came from. Read-only.

    `digest` is the hash of a unit that a template made; it has no record of its own.
    """

    fields: Mapping[str, str]
    provider: Provider
    where: str
    digest: str = ''

    def get(self, name: str) -> str:
        """A field, plain or translatable (`_NAME`), plain first; else ''."""
        return self.fields.get(name, self.fields.get(f'_{name}', ''))

    @property
    def kind(self) -> str:
        """What the field `unit` says; a record without it is a job."""
        return self.get('unit') or 'job'

    @property
    def id(self) -> str:
        """The full id, `namespace::id`; '' for a unit that has none."""
        short = self.get('id') or self.get('name')
        return self.full(short) if short else ''

    @property
    def plugin(self) -> str:
        """How the job is done. `flags: simple` makes it a shell job."""
        return self.get('plugin') or ('shell' if 'simple' in self.flags else '')

    @property
    def flags(self) -> frozenset[str]:
        """The words of the field `flags`."""
        return words(self.get('flags'))

    @property
    def environ(self) -> frozenset[str]:
        """The names of the variables that the job wants from its caller."""
        return words(self.get('environ'))

    @property
    def checksum(self) -> str:
        """The job's hash: 64 lower-case hexadecimal digits."""
        return self.digest or checksum(self.fields)

    def full(self, id_: str) -> str:
        """The full id of a unit that this one names: a short id is of its namespace."""
        return id_ if '::' in id_ else f'{self.provider.namespace}::{id_}'

    def resource(self, name: str) -> str:
        """The full id of the resource job that this unit calls so, see `imports`."""
        lines = [
            *self.get('template-imports').split('\n'),
            *self.get('imports').split('\n'),
        ]
        for match in map(_IMPORT.fullmatch, map(str.strip, lines)):
            if match and name == (match[3] or match[2]):
                return f'{match[1]}::{match[2]}'
        return self.full(name)


def words(text: str) -> frozenset[str]:
    """Split at blanks and commas, as `flags`, `environ` and others are."""
    return frozenset(re.split(r'[\s,]+', text)) - {''}


def checksum(fields: Mapping[str, str]) -> str:
    """SHA-256 of the canonical form, in lower-case hexadecimal digits."""
    return sha256(canonical(fields)).hexdigest()


def instance_checksum(
    template: Mapping[str, str], parameters: Mapping[str, str | int]
) -> str:
    """The hash of a unit made from a template.

    `parameters` are the names that its fields use, with their values, and the
    number of the resource record as `__index__`.
    """
    fields = {k: v for k, v in template.items() if not k.startswith('template-')}
    fields['template-engine'] = template.get('template-engine', 'default')
    fields['unit'] = template.get('template-unit', 'job')
    return sha256(canonical(fields) + canonical(parameters)).hexdigest()


def canonical(fields: Mapping[str, str | int]) -> bytes:
    """The fields as json.dumps(dict(sorted(...)), separators=(',', ':')) does.

    Written out because the json module costs root 15 ms and a hash should not
    hang on a module's defaults; a test holds the two equal.
    """
    pairs = (f'{_quote(key)}:{_literal(fields[key])}' for key in sorted(fields))
    return f'{{{",".join(pairs)}}}'.encode('ascii')


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else _quote(value)


def _quote(text: str) -> str:
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x10000:
        return f'\\u{code:04x}'
    code -= 0x10000
    return f'\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}'
