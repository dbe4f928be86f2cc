# SPDX-License-Identifier: ISC
"""The frames of the channel, as values and as bytes. Pure; plainbox-channel(7).

A frame is like a command line: words that hold no NUL, joined by NUL, the first of
which says what it is. Runner and launcher read and write it with these functions.
"""

import re
from typing import Final, NamedTuple

VERSION: Final = 1  # of the protocol
MAX_FRAME: Final = 128 << 10  # bytes
MAX_ANNOUNCED: Final = 100_000  # requests in all

_NUMBER: Final = re.compile('0|[1-9][0-9]{0,14}')
_STATUS: Final = re.compile('-?(?:0|[1-9][0-9]{0,2})')
_HASH: Final = '[0-9a-f]{64}'
_REQUEST: Final = re.compile(f'{_HASH}:(?:{_HASH})?')
_ANNOUNCED: Final = re.compile(f'{_REQUEST.pattern}|:{_HASH}')
_CODE: Final = re.compile('PBL(?:-[A-Z]+)+')


class Malformed(Exception):
    """Bytes that are no frame."""


# What the runner sends.


class Hello(NamedTuple):
    """The first frame: which version of the protocol is spoken."""

    version: int


class Announce(NamedTuple):
    """Requests that may come, each `HASH:VIA`, where VIA may be empty.

    HASH is empty for all the jobs that come of what VIA prints.
    """

    requests: tuple[str, ...]


class Open(NamedTuple):
    """All is announced."""


class Run(NamedTuple):
    """Run a job, with the three descriptors that come along as its own.

    `seconds` is its time limit, 0 for none; `via` may be empty; `variables` are
    NAME=VALUE.
    """

    number: int
    seconds: int
    hash: str
    via: str
    variables: tuple[str, ...]


class Cancel(NamedTuple):
    """End this job."""

    number: int


# What the launcher sends.


class Ready(NamedTuple):
    """The channel is open; words that say in what view of the machine jobs run."""

    version: int
    view: tuple[str, ...]


class Started(NamedTuple):
    """The job's shell runs."""

    number: int


class Ended(NamedTuple):
    """How a job ended.

    `status` is its exit status, or -n if signal n ended it; times in microseconds;
    `peak` in KiB, the largest of its processes; `cause` is `exit`, or what ended it:
    `timeout` or `cancel`; `left` are the names of processes that it left running.
    """

    number: int
    status: int
    wall: int
    cpu: int
    peak: int
    cause: str
    left: tuple[str, ...]


class Refusal(NamedTuple):
    """A job is not run; `number` 0: the channel ends."""

    number: int
    code: str
    fact: str
    hint: str


FromRunner = Hello | Announce | Open | Run | Cancel
FromLauncher = Ready | Started | Ended | Refusal
Frame = FromRunner | FromLauncher

_WORDS: Final[dict[type[Frame], str]] = {
    Hello: 'hello',
    Announce: 'announce',
    Open: 'open',
    Run: 'run',
    Cancel: 'cancel',
    Ready: 'ready',
    Started: 'started',
    Ended: 'ended',
    Refusal: 'refused',
}


def encode(frame: Frame) -> bytes:
    """A frame as bytes, which decode() reads as the same. Raises Malformed."""
    words = [_WORDS[type(frame)]]
    for value in frame:
        words += map(str, value) if isinstance(value, tuple) else [str(value)]
    data = '\0'.join(words).encode(errors='replace')
    if decode(data) != frame:  # a NUL within, or no text, or more than there is room
        raise Malformed('the frame cannot be written')
    return data


def decode(data: bytes) -> Frame:  # noqa: C901  # a case each
    """The frame in these bytes. Raises Malformed."""
    if len(data) > MAX_FRAME:
        raise Malformed('the frame is too long')
    try:
        words = data.decode('utf-8').split('\0')
    except UnicodeDecodeError:
        raise Malformed('the frame is not UTF-8') from None
    match words:
        case ['hello', version]:
            return Hello(_number(version))
        case ['announce', *requests]:
            return Announce(tuple(_fit(_ANNOUNCED, each) for each in requests))
        case ['open']:
            return Open()
        case ['run', number, seconds, hash_, via, *variables]:
            _fit(_REQUEST, f'{hash_}:{via}')
            numbers = _number(number), _number(seconds)
            return Run(*numbers, hash_, via, tuple(variables))
        case ['cancel', number]:
            return Cancel(_number(number))
        case ['ready', version, *view]:
            return Ready(_number(version), tuple(view))
        case ['started', number]:
            return Started(_number(number))
        case ['ended', number, status, wall, cpu, peak, cause, *left]:
            figures = _number(wall), _number(cpu), _number(peak)
            status_ = int(_fit(_STATUS, status))
            return Ended(_number(number), status_, *figures, cause, tuple(left))
        case ['refused', number, code, fact, hint]:
            return Refusal(_number(number), _fit(_CODE, code), fact, hint)
    raise Malformed('there is no such frame')


def _number(word: str) -> int:
    return int(_fit(_NUMBER, word))


def _fit(pattern: re.Pattern[str], word: str) -> str:
    if not pattern.fullmatch(word):
        raise Malformed('a word of the frame is malformed')
    return word
