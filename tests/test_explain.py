# SPDX-License-Identifier: ISC
"""plainbox explain and plainbox-errors(7): every refusal, from one table."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from house import CLEAN, House

from plainbox_launcher import refusals
from plainbox_launcher.refusals import REFUSALS, cures
from plainbox_launcher.trusted import errors

TOP = Path(__file__).parent.parent
CODE = re.compile(r'PBL(?:-[A-Z]+)+')
TABLES = {'refusals.py', 'errors.py'}


def explain(*codes: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    command = ['/usr/bin/python3', '-B', f'{TOP}/bin/plainbox', 'explain', *codes]
    env = {**CLEAN, 'COLUMNS': str(columns)}
    return subprocess.run(command, env=env, capture_output=True, text=True)


def lack(tool: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(f'missing: {tool}')
    pytest.skip(f'missing: {tool}')


# The table


def used() -> set[str]:
    """The codes that stand anywhere in the sources, but for the tables of them."""
    folders = [TOP / 'plainbox_launcher', TOP / 'providers', TOP / 'bin']
    files = [path for folder in folders for path in folder.rglob('*')]
    texts = [
        path.read_text()
        for path in files
        if path.is_file() and path.suffix != '.pyc' and path.name not in TABLES
    ]
    assert len(texts) > 20
    return {code for text in texts for code in CODE.findall(text)}


def test_every_code_is_explained_and_none_besides() -> None:
    """All codes of the launcher and of the runner."""
    beginnings = {c for c in used() if any(r.startswith(f'{c}-') for r in REFUSALS)}
    assert used() - beginnings - REFUSALS.keys() == set()
    assert REFUSALS.keys() - used() == set()
    assert errors.HINTS.keys() | refusals.HINTS.keys() == REFUSALS.keys()
    assert not errors.HINTS.keys() & refusals.HINTS.keys()


@pytest.mark.parametrize('code', REFUSALS)
def test_what_is_said_of_a_code(code: str) -> None:
    """A sentence, one to four causes, and as many cures, the hint among them."""
    refusal = REFUSALS[code]
    assert re.fullmatch(r'[A-Zp][ -~]+\.', refusal.meaning)  # pkexec, polkit
    assert 1 <= len(refusal.causes) <= 4
    assert 1 <= len(cures(code)) <= 4
    assert {**errors.HINTS, **refusals.HINTS}[code] == cures(code)[0]
    for text in (*refusal.causes, *refusal.more):
        assert re.fullmatch(r'[a-z/A-Z][ -~]*[^.\s]', text), text


# plainbox explain


@pytest.mark.parametrize('word', ['PBL-NO-AGENT', 'no-agent', 'pbl-No-Agent'])
def test_one_code(word: str) -> None:
    """With or without its PBL-: what it means, where it comes from, what helps."""
    done = explain(word, columns=300)
    assert (done.returncode, done.stderr) == (0, '')
    refusal = REFUSALS['PBL-NO-AGENT']
    assert done.stdout.splitlines() == [
        'PBL-NO-AGENT',
        f'  {refusal.meaning}',
        '',
        '  Causes',
        *(f'  - {cause}' for cause in refusal.causes),
        '',
        '  What helps',
        *(f'  - {cure}' for cure in cures('PBL-NO-AGENT')),
    ]


def test_all_codes() -> None:
    """Without any, list them all."""
    done = explain(columns=300)
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert lines == {code: refusal.meaning for code, refusal in REFUSALS.items()}


@pytest.mark.parametrize('columns', [1, 50, 80, 120])
def test_as_wide_as_the_terminal(columns: int) -> None:
    """But not narrower than 40; and what is copied from it stays whole."""
    for done in explain(columns=columns), explain('no-policy', columns=columns):
        wide = [line for line in done.stdout.splitlines() if len(line) > columns]
        assert columns < 40 or [line for line in wide if ' ' in line.strip()] == []
    assert 'org.freedesktop.policykit.pkexec.run-plainbox-job' in done.stdout
    assert done.stdout.count('\n') > 10


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['PBL-NO-AGNT'], 'no such code: PBL-NO-AGNT; is it PBL-NO-AGENT'),
        (['no-agent', 'zzz'], 'no such code: PBL-ZZZ\n'),
        ([''], 'no such code: PBL-\n'),
        (['\x1b[2J'], r'no such code: PBL-\x1b[2J'),
    ],
)
def test_a_wrong_code(words: list[str], said: str) -> None:
    """Wrong usage, 2; and what may have been meant. Nothing else is printed."""
    done = explain(*words)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith(f'plainbox: {said}')


# The page plainbox-errors(7)


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('man') / 'plainbox-errors.7'
    made = subprocess.run([TOP / 'contrib/errors-page'], capture_output=True, cwd='/')
    assert (made.returncode, made.stderr) == (0, b'')
    path.write_bytes(made.stdout)
    return path


def mandoc(*arguments: str | Path) -> str:
    if shutil.which('mandoc') is None:
        lack('mandoc')
    done = subprocess.run(['mandoc', *arguments], capture_output=True, text=True)
    return done.stdout


def test_the_page_is_sound(page: Path) -> None:
    lines = mandoc('-Tlint', '-Wall', page).splitlines()
    assert [line for line in lines if 'referenced manual not found' not in line] == []


def test_the_page_says_all_of_it(page: Path) -> None:
    shown = mandoc('-Tutf8', '-Owidth=300', page)
    words = ' '.join(re.sub('.\b', '', shown).split())
    for code, refusal in REFUSALS.items():
        parts = [refusal.meaning, 'Causes:']
        parts += [f'- {cause}' for cause in refusal.causes] + ['What helps:']
        parts += [f'- {cure}' for cure in cures(code)]
        assert f'{code} {" ".join(parts)}' in words


# Where a refusal leads

UNITS = """
id: one
user: root
command: echo one ran

id: zsh
user: root
shell: /bin/zsh
command: echo ran
"""


@pytest.fixture
def _provider(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('explain', UNITS):
        yield


@pytest.mark.usefixtures('_provider')
@pytest.mark.parametrize(
    ('user', 'job', 'code'),
    [
        ('stranger', 'one', 'PBL-NOT-AUTHORIZED'),
        ('tester', 'zsh', 'PBL-SHELL'),
    ],
)
def test_a_refusal_leads_there(house: House, user: str, job: str, code: str) -> None:
    """Before the run, and in it; but only where a person reads it."""
    main, side = os.openpty()
    command = ['plainbox', 'run', job]
    house.run(command, user=user, stderr=side)
    os.close(side)
    with open(main, 'rb', buffering=0) as terminal:
        seen = terminal.read(1 << 16).decode().replace('\r', '')
    assert seen.endswith(f'for more, see: plainbox explain {code}\n')
    assert b'explain' not in house.run(command, user=user).stderr
