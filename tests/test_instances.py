# SPDX-License-Identifier: ISC
"""Jobs that others stand for, through the runner: templates and siblings."""

from collections.abc import Iterator

import pytest
from house import House
from launching import events
from running import plainbox

UNITS = r"""
id: secret
plugin: resource
user: root
command: test "$(id -u)" = 0 && printf 'name: a\n\nname: b\n'

id: plain
plugin: resource
command: printf 'name: c\nkind: X\n\nname: d\n'

unit: template
template-resource: secret
id: of-root-{name}
user: root
command: echo = {name} {__index__} as $(id -un)

unit: template
template-resource: plain
template-filter: plain.kind == 'X'
id: of-plain-{name}
user: root
flags: also-after-suspend
command: echo = {name} {__index__} as $(id -un)

id: first
user: root
command: echo = first as $(id -un)
siblings: [{"id": "second", "command": "echo = second as $(id -un)"}]
"""


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('instances', UNITS):
        yield


@pytest.mark.parametrize('how', [(), ('--per-job',)])
@pytest.mark.parametrize(
    ('pattern', 'said'),
    [
        ('of-root-*', ['a 1 as root', 'b 2 as root']),
        ('of-root-b', ['b 2 as root']),
        ('of-plain-*', ['c 1 as root']),
        ('second', ['second as root']),
    ],
)
def test_what_runs(
    house: House, pattern: str, said: list[str], how: tuple[str, ...]
) -> None:
    """Root runs what templates make, also of a resource job of its own."""
    ran = plainbox(house, 'run', *how, pattern)
    assert ran.status == 0, ran.text + ran.errors
    assert [line[2:] for line in ran.lines if line.startswith('= ')] == said
    assert 'refused' not in events(house)
