# SPDX-License-Identifier: ISC
"""What the ledger costs for each job, beside what it cannot do without.

    PYTHONPATH=tests:. .venv/bin/python benchmarks/ledger.py [TIMES] [DIRECTORY]

The floor is what nobody can do with less who wants the row and the output of a job on
the disk: two writes to a log with an fsync each, and an fsync of each of two outputs.
All in one run and on one disk, that of DIRECTORY, one after the other in turns, so that
what else the machine does slows all alike. Also in a ledger that holds ten thousand
jobs already. Prints medians; asserts nothing.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from plainbox_launcher.catalogue import Job
from plainbox_launcher.plan import Planned
from plainbox_launcher.process import Ended
from plainbox_launcher.result import PASSED, Result
from plainbox_launcher.store import Ledger, Session, open_ledger
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

PROVIDER = Provider('org.x:p', 'org.x', '', '', '', '', '', '', '', 'p.provider')
MANY = 10_000


def job(number: int) -> Job:
    """Any job."""
    fields = {'id': f'job-{number}', 'plugin': 'shell', '_summary': 'x' * 60}
    return Job(Unit(fields, PROVIDER, 'p.pxu:1'), installed=True)


def floor(folder: Path) -> Callable[[], None]:
    """The least that keeps anything."""
    log = os.open(folder / 'log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    numbers = iter(range(1 << 30))

    def one() -> None:
        number = next(numbers)
        os.write(log, bytes(500))
        os.fsync(log)
        for name in 'out', 'err':
            fd = os.open(folder / f'{number}.{name}', os.O_WRONLY | os.O_CREAT)
            os.write(fd, b'a line\n')
            os.fsync(fd)
            os.close(fd)
        os.write(log, bytes(500))
        os.fsync(log)

    return one


def ledger(opened: Ledger, session: Session) -> Callable[[], None]:
    """A job, as a run writes it down."""
    rows = iter(opened.rows(session))

    def one() -> None:
        row = opened.start(next(rows), ())
        with opened.outputs(row, 1 << 20) as (out, err):
            out.write(b'a line\n')
            err.write(b'a line\n')
        ended = Ended(0, cpu=0.001, peak=1000)
        opened.end(row, Result(job(0), PASSED, '', 0.1, ended=ended, started=1e9))

    return one


def shell() -> None:
    """What a job of one's own costs at least."""
    subprocess.run(['/bin/sh', '-c', 'true'], check=True)


def seconds(what: Callable[[], None]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def main(times: int, place: str | None) -> None:
    """Measure each so many times."""
    with TemporaryDirectory(dir=place) as folder, ExitStack() as ends:
        kinds = {'the floor': floor(Path(folder))}
        for name, count in ('a row', times), (f'a row of {MANY}', MANY):
            opened = ends.enter_context(open_ledger(f'{folder}/{count}'))
            session = opened.create({})
            planned = [Planned(job(n), implied=False) for n in range(count)]
            begun = time.perf_counter()
            opened.replan(session, planned)
            print(f'{count} rows planned in {time.perf_counter() - begun:.2f} s')
            kinds[name] = ledger(opened, session)
        kinds['sh -c true'] = shell
        turns = [[seconds(one) for one in kinds.values()] for _ in range(times)]
        again = seconds(lambda: open_ledger(f'{folder}/{MANY}').close())
        print(f'a ledger of {MANY} rows opened in {again:.2f} s')
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    for name, median in zip(kinds, medians, strict=True):
        print(f'{name:24}{median * 1000:8.2f} ms {median / medians[0]:8.2f}')


if __name__ == '__main__':
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 300,
        sys.argv[2] if len(sys.argv) > 2 else None,
    )
