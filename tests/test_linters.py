# SPDX-License-Identifier: ISC
"""Linters as tests. A missing one is a reason to skip, but not where all are required.

contrib/check installs them, and says so by PLAINBOX_REQUIRE.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

TOP = Path(__file__).parent.parent
MADE = {'__pycache__', 'build', 'dist', '.git', '.venv', '.hypothesis', '.eggs'}


def project() -> list[Path]:
    """The files of the project, and not what tools leave between them."""

    def files(folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            made = path.name in MADE and path.is_dir()
            if made or path.name.endswith(('_cache', '.egg-info')):
                continue
            if path.is_dir():
                yield from files(path)
            elif not path.name.endswith(('~', '.swp')):
                yield path

    return sorted(files(TOP))


def lacking(tool: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(f'{tool} is required and not installed')
    pytest.skip(f'{tool} is not installed')


def output(*command: str) -> str:
    """What a linter has to say, to be compared with nothing."""
    done = subprocess.run(
        command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout if done.returncode else ''


def python_tool(name: str, *arguments: str) -> str:
    if importlib.util.find_spec(name) is None:
        lacking(name)
    return output(sys.executable, '-m', name, *arguments)


def tool(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        lacking(name)
    return output(name, *arguments)


def test_ruff() -> None:
    assert python_tool('ruff', 'check', '--quiet', '--output-format=concise') == ''


def test_ruff_format() -> None:
    assert python_tool('ruff', 'format', '--check', '--quiet') == ''


def test_mypy() -> None:
    assert python_tool('mypy', '--no-error-summary') == ''


def test_mypy_reads_all_of_it() -> None:
    settings = tomllib.loads((TOP / 'pyproject.toml').read_text())['tool']['mypy']
    assert settings['strict'] is True
    assert {'setup.py', 'plainbox_launcher', 'bin/*', 'tests'} <= {*settings['files']}


def scripts() -> list[str]:
    shebang = re.compile(rb'#! ?/(?:usr/)?bin/(?:env )?(?:ba|da)?sh\b')
    found = [str(path) for path in project() if shebang.match(path.read_bytes()[:40])]
    assert len(found) >= 4
    return found


def test_shellcheck() -> None:
    assert tool('shellcheck', '--norc', '--format=gcc', *scripts()) == ''


PAGES = sorted((TOP / 'man').glob('*.[1-8]'))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_mandoc(page: Path) -> None:
    said = tool('mandoc', '-Tlint', '-Wall', str(page))
    # Of other pages it knows only those that are installed, if any are.
    lines = [line for line in said.splitlines() if 'mandoc.db' not in line]
    assert [line for line in lines if 'referenced manual not found' not in line] == []


def test_pages_refer_to_pages_that_exist() -> None:
    names = {page.name for page in PAGES} | {'plainbox-errors.7'}  # made, test_explain
    assert len(names) >= 4
    for page in PAGES:
        for name, section in re.findall(
            r'(?m)^\.Xr (plainbox\S*) (\d)', page.read_text()
        ):
            assert f'{name}.{section}' in names


TEXTS = [str(path.relative_to(TOP)) for path in project() if path.suffix == '.rst']


@pytest.mark.parametrize('text', TEXTS)
def test_restructured_text(text: str) -> None:
    """Optional everywhere: not worth a tool of its own."""
    if importlib.util.find_spec('docutils') is None:
        pytest.skip('docutils is not installed')
    rules = ['--strict', '--report=info', '--no-raw', '--no-file-insertion']
    assert output(sys.executable, '-m', 'docutils', *rules, text, os.devnull) == ''


def test_each_file_says_its_licence() -> None:
    """But for lists in debian/, many of which take no comment: there is a copyright."""
    said = re.compile(rb'.*SPDX-License-Identifier: ISC(?: -->|",)?')
    silent = []
    for path in project():
        head = path.read_bytes()[:500]
        a_list = TOP / 'debian' in path.parents and not head.startswith(b'#!')
        if not (a_list or any(map(said.fullmatch, head.split(b'\n')[:5]))):
            silent.append(path.name)
    assert sorted(silent) == ['LICENSE', 'vectors.json']
