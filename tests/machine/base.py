# SPDX-License-Identifier: ISC
"""The systems that machines are made of: Debian, by debootstrap, made once and kept.

They lie in $PLAINBOX_MACHINE_CACHE, or else in $XDG_CACHE_HOME/plainbox-machine or
/var/cache/plainbox-machine, and may be removed at any time when no test runs.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from machine.cell import cell

SUITES = {'12': 'bookworm', '13': 'trixie'}
MIRROR = 'http://deb.debian.org/debian/'

# What a Debian is that people log in to, and what our packages depend on: the machine
# itself has no network.
PACKAGES = (
    'systemd-sysv',
    'dbus',
    'dbus-user-session',
    'libpam-systemd',
    'polkitd',
    'pkexec',
    'openssh-server',
    'openssh-client',
    'cron',
    'sudo',
    'adduser',
    'python3',
    'python3-dbus-next',
    'python3-rich',
    'python3-xdg',
    # For tests alone.
    'strace',
    'x11-utils',
    'xvfb',
)

PASSWORDS = {
    'admin': 'of the admin',  # in the group sudo
    'tester': 'of the tester',  # like the two below an ordinary user
    'member': 'of the member',  # will be put into the group plainbox
    'stranger': 'of the stranger',
    'root': 'of root',
}

# $1 is the mirror, $2 the release, $3 the folder, $4 packages, $5 users:passwords.
#
# Nobody minds if a machine of tests loses its files, so dpkg need not sync them.
# Root logs in as everybody over ssh, by a key.
RECIPE = """
set -eu
export DEBIAN_FRONTEND=noninteractive
debootstrap --variant=minbase --include="$4" "$2" "$3" "$1"
echo "$2" > "$3"/etc/hostname
echo force-unsafe-io > "$3"/etc/dpkg/dpkg.cfg.d/unsafe-io
chroot "$3" sh -euc '
    rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
    ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519
    echo "$0" | while IFS=: read -r user password; do
        id "$user" >/dev/null 2>&1 || useradd -m -s /bin/bash "$user"
        echo "$user:$password" | chpasswd
        home=$(getent passwd "$user" | cut -d : -f 6)
        install -d -o "$user" -g "$user" -m 700 "$home/.ssh"
        install -o "$user" -g "$user" -m 600 /root/.ssh/id_ed25519.pub \
            "$home/.ssh/authorized_keys"
    done
    usermod --append --groups sudo admin
    systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
' "$5"
"""


class NoBase(Exception):
    """A base cannot be made here; the argument says why."""


def cache() -> Path:
    if named := os.environ.get('PLAINBOX_MACHINE_CACHE'):
        return Path(named)
    above = os.environ.get('XDG_CACHE_HOME') or '/var/cache'
    return Path(above) / 'plainbox-machine'


@contextlib.contextmanager
def base(release: str) -> Iterator[Path]:
    """Gives the folder of a release, which stays there as long as it is used."""
    suite = SUITES[release]
    users = ''.join(f'{user}:{word}\n' for user, word in PASSWORDS.items())
    made_of = [mirror(), suite, ','.join(PACKAGES), users.rstrip('\n')]
    key = hashlib.sha256('\0'.join([RECIPE, *made_of]).encode()).hexdigest()[:12]
    folder = cache() / f'{suite}-{key}'
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f'{suite}.lock', 'w') as lock:
        if not folder.is_dir():
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():  # nobody else made it meanwhile
            for old in folder.parent.glob(f'{suite}-*'):
                shutil.rmtree(old)
            make(folder, made_of)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder


def make(folder: Path, made_of: list[str]) -> None:
    new = folder.with_suffix('.new')
    mirror, suite, packages, users = made_of
    log = folder.parent / f'{suite}.log'
    command = ['bash', '-c', RECIPE, 'recipe', mirror, suite, str(new), packages, users]
    with open(log, 'wb') as output, cell(command, output.fileno()) as process:
        status = process.wait()
    if status:
        lines = log.read_text(errors='replace').strip().splitlines() or ['']
        raise NoBase(f'debootstrap of {suite}: {lines[-1]} (see {log})')
    new.rename(folder)


def mirror() -> str:
    """Gives the mirror of this machine, if it is a Debian."""
    query = ['apt-get', 'indextargets', '--format', '$(REPO_URI)']
    query += ['Created-By: Packages', 'Origin: Debian', 'Component: main']
    with contextlib.suppress(OSError):
        found = subprocess.run(query, capture_output=True, text=True, check=False)
        for line in found.stdout.splitlines():
            if line.startswith('http') and 'security' not in line:
                return line
    return MIRROR
