# SPDX-License-Identifier: ISC
"""The jobs there are: installed ones, a developer's own, generated ones."""

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from xdg import BaseDirectory

from .trusted import library, template
from .trusted.errors import Fault
from .trusted.library import Library
from .trusted.provider import Provider
from .trusted.template import Record
from .trusted.unit import Unit

#: Where a developer's own providers lie, XDG Base Directory Specification.
OWN: Final = os.path.join(BaseDirectory.xdg_data_home, 'plainbox-providers-1')

#: Plugins whose work a person does, at least in part.
INTERACTIVE: Final = frozenset(
    {'manual', 'user-interact', 'user-verify', 'user-interact-verify'}
)


class Job(NamedTuple):
    """A job or a template, and whether root would know it: directly or `via` another.

    That is the local job which prints it, or the resource job of its template, of
    which `template` is the full id. `fruitless` is a template that has been asked, and
    makes no job.
    """

    unit: Unit
    installed: bool
    via: Unit | None = None
    template: str = ''
    fruitless: bool = False

    @property
    def id(self) -> str:
        """The full id, `namespace::id`."""
        return self.unit.id

    @property
    def short_id(self) -> str:
        """The id without its namespace."""
        return self.id.rpartition('::')[2]

    @property
    def user(self) -> str:
        """As whom it runs: an account, `user-session`, or '' for the one who calls."""
        return self.unit.get('user') or self.unit.get('context')

    @property
    def generates(self) -> bool:
        """Whether there are jobs of it, and not itself: a local job or a template."""
        return self.unit.plugin == 'local' or self.unit.kind == 'template'


def template_id(unit: Unit) -> str:
    """The full id of a template: what it says, or its `id` without {, } and blanks."""
    made = ''.join(c for c in unit.id.rpartition('::')[2] if c not in '{} ')
    short = unit.get('template-id') or made
    return short if '::' in short else f'{unit.provider.namespace}::{short}'


class Catalogue(NamedTuple):
    """All jobs and templates as they were read, in order, and what was refused.

    A provider that the developer names takes the place of an installed one of
    the same name.
    """

    jobs: tuple[Job, ...]
    installed: Library
    own: Library
    templates: tuple[Job, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What could not be read."""
        return self.installed.faults + self.own.faults

    def directories(self, unit: Unit) -> list[str]:
        """The bin directories of the namespace of a unit."""
        providers = {p.name: p for p in self.installed.providers + self.own.providers}
        everything = Library(tuple(providers.values()), (), ())
        return everything.directories(unit.provider)


def read(named: Iterable[str]) -> Catalogue:
    """Read what is installed and, if there are any, the developer's own.

    `named` are .provider files, or directories of them.
    """
    paths = [os.path.abspath(path) for path in named]
    if os.path.isdir(OWN):
        paths.append(OWN)
    installed = library.load()
    own = library.load(paths, trusted=False)
    replaced = {provider.name for provider in own.providers}
    known = {unit.checksum for unit in installed.units}
    units = own.units + tuple(
        unit for unit in installed.units if unit.provider.name not in replaced
    )
    jobs, templates = (
        tuple(Job(u, u.checksum in known) for u in units if u.kind == kind and u.id)
        for kind in ('job', 'template')
    )
    return Catalogue(jobs, installed, own, templates)


def instances(
    made_by: Job, resource: Job, records: Iterable[Record]
) -> tuple[list[Job], list[Fault]]:
    """The jobs that a template makes of what its resource job printed.

    Root knows them only if it knows both.
    """
    units, faults = template.instances(made_by.unit, records)
    known = made_by.installed and resource.installed
    own = template_id(made_by.unit)
    return [Job(u, known, resource.unit, own) for u in units if u.id], faults


def absent(id_: str) -> Job:
    """Stands for a job of which nothing is known but its full id."""
    nobody = Provider(*[''] * 10)
    return Job(Unit({'id': id_}, nobody, ''), installed=False)
