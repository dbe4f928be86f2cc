# SPDX-License-Identifier: ISC
"""Jobs of root's that look around, and what they saw."""

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from house import House, Line

Job = dict[str, str]
Done = subprocess.CompletedProcess[bytes]
Call = Callable[..., Done]

HOME = '/usr/lib/house-probe'  # where the provider of these jobs lies
PROGRAM = 'plainbox-trusted-launcher-1'
UNKNOWN = '0' * 64  # the hash of nothing

# The environment of a job, before its shell adds variables of its own.
SHOW = 'cat /proc/$$/environ; :'
GOLDEN = {
    'LANG': 'C.UTF-8',
    'HOME': '/root',
    'USER': 'root',
    'LOGNAME': 'root',
    'SHELL': '/bin/bash',
    'PATH': f'{HOME}/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'CHECKBOX_SHARE': HOME,
    'PLAINBOX_PROVIDER_DATA': f'{HOME}/data',
    'PLAINBOX_PROVIDER_UNITS': f'{HOME}/units',
}


def job(command: str, **fields: str) -> Job:
    """A job of root's; a field without a value is none, as in user=''."""
    fields = {'id': 'probe', 'plugin': 'shell', 'user': 'root', **fields}
    fields['command'] = textwrap.dedent(command)
    return {key: value.strip() for key, value in fields.items() if value}


def text(*jobs: Job) -> str:
    """The jobs as a unit file."""

    def field(key: str, value: str) -> str:
        lines = [f' {line}\n' for line in value.split('\n')]
        return f'{key}:\n' + ''.join(lines)

    return '\n'.join(''.join(field(*item) for item in one.items()) for one in jobs)


def checksum(one: Job) -> str:
    """The hash as PlainBox defines it, not as the room computes it."""
    form = json.dumps(dict(sorted(one.items())), separators=(',', ':'))
    return hashlib.sha256(form.encode('ascii')).hexdigest()


@contextlib.contextmanager
def installed(house: House, *jobs: Job) -> Iterator[list[str]]:
    """Installs jobs of root's; gives their hashes."""
    with house.provider('probe', text(*jobs)):
        yield [checksum(one) for one in jobs]


def seen(
    house: House,
    command: str,
    *variables: str | bytes,
    environ: str = '',
    call: Call | None = None,
    **more: Any,  # noqa: ANN401 # house.popen's
) -> Done:
    """Runs one command as a job of root's, without pkexec unless told otherwise."""
    with installed(house, job(command, environ=environ)) as (checksum_,):
        return (call or house.launcher)('--hash', checksum_, *variables, **more)


def code(done: Done) -> str:
    """The code of a refusal, which is one line on stderr and exit status 125."""
    line = done.stderr.decode('utf-8', 'replace')
    assert done.returncode == 125, (done.returncode, line)
    assert line.isascii(), line
    assert line.startswith('plainbox-trusted-launcher-1: PBL-'), line
    assert line.count('\n') == 1, line
    assert line.endswith(')\n'), line
    return line.split(': ')[1]


def status(text: bytes) -> dict[str, str]:
    """A status file of proc_pid_status(5)."""
    return dict(line.split(':\t', 1) for line in text.decode().splitlines())


def numbers(mask: str) -> set[int]:
    """The signals of a mask in a status file."""
    return {bit + 1 for bit in range(64) if int(mask, 16) >> bit & 1}


def sweep(house: House) -> None:
    """Removes what a launcher could not that was killed on a canary."""
    for folder in house.path('/tmp').glob('plainbox-*'):
        shutil.rmtree(folder)


def environment(done: Done) -> dict[str, str]:
    """What the probe showed, each name once."""
    assert done.returncode == 0, done.stderr
    entries = done.stdout.decode().split('\0')
    assert entries.pop() == ''
    pairs = [entry.split('=', 1) for entry in entries]
    assert len({pair[0] for pair in pairs}) == len(pairs)
    return {pair[0]: pair[1] for pair in pairs}


def written(house: House) -> list[tuple[str, dict[str, str]]]:
    """The launcher's lines: event and fields. No field is there twice."""
    found = []
    for line in house.log(PROGRAM):
        event, *words = told(line).split(' ')
        pairs = [word.split('=', 1) for word in words]
        assert all(len(pair) == 2 for pair in pairs), line.text
        assert len({pair[0] for pair in pairs}) == len(pairs), line.text
        found.append((event, {pair[0]: pair[1] for pair in pairs}))
    return found


def told(line: Line) -> str:
    """The text behind time, program and pid; which are those of the sender."""
    form = rf'\w{{3}} [ \d]\d \d\d:\d\d:\d\d {PROGRAM}\[\d+\]: ([ -~]+)'
    match = re.fullmatch(form, line.text)
    assert match, line.text
    return match[1]


def unescaped(word: str) -> str:
    """What a word of a line stands for."""

    def character(match: re.Match[str]) -> str:
        return chr(int(match[1] or match[2], 16))

    return re.sub(r'\\x([0-9a-f]{2})|\\u\{([0-9a-f]+)\}', character, word)


def uid(house: House, user: str = 'tester') -> str:
    return house.check('id', '-u', user).decode().strip()
