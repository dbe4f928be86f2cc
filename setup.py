# SPDX-License-Identifier: ISC
"""Packaging of plainbox-launcher."""

import re
from pathlib import Path

from setuptools import setup

TOP = Path(__file__).parent


def version() -> str:
    # Read, not imported: a build must not run what it packs.
    text = (TOP / 'plainbox_launcher' / '__init__.py').read_text(encoding='utf-8')
    found = re.search(r"^__version__ = '([0-9][0-9a-z.]*)'$", text, re.MULTILINE)
    if found is None:
        raise SystemExit('setup.py: plainbox_launcher/__init__.py: no __version__')
    return found[1]


setup(
    name='plainbox-launcher',
    version=version(),
    description='Runs the test jobs an administrator installed, as root, by hash',
    long_description=(TOP / 'README.rst').read_text(encoding='utf-8'),
    long_description_content_type='text/x-rst',
    author='plainbox-launcher contributors',
    license='ISC',
    classifiers=[
        'Environment :: Console',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: System :: Hardware',
        'Topic :: System :: Systems Administration',
    ],
    python_requires='>=3.11',
    install_requires=['dbus-next', 'pyxdg', 'rich'],
    packages=['plainbox_launcher', 'plainbox_launcher.trusted'],
    # Only the runner. bin/plainbox-trusted-launcher-1 is root's: it must lie in
    # /usr/bin, where the polkit action names it, with `-IS` in its first line and
    # root's ownership down to its imports. pip promises none of these (it rewrites
    # the first line, and installs into a venv or a home). contrib/install does.
    entry_points={'console_scripts': ['plainbox = plainbox_launcher.cli:main']},
)
