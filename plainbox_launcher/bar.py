# SPDX-License-Identifier: ISC
"""What is seen of a run on a terminal: its lines, and a bar below them.

 1. What a job prints MUST NOT move or erase the bar, nor the bar what a job printed.
 2. Nothing that outlives us MUST be changed in the terminal, not even its cursor's
    being seen: who is killed or stopped could not change it back.

There is no thread that draws, since the runner forks.
"""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from gettext import gettext as _
from math import inf
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from . import report
from .catalogue import Job
from .process import unbroken
from .progress import Lines, remaining
from .result import CANCELLED, DENIED, FAILED, LOST, PASSED, SKIPPED, TIMEOUT, Result

_STYLES: Final = {
    PASSED: 'green',
    FAILED: 'bold red',
    TIMEOUT: 'bold red',
    LOST: 'bold red',
    DENIED: 'red',
    CANCELLED: 'yellow',
    SKIPPED: 'yellow',
}

_SOON: Final = 0.1  # seconds until what a job prints is seen
_CLOCK: Final = 0.5  # seconds until the bar is drawn anew if nothing happens
_MOST: Final = 1  # pieces of output that may wait to be seen, 64 KiB each
_LONGEST: Final = 1 << 16  # bytes of a line that does not end; more is broken
_RECENT: Final = 1 << 10  # bytes in which to look for the last line

_ECHO: Final = '^C '  # for which there is room behind the bar, so that no line breaks

_DRIVEN: Final = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]')
_CONTROLS: Final = re.compile(r'[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]')  # but ESC
_COLOUR: Final = re.compile(r'\x1b\[[0-9;:]*m')
_NO_COLOUR: Final = '\x1b[0m'


class Raw:
    """Text that a console writes as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, *_given: object) -> RenderResult:
        yield Segment(self._text, None, [(ControlType.CARRIAGE_RETURN,)])


class Bar(Lines):
    """A bar over the plan: `estimates` of its jobs in seconds, None if not known."""

    def __init__(
        self,
        estimates: Sequence[float | None],
        *,
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._console = Console(
            file=sys.stdout,
            force_terminal=True,
            force_interactive=True,
            force_jupyter=False,
            highlight=False,
        )
        self._errors_too = sys.stderr.isatty()
        self._estimates = estimates
        self._took: list[float] = []
        self._started = self._drawn = time.monotonic()
        self._job: Job | None = None
        self._above: list[str] = []
        self._partial = {1: b'', 2: b''}
        self._recent = b''
        self._spoke = 1  # the descriptor of what is recent
        self._news = False
        self._live: Live | None = None
        self._show()

    def heading(self, number: int, total: int, job: Job, limit: float = inf) -> None:
        self._job = job
        self._recent = b''
        self._news = True
        super().heading(number, total, job, limit)

    def output(self, fd: int, data: bytes) -> None:
        between = b'' if fd == self._spoke else b'\n'
        self._recent = (self._recent + between + data)[-_RECENT:]
        self._spoke = fd
        self._news = True
        super().output(fd, data)
        self.tick()

    def tick(self) -> None:
        since = time.monotonic() - self._drawn
        if since >= (_SOON if self._news else _CLOCK) or len(self._above) > _MOST:
            self._draw()

    def verdict(self, result: Result) -> None:
        self._job = None
        self._took.append(result.seconds)
        super().verdict(result)

    def settle(self) -> None:
        super().settle()
        self._draw()

    @contextmanager
    def paused(self) -> Iterator[None]:
        with super().paused():
            self._recent = b''
            self._hide()
            try:
                yield
            finally:
                self._show()

    def close(self) -> None:
        super().close()
        self._hide()

    def _show(self) -> None:
        # A new one each time: an old one would erase the lines where it once stood.
        self._live = Live(
            self,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow='crop',
        )
        with unbroken():  # else half a drawing would stay on the screen
            self._live.start(refresh=True)
            self._console.show_cursor()

    def _hide(self) -> None:
        with unbroken():
            self._draw()
            if self._live:
                self._live.stop()
            self._live = None

    def _say(self, text: str, outcome: str = '') -> None:
        line = Text(text)
        if outcome:
            word = report.word(outcome)
            begin = text.index(word)
            line.stylize(_STYLES[outcome], begin, begin + len(word))
        with unbroken():
            if self._above:
                self._draw()
            self._console.print(line, soft_wrap=True)

    def _pass_on(self, fd: int, data: bytes) -> None:
        """Whole lines only: where the others end, the bar begins."""
        if fd == 2 and not self._errors_too:
            super()._pass_on(fd, data)
            return
        whole, end, rest = (self._partial[fd] + data).rpartition(b'\n')
        rest = rest[rest.rstrip(b'\r').rfind(b'\r') + 1 :]  # what is not overwritten
        if len(rest) > _LONGEST:
            whole, end, rest = whole + end + rest, b'\n', b''
        self._partial[fd] = rest
        self._broken[fd] = bool(rest)
        if end:
            text = whole.decode('utf-8', 'backslashreplace')
            colours = not self._console.no_color
            self._above.append(tamed(text, colours=colours) + '\n')

    def _draw(self) -> None:
        """Write what waits above the bar, and the bar below it."""
        with unbroken():
            above = ''.join(self._above)
            self._above.clear()
            self._news = False
            self._console.print(Raw(above), crop=False)
            self._drawn = time.monotonic()

    def __rich_console__(
        self, _console: Console, options: ConsoleOptions
    ) -> RenderResult:
        size = min(30, options.max_width // 4)
        done, total = len(self._took), len(self._estimates)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=size)
        grid.add_column(no_wrap=True, overflow='ellipsis')
        bar = ProgressBar(total, done, size, complete_style='cyan')
        grid.add_row(bar, Text(self._count(done, total)))
        line = Text(self._doing(), no_wrap=True, overflow='ellipsis')
        yield Constrain(Group(grid, line), max(options.max_width - len(_ECHO), 1))

    def _count(self, done: int, total: int) -> str:
        now = time.monotonic()
        words = [f'{done}/{total}', report.span(now - self._started)]
        running = now - self._began if self._job else 0.0
        left = remaining(self._estimates, self._took, running)
        if left is not None:
            words.append(_('about {time} left').format(time=report.span(left)))
        return ', '.join(words)

    def _doing(self) -> str:
        """The running job, and what it printed last."""
        if not self._job:
            return ''
        elapsed = time.monotonic() - self._began
        last = last_line(self._recent)
        text = report.running(self._job, elapsed, self._limit)
        return f'{text}: {last}' if last else text


def tamed(text: str, *, colours: bool) -> str:
    """Lines without what drives a terminal, but for colours, which end with a line."""
    if not _DRIVEN.search(text):
        return text
    return '\n'.join(_tamed(line, colours=colours) for line in text.split('\n'))


def _tamed(line: str, *, colours: bool) -> str:
    def chosen(found: re.Match[str]) -> str:
        return found[0] if colours and _COLOUR.fullmatch(found[0]) else ''

    seen = line.rstrip('\r').rpartition('\r')[2]  # the rest of it is overwritten
    text = _CONTROLS.sub('', report.ESCAPE.sub(chosen, seen))
    return text + _NO_COLOUR if '\x1b' in text else text


def last_line(recent: bytes) -> str:
    """The last line in which there is something to be seen."""
    pieces = re.split('[\r\n]', recent.decode('utf-8', 'ignore'))
    lines = (report.visible(piece).strip() for piece in reversed(pieces))
    return next(filter(None, lines), '')
