# SPDX-License-Identifier: ISC
"""The life of our packages on a machine that had none of them."""

from machine.booted import ACTION, DEBS, GROUP, Machine

ROOT_JOB = 'plainbox run smoke/root-account'

# What apt, dpkg and adduser keep for themselves, what changes by itself; and the ledger
# of whoever ran something, which is theirs.
KEPT = """
    /home/member/.local
    /dev /proc /root /run /sys /tmp
    /var/cache /var/lib/apt /var/lib/dpkg /var/lib/systemd /var/log /var/tmp
    /etc/.pwd.lock /etc/group- /etc/gshadow-
"""

# A file by its time, or where that tells nothing by its sum. A folder by its name: what
# is in it stands for itself.
FILES = f"""
find / {' '.join(f'-path {path} -prune -o' for path in KEPT.split())} \
    \\( -type d -o -path '/etc/*' \\) -printf '%p %M %u:%g %l\\n' -o \
    -printf '%p %M %u:%g %s %T@ %l\\n'
find /etc -type f ! -name '*-' -exec sha256sum {{}} +
"""

# The same packages with a greater version.
NEWER = f"""
set -eu
mkdir /tmp/newer
for deb in {DEBS}/*.deb; do
    version=$(dpkg-deb --field "$deb" Version)
    dpkg-deb --raw-extract "$deb" /tmp/newer/deb
    sed -i "s/$version/$version+newer/" /tmp/newer/deb/DEBIAN/control
    dpkg-deb --build /tmp/newer/deb "/tmp/newer/${{deb##*/}}"
    rm -r /tmp/newer/deb
done
"""


def apt(machine: Machine, verb: str, *what: str) -> None:
    """Runs apt in a shell, for its patterns."""
    machine.check('sh', '-c', f'apt-get --quiet --yes {verb} {" ".join(what)}')
    machine.new_polkitd()


def status(machine: Machine) -> int:
    return machine.ssh('member', ROOT_JOB).returncode


def test_install_upgrade_remove_purge(fresh: Machine) -> None:
    """Install, upgrade, remove, purge leave the machine as it was."""
    before = fresh.check('sh', '-c', FILES).splitlines()
    apt(fresh, 'install', f'{DEBS}/*.deb')
    fresh.check('gpasswd', '--add', 'member', GROUP)
    assert status(fresh) == 0

    fresh.check('sh', '-c', NEWER)
    apt(fresh, 'install', '/tmp/newer/*.deb')
    versions = fresh.check('dpkg-query', '--show', 'plainbox-*').splitlines()
    assert len(versions) == 4
    assert all(line.endswith('+newer') for line in versions)
    assert status(fresh) == 0

    apt(fresh, 'remove', 'plainbox-launcher-unattended')
    assert status(fresh) == 3
    apt(fresh, 'remove', "'plainbox-*'")
    assert fresh.run('pkaction', '--action-id', ACTION).returncode != 0
    apt(fresh, 'purge', "'plainbox-*'")
    after = fresh.check('sh', '-c', FILES).splitlines()
    assert len(after) > 1000
    assert not set(before) ^ set(after)
