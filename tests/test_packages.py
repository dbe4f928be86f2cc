# SPDX-License-Identifier: ISC
"""The packages, as they are built: what is in them, whose it is, what they need.

contrib/install is the measure: what it installs is in the packages, each file once and
byte for byte. Then a machine gets the Debian packages and loses them again.
"""

import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from house import (
    ACTION,
    GROUP,
    LAUNCHER,
    POLICY,
    PROVIDERS,
    RULES,
    House,
    NoHouse,
    open_house,
)

TOP = Path(__file__).parent.parent
MODULES = '/usr/lib/plainbox-launcher/plainbox_launcher'
PROVIDER = '/usr/lib/plainbox-provider-system'
DATA = '/usr/share/plainbox-launcher'
FOLDERS = ('/usr/lib/plainbox-launcher', PROVIDER, PROVIDERS, DATA)
RULE = f'/usr/share/polkit-1/rules.d/{Path(RULES).name}'
TRUSTED, RUNNER, SYSTEM, UNATTENDED = PACKAGES = (
    'plainbox-trusted-launcher',
    'plainbox-launcher',
    'plainbox-provider-system',
    'plainbox-launcher-unattended',
)
CACHE_TAG = 'import sys; print(sys.implementation.cache_tag)'
QUERY = ('rpm', '--query', '--package')
LINE = '%{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES} %{FILEDIGESTS}'
# What packages hold beside what contrib/install installs.
PACKAGERS = ('/usr/share/doc/', '/usr/share/licenses/', '/usr/share/python3/runtime.d/')
# What dpkg, adduser and shadow keep for themselves.
KEPT = (
    '/var/lib/dpkg',
    '/var/log',
    '/var/cache',
    '/run/adduser',
    '/etc/group-',
    '/etc/gshadow-',
)


class File(NamedTuple):
    """A file, or a directory, whose data is None."""

    mode: int
    owner: str
    data: bytes | None


Files = Mapping[str, File]


class Deb(NamedTuple):
    fields: Mapping[str, str]
    files: Files


def lack(tool: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(f'missing: {tool}')
    pytest.skip(f'missing: {tool}')


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            lack(tool)


def output(*argv: str | Path) -> bytes:
    done = subprocess.run(argv, capture_output=True)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope='session')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives the directory with what dpkg-buildpackage makes."""
    need('dpkg-buildpackage', 'dh', 'dh_python3')
    results = tmp_path_factory.mktemp('deb')
    output(TOP / 'contrib/deb', results)
    return results


@pytest.fixture(scope='session')
def debs(built: Path) -> dict[str, Deb]:
    """Gives the Debian packages, by their names."""
    found = {}
    for path in built.glob('*.deb'):
        lines = output('dpkg-deb', '--field', path).decode().splitlines()
        fields = dict(line.split(': ', 1) for line in lines if line[0] != ' ')
        found[fields['Package']] = Deb(fields, unpacked(path))
    return found


def unpacked(path: Path) -> Files:
    found = {}
    with tarfile.open(
        fileobj=io.BytesIO(output('dpkg-deb', '--fsys-tarfile', path))
    ) as t:
        for member in t:
            assert member.isfile() or member.isdir(), f'{member.name}: of another kind'
            stream = t.extractfile(member)
            data = stream.read() if stream else None
            owner = f'{member.uname}:{member.gname}'
            found[member.name.removeprefix('.')] = File(member.mode, owner, data)
    return found


@pytest.fixture(scope='session')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Gives what contrib/install installs, without byte code, and the rule."""
    destdir = tmp_path_factory.mktemp('install')
    lines = output(TOP / 'contrib/install', '--destdir', destdir).decode().splitlines()
    found = {}
    for line in lines:
        path = Path(f'{destdir}{line}')
        if path.is_file() and path.suffix != '.pyc':
            mode = stat.S_IMODE(path.stat().st_mode)
            found[line] = File(mode, 'root:root', path.read_bytes())
    rule = TOP / 'contrib/polkit/rules.d' / Path(RULE).name
    return found | {RULE: File(0o644, 'root:root', rule.read_bytes())}


def plain(files: Files) -> dict[str, File]:
    """Files, manual pages as they were before they were compressed."""
    found = {}
    for path, file in files.items():
        if file.data is not None:
            page = path.endswith('.gz') and path.startswith('/usr/share/man/')
            data = gzip.decompress(file.data) if page else file.data
            found[path.removesuffix('.gz') if page else path] = file._replace(data=data)
    return found


def test_four_packages(debs: dict[str, Deb]) -> None:
    assert sorted(debs) == sorted(PACKAGES)
    assert {deb.fields['Architecture'] for deb in debs.values()} == {'all'}


def test_what_is_installed_is_in_one_package(
    debs: dict[str, Deb], installed: Files
) -> None:
    """Byte for byte: dh_python3 must not have touched the first lines."""
    packed = [pair for deb in debs.values() for pair in plain(deb.files).items()]
    ours = [pair for pair in packed if not pair[0].startswith(PACKAGERS)]
    assert dict(ours) == installed
    assert len(ours) == len(installed)


def test_no_file_is_in_two_packages(debs: dict[str, Deb]) -> None:
    times = Counter(path for deb in debs.values() for path in plain(deb.files))
    assert [path for path, number in times.items() if number > 1] == []


def test_everything_is_roots(debs: dict[str, Deb]) -> None:
    """Nothing is setuid, nothing writable by others, directories can be walked."""
    for name, deb in debs.items():
        for path, file in deb.files.items():
            modes = (0o755,) if file.data is None else (0o644, 0o755)
            assert file.owner == 'root:root', (name, path)
            assert file.mode in modes, (name, path)


def test_no_byte_code(debs: dict[str, Deb]) -> None:
    """It belongs to one version of Python; the machine makes its own."""
    packed = [path for deb in debs.values() for path in deb.files]
    assert [path for path in packed if path.endswith('.pyc')] == []


def test_what_is_where(debs: dict[str, Deb]) -> None:
    """The room with all it needs; the runner without a file of the room's."""
    folders = (f'{MODULES}/trusted', MODULES, PROVIDER, '/usr/share/polkit-1/rules.d')
    owners = {
        folder: {
            name
            for name, deb in debs.items()
            for path in plain(deb.files)
            if Path(path).parent == Path(folder)
            or (folder == PROVIDER and path.startswith(folder))
        }
        for folder in folders
    }
    assert owners == {
        f'{MODULES}/trusted': {TRUSTED},
        MODULES: {TRUSTED, RUNNER},
        PROVIDER: {SYSTEM},
        '/usr/share/polkit-1/rules.d': {UNATTENDED},
    }
    ours = [
        path
        for path in plain(debs[TRUSTED].files)
        if Path(path).parent.name in ('plainbox_launcher', 'bin', 'actions')
    ]
    assert sorted(ours) == [LAUNCHER, f'{MODULES}/__init__.py', POLICY]


def test_one_policy_and_it_asks(debs: dict[str, Deb]) -> None:
    policies = {
        path: file.data or b''
        for deb in debs.values()
        for path, file in plain(deb.files).items()
        if ACTION.encode() in (file.data or b'') and path.endswith('.policy')
    }
    assert list(policies) == [POLICY]
    assert b'<allow_active>auth_admin_keep</allow_active>' in policies[POLICY]


@pytest.mark.parametrize(
    ('package', 'needed'),
    [
        (TRUSTED, {'polkitd', 'python3:any (>= 3.11~)'}),
        (
            RUNNER,
            {
                *(f'{TRUSTED} (= VERSION)', 'python3:any (>= 3.11~)'),
                *('python3-dbus-next', 'python3-rich', 'python3-xdg'),
                'init-system-helpers (>= 1.52)',  # which notes a user's service
            },
        ),
        (SYSTEM, {'python3:any (>= 3.11~)'}),
        (UNATTENDED, {TRUSTED, 'adduser'}),
    ],
)
def test_what_it_needs(debs: dict[str, Deb], package: str, needed: set[str]) -> None:
    fields = debs[package].fields
    depends = fields['Depends'].replace(fields['Version'], 'VERSION')
    assert set(depends.split(', ')) == needed
    assert 'Pre-Depends' not in fields


def test_nobody_gets_the_rule_by_accident(debs: dict[str, Deb]) -> None:
    """apt installs what is recommended, so nothing recommends it."""
    for name, deb in debs.items():
        for field in ('Depends', 'Recommends'):
            assert UNATTENDED not in deb.fields.get(field, ''), name


def test_its_description_says_what_it_allows(built: Path) -> None:
    path = next(built.glob(f'{UNATTENDED}_*.deb'))
    text = ' '.join(output('dpkg-deb', '--field', path, 'Description').decode().split())
    for words in ('every job', 'as root', 'without a password', 'from any session'):
        assert words in text
    assert f'the group "{GROUP}"' in text


def test_lintian(built: Path) -> None:
    need('lintian')
    changes = next(built.glob('*.changes'))
    levels = 'error,warning,pedantic'
    command = [
        'lintian',
        '--pedantic',
        '--fail-on',
        levels,
        '--allow-root',
        str(changes),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ''), done.stderr


# On a machine


@pytest.fixture(scope='module')
def machine(built: Path, installed: Files) -> Iterator[House]:
    """Gives a house that has nothing of ours yet but the .deb files, in /tmp."""
    need('addgroup', 'dpkg')
    if os.geteuid() != 0:
        lack('root')
    try:
        with open_house(TOP) as house:
            # The machine may have the packages, and the house has what it furnishes.
            house.check('dpkg', '--purge', *PACKAGES)
            house.check('rm', '-rf', *FOLDERS, *installed, RULES)
            if members(house) is not None:
                house.check('groupdel', GROUP)
            for path in built.glob('*.deb'):
                shutil.copy(path, house.path('/tmp'))
            yield house
    except NoHouse as error:
        lack(str(error))


def archive(house: House, package: str) -> str:
    return f'/tmp/{next(house.path("/tmp").glob(f"{package}_*.deb")).name}'


def members(house: House) -> str | None:
    """The members of the group, separated by commas; None if there is no group."""
    lines = house.path('/etc/group').read_text().splitlines()
    groups = {line.split(':')[0]: line.split(':')[3] for line in lines}
    return groups.get(GROUP)


def may(house: House) -> bool:
    house.new_polkitd()
    return house.pkexec('--warmup').returncode == 0


def test_install_use_remove_purge(machine: House) -> None:
    before = machine.files()
    every = [archive(machine, package) for package in PACKAGES]
    machine.check('dpkg', '--install', *every, umask=0o000)
    check_byte_code(machine)
    check_owners(machine)
    assert machine.check(LAUNCHER, '--version', user='tester')

    # Nobody is in the group until somebody is put there.
    assert members(machine) == ''
    assert not may(machine)
    machine.check('usermod', '--append', '--groups', GROUP, 'tester')
    assert may(machine)

    # The grant ends with the package; who had it is configuration.
    machine.check('dpkg', '--remove', UNATTENDED)
    assert not may(machine)
    assert members(machine) == 'tester'
    again = machine.check('dpkg', '--install', archive(machine, UNATTENDED))
    assert b'run jobs as root from now on: tester\n' in again
    assert may(machine)

    machine.check('dpkg', '--purge', *PACKAGES)
    assert members(machine) is None
    left = machine.changes(before)
    assert [path for path in left if not path.startswith(KEPT)] == []


def check_byte_code(house: House) -> None:
    """Each module has its own, made by the Python that will run it."""
    tag = house.check('/usr/bin/python3', '-c', CACHE_TAG).decode().strip()
    top = house.path(MODULES)
    modules = {path.relative_to(top).with_suffix('') for path in top.rglob('*.py')}
    made = {
        path.relative_to(top).parent.parent / path.name.removesuffix(f'.{tag}.pyc')
        for path in top.rglob(f'__pycache__/*.{tag}.pyc')
    }
    assert modules
    assert made == modules


def check_owners(house: House) -> None:
    for folder in FOLDERS:
        for path in house.path(folder).rglob('*'):
            found = path.lstat()
            assert (found.st_uid, found.st_gid) == (0, 0), path
            assert stat.S_IMODE(found.st_mode) in (0o644, 0o755), path


def test_the_own_group_of_an_account_is_not_taken(machine: House) -> None:
    """Its members would be root by the rule, and nobody wanted that."""
    machine.check('useradd', '--user-group', GROUP)
    every = [archive(machine, package) for package in (TRUSTED, UNATTENDED)]
    try:
        done = machine.run(['dpkg', '--install', *every], user='root')
        assert done.returncode == 1
        assert b'the group plainbox is not a system group' in done.stderr
        assert not machine.path(RULE).exists()
    finally:
        machine.check('dpkg', '--purge', TRUSTED, UNATTENDED)
        machine.check('userdel', GROUP)


# RPM


@pytest.fixture(scope='session')
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    """Gives the files of the RPM packages; their data is a digest."""
    need('rpmbuild')
    results = tmp_path_factory.mktemp('rpm')
    database = f'--dbpath={tmp_path_factory.mktemp("rpmdb")}'
    output(TOP / 'contrib/rpm/build', results, '--nodeps', database)
    found: dict[str, Files] = {}
    for path in results.glob('*.noarch.rpm'):
        name = output(*QUERY, database, '--queryformat=%{NAME}', path).decode()
        lines = output(*QUERY, database, f'--queryformat=[{LINE}\\n]', path)
        found[name] = dict(map(rpm_file, lines.decode().splitlines()))
    return found


def rpm_file(line: str) -> tuple[str, File]:
    mode, owner, path, digest = line.split(' ')
    return path, File(int(mode, 8), owner, digest.encode() or None)


def test_rpms_hold_what_is_installed(rpms: dict[str, Files], installed: Files) -> None:
    assert sorted(rpms) == sorted(PACKAGES)
    packed = {
        path.removesuffix('.gz'): file
        for files in rpms.values()
        for path, file in files.items()
        if file.data and not path.startswith(PACKAGERS) and not path.endswith('.pyc')
    }
    assert packed.keys() == installed.keys()
    for path, file in installed.items():
        assert file.data is not None
        if not path.startswith('/usr/share/man/'):
            digest = hashlib.sha256(file.data).hexdigest().encode()
            assert packed[path].data == digest, path
        assert stat.S_IMODE(packed[path].mode) == file.mode, path


def test_no_file_is_in_two_rpms(rpms: dict[str, Files]) -> None:
    files = [path for each in rpms.values() for path, file in each.items() if file.data]
    assert len(files) == len(set(files))


def test_everything_in_rpms_is_roots(rpms: dict[str, Files]) -> None:
    modes = {stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644}
    for name, files in rpms.items():
        for path, file in files.items():
            assert (file.owner, file.mode in modes) == ('root:root', True), (name, path)


def test_rpms_share_out_as_debs(rpms: dict[str, Files], debs: dict[str, Deb]) -> None:
    def ours(files: Files) -> set[str]:
        packed = {path.removesuffix('.gz') for path in files if files[path].data}
        return {
            path
            for path in packed
            if not (path.startswith(PACKAGERS) or path.endswith('.pyc'))
        }

    for name, files in rpms.items():
        assert ours(files) == ours(debs[name].files)
