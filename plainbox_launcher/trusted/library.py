# SPDX-License-Identifier: ISC
"""All that is installed: the units of every provider, read once."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from . import files, provider, rfc822, siblings
from .errors import Fault, Missing
from .provider import Provider
from .unit import Unit

# The second is where packages for PlainBox put theirs. Nothing else is ever
# looked at: not the environment, not /usr/local, not a home directory.
DIRECTORIES: Final = (
    '/usr/share/plainbox-trusted-launcher-1',
    '/usr/share/plainbox-providers-1',
)

_DEPTH: Final = 8  # of directories below units_dir


class Library(NamedTuple):
    """What was read, and what was refused on the way."""

    providers: tuple[Provider, ...]
    units: tuple[Unit, ...]
    faults: tuple[Fault, ...]

    def directories(self, owner: Provider) -> list[str]:
        """The bin directories of a provider's namespace, its own first."""
        others = [p for p in self.providers if p.namespace == owner.namespace]
        return list(dict.fromkeys(p.bin for p in [owner, *others] if p.bin))


def load(paths: Iterable[str] = DIRECTORIES, *, trusted: bool = True) -> Library:
    """Read the providers defined in these directories, or by these files.

    One bad provider or file becomes a Fault of the result, the others work.
    """
    faults: list[Fault] = []
    providers: dict[str, Provider] = {}
    for path, data in _definitions(paths, faults, trusted):
        try:
            found = provider.read(data, path, trusted=trusted)
        except Fault as fault:
            faults.append(fault)
            continue
        first = providers.setdefault(found.name, found)
        if first != found._replace(path=first.path):
            faults.append(Fault(path, f'defines {found.name} otherwise than before'))
    units = [u for p in providers.values() for u in _units(p, faults, trusted)]
    return Library(tuple(providers.values()), tuple(units), tuple(faults))


def find(units: Iterable[Unit], checksum: str) -> Unit | None:
    """The first job with this hash."""
    jobs = (unit for unit in units if unit.kind == 'job')
    return next((job for job in jobs if job.checksum == checksum), None)


def units_of(
    data: bytes, path: str, owner: Provider, faults: list[Fault]
) -> Iterator[Unit]:
    """The units in a file of a provider, each with its siblings. Raises Fault.

    Siblings that are malformed go to `faults`, for the unit itself lives on.
    """
    for record in rfc822.parse(data, path):
        unit = unit_of(record, owner)
        yield unit
        yield from siblings.of(unit, faults)


def unit_of(record: rfc822.Record, owner: Provider) -> Unit:
    """A record as a unit of a provider."""
    return Unit(record.fields, owner, f'{record.path}:{record.line}')


def _definitions(
    paths: Iterable[str], faults: list[Fault], trusted: bool
) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for path in paths:
        try:
            found += _definitions_in(path, faults, trusted)
        except Missing as missing:
            if path not in DIRECTORIES:  # most machines lack one of these
                faults.append(missing)
        except Fault as fault:
            faults.append(fault)
    return found


def _definitions_in(
    path: str, faults: list[Fault], trusted: bool
) -> list[tuple[str, bytes]]:
    """A definition itself, or those in a directory."""
    if path.endswith('.provider'):
        folder, name = os.path.split(path)
        with files.directory(folder, trusted=trusted) as fd:
            return [(path, files.read(name, fd, path, trusted=trusted))]
    with files.directory(path, trusted=trusted) as fd:
        return list(files.walk(fd, path, ('.provider',), faults, trusted=trusted))


def _units(owner: Provider, faults: list[Fault], trusted: bool) -> Iterator[Unit]:
    for folder, suffixes, depth in (
        (owner.units, ('.pxu',), _DEPTH),
        (owner.jobs, ('.txt', '.txt.in'), 0),
    ):
        if not folder:
            continue
        with _kept(faults), files.directory(folder, trusted=trusted) as fd:
            for path, data in files.walk(
                fd, folder, suffixes, faults, depth=depth, trusted=trusted
            ):
                with _kept(faults):
                    yield from units_of(data, path, owner, faults)


@contextmanager
def _kept(faults: list[Fault]) -> Iterator[None]:
    """What is at fault in the block ends it, and nothing else."""
    try:
        yield
    except Fault as fault:
        faults.append(fault)
