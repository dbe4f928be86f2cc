# SPDX-License-Identifier: ISC
"""Fork, exec and wait.

1. What runs is first a value, Command, that can be looked at.
2. Nothing of the launcher reaches the job but descriptors 0-2, the ids of its
   account and the limits of `start`.
3. A job runs in a directory of its own, which is removed afterwards: if the job was
   not root's, then not by root either.
"""

import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from fcntl import F_DUPFD_CLOEXEC, fcntl
from pwd import struct_passwd
from typing import Final, NamedTuple

from . import account as accounts
from . import tree
from .environ import SYSTEM_PATH
from .errors import Refused
from .files import closing
from .start import STOPS
from .tree import Ended
from .unit import Unit

_START: Final = 20.0  # seconds until exec, where looking up groups takes long

SHELLS: Final = {'bash': '/bin/bash', 'sh': '/bin/sh', 'dash': '/bin/dash'}

# What the login of an account says of itself.
_LOGIN: Final = ('HOME', 'USER', 'LOGNAME', 'SHELL', 'PATH', 'LANG')


class Command(NamedTuple):
    """What will be executed: an absolute program, its argv, its environment.

    `account` is whom it is executed as, None for root. With `login` that is a
    program of root's, which logs `account` in. `directory` is where it starts, ''
    for a fresh one: the account's home or /, since root goes nowhere by a name that
    the caller gives.
    """

    program: str
    argv: tuple[str, ...]
    environ: dict[str, str]
    account: struct_passwd | None = None
    login: bool = False
    directory: str = ''


class Limits(NamedTuple):
    """How much a captured command may print, and for how long it may run."""

    max_bytes: int
    seconds: float


class Ending(NamedTuple):
    """How a command ended, and after how many seconds.

    `cause` is `exit`, or why its tree was ended: `timeout`, `cancel`, `closed` or
    `stop`. `left` are the names of processes that it left running.
    """

    ended: Ended
    seconds: float
    cause: str
    left: tuple[str, ...]


class Printed(NamedTuple):
    """What a captured command printed, and its exit status (-n for signal n)."""

    status: int
    stdout: bytes
    stderr: bytes


class Exceeded(Exception):
    """A captured command went over its Limits; its tree has been ended."""


class Stopped(Exception):
    """A command's tree has to be ended: `cause` is one of Ending's.

    `signal` is the one that asks the launcher itself to stop, else 0.
    """

    def __init__(self, cause: str, signal: int = 0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.signal = signal


def command(
    job: Unit, environ: dict[str, str], account: struct_passwd | None = None
) -> Command:
    """The command of a job. Raises Refused if there is none to run."""
    text, shell = job.get('command'), job.get('shell') or 'bash'
    if not text:
        raise Refused('PBL-NO-COMMAND', 'the job has no command')
    program = SHELLS.get(shell.removeprefix('/usr').removeprefix('/bin/'))
    if program is None:
        raise Refused('PBL-SHELL', 'the job wants another shell')
    # `--` ends the options, so that a command `-i` is a command.
    argv = os.path.basename(program), '-c', '--', text
    if account and account.pw_uid and 'login-shell' in job.flags:
        return _login(program, argv, environ, account)
    directory = environ['HOME'] if 'preserve-cwd' in job.flags else ''
    return Command(program, argv, environ, account, directory=directory)


def _login(
    program: str, argv: tuple[str, ...], environ: dict[str, str], account: struct_passwd
) -> Command:
    """A command in the account's login environment, as runuser(1) makes it.

    What we compose is passed by name, so that no value shows in a command line; the
    profile's PATH stays, behind the provider's. Descriptor 3 tells that the profile
    was left, and is closed. No word is left to `$@`, which a profile may set.
    """
    kept = {n: v for n, v in environ.items() if n not in _LOGIN}
    folders = _quote(environ['PATH'].removesuffix(SYSTEM_PATH))
    words = ' '.join(map(_quote, (program, *argv[1:])))
    script = (
        f'export PATH={folders}"${{PATH:-{SYSTEM_PATH}}}"; '
        f'command echo >&3 || exit 125; exec 3>&- {words}'
    )
    listed = ('--whitelist-environment', ','.join(kept)) if kept else ()
    return Command(
        '/usr/bin/setpriv',  # what it drops, a login would keep: capabilities(7)
        (
            *('setpriv', '--inh-caps=-all', '/usr/sbin/runuser', '--login'),
            *('--shell', program, *listed, '--command', script),
            *('--', account.pw_name),
        ),
        kept,
        account,
        login=True,
        directory='/',  # a login goes home by itself
    )


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def run(
    command: Command,
    fds: tuple[int, int, int] = (0, 1, 2),
    *,
    seconds: float = tree.FOREVER,
    control: int | None = None,
    started: Callable[[], None] = lambda: None,
    finish: Callable[[float], Ended] | None = None,
) -> Ending:
    """Run with descriptors `fds` as its 0-2. What it leaves running is let be.

    A TERM or HUP to the launcher ends the command's whole tree, and so does what
    happens at `control`: a byte cancels, the other side's end closes. `started`
    is called once exec has succeeded. `finish` is for a command that has somebody
    else run the job: it ends what is left of that, in so many seconds, and knows how
    it ended. Raises Refused also where a login came to nothing.
    """
    begun = time.monotonic()
    if command.account and command.directory:
        _require_home(command.account)
    with _place(command) as directory, _mark() as (seen, mark):
        more = (mark,) if command.login else ()
        try:
            own = control is not None or command.account is not None
            pid = _start(command, directory, (*fds, *more), own_session=own)
            started()
            ended, cause = _wait(pid, {}, seconds, control=control), 'exit'
            if finish:
                ended = finish(tree.GRACE)
        except Stopped as stopped:
            cause = stopped.cause
            grace = tree.GRACE
            if cause == 'closed':
                grace, control = tree.HURRY, None
            how = None
            with suppress(Refused):  # it is ended, even if nobody knows how
                how = finish(grace) if finish else None
            ended = tree.end_tree(grace, pid, control=control)
            ended = how or ended
            if stopped.signal:  # whatever the job made of it
                ended = ended._replace(status=-stopped.signal)
        except BaseException:  # we give up on it, so no half of it goes on
            tree.end_tree(0)
            raise
        if command.login and cause == 'exit' and not seen():
            code = shell_status(ended.status)
            raise Refused('PBL-ACCOUNT-PROFILE', f'the login ended with {code}')
    return Ending(ended, time.monotonic() - begun, cause, tree.names())


@contextmanager
def _mark() -> Iterator[tuple[Callable[[], bool], int]]:
    """Whether somebody wrote to a descriptor, and that descriptor."""
    read, write = os.pipe()
    os.set_blocking(read, False)

    def seen() -> bool:
        try:
            return bool(os.read(read, 1))
        except BlockingIOError:
            return False

    with closing(read), closing(write):
        yield seen, write


def capture(command: Command, limits: Limits, control: int | None = None) -> Printed:
    """Run without input and collect the output; then end all that it started.

    Raises Exceeded if it prints or takes more than `limits`, Refused if it has to
    be ended meanwhile, as in `run`.
    """
    with ExitStack() as ends, _place(command) as directory:
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        null = os.open('/dev/null', os.O_RDONLY)
        for fd in out, out_end, err, err_end, null:
            ends.enter_context(closing(fd))
        texts = {out: bytearray(), err: bytearray()}
        try:
            three = null, out_end, err_end
            pid = _start(command, directory, three, own_session=control is not None)
            ended = _wait(pid, texts, limits.seconds, limits.max_bytes, control)
        except Stopped as stopped:
            if stopped.cause == 'timeout':
                fact = f'took more than {limits.seconds:.0f} seconds'
                raise Exceeded(fact) from None
            raise Refused('PBL-STOPPED', f'asked to {stopped.cause}') from None
        finally:
            tree.end_tree(0)
        for fd, text in texts.items():
            os.set_blocking(fd, False)  # someone else may hold the other end
            with suppress(BlockingIOError):
                while _take(fd, text, limits.max_bytes):
                    pass
    return Printed(ended.status, *map(bytes, texts.values()))


def shell_status(status: int) -> int:
    """An exit status as shells give it: 128+n for signal n."""
    return status if status >= 0 else 128 - status


def _start(
    command: Command, directory: str, fds: Sequence[int], *, own_session: bool
) -> int:
    """Fork and exec; returns the pid of a child in which exec succeeded."""
    if signal.sigpending() & STOPS:
        raise Refused('PBL-STOPPED', 'the launcher was asked to stop')
    parent = os.getpid()
    failed, failed_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            failed_end = _above(failed_end)
            if own_session:  # out of reach of `kill 0`, and of the caller's terminal
                os.setsid()
            _become(command, directory, fds, parent)
        except BaseException as error:  # noqa: BLE001  # told to the parent
            told = error if isinstance(error, Refused) else _unstarted(error)
            os.write(failed_end, f'{told.code}\0{told.fact}'.encode())
        finally:
            os._exit(125)
    os.close(failed_end)  # the child's copy closes when exec succeeds
    with open(failed, 'rb') as pipe:
        if not _readable(failed, _START):  # its account may have stopped it
            os.kill(pid, signal.SIGKILL)
            raise Refused('PBL-EXEC', 'the command does not start')
        failure = pipe.read().decode()
    if failure:
        os.waitpid(pid, 0)
        raise Refused(*failure.split('\0', 1))
    return pid


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _unstarted(error: BaseException) -> Refused:
    what = f'{type(error).__name__}: {error}'
    return Refused('PBL-EXEC', f'the command cannot be started: {what}')


def _become(command: Command, directory: str, fds: Sequence[int], parent: int) -> None:
    """In the child, from the launcher's state to the job's. Never returns."""
    for target, fd in enumerate([_above(fd) for fd in fds]):
        os.dup2(fd, target)
    os.umask(0o022)
    if command.account and not command.login:
        accounts.become(command.account)
    os.chdir(directory)  # not as root where the account may have put a link
    # After that, since who becomes another loses it: prctl(2).
    tree.prctl(tree.PR_SET_PDEATHSIG, signal.SIGKILL)
    if command.login:  # which passes TERM on
        tree.prctl(tree.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise OSError('the launcher is gone')
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    environ = {name.encode(): value.encode() for name, value in command.environ.items()}
    os.execve(command.program, [word.encode() for word in command.argv], environ)


def _above(fd: int) -> int:
    """A copy of a descriptor, out of the way of those that the job gets."""
    return fcntl(fd, F_DUPFD_CLOEXEC, 10)


def _wait(
    pid: int,
    texts: dict[int, bytearray],
    seconds: float,
    max_bytes: int = 0,
    control: int | None = None,
) -> Ended:
    """Collect what comes through the pipes `texts` until `pid` has ended.

    Raises Stopped if something else comes first.
    """
    deadline = time.monotonic() + seconds
    with closing(os.pidfd_open(pid)) as child:
        poll = select.poll()
        for fd in (child, *texts, *([] if control is None else [control])):
            poll.register(fd, select.POLLIN)
        while (ended := tree.reap_all(pid)) is None:
            for fd, _ in poll.poll(tree.TICK):
                if fd in texts and not _take(fd, texts[fd], max_bytes):
                    poll.unregister(fd)
                if fd == control:
                    raise Stopped('cancel' if tree.heard(fd) else 'closed')
            if time.monotonic() > deadline:
                raise Stopped('timeout')
            if stops := signal.sigpending() & STOPS:
                raise Stopped('stop', min(stops))
    return ended


def _take(fd: int, text: bytearray, max_bytes: int) -> int:
    """Read a piece; 0 at the end of the pipe."""
    piece = os.read(fd, 1 << 16)
    text += piece
    if len(text) > max_bytes:
        raise Exceeded(f'printed more than {max_bytes} bytes')
    return len(piece)


def _place(command: Command) -> AbstractContextManager[str]:
    """Where a command starts, which is a fresh directory unless it says otherwise."""
    if command.directory:
        return nullcontext(command.directory)
    return _workspace(command.account)


@contextmanager
def _workspace(account: struct_passwd | None) -> Iterator[str]:
    """A fresh, empty directory of the account's, removed afterwards."""
    path = f'/tmp/plainbox-{os.urandom(8).hex()}'  # noqa: S108  # mkdir refuses links
    try:
        os.mkdir(path, 0o700)
        if account:
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise Refused('PBL-EXEC', f'{path} cannot be made: {error.strerror}') from None
    try:
        yield path
    finally:
        with suppress(OSError, RecursionError):
            if account:
                _as(account, lambda: _remove(path, closed=True))
            else:
                _remove(path)


def _require_home(account: struct_passwd) -> None:
    if not _as(account, lambda: os.chdir(account.pw_dir)):
        fact = f'{account.pw_name} has no home directory to go to'
        raise Refused('PBL-ACCOUNT-HOME', fact)


def _as(account: struct_passwd, action: Callable[[], object]) -> bool:
    """Do something as the account; whether it was done, in seconds.

    Never as root: what belongs to somebody may lead anywhere, or nowhere for ever.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            accounts.become(account)
            action()
            status = 0
        finally:
            os._exit(status)
    with closing(os.pidfd_open(pid)) as child:
        if not _readable(child, tree.GRACE):
            os.kill(pid, signal.SIGKILL)
            _readable(child, tree.GRACE)
    reaped, ended = tree.reap(pid)
    return reaped == pid and ended.status == 0


def _open_up(path: str) -> None:
    """Let its owner into each directory of a tree, also one closed to writing."""
    os.chmod(path, 0o700)
    for _, names, _, fd in os.fwalk(path):
        for name in names:
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.chmod(name, 0o700, dir_fd=fd)


def _remove(path: str, *, closed: bool = False) -> None:
    """Remove a tree, unless something is mounted in it: that is not ours.

    `closed` says that parts of it may be closed to us, who own it.
    """
    if closed:
        _open_up(path)
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
