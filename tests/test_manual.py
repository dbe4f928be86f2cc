# SPDX-License-Identifier: ISC
"""Manual pages and programs say the same, both ways; examples and README run.

The pages are those that contrib/install installs. What they say is read from their
source, as mdoc(7) names what it marks: an option .Fl, a path .Pa, another page .Xr.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import pytest
from house import CHECKOUT, CLEAN, HANGS, PROVIDERS, House
from launching import NAME

from plainbox_launcher import catalogue, cli, plan, testplan
from plainbox_launcher.trusted import audit, environ, launcher, library, provider
from plainbox_launcher.trusted.unit import Unit

TOP: Final = Path(__file__).parent.parent
RUNNER, LAUNCHER = 'plainbox.1', f'{NAME}.1'
JOB, PROVIDER = 'plainbox-job.5', 'plainbox-provider.5'
REPORT = 'plainbox-report.5'
TESTPLAN = 'plainbox-testplan.5'


class Installed(NamedTuple):
    """What contrib/install installs: the paths, and the pages by their names."""

    paths: frozenset[str]
    pages: Mapping[str, str]


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    top = tmp_path_factory.mktemp('root')
    command = [f'{TOP}/contrib/install', '--destdir', str(top)]
    subprocess.run(command, check=True, capture_output=True)
    paths = frozenset(f'/{path.relative_to(top)}' for path in top.rglob('*'))
    pages = {page.name: page.read_text() for page in top.glob('usr/share/man/*/*')}
    assert {RUNNER, LAUNCHER, JOB, PROVIDER, TESTPLAN} <= pages.keys()
    return Installed(paths, pages)


def lacking(what: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(f'missing: {what}')
    pytest.skip(f'missing: {what}')


def section(page: str, title: str) -> str:
    """The source of a section or subsection; '' where there is none."""
    found = re.search(rf'(?ms)^\.S[hs] {title}\n(.*?)(?=^\.S[hs] |\Z)', page)
    return found[1] if found else ''


def heads(source: str, macro: str) -> list[str]:
    """What the items of a list are about: `.It Cm one , two` is about two things."""
    lines = re.findall(rf'(?m)^\.It {macro} (.+)', source)
    return [word for line in lines for word in line.split(' , ')]


def options(source: str) -> set[str]:
    """Each option that is marked as one: `Fl h , Fl Fl help` is -h and --help."""
    macros = '\n'.join(re.findall(r'(?m)^\..*', source))
    found = re.findall(r'\bFl (Fl )?([\w-]+)', macros)
    return {f'{"--" if long else "-"}{name}' for long, name in found}


def say(program: str, *arguments: str) -> str:
    """What a program says of itself."""
    done = subprocess.run(
        [sys.executable, TOP / 'bin' / program, *arguments],
        env={**CLEAN, 'LC_ALL': 'C', 'COLUMNS': '500'},
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert (done.returncode, done.stderr) == (0, ''), done
    return done.stdout


def listed(text: str) -> set[str]:
    """The options in a help: lines of `  -h, --help  what it does`."""
    lines = re.findall(r'(?m)^ {2}(-.*?)(?: {2}|$)', text)
    return {
        option for line in lines for option in re.findall(r'(?<!\S)-[A-Za-z-]+', line)
    }


def helps() -> dict[str, str]:
    """The help of each subcommand of plainbox."""
    found = {'': say('plainbox', '--help')}
    for above in '', 'session':
        names = re.findall(r'(?m)^ {4}([a-z-]+)(?: |$)', found.pop(above))
        for name in [f'{above} {name}'.strip() for name in names]:
            found[name] = say('plainbox', *name.split(), '--help')
    assert {'list', 'show', 'run', 'special', 'session rm'} <= {*found}
    return found


# What there is to type


def test_options_of_plainbox(installed: Installed) -> None:
    texts = [say('plainbox', '--help'), *helps().values()]
    assert options(installed.pages[RUNNER]) == set().union(*map(listed, texts))


def test_options_of_the_launcher(installed: Installed) -> None:
    assert options(installed.pages[LAUNCHER]) == listed(say(NAME, '--help'))


def test_subcommands(installed: Installed) -> None:
    """Each is an item of its own; that of `special` names its option as well."""
    text = section(installed.pages[RUNNER], 'DESCRIPTION')
    named = re.findall(r'(?m)^\.It Cm (.+?)(?: Fl .*)?$', text)
    assert sorted(named) == sorted(helps())


def synopsis(page: str) -> list[str]:
    """Each way to call a program, as people see it."""
    if shutil.which('mandoc') is None:
        lacking('mandoc')
    command = ['mandoc', '-T', 'ascii', '-O', 'width=500']
    done = subprocess.run(command, input=page, capture_output=True, text=True)
    plain = re.sub('.\b', '', done.stdout)
    lines = plain.partition('\nSYNOPSIS\n')[2].partition('\n\n')[0].splitlines()
    return [line.strip() for line in lines]


def usage(text: str) -> list[str]:
    """The same in a help, where `NAME [NAME ...]` is `NAME ...`."""
    line = ' '.join(text.removeprefix('usage: ').partition('\n\n')[0].split())
    line = re.sub(r'(\S+) \[\1 \.\.\.\]', r'\1 ...', line)
    return re.split(rf' (?={line.split()[0]} )', line)


def test_synopsis_of_plainbox(installed: Installed) -> None:
    said = [way for text in helps().values() for way in usage(text)]
    shown = synopsis(installed.pages[RUNNER])
    ways = [way.replace(' [-h]', '') for way in [*said, 'plainbox --version']]
    assert sorted(shown) == sorted(ways)


def test_synopsis_of_the_launcher(installed: Installed) -> None:
    shown = synopsis(installed.pages[LAUNCHER])
    assert shown == [*usage(say(NAME, '--help')), f'{NAME} --version']


# What there is to read elsewhere


def test_cross_references(installed: Installed) -> None:
    """Also of plainbox-errors(7), which is made at installation."""
    for page in installed.pages.values():
        for name, number in re.findall(r'(?m)^\.Xr (plainbox\S*) (\d)', page):
            assert f'{name}.{number}' in installed.pages


OWN = f'~/.local/share/{os.path.basename(catalogue.OWN)}'
LOG = vars(audit)['_LOG']
#: What is not ours to install, or not there at once, and is read or written.
LEDGER = '~/.local/state/plainbox-launcher/ledger.sqlite'
READ = {LOG, LEDGER, *(f'{path}/*.provider' for path in [*library.DIRECTORIES, OWN])}


def test_files(installed: Installed) -> None:
    """Each is installed, or is what the code looks for."""
    for name, page in installed.pages.items():
        for path in heads(section(page, 'FILES'), 'Pa'):
            assert path in READ | installed.paths, name
    named = heads(section(installed.pages[LAUNCHER], 'FILES'), 'Pa')
    assert {*named} >= READ - {f'{OWN}/*.provider', LEDGER}
    ours = {*heads(section(installed.pages[PROVIDER], 'FILES'), 'Pa')}
    assert ours == READ - {LOG, LEDGER}


# How it ends


def statuses(page: str) -> set[int]:
    return {int(item) for item in re.findall(r'(?m)^\.It (\d+)$', page)}


def test_exit_statuses(installed: Installed) -> None:
    constants = {n: v for n, v in vars(cli).items() if n.isupper() and type(v) is int}
    assert {'OK', 'JOB_FAILED', 'COULD_NOT_RUN'} <= constants.keys()
    of_argparse = 2
    ours = {*constants.values(), of_argparse}
    assert statuses(section(installed.pages[RUNNER], 'EXIT STATUS')) == ours
    room = {launcher.REFUSED, launcher.WRONG_USAGE}
    assert statuses(section(installed.pages[LAUNCHER], 'EXIT STATUS')) == room
    table = re.findall(r'(?m)^(\d+) {2,}\w', (TOP / 'README.rst').read_text())
    assert {int(status) for status in table} == ours


# Formats


#: Shown by `plainbox show`, as is everything, and otherwise of no consequence.
FOR_PEOPLE = {'description', 'estimated_duration'}


def test_fields_of_jobs(installed: Installed) -> None:
    """Those that the code asks a unit for."""
    asked = r"\b(?:self|job|unit|local)\.get\('([a-z_]+)'\)"
    sources = (TOP / 'plainbox_launcher').rglob('*.py')
    code = {name for path in sources for name in re.findall(asked, path.read_text())}
    assert {'user', 'command', 'environ', 'requires'} <= code
    described = heads(section(installed.pages[JOB], 'Fields'), 'Cm')
    assert {*described} == code | FOR_PEOPLE


def test_fields_of_definitions(installed: Installed) -> None:
    source = Path(provider.__file__).read_text()
    code = {
        *re.findall(r"_matching\(fields, '(\w+)'", source),
        *vars(provider)['_PLACES'],
    }
    described = heads(section(installed.pages[PROVIDER], 'DESCRIPTION'), 'Cm')
    assert {*described} == code | {'description'}


def test_fields_of_test_plans(installed: Installed) -> None:
    described = heads(section(installed.pages[TESTPLAN], 'Fields'), 'Cm')
    kept = {*testplan.TestPlan._fields} - {'where', 'namespace'}
    assert {*described} == kept | {'unit'}


def test_fields_of_reports(installed: Installed) -> None:
    """Those of the schema, which is installed as the page says."""
    kinds = json.loads((TOP / 'contrib/report.schema.json').read_text())['$defs']
    described = heads(section(installed.pages[REPORT], 'JSON'), 'Cm')
    fields = [name for kind in ('session', 'job') for name in kinds[kind]['properties']]
    assert sorted(described) == sorted(fields)


def test_variables(installed: Installed) -> None:
    """What a job finds that lists nothing, of a provider that has everything."""
    full = provider.Provider(*provider.Provider._fields)
    values = environ.compose(
        Unit({}, full, ''), pwd.getpwuid(0), [], {}, share='/somewhere'
    ).values
    assert {*heads(section(installed.pages[JOB], 'Environment'), 'Ev')} == {*values}


# Examples


def displays(page: str) -> list[str]:
    """The literal texts of EXAMPLES, as people see them."""
    found = re.findall(r'(?ms)^\.Bd -literal\n(.*?)^\.Ed$', section(page, 'EXAMPLES'))
    assert found
    return [text.replace(r'\e', '\\') for text in found]


class Step(NamedTuple):
    """A command behind a prompt, and what is shown below it."""

    user: str
    command: str
    shown: str


def steps(page: str) -> Iterator[Step]:
    users = {'$': 'tester', '#': 'root'}
    for text in displays(page):
        prompts = re.findall(r'(?ms)^([$#]) (.*?)\n(.*?)(?=^[$#] |\Z)', text)
        for prompt, command, shown in prompts:
            yield Step(users[prompt], command, shown)


def same(said: str, shown: str) -> bool:
    """Three dots stand for anything, and lines are broken where the page needs it."""
    words = [re.escape(word) for word in alike(shown).split()]
    pattern = ' '.join(words).replace(re.escape('...'), '.*')
    return re.fullmatch(pattern, ' '.join(alike(said).split())) is not None


def alike(text: str) -> str:
    """Without what differs from run to run, and from caller to caller."""
    text = re.sub(r'\b[0-9]+\.[0-9] s\b', '0.0 s', text)
    return re.sub(r'(uid|caller)=[a-z0-9]+', r'\1=', text)


def logged(house: House) -> str:
    """What `journalctl -o cat -t` shows, but here no systemd keeps the log."""
    texts = (line.text.partition(': ')[2] for line in house.log(NAME))
    return '\n'.join(texts)


def replay(house: House, page: str, place: str = '/') -> None:
    """Runs what stands behind the prompts, and compares it with what is shown.

    All but journalctl(1), which does not run here: what it shows is held against what
    was logged. Real journals are read in tests/machine.
    """
    variables = ''
    for step in steps(page):
        if step.command == f'journalctl -o cat -t {NAME}':
            said, status = logged(house), 0
        else:
            done = house.run(
                ['sh', '-c', f'{variables}{step.command}'],
                user=step.user,
                cwd=place,
                parent=True,
                stderr=subprocess.STDOUT,
            )
            said, status = done.stdout.decode(), done.returncode
        assert same(said, step.shown), (step, said)
        assert status == 0 or 'PBL-' in step.shown, (step, status)
        if re.match(r'\w+=', step.command):
            variables += f'{step.command}\n'


def test_examples_of_plainbox(house: House, installed: Installed) -> None:
    replay(house, installed.pages[RUNNER])


def test_examples_of_reports(house: House, installed: Installed) -> None:
    replay(house, installed.pages[REPORT])


def test_examples_of_the_launcher(house: House, installed: Installed) -> None:
    replay(house, installed.pages[LAUNCHER])


SMARTCTL = b'#!/bin/sh\necho asked "$@"\n'


def test_examples_of_the_formats(house: House, installed: Installed) -> None:
    """The provider of one page with the job of the other, as they stand there.

    smartctl is another's, and no disk of this machine has to have it: so there is
    a program of that name, or none.
    """
    (job,) = displays(installed.pages[JOB])
    definition, _ = displays(installed.pages[PROVIDER])
    run = ['plainbox', 'run', '--provider', '/tmp/example.provider', 'disk/smart']
    tool = '/usr/bin/smartctl'
    with (
        house.replaced('/tmp/example.provider', definition.encode()),
        house.replaced('/tmp/disk.pxu', job.encode()),
    ):
        try:
            replay(house, installed.pages[PROVIDER], '/tmp')
            with house.replaced(tool, None):
                done = house.run(run)
                assert done.returncode == 0
                assert b"skipped: requires executable.name == 'smartctl'" in done.stdout
            with house.replaced(tool, SMARTCTL, 0o755):
                assert b'asked --health /dev/sda\n' in house.check(*run, user='tester')
                listed = {**CLEAN, 'SMART_DEVICE': '/dev/sdb'}
                said = house.check(*run, user='tester', env=listed)
                assert b'asked --health /dev/sdb\n' in said
        finally:
            house.check('rm', '-rf', '/usr/lib/example-provider')
            house.check('rm', '-f', f'{PROVIDERS}/example.provider')


def test_example_of_a_test_plan(installed: Installed, tmp_path: Path) -> None:
    """With the job of another page and our own provider: in the order that it tells."""
    texts = [*displays(installed.pages[JOB]), *displays(installed.pages[TESTPLAN])]
    (tmp_path / 'units').mkdir()
    (tmp_path / 'units' / 'all.pxu').write_text('\n'.join(texts))
    definition, _ = displays(installed.pages[PROVIDER])
    lines = [line for line in definition.splitlines() if 'location' not in line]
    (tmp_path / 'example.provider').write_text('\n'.join(lines))
    system = TOP / 'providers' / 'system' / 'system.provider'
    found = catalogue.read([str(tmp_path), str(system)])
    selection = plan.Selection(plans=('nightly',))
    chosen = plan.select(found.jobs, selection, testplan.read(found, []))
    ids = [job.short_id for job in chosen]
    assert ids[:3] == ['device', 'kernel/taint', 'disk/smart']
    storage = [
        job.short_id for job in found.jobs if job.short_id.startswith('storage/')
    ]
    storage.remove('storage/read-speed-jobs')
    assert ids[3 : 3 + len(storage)] == storage
    smoke = ids[3 + len(storage) :]
    assert smoke
    assert all(id_.startswith('smoke/') for id_ in smoke)


# README


def blocks(title: str) -> list[str]:
    """The literal blocks of a section of README.rst, until the next one."""
    text = (TOP / 'README.rst').read_text()
    below = re.split(rf'(?m)^{title}\n[-~]+\n', text)[1]
    here = re.split(r'(?m)^\S.*\n[-~]+$', below)[0]
    found = re.findall(r'::\n\n((?: {4}.*\n|\n)+)', here)
    assert found
    return [textwrap.dedent(block).strip('\n') for block in found]


def test_readme_shows_the_same_provider(installed: Installed) -> None:
    definition, job = blocks('Jobs and providers')[:2]
    assert f'{job}\n' in displays(installed.pages[JOB])
    _, definition = definition.split('\n', 1)  # without the line on where it lies
    assert f'{definition}\n' in displays(installed.pages[PROVIDER])


def test_readme_use(house: House) -> None:
    """All of it runs; whether the network of this machine passes is its own affair.

    Nothing was cut off, so there is nothing to resume.
    """
    lines = blocks('Use')[0].splitlines()
    assert len(lines) >= 6
    may = {'run': (0, 1), 'rerun': (0, 1, 4), 'resume': (3,)}
    for line in lines:
        done = house.run(['sh', '-c', line], parent=True, cwd='/home/tester')
        assert done.returncode in may.get(line.split()[1], (0,)), (line, done)
    house.path('/home/tester/results.xml').unlink()


def test_the_runner_alone(house: House) -> None:
    """`pip install .` in an environment of an ordinary user.

    "It lists jobs and runs those that need no root; the others too where /usr/bin has
    the launcher." Needs PyPI.
    """
    assert (
        'python3 -m venv DIR`` and ``DIR/bin/pip install .``'
        in (TOP / 'README.rst').read_text()
    )
    place = '/home/tester/runner'
    certificates = {n: v for n, v in os.environ.items() if n == 'PIP_CERT'}
    env = {**CLEAN, **certificates, 'HOME': '/home/tester', 'TMPDIR': place}
    try:
        house.check('mkdir', place, f'{place}/source', user='tester')
        skipped = '--exclude=./.git --exclude=./.venv'  # large, and not read by pip
        copy = f'tar -C {CHECKOUT} {skipped} -cf - . | tar -C {place}/source -xf -'
        house.check('sh', '-c', copy, user='tester')
        house.check('/usr/bin/python3', '-m', 'venv', f'{place}/venv', user='tester')
        pip = [f'{place}/venv/bin/pip', '--no-cache-dir', 'install', '.']
        done = house.run(pip, user='tester', cwd=f'{place}/source', env=env)
        if b'No matching distribution' in done.stderr:
            lacking('PyPI')
        assert done.returncode == 0, done
        house.new_page()
        jobs = ['smoke/user-account', 'smoke/root-account']
        done = house.run([f'{place}/venv/bin/plainbox', 'run', *jobs])
    finally:
        house.check('rm', '-rf', place)
    assert done.returncode == 0, done
    assert b'2 jobs: 2 passed\n' in done.stdout
    called = [line.text for line in house.log('pkexec') if 'COMMAND=' in line.text]
    assert called
    assert all(f'[COMMAND=/usr/bin/{NAME} ' in line for line in called)
