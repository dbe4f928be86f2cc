# SPDX-License-Identifier: ISC
"""Walking and reading directories, in this process: what cannot be arranged outside.

What is refused, and that the rest lives on, is proven in test_defects.py.
"""

import os
from contextlib import suppress
from pathlib import Path

from house import put

from plainbox_launcher.trusted import files
from plainbox_launcher.trusted.errors import Fault, Missing


def test_deleted_after_it_was_listed(tmp_path: Path) -> None:
    for name in 'a.pxu', 'b.pxu', 'c.pxu':
        put(tmp_path / name, name.encode())
    faults: list[Fault] = []
    folder = os.open(tmp_path, os.O_RDONLY)
    found = files.walk(folder, '/units', ('.pxu',), faults, trusted=False)
    assert next(found) == ('/units/a.pxu', b'a.pxu')
    (tmp_path / 'b.pxu').unlink()
    assert [*found] == [('/units/c.pxu', b'c.pxu')]
    os.close(folder)
    assert [(type(f), str(f)) for f in faults] == [
        (Missing, '/units/b.pxu: is not there')
    ]


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """Whatever was wrong."""
    before = os.listdir('/proc/self/fd')
    put(tmp_path / 'a.pxu', b'1')
    (tmp_path / 'b.pxu').symlink_to('/etc/passwd')
    (tmp_path / 'c.pxu').mkdir()
    for path in '/etc', '/etc/passwd', '/nowhere', str(tmp_path), '/tmp/no':
        with suppress(Fault), files.directory(path, trusted=False) as folder:
            [*files.walk(folder, path, ('.pxu',), [], trusted=False)]
    assert os.listdir('/proc/self/fd') == before


def test_how_deep_it_goes(tmp_path: Path) -> None:
    """In order, by names; `depth` levels of directories."""
    for name in 'b.pxu', 'a/x.pxu', 'a/b/y.pxu', 'a/b/c/z.pxu', 'c.txt', '.pxu':
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / name, b'')
    for depth, expected in (
        (0, ['.pxu', 'b.pxu']),
        (1, ['.pxu', 'a/x.pxu', 'b.pxu']),
        (2, ['.pxu', 'a/b/y.pxu', 'a/x.pxu', 'b.pxu']),
    ):
        folder = os.open(tmp_path, os.O_RDONLY)
        found = files.walk(folder, '', ('.pxu',), [], depth=depth, trusted=False)
        assert [path.removeprefix('/') for path, _ in found] == expected
        os.close(folder)
