# SPDX-License-Identifier: ISC
"""What the checks of this provider share: reading a machine, and the verdict.

A check started with `--root DIR` reads DIR/proc, DIR/sys, DIR/dev and so on: the
records of another machine, or of one with faults that was made for a test.

The programs here start with `python3 -BES`: no byte code is written beside them,
no PYTHON* variable counts, no site-packages; only their own directory is added.
"""

import errno
import os
import re
import sys
from typing import NamedTuple, NoReturn

OK, NOTE, FAIL = 'ok', 'note', 'FAIL'

# The initial PID namespace has this number on every kernel since 3.8
# (PROC_PID_INIT_INO in include/linux/proc_ns.h); any other is a container's.
FIRST_PID_NAMESPACE = 'pid:[4026531836]'

# What hypervisors write into the DMI data of their guests.
HYPERVISORS = (
    ('qemu', 'qemu'),
    ('kvm', 'kvm'),
    ('google compute engine', 'kvm'),
    ('amazon ec2', 'amazon'),
    ('vmware', 'vmware'),
    ('virtualbox', 'oracle'),
    ('innotek', 'oracle'),
    ('virtual machine', 'microsoft'),
    ('parallels', 'parallels'),
    ('bochs', 'bochs'),
    ('xen', 'xen'),
)


class Finding(NamedTuple):
    verdict: str
    subject: str
    fact: str


def _command_line(words: list[str]) -> tuple[str, list[str]]:
    if words[:1] == ['--root'] and len(words) > 1:
        return words[1].rstrip('/'), words[2:]
    return '', words


ROOT, ARGUMENTS = _command_line(sys.argv[1:])


def usage(line: str) -> NoReturn:
    name = os.path.basename(sys.argv[0])
    print(f'usage: {name} [--root DIR] {line}'.rstrip(), file=sys.stderr)
    raise SystemExit(2)


def where(path: str) -> str:
    return ROOT + path


def exists(path: str) -> bool:
    return os.path.exists(where(path))


def read_bytes(path: str) -> bytes | None:
    """Content of a file of the machine, None where it cannot be had."""
    try:
        with open(where(path), 'rb') as file:
            return file.read()
    except OSError:
        return None


def read(path: str) -> str:
    """Stripped text of a file of the machine, empty where it cannot be had."""
    return (read_bytes(path) or b'').decode(errors='replace').strip()


def number(path: str, base: int = 10) -> int | None:
    try:
        return int(read(path), base)
    except ValueError:
        return None


def names(path: str, prefix: str = '') -> list[str]:
    """Entries of a directory in the order people count (cpu2 before cpu10)."""
    try:
        found = os.listdir(where(path))
    except OSError:
        return []
    return sorted((n for n in found if n.startswith(prefix)), key=in_human_order)


def in_human_order(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r'[0-9]+|[^0-9]+', name)
    return [(int(p), '') if p.isdecimal() else (-1, p) for p in parts]


def kernel_log() -> list[tuple[int, str]] | None:
    """Level and text of each message of the kernel, None if the log is closed."""
    try:
        log = os.open(where('/dev/kmsg'), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        text = _drain(log).decode(errors='replace')
    finally:
        os.close(log)
    # Facility 0 is the kernel; the others were written to the log by programs.
    found = re.findall(r'^(\d+),[^;\n]*;(.*)$', text, re.MULTILINE)
    return [(int(mark), line) for mark, line in found if int(mark) < 8]


def _drain(log: int) -> bytes:
    """One read gives one message, EAGAIN says that there are no more."""
    parts = []
    while True:
        try:
            part = os.read(log, 8192)
        except BrokenPipeError:
            continue  # overwritten while being read: the next read gives the next
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    return b''.join(parts)


def virtualization() -> str:
    """Name of the hypervisor below this machine, none on real hardware."""
    processors = read('/proc/cpuinfo')
    flags = re.search(r'^flags\s*:(.*)$', processors, re.MULTILINE)
    if flags and 'hypervisor' not in flags[1].split():
        return 'none'
    maker = [
        read(f'/sys/class/dmi/id/{name}') for name in ('sys_vendor', 'product_name')
    ]
    labels = ' '.join([read('/sys/hypervisor/type'), *maker]).lower()
    known = [name for mark, name in HYPERVISORS if mark in labels]
    if known:
        return known[0]
    return 'other' if flags or exists('/proc/device-tree/hypervisor') else 'none'


def container() -> str:
    """Name of the container manager around this system, none outside of one."""
    try:
        # /.dockerenv alone proves nothing: virtual machines are made from images.
        if os.readlink(where('/proc/self/ns/pid')) == FIRST_PID_NAMESPACE:
            return 'none'
    except OSError:
        return 'none'
    named = read('/run/systemd/container') or read('/run/host/container-manager')
    if named:
        return named.split()[0]
    marks = {'/run/.containerenv': 'podman', '/.dockerenv': 'docker'}
    return next((name for mark, name in marks.items() if exists(mark)), 'other')


def is_out_of_reach(error: OSError) -> bool:
    """No medium, or a container to which the device was not given."""
    return error.errno in (errno.ENOMEDIUM, errno.ENOENT, errno.EPERM, errno.EACCES)


def printable(text: str) -> str:
    """Firmware and devices may say anything; a terminal must not obey it."""
    return ''.join(c if c.isprintable() else '?' for c in text)


def counted(amount: int, thing: str) -> str:
    return f'{amount} {thing}' if amount == 1 else f'{amount} {thing}s'


def size(amount: float) -> str:
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if amount < 1024:
            return f'{amount:.0f} {unit}' if unit == 'B' else f'{amount:.1f} {unit}'
        amount /= 1024
    return f'{amount:.1f} TiB'


def nothing(title: str, reason: str) -> int:
    print(printable(f'{title}: nothing to check, {reason}'))
    return 0


def report(title: str, findings: list[Finding], advice: str, none: str) -> int:
    """Say all that was looked at; the exit status is 1 if anything failed."""
    if not findings:
        return nothing(title, none)
    print(title)
    width = max(len(printable(f.subject)) for f in findings)
    for found in findings:
        subject = printable(found.subject).ljust(width)
        print(f'  {found.verdict:<4}  {subject}  {printable(found.fact)}'.rstrip())
    failed = sum(found.verdict == FAIL for found in findings)
    if failed:
        print(f'\n{failed} of {len(findings)} failed. What to do: {advice}')
    return 1 if failed else 0
