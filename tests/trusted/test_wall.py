# SPDX-License-Identifier: ISC
"""The wall around the room: what is in it, what root loads, and how much that is.

Each check is a function of a folder, so that it can be shown to speak up: of a copy of
the room with one line too many.
"""

import ast
import io
import re
import shutil
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from house import LAUNCHER, ROOM, House

from plainbox_launcher import refusals
from plainbox_launcher.trusted import errors, unit

TOP: Final = Path(__file__).parents[2]
PACKAGE: Final = TOP / 'plainbox_launcher'
INSIDE: Final = PACKAGE / 'trusted'

# All that the room imports. One more name means: root starts later, a reviewer reads
# longer, and SECURITY.rst says why.
MODULES: Final = {
    *('collections.abc', 'configparser', 'contextlib', 'ctypes', 'errno', 'hashlib'),
    *('fcntl', 'itertools', 'os', 'pwd', 're', 'resource', 'select', 'signal'),
    *('socket', 'stat', 'struct', 'sys', 'time', 'typing'),
    *('ast', 'json', 'math', 'operator', 'warnings'),
}

# What costs time, and most jobs do not need.
LATE: Final = {'ast', 'json', 'plainbox_launcher.trusted.expression'}

MOST_LINES: Final = 2550


def trees(room: Path) -> dict[str, ast.Module]:
    found = {path.name: ast.parse(path.read_bytes()) for path in room.rglob('*.py')}
    assert len(found) > 10
    return found


# What it imports


def beyond(room: Path) -> set[str]:
    """What the room imports and should not."""
    inside = {path.stem for path in room.glob('*.py')}
    return {
        f'{name}: {ast.unparse(node)}'
        for name, tree in trees(room).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and not is_fine(node, inside)
    }


def is_fine(node: ast.Import | ast.ImportFrom, inside: set[str]) -> bool:
    names = {alias.name for alias in node.names}
    if isinstance(node, ast.Import):
        return names <= MODULES
    match node.level, node.module:
        case 0, module:
            return module in MODULES
        case 1, None:
            return names <= inside
        case 1, module:
            return module in inside
        case 2, None:
            return names == {'__version__'}
        case _:
            return False


def test_it_imports_the_standard_library_and_itself() -> None:
    """The room MUST import nothing but itself and the standard library."""
    assert {name.partition('.')[0] for name in MODULES} <= sys.stdlib_module_names
    assert beyond(INSIDE) == set()


def test_it_imports_all_that_is_listed() -> None:
    text = ''.join(path.read_text() for path in INSIDE.glob('*.py'))
    assert [
        m for m in MODULES if not re.search(rf'(?m)^ *(from|import) {m}\b', text)
    ] == []


@pytest.mark.parametrize(
    'line',
    [
        'import logging',
        'import os, logging',
        'import os.path as path',
        'from logging import getLogger',
        'from collections import abc',
        'from .. import catalogue',
        'from .. import __version__, cli',
        'from ..cli import main',
        'from plainbox_launcher import elevate',
        'import plainbox_launcher.trusted.unit',
        'import xdg',
        'from . import nothing',
        'from ... import x',
        'def late():\n    import subprocess',
    ],
)
def test_one_import_more_is_told(tmp_path: Path, line: str) -> None:
    (found,) = beyond(copy_of_the_room(tmp_path, line))
    assert found.startswith('files.py: ')


def copy_of_the_room(place: Path, line: str) -> Path:
    room = shutil.copytree(INSIDE, place / 'trusted')
    with (room / 'files.py').open('a') as file:
        file.write(f'\n{line}\n')
    return room


# What root really loads

PLAIN = {'id': 'p', 'user': 'root', 'command': ':'}
RESOURCE = {'id': 'r', 'plugin': 'resource', 'command': 'echo a: b'}
TEMPLATE = {
    'unit': 'template',
    'template-resource': 'r',
    'template-filter': "r.a == 'b'",
    'siblings': '[]',
    'id': 't',
    'user': 'root',
    'command': ':',
}
INSTANCE = unit.instance_checksum(TEMPLATE, {'__index__': 1})
TEXT = '\n'.join(
    ''.join(f'{key}: {value}\n' for key, value in record.items())
    for record in (PLAIN, RESOURCE, TEMPLATE)
)
RUN = ['--hash', INSTANCE, '--via', unit.checksum(RESOURCE)]


def loaded(house: House, *arguments: str) -> set[str]:
    """The modules that a Python of root's has loaded at its end."""
    python = ['/usr/bin/python3', '-ISXutf8', '-X', 'importtime', *arguments]
    done = house.run(python, user='root')
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    found = {line.rpartition('|')[2].strip() for line in lines if '|' in line}
    assert 'io' in found
    return found


@pytest.mark.canary('files.py', 'import errno\n', 'import errno, logging\n')
@pytest.mark.canary(
    'audit.py', 'with socket.socket', 'import logging\n        with socket.socket'
)
def test_root_loads_what_the_room_imports(house: House) -> None:
    """From its start to the end of a template's job, and nothing else."""
    with house.provider('wall', TEXT):
        found = loaded(house, LAUNCHER, *RUN)
    room = {'plainbox_launcher', 'plainbox_launcher.trusted'}
    room |= {
        f'plainbox_launcher.trusted.{path.stem}' for path in INSIDE.glob('[!_]*.py')
    }
    assert room <= found
    alone = loaded(house, '-c', f'import {", ".join(MODULES)}')
    # When something is first written as such; and what `collections` is loaded with,
    # which counts as loaded if it is asked for before that.
    late = {'encodings.ascii', 'collections.abc'}
    assert found - room - alone - late == set()


@pytest.mark.canary(
    'template.py', 'import re\n', 'import re\nfrom . import expression\n'
)
def test_root_loads_no_more_than_the_job_needs(house: House) -> None:
    """The language of filters only where there is one to be judged, and JSON only
    where something installed has siblings."""
    with house.provider('wall', TEXT.replace('siblings', 'other')):
        found = loaded(house, LAUNCHER, '--hash', unit.checksum(PLAIN))
    assert not found & LATE


STDLIB = r'/usr/lib/python3\.\d+/(?!site-packages|dist-packages)'
LIBRARIES = r'(?:/usr)?/lib(?:64)?/(?:[\w-]+-linux-gnu/)?[^/]+\.so[.\d]*$'


def test_root_opens_no_other_code(house: House) -> None:
    """Nothing below the directory, the home or the paths of the caller."""
    evil = '/home/tester/evil'
    names = ('HOME', 'PYTHONPATH', 'PYTHONHOME', 'PYTHONUSERBASE', 'PYTHONSTARTUP')
    trace = '/tmp/trace'
    strace = ['strace', '-f', '-e', 'trace=%file', '-s', '999', '-o', trace]
    house.check('mkdir', evil, user='tester')
    try:
        with house.provider('wall', TEXT):
            env = dict.fromkeys(names, evil)
            done = house.run([*strace, LAUNCHER, *RUN], user='root', env=env, cwd=evil)
        text = house.path(trace).read_text()
    finally:
        house.check('rm', '-r', evil, trace)
    assert (done.returncode, done.stderr) == (0, b'')
    assert evil not in text
    assert '-packages' not in text
    own = re.escape(Path(ROOM).parents[1].as_posix()) + '/plainbox_launcher/'
    code = re.findall(r'open\w*\([^"]*"([^"]*\.(?:py|pyc|so|pth|zip)\b[^"]*)"', text)
    assert len(code) > 50
    ours = re.compile(f'{STDLIB}|{own}|{LIBRARIES}|/etc/ld\\.so|/usr/bin/py')
    assert [path for path in code if not ours.match(path)] == []


def test_the_interpreters_flags(house: House) -> None:
    for path in TOP / 'bin' / Path(LAUNCHER).name, house.path(LAUNCHER):
        assert path.read_bytes().startswith(b'#!/usr/bin/python3 -ISXutf8\n')


# What it does not do

NAMES: Final = {
    *('eval', 'exec', 'compile', '__import__', 'breakpoint', 'input', 'globals'),
    *('locals', 'vars', 'setattr', 'delattr'),
}
METHODS: Final = {
    *('system', 'popen', 'format', 'format_map', 'execvp', 'execvpe', 'execlp'),
    *('execlpe', 'spawnvp', 'spawnlp', 'posix_spawnp', 'posix_spawn', 'startfile'),
}
KEYWORDS: Final = {'shell', 'executable', 'trusted'}


def dangers(room: Path) -> set[str]:
    """What the room says and should not."""
    found = set()
    for name, tree in trees(room).items():
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=word) if word in NAMES:
                    found.add(f'{name}: {word}')
                case ast.Attribute(attr=word) if word in METHODS or is_special(word):
                    found.add(f'{name}: {word}')
                case ast.Call(func=ast.Name(id='getattr'), args=[_, word, *_]) if (
                    not isinstance(word, ast.Constant) or word.value in METHODS
                ):
                    found.add(f'{name}: getattr')
                case ast.BinOp(op=ast.Mod()):
                    found.add(f'{name}: %')
                case ast.keyword(arg=str(word), value=ast.Constant(value=value)) if (
                    word in KEYWORDS and not (word == 'trusted' and value is True)
                ):
                    found.add(f'{name}: {word}={value!r}')
    return found


def is_special(word: str) -> bool:
    return word.startswith('__') and word not in ('__init__', '__name__')


def test_no_text_becomes_a_program() -> None:
    """No eval, exec or shell, and no template that is not a literal."""
    assert dangers(INSIDE) == set()


@pytest.mark.parametrize(
    'line',
    [
        'eval("1")',
        'exec("1")',
        'compile("1", "", "exec")',
        '__import__("logging")',
        'getattr(os, "sys" + "tem")("id")',
        'getattr(os, "system")("id")',
        'globals()["os"]',
        'os.system("id")',
        'os.popen("id")',
        'os.execvp("bash", [])',
        'os.posix_spawnp("bash", [], {})',
        'PATH.format(1)',
        'str.format(PATH, 1)',
        'PATH.format_map({})',
        'PATH % 1',
        'os.__dict__["system"]',
        'run("id", shell=True)',
        'directory("/tmp", trusted=False)',
    ],
)
def test_one_danger_more_is_told(tmp_path: Path, line: str) -> None:
    (found,) = dangers(copy_of_the_room(tmp_path, line))
    assert found.startswith('files.py: ')


def test_what_root_executes_on_its_way() -> None:
    """The packages' __init__ hold a docstring and the version; nothing else."""
    package = ast.parse((PACKAGE / '__init__.py').read_text())
    docstring, version = package.body
    assert isinstance(docstring, ast.Expr)
    assert re.fullmatch(r"__version__ = '[0-9.]+'", ast.unparse(version))
    (docstring,) = ast.parse((INSIDE / '__init__.py').read_text()).body
    assert isinstance(docstring, ast.Expr)


# How large it is


def code_lines(text: str) -> int:
    """Lines that are neither blank, comment nor docstring."""
    lines = set()
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT}
    quiet |= {tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in quiet:
            lines |= {*range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= {*range(node.lineno, (node.end_lineno or 0) + 1)}
    return len(lines)


def test_what_a_code_line_is() -> None:
    text = '"""Doc\n\nstring."""\n\n# comment\nx = [  # 1\n\n    1,\n]\n\n\ndef f():\n'
    text += '    """Doc."""\n    return """\n\n"""\n'
    assert code_lines(text) == 3 + 1 + 3


def test_the_size_of_the_room() -> None:
    size = sum(code_lines(path.read_text()) for path in INSIDE.glob('*.py'))
    assert size <= MOST_LINES
    said = re.search(
        r'[Tt]he\s+room\s+has\s+(?:about\s+)?([\d,]+)\s+code\s+lines',
        (TOP / 'SECURITY.rst').read_text(),
    )
    assert said, 'SECURITY.rst does not say how many code lines the room has'
    assert abs(int(said[1].replace(',', '')) - size) <= 25, size


# Codes


def codes(paths: Iterator[Path]) -> set[str]:
    """The codes of refusals in these files, but for the keys of HINTS."""
    found = set()
    for path in paths:
        tree = ast.parse(path.read_text())
        hints: set[ast.AST] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == 'HINTS':
                assert isinstance(node.value, ast.Dict)
                hints = {key for key in node.value.keys if key}
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node not in hints
            if isinstance(node.value, str)
            and re.fullmatch('PBL-[A-Z0-9-]+', node.value)
        }
    return found


def test_each_code_has_a_hint_and_each_hint_a_code() -> None:
    """Every refusal of the launcher and of the runner."""
    assert codes(INSIDE.glob('*.py')) == errors.HINTS.keys()
    runners = codes(PACKAGE.glob('*.py')) - errors.HINTS.keys()
    # Beginnings of codes, by which some are told from others.
    runners -= {code for code in runners if f'{code}-' in ' '.join(errors.HINTS)}
    assert runners == refusals.HINTS.keys()
    assert not refusals.HINTS.keys() & errors.HINTS.keys()


def test_hints_and_codes_are_of_one_form() -> None:
    for code, hint in {**errors.HINTS, **refusals.HINTS}.items():
        assert re.fullmatch(r'PBL(-[A-Z0-9]+){1,3}', code)
        assert re.fullmatch(r'[a-z-][ -~]*[^.\s]', hint), hint
