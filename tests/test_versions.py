# SPDX-License-Identifier: ISC
"""One version, written down where each packager looks for it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from plainbox_launcher import __version__

TOP = Path(__file__).parent.parent


def packaged(version: str) -> str:
    """A version of Python's (PEP 440) as dpkg and rpm compare it.

    0.2rc1 comes before 0.2, which both of them know by a tilde. The Debian package is
    native: there is no revision of it.
    """
    return re.sub(r'\.?(a|b|rc|dev)(?=\d)', r'~\1', version)


@pytest.mark.parametrize(
    ('version', 'expected'),
    [('0.2', '0.2'), ('0.2rc1', '0.2~rc1'), ('0.2.dev3', '0.2~dev3')],
)
def test_packaged(version: str, expected: str) -> None:
    assert packaged(version) == expected


@pytest.mark.parametrize(
    ('file', 'pattern'),
    [
        ('debian/changelog', r'\Aplainbox-launcher \((.+?)\) '),
        ('contrib/rpm/plainbox-launcher.spec', r'(?m)^Version: +(\S+)$'),
        ('contrib/rpm/plainbox-launcher.spec', r'(?m)%changelog\n\*.* - (\S+)-\d+$'),
    ],
)
def test_packages(file: str, pattern: str) -> None:
    """The newest entry, where there is a list."""
    found = re.search(pattern, (TOP / file).read_text())
    assert found
    assert found[1] == packaged(__version__)


@pytest.mark.parametrize('program', ['plainbox', 'plainbox-trusted-launcher-1'])
def test_programs(program: str) -> None:
    done = subprocess.run(
        [sys.executable, TOP / 'bin' / program, '--version'],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.split()[-1:]) == (0, [__version__])


def test_native() -> None:
    """No upstream tarball, so no revision: 0.1.0, not 0.1.0-1."""
    assert (TOP / 'debian/source/format').read_text() == '3.0 (native)\n'
    assert '-' not in packaged(__version__)
