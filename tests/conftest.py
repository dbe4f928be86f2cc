# SPDX-License-Identifier: ISC
"""What all tests share: the house, its tidiness, and canaries.

A proof of a defence is marked with the canary on which it has to fail, and runs
twice, on the sound launcher and without the defence:

    @pytest.mark.canary('environ.py', 'if name in DENIED:', 'if False:')
    def test_no_ld_preload(house: House) -> None: ...

A canary that breaks the launcher would make any test fail and prove nothing. So one
on which the launcher meets an error in itself does not count, unless that is what the
defence prevents: `crashes=True`.
"""

import contextlib
import inspect
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from house import House, NoHouse, lacking, open_house


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        'markers',
        'canary(file, old, new, crashes=False): the test has to fail when `old`, '
        'found once in this file of the room, is `new`',
    )


@pytest.fixture(scope='session')
def house() -> Iterator[House]:
    """Gives the house, one for all tests: it takes a second to build."""
    if reason := lacking():
        no_house(reason)
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(open_house(Path(__file__).parent.parent))
        except NoHouse as error:
            no_house(str(error))
        yield found


def no_house(reason: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails each test that leaves a process or a file in the house."""
    if 'house' not in request.fixturenames:
        yield
        return
    house: House = request.getfixturevalue('house')
    house.new_page()
    house.crashes.clear()
    files = house.files()
    yield
    processes = house.strangers()
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    house.forget()
    assert not processes, 'processes left in the house'
    assert not house.changes(files), 'files left in the house'


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = list(metafunc.definition.iter_markers('canary'))
    if marks:
        names = ['sound', *(f'canary-{mark.args[0]}' for mark in marks)]
        metafunc.parametrize('_room', [None, *marks], ids=names, indirect=True)


@pytest.fixture(autouse=True)
def _room(request: pytest.FixtureRequest, _tidy: None) -> Iterator[pytest.Mark | None]:
    mark: pytest.Mark | None = getattr(request, 'param', None)
    if mark is None:
        yield None
    else:
        with request.getfixturevalue('house').canary(*mark.args):
            yield mark


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    mark = pyfuncitem.funcargs['_room']
    if not isinstance(mark, pytest.Mark):
        return None  # pytest calls the test
    house = pyfuncitem.funcargs['house']
    assert isinstance(house, House)
    wanted = inspect.signature(pyfuncitem.obj).parameters
    try:
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted})
    except (AssertionError, pytest.fail.Exception):
        pass
    else:
        pytest.fail(f'the proof holds without its defence, {mark.args}')
    may_crash = mark.kwargs.get('crashes')
    assert may_crash or not house.crashes, 'a broken canary proves nothing'
    return True
