# SPDX-License-Identifier: ISC
"""argv -> request. Pure; see plainbox-trusted-launcher-1(1), SYNOPSIS.

Written by hand: argparse would echo what it was given, guess at abbreviated
options, and load translations on the way.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from .environ import assignments
from .errors import Refused

PROGRAM: Final = 'plainbox-trusted-launcher-1'

USAGE: Final = (
    f'usage: {PROGRAM} [-h] (--hash HASH | --warmup)\n'
    '       [--via LOCAL-JOB-HASH] [NAME=VALUE [NAME=VALUE ...]]\n'
    f'       {PROGRAM} --channel\n'
)

HELP: Final = f"""{USAGE}
Run an installed job as root, by the hash of its definition.

  -h, --help            show this and exit
  --version             show the version and exit
  --hash HASH           run the job with this hash
  --warmup              do nothing, so that pkexec asks for the password now
  --channel             run jobs as the frames on standard input say
  --via LOCAL-JOB-HASH  look for the job also among those that the local job
                        with this hash prints, or that templates make of what
                        the resource job with this hash prints
  NAME=VALUE            a variable for the job; only those that it names in
                        its field environ reach it

Exit status: that of the job, 128+n if signal n ended it; 125 if the launcher
refused, with a code and a reason on standard error; 2 for wrong usage.
"""

_MODES: Final = ('--hash', '--warmup', '--channel')
_VALUED: Final = ('--hash', '--via')


class Usage(Exception):
    """The command line is not of the form that the usage line gives."""


class Request(NamedTuple):
    """What is asked for; `mode` is `hash`, `warmup` or `channel`."""

    mode: str
    hash: str
    via: str
    variables: dict[str, str]


def parse(arguments: list[bytes]) -> Request:
    """Read a command line, without the program's name.

    Raises Usage, or Refused for text that cannot be a hash or a variable.
    """
    options, variables = _split([_text(argument) for argument in arguments])
    modes = [name for name in _MODES if name in options]
    if len(modes) != 1:
        raise Usage(f'give one of {", ".join(_MODES)}')
    if modes == ['--channel'] and (variables or '--via' in options):
        raise Usage('--channel takes nothing else')
    for name in _VALUED:
        if name in options:
            _require_hash(name, options[name])
    return Request(
        modes[0].removeprefix('--'),
        options.get('--hash', ''),
        options.get('--via', ''),
        assignments(variables),
    )


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options with their values, and what is none."""
    options: dict[str, str] = {}
    variables: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition('=')
        if name in options:
            raise Usage(f'{name} is there twice')
        if name in _VALUED:
            options[name] = value if equals else _next(words, name)
        elif word in _MODES:
            options[word] = ''
        elif word.startswith('-'):
            raise Usage(f'unknown option {name[:40]}')
        else:
            variables.append(word)
    return options, variables


def _next(words: Iterator[str], name: str) -> str:
    try:
        return next(words)
    except StopIteration:
        raise Usage(f'{name} needs a value') from None


def _text(argument: bytes) -> str:
    try:
        return argument.decode('utf-8')
    except UnicodeDecodeError:
        raise Refused('PBL-ARGUMENT', 'an argument is not UTF-8') from None


def _require_hash(option: str, value: str) -> None:
    # fullmatch: with $ a line end after the last digit would pass.
    if not re.fullmatch('[0-9a-f]{64}', value):
        raise Refused('PBL-HASH', f'the value of {option} is not a hash')
