# SPDX-License-Identifier: ISC
"""A developer's own providers: for the developer, never for root."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import PROVIDERS, House, make_folders, put
from launching import digests, events

from plainbox_launcher import catalogue

UNITS = """
id: own
command: echo own ran, $(tool), $(basename $PLAINBOX_PROVIDER_DATA)

id: root
user: root
command: echo root ran as $(id -un)

id: jobs
plugin: local
command:
 printf 'id: made\\ncommand: echo made ran\\n\\n'
 printf 'id: made-root\\nuser: root\\ncommand: echo root ran\\n'
"""
HASH = digests(UNITS)
HOME = '/home/tester/try'
DEFINITION = '[PlainBox Provider]\nname = 2026.plainbox.house:tried\n'
HERE = f'{HOME}/tried.provider'


@pytest.fixture(autouse=True)
def _checkout(house: House, _tidy: None) -> Iterator[None]:
    """What a developer has checked out, and what anybody may write to."""
    write(house, 'tried.provider', DEFINITION)
    write(house, 'units/tried.pxu', UNITS)
    write(house, 'bin/tool', '#!/bin/sh\necho tool\n')
    write(house, 'data/some', '')
    house.check('chmod', '-R', 'a+rwX', HOME)
    yield
    house.check('rm', '-r', HOME)


def write(house: House, path: str, text: str) -> None:
    target = house.path(f'{HOME}/{path}')
    make_folders(target.parent)
    put(target, text.encode(), 0o755)


def plainbox(
    house: House, *arguments: str, cwd: str = '/', user: str = 'tester'
) -> subprocess.CompletedProcess[bytes]:
    return house.run(['plainbox', *arguments], cwd=cwd, user=user)


@pytest.mark.parametrize('path', [HERE, HOME, '.', 'tried.provider', f'{HOME}/../try/'])
def test_a_provider_of_ones_own(house: House, path: str) -> None:
    """`--provider PATH`: a .provider file or a directory of them, in all commands.

    A definition without any directory means the one it lies in.
    """
    option = ('--provider', path)
    special = plainbox(house, 'special', '-J', *option, cwd=HOME).stdout.decode()
    ours = [line for line in special.splitlines() if '.house::' in line]
    assert ours == [f'{HASH[id_]} 2026.plainbox.house::{id_}' for id_ in HASH]
    listed = plainbox(house, 'list', *option, '*.house::*', cwd=HOME).stdout.decode()
    ids = [line.split()[0] for line in listed.splitlines()]
    assert sorted(ids) == ['jobs', 'made', 'made-root', 'own', 'root']
    shown = plainbox(house, 'show', *option, 'own', cwd=HOME).stdout.decode()
    assert f'defined in: {HOME}/units/tried.pxu:2' in shown
    done = plainbox(house, 'run', *option, 'own', 'made', cwd=HOME)
    assert done.returncode == 0
    assert b'own ran, tool, data\n' in done.stdout
    assert b'made ran\n' in done.stdout


@pytest.mark.parametrize('job', ['root', 'made-root'])
def test_not_for_root(house: House, job: str) -> None:
    """Its root jobs are denied, without a password being asked for."""
    option = ('--provider', HERE)
    done = plainbox(house, 'run', *option, job, 'own', user='stranger')
    assert done.returncode == 3
    assert b'    denied: PBL-NOT-INSTALLED: ' in done.stdout
    assert b'own ran' in done.stdout  # the others run
    assert b'root ran' not in done.stdout
    assert (house.log('pkexec'), events(house)) == ([], [])
    shown = plainbox(house, 'show', *option, job).stdout
    assert b'runs:       not at all: it wants root, and its provider is not' in shown


def test_root_runs_the_same_definition_if_installed(house: House) -> None:
    """By hash: the very same text, wherever else it is read."""
    with house.provider('installed', UNITS):
        done = plainbox(house, 'run', '--provider', HERE, 'root')
        changed = UNITS.replace('root ran', 'EVIL ran')
        write(house, 'units/tried.pxu', changed)
        evil = plainbox(house, 'run', '--provider', HERE, '2026.plainbox.house::root')
    assert (done.returncode, evil.returncode) == (0, 3)
    assert b'root ran as root\n' in done.stdout
    assert b'EVIL' not in evil.stdout
    assert b'root ran' not in evil.stdout


def test_ones_own_takes_the_place_of_the_installed(house: House) -> None:
    """A developer tries a new version of what is installed."""
    files = {'units/old.pxu': 'id: own\ncommand: echo old ran\n'}
    with house.provider('tried', files):
        assert b'old ran' in plainbox(house, 'run', 'own').stdout
        done = plainbox(house, 'run', '--provider', HERE, 'own')
    assert b'own ran, tool, data\n' in done.stdout
    assert b'old ran' not in done.stdout


def test_several(house: House) -> None:
    write(house, 'more/more.provider', DEFINITION.replace('tried', 'more'))
    write(house, 'more/units/more.pxu', 'id: more\ncommand: echo more ran\n')
    options = ('--provider', HERE, '--provider', f'{HOME}/more')
    done = plainbox(house, 'run', *options, 'own', 'more')
    assert b'own ran, tool' in done.stdout
    assert b'more ran' in done.stdout


@pytest.mark.parametrize('variable', ['XDG_DATA_HOME', 'HOME'])
def test_the_users_data_directory(house: House, variable: str) -> None:
    """Providers below XDG data are read always; root's jobs need to be installed."""
    below = '' if variable == 'XDG_DATA_HOME' else '.local/share/'
    name = f'{below}plainbox-providers-1/tried.provider'
    write(house, name, f'{DEFINITION}location = {HOME}\n')
    house.check('chown', '-R', 'tester:tester', HOME)
    env = {variable: HOME, 'PATH': '/usr/bin:/bin'}
    done = house.run(['plainbox', 'run', 'own', 'root'], env=env)
    assert done.returncode == 3
    assert b'own ran, tool, data\n' in done.stdout
    assert b'    denied: PBL-NOT-INSTALLED: ' in done.stdout


@pytest.mark.parametrize(
    ('make', 'fault'),
    [
        ('rm tried.provider', 'is not there'),
        ('rm tried.provider; mkfifo tried.provider', 'is not a regular file'),
        ('rm tried.provider; mkdir tried.provider', 'is not a regular file'),
        ('truncate -s 100M tried.provider', 'is larger than 4 MiB'),
        ('chmod 0 tried.provider', 'cannot be read: Permission denied'),
        (': > tried.provider', 'has no section [PlainBox Provider]'),
        (r"printf '\377' > units/tried.pxu", 'is not UTF-8'),
        ('chmod 0 units/tried.pxu', 'cannot be read: Permission denied'),
        ('rm units/tried.pxu; mkfifo units/tried.pxu', 'is not a regular file'),
        ('chmod 0 units', 'cannot be read: Permission denied'),
    ],
)
def test_bad_providers(house: House, make: str, fault: str) -> None:
    """Named with their fault; what is installed works."""
    house.check('sh', '-euc', make, cwd=HOME)
    done = plainbox(house, 'run', '--provider', HERE, 'smoke/user-account')
    assert done.returncode == 0
    told = done.stderr.decode('ascii')
    assert re.fullmatch(rf'plainbox: {HOME}/[^ ]+: {re.escape(fault)}.*\n', told), told


def test_a_provider_that_is_not_there(house: House) -> None:
    done = plainbox(house, 'list', '--provider', '/nowhere/x.provider')
    assert b'plainbox: /nowhere: is not there\n' in done.stderr


def test_where_nothing_is_installed(house: House) -> None:
    with house.replaced(f'{PROVIDERS}/system.provider', None):
        done = plainbox(house, 'run', '*')
    assert done.returncode == 4
    assert done.stderr.startswith(b'plainbox: PBL-NO-MATCH: no job matches * (')


TEMPLATE = """
unit: template
template-resource: things
id: of-{name}
user: root
command: echo {name}

unit: template
template-resource: things

id: things
plugin: resource
command: printf 'name: a\\n'

id: more
plugin: local
command: true
"""


def test_templates(tmp_path: Path) -> None:
    """They are no jobs, but jobs are made of them: via the resource job."""
    (tmp_path / 'x.provider').write_text(DEFINITION)
    (tmp_path / 'units').mkdir()
    (tmp_path / 'units/x.pxu').write_text(TEMPLATE)
    found = catalogue.read([str(tmp_path)])
    jobs = [job for job in found.jobs if job.unit.where.startswith(str(tmp_path))]
    (template,) = found.templates
    assert [job.short_id for job in jobs] == ['things', 'more']
    assert [job.generates for job in (template, *jobs)] == [True, False, True]
    things = jobs[0]
    (made,), faults = catalogue.instances(template, things, [{'name': 'a'}])
    assert (made.short_id, made.user, made.via) == ('of-a', 'root', things.unit)
    assert (made.generates, made.installed, faults) == (False, False, [])


@pytest.mark.parametrize('template', [True, False])
@pytest.mark.parametrize('resource', [True, False])
def test_root_knows_what_both_make(
    template: bool, resource: bool, tmp_path: Path
) -> None:
    """A job of a template is installed if template and resource are."""
    (tmp_path / 'x.provider').write_text(DEFINITION)
    (tmp_path / 'units').mkdir()
    (tmp_path / 'units/x.pxu').write_text(TEMPLATE)
    found = catalogue.read([str(tmp_path)])
    source = found.templates[0]._replace(installed=template)
    things = next(job for job in found.jobs if job.unit.plugin == 'resource')
    things = things._replace(installed=resource)
    (made,), _ = catalogue.instances(source, things, [{'name': 'a'}])
    assert made.installed is (template and resource)
