# SPDX-License-Identifier: ISC
"""All that is installed: where it is looked for, and what both programs make of it."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import LAUNCHER, PROVIDERS, House, make_folders, put

from plainbox_launcher.trusted import library, unit
from plainbox_launcher.trusted.library import Library

JOB = {'id': 'here', 'user': 'root', 'plugin': 'shell', 'command': 'echo here'}
TEXT = ''.join(f'{key}: {value}\n' for key, value in JOB.items())
HASH = unit.checksum(JOB)


def provider(path: Path, *names: str, head: str = 'name = a:p\n') -> Path:
    """Makes a definition and files below its directory, each with one job."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        put(path / name, f'id: {name}\n'.encode())
    definition = path.with_suffix('.provider')
    lines = f'[PlainBox Provider]\n{head}location = {path}\n'
    put(definition, lines.encode())
    return definition


def ids(found: Library) -> list[str]:
    return [one.id.removeprefix('a::') for one in found.units]


# Files and providers, read in this process


def test_where_units_are(tmp_path: Path) -> None:
    """*.pxu in units_dir (found recursively), *.txt and *.txt.in in jobs_dir."""
    read = ['jobs/a.txt', 'jobs/b.txt.in', 'units/c.pxu', 'units/d/e/f.pxu']
    left = ['jobs/deep/a.txt', 'jobs/a.pxu', 'units/a.txt', 'units/a.pxu~', 'bin/a.pxu']
    found = library.load([str(provider(tmp_path / 'p', *read, *left))], trusted=False)
    assert sorted(ids(found)) == read
    assert found.faults == ()


def test_an_error_drops_its_file_and_no_other(tmp_path: Path) -> None:
    definition = provider(tmp_path / 'p', 'units/a.pxu', 'units/b.pxu', 'units/c.pxu')
    put(tmp_path / 'p/units/b.pxu', b'id: b1\n\nid: b2\nid: b3\n')
    found = library.load([str(definition)], trusted=False)
    assert ids(found) == ['units/a.pxu', 'units/c.pxu']
    (fault,) = found.faults
    assert str(fault) == f'{tmp_path}/p/units/b.pxu:4: field id is there twice'


def test_a_name_means_one_provider(tmp_path: Path) -> None:
    """The first counts. The same once more is no fault."""
    one = provider(tmp_path / 'one/p', 'units/one.pxu')
    same = tmp_path / 'same.provider'
    put(same, one.read_bytes())
    other = provider(tmp_path / 'two/p', 'units/two.pxu')
    found = library.load([str(p) for p in (one, same, other)], trusted=False)
    assert ids(found) == ['units/one.pxu']
    assert [*map(str, found.faults)] == [f'{other}: defines a:p otherwise than before']


def test_the_bin_directories_of_a_namespace(tmp_path: Path) -> None:
    """Of all providers of the same namespace, its own first."""
    heads = {'x': 'name = a:x\n', 'y': 'name = a:y\n', 'z': 'name = b:z\n'}
    paths = [provider(tmp_path / k, 'bin/tool', head=head) for k, head in heads.items()]
    paths.append(provider(tmp_path / 'none', 'units/a.pxu', head='name = a:none\n'))
    found = library.load(map(str, paths), trusted=False)
    x, y, z, none = found.providers
    assert found.directories(x) == [f'{tmp_path}/x/bin', f'{tmp_path}/y/bin']
    assert found.directories(y) == [f'{tmp_path}/y/bin', f'{tmp_path}/x/bin']
    assert found.directories(z) == [f'{tmp_path}/z/bin']
    assert found.directories(none) == [f'{tmp_path}/x/bin', f'{tmp_path}/y/bin']


def test_the_first_job_with_the_hash(tmp_path: Path) -> None:
    """A unit of another kind is none, whatever its hash."""
    definition = provider(tmp_path / 'p', 'units/a.pxu')
    records = b'unit: template\nid: a\n\nid: a\n\nid: a\n'
    put(tmp_path / 'p/units/a.pxu', records)
    found = library.load([str(definition)], trusted=False)
    job = library.find(found.units, unit.checksum({'id': 'a'}))
    assert job is found.units[1]
    template = unit.checksum({'unit': 'template', 'id': 'a'})
    assert library.find(found.units, template) is None


# Where the launcher looks

ELSEWHERE = [
    '/usr/local/share/plainbox-trusted-launcher-1',
    '/usr/local/share/plainbox-providers-1',
    '/etc/plainbox-providers-1',
    '/root/.local/share/plainbox-providers-1',
    '/home/tester/.local/share/plainbox-providers-1',
    '/opt',
]


NOTHING = 'PBL-NO-JOB: no such job (install'


@pytest.fixture
def here(house: House) -> Iterator[None]:
    """A provider of root's without a definition."""
    units = house.path('/usr/lib/house-here/units')
    make_folders(units)
    put(units / 'here.pxu', TEXT.encode())
    yield
    shutil.rmtree(units.parent)


DEFINITION = b'[PlainBox Provider]\nname = a:here\nlocation = /usr/lib/house-here\n'


@pytest.mark.canary(
    'library.py', "'/usr/share/plainbox-providers-1',", f'*{ELSEWHERE!r},'
)
@pytest.mark.parametrize('folder', ELSEWHERE)
@pytest.mark.usefixtures('here')
def test_nothing_from_anywhere_else(house: House, folder: str) -> None:
    """Fixed directories; nothing from the environment, nothing under /usr/local."""
    looked(house, folder, NOTHING)


@pytest.mark.usefixtures('here')
def test_nothing_from_deeper(house: House) -> None:
    looked(house, f'{PROVIDERS}/deeper', NOTHING)


def test_both_directories(house: House, here: None) -> None:
    del here
    looked(house, PROVIDERS, 'here\n')
    looked(house, '/usr/share/plainbox-providers-1', 'here\n')


def looked(house: House, folder: str, answer: str) -> None:
    made = [p for p in (Path(folder), *Path(folder).parents) if not house_has(house, p)]
    make_folders(house.path(folder))
    # Names of directories that others obey, for whoever would look there.
    names = ('PROVIDERPATH', 'XDG_DATA_DIRS', 'XDG_DATA_HOME', 'HOME', 'CHECKBOX_SHARE')
    env = dict.fromkeys(names, str(Path(folder).parent))
    try:
        with house.replaced(f'{folder}/here.provider', DEFINITION):
            done = house.launcher('--hash', HASH, env=env, cwd=folder)
    finally:
        for path in made:
            house.path(str(path)).rmdir()
    assert answer in (done.stdout + done.stderr).decode()


def house_has(house: House, path: Path) -> bool:
    return house.path(str(path)).exists()


# One parser, shared by runner and launcher

# What format and hash have a rule about, as whoever writes a file may write it.
ENDS = ['\n', '\r\n', '\r']
BLANKS = ['', ' ', '   ', '\t']
LINES = ['x', '.', '..', '. ', ' y  ', '\tz', 'a: b', '# c', 'é\U0001f600', '\\', '"']
LINES += [
    '{x}',
    'a\x0b',
    'b\x0cc: d',
    '\x1ce',
    'f\x85g',
    '\u2028h',
    '\ufeff',
    '\x1b[0m',
]


def record(dice: random.Random, number: int) -> str:
    """A root job, written oddly, that prints its number."""

    def blank() -> str:
        return dice.choice(BLANKS)

    fields = ['user:root', f'id:{blank()}job-{number}', 'plugin:\n shell']
    fields.append(f'command:{blank()}echo ran-{number}')
    for name in dice.sample(['_summary', 'X', 'flags', 'é', 'a b', 'requires'], 4):
        rest = [dice.choice(LINES) for _ in range(dice.randrange(5))]
        first = dice.choice(['', *LINES])
        fields.append(f'{name}{blank()}:{blank()}' + '\n '.join([first, *rest]))
    dice.shuffle(fields)
    fields.insert(dice.randrange(len(fields)), '# a comment: in between')
    return '\n'.join(fields)


def test_a_hash_means_one_job_to_both(house: House) -> None:
    """Row 33: the runner lists each record, and the launcher runs just that."""
    dice = random.Random(33)  # noqa: S311 # the same ones each time
    ends = [dice.choice(ENDS) for _ in range(30)]
    files: dict[str, str | bytes] = {
        f'units/{n}.pxu': record(dice, n).replace('\n', end)
        for n, end in enumerate(ends)
    }
    with house.provider('odd', files) as namespace:
        listed = house.run(['plainbox', 'special', '-J'])
        lines = listed.stdout.decode().splitlines()
        ours = dict(line.split(' ', 1) for line in lines if namespace in line)
        assert len(ours) == len(files), listed.stderr
        for checksum, full_id in ours.items():
            number = full_id.removeprefix(f'{namespace}::job-')
            done = house.launcher('--hash', checksum)
            assert (done.returncode, done.stderr) == (0, b'')
            assert done.stdout == f'ran-{number}\n'.encode()


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (TEXT.encode() + b'\0', ':5: holds a NUL byte'),
        (b'\xef\xbb\xbf' + TEXT.encode(), ':1: starts with a byte order mark'),
        (TEXT.encode() * 2, ':5: field id is there twice'),
        (TEXT.encode() + b'summary: \xe9\n', ':5: is not UTF-8'),
        (
            TEXT.encode() + b'\tmore\n',
            ':5: is neither a field nor the continuation of one',
        ),
        (b'#\n' * (2 << 20) + TEXT.encode(), ': is larger than 4 MiB'),
    ],
    ids=['NUL', 'mark', 'twice', 'Latin-1', 'TAB', 'large'],
)
def test_what_one_refuses_the_other_refuses(
    house: House, data: bytes, said: str
) -> None:
    """With the same words."""
    with house.provider('vicious', {'units/a.pxu': data}):
        runner = house.run(['plainbox', 'special', '-J'])
        launcher = house.launcher('--hash', HASH)
    where = '/usr/lib/house-vicious/units/a.pxu'
    assert HASH.encode() not in runner.stdout
    assert runner.stderr.decode() == f'plainbox: {where}{said}\n'
    assert launcher.returncode == 125
    assert f'; refused were {where}{said} (' in launcher.stderr.decode()


# What fails while it is being read

UNITS = '/usr/lib/house-failing/units'
STALE = 'inject=%fstat:error=ESTALE:when=2'  # the first time it is checked, only


@pytest.mark.canary(
    'library.py', 'with _kept(faults), files.', 'with files.', crashes=True
)
@pytest.mark.parametrize(
    ('inject', 'reason'),
    [
        (STALE, 'Stale file handle'),
        ('inject=getdents64:error=EIO', 'Input/output error'),
    ],
)
def test_a_directory_that_fails_once_it_is_known(
    house: House, inject: str, reason: str
) -> None:
    """One bad provider is refused alone, also while it is being replaced."""
    fails(house, inject, UNITS, reason)


@pytest.mark.canary(
    'files.py', 'with _blaming(path), closing(', 'with closing(', crashes=True
)
def test_a_file_that_cannot_be_read(house: House) -> None:
    """On hardware under test."""
    fails(house, 'inject=read:error=EIO', f'{UNITS}/a.pxu', 'Input/output error')


def fails(house: House, inject: str, path: str, reason: str) -> None:
    """The path is named, and another provider's job runs."""
    strace = ['strace', '-o', '/dev/null', '-e', inject, '-P', path, LAUNCHER, '--hash']
    files = {'units/a.pxu': 'id: a\n'}
    with house.provider('failing', files), house.provider('other', TEXT):
        said = house.run([*strace, unit.checksum({'id': 'a'})], user='root').stderr
        done = house.run([*strace, HASH], user='root')
    assert f'; refused were {path}: cannot be read: {reason} (' in said.decode()
    assert done.stdout == b'here\n'
