# SPDX-License-Identifier: ISC
"""Texts of jobs as a terminal shows them: escaped, in lines that fit."""

import re
import shutil
import textwrap
import unicodedata
from itertools import accumulate
from typing import Final, NamedTuple

from .report import shown

ELLIPSIS: Final = '…'

_READABLE: Final = 100  # columns; longer lines are hard to follow
_LEAST: Final = 40
# What begins a step or a point: `1.`, `2)`, `b.`, `-`, `*` or a bullet.
_MARK: Final = re.compile(r'(?:\d{1,3}[.)]|[A-Za-z][.)]|[-*\u2022])\s+(?=\S)')


class Block(NamedTuple):
    """What is filled as one: a paragraph, a step, or a line with its indentation."""

    first: str  # what its first line begins with
    other: str  # and the others
    text: str


def columns() -> int:
    """The width of texts: that of the terminal, as far as it is good to read."""
    return min(max(shutil.get_terminal_size().columns, _LEAST), _READABLE)


def filled(text: str, width: int, indent: str = '') -> str:
    """A text of several lines: paragraphs are filled, steps stay what they are."""
    lines = [line.expandtabs().rstrip() for line in text.split('\n')]
    blocks: list[Block] = []
    for line in lines:
        last = blocks[-1] if blocks else None
        blocks[-1:] = _joined(last, line)
    return '\n'.join(line for block in blocks for line in _fill(block, width, indent))


def _joined(last: Block | None, line: str) -> list[Block]:
    """The last block with a further line in it, or before a block of its own."""
    text = line.lstrip()
    margin = line[: len(line) - len(text)]
    mark = _MARK.match(text)
    if last and last.text and text and not mark and _continues(margin, last):
        return [last._replace(text=f'{last.text} {text}')]
    first = margin + (mark[0] if mark else '')
    new = Block(first, ' ' * len(first), text[mark.end() :] if mark else text)
    return [last, new] if last else [new]


def _continues(margin: str, last: Block) -> bool:
    """Whether a line goes on with a step or a paragraph.

    What is further in, as commands to be typed are, stays in lines of its own.
    """
    return margin == last.other and (not margin or bool(last.first.strip()))


def _fill(block: Block, width: int, indent: str) -> list[str]:
    lines = textwrap.wrap(
        shown(block.text),
        width,
        initial_indent=indent + shown(block.first),
        subsequent_indent=indent + block.other,
        break_long_words=False,
        break_on_hyphens=False,  # options and file names stay whole
    )
    return lines or ['']


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(map(_cells, text))


def cut(text: str, width: int) -> str:
    """A text of at most so many columns, with an ellipsis where it was cut."""
    if cells(text) <= width:
        return text
    kept = [w for w in accumulate(map(_cells, text)) if w < width]
    return text[: len(kept)].rstrip() + ELLIPSIS


def padded(text: str, width: int) -> str:
    """A text in a column of this width."""
    return text + ' ' * (width - cells(text))


def _cells(character: str) -> int:
    """None for a mark on the character before, two for those of East Asia."""
    if unicodedata.category(character) in ('Mn', 'Me'):
        return 0
    return 2 if unicodedata.east_asian_width(character) in 'WF' else 1
