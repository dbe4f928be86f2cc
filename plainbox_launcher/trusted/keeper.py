# SPDX-License-Identifier: ISC
"""A process for each job of a channel, which keeps the job and all that it starts.

What a job leaves behind becomes its keeper's child, however it detached itself. So
to end a job is to end the descendants of one process, and never touches another's.
A keeper that has nothing left to keep exits.

What it says to the channel are frames; and, after the word `generated`, what a
local job printed, in a file that only lies in memory. A byte from the channel
cancels the job. When the channel's end closes, however that comes, all is ended.
"""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from . import environ, frames, job, tree
from .commandline import Request
from .errors import Refused, printable
from .frames import Ended, Frame, Refusal, Run, Started
from .job import Terms, World

GENERATED: Final = b'generated'
_MAX_NAMED: Final = 256  # processes that a job left, of which the names have room
_EVERY_FD: Final = 2**31 - 1


class Keeper(NamedTuple):
    """A keeper as the channel sees it."""

    pid: int
    run: Run
    control: socket.socket


def fork(run: Run, fds: tuple[int, int, int], world: World) -> Keeper:
    """Start the keeper of a job, which gets copies of the job's descriptors."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _close_others({theirs.fileno(), *fds})
            _keep(run, fds, world, theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return Keeper(pid, run, ours)


def _keep(
    run: Run, fds: tuple[int, int, int], world: World, control: socket.socket
) -> None:
    def tell(frame: Frame) -> None:
        with suppress(OSError):  # the channel is gone, as `hold` will see
            control.send(frames.encode(frame))

    def started() -> None:
        for fd in set(fds):  # so that the job's end is the end of its pipes
            os.close(fd)
        tell(Started(run.number))

    tree.own_descendants()
    terms = Terms(
        fds,
        run.seconds or tree.FOREVER,
        control.fileno(),
        started,
        lambda output: _pass_on(output, control),
    )
    try:
        tell(_perform(run, world, terms))
    except Refused as refused:
        tell(refusal(run.number, refused))
    except Exception as surprise:  # noqa: BLE001  # whatever it is, it is a refusal
        fact = f'unforeseen {type(surprise).__name__}'
        tell(refusal(run.number, Refused('PBL-INTERNAL', fact)))
    tree.hold(control.fileno())


def _perform(run: Run, world: World, terms: Terms) -> Ended:
    variables = environ.assignments(run.variables)
    request = Request('channel', run.hash, run.via, variables)
    ended, seconds, cause, left = job.perform(request, world, terms)
    wall, cpu = round(seconds * 1e6), round(ended.cpu * 1e6)
    named = left[:_MAX_NAMED]
    return Ended(run.number, ended.status, wall, cpu, ended.peak, cause, named)


def refusal(number: int, refused: Refused) -> Refusal:
    """A refusal as a frame, on one line whatever its fact holds."""
    return Refusal(number, refused.code, printable(refused.fact), refused.hint)


def received(control: socket.socket) -> Frame | bytes | Refused | None:
    """What a keeper says: a frame, or a local job's output; None once it is gone."""
    heard = control, frames.MAX_FRAME, 1, socket.MSG_CMSG_CLOEXEC
    try:
        data, fds, _, _ = socket.recv_fds(*heard)
    except ConnectionResetError:  # once, if it has not heard that it was to cancel
        data, fds, _, _ = socket.recv_fds(*heard)
    if not data:
        return None
    word, *why = data.split(b'\0')
    if word != GENERATED:
        return frames.decode(data)
    if why:
        code, fact = (part.decode() for part in why)
        return Refused(code, fact)
    with open(fds[0], 'rb') as output:
        output.seek(0)
        return output.read()


def _pass_on(output: bytes | Refused, control: socket.socket) -> None:
    if isinstance(output, Refused):
        words = [GENERATED, output.code.encode(), output.fact.encode()]
        control.send(b'\0'.join(words))
        return
    with open(os.memfd_create('generated'), 'wb') as file:
        file.write(output)
        file.flush()
        socket.send_fds(control, [GENERATED], [file.fileno()])


def _close_others(keep: Iterable[int]) -> None:
    low = 3
    for fd in (*sorted(keep), _EVERY_FD):
        if low < fd:  # os.closerange(0, 0) would close them all
            os.closerange(low, fd)
        low = fd + 1
