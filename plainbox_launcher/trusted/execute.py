# SPDX-License-Identifier: ISC
"""Fork, exec and wait; and ending whole trees of processes.

1. What runs is first a value, Command, that can be looked at.
2. Nothing of the launcher reaches the job but descriptors 0-2, root's ids and
   the limits of `start`.
3. Signals go only to children that are ours and not yet reaped, so that no
   number can have passed to a stranger. We are the subreaper, prctl(2): what
   a job's child leaves behind becomes our child, however it detached itself.
"""

import ctypes
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, NamedTuple

from .errors import Refused
from .files import closing
from .start import STOPS
from .unit import Unit

SHELLS: Final = {'bash': '/bin/bash', 'sh': '/bin/sh', 'dash': '/bin/dash'}

GRACE: Final = 5.0  # seconds between TERM and KILL
_PATIENCE: Final = 60.0  # seconds, for what forks faster than it dies
_TICK: Final = 250  # milliseconds between two looks at pending signals

# prctl(2), <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


class Command(NamedTuple):
    """What will be executed: an absolute program, its argv, its environment."""

    program: str
    argv: tuple[str, ...]
    environ: dict[str, str]


class Limits(NamedTuple):
    """How much a captured command may print, and for how long it may run."""

    max_bytes: int
    seconds: float


class Ending(NamedTuple):
    """How a command ended: exit status (128+n for signal n), and the rest."""

    status: int
    seconds: float
    left: int  # processes that it left running; -1 if unknown
    stdout: bytes = b''
    stderr: bytes = b''


class Exceeded(Exception):
    """A captured command went over its Limits; its tree has been ended."""


class Stopped(Exception):
    """A signal asks the launcher to stop; its tree has to be ended."""


def command(job: Unit, environ: dict[str, str]) -> Command:
    """The command of a job. Raises Refused if there is none to run."""
    text, shell = job.get('command'), job.get('shell') or 'bash'
    if not text:
        raise Refused('PBL-NO-COMMAND', 'the job has no command')
    program = SHELLS.get(shell.removeprefix('/usr').removeprefix('/bin/'))
    if program is None:
        raise Refused('PBL-SHELL', 'the job wants another shell')
    # `--` ends the options, so that a command `-i` is a command.
    return Command(program, (os.path.basename(program), '-c', '--', text), environ)


def own_descendants() -> None:
    """Become the parent of whatever our descendants leave; dump no core."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_DUMPABLE, 0)


def run(command: Command) -> Ending:
    """Run with our own descriptors 0-2. What it leaves running is let be.

    A TERM or HUP to the launcher ends the command's whole tree.
    """
    started = time.monotonic()
    with _workspace() as directory:
        try:
            pid = _start(command, directory, (0, 1, 2))
            status = _wait(pid, {}, Limits(0, float('inf')))
        except Stopped as stopped:
            end_tree(GRACE)
            status = 128 + stopped.args[0]
        except BaseException:  # we give up on it, so no half of it goes on
            end_tree(0)
            raise
    seconds, left = time.monotonic() - started, -1
    with suppress(OSError):  # too late for a refusal: the status is the job's
        left = len(_children())
    return Ending(status, seconds, left)


def capture(command: Command, limits: Limits) -> Ending:
    """Run without input and collect the output; then end all that it started.

    Raises Exceeded if it prints or takes more than `limits`, Refused if the
    launcher is asked to stop meanwhile.
    """
    started = time.monotonic()
    with ExitStack() as ends, _workspace() as directory:
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        null = os.open('/dev/null', os.O_RDONLY)
        for fd in out, out_end, err, err_end, null:
            ends.enter_context(closing(fd))
        texts = {out: bytearray(), err: bytearray()}
        try:
            pid = _start(command, directory, (null, out_end, err_end))
            status = _wait(pid, texts, limits)
        except Stopped:
            raise Refused('PBL-STOPPED', 'the launcher was asked to stop') from None
        finally:
            end_tree(0)
        for fd, text in texts.items():
            os.set_blocking(fd, False)  # someone else may hold the other end
            with suppress(BlockingIOError):
                while _take(fd, text, limits):
                    pass
    seconds = time.monotonic() - started
    return Ending(status, seconds, 0, *map(bytes, texts.values()))


def end_tree(grace: float) -> None:
    """End all our descendants: TERM, `grace` seconds, KILL, until none is left.

    A generation at a time: the children of what died are our children then.
    Raises Refused if for GRACE after KILL nothing changes, since the kernel holds
    a process, or if there is no end to them.
    """
    started = time.monotonic()
    deadline = started + grace
    told: set[int] = set()
    while children := _children():
        now = time.monotonic()
        if children != told:
            deadline = max(deadline, now)
        if now > deadline + GRACE or now > started + grace + _PATIENCE:
            raise Refused('PBL-UNKILLABLE', 'a process outlives SIGKILL')
        late = now >= deadline
        for pid in children if late else children - told:
            os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told = children
        _reap(0)
        time.sleep(0.001)


def _start(command: Command, directory: str, fds: tuple[int, int, int]) -> int:
    """Fork and exec; returns the pid of a child in which exec succeeded."""
    if signal.sigpending() & STOPS:
        raise Refused('PBL-STOPPED', 'the launcher was asked to stop')
    parent = os.getpid()
    failed, failed_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(command, directory, fds, parent)
        except BaseException as error:  # noqa: BLE001  # told to the parent
            os.write(failed_end, f'{type(error).__name__}: {error}'.encode())
        finally:
            os._exit(125)
    os.close(failed_end)  # the child's copy closes when exec succeeds
    with open(failed, 'rb') as pipe:
        failure = pipe.read().decode()
    if failure:
        os.waitpid(pid, 0)
        raise Refused('PBL-EXEC', f'the command cannot be started: {failure}')
    return pid


def _become(
    command: Command, directory: str, fds: tuple[int, int, int], parent: int
) -> None:
    """In the child, from the launcher's state to the job's. Never returns."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise OSError('the launcher is gone')
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.set_inheritable(target, True)  # noqa: FBT003
    os.chdir(directory)
    os.umask(0o022)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    environ = {name.encode(): value.encode() for name, value in command.environ.items()}
    os.execve(command.program, [word.encode() for word in command.argv], environ)


def _wait(pid: int, texts: dict[int, bytearray], limits: Limits) -> int:
    """Collect what comes through the pipes `texts` until `pid` has ended."""
    deadline = time.monotonic() + limits.seconds
    with closing(os.pidfd_open(pid)) as child:
        poll = select.poll()
        for fd in child, *texts:
            poll.register(fd, select.POLLIN)
        while (status := _reap(pid)) is None:
            for fd, _ in poll.poll(_TICK):
                if fd in texts and not _take(fd, texts[fd], limits):
                    poll.unregister(fd)
            if time.monotonic() > deadline:
                raise Exceeded(f'took more than {limits.seconds:.0f} seconds')
            if stops := signal.sigpending() & STOPS:
                raise Stopped(min(stops))
    return status


def _take(fd: int, text: bytearray, limits: Limits) -> int:
    """Read a piece; 0 at the end of the pipe."""
    piece = os.read(fd, 1 << 16)
    text += piece
    if len(text) > limits.max_bytes:
        raise Exceeded(f'printed more than {limits.max_bytes} bytes')
    return len(piece)


def _reap(main: int) -> int | None:
    """Collect every child that ended; the exit status of `main` if it did."""
    status = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == main:
                code = os.waitstatus_to_exitcode(ended[1])
                status = code if code >= 0 else 128 - code
    except ChildProcessError:
        if main and status is None:  # an unknown status is never a success
            raise Refused('PBL-INTERNAL', 'the exit status was lost') from None
    return status


def _children() -> set[int]:
    me = os.getpid()
    pids = {int(name) for name in os.listdir('/proc') if name.isdigit()}
    return {pid for pid in pids if _parent(pid) == me}


def _parent(pid: int) -> int:
    try:
        with open(f'/proc/{pid}/stat', 'rb') as stat:
            # proc_pid_stat(5): the name in brackets may hold brackets.
            return int(stat.read().rpartition(b')')[2].split()[1])
    except OSError:
        return 0  # gone


@contextmanager
def _workspace() -> Iterator[str]:
    """A fresh, empty directory of root's, removed afterwards."""
    path = f'/tmp/plainbox-{os.urandom(8).hex()}'  # noqa: S108  # mkdir refuses links
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise Refused('PBL-EXEC', f'{path} cannot be made: {error.strerror}') from None
    try:
        yield path
    finally:
        with suppress(OSError, RecursionError):
            _remove(path)


def _remove(path: str) -> None:
    """Remove a tree, unless something is mounted in it: that is not ours."""
    with open('/proc/self/mountinfo', encoding='utf-8', errors='replace') as mounts:
        if any(f' {path}' in mount for mount in mounts):
            return
    for _, directories, names, fd in os.fwalk(path, topdown=False):
        for name in names:
            os.unlink(name, dir_fd=fd)
        for name in directories:
            try:
                os.rmdir(name, dir_fd=fd)
            except NotADirectoryError:  # a link to one
                os.unlink(name, dir_fd=fd)
    os.rmdir(path)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError('prctl failed')
