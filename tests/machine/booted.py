# SPDX-License-Identifier: ISC
"""The booted machine: a Debian with systemd, logind, polkit and a console.

systemd-nspawn boots it over a base that is only read: what it writes, it writes to
memory. It has no network but its own loopback. As a cell it cannot outlive us.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from machine.base import SUITES, base
from machine.cell import CLEAN, HANGS, cell
from machine.console import LOGIN, Closed, Console, terminal

TOOLS = ('debootstrap', 'nsenter', 'systemd-nspawn', 'unshare')

CHECKOUT = '/usr/src/plainbox-launcher'  # as seen in there, read-only
DEBS = '/usr/src/debs'
LAUNCHER = '/usr/bin/plainbox-trusted-launcher-1'
ACTION = 'org.freedesktop.policykit.pkexec.run-plainbox-job'
POLICY = f'/usr/share/polkit-1/actions/{ACTION}.policy'
RULE = 'contrib/polkit/rules.d/49-plainbox-launcher.rules'  # in the checkout
GROUP = 'plainbox'
UNATTENDED = 'plainbox-launcher-unattended'

# $1 is the base, $2 the name, the rest options. polkit calls local who has a seat. A
# real console gives one; a container's is a pseudo-terminal, so login is told of it.
BOOT = """
set -eu
cd /mnt
mkdir upper work root
mount -t overlay -o lowerdir="$1",upperdir=upper,workdir=work machine root
mkdir root/etc/systemd/system/console-getty.service.d
echo '[Service]
Environment=XDG_SEAT=seat0' >root/etc/systemd/system/console-getty.service.d/seat.conf
shift
status=133  # systemd-nspawn says so of a restart, and the shell 137 of what was killed
while [ $status = 133 ] || [ $status = 137 ]; do
    status=0
    systemd-nspawn --quiet --settings=no --directory=root --boot --machine="$@" \
        --register=no --keep-unit --notify-ready=yes --private-network \
        --resolv-conf=off --timezone=off --link-journal=no --console=interactive ||
        status=$?
done
exit $status
"""

# $0 is a machine's first process, with which the kernel ends all others at once; its
# parent is systemd-nspawn, which may not hear of it, or it would end in order.
CUT = """
parent=$(sed -n 's/^PPid:\\s*//p' /proc/$0/status)
kill -STOP $parent
kill -KILL $0
until grep -q '^State:\\sZ' /proc/$0/status; do sleep 0.01; done
kill -KILL $parent
"""


class NoMachine(Exception):
    """The kernel, or whoever keeps us in a container, does not let us boot one."""


def lacking() -> str | None:
    """Says what this machine lacks for another one."""
    if os.geteuid() != 0:
        return 'not root'
    missing = [tool for tool in TOOLS if shutil.which(tool, path=CLEAN['PATH']) is None]
    missing += [] if importlib.util.find_spec('pexpect') else ['python3-pexpect']
    return f'missing: {", ".join(missing)}' if missing else None


class Machine:
    """What tests may do with a machine."""

    def __init__(
        self,
        release: str,
        console: Console,
        cell: int,
        notices: socket.socket,
        *,
        packaged: bool,
    ) -> None:
        self.release = release
        self.console = console
        stty = ('stty', '--all', '--file=/dev/console')
        console.hides = lambda: ' -echo ' in self.check(*stty)
        self.cell = cell
        self.packaged = packaged
        self._notices = notices
        # Its first process has a number in the cell, the cell's has one here.
        holder = child(child(cell))
        self._cell = ['nsenter', f'--target={holder}', '--mount', '--pid']
        self._enter: list[str] = []
        self._first = 0
        self._find()

    # Its lives

    def arrive(self) -> None:
        """Waits until it has restarted, and somebody can log in again."""
        self._find()
        self.console.attend()

    def _find(self) -> None:
        self._first = first(self._notices)
        self._enter = [*self._cell, 'nsenter', f'--target={self._first}', '--all']

    def lose_power(self) -> None:
        """Ends it at once, all of it, and waits until it is up again.

        What it had written is there then, be it on the disk or not: its disk is memory.
        """
        command = ['sh', '-euc', CUT, str(self._first)]
        subprocess.run([*self._cell, *command], env=CLEAN, check=True, timeout=HANGS)
        self.arrive()

    # As root, in no session

    def run(
        self,
        *argv: str,
        input: str = '',  # noqa: A002 # as subprocess.run calls it
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in there to its end."""
        return subprocess.run(
            [*self._enter, *argv],
            input=input,
            capture_output=True,
            encoding='utf-8',
            errors='replace',
            env=CLEAN | {'HOME': '/root', 'DEBIAN_FRONTEND': 'noninteractive'},
            timeout=HANGS,
            check=False,
        )

    def check(self, *argv: str, input: str = '') -> str:  # noqa: A002
        """Runs what has to succeed."""
        done = self.run(*argv, input=input)
        assert done.returncode == 0, (argv, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def put(self, path: str, text: str | None) -> None:
        """Makes a file of root's, or takes one away."""
        if text is None:
            self.check('rm', '-f', path)
        else:
            self.check('install', '-m', '644', '/dev/stdin', path, input=text)

    # As somebody

    def ssh(
        self, user: str, command: str, *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a shell command over ssh, with a key and no terminal."""
        quiet = ['-q', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=accept-new']
        return self.run('ssh', *quiet, *options, f'{user}@127.0.0.1', command)

    def cron(self, user: str, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell command from cron, which says no more than its output."""
        work = self.check('mktemp', '--directory').strip()
        self.check('chmod', '777', work)
        self.check('mkfifo', '--mode=666', f'{work}/status')
        line = f'{command} >{work}/out 2>{work}/err; echo $? >{work}/status'
        self.put('/etc/cron.d/plainbox-test', f'@reboot {user} {line}\n')
        # cron does @reboot when it starts and has not noted that it did.
        self.check('rm', '/run/crond.reboot')
        self.restart('cron.service')
        status = int(self.check('cat', f'{work}/status'))
        self.put('/etc/cron.d/plainbox-test', None)
        out, err = (self.check('cat', f'{work}/{name}') for name in ('out', 'err'))
        return subprocess.CompletedProcess(command, status, out, err)

    # Looking at things

    def audit(self) -> list[dict[str, str]]:
        """Gives what the launcher logged up to now, with the journal's own fields."""
        self.check('journalctl', '--sync')
        # All of it: --after-cursor loses a line here on Debian 12.
        tag = f'--identifier={Path(LAUNCHER).name}'
        text = self.check('journalctl', '--quiet', '--output=json', tag)
        return [json.loads(line) for line in text.splitlines()]

    # Arranging things

    @contextlib.contextmanager
    def unattended(self, *members: str) -> Iterator[None]:
        """Installs the rule for the group, and puts somebody into it."""
        if self.packaged:
            self.check('sh', '-c', f'dpkg --install {DEBS}/{UNATTENDED}_*.deb')
        else:
            self.check('groupadd', '--system', GROUP)
            self.check(
                'install', '-m', '644', f'{CHECKOUT}/{RULE}', '/etc/polkit-1/rules.d'
            )
        for member in members:
            self.check('gpasswd', '--add', member, GROUP)
        self.new_polkitd()
        try:
            yield
        finally:
            if self.packaged:
                self.check('dpkg', '--purge', UNATTENDED)
            else:
                self.check('groupdel', GROUP)
                self.put(f'/etc/polkit-1/rules.d/{Path(RULE).name}', None)
            self.new_polkitd()

    @contextlib.contextmanager
    def policy(self, variant: str) -> Iterator[None]:
        """Installs another of the policies."""
        before = self.check('cat', POLICY)
        other = f'{CHECKOUT}/contrib/polkit/{variant}/{Path(POLICY).name}'
        self.put(POLICY, self.check('cat', other))
        self.new_polkitd()
        try:
            yield
        finally:
            self.put(POLICY, before)
            self.new_polkitd()

    def new_polkitd(self) -> None:
        """Starts polkitd anew: it reads its rules and forgets what it has kept."""
        self.restart('polkit.service')

    def restart(self, unit: str) -> None:
        # systemd counts how often it starts a unit, and has enough at five.
        self.run('systemctl', 'reset-failed', unit)
        self.check('systemctl', 'restart', unit)


def install(machine: Machine) -> None:
    """Installs the product: its packages, or else what they are made from."""
    if machine.packaged:
        packages = f'find {DEBS} -name "*.deb" ! -name "{UNATTENDED}_*"'
        machine.check('sh', '-c', f'dpkg --install $({packages})')
    else:
        machine.check(f'{CHECKOUT}/contrib/install')
    machine.new_polkitd()


@contextlib.contextmanager
def booted(release: str, checkout: Path, debs: Path | None = None) -> Iterator[Machine]:
    """Boots a machine of its own; waits until it has started all it wants to start."""
    binds = [f'--bind-ro={checkout}:{CHECKOUT}']
    binds += [f'--bind-ro={debs}:{DEBS}'] if debs else []
    with contextlib.ExitStack() as stack:
        system = stack.enter_context(base(release))
        ours, theirs = terminal()
        stack.callback(os.close, ours)
        notices = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notices.bind('')  # the kernel gives it a name
        notices.settimeout(HANGS)
        name = '@' + notices.getsockname()[1:].decode()
        # A dumb terminal gets no colours and cursor movements.
        env = {'NOTIFY_SOCKET': name, 'TERM': 'dumb'}
        command = ['bash', '-c', BOOT, 'boot', str(system), SUITES[release], *binds]
        try:
            process = stack.enter_context(cell(command, theirs, env))
        finally:
            os.close(theirs)
        console = Console(ours)
        try:
            console.wait(LOGIN)
        except Closed:
            raise NoMachine(console.seen.strip().rpartition('\n')[2]) from None
        yield Machine(release, console, process.pid, notices, packaged=bool(debs))


def first(notices: socket.socket) -> int:
    """Waits until a machine is up. Gives its first process, as the cell counts."""
    number = ''
    while True:
        text = notices.recv(4096).decode()
        if found := re.search('^X_NSPAWN_LEADER_PID=([0-9]+)$', text, re.M):
            number = found[1]
        if number and re.search('^READY=1$', text, re.M):
            return int(number)


def child(pid: int) -> int:
    return int(Path(f'/proc/{pid}/task/{pid}/children').read_text().split()[0])
