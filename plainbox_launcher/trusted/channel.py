# SPDX-License-Identifier: ISC
"""The lasting channel: frames of a runner in, verdicts out; plainbox-channel(7).

1. The runner is the process that made the socket pair and started pkexec. A
   frame that another process sends ends the channel, whoever gave it the socket.
2. Frames come in order: hello, announcements, open; then what is to run. What is
   malformed, out of order or comes with the wrong number of descriptors ends it.
3. Nothing runs that was not announced before the channel opened.
4. One job runs at a time, in the care of a keeper. The loop here waits neither for
   a job nor for the runner to listen.
5. When the channel ends, however that comes, so does all that was started.
"""

import os
import select
import signal
import socket
import stat
import struct
import time
from contextlib import suppress
from fcntl import F_GETFL, fcntl
from hashlib import sha256
from typing import Final

from . import audit, frames, keeper, library, start, tree
from .caller import Caller
from .commandline import Request
from .errors import Refused
from .frames import Announce, Cancel, Ended, Frame, Hello, Open, Ready, Refusal, Run
from .job import World
from .keeper import Keeper

_MAX_KEEPERS: Final = 64
_MAX_UNSENT: Final = 256  # frames
_MAX_FDS: Final = 253  # of one message, SCM_MAX_FD
_SCM_PIDFD: Final = 4  # comes if the runner asks for it, <linux/socket.h>
_CREDENTIALS: Final = struct.Struct('3i')  # struct ucred: pid, uid, gid: unix(7)
_ROOM: Final = socket.CMSG_SPACE(4 * _MAX_FDS) + socket.CMSG_SPACE(_CREDENTIALS.size)


def serve(caller: Caller, given: dict[bytes, bytes]) -> int:
    """Serve the runner on descriptor 0 until it goes; returns 0. Raises Refused."""
    with _take_over() as sock:
        runner = _runner(sock, caller)
        _leave_terminal()
        channel = Channel(sock, runner, World(caller, given, library.load(), {}))
        try:
            channel.attend()
        except Refused as refused:
            channel.close(refused)
            raise
        finally:
            channel.end()
    return 0


class Channel:
    """What was announced, who keeps which job, and what is still to be said."""

    def __init__(self, sock: socket.socket, runner: int, world: World) -> None:
        self._socket = sock
        self._pid = runner
        self._gone = os.pidfd_open(runner)
        self._world = world
        self._greeted = self._opened = False
        self._announced: set[str] = set()
        units = world.installed.units
        self._resources = {u.checksum for u in units if u.plugin == 'resource'}
        self._last = 0
        self._running: Keeper | None = None
        self._keepers: dict[int, Keeper] = {}  # by the descriptor of their control
        self._unsent: list[bytes] = []

    def attend(self) -> None:
        """Obey until the runner is gone, or we are told to stop."""
        if os.getppid() != self._pid:  # nor was it gone before we looked
            raise Refused('PBL-CHANNEL', 'the runner is not our parent')
        while not signal.sigpending() & start.STOPS:
            poll = select.poll()
            for fd in (self._socket.fileno(), self._gone, *self._keepers):
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll(tree.TICK):
                if fd in self._keepers:
                    self._hear(self._keepers[fd])
                elif fd == self._gone or not self._receive():
                    return
            self._flush()

    def _receive(self) -> bool:
        """Take a frame and obey it; false at the end of the channel."""
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        try:
            data, control, marks, _ = self._socket.recvmsg(
                frames.MAX_FRAME + 1, _ROOM, flags
            )
        except OSError:
            return False
        fds, sender = _ancillary(control)
        try:
            if not data and not fds:
                return False
            if marks & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise Refused('PBL-CHANNEL', 'a frame is too large')
            if sender != (self._pid, self._world.caller.uid):
                raise Refused('PBL-CHANNEL', 'a frame comes from another process')
            self._obey(frames.decode(data), fds)
        except frames.Malformed as error:
            raise Refused('PBL-CHANNEL', str(error)) from None
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _obey(self, frame: Frame, fds: list[int]) -> None:  # noqa: C901  # a case each
        if len(fds) != (3 if isinstance(frame, Run) else 0):
            raise Refused('PBL-CHANNEL', 'a frame has the wrong number of descriptors')
        match frame:
            case Hello(version) if not self._greeted:
                if version != frames.VERSION:
                    raise Refused('PBL-VERSION', f'the runner speaks version {version}')
                self._greeted = True
            case Announce(requests) if self._greeted and not self._opened:
                self._announced.update(requests)
                if len(self._announced) > frames.MAX_ANNOUNCED:
                    raise Refused('PBL-CHANNEL', 'too many jobs are announced')
            case Open() if self._greeted and not self._opened:
                self._open()
            case Run() if self._opened and frame.number > self._last:
                self._last = frame.number
                self._run(frame, (fds[0], fds[1], fds[2]))
            case Cancel() if self._opened:
                self._cancel(frame)
            case _:
                raise Refused('PBL-CHANNEL', 'a frame is out of order')

    def _open(self) -> None:
        self._opened = True
        digest = sha256('\n'.join(sorted(self._announced)).encode()).hexdigest()
        self._log('open', announced=len(self._announced), digest=digest)
        self._send(Ready(frames.VERSION, start.view()))

    def _run(self, run: Run, fds: tuple[int, int, int]) -> None:
        try:
            if self._running:
                raise Refused('PBL-BUSY', 'another job runs')
            if len(self._keepers) >= _MAX_KEEPERS:
                fact = 'too many jobs have left something running'
                raise Refused('PBL-BUSY', fact)
            if not self._is_announced(run):
                raise Refused('PBL-NOT-ANNOUNCED', 'the job was not announced')
            _require_files(fds)
        except Refused as refused:
            self._log('refused', run, code=refused.code, fact=refused.fact)
            self._send(keeper.refusal(run.number, refused))
            return
        self._running = keeper.fork(run, fds, self._world)
        self._keepers[self._running.control.fileno()] = self._running

    def _is_announced(self, run: Run) -> bool:
        """By itself, or with all that comes of its `via`.

        To announce a local job is to announce what it prints: it does nothing else.
        A resource job is also run for those who only want to know what it says.
        """
        every = {f':{run.via}'}
        if run.via not in self._resources:
            every.add(f'{run.via}:')
        return bool(self._announced & {f'{run.hash}:{run.via}', *every})

    def _cancel(self, cancel: Cancel) -> None:
        if self._running and self._running.run.number == cancel.number:
            with suppress(OSError):  # it has just gone
                self._running.control.send(b'c')

    def _hear(self, speaker: Keeper) -> None:
        """Pass on what a keeper says, and note what it did."""
        said = keeper.received(speaker.control)
        if said is None:
            self._part_with(speaker)
        elif isinstance(said, bytes | Refused):
            self._world.generated[speaker.run.via] = said
        else:
            if isinstance(said, Ended | Refusal):
                self._running = None
            self._send(said)

    def _part_with(self, speaker: Keeper) -> None:
        """A keeper is gone. One that did not end its job left it to us."""
        del self._keepers[speaker.control.fileno()]
        speaker.control.close()
        os.waitpid(speaker.pid, 0)
        if speaker is self._running:
            self._running = None
            tree.end_tree(0, spare={other.pid for other in self._keepers.values()})
            lost = Refused('PBL-INTERNAL', 'the keeper of the job was killed')
            self._send(keeper.refusal(speaker.run.number, lost))

    def _send(self, frame: Frame) -> None:
        self._unsent.append(frames.encode(frame))
        if len(self._unsent) > _MAX_UNSENT:
            raise Refused('PBL-CHANNEL', 'the runner does not listen')
        self._flush()

    def _flush(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            while self._unsent:
                self._socket.send(self._unsent[0], socket.MSG_DONTWAIT)
                del self._unsent[0]

    def close(self, refused: Refused) -> None:
        """Say and log why the channel ends."""
        with suppress(Refused):
            self._log('refused', code=refused.code, fact=refused.fact)
        with suppress(Refused):
            self._send(keeper.refusal(0, refused))

    def end(self) -> None:
        """End all jobs, and what they left running. Raises Refused if that fails."""
        for each in self._keepers.values():
            each.control.close()
        deadline = time.monotonic() + 2 * tree.HURRY
        with suppress(ChildProcessError):  # there is none left
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)
        tree.end_tree(0)
        with suppress(Refused):
            self._log('close')

    def _log(self, event: str, run: Run | None = None, **facts: object) -> None:
        hash_, via = (run.hash, run.via) if run else ('', '')
        request = Request('channel', hash_, via, {})
        audit.write(event, request, self._world.caller, **facts)


def _take_over() -> socket.socket:
    """The socket on descriptor 0, where no job will find it."""
    try:
        sock = socket.socket(fileno=os.dup(0))
    except OSError:
        raise Refused('PBL-CHANNEL', 'standard input is not a socket') from None
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        raise Refused('PBL-CHANNEL', 'standard input is not a socket for packets')
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    null = os.open('/dev/null', os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return sock


def _leave_terminal() -> None:
    """The Ctrl-C and Ctrl-Z there are the runner's."""
    if os.getsid(0) == os.getpid():
        return
    try:
        os.setsid()
    except PermissionError:
        raise Refused('PBL-CHANNEL', 'it leads a group of processes') from None


def _runner(sock: socket.socket, caller: Caller) -> int:
    """The process that made the socket pair. Raises Refused if it is not our caller."""
    credentials = sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    if pid != os.getppid() or uid != caller.uid:
        raise Refused('PBL-CHANNEL', 'the socket was not made by who called')
    return int(pid)


def _ancillary(
    control: list[tuple[int, int, bytes]],
) -> tuple[list[int], tuple[int, int] | None]:
    """The descriptors that came with a frame, and pid and uid of its sender."""
    fds: list[int] = []
    sender = None
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind in (socket.SCM_RIGHTS, _SCM_PIDFD):
            fds += [n for (n,) in struct.iter_unpack('i', data[: len(data) // 4 * 4])]
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            sender = _CREDENTIALS.unpack(data)[:2]
    return fds, sender


def _require_files(fds: tuple[int, int, int]) -> None:
    """Descriptors of a job are for reading and writing: no directories, no O_PATH."""
    try:
        fit = [
            not stat.S_ISDIR(os.fstat(fd).st_mode)
            and not fcntl(fd, F_GETFL) & os.O_PATH
            for fd in fds
        ]
    except OSError:  # as of a file system that is closed to root
        fit = [False]
    if not all(fit):
        raise Refused('PBL-DESCRIPTOR', 'a descriptor of the job is no open file')
