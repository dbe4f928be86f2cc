# SPDX-License-Identifier: ISC
"""Whose code root runs: modules that Python imports, programs that a job calls."""

import contextlib
import shutil
from collections.abc import Iterator

import probe
import pytest
from house import LAUNCHER, House, put

# Row 3: what Python would import

PLANTED = 'import os; open("/tmp/imported", "a").write(__file__ + chr(10))\n'
MODULES = (
    *('abc', 'codecs', 'configparser', 'contextlib', 'ctypes', 'enum', 'hashlib', 'io'),
    *('json', 'logging', 'os', 'pwd', 're', 'resource', 'select', 'signal', 'site'),
    *('sitecustomize', 'socket', 'stat', 'subprocess', 'time', 'types', 'typing'),
    'usercustomize',
)
EVIL = '/opt/evil'
PTH = '/usr/lib/python3/dist-packages/evil.pth'
ABOVE_THE_ROOM = '/usr/lib/plainbox-launcher'
HERE = 'sys.flags.isolated and sys.flags.no_site and sys.flags.utf8_mode'


@contextlib.contextmanager
def planted(house: House, folder: str) -> Iterator[None]:
    """Modules that tell when they are imported."""
    made = house.path(folder)
    new = not made.exists()
    made.mkdir(exist_ok=True)
    for name in MODULES:
        put(made / f'{name}.py', PLANTED.encode())
    try:
        yield
    finally:
        for name in MODULES:
            (made / f'{name}.py').unlink()
        shutil.rmtree(made if new else made / '__pycache__', ignore_errors=True)
        house.path('/tmp/imported').unlink(missing_ok=True)


def imported(house: House, **more: str) -> bool:
    """Whether the launcher imports any of them; if not, it has to run the job."""
    env = {'PYTHONPATH': EVIL, 'PYTHONSTARTUP': f'{EVIL}/os.py', 'PYTHONINSPECT': '1'}
    env |= {'PYTHONUSERBASE': EVIL, 'PYTHONEXECUTABLE': f'{EVIL}/bin/python3'}
    env |= {'PYTHONWARNINGS': 'error::json.Evil', 'PYTHONPYCACHEPREFIX': EVIL, **more}
    with house.replaced(PTH, PLANTED.replace('__file__', '"pth"').encode()):
        done = probe.seen(house, 'echo ran', cwd=EVIL, env=env)
    if house.path('/tmp/imported').exists():
        return True
    assert (done.returncode, done.stdout, done.stderr) == (0, b'ran\n', b'')
    return False


@pytest.mark.parametrize('folder', ['/usr/bin', '/opt/other', ABOVE_THE_ROOM])
def test_nothing_planted_is_imported(house: House, folder: str) -> None:
    """`-IS` and a folder that comes last: no module takes the place of Python's."""
    with planted(house, EVIL), planted(house, folder):
        assert not imported(house, PYTHONHOME=EVIL, PYTHONPLATLIBDIR=EVIL, HOME=EVIL)


@pytest.mark.parametrize('options', ['-ISXutf8', '-IXutf8', '-SXutf8', '-sXutf8'])
def test_without_the_options_it_would_be(house: House, options: str) -> None:
    """The canaries of the options, for which their own check has to be away, too."""
    with (
        house.canary('start.py', HERE, 'True'),
        house.canary(LAUNCHER, 'python3 -ISXutf8\n', f'python3 {options}\n'),
        planted(house, EVIL),
    ):
        assert imported(house) == (options != '-ISXutf8')


def test_behind_pythons_own_folders(house: House) -> None:
    """The canary of the folder's place."""
    with (
        house.canary(LAUNCHER, 'sys.path.append(', 'sys.path.insert(0, '),
        planted(house, EVIL),
        planted(house, ABOVE_THE_ROOM),
    ):
        assert imported(house)


@pytest.mark.canary('start.py', HERE, 'True')
@pytest.mark.parametrize(
    'options', [[], ['-I'], ['-IS'], ['-SXutf8'], ['-s', '-E', '-S']]
)
def test_another_interpreter_or_other_options(house: House, options: list[str]) -> None:
    """Refused where the door was not locked."""
    command = ['/usr/bin/python3', *options, LAUNCHER, '--warmup']
    assert probe.code(house.run(command, user='root')) == 'PBL-INTERPRETER'


# Row 7: which program runs

RAN = b'#!/bin/sh\ntouch /tmp/ran\n'
PATHS = ('PATH', 'BASH_ENV', 'ENV', 'CDPATH', 'FPATH', 'EXECIGNORE', 'SHELL', 'BASH')


@pytest.fixture
def evil(house: House) -> Iterator[str]:
    """A folder with programs that nobody should run."""
    folder = house.path('/opt/evil')
    folder.mkdir()
    for name in ('bash', 'sh', 'dash', 'id', 'env', 'python3'):
        put(folder / name, RAN, 0o755)
    yield '/opt/evil'
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    house.path('/tmp/ran').unlink(missing_ok=True)


# No path, and no default: what a caller's variable says.
@pytest.mark.canary('environ.py', "'PATH|HOME|", "'HOME|")
@pytest.mark.parametrize('shell', ['bash', 'sh', '/bin/bash', '/usr/bin/dash'])
def test_programs_of_the_caller(house: House, evil: str, shell: str) -> None:
    """Neither the shell nor what it calls comes from where the caller says."""
    values = dict.fromkeys(PATHS, evil) | {'BASH_ENV': f'{evil}/sh'}
    values |= {'ENV': f'{evil}/sh', 'SHELL': f'{evil}/bash'}
    one = probe.job('bash -c id; sh -c id', environ=' '.join(PATHS), shell=shell)
    offers = [f'{name}={value}' for name, value in values.items()]
    with probe.installed(house, one) as (checksum,):
        done = house.pkexec(
            *('--hash', checksum, *offers),
            cwd=evil,
            env={**values, 'PATH': f'{evil}:.:/usr/bin:/bin', 'SHELL': '/bin/bash'},
            options=['--keep-cwd'],
        )
    assert not house.path('/tmp/ran').exists()
    assert done.stdout.count(b'uid=0(root)') == 2
    assert (done.returncode, done.stderr) == (0, b'')


@pytest.mark.canary(
    'execute.py',
    'os.execve(command.program,',
    'os.execvpe(os.path.basename(command.program),',
)
@pytest.mark.parametrize('shell', ['bash', 'sh', 'dash'])
def test_the_shell_is_the_systems(house: House, shell: str) -> None:
    """An absolute path from a fixed set, whatever stands first in the job's PATH."""
    one = probe.job('echo ran', shell=shell)
    files: dict[str, str | bytes] = {
        'units/a.pxu': probe.text(one),
        f'bin/{shell}': RAN,
    }
    with house.provider('probe', files):
        done = house.launcher('--hash', probe.checksum(one))
    evil_ran = house.path('/tmp/ran').exists()
    house.path('/tmp/ran').unlink(missing_ok=True)
    assert not evil_ran
    assert done.stdout == b'ran\n'
