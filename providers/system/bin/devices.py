# SPDX-License-Identifier: ISC
"""The devices of a machine, as root and everybody else see them alike.

Names and sizes only, from files that all may read: the jobs made from this list
must be the same whoever makes it.
"""

import re
from typing import NamedTuple

from machine import exists, names, number, read

# A name becomes part of a job's id and command: nothing else may be in it.
SAFE_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.:-]*')

# Whole disks by the first letters of their name; partitions, loop, ram, optical
# and device-mapper devices are not hardware that could be tested.
BUSES = (
    (re.compile(r'nvme[0-9]+n[0-9]+'), 'nvme'),
    (re.compile(r'sd[a-z]+'), 'scsi'),
    (re.compile(r'vd[a-z]+'), 'virtio'),
    (re.compile(r'xvd[a-z]+'), 'xen'),
    (re.compile(r'mmcblk[0-9]+'), 'mmc'),
    (re.compile(r'dasd[a-z]+'), 'ccw'),
    (re.compile(r'pmem[0-9]+'), 'memory'),
)

# category, directory, how the names in it start
CLASSES = (
    ('TPM', '/sys/class/tpm', 'tpm'),
    ('SENSOR', '/sys/class/thermal', 'thermal_zone'),
    ('SENSOR', '/sys/class/hwmon', 'hwmon'),
    ('CPUFREQ', '/sys/devices/system/cpu/cpufreq', 'policy'),
    ('RAID', '/sys/block', 'md'),
    ('IPMI', '/dev', 'ipmi'),
    ('DMI', '/sys/class/dmi', 'id'),
    ('MEMORY', '/dev', 'zero'),
)


class Device(NamedTuple):
    category: str
    name: str
    bus: str


def devices() -> list[Device]:
    found = disks() + network() + pci() + random_generators()
    for category, directory, prefix in CLASSES:
        found += [Device(category, name, 'none') for name in names(directory, prefix)]
    return [device for device in found if SAFE_NAME.fullmatch(device.name)]


def disks() -> list[Device]:
    """Disks with a medium and a device node."""
    return [
        Device('DISK', name, bus)
        for name in names('/sys/block')
        for pattern, bus in BUSES
        if pattern.fullmatch(name) and is_usable(name)
    ]


def is_usable(disk: str) -> bool:
    # hidden: one path of a multipath NVMe disk, which has no device node
    hidden = number(f'/sys/block/{disk}/hidden')
    return (
        bool(number(f'/sys/block/{disk}/size'))
        and not hidden
        and exists(f'/dev/{disk}')
    )


def network() -> list[Device]:
    return [
        Device('NET', name, 'none')
        for name in names('/sys/class/net')
        if exists(f'/sys/class/net/{name}/device')
    ]


def pci() -> list[Device]:
    found = names('/sys/bus/pci/devices')
    counting = [n for n in found if exists(f'/sys/bus/pci/devices/{n}/aer_dev_fatal')]
    return [Device('PCI', name, 'pci') for name in found] + [
        Device('AER', name, 'pci') for name in counting
    ]


def random_generators() -> list[Device]:
    name = read('/sys/class/misc/hw_random/rng_current')
    return [] if name in ('', 'none') else [Device('HWRNG', 'hwrng', 'none')]
