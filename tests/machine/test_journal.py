# SPDX-License-Identifier: ISC
"""What the journal holds of a root job: lines which nobody else can write."""

from machine.booted import LAUNCHER, Machine

AUTHPRIV = '10'  # <syslog.h>
ROOT_JOB = 'plainbox run smoke/root-account'


def test_a_pair_of_lines(machine: Machine) -> None:
    """README: each job leaves two lines in the system log (facility authpriv), who

    runs what before it starts, and how it ended; so does each run.
    """
    before = len(machine.audit())
    with machine.unattended('member'):
        assert machine.ssh('member', ROOT_JOB).returncode == 0
    begun, start, end, over = machine.audit()[before:]
    uid = machine.check('id', '--user', 'member').strip()
    said = f'uid={uid} caller=member hash='
    assert begun['MESSAGE'].startswith(f'open {said}')
    assert over['MESSAGE'].startswith(f'close {said}')
    assert start['MESSAGE'].startswith(f'start {said}')
    assert end['MESSAGE'].startswith(f'end {said}')
    assert 'job=2026.plainbox.launcher::smoke/root-account' in start['MESSAGE']
    assert ' status=0 ' in end['MESSAGE']
    for line in (begun, start, end, over):
        # What begins with _ is from the kernel and journald: systemd.journal-fields(7).
        assert line['_UID'] == '0'
        assert line['_TRANSPORT'] == 'syslog'
        assert line['SYSLOG_FACILITY'] == AUTHPRIV
        assert line['_PID'] == line['SYSLOG_PID']
    assert start['_PID'] == end['_PID'] != begun['_PID'] == over['_PID']


def test_a_forged_line_is_known_by_its_uid(machine: Machine) -> None:
    """So `journalctl -t plainbox-trusted-launcher-1 _UID=0` is the truth."""
    tag = LAUNCHER.rpartition('/')[2]
    before = len(machine.audit())
    forged = f'logger -p authpriv.notice -t {tag} "start uid=0 caller=root"'
    assert machine.ssh('stranger', forged).returncode == 0
    (line,) = machine.audit()[before:]
    assert line['_UID'] == machine.check('id', '--user', 'stranger').strip() != '0'
