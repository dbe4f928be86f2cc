# SPDX-License-Identifier: ISC
"""No machine, mount or process survives us, however we end."""

import os
import select
import subprocess
import sys
from pathlib import Path

from machine.booted import Machine
from machine.cell import HANGS

TESTS = Path(__file__).parents[1]

BOOT = """
import sys
from pathlib import Path
from machine.booted import booted
with booted(sys.argv[1], Path(sys.argv[2])) as machine:
    print(machine.cell, flush=True)
    sys.stdin.read()
"""


def test_a_killed_run_leaves_nothing(machine: Machine) -> None:
    """When we end, however we end, the kernel ends every process in the cell, and

    its mounts go with the last of them.
    """
    mounts = Path('/proc/self/mountinfo').read_text()
    with subprocess.Popen(
        [sys.executable, '-c', BOOT, machine.release, TESTS.parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(TESTS)},
    ) as run:
        assert run.stdout
        cell = int(run.stdout.readline())
        end = os.pidfd_open(cell)
        assert inhabitants(cell)
        run.kill()
    assert select.select([end], [], [], HANGS)[0]
    os.close(end)
    assert not inhabitants(cell)
    assert Path('/proc/self/mountinfo').read_text() == mounts


def inhabitants(cell: int) -> list[str]:
    """The processes in the control group of a cell, or below it."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        try:
            if f'/plainbox-cell-{cell}/' in (process / 'cgroup').read_text():
                found.append(process.name)
        except OSError:  # it has ended
            continue
    return found
