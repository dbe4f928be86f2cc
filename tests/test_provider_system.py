# SPDX-License-Identifier: ISC
"""The system provider: its units, and its checks on machines sound and broken.

A machine here is a directory with the files that Linux shows of a real one; the
checks read it through `--root`. Each sample quotes what the unit promises.
"""

import os
import pty
import shutil
import stat
import struct
import subprocess
import tempfile
import threading
import tty
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from machines import BROKEN, GUEST, REAL, SOUND, Files, Sample, smbios

from plainbox_launcher import catalogue, plan, testplan
from plainbox_launcher.plan import Selection
from plainbox_launcher.trusted import expression, rfc822

PROVIDER = Path(__file__).parent.parent / 'providers' / 'system'
SYSTEM = '/usr/sbin:/usr/bin:/sbin:/bin'
NOBODY = 65534
MIB = 1 << 20

ROOT = pytest.mark.skipif(os.getuid() != 0, reason='needs root')


class Outcome(NamedTuple):
    status: int
    text: str
    errors: str


class Machine:
    """A directory of files that a check takes for a machine."""

    def __init__(self, top: Path) -> None:
        self.root = top / 'root'
        self.tools = top / 'tools'
        self.root.mkdir()
        self.tools.mkdir()

    def has(self, files: Files) -> None:
        for name, content in files.items():
            path = self.root / name.lstrip('/')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )

    def has_tool(self, name: str, output: str, status: int = 0) -> None:
        """A foreign program, which gives an answer that was recorded."""
        answer = self.tools / f'{name}.txt'
        answer.write_text(output)
        tool = self.tools / name
        tool.write_text(f'#!/bin/sh\ncat {answer}\nexit {status}\n')
        tool.chmod(0o755)

    def check(self, command: str, text: str = '') -> Outcome:
        program, *words = command.split()
        ended = subprocess.run(
            [PROVIDER / 'bin' / program, '--root', self.root, *words],
            input=text,
            env={'PATH': f'{self.tools}:{SYSTEM}', 'LANG': 'C.UTF-8'},
            capture_output=True,
            text=True,
            check=False,
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def read_units() -> dict[str, Mapping[str, str]]:
    files = sorted((PROVIDER / 'units').glob('*.pxu'))
    records = [r for f in files for r in rfc822.parse(f.read_bytes(), str(f))]
    return {r.fields['id']: r.fields for r in records if 'unit' not in r.fields}


UNITS = read_units()
LOCAL = [id_ for id_, unit in UNITS.items() if unit['plugin'] == 'local']
SHELL = {id_: unit for id_, unit in UNITS.items() if unit['plugin'] == 'shell'}


def generated(local: str) -> Mapping[str, str]:
    """The record in a local job's here-document."""
    lines = UNITS[local]['command'].splitlines()
    text = '\n'.join(lines[1:-1]).encode()
    return rfc822.parse(text, local)[0].fields


JOBS = SHELL | {f'{id_}[]': generated(id_) for id_ in LOCAL}


def promises(job: str) -> str:
    unit = JOBS[job]
    return ' '.join(f'{unit["_summary"]} {unit.get("_description", "")}'.split())


# --- units


def test_there_are_24_jobs_and_half_of_them_are_roots() -> None:
    real = {id_: unit for id_, unit in JOBS.items() if not id_.startswith('smoke/')}
    assert len(real) >= 24
    assert sum('user' in unit for unit in real.values()) * 2 >= len(real)


def test_smoke_has_ten_jobs_four_of_roots_one_of_these_generated() -> None:
    smoke = {id_: unit for id_, unit in JOBS.items() if id_.startswith('smoke/')}
    assert len(smoke) >= 10
    assert sum(unit.get('user') == 'root' for unit in smoke.values()) >= 4
    assert any(id_.endswith('[]') and 'user' in unit for id_, unit in smoke.items())
    assert not any('requires' in unit for unit in smoke.values())


@pytest.mark.parametrize('id_', [*UNITS, *(j for j in JOBS if j.endswith('[]'))])
def test_each_job_says_what_it_is_and_what_it_needs(id_: str) -> None:
    unit = JOBS.get(id_) or UNITS[id_]
    assert unit['_summary']
    assert int(unit['estimated_duration']) > 0
    assert unit.get('user', 'root') == 'root'
    program = PROVIDER / 'bin' / unit['command'].split()[0]
    assert program.stat().st_mode & 0o111
    for line in unit.get('requires', '').splitlines():
        names = expression.resources(expression.parse(line))
        assert all(UNITS[name]['plugin'] == 'resource' for name in names), line


def test_the_plans_list_all_there_is() -> None:
    """`system` lists all checks and, at its end, the plan `smoke`."""
    found = catalogue.read([str(PROVIDER / 'system.provider')])
    plans = testplan.read(found, [])
    jobs = [job for job in found.jobs if job.unit.provider in found.own.providers]
    smoke, system = (
        [job.short_id for job in plan.select(jobs, Selection(plans=(id_,)), plans)]
        for id_ in ('smoke', 'system')
    )
    assert all(id_.startswith('smoke/') for id_ in smoke)
    assert system[-len(smoke) :] == smoke
    resources = {id_ for id_, unit in UNITS.items() if unit['plugin'] == 'resource'}
    assert {*system} == UNITS.keys() - resources
    assert plan.unmatched(jobs, Selection(plans=('system',)), plans) == []


@pytest.mark.parametrize('id_', LOCAL)
def test_a_local_job_has_no_user_and_makes_root_jobs(id_: str) -> None:
    assert 'user' not in UNITS[id_]
    assert generated(id_)['user'] == 'root'


def test_no_other_python_reaches_the_programs() -> None:
    for program in (PROVIDER / 'bin').iterdir():
        if program.suffix == '.py' or not program.is_file():
            continue
        assert program.read_text().startswith('#!/usr/bin/python3 -BES\n'), program


# --- resources and generators


def run_as(user: int, command: str) -> bytes:
    """A local job's command as the format has it, in an empty directory."""
    with tempfile.TemporaryDirectory() as top:
        copy = Path(top) / 'system'
        shutil.copytree(PROVIDER, copy, ignore=shutil.ignore_patterns('__pycache__'))
        empty = Path(top) / 'empty'
        empty.mkdir()
        Path(top).chmod(0o755)
        return subprocess.run(
            ['bash', '-c', '--', command],
            env={'PATH': f'{copy}/bin:{SYSTEM}', 'LANG': 'C.UTF-8'},
            cwd=empty,
            user=user,
            group=user,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        ).stdout


@ROOT
@pytest.mark.parametrize('id_', LOCAL)
def test_a_local_job_prints_the_same_for_root_and_for_others(id_: str) -> None:
    command = UNITS[id_]['command']
    printed = run_as(0, command)
    assert printed == run_as(NOBODY, command)
    for record in rfc822.parse(printed, id_):
        assert record.fields['user'] == 'root'
        assert '{' not in record.fields['id']


@ROOT
def test_the_generated_smoke_job_is_there_on_this_machine() -> None:
    printed = run_as(NOBODY, UNITS['smoke/read-device-jobs']['command'])
    ids = [record.fields['id'] for record in rfc822.parse(printed, 'it')]
    assert ids == ['smoke/read-zero']


def disk(name: str, blocks: int = 1000, **more: str) -> Files:
    files = {f'/sys/block/{name}/{key}': value for key, value in more.items()}
    return {f'/sys/block/{name}/size': f'{blocks}\n', f'/dev/{name}': '', **files}


def test_names_that_would_break_a_job_are_left_out(machine: Machine) -> None:
    for name in (
        'sda',
        'sdb c',
        'sdd\nuser: root',
        'sd$(id)',
        'sd;id',
        'sd\x1b',
        'sdé',
    ):
        machine.has(disk(name))
    printed = machine.check('job-per-device DISK', 'id: x-{name}\ncommand: y {path}\n')
    assert printed.text == 'id: x-sda\ncommand: y /dev/sda\n\n'
    assert not printed.errors


def test_only_whole_disks_with_a_medium_and_a_node_get_a_job(machine: Machine) -> None:
    for name in ('sda', 'sdb', 'sdaa', 'nvme0n1', 'vda', 'mmcblk0'):
        machine.has(disk(name))
    for name in ('sda1', 'loop0', 'zram0', 'sr0', 'dm-0', 'md0', 'mmcblk0boot0'):
        machine.has(disk(name))
    machine.has(disk('sdc', blocks=0))
    machine.has(disk('nvme0c0n1', hidden='1'))
    machine.has({'/sys/block/sdd/size': '1000\n'})
    names = machine.check('job-per-device DISK', 'id: {name}').text.split('id: ')[1:]
    found = [name.strip() for name in names]
    assert found == ['mmcblk0', 'nvme0n1', 'sda', 'sdaa', 'sdb', 'vda']


def test_a_generator_without_a_device_prints_nothing(machine: Machine) -> None:
    assert machine.check('job-per-device DISK', 'id: {name}') == (0, '', '')
    machine.has(disk('vda'))
    assert machine.check('job-per-device DISK nvme', 'id: {name}') == (0, '', '')


def resource(machine: Machine, program: str) -> list[Mapping[str, str]]:
    printed = machine.check(program)
    assert (printed.status, printed.errors) == (0, '')
    return [r.fields for r in rfc822.parse(printed.text.encode(), program)]


def test_executables_are_those_that_can_be_started(machine: Machine) -> None:
    machine.has({'/usr/sbin/smartctl': '', '/bin/text': '', '/usr/bin/a b': ''})
    for name in ('usr/sbin/smartctl', 'usr/bin/a b'):
        (machine.root / name).chmod(0o755)
    assert resource(machine, 'executable-resource') == [{'name': 'smartctl'}]


def test_devices_have_a_category(machine: Machine) -> None:
    machine.has(disk('nvme0n1'))
    machine.has(
        {
            '/sys/class/net/eth0/device/vendor': '',
            '/sys/class/net/lo/mtu': '',
            '/sys/bus/pci/devices/0000:00:1c.0/aer_dev_fatal': '',
            '/sys/class/tpm/tpm0/uevent': '',
            '/sys/class/misc/hw_random/rng_current': 'tpm-rng-0\n',
            '/sys/devices/system/cpu/cpufreq/policy0/x': '',
        }
    )
    found = [(r['category'], r['name']) for r in resource(machine, 'device-resource')]
    assert found == [
        ('DISK', 'nvme0n1'),
        ('NET', 'eth0'),
        ('PCI', '0000:00:1c.0'),
        ('AER', '0000:00:1c.0'),
        ('HWRNG', 'hwrng'),
        ('TPM', 'tpm0'),
        ('CPUFREQ', 'policy0'),
    ]


SYSTEMS: list[tuple[Files, str, Files]] = [
    ({}, '', {'virtualization': 'none', 'container': 'none', 'init': 'other'}),
    (GUEST, '', {'virtualization': 'qemu'}),
    (REAL, '', {'virtualization': 'none'}),
    ({'/proc/cpuinfo': 'flags : hypervisor\n'}, '', {'virtualization': 'other'}),
    ({'/run/systemd/system/x': ''}, '', {'init': 'systemd'}),
    ({'/sys/firmware/efi/efivars/x': ''}, '', {'efi': 'yes'}),
    # A virtual machine may be made from a container's image.
    ({'/.dockerenv': ''}, 'pid:[4026531836]', {'container': 'none'}),
    ({'/.dockerenv': ''}, 'pid:[4026532201]', {'container': 'docker'}),
    ({'/run/systemd/container': 'lxc\n'}, 'pid:[4026532201]', {'container': 'lxc'}),
    ({}, 'pid:[4026532201]', {'container': 'other'}),
]


@pytest.mark.parametrize(('files', 'namespace', 'wanted'), SYSTEMS)
def test_what_kind_of_system_it_is(
    machine: Machine, files: Files, namespace: str, wanted: Files
) -> None:
    machine.has(files)
    if namespace:
        link = machine.root / 'proc/self/ns/pid'
        link.parent.mkdir(parents=True)
        link.symlink_to(namespace)
    (record,) = resource(machine, 'system-resource')
    assert record.items() >= wanted.items()


# --- checks on broken machines


def title(sample: Sample) -> str:
    return f'{sample.job}: {sample.says[:40]}'


@pytest.mark.parametrize('sample', BROKEN, ids=title)
def test_a_fault_fails_the_check_and_is_named(machine: Machine, sample: Sample) -> None:
    assert sample.promise in promises(sample.job)
    machine.has(sample.files)
    outcome = machine.check(JOBS[sample.job]['command'])
    assert outcome.errors == ''
    assert outcome.status == 1
    assert sample.says in outcome.text
    assert '  FAIL  ' in outcome.text
    assert 'What to do: ' in outcome.text


@pytest.mark.parametrize(('job', 'files', 'says'), SOUND)
def test_a_sound_machine_passes(
    machine: Machine, job: str, files: Files, says: str
) -> None:
    machine.has(files)
    outcome = machine.check(JOBS[job]['command'])
    assert (outcome.status, outcome.errors) == (0, ''), outcome.text
    assert says in outcome.text


def test_an_unfilled_field_is_no_fault_of_a_guest(machine: Machine) -> None:
    machine.has({**smbios(), **GUEST, '/sys/class/dmi/id/bios_version': ''})
    outcome = machine.check('dmi-data')
    assert outcome.status == 0
    assert 'note  bios_version' in outcome.text


ABOUT_THE_MACHINE = sorted(
    {
        unit['command']
        for id_, unit in SHELL.items()
        if not id_.startswith('smoke/')
        and id_ not in ('memory/pattern', 'cpu/arithmetic')
    }
)


@pytest.mark.parametrize('command', ABOUT_THE_MACHINE)
def test_nothing_fails_for_want_of_a_device(machine: Machine, command: str) -> None:
    for tool in ('systemctl', 'ipmitool'):
        machine.has_tool(tool, '', status=1)
    outcome = machine.check(command)
    assert (outcome.status, outcome.errors) == (0, '')
    assert 'nothing to check, ' in outcome.text


@pytest.mark.parametrize('command', ABOUT_THE_MACHINE)
def test_garbage_gives_no_traceback_and_obeys_no_escape(
    machine: Machine, command: str
) -> None:
    garbage = b'\xff\x1b[2J\0 -1 \xc3 x:y | cr\n7,1,1,-;EXT4-fs error \x1b[31m\n'
    machine.has({name: garbage for s in BROKEN for name in s.files})
    for tool in ('systemctl', 'ipmitool'):
        machine.has_tool(tool, 'a\x1b[2J b c | d | cr\n')
    outcome = machine.check(command)
    assert outcome.errors == ''
    assert outcome.status in (0, 1)
    assert '\x1b' not in outcome.text


# --- checks that ask a program or a device


def test_smart_health_fails_if_the_disk_expects_to_fail(machine: Machine) -> None:
    assert 'Fails if the disk expects to fail' in promises(
        'storage/smart-health-jobs[]'
    )
    machine.has_tool(
        'smartctl',
        """{"smartctl": {"exit_status": 24}, "model_name": "DISK 1",
        "smart_status": {"passed": false}, "ata_smart_attributes": {"table": [
        {"id": 5, "name": "Reallocated_Sector_Ct", "value": 1, "worst": 1, "thresh": 10,
         "when_failed": "now", "raw": {"value": 2000, "string": "2000"}},
        {"id": 197, "name": "Current_Pending_Sector", "value": 99, "worst": 99,
         "thresh": 0, "when_failed": "", "raw": {"value": 8, "string": "8"}}]}}""",
        status=24,
    )
    outcome = machine.check('smart-health /dev/sda')
    assert outcome.status == 1
    assert 'FAIL  own verdict             failing' in outcome.text
    assert 'value 1 is at or below the threshold 10' in outcome.text
    assert '8 sectors waiting to be moved' in outcome.text


def test_nvme_health_fails_on_a_critical_warning(machine: Machine) -> None:
    assert 'Fails on a critical warning' in promises('storage/nvme-health-jobs[]')
    machine.has_tool(
        'smartctl',
        """{"smart_status": {"passed": false}, "nvme_smart_health_information_log":
        {"critical_warning": 9, "available_spare": 3, "available_spare_threshold": 10,
         "percentage_used": 104, "media_errors": 7}}""",
        status=8,
    )
    outcome = machine.check('smart-health /dev/nvme0n1')
    assert outcome.status == 1
    assert 'spare blocks below the threshold, medium is read-only' in outcome.text
    assert '3 % left, threshold 10 %' in outcome.text
    assert '104 % of the rated life used' in outcome.text
    assert '7 blocks could not be read or written' in outcome.text


@pytest.mark.parametrize(
    'answer', ['', 'null', '[]', '{"smartctl": {"exit_status": 2}}']
)
def test_a_disk_without_health_data_passes(machine: Machine, answer: str) -> None:
    assert 'Disks without such data pass' in promises('storage/smart-health-jobs[]')
    machine.has_tool('smartctl', answer, status=2)
    outcome = machine.check('smart-health /dev/sda')
    assert (outcome.status, outcome.errors) == (0, '')
    assert 'nothing to check, the disk gives no health data' in outcome.text


def test_ipmi_sensors_fail_if_one_is_critical(machine: Machine) -> None:
    assert 'Fails if a sensor is critical' in promises('firmware/ipmi-sensors')
    good = 'CPU Temp         | 45 degrees C      | ok\nFAN2   | no reading | ns\n'
    machine.has_tool('ipmitool', good)
    assert machine.check('ipmi-sensors').status == 0
    machine.has_tool('ipmitool', f'{good}FAN1             | 0 RPM             | cr\n')
    outcome = machine.check('ipmi-sensors')
    assert outcome.status == 1
    assert 'FAIL  FAN1      0 RPM, critical' in outcome.text


def test_failed_units_fail(machine: Machine) -> None:
    assert 'is in the state failed' in promises('services/failed-units')
    machine.has_tool('systemctl', '')
    assert machine.check('failed-units').status == 0
    line = 'ssh.service loaded failed failed OpenBSD Secure Shell server\n'
    machine.has_tool('systemctl', line)
    outcome = machine.check('failed-units')
    assert outcome.status == 1
    assert 'FAIL  ssh.service  OpenBSD Secure Shell server' in outcome.text


@pytest.fixture
def tpm(machine: Machine) -> Iterator[int]:
    """A terminal in the place of the TPM's device; the other end of it."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    machine.has({'/sys/class/tpm/tpm0/tpm_version_major': '2\n', '/dev/x': ''})
    (machine.root / 'dev/tpmrm0').symlink_to(os.ttyname(theirs))
    yield ours
    os.close(ours)
    os.close(theirs)


TPM_ANSWERS = {
    'passed': (0, struct.pack('>HI', 0, 0)),
    'failed with code 0x12f': (1, struct.pack('>H3sI', 3, b'abc', 0x12F)),
    'the TPM is in failure mode': (1, struct.pack('>HI', 0, 0x101)),
    'not tested yet': (0, struct.pack('>HI', 0, 0x153)),
    'answer of 16 bytes': (1, struct.pack('>HI', 900, 0)),
}


@pytest.mark.parametrize('says', TPM_ANSWERS)
def test_the_tpm_is_asked_for_its_self_test(
    machine: Machine, tpm: int, says: str
) -> None:
    assert 'Asks the TPM for the result of its test' in promises(
        'firmware/tpm-self-test'
    )
    status, body = TPM_ANSWERS[says]
    asked: list[bytes] = []

    def answer() -> None:
        asked.append(os.read(tpm, 100))
        os.write(tpm, struct.pack('>HII', 0x8001, 10 + len(body), 0) + body)

    thread = threading.Thread(target=answer)
    thread.start()
    outcome = machine.check('tpm-self-test')
    thread.join()
    assert asked == [bytes.fromhex('8001 0000000a 0000017c')]
    assert outcome.status == status
    assert says in outcome.text


# --- checks of disks, on images


def partitioned(path: Path, blocks: int = 2048) -> None:
    """A disk with a sound, empty GUID partition table."""
    entries = bytes(128 * 128)
    last = blocks - 1
    image = bytearray(blocks * 512)
    for own, other, at in ((1, last, 2), (last, 1, last - 32)):
        rest = struct.pack('<QQ16sQIII', 34, last - 33, b'g' * 16, at, 128, 128, 0)
        rest = rest[:-4] + struct.pack('<I', zlib.crc32(entries))
        header = (
            b'EFI PART\0\0\1\0' + struct.pack('<IIIQQ', 92, 0, 0, own, other) + rest
        )
        header = header[:16] + struct.pack('<I', zlib.crc32(header)) + header[20:]
        image[own * 512 : own * 512 + 92] = header
    path.write_bytes(image)


def spoil(path: Path, place: int, data: bytes = b'X') -> None:
    with path.open('r+b') as image:
        image.seek(place)
        image.write(data)


DAMAGES = {
    'block 1: wrong checksum of the header': [(512 + 60, b'X')],
    'block 1: wrong checksum of the entries': [(1024, b'X')],
    'block 2047: wrong checksum of the header': [(2047 * 512 + 60, b'X')],
    'no table in block 2047': [(2047 * 512, b'NOT HERE')],
    'no table in block 1': [(512, b'NOT HERE')],
}


@pytest.mark.parametrize('says', DAMAGES)
def test_a_damaged_partition_table_fails(
    machine: Machine, tmp_path: Path, says: str
) -> None:
    promise = (
        'Fails if one of the two copies of the GUID partition table is missing, or'
    )
    assert promise in promises('storage/partition-table-jobs[]')
    image = tmp_path / 'disk'
    partitioned(image)
    assert machine.check(f'partition-table {image}').status == 0
    for place, data in DAMAGES[says]:
        spoil(image, place, data)
    outcome = machine.check(f'partition-table {image}')
    assert outcome.errors == ''
    assert outcome.status == 1
    assert says in outcome.text


def test_a_disk_without_a_guid_table_passes(machine: Machine, tmp_path: Path) -> None:
    assert 'Disks without such a table pass' in promises(
        'storage/partition-table-jobs[]'
    )
    image = tmp_path / 'disk'
    for content in (b'', bytes(512), bytes(MIB), os.urandom(MIB)):
        image.write_bytes(content)
        outcome = machine.check(f'partition-table {image}')
        assert (outcome.status, outcome.errors) == (0, '')
        assert 'it has no GUID table' in outcome.text


def test_a_disk_that_has_grown_passes_with_a_word_about_it(
    machine: Machine, tmp_path: Path
) -> None:
    image = tmp_path / 'disk'
    partitioned(image)
    spoil(image, 3000 * 512)
    outcome = machine.check(f'partition-table {image}')
    assert outcome.status == 0
    assert 'the disk has grown' in outcome.text


def test_a_disk_is_read_at_three_places(machine: Machine, tmp_path: Path) -> None:
    assert 'at the start, the middle and the end' in promises(
        'storage/read-speed-jobs[]'
    )
    image = tmp_path / 'disk'
    image.write_bytes(bytes(8 * MIB))
    text = machine.check(f'read-device {image} 1').text
    assert [f' {MIB * at}, ' in text for at in (0, 4, 7)] == [True] * 3


def test_what_cannot_be_read_fails(machine: Machine, tmp_path: Path) -> None:
    assert 'Fails if it cannot be read' in promises('storage/read-speed-jobs[]')
    outcome = machine.check(f'read-device {tmp_path} 1')
    assert outcome.status == 1
    assert 'Is a directory' in outcome.text


def test_a_device_that_is_not_given_to_us_passes(machine: Machine) -> None:
    for program in ('read-device /dev/none 1', 'partition-table /dev/none'):
        outcome = machine.check(program)
        assert outcome.status == 0
        assert 'nothing to check, it cannot be opened' in outcome.text


# --- other checks


def on_small_filesystem(machine: Machine, place: str, used: int, check: str) -> Outcome:
    """Run a check with 4 MiB at a place of the machine, so many KiB of them used."""
    script = """
        nsenter --mount=/proc/self/ns/mnt mount --make-rprivate /
        mount -t tmpfs -o size=4m small "$1$2"
        head -c "${3}K" /dev/zero > "$1$2/file"
        exec "$4" --root "$1"
    """
    words = [str(machine.root), place, str(used), f'{PROVIDER}/bin/{check}']
    unshare = ['unshare', '-m', '--propagation=unchanged']  # see house.BUILD
    ended = subprocess.run(
        [*unshare, 'sh', '-eu', '-c', script, 'sh', *words],
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


@ROOT
def test_logs_fail_if_they_fill_a_quarter_of_their_filesystem(machine: Machine) -> None:
    promise = 'Fails if the logs take more than a quarter of their filesystem'
    assert promise in promises('services/log-disk-usage')
    machine.has({'/var/log/nothing': ''})
    sound = on_small_filesystem(machine, '/var/log', 900, 'log-disk-usage')
    assert (sound.status, sound.errors) == (0, '')
    broken = on_small_filesystem(machine, '/var/log', 1100, 'log-disk-usage')
    assert (broken.status, broken.errors) == (1, '')
    assert 'FAIL  all logs' in broken.text
    assert 'note  /var/log/file  1.1 MiB' in broken.text


@ROOT
def test_a_full_filesystem_fails(machine: Machine) -> None:
    assert 'are used to 95 % or more' in promises('storage/filesystems')
    mount = '26 1 8:1 / /home/a\\040b rw - ext4 /dev/sda1 rw\n'
    machine.has({'/proc/self/mountinfo': mount, '/home/a b/nothing': ''})
    sound = on_small_filesystem(machine, '/home/a b', 3800, 'filesystems')
    assert (sound.status, sound.errors) == (0, '')
    broken = on_small_filesystem(machine, '/home/a b', 4000, 'filesystems')
    assert (broken.status, broken.errors) == (1, '')
    assert 'FAIL  /home/a b  ext4, 98 % full' in broken.text


def test_the_clock_is_not_looked_at_without_a_time_service(machine: Machine) -> None:
    machine.has({'/proc/1/comm': 'systemd\n', '/proc/2/comm': 'kthreadd\n'})
    assert 'no time service runs here' in machine.check('time-synchronised').text
    machine.has({'/proc/300/comm': 'systemd-timesyn\n'})
    assert 'systemd-timesyn  runs' in machine.check('time-synchronised').text


@pytest.mark.parametrize(
    'command', ['memory-pattern 2', 'cpu-arithmetic 1', 'random-numbers']
)
def test_this_machine_is_sound(machine: Machine, command: str) -> None:
    assert machine.check(command)[0::2] == (0, '')


WRONG = (
    'memory-pattern',
    'memory-pattern x',
    'cpu-arithmetic',
    'read-device',
    'job-account x',
    'job-environment x',
    'job-per-device',
    'smart-health',
    'partition-table',
    'kernel-log-faults nothing',
)


@pytest.mark.parametrize('command', WRONG)
def test_wrong_usage_is_told(machine: Machine, command: str) -> None:
    outcome = machine.check(command)
    assert outcome.status == 2
    assert outcome.errors.startswith(f'usage: {command.split()[0]} [--root DIR]')


def test_programs_are_not_writable_by_others() -> None:
    for path in (PROVIDER / 'bin').iterdir():
        assert not path.stat().st_mode & stat.S_IWOTH
