# SPDX-License-Identifier: ISC
"""Machines, sound and broken, as the files that Linux shows of them.

The lines of logs and files are such as the kernel and its drivers write.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

Files = Mapping[str, str | bytes]


class Sample(NamedTuple):
    """A machine with one fault, the job that finds it, and what that promises."""

    job: str
    promise: str
    files: Files
    says: str


GUEST = {
    '/proc/cpuinfo': 'flags\t\t: fpu hypervisor\n',
    '/sys/class/dmi/id/sys_vendor': 'QEMU\n',
}
REAL = {
    '/proc/cpuinfo': 'flags\t\t: fpu vmx\n',
    '/sys/class/dmi/id/sys_vendor': 'Supermicro\n',
}

PCI = '/sys/bus/pci/devices/0000:01:00.0'
MC = '/sys/devices/system/edac/mc/mc0'
FREQUENCY = '/sys/devices/system/cpu/cpufreq/policy0'
ETH = '/sys/class/net/eth0'
RAID = '/sys/block/md0/md'
EFI = '/sys/firmware/efi/efivars'
GLOBAL = '8be4df61-93ca-11d2-aa0d-00e098032b8c'
MOUNTED = '26 1 8:1 / / {0},relatime - ext4 /dev/sda1 {0}\n'
LOG = '6,0,0,-;Linux version 6.12\n{}\n SUBSYSTEM=pci\n6,9,9,-;end\n'


def log(line: str, level: int = 3) -> Files:
    return {'/dev/kmsg': LOG.format(f'{level},5,1,-;{line}')}


def config(status: int = 0x10, express: int = 0) -> bytes:
    """Configuration space of a PCI Express device, its capability at 0x40."""
    space = bytearray(256)
    space[0:2] = b'\x86\x80'
    space[6:8] = status.to_bytes(2, 'little')
    space[0x34] = 0x40
    space[0x40] = 0x10
    space[0x4A:0x4C] = express.to_bytes(2, 'little')
    return bytes(space)


def smbios(entry_sum: int = 0, end: bytes = b'\x7f\x04\0\0\0\0') -> Files:
    entry = bytearray(b'_SM3_\0\x18\x03'.ljust(24, b'\0'))
    entry[5] = (entry_sum - sum(entry)) % 256
    system = b'\x01\x08\x01\0\x01\0\0\0Maker\0\0'
    ids = {
        'sys_vendor': 'Maker',
        'product_name': 'Box',
        'bios_vendor': 'AMI',
        'bios_version': '1.2',
        'bios_date': '01/02/2025',
        'product_serial': 'To be filled by O.E.M.',
    }
    return {
        '/sys/firmware/dmi/tables/smbios_entry_point': bytes(entry),
        '/sys/firmware/dmi/tables/DMI': system + end,
    } | {f'/sys/class/dmi/id/{name}': value for name, value in ids.items()}


def sysctl(name: str, value: int) -> Files:
    return {f'/proc/sys/{name.replace(".", "/")}': f'{value}\n'}


def variable(name: str, data: bytes) -> Files:
    return {f'{EFI}/{name}-{GLOBAL}': b'\x07\0\0\0' + data}


BOOT_OPTION = (
    struct.pack('<IH', 1, 4) + 'debian\0'.encode('utf-16-le') + b'\x7f\xff\4\0'
)
BOOT = {**variable('BootCurrent', b'\1\0'), **variable('Boot0001', BOOT_OPTION)}

BROKEN = [
    Sample(
        'storage/io-errors',
        'Fails if the kernel reported failed reads or writes',
        log('critical medium error, dev sda, sector 123 op 0x0:(READ)'),
        '1 time, last: critical medium error, dev sda',
    ),
    Sample(
        'storage/io-errors',
        'failed commands or resets of a link',
        log('ata1.00: failed command: READ FPDMA QUEUED'),
        'failed ATA command',
    ),
    Sample(
        'storage/filesystem-log',
        'Fails if the kernel reported a damaged filesystem',
        log('EXT4-fs error (device sda1): ext4_lookup:1855: inode #2'),
        'ext error',
    ),
    Sample(
        'storage/filesystem-log',
        'or made one read-only',
        log('EXT4-fs (sda1): Remounting filesystem read-only', 2),
        'made read-only',
    ),
    Sample(
        'storage/filesystem-errors',
        'a mounted ext filesystem has errors in its superblock',
        {
            '/sys/fs/ext4/sda1/errors_count': '2\n',
            '/sys/fs/ext4/sda1/last_error_func': 'ext4_lookup\n',
            '/sys/fs/ext4/sda1/last_error_time': '1700000000\n',
        },
        '2 errors, last 2023-11-14 in ext4_lookup',
    ),
    Sample(
        'storage/filesystem-errors',
        'or a disk of a Btrfs volume has counted any',
        {
            '/sys/fs/btrfs/1234-5678/devinfo/1/error_stats': (
                'write_errs 0\nread_errs 3\ncorruption_errs 0\n'
            )
        },
        'read_errs 3',
    ),
    Sample(
        'storage/filesystems',
        'or if one that /etc/fstab mounts read-write is read-only',
        {
            '/proc/self/mountinfo': MOUNTED.format('ro'),
            '/etc/fstab': '/dev/sda1 / ext4 errors=remount-ro 0 1\n',
        },
        'ext4, became read-only',
    ),
    Sample(
        'storage/filesystems',
        'if one gave up after an error',
        {'/proc/self/mountinfo': MOUNTED.format('rw,emergency_ro')},
        'ext4, gave up after an error',
    ),
    Sample(
        'storage/raid',
        'Fails if an array lacks a disk',
        {f'{RAID}/level': 'raid1', f'{RAID}/degraded': '1\n'},
        '1 disk missing',
    ),
    Sample(
        'storage/raid',
        'or one of its disks is faulty',
        {f'{RAID}/level': 'raid1', f'{RAID}/dev-sda1/state': 'faulty,write_error\n'},
        'faulty, write_error',
    ),
    Sample(
        'memory/errors',
        'Fails if a memory controller counted an uncorrected error',
        {
            f'{MC}/ce_count': '0',
            f'{MC}/ue_count': '1',
            f'{MC}/dimm0/dimm_ce_count': '0',
            f'{MC}/dimm0/dimm_ue_count': '1',
            f'{MC}/dimm0/dimm_label': 'DIMM_A1\n',
        },
        'mc0 dimm0 DIMM_A1  0 corrected, 1 uncorrected',
    ),
    Sample(
        'memory/errors',
        'or ten corrected ones',
        {f'{MC}/ce_count': '10', f'{MC}/ue_count': '0'},
        '10 corrected, 0 uncorrected',
    ),
    Sample(
        'memory/errors',
        'or if the kernel took pages out of use',
        {'/proc/meminfo': 'HardwareCorrupted:     8 kB\n'},
        '2 pages',
    ),
    Sample(
        'memory/log-errors',
        'Fails if the kernel reported errors of memory modules',
        log('EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0'),
        'uncorrected error',
    ),
    Sample(
        'memory/oom-kills',
        'Fails if the kernel ended a process since boot because memory ran out',
        {'/proc/vmstat': 'pgfault 1\noom_kill 3\n'},
        'ended processes  3',
    ),
    Sample(
        'memory/swap',
        'Fails if a swap area is used to 90 % or more',
        {
            '/proc/swaps': (
                'Filename Type Size Used Priority\n/swap\\040file file 1000 950 -2\n'
            )
        },
        'file, 95 % of 1000.0 KiB used',
    ),
    Sample(
        'cpu/vulnerabilities',
        'Fails if the kernel says of a known fault that this machine is vulnerable',
        {'/sys/devices/system/cpu/vulnerabilities/mds': 'Vulnerable; SMT vulnerable\n'},
        'mds  Vulnerable; SMT vulnerable',
    ),
    Sample(
        'cpu/microcode',
        'Fails if the processors have different revisions',
        {'/proc/cpuinfo': 'microcode : 0x2b\n\nmicrocode : 0x2b\n\nmicrocode : 0x20\n'},
        '0x20  1 processor',
    ),
    Sample(
        'cpu/frequency',
        'Fails if the firmware holds a processor below its highest frequency',
        {
            f'{FREQUENCY}/scaling_cur_freq': '800000',
            f'{FREQUENCY}/cpuinfo_max_freq': '3000000',
            f'{FREQUENCY}/bios_limit': '800000',
            f'{FREQUENCY}/affected_cpus': '0 1',
        },
        'firmware allows 800 MHz',
    ),
    Sample(
        'cpu/machine-checks',
        'Fails if the processor reported errors of itself',
        log('mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 5: be0000000', 0),
        'hardware error',
    ),
    Sample(
        'cpu/machine-checks',
        'or was throttled by heat',
        log('CPU2: Core temperature is above threshold, cpu clock is throttled', 2),
        'throttled by heat',
    ),
    Sample(
        'kernel/log-errors',
        'Fails on crashes',
        log('BUG: unable to handle page fault for address: ffffa', 1),
        'kernel bug',
    ),
    Sample(
        'kernel/log-errors',
        'hanging tasks',
        log('INFO: task jbd2/sda1-8:300 blocked for more than 120 seconds.'),
        'task hangs',
    ),
    Sample(
        'kernel/log-errors',
        'every message that is critical or worse',
        log('something new went wrong', 2),
        'critical message  something new went wrong',
    ),
    Sample(
        'kernel/crash-records',
        'Fails if a crashing kernel left a record',
        {'/sys/fs/pstore/dmesg-efi-170000000001001': 'Panic#1 Part1\n'},
        '/sys/fs/pstore/dmesg-efi-170000000001001  14 B',
    ),
    Sample(
        'kernel/hardened-settings',
        'Fails if addresses are not random',
        sysctl('kernel.randomize_va_space', 0),
        '0, should be at least 2',
    ),
    Sample(
        'kernel/hardened-settings',
        'links in /tmp are not protected',
        sysctl('fs.protected_symlinks', 0),
        'fs.protected_symlinks',
    ),
    Sample(
        'kernel/hardware-random',
        'fails if two of them do not look random',
        {'/dev/hwrng': bytes(12500)},
        '0 of 20000 bits are ones',
    ),
    Sample(
        'kernel/taint',
        'Fails if the kernel crashed in part',
        sysctl('kernel.tainted', 1 << 7),
        'D: the kernel crashed in part',
    ),
    Sample(
        'kernel/module-signatures',
        'Fails if a module without a signature was loaded',
        {'/sys/module/x/initstate': 'live\n', '/sys/module/x/taint': 'OE\n'},
        'from outside the kernel, not signed',
    ),
    Sample(
        'firmware/dmi-data',
        'Fails if the tables are damaged',
        smbios(entry_sum=1),
        'entry point      wrong checksum',
    ),
    Sample(
        'firmware/dmi-data',
        'Fails if the tables are damaged',
        smbios(end=b''),
        'damaged after 1 structures',
    ),
    Sample(
        'firmware/dmi-data',
        'if the firmware does not name maker, product and its own version',
        {**smbios(), '/sys/class/dmi/id/product_name': 'System Product Name\n'},
        'not filled in: "System Product Name"',
    ),
    Sample(
        'firmware/missing-files',
        'Fails if a driver did not find the firmware for its device',
        log('r8169 0000:02:00.0: Direct firmware load for rtl_nic/x.fw failed with -2'),
        'rtl_nic/x.fw',
    ),
    Sample(
        'firmware/efi-boot',
        'Fails if the boot order names an entry that does not exist',
        {**BOOT, **variable('BootOrder', b'\1\0\2\0')},
        'Boot0002  stands in the boot order but does not exist',
    ),
    Sample(
        'pci/status',
        'Fails if a device does not answer',
        {f'{PCI}/config': b'\xff' * 256},
        'it fell off the bus',
    ),
    Sample(
        'pci/status',
        'or reports a parity, system or fatal error',
        {f'{PCI}/config': config(status=0xC010)},
        'parity error, system error',
    ),
    Sample(
        'pci/status',
        'or reports a parity, system or fatal error',
        {f'{PCI}/config': config(express=0b0110)},
        'fatal error, uncorrected error, not fatal',
    ),
    Sample(
        'pci/aer',
        'Fails if the kernel counted an uncorrected error of a device',
        {f'{PCI}/aer_dev_fatal': 'DLP 2\nTLP 0\nTOTAL_ERR_FATAL 2\n'},
        '2 fatal (DLP 2)',
    ),
    Sample(
        'pci/aer',
        'or a hundred corrected ones',
        {
            f'{PCI}/aer_dev_fatal': 'DLP 0\n',
            f'{PCI}/aer_dev_correctable': 'RxErr 60\nBadTLP 40\nTOTAL_ERR_COR 100\n',
        },
        '100 correctable (RxErr 60, BadTLP 40)',
    ),
    Sample(
        'thermal/temperatures',
        'Fails if a temperature is at its critical limit',
        {
            '/sys/class/thermal/thermal_zone0/type': 'x86_pkg_temp',
            '/sys/class/thermal/thermal_zone0/temp': '101000',
            '/sys/class/thermal/thermal_zone0/trip_point_0_type': 'critical',
            '/sys/class/thermal/thermal_zone0/trip_point_0_temp': '100000',
        },
        '101.0 C, critical at 100.0 C',
    ),
    Sample(
        'thermal/temperatures',
        'or a critical alarm is on',
        {
            '/sys/class/hwmon/hwmon0/name': 'coretemp',
            '/sys/class/hwmon/hwmon0/temp1_label': 'Core 0',
            '/sys/class/hwmon/hwmon0/temp1_input': '60000',
            '/sys/class/hwmon/hwmon0/temp1_crit_alarm': '1',
        },
        'hwmon0 coretemp Core 0  crit alarm is on',
    ),
    Sample(
        'network/links',
        'Fails if a link has half duplex',
        {
            f'{ETH}/device/vendor': '',
            f'{ETH}/flags': '0x1003',
            f'{ETH}/carrier': '1',
            f'{ETH}/speed': '100',
            f'{ETH}/duplex': 'half',
        },
        'link, 100 Mb/s, duplex half',
    ),
    Sample(
        'network/links',
        'or if devices are switched on and not one of them has a link',
        {f'{ETH}/device/vendor': '', f'{ETH}/flags': '0x1003', f'{ETH}/carrier': '0'},
        'not one network device has a link',
    ),
    Sample(
        'network/statistics',
        'Fails if ten packets, and more than one in 10,000, were damaged',
        {
            f'{ETH}/device/vendor': '',
            f'{ETH}/statistics/rx_packets': '99999',
            f'{ETH}/statistics/rx_crc_errors': '10',
        },
        '99999 packets, rx_crc_errors 10',
    ),
    Sample(
        'network/log-errors',
        'Fails if a device stopped sending',
        log('NETDEV WATCHDOG: eth0 (r8169): transmit queue 0 timed out', 4),
        'transmission stuck',
    ),
]


SOUND: list[tuple[str, Files, str]] = [
    # Empty drives report errors that mean nothing.
    ('storage/io-errors', log('I/O error, dev fd0, sector 0'), 'messages read'),
    ('storage/io-errors', log('sd 0:0:0:0: [sda] Attached'), 'messages read'),
    ('storage/io-errors', log('nvme nvme0: Shutdown timeout set to 8 seconds'), ''),
    ('cpu/machine-checks', log('mce: CPU0: Thermal monitoring enabled (TM1)'), ''),
    # Programs may write into the log: that is not the kernel speaking.
    ('kernel/log-errors', log('Oops: not the kernel', 27), 'messages read  2'),
    ('kernel/log-errors', log('ACPI BIOS Error (bug): x'), 'note  error message'),
    (
        'firmware/missing-files',
        log('Direct firmware load for regulatory.db failed'),
        '',
    ),
    (
        'storage/filesystems',
        {'/proc/self/mountinfo': MOUNTED.format('ro')},
        'read-only',
    ),
    ('storage/filesystem-errors', {'/sys/fs/ext4/a/errors_count': '0'}, 'no errors'),
    ('storage/raid', {f'{RAID}/level': 'raid1', f'{RAID}/degraded': '0'}, 'raid1'),
    ('memory/errors', {f'{MC}/ce_count': '1', f'{MC}/ue_count': '0'}, 'note  mc0'),
    ('kernel/taint', sysctl('kernel.tainted', 1 << 12), 'O: a module from outside'),
    ('kernel/hardened-settings', sysctl('kernel.kptr_restrict', 0), 'note'),
    ('kernel/crash-records', {'/sys/fs/pstore/console-ramoops-0': ''}, 'note'),
    ('firmware/dmi-data', smbios(), 'note  product_serial'),
    ('firmware/efi-boot', {**BOOT, **variable('BootOrder', b'\1\0')}, 'debian, booted'),
    ('pci/status', {f'{PCI}/config': config(express=1)}, 'note  0000:01:00.0'),
    ('pci/status', {f'{PCI}/config': config()}, '1 device without an error'),
    ('pci/aer', {f'{PCI}/aer_dev_fatal': 'DLP 0\n'}, '1 device without an error'),
    (
        'network/links',
        {f'{ETH}/device/x': '', f'{ETH}/flags': '0x1002'},
        'switched off',
    ),
    ('network/statistics', {f'{ETH}/device/x': '', f'{ETH}/statistics/a': ''}, 'ok'),
]
