# SPDX-License-Identifier: ISC
"""One machine for each release of Debian, for all tests of it.

With $PLAINBOX_DEBS, a folder, or where contrib/deb can build them, it has our
packages; else what contrib/install installs.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from machine.base import SUITES, NoBase
from machine.booted import Machine, NoMachine, booted, install, lacking
from machine.console import LOGIN, Console

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    if named := os.environ.get('PLAINBOX_DEBS'):
        return Path(named).resolve(strict=True)
    if shutil.which('dh') is None:
        return None
    folder = tmp_path_factory.mktemp('debs')
    command = [CHECKOUT / 'contrib/deb', folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope='session', params=list(SUITES), ids=list(SUITES.values()))
def machine(request: pytest.FixtureRequest, debs: Path | None) -> Iterator[Machine]:
    if reason := lacking():
        no_machine(reason)
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(booted(request.param, CHECKOUT, debs))
        except (NoBase, NoMachine) as error:
            no_machine(str(error))
        install(machine)
        yield machine


@pytest.fixture
def fresh(machine: Machine, debs: Path | None) -> Iterator[Machine]:
    """Another machine of the same release, on which nothing of ours is installed."""
    if debs is None:
        no_machine('no packages: debhelper is missing')
    with booted(machine.release, CHECKOUT, debs) as other:
        yield other


def no_machine(reason: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def console(machine: Machine) -> Iterator[Console]:
    """The console, where somebody may log in and is logged out after the test."""
    yield machine.console
    machine.check('loginctl', 'terminate-seat', 'seat0')
    machine.console.wait(LOGIN)
