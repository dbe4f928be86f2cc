# SPDX-License-Identifier: ISC
"""A cell: a process and all that comes of it, which cannot outlive us.

It has mounts, process numbers, /run and a control group of its own. Its first process
waits for the end of a pipe that only we hold. So when we end, however we end, the
kernel ends every process in the cell, and its mounts go with the last of them.
"""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence

CLEAN = {'LANG': 'C.UTF-8', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
HANGS = 60  # seconds; not a measure of anything, only so that no test waits for ever

# systemd-nspawn makes a root of its own, which the kernel allows to nobody in a chroot,
# so where / is such a one it becomes a real root first: entering one's own mount
# namespace is the way out. What stays behind in the control group is only folders.
OUTSIDE = """
set -eu
top='nsenter --mount=/proc/self/ns/mnt'
$top mount --make-rprivate /
mount --rbind / /mnt
exec 9</mnt
exec $top bash -euc '
    cd /proc/self/fd/9
    pivot_root . mnt
    exec 9<&-
    umount --lazy /mnt
    cd /
    ! mountpoint -q /sys || umount --lazy --recursive /sys
    mount -t sysfs sysfs /sys
    mount -t cgroup2 cgroup /sys/fs/cgroup
    mount -t tmpfs -o mode=755 cell /run
    mount -t tmpfs -o mode=755 cell /mnt
    group=/sys/fs/cgroup/plainbox-cell-$$
    mkdir $group
    trap "find $group -depth -type d -exec rmdir {} +" EXIT
    unshare --pid --fork --kill-child --mount-proc bash -euc "$0" $group "$@"
' "$0" "$@"
"""

# Whichever ends first ends the other: what is to run, or our end of the pipe.
INSIDE = """
echo 0 >$0/cgroup.procs
exec 3<&0
"$@" <&1 3<&- &
cat <&3 >/dev/null 2>&1 &
exec >/dev/null 2>&1 </dev/null
wait -n
"""


@contextlib.contextmanager
def cell(
    argv: Sequence[str], output: int, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command in a cell; `output`, if a terminal, is its input as well."""
    unshare = ['unshare', '--mount', '--propagation=unchanged']  # OUTSIDE changes it
    process = subprocess.Popen(
        [*unshare, 'bash', '-c', OUTSIDE, INSIDE, *argv],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env=CLEAN | dict(env or {}),
        start_new_session=True,
    )
    assert process.stdin
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(HANGS)
