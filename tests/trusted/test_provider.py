# SPDX-License-Identifier: ISC
"""Definitions of providers, sound ones and samples of each fault.

One is read here as the launcher reads it, with the directories of this machine. That
a bad one is refused alone is proven with the launcher, in test_library.py.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plainbox_launcher.trusted.errors import Fault, Missing
from plainbox_launcher.trusted.provider import Provider, read

PATH = '/usr/share/plainbox-trusted-launcher-1/x.provider'
HEAD = '[PlainBox Provider]\n'
NAME = 'name = 2026.org.example:p\n'
START = HEAD + NAME


def parsed(text: str) -> Provider:
    return read(text.encode(), PATH)


def fault(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    with pytest.raises(Fault) as caught:
        read(raw, PATH)
    return str(caught.value).removeprefix(PATH)


# Sound ones

EMPTY = Provider(
    name='2026.org.example:p',
    namespace='2026.org.example',
    gettext_domain='',
    base='',
    units='',
    jobs='',
    data='',
    bin='',
    locale='',
    path=PATH,
)


def test_the_least_definition() -> None:
    """namespace: default the part of name before the colon. version: default 0.0."""
    assert parsed(START) == EMPTY


def test_a_base_directory() -> None:
    """LOCATION/units, LOCATION/jobs, LOCATION/data, LOCATION/bin ... as far as they
    exist."""
    found = parsed(f'{START}location = /usr\n')
    assert found == EMPTY._replace(base='/usr', bin='/usr/bin')


def test_single_directories_go_before_the_base() -> None:
    text = f'{START}location = /usr\nbin_dir = /usr/sbin/\ndata_dir=/usr/share\n'
    found = parsed(text)
    assert found == EMPTY._replace(base='/usr', bin='/usr/sbin', data='/usr/share')


def test_single_directories_alone() -> None:
    kinds = {'units': '/etc', 'jobs': '/usr', 'data': '/var', 'locale': '/usr/share'}
    kinds['whitelists'] = '/usr/lib'
    lines = ''.join(f'{kind}_dir: {path}\n' for kind, path in kinds.items())
    assert parsed(START + lines) == EMPTY._replace(**kinds)


def test_without_privileges_it_is_where_it_lies() -> None:
    """A developer's own; the launcher does not guess."""
    here = '/usr/x.provider'
    found = read(START.encode(), here, trusted=False)
    assert found == EMPTY._replace(base='/usr', bin='/usr/bin', path=here)
    assert read(START.encode(), here) == EMPTY._replace(path=here)
    text = f'{START}bin_dir = /usr/sbin\n'
    assert read(text.encode(), here, trusted=False).base == ''


def test_a_plain_identifier_with_a_namespace() -> None:
    found = parsed(f'{HEAD}name = p\nnamespace = 2026.org.other\n')
    assert found == EMPTY._replace(name='p', namespace='2026.org.other')


def test_a_namespace_of_its_own() -> None:
    assert parsed(f'{START}namespace = 2013.com\n').namespace == '2013.com'


@pytest.mark.parametrize(
    'line',
    [
        'description = Ünïcode, 100%',
        'description = one\n  two\n  three',
        'version = 1',
        'version = 2.10.3',
        'gettext_domain = plainbox-provider-checkbox',
        'X-unknown = x',
        '# comment',
        '; comment',
        '[Another Section]\nname = other',
    ],
)
def test_lines_that_do_no_harm(line: str) -> None:
    assert parsed(f'{START}{line}\n').name == EMPTY.name


# Bugs. After the path, maybe a line, comes what is wrong.

NO_INI = ': is not an INI file with each name once'
NO_SECTION = ': has no section [PlainBox Provider]'
NOT_PLAIN = 'is not a plain absolute path'

BUGS: dict[str, tuple[str | bytes, str]] = {
    'empty': ('', NO_SECTION),
    'blank': ('\n \n', NO_SECTION),
    'no section': (NAME, f':1{NO_INI}'),
    'another section': (f'[Provider]\n{NAME}', NO_SECTION),
    'section in lower case': (f'[plainbox provider]\n{NAME}', NO_SECTION),
    'section with blanks': (f'[ PlainBox Provider ]\n{NAME}', NO_SECTION),
    'all by default': (f'[DEFAULT]\n{NAME}', NO_SECTION),
    'name by default': (f'[DEFAULT]\n{NAME}{HEAD}', ': has no name'),
    'section without a name': (f'[]\n{NAME}{HEAD}', f':1{NO_INI}'),
    'section twice': (START + HEAD, f':3{NO_INI}'),
    'key twice': (START + NAME, f':3{NO_INI}'),
    'key twice, upper case': (f'{START}NAME = x:y\n', f':3{NO_INI}'),
    'no value': (f'{START}version\n', NO_INI),
    'no key': (f'{START}= x\n', NO_INI),
    'binary': (bytes(range(256)), ': is not UTF-8'),
    'not UTF-8': (START.encode() + b'description = \xff\n', ': is not UTF-8'),
    'byte order mark': (b'\xef\xbb\xbf' + START.encode(), f':1{NO_INI}'),
    'UTF-16': (START.encode('utf-16'), ': is not UTF-8'),
    'no name': (f'{HEAD}namespace = a\n', ': has no name'),
    'empty name': (f'{HEAD}name =\n', ': name is malformed'),
    'name without namespace': (f'{HEAD}name = p\n', ': name has no namespace'),
    'empty namespace': (f'{HEAD}name = p\nnamespace =\n', ': namespace is malformed'),
    'no namespace before the colon': (f'{HEAD}name = :p\n', ': name is malformed'),
    'nothing after the colon': (f'{HEAD}name = a:\n', ': name is malformed'),
    'two colons': (f'{HEAD}name = a:b:c\n', ': name is malformed'),
    'full id as a namespace': (
        f'{START}namespace = a::b\n',
        ': namespace is malformed',
    ),
    'path as a name': (f'{HEAD}name = a:../b\n', ': name is malformed'),
    'blank in the name': (f'{HEAD}name = a:b c\n', ': name is malformed'),
    'name in two lines': (f'{HEAD}name = a:b\n c\n', ': name is malformed'),
    'control character in the name': (
        f'{HEAD}name = a:\x1b[2J\n',
        ': name is malformed',
    ),
    'NUL in the name': (f'{HEAD}name = a:b\0c\n', ': name is malformed'),
    'Cyrillic name': (f'{HEAD}name = \u0430:b\n', ': name is malformed'),
    'interpolated name': (START.replace(':p', ':%(x)s'), ': name is malformed'),
    'word as a version': (f'{START}version = one\n', ': version is malformed'),
    'open version': (f'{START}version = 1.\n', ': version is malformed'),
    'empty version': (f'{START}version =\n', ': version is malformed'),
    'path as a domain': (
        f'{START}gettext_domain = ../x\n',
        ': gettext_domain is malformed',
    ),
    'relative': (f'{START}location = usr\n', f': location {NOT_PLAIN}'),
    'dot': (f'{START}location = .\n', f': location {NOT_PLAIN}'),
    'up': (f'{START}location = /usr/..\n', f': location {NOT_PLAIN}'),
    'up and down': (f'{START}location = /usr/../usr\n', f': location {NOT_PLAIN}'),
    'two slashes': (f'{START}location = /usr//bin\n', f': location {NOT_PLAIN}'),
    'two slashes first': (f'{START}location = ///usr\n', f': location {NOT_PLAIN}'),
    'home': (f'{START}location = ~/x\n', f': location {NOT_PLAIN}'),
    'variable': (f'{START}location = $HOME\n', f': location {NOT_PLAIN}'),
    'interpolation': (
        f'{START}usr = /usr\nlocation = %(usr)s\n',
        f': location {NOT_PLAIN}',
    ),
    'extended interpolation': (
        f'{START}usr = /usr\nlocation = ${{usr}}\n',
        f': location {NOT_PLAIN}',
    ),
    'NUL in the location': (f'{START}location = /usr\0\n', f': location {NOT_PLAIN}'),
    'location in two lines': (
        f'{START}location = /usr\n  /bin\n',
        f': location {NOT_PLAIN}',
    ),
    'two directories': (f'{START}bin_dir = /usr:/tmp\n', f': bin_dir {NOT_PLAIN}'),
    'relative units': (f'{START}units_dir = units\n', f': units_dir {NOT_PLAIN}'),
    'relative whitelists': (
        f'{START}whitelists_dir = lists\n',
        f': whitelists_dir {NOT_PLAIN}',
    ),
    'relative to the base': (
        f'{START}location = /usr\nbin_dir = bin\n',
        f': bin_dir {NOT_PLAIN}',
    ),
    'up from jobs': (f'{START}jobs_dir = /usr/../tmp\n', f': jobs_dir {NOT_PLAIN}'),
    'newline in the locale': (
        f'{START}locale_dir = /usr\u2028x\n',
        f': locale_dir {NOT_PLAIN}',
    ),
}


@pytest.mark.parametrize(('data', 'said'), BUGS.values(), ids=BUGS)
def test_a_bug_is_said(data: str | bytes, said: str) -> None:
    """Each with file, and line where one is to blame."""
    assert fault(data) == said


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('location = /nowhere/at/all', '/nowhere: is not there'),
        ('location = /usr/nowhere', '/usr/nowhere: is not there'),
        ('units_dir = /usr/nowhere', '/usr/nowhere: is not there'),
        ('bin_dir = /etc/passwd', '/etc/passwd: is a symbolic link or not a directory'),
        ('whitelists_dir = /usr/nowhere', '/usr/nowhere: is not there'),
        ('data_dir = /proc/self/root', '/proc/self: is a symbolic link or not a dir'),
    ],
)
def test_a_directory_that_is_named_has_to_be_one(line: str, said: str) -> None:
    """Only what is named: what would lie below the location may be missing."""
    assert fault(f'{START}{line}\n').startswith(said)


def test_missing_is_told_apart() -> None:
    with pytest.raises(Missing):
        parsed(f'{START}location = /nowhere\n')


def test_interpolation_bombs_stay_text() -> None:
    """configparser interpolation turns 16 bytes into 64 KiB in 6 lines."""
    bomb = [
        f'{a} = {f"%({b})s" * 10}\n' for a, b in zip('abcdef', 'bcdefg', strict=True)
    ]
    text = f'{START}{"".join(bomb)}g = /usr\nbin_dir = %(a)s\n'
    assert fault(text) == f': bin_dir {NOT_PLAIN}'
    assert parsed(text.replace('%(a)s', '/usr/bin')).bin == '/usr/bin'


keys = st.sampled_from(['name', 'namespace', 'version', 'location', 'bin_dir', 'x'])
values = st.sampled_from(['a:b', '/usr', '..', '%(x)s', '']) | st.text(max_size=9)


@given(st.lists(st.tuples(keys, values)))
@example([('name', 'a:b'), ('location', '/\ud7ff')])
def test_nothing_but_a_fault_is_raised(lines: list[tuple[str, str]]) -> None:
    text = HEAD + ''.join(f'{key} = {value}\n' for key, value in lines)
    try:
        found = read(text.encode(), PATH)
    except Fault:
        return
    for place in found[3:9]:
        assert place == '' or place.startswith('/')
        assert ':' not in place


@given(st.binary(max_size=200))
def test_nothing_but_a_fault_is_raised_for_bytes(data: bytes) -> None:
    with pytest.raises(Fault):
        read(HEAD.encode() + data + b'\n[PlainBox Provider]\n', PATH)
