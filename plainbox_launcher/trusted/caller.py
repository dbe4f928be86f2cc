# SPDX-License-Identifier: ISC
"""Who asked, and the few things of theirs that are let in."""

import os
import pwd
import re
import stat
from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from .environ import SCREEN, SHARE
from .errors import Refused

# X(7), DISPLAY NAMES.
_DISPLAY: Final = re.compile(r'[A-Za-z0-9._/-]{0,255}:[0-9]{1,5}(?:\.[0-9]{1,5})?')


class Caller(NamedTuple):
    """The person or program on the other side of pkexec; name '' if unknown."""

    uid: int
    name: str


def identify(given: Mapping[bytes, bytes]) -> Caller:
    """The caller, as pkexec(1) says in PKEXEC_UID; else root itself.

    pkexec starts us with an environment of its own making, so the value is
    true; without pkexec only root comes this far, who need not lie.
    """
    text = given.get(b'PKEXEC_UID', b'0')
    if not re.fullmatch(rb'[0-9]{1,10}', text):
        raise Refused('PBL-CALLER', 'PKEXEC_UID is not a number')
    uid = int(text)
    try:
        return Caller(uid, pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return Caller(uid, '')


def screen(
    given: Mapping[bytes, bytes],
    offered: Mapping[str, str],
    wanted: Container[str],
    caller: Caller,
) -> dict[str, str]:
    """DISPLAY and XAUTHORITY, as far as they are wanted and fit to be passed.

    What the caller offers counts before what pkexec kept (`allow_gui`). Files
    are looked at only for a job that names the variable.
    """
    values = {}
    for name in SCREEN:
        kept = given.get(name.encode(), b'').decode('utf-8', 'replace')
        value = offered.get(name, kept)
        if name in wanted and _fit(name, value, caller):
            values[name] = value
    return values


def session_share(offered: Mapping[str, str], caller: Caller) -> str:
    """The session's directory under either of its names; '' if not named.

    Raises Refused unless it is an existing directory of the caller's own: what is
    said of root's would tell what exists where the caller cannot look.
    """
    named = {offered[name] for name in SHARE if name in offered}
    if not named:
        return ''
    if len(named) > 1:
        raise Refused('PBL-SESSION-SHARE', f'{" and ".join(SHARE)} differ')
    path = named.pop()
    status = _look(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != caller.uid:
        raise Refused('PBL-SESSION-SHARE', f'{SHARE[0]} is no directory of the caller')
    return path


def _fit(name: str, value: str, caller: Caller) -> bool:
    if name == 'DISPLAY':
        return _DISPLAY.fullmatch(value) is not None
    status = _look(value)
    return stat.S_ISREG(status.st_mode) and status.st_uid == caller.uid


def _look(path: str) -> os.stat_result:
    """Look without opening; what cannot be looked at is of no kind at all."""
    try:
        if path.startswith('/') and path == os.path.normpath(path):
            return os.stat(path, follow_symlinks=False)
    except OSError:
        pass
    return os.stat_result((0,) * 10)
