# SPDX-License-Identifier: ISC
"""Bad input gets a clear refusal: never a traceback, never a half-run job."""

import re
from collections.abc import Iterator

import pytest
from house import LAUNCHER, PROVIDERS, House
from launching import UNKNOWN, digests, events, opened, refused

UNITS = """
id: greets
user: root
command: echo hello; id -u

id: echoes
user: root
environ: ONE
command: echo "$ONE"
"""

HASH = digests(UNITS)


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('run', UNITS):
        yield


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['ONE=1'],
        ['--via', HASH['greets']],
        ['--warmup', '--hash', HASH['greets']],
        ['--hash', HASH['greets'], '--hash', HASH['greets']],
        ['--warmup', '--warmup'],
        ['--hash'],
        ['--hash', HASH['greets'], '--via'],
        ['--hash', HASH['greets'], '--provider', '/tmp'],
        ['--has', HASH['greets']],
        ['--warmup=1'],
        ['-H', HASH['greets']],
        ['--', '--hash', HASH['greets']],
        ['--hash', HASH['greets'], '--\x1b[2J\n'],
    ],
)
def test_wrong_usage(house: House, arguments: list[str]) -> None:
    """Wrong usage: 2, the usage and one line, nothing run."""
    done = house.launcher(*arguments)
    assert (done.returncode, done.stdout) == (2, b'')
    *usage, last = done.stderr.decode('ascii').splitlines()
    assert usage[0].startswith('usage: plainbox-trusted-launcher-1 [-h] (--hash')
    assert re.fullmatch('plainbox-trusted-launcher-1: [ -~]+', last)
    assert events(house) == []


@pytest.mark.parametrize(
    ('argument', 'code'),
    [
        (b'ONE', 'PBL-VARIABLE'),
        (b'', 'PBL-VARIABLE'),
        (b'=x', 'PBL-VARIABLE'),
        (b'1ONE=x', 'PBL-VARIABLE'),
        (b'ONE TWO=x', 'PBL-VARIABLE'),
        (b'ONE=a\nb', 'PBL-VARIABLE'),
        (b'ONE=a\rb', 'PBL-VARIABLE'),
        (b'ONE=\x1b[2J', 'PBL-VARIABLE'),
        (b'ONE=() { :; }; echo ran', 'PBL-VARIABLE'),
        (b'ONE=' + b'x' * (32 << 10) + b'x', 'PBL-VARIABLE'),
        (b'ONE=\xff', 'PBL-ARGUMENT'),
        (b'\xff=1', 'PBL-ARGUMENT'),
        ('ÖNE=1'.encode(), 'PBL-VARIABLE'),
        (b'PLAINBOX_SESSION_SHARE=/nowhere', 'PBL-SESSION-SHARE'),
        (b'PLAINBOX_SESSION_SHARE=/etc/passwd', 'PBL-SESSION-SHARE'),
        (b'PLAINBOX_SESSION_SHARE=', 'PBL-SESSION-SHARE'),
    ],
)
def test_bad_variables(house: House, argument: bytes, code: str) -> None:
    """Never a half-run job: one bad argument, and nothing starts."""
    # Without pkexec, which itself complains about what is not UTF-8, and runs it.
    assert refused(house.launcher('--hash', HASH['echoes'], argument), code)
    assert 'start' not in events(house)


def test_a_variable_twice(house: House) -> None:
    done = house.pkexec('--hash', HASH['echoes'], 'ONE=1', 'ONE=1')
    assert refused(done, 'PBL-VARIABLE')


def test_an_argument_may_hold_what_text_holds(house: House) -> None:
    value = 'ÄÖ € =\t$(id) `id` ; \U0001f600 ' + 'x' * 30000
    done = house.pkexec('--hash', HASH['echoes'], f'ONE={value}')
    assert done.stdout.decode() == f'{value}\n'


GOOD = HASH['greets']
MALFORMED = [
    b'',
    b' ',
    b'0',
    b'0' * 63,
    b'0' * 65,
    b'0' * 128,
    b'0' * 100_000,
    GOOD.encode()[:-1],
    GOOD.encode()[:32],
    GOOD.upper().encode(),
    GOOD.encode()[:-1] + b'g',
    GOOD.encode() + b'\n',
    b'\n' + GOOD.encode(),
    GOOD.encode() + b' ',
    b' ' + GOOD.encode(),
    GOOD.encode() + b'\r',
    b'0x' + GOOD.encode()[2:],
    b'+' + GOOD.encode()[1:],
    GOOD.encode()[:-2] + b'..',
    b'*' * 64,
    b'%s' * 32,
    b'{0.__class__}' + b'0' * 51,
    b'../' * 21 + b'a',
    b'/etc/passwd',
    GOOD.encode() + b';id',
    GOOD.encode() + b',' + GOOD.encode(),
    ('\u0660' * 64).encode(),  # decimal digits, but not ours
    ('\uff10' * 64).encode(),
    b'\xff' * 64,
    b'greets',
    b'2026.plainbox.house::greets',
    b'\x1b[2J' + b'0' * 60,
]


@pytest.mark.canary(
    'commandline.py', "fullmatch('[0-9a-f]{64}',", "match('[0-9a-f]{64}$',"
)
@pytest.mark.canary(
    'commandline.py', "fullmatch('[0-9a-f]{64}',", "fullmatch('[0-9a-fA-F]{64}',"
)
@pytest.mark.canary('commandline.py', "fullmatch('[0-9a-f]{64}',", "fullmatch('.*',")
def test_malformed_hashes(house: House) -> None:
    """Row 34: 125, and no provider file is opened."""
    command = ['xargs', '-0', '-n1', '-P4', LAUNCHER, '--hash']
    stderr, files = opened(house, command, b'\0'.join(MALFORMED) + b'\0')
    lines = stderr.splitlines()
    codes = [line.split(b': ')[1] for line in lines]
    assert len(MALFORMED) > 30
    assert sorted(codes) == [b'PBL-ARGUMENT'] + [b'PBL-HASH'] * (len(MALFORMED) - 1)
    assert files.count('execve("/usr/bin/plainbox-trusted') == len(MALFORMED)
    assert PROVIDERS not in files
    assert refused(house.pkexec('--hash', GOOD, '--via', 'f' * 63), 'PBL-HASH')


def test_an_unknown_hash(house: House) -> None:
    assert refused(house.pkexec('--hash', UNKNOWN), 'PBL-NO-JOB')
    assert events(house) == ['refused']


BOMB = 'a = %(b)s%(b)s\nb = %(c)s%(c)s\nc = %(d)s%(d)s\nd = %(e)s%(e)s\ne = 1\n'
BAD_DEFINITIONS = {
    'empty': b'',
    'no section': b'name = 2026.plainbox.house:bad\n',
    'interpolation': f'[PlainBox Provider]\nlocation = %(a)s\n{BOMB}'.encode(),
    'defaults': b'[DEFAULT]\nname = 2026.plainbox.house:bad\n[PlainBox Provider]\n',
    'not UTF-8': b'[PlainBox Provider]\nname = \xff\n',
    'binary': bytes(range(256)) * 100,
    'lines': b'[x' * 2_000_000,
    'sections': b'[a]\n' * 500_000,
    'colons': b'[PlainBox Provider]\n' + b':' * 3_000_000,
}


@pytest.mark.parametrize('data', BAD_DEFINITIONS.values(), ids=BAD_DEFINITIONS.keys())
def test_a_bad_definition(house: House, data: bytes) -> None:
    """Row 39, and: one bad provider is refused by name, the others work."""
    with house.replaced(f'{PROVIDERS}/bad.provider', data):
        assert house.pkexec('--hash', HASH['greets']).stdout == b'hello\n0\n'
        done = house.pkexec('--hash', UNKNOWN)
    assert refused(done, 'PBL-NO-JOB')
    assert f'refused were {PROVIDERS}/bad.provider'.encode() in done.stderr


BAD_UNITS = {
    'garbage': b'\x7fELF\x02\x01\x01\n' * 1000,
    'not UTF-8': b'id: bad\nuser: root\ncommand: echo \xff\n',
    'field twice': b'id: bad\nid: bad\n',
    'no field': b'id: bad\nuser root\n',
    'NUL': b'id: bad\ncommand: \0\n',
    'a long line': b'x' * (4 << 20),
    'too large': b'#\n' * (3 << 20),
}


@pytest.mark.parametrize('data', BAD_UNITS.values(), ids=BAD_UNITS.keys())
def test_a_bad_unit_file(house: House, data: bytes) -> None:
    path = '/usr/lib/house-run/units/bad.pxu'
    with house.replaced(path, data):
        assert house.pkexec('--hash', HASH['greets']).stdout == b'hello\n0\n'
        done = house.pkexec('--hash', UNKNOWN)
    assert refused(done, 'PBL-NO-JOB')
    assert f'refused were {path}'.encode() in done.stderr


@pytest.mark.parametrize(
    ('make', 'fault'),
    [
        ('mkdir {}', b'is not a regular file'),
        ('mkfifo {}', b'is not a regular file'),
        ('mknod {} c 1 5', b'is not a regular file'),
        ('ln -s /nowhere {}', b'is a symbolic link'),
        ('ln -s {} {}', b'is a symbolic link'),
        ('truncate -s 100M {}', b'is larger than 4 MiB'),
    ],
)
@pytest.mark.parametrize(
    'path', [f'{PROVIDERS}/bad.provider', '/usr/lib/house-run/units/bad.pxu']
)
def test_what_is_no_file_to_read(
    house: House, path: str, make: str, fault: bytes
) -> None:
    house.check('sh', '-c', make.format(path, path))
    try:
        done = house.launcher('--hash', UNKNOWN)
        assert house.launcher('--hash', HASH['greets']).returncode == 0
    finally:
        house.check('rm', '-r', path)
    assert refused(done, 'PBL-NO-JOB')
    assert path.encode() + b': ' + fault in done.stderr


def test_an_empty_unit_file_is_nothing(house: House) -> None:
    with house.replaced('/usr/lib/house-run/units/empty.pxu', b''):
        done = house.launcher('--hash', UNKNOWN)
    assert refused(done, 'PBL-NO-JOB')
    assert b'refused were' not in done.stderr
