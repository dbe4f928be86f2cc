# SPDX-License-Identifier: ISC
"""Jobs that need a person: what is shown, and asked; plainbox(1), JOBS FOR A PERSON.

1. Nothing but an answer that was typed after its question MUST be taken for one.
2. No answer, of whatever kind, MUST be taken for a pass but the one that says so.
"""

import os
import re
import sys
import termios
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from gettext import gettext as _
from typing import Final, NamedTuple

from . import prose
from .catalogue import Job
from .process import Ended
from .result import FAILED, PASSED, SKIPPED, Answer, Quit, judged
from .trusted.unit import Unit

START, PASS, FAIL, SKIP, COMMENT, AGAIN, QUIT = '', 'p', 'f', 's', 'c', 'r', 'q'

_OUTCOMES: Final = {PASS: PASSED, FAIL: FAILED, SKIP: SKIPPED}
_INDENT: Final = ' ' * 4
_LONGEST: Final = 1 << 16  # bytes; a terminal gives no line of more than 4096
# Of descriptions in older jobs, which have no fields for these.
_SECTION: Final = re.compile(r'(?m)^[ \t]*(PURPOSE|STEPS|VERIFICATION)[ \t]*:')


class Texts(NamedTuple):
    """What a job has to say to a person; '' where it says nothing."""

    about: str
    purpose: str
    steps: str
    verification: str


def absent() -> str:
    """Why nobody can be asked; '' if there is a terminal to ask on."""
    for stream, reason in (
        (sys.stdin, _('standard input is no terminal')),
        (sys.stdout, _('standard output is no terminal')),
    ):
        if stream is None or not stream.isatty():
            return reason
    return ''


def by_hand(job: Job, execute: Callable[[], Ended]) -> Answer:
    """Have a person do a job; `execute` runs its command.

    Raises Quit, and KeyboardInterrupt at Ctrl-C and at the end of input.
    """
    answer = Answer(AGAIN)
    while answer.outcome == AGAIN:
        answer = _once(job, execute, answer.comment)
    return answer


def _once(job: Job, execute: Callable[[], Ended], comment: str) -> Answer:
    introduce(job)
    ended = None
    if runs_command(job):
        if job.unit.plugin != 'user-verify':
            key, comment = choose(_('ready?'), (START, SKIP, COMMENT, QUIT), comment)
            if key == SKIP:
                return Answer(SKIPPED, comment)
        ended = execute()
        if job.unit.plugin == 'user-interact' or ended.cause != 'exit':
            return Answer('', comment, ended)
    return ask(job, ended, comment)


def runs_command(job: Job) -> bool:
    """Whether there is anything to run; a command of a manual job is not."""
    return job.unit.plugin != 'manual' and bool(job.unit.get('command'))


def introduce(job: Job) -> None:
    """Show what the job is about, and what there is to do."""
    found = texts(job.unit)
    _show('', job.unit.get('summary'))
    _show('', found.about)
    _show(_('Purpose'), found.purpose)
    _show(_('Steps'), found.steps)


def ask(job: Job, ended: Ended | None, comment: str = '') -> Answer:
    """Show what to look at, and ask for the outcome. It may be to run AGAIN."""
    if ended and ended.status:
        text = _('The command failed: {reason}.')
        _show('', text.format(reason=judged(ended)[1]))
    _show(_('Verification'), texts(job.unit).verification)
    keys = [PASS, FAIL, SKIP, COMMENT, *([AGAIN] if ended else []), QUIT]
    key, comment = choose(_('outcome?'), keys, comment)
    if key == FAIL and 'explicit-fail' in job.unit.flags:
        while not comment:
            comment = _line(_('comment (this job wants one with a failure)'))
    return Answer(_OUTCOMES.get(key, key), comment, ended)


def choose(question: str, keys: Sequence[str], comment: str) -> tuple[str, str]:
    """One of these keys, and the comment with what was added to it. Raises Quit."""
    _take_terminal()
    words, enter = _words(), _('Enter')
    offer = '   '.join(f'{key or enter} {words[key]}' for key in keys)
    while True:
        _show('', offer)
        key = _key(_line(question), {key: words[key] for key in keys})
        if key == QUIT:
            raise Quit
        if key == COMMENT:
            comment = '; '.join(filter(None, [comment, _line(_('comment'))]))
        elif key is not None:
            return key, comment


def _key(said: str, words: Mapping[str, str]) -> str | None:
    """The key that was given, as a letter or as its word."""
    said = said.casefold()
    return next((k for k, word in words.items() if said in (k, word.casefold())), None)


def texts(unit: Unit) -> Texts:
    """From the fields; else from the sections of a description."""
    about, *found = _SECTION.split(unit.get('description'))
    sections = dict(zip(found[::2], map(_dedented, found[1::2]), strict=True))
    return Texts(
        about.strip('\n'),
        unit.get('purpose') or sections.get('PURPOSE', ''),
        unit.get('steps') or sections.get('STEPS', ''),
        unit.get('verification') or sections.get('VERIFICATION', ''),
    )


def _dedented(text: str) -> str:
    """A section, which may begin behind its title."""
    first, _newline, rest = text.partition('\n')
    return f'{first.strip()}\n{textwrap.dedent(rest)}'.strip('\n')


def _show(title: str, text: str) -> None:
    if text and title:
        print(_INDENT + title)
    if text:
        indent = _INDENT + ('  ' if title else '')
        print(prose.filled(text, prose.columns(), indent), flush=True)


def _take_terminal() -> None:
    """Have lines with an echo, whatever a job made of the terminal.

    What was typed until now is dropped: it answers no question of ours.
    """
    with suppress(termios.error):  # it is gone, which to read from it will tell
        mode = termios.tcgetattr(sys.stdin)
        mode[0] |= termios.ICRNL
        mode[3] |= termios.ICANON | termios.ECHO | termios.ISIG
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, mode)


def _line(question: str) -> str:
    """A line of input, without blanks around it. Raises KeyboardInterrupt at its end.

    Neither by input(), which may keep lines and edit them, nor through a buffer, from
    which nothing could be dropped.
    """
    print(f'{_INDENT}{question} ', end='', flush=True)
    try:
        line = os.read(sys.stdin.fileno(), _LONGEST)
    except OSError:  # the terminal is gone
        raise KeyboardInterrupt from None
    if not line.endswith(b'\n'):
        raise KeyboardInterrupt
    return line.decode('utf-8', 'replace').strip()


def _words() -> dict[str, str]:
    """What the keys mean. The keys themselves are the same in all languages."""
    return {
        START: _('start'),
        PASS: _('pass'),
        FAIL: _('fail'),
        SKIP: _('skip'),
        COMMENT: _('comment'),
        AGAIN: _('run again'),
        QUIT: _('quit'),
    }
