# SPDX-License-Identifier: ISC
"""The test house: this machine again, with files, processes and a log of its own.

pytest stays outside, as root. The house is a mount and a PID namespace: an overlay
on / and /dev, fresh /tmp, /var/tmp, /run and /dev/shm, and in it the installed
product, a system bus, polkitd, a collector on /dev/log and two ordinary users. The
machine's own files are only read. Its devices and /sys are not copies, though, and
nor is the network.

The first process in there waits for the end of its standard input, which only we
hold. So when pytest ends, however it ends, the kernel ends every process in the
house, and the mounts go with the last of them.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = '/usr/src/plainbox-launcher'  # the checkout, read-only, as seen in there
LAUNCHER = '/usr/bin/plainbox-trusted-launcher-1'
ROOM = '/usr/lib/plainbox-launcher/plainbox_launcher/trusted'
PROVIDERS = '/usr/share/plainbox-trusted-launcher-1'
ACTION = 'org.freedesktop.policykit.pkexec.run-plainbox-job'
POLICY = f'/usr/share/polkit-1/actions/{ACTION}.policy'
RULES = '/etc/polkit-1/rules.d/49-plainbox-launcher.rules'
LEDGER = '.local/state/plainbox-launcher'  # of each user, below the home
GROUP = 'plainbox'
HOMES = ('--create-home', '--key', 'HOME_MODE=0755')  # Debian 13 says 0700
DAEMONS = frozenset({'cat', 'dbus-daemon', 'polkitd'})  # cat: the first process
TOOLS = ('dbus-daemon', 'dbus-send', 'pkaction', 'pkexec', 'unshare', 'useradd')
CRASHES = (b'Traceback (most recent call last)', b'PBL-INTERNAL')
HANGS = 60  # seconds; not a measure of anything, only so that no test waits for ever
CLEAN = {'LANG': 'C.UTF-8', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'SHELL': '/bin/sh'}

# From sched.h.
NEWNS, NEWPID = 0x00020000, 0x20000000

# $1 is the checkout. Everything that changes in the house lies below one tmpfs, which
# stays open as descriptor 9; see House.files. In the first line /proc is still the
# machine's, so that is our number as pytest knows it.
#
# To enter one's own mount namespace is to go to its root, out of a chroot if pytest is
# in one. Only there can the propagation of all mounts be ended, and roots be changed.
BUILD = f"""
set -eu
read -r pid rest </proc/self/stat
checkout=$(cd -- "$1" && pwd -P)
top='nsenter --mount=/proc/self/ns/mnt'
$top mount --make-rprivate /
mount -t tmpfs -o mode=755 house /mnt
cd /mnt
mkdir upper work dev dev-work tmp var-tmp run shm root
chmod 1777 tmp var-tmp shm
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work house root
mkdir -p root{CHECKOUT}
mount --bind -o ro "$checkout" root{CHECKOUT}
mount -t overlay -o lowerdir=/dev,upperdir=dev,workdir=dev-work house root/dev
mkdir -p root/dev/pts root/dev/shm
mount -t devpts -o mode=620,gid=5,ptmxmode=666 house root/dev/pts
for node in null zero full random urandom tty; do  # in some containers mounts
    ! mountpoint -q /dev/$node || mount --bind /dev/$node root/dev/$node
done
mount --bind shm root/dev/shm
mount --bind tmp root/tmp
mount --bind var-tmp root/var/tmp
mount --bind run root/run
mount -t proc proc root/proc
mount --rbind /sys root/sys
exec 8<root 9<.
exec $top sh -euc '
    cd /proc/self/fd/8
    pivot_root . mnt
    umount -l /mnt
    trap "" CHLD  # the kernel buries the orphans
    echo "$0"
    exec cat 8<&-
' "$pid"
"""
LAYERS = {'upper': '', 'dev': '/dev'}  # over the machine's own
FRESH = {'tmp': '/tmp', 'var-tmp': '/var/tmp', 'run': '/run', 'shm': '/dev/shm'}

Files = dict[str, tuple[object, ...] | None]


class NoHouse(Exception):
    """The kernel, or whoever keeps us in a container, does not let us build one."""


class Line(NamedTuple):
    """One datagram of the system log. The kernel vouches for uid and pid."""

    uid: int
    pid: int
    priority: int
    text: str


def lacking() -> str | None:
    """Says what this machine lacks for a house."""
    if os.geteuid() != 0:
        return 'not root'
    path = CLEAN['PATH']
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    return f'missing: {", ".join(missing)}' if missing else None


class House:
    """What tests may do with the house."""

    def __init__(self, holder: subprocess.Popen[bytes], pid: int) -> None:
        self.holder = holder
        self.pid = pid
        self.crashes: list[bytes] = []  # see canary
        self._mounts = os.open(f'/proc/{pid}/ns/mnt', os.O_RDONLY | os.O_CLOEXEC)
        self._pids = os.open(f'/proc/{pid}/ns/pid', os.O_RDONLY | os.O_CLOEXEC)
        self._started: list[subprocess.Popen[bytes]] = []
        self._lines: list[Line] = []
        self._collector = collector(self.path('/dev/log'))

    def path(self, inside: str) -> Path:
        """Where a file of the house is for us. Not for absolute symbolic links."""
        return Path(f'/proc/{self.pid}/root{inside}')

    # Running things

    def popen(
        self,
        argv: Sequence[str | bytes],
        *,
        user: str = 'tester',
        env: Mapping[str, str] | None = None,
        cwd: str = '/',
        umask: int = 0o022,
        parent: bool = False,
        before: Callable[[], object] | None = None,
        **more: Any,  # noqa: ANN401 # Popen's own
    ) -> subprocess.Popen[bytes]:
        """Starts a command in there, of which `pid` is the real process id.

        before: called in the new process, as the user, just before exec.
        parent: the command gets a parent in there, as pkexec wants one; then `pid`
        is this parent's, which ends as the command does.
        """

        def step_in() -> None:
            setns(self._mounts, NEWNS)
            become(user)
            os.chdir(cwd)
            os.umask(umask)
            # A shell that puts us in the background may have had it ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if parent:
                fork_and_mirror()
            if before:
                before()

        if env is None:
            home = '/root' if user == 'root' else f'/home/{user}'
            env = {**CLEAN, 'HOME': home, 'USER': user, 'LOGNAME': user}
        more = {'stdin': subprocess.DEVNULL, 'start_new_session': True, **more}
        with self._pid_namespace():
            process = subprocess.Popen(argv, env=env, preexec_fn=step_in, **more)
        self._started = [old for old in self._started if old.poll() is None]
        self._started.append(process)
        return process

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        input: bytes | None = None,  # noqa: A002 # as subprocess.run calls it
        **more: Any,  # noqa: ANN401 # popen's and Popen's
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command in there to its end."""
        pipe = subprocess.PIPE
        more = {'stdout': pipe, 'stderr': pipe, **more}
        if input is not None:
            more['stdin'] = pipe
        with self.popen(argv, **more) as process:
            try:
                out, err = process.communicate(input, timeout=HANGS)
            except BaseException:
                process.kill()
                raise
        if any(sign in (err or b'') for sign in CRASHES):
            self.crashes.append(err)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def check(self, *argv: str, **more: Any) -> bytes:  # noqa: ANN401
        """Runs, as root unless told otherwise, what has to succeed."""
        done = self.run(argv, **{'user': 'root', **more})
        assert done.returncode == 0, (argv, done.returncode, done.stderr)
        return bytes(done.stdout)

    def pkexec(
        self,
        *args: str | bytes,
        options: Sequence[str] = (),
        program: str = LAUNCHER,
        **more: Any,  # noqa: ANN401
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs the launcher the way the runner does, as the tester."""
        command = ['pkexec', '--disable-internal-agent', *options, program, *args]
        return self.run(command, **{'parent': True, **more})

    def launcher(
        self,
        *args: str | bytes,
        **more: Any,  # noqa: ANN401
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs the launcher as root, without pkexec."""
        return self.run([LAUNCHER, *args], **{'user': 'root', **more})

    # Arranging things

    @contextlib.contextmanager
    def replaced(
        self, inside: str, data: bytes | None, mode: int = 0o644
    ) -> Iterator[None]:
        """Puts a file of root's there, or takes one away, and undoes it after."""
        path = self.path(inside)
        before = (path.read_bytes(), path.stat()) if path.exists() else None
        put(path, data, mode)
        try:
            yield
        finally:
            if before:
                put(path, before[0], stat.S_IMODE(before[1].st_mode))
                os.chown(path, before[1].st_uid, before[1].st_gid)
            else:
                put(path, None)

    @contextlib.contextmanager
    def provider(
        self,
        name: str,
        files: str | Mapping[str, str | bytes],
        **definition: str | None,
    ) -> Iterator[str]:
        """Installs a provider of root's; gives the full name of its namespace.

        files: the units, or all files by their path below /usr/lib/house-NAME, of
        which those in bin/ are executable. definition: lines of the .provider file,
        None leaves one out.
        """
        location = f'/usr/lib/house-{name}'
        namespace = '2026.plainbox.house'
        lines: dict[str, str | None] = {'name': f'{namespace}:{name}', 'version': '1.0'}
        lines |= {'description': 'of the test house', 'location': location}
        lines |= definition
        text = '[PlainBox Provider]\n' + ''.join(
            f'{key} = {value}\n' for key, value in lines.items() if value is not None
        )
        if isinstance(files, str):
            files = {'units/house.pxu': files}
        for folder in ('units', 'bin', 'data'):
            make_folders(self.path(location) / folder)
        for name_below, data in files.items():
            target = self.path(location) / name_below
            make_folders(target.parent)
            raw = data.encode() if isinstance(data, str) else data
            put(target, raw, 0o755 if name_below.startswith('bin/') else 0o644)
        try:
            with self.replaced(f'{PROVIDERS}/{name}.provider', text.encode()):
                yield namespace
        finally:
            shutil.rmtree(self.path(location))

    @contextlib.contextmanager
    def rules(self, text: str | None) -> Iterator[None]:
        """Lets polkitd live by other rules than our example; None: by none of ours."""
        with self.replaced(RULES, None if text is None else text.encode()):
            self.new_polkitd()
            yield
        self.new_polkitd()

    @contextlib.contextmanager
    def policy(self, variant: str | None) -> Iterator[None]:
        """Installs another of the policies; None: none."""
        source = self.path(f'{CHECKOUT}/contrib/polkit/{variant}/{ACTION}.policy')
        with self.replaced(POLICY, None if variant is None else source.read_bytes()):
            self.new_polkitd()
            yield
        self.new_polkitd()

    @contextlib.contextmanager
    def canary(self, file: str, old: str, new: str) -> Iterator[None]:
        """Installs the launcher without one of its defences.

        file: of the room, or an absolute path. A canary has to sing: its text must
        compile and --warmup succeed, or tests would fail on it for nothing.
        """
        inside = os.path.join(ROOM, file)
        text = self.path(inside).read_text()
        assert text.count(old) == 1, f'{file} holds {text.count(old)} times {old!r}'
        compile(text.replace(old, new), file, 'exec')
        mode = stat.S_IMODE(self.path(inside).stat().st_mode)
        with contextlib.ExitStack() as undo:
            undo.enter_context(
                self.replaced(inside, text.replace(old, new).encode(), mode)
            )
            # Python writes these anew as it finds the text changed.
            for stale in self.path(inside).parent.glob('__pycache__/*.pyc'):
                if stale.name.startswith(Path(inside).stem + '.'):
                    place = f'{Path(inside).parent}/__pycache__/{stale.name}'
                    undo.enter_context(self.replaced(place, None))
            warm = self.launcher('--warmup')
            assert warm.returncode == 0, warm.stderr
            self.crashes.clear()
            yield

    # Looking at things

    def log(self, program: str = '') -> list[Line]:
        """Gives the lines logged since the test began, of one program or of all."""
        self._lines += self._new_lines()
        if not program:
            return list(self._lines)
        # As syslog(3) writes it: "Nov 21 00:00:00 program[pid]: ".
        stamp = r'\w{3} [\d ]\d \d\d:\d\d:\d\d'
        tag = re.compile(rf'{stamp} {re.escape(program)}(\[\d+\])?: ')
        return [line for line in self._lines if tag.match(line.text)]

    def new_page(self) -> None:
        """Forgets the lines logged so far."""
        self._new_lines()
        self._lines.clear()

    def processes(self) -> dict[int, str]:
        """Gives the processes in the house, by our numbers, with their names."""
        found = {}
        here = os.fstat(self._pids).st_ino
        for entry in Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if (entry / 'ns/pid').stat().st_ino == here:
                    found[int(entry.name)] = (entry / 'comm').read_text().rstrip('\n')
        return found

    def strangers(self) -> dict[int, str]:
        """Gives the processes that are none of the daemons, once the dying are dead."""
        others = {p: c for p, c in self.processes().items() if c not in DAEMONS}
        return {pid: name for pid, name in others.items() if not ended(pid, 1)}

    def files(self) -> Files:
        """Gives what is in the house and not, or otherwise, on the machine."""
        found: Files = {}
        for layer, prefix in {**LAYERS, **FRESH}.items():
            top = f'/proc/{self.pid}/fd/9/{layer}'
            for folder, folders, names in os.walk(top):
                inside = prefix + folder[len(top) :]
                for name in folders + names:
                    found[f'{inside}/{name}'] = portrait(f'{folder}/{name}')
        return found

    def forget(self) -> None:
        """Removes the ledgers, and the directories that were made for them."""
        users = os.listdir(self.path('/home'))
        for home in '/root', '/tmp', *(f'/home/{user}' for user in users):
            folder = self.path(f'{home}/{LEDGER}')
            for path in folder, *list(folder.parents)[:2]:
                ours = not os.path.lexists(f'/{path.relative_to(self.path("/"))}')
                if path.exists() and ours:
                    shutil.rmtree(path)

    def changes(self, before: Files) -> list[str]:
        """Says which files are not as they were."""

        def then_or_lower(files: Files, path: str) -> object:
            # A file only copied up from the machine is not a change.
            if path in files:
                return files[path]
            fresh = path.startswith(tuple(f'{place}/' for place in FRESH.values()))
            return None if fresh else portrait(path)

        now = self.files()
        return sorted(
            path
            for path in before.keys() | now.keys()
            if then_or_lower(before, path) != then_or_lower(now, path)
        )

    # Keeping house

    def furnish(self, policy: str = 'auth_admin_keep') -> None:
        """Installs the product, makes the users, starts bus and polkitd."""
        installed = self.check(f'{CHECKOUT}/contrib/install', '--policy', policy)
        assert LAUNCHER.encode() in installed.splitlines(), installed
        self.check('groupadd', '--force', '--system', GROUP)
        for user in ('tester', 'stranger'):
            self.check('useradd', *HOMES, '--shell', '/bin/bash', user)
        self.check('usermod', '--append', '--groups', GROUP, 'tester')
        example = self.path(f'{CHECKOUT}/contrib/polkit/rules.d/{Path(RULES).name}')
        put(self.path(RULES), example.read_bytes())
        self.start_bus()
        self.new_polkitd()

    def start_bus(self) -> None:
        """Starts the system bus. It forks when it listens, not before."""
        make_folders(self.path('/run/dbus'))
        self.check('dbus-daemon', '--system', '--fork', '--syslog-only')

    def new_polkitd(self) -> None:
        """Starts polkitd anew: only then it surely has read its rules and actions."""
        for pid, name in self.processes().items():
            if name == 'polkitd':
                os.kill(pid, signal.SIGKILL)
                assert ended(pid, HANGS), 'polkitd does not die'
        bus = 'org.freedesktop.DBus'
        # Answered when polkitd owns its name.
        call = ['dbus-send', '--system', '--print-reply', f'--dest={bus}', '/']
        call += [f'{bus}.StartServiceByName', 'string:org.freedesktop.PolicyKit1']
        self.check(*call, 'uint32:0')

    def close(self) -> None:
        """Ends the house and all that is in it."""
        for daemon in (self.holder, self._collector):
            assert daemon.stdin
            daemon.stdin.close()
        # The namespace ends when the last process is dead and buried.
        for process in (*self._started, self.holder, self._collector):
            process.wait(HANGS)
        assert self._collector.stdout
        self._collector.stdout.close()
        for descriptor in (self._mounts, self._pids):
            os.close(descriptor)

    @contextlib.contextmanager
    def _pid_namespace(self) -> Iterator[None]:
        # Concerns our children, not us (setns(2)); so their numbers stay ours, too.
        home = os.open('/proc/self/ns/pid', os.O_RDONLY | os.O_CLOEXEC)
        setns(self._pids, NEWPID)
        try:
            yield
        finally:
            setns(home, NEWPID)
            os.close(home)

    def _new_lines(self) -> list[Line]:
        assert self._collector.stdin
        assert self._collector.stdout
        self._collector.stdin.write(b'\n')
        self._collector.stdin.flush()
        answer = json.loads(self._collector.stdout.readline())
        return [Line(*fields) for fields in answer]


@contextlib.contextmanager
def open_house(checkout: Path, policy: str = 'auth_admin_keep') -> Iterator[House]:
    """Builds, furnishes and keeps a house."""
    unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child']
    unshare += ['--propagation=unchanged']  # a chroot lets only BUILD change it
    pipe = subprocess.PIPE
    holder = subprocess.Popen(
        [*unshare, 'sh', '-c', BUILD, 'house', str(checkout)],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=CLEAN,
        start_new_session=True,
    )
    assert holder.stdout
    assert holder.stderr
    pid = holder.stdout.readline()
    if not pid:
        raise NoHouse(holder.communicate()[1].decode().strip())
    house = House(holder, int(pid))
    try:
        house.furnish(policy)
        yield house
    finally:
        house.close()
        holder.stdout.close()
        holder.stderr.close()


def setns(descriptor: int, kind: int) -> None:
    # os.setns came with Python 3.12.
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f'setns: {os.strerror(number)}')


def become(user: str) -> None:
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def fork_and_mirror() -> None:
    """Returns in the child. The parent waits for it and ends as it ended."""
    child = os.fork()
    if child == 0:
        return
    os.closerange(0, os.sysconf('SC_OPEN_MAX'))  # we hold nobody's pipe open
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        with contextlib.suppress(OSError):  # SIGKILL is as it is
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def ended(pid: int, seconds: float) -> bool:
    """Waits a little for the end of any process, of ours or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def put(path: Path, data: bytes | None, mode: int = 0o644) -> None:
    """Makes a new file of root's, with this mode whatever the umask, or none."""
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
        path.chmod(mode)


def make_folders(path: Path) -> None:
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir()
        path.chmod(0o755)


def portrait(path: str) -> tuple[object, ...] | None:
    """Gives what two files have in common if they are alike."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    core: object = found.st_rdev
    if stat.S_ISREG(found.st_mode):
        core = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    elif stat.S_ISLNK(found.st_mode):
        core = os.readlink(path)
    return (found.st_mode, found.st_uid, found.st_gid, core)


# The system log


def collector(path: Path) -> subprocess.Popen[bytes]:
    """Starts a process that reads /dev/log, so that nobody who writes has to wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        log.bind(str(path))
        path.chmod(0o666)
        return subprocess.Popen(
            [sys.executable, '-IS', __file__, str(log.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[log.fileno()],
            start_new_session=True,
        )


def collect(log: socket.socket) -> None:
    """Keeps what comes, and hands it over for each line on standard input."""
    lines: list[Line] = []
    while True:
        ready, _, _ = select.select([log, sys.stdin], [], [])
        while (line := receive(log)) is not None:
            lines.append(line)
        if sys.stdin in ready:
            if not sys.stdin.readline():
                return
            print(json.dumps(lines), flush=True)
            lines.clear()


def receive(log: socket.socket) -> Line | None:
    credentials = struct.Struct('3i')  # struct ucred: pid, uid, gid
    try:
        data, extra, _, _ = log.recvmsg(
            65536, socket.CMSG_SPACE(credentials.size), socket.MSG_DONTWAIT
        )
    except BlockingIOError:
        return None
    pid, uid, _ = credentials.unpack(extra[0][2][: credentials.size])
    found = re.match(rb'<(\d{1,3})>', data)
    priority = int(found[1]) if found else -1
    text = data[found.end() if found else 0 :].decode('utf-8', 'surrogateescape')
    return Line(uid, pid, priority, text)


if __name__ == '__main__':
    collect(socket.socket(fileno=int(sys.argv[1])))
