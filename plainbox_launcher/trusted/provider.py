# SPDX-License-Identifier: ISC
"""A provider's definition: plainbox-provider(5), `NAME.provider`."""

import configparser
import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from . import files
from .errors import Fault, Missing

_SECTION: Final = 'PlainBox Provider'
_KINDS: Final = ('units', 'jobs', 'data', 'bin', 'locale', 'whitelists')
_PLACES: Final = ('location', *(f'{kind}_dir' for kind in _KINDS))

# YEAR.domain.parts, or whatever an old provider says: never blank, no colon.
_NAMESPACE: Final = r'[A-Za-z0-9][A-Za-z0-9._-]*'
_WORD: Final = r'[A-Za-z0-9][A-Za-z0-9._+-]*'


class Provider(NamedTuple):
    """Where a provider's parts lie. Directories are absolute, '' means none.

    `whitelists` are old test plans: for the runner, nothing of root's reads them.
    """

    name: str
    namespace: str
    gettext_domain: str
    base: str
    units: str
    jobs: str
    data: str
    bin: str
    locale: str
    path: str
    whitelists: str = ''


def read(data: bytes, path: str, *, trusted: bool = True) -> Provider:
    """Read a definition and check every directory that it names.

    Raises Fault naming the file, or the directory that is at fault. With
    `trusted` false a definition without any directory means the one it lies in.
    """
    fields = _fields(data, path)
    name = _matching(fields, 'name', f'(?:{_NAMESPACE}:)?{_WORD}', path)
    if 'namespace' not in fields and ':' not in name:
        raise Fault(path, 'name has no namespace')
    fields.setdefault('namespace', name.partition(':')[0])
    fields.setdefault('version', '0.0')
    fields.setdefault('gettext_domain', '')
    if not trusted and not any(key in fields for key in _PLACES):
        fields['location'] = os.path.dirname(path)
    _matching(fields, 'version', r'[0-9]+(?:\.[0-9]+)*', path)
    base = _absolute(fields, 'location', path)
    places = {k: _directory(k, fields, base, path, trusted) for k in _KINDS}
    return Provider(
        name=name,
        namespace=_matching(fields, 'namespace', _NAMESPACE, path),
        gettext_domain=_matching(fields, 'gettext_domain', f'(?:{_WORD})?', path),
        base=_checked(base, trusted),
        path=path,
        **places,
    )


def _fields(data: bytes, path: str) -> dict[str, str]:
    # The raw parser interpolates nothing, and a section header cannot be
    # empty: so there is neither %(name)s nor a [DEFAULT] that leaks into ours.
    parser = configparser.RawConfigParser(default_section='')
    try:
        parser.read_string(data.decode('utf-8'), path)
        return dict(parser.items(_SECTION))
    except UnicodeDecodeError:
        raise Fault(path, 'is not UTF-8') from None
    except configparser.NoSectionError:
        raise Fault(path, f'has no section [{_SECTION}]') from None
    except configparser.Error as error:
        line = getattr(error, 'lineno', None)
        where = f'{path}:{line}' if line else path
        raise Fault(where, 'is not an INI file with each name once') from None


def _matching(fields: Mapping[str, str], key: str, pattern: str, path: str) -> str:
    if key not in fields:
        raise Fault(path, f'has no {key}')
    if not re.fullmatch(pattern, fields[key]):
        raise Fault(path, f'{key} is malformed')
    return fields[key]


def _directory(
    kind: str, fields: Mapping[str, str], base: str, path: str, trusted: bool
) -> str:
    """The directory named for `kind`, else LOCATION/KIND as far as it exists."""
    if named := _absolute(fields, f'{kind}_dir', path):
        return _checked(named, trusted)
    try:
        return _checked(f'{base}/{kind}', trusted) if base else ''
    except Missing:
        return ''


def _absolute(fields: Mapping[str, str], key: str, path: str) -> str:
    value = fields.get(key, '').rstrip('/')
    if value and (
        not value.startswith('/')
        or value != os.path.normpath(value)
        or not value.isprintable()
        or ':' in value  # it would be two directories in PATH
    ):
        raise Fault(path, f'{key} is not a plain absolute path')
    return value


def _checked(path: str, trusted: bool) -> str:
    if path:
        with files.directory(path, trusted=trusted):
            pass
    return path
