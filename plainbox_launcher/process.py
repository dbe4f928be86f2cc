# SPDX-License-Identifier: ISC
"""Running a process, and passing on or keeping what it prints."""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple, TextIO

from .trusted.execute import Exceeded, Limits

_KEPT: Final = 1 << 16  # bytes of what was passed on
_TICK: Final = 0.1  # seconds until we look whether a silent process has ended


class Ended(NamedTuple):
    """How a process ended: exit status, 128+n for signal n, and its output.

    Of output that was passed on, only the end is here.
    """

    status: int
    stdout: bytes
    stderr: bytes


def follow(
    command: list[str],
    values: Mapping[str, str],
    directory: str,
    *,
    live: bool,
    limits: Limits | None = None,
) -> Ended:
    """Run a command to its end, a direct child of ours, without input.

    `live` passes its output on as it comes. What the command leaves behind may
    hold the pipes for long, so that its own end counts, not theirs. Raises
    execute.Exceeded, and ends the command, if it goes over its `limits`.
    """
    with subprocess.Popen(  # noqa: S603  # a list, no shell of ours
        command,
        env=values,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        stdout, stderr = bytearray(), bytearray()
        with selectors.DefaultSelector() as selector:
            for pipe, text, through in (
                (process.stdout, stdout, sys.stdout),
                (process.stderr, stderr, sys.stderr),
            ):
                if pipe:
                    what = text, through if live else None
                    selector.register(pipe.fileno(), selectors.EVENT_READ, what)
            try:
                _pump(process, selector, limits)
            except Exceeded:
                process.kill()
                raise
            except BaseException:
                with suppress(PermissionError):  # root's cannot be told by us
                    process.terminate()
                raise
        if live:
            _end_line(stdout, sys.stdout)
            _end_line(stderr, sys.stderr)
    status = process.returncode
    return Ended(status if status >= 0 else 128 - status, bytes(stdout), bytes(stderr))


def _pump(
    process: subprocess.Popen[bytes],
    selector: selectors.BaseSelector,
    limits: Limits | None,
) -> None:
    """Read until the pipes end, or the process has and they hold no more."""
    started = time.monotonic()
    while selector.get_map():
        if limits and time.monotonic() > started + limits.seconds:
            raise Exceeded(f'took more than {limits.seconds:.0f} seconds')
        ended = process.poll() is not None
        events = selector.select(0 if ended else _TICK)
        for key, _ in events:
            if not _take(key.fd, *key.data):
                selector.unregister(key.fd)
            if limits and len(key.data[0]) > limits.max_bytes:
                raise Exceeded(f'printed more than {limits.max_bytes} bytes')
        if ended:
            return


def _end_line(text: bytearray, through: TextIO) -> None:
    """What comes next begins on a line of its own."""
    if text and not text.endswith(b'\n'):
        print(file=through, flush=True)


def _take(fd: int, text: bytearray, through: TextIO | None) -> bool:
    """Take what there is; false at the end of the pipe."""
    piece = os.read(fd, 1 << 16)
    text += piece
    if through:
        through.buffer.write(piece)
        through.flush()
        del text[:-_KEPT]
    return bool(piece)
