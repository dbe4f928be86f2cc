# SPDX-License-Identifier: ISC
"""A machine gets the RPM packages, a newer release of them, and loses them again.

The machine is a house of Debian's. So rpm does without dependencies, and keeps its
database in /tmp; everything else is real, as are all scriptlets and triggers.
"""

import contextlib
import gzip
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import (
    ACTION,
    CHECKOUT,
    GROUP,
    LAUNCHER,
    POLICY,
    RULES,
    House,
    NoHouse,
    lacking,
    open_house,
)
from test_packages import (
    FOLDERS,
    MODULES,
    PACKAGES,
    PROVIDER,
    RULE,
    RUNNER,
    SYSTEM,
    TOP,
    TRUSTED,
    UNATTENDED,
    File,
    Files,
    lack,
    may,
    members,
    need,
    output,
)
from test_packages import KEPT as TRACES

BUILD = 'contrib/rpm/build'
OPTIONS = ('--dbpath=/tmp/rpmdb', '--nodeps')
KEPT = (
    *TRACES,
    '/etc/passwd-',
    '/etc/shadow-',
    '/etc/subgid-',
    '/etc/subuid-',
    '/tmp/rpmdb',
)
BELOW = tuple(f'{folder}/' for folder in FOLDERS)
HEADER = 16  # bytes of a .pyc: version, and hash of the source
# What an older release had and a newer one has not.
GONE = {
    'plainbox_launcher/gone.py': f'{MODULES}/gone.py',
    'plainbox_launcher/trusted/gone.py': f'{MODULES}/trusted/gone.py',
    'providers/system/units/gone.pxu': f'{PROVIDER}/units/gone.pxu',
}
# Another Python, as rpm sees one: a package with this file.
INTERPRETER = """
Name: python
Version: 3
Release: 1
Summary: An interpreter
License: ISC
BuildArch: noarch
%description
%install
mkdir -p %{buildroot}/usr/bin
ln -s $(readlink /usr/bin/python3) %{buildroot}/usr/bin/python3
%files
/usr/bin/python3
"""


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a directory with what rpmbuild makes, for each release a folder."""
    need('rpm', 'rpmbuild')
    work = tmp_path_factory.mktemp('rpm')
    database = f'--dbpath={work}/db'
    topdir = f'--define=_topdir {work}/top'
    output(TOP / BUILD, work / 'newer', '--nodeps', database, '--define=dist .2')

    # An older release, out of the source package of the newer one.
    source = next((work / 'newer').glob('*.src.rpm'))
    output('rpm', database, topdir, '--install', source)
    archive = next((work / 'top/SOURCES').glob('*.tar.gz'))
    output('tar', '-C', work, '-xf', archive)
    older = work / archive.name.removesuffix('.tar.gz')
    for path in GONE:
        (older / path).write_text('')
    output(older / BUILD, work / 'older', '--nodeps', database, '--define=dist .1')

    (work / 'python.spec').write_text(INTERPRETER)
    results = f'--define=_rpmdir {work}/python'
    output('rpmbuild', database, topdir, results, '-bb', work / 'python.spec')
    return work


@contextlib.contextmanager
def a_house() -> Iterator[House]:
    if reason := lacking():
        lack(reason)
    with contextlib.ExitStack() as stack:
        try:
            house = stack.enter_context(open_house(TOP))
        except NoHouse as error:
            lack(str(error))
        yield house


@pytest.fixture(scope='module')
def installed() -> Files:
    """Gives what contrib/install installs, and the rule."""
    with a_house() as house:
        lines = house.check(f'{CHECKOUT}/contrib/install').decode().splitlines()
        house.check('cp', RULES, RULE)
        return {path: found(house, path) for path in [*lines, RULE]}


@pytest.fixture
def machine(built: Path, installed: Files) -> Iterator[House]:
    """Gives a house that has nothing of ours but the packages, in /tmp.

    And fails the test if there is more when it is over.
    """
    with a_house() as house:
        house.check('rm', '-rf', *FOLDERS, *installed, RULES)
        house.check('groupdel', GROUP)
        house.check('mkdir', '-p', '/usr/share/licenses')  # a machine with RPM has it
        for path in built.glob('*/**/*.noarch.rpm'):
            folder = house.path('/tmp') / path.relative_to(built).parts[0]
            folder.mkdir(exist_ok=True)
            shutil.copy(path, folder)
        before = house.files()
        yield house
        left = [path for path in house.changes(before) if not path.startswith(KEPT)]
        assert left == []


def found(house: House, inside: str) -> File:
    """A file or a folder; of byte code what Python goes by, of a page the text."""
    path = house.path(inside)
    packed = path.with_name(f'{path.name}.gz')
    path = packed if packed.exists() else path
    status = path.lstat()
    data = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
    if data and path.suffix == '.gz':
        data = gzip.decompress(data)
    if data and path.suffix == '.pyc':
        data = data[:HEADER]
    return File(status.st_mode, f'{status.st_uid}:{status.st_gid}', data)


def ours(house: House) -> set[str]:
    """All that is in the folders that are wholly ours."""
    tops = [(folder, house.path(folder)) for folder in FOLDERS]
    return {
        f'{folder}/{path.relative_to(top)}'
        for folder, top in tops
        for path in top.rglob('*')
    }


def rpm(house: House, *args: str) -> None:
    done = rpm_says(house, *args)
    # Debian 12's asks whether alien is not meant. Else not a word: of a trigger that
    # failed rpm only warns.
    said = [line for line in done.stderr.splitlines() if not line.startswith(b'rpm: ')]
    assert (done.returncode, done.stdout, said) == (0, b'', []), args


def rpm_says(house: House, *args: str) -> subprocess.CompletedProcess[bytes]:
    """Runs rpm in a shell, for its patterns."""
    command = ' '.join(['rpm', *OPTIONS, *args])
    return house.run(['sh', '-c', command], user='root', umask=0o000)


def package(release: str, name: str) -> str:
    return f'/tmp/{release}/{name}-[0-9]*.rpm'


def check_installed(house: House, installed: Files) -> None:
    assert {path: found(house, path) for path in installed} == installed
    assert ours(house) == {path for path in installed if path.startswith(BELOW)}
    rpm(house, '--verify', *PACKAGES)


def test_install_and_erase(machine: House, installed: Files) -> None:
    """As contrib/install does it, whatever the umask, byte code included."""
    rpm(machine, '--install', '/tmp/newer/*.rpm')
    check_installed(machine, installed)
    assert any(path.endswith('.pyc') for path in installed)
    assert machine.check(LAUNCHER, '--version', user='tester')

    # Nobody is in the group until somebody is put there; it is over with the package.
    assert members(machine) == ''
    assert not may(machine)
    machine.check('usermod', '--append', '--groups', GROUP, 'tester')
    assert may(machine)
    rpm(machine, '--erase', UNATTENDED)
    assert members(machine) is None
    assert not may(machine)

    rpm(machine, '--erase', RUNNER, TRUSTED, SYSTEM)


def test_one_policy_and_it_asks(machine: House) -> None:
    rpm(machine, '--install', '/tmp/newer/*.rpm')
    command = ['grep', '-rl', ACTION, '/usr/share/polkit-1', '/etc/polkit-1']
    assert sorted(machine.check(*command).decode().splitlines()) == [POLICY, RULE]
    asks = b'<allow_active>auth_admin_keep</allow_active>'
    assert asks in machine.path(POLICY).read_bytes()
    rpm(machine, '--erase', *PACKAGES)


def test_upgrade(machine: House, installed: Files) -> None:
    """The group keeps its members; nothing of the older release is left."""
    rpm(machine, '--install', '/tmp/older/*.rpm')
    machine.check('usermod', '--append', '--groups', GROUP, 'tester')
    group = machine.check('getent', 'group', GROUP)
    assert set(GONE.values()) < ours(machine)

    rpm(machine, '--upgrade', '/tmp/newer/*.rpm')
    check_installed(machine, installed)
    assert machine.check('getent', 'group', GROUP) == group
    assert may(machine)
    rpm(machine, '--erase', *PACKAGES)


def test_the_room_alone(machine: House, installed: Files) -> None:
    """Two packages have modules in one folder; each keeps and takes its own."""
    room = {f'{MODULES}/__init__.py'}
    rpm(machine, '--install', package('newer', TRUSTED))
    alone = ours(machine)
    assert room < alone
    assert any(path.startswith(f'{MODULES}/__pycache__/__init__.') for path in alone)
    rpm(machine, '--install', package('newer', RUNNER))
    modules = {path for path in installed if path.startswith(f'{MODULES}/')}
    assert modules < ours(machine)
    rpm(machine, '--erase', RUNNER)
    assert ours(machine) == alone
    rpm(machine, '--erase', TRUSTED)


def test_another_python(machine: House, installed: Files) -> None:
    """Byte code is the machine's own: made again when its Python changes."""
    rpm(machine, '--install', package('newer', TRUSTED))
    own = ours(machine)
    for path in machine.path(MODULES).rglob('*.pyc'):
        path.rename(path.with_name(path.name.replace('.cpython-', '.cpython-2')))
    assert ours(machine) != own
    rpm(machine, '--install', '/tmp/python/*.rpm')
    assert ours(machine) == own
    assert all(found(machine, path) == installed[path] for path in own)
    rpm(machine, '--erase', TRUSTED)
    rpm(machine, '--erase --justdb', 'python')


def test_no_byte_code_in_packages(built: Path) -> None:
    """It belongs to one version of Python; noarch packages are for any."""
    for path in (built / 'newer').glob('*.noarch.rpm'):
        files = output('rpm', f'--dbpath={built}/db', '-qpl', path)
        assert b'/usr/' in files
        assert b'__pycache__' not in files, path


def test_the_own_group_of_an_account_is_not_taken(machine: House) -> None:
    """Its members would be root by the rule, and nobody wanted that."""
    machine.check('useradd', '--user-group', GROUP)
    done = rpm_says(machine, '--install', package('newer', UNATTENDED))
    assert done.returncode == 1
    assert b'the group plainbox is not a system group' in done.stderr
    assert not machine.path(RULE).exists()
    machine.check('userdel', GROUP)


def test_who_is_in_the_group_already_is_said(machine: House) -> None:
    machine.check('groupadd', '--system', GROUP)
    machine.check('usermod', '--append', '--groups', GROUP, 'tester')
    done = rpm_says(machine, '--install', package('newer', UNATTENDED))
    assert done.returncode == 0
    assert b'run jobs as root from now on: tester\n' in done.stdout + done.stderr
    rpm(machine, '--erase', UNATTENDED)
