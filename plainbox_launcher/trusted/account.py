# SPDX-License-Identifier: ISC
"""The account that a job runs as, and becoming it for good.

1. Accounts go by their names. A number, or a name that could be taken for one or
   for an option, is none: sudo and systemd have run such jobs as root.
2. What is asked of the system to become somebody is read back, and any difference
   ends the process before it is the job.
3. No credentials: that root may run the job as this account is polkit's answer.
"""

import ctypes
import errno
import os
import pwd
import re
import time
from contextlib import suppress
from pwd import struct_passwd
from typing import Final

from .errors import Refused

# useradd(8): lower-case, but other programs allow more. No option, no number.
_NAME: Final = re.compile(r'[A-Za-z_][A-Za-z0-9_.-]{0,31}')
_NOBODYS_SHELL: Final = ('nologin', 'false')

# capset(2), <linux/capability.h>; keyctl(2), whose number is the machine's
_CAPABILITY_VERSION: Final = 0x20080522
_KEYCTL: Final = {'x86_64': 250, 'i686': 288, 'armv7l': 311}
_KEYCTL_ELSEWHERE: Final = 219  # <asm-generic/unistd.h>
_JOIN_SESSION_KEYRING: Final = 1


def find(name: str, *, login: bool) -> struct_passwd:
    """The account of this name. Raises Refused if jobs must not run as it.

    `login` asks for one that can log in.
    """
    if not _NAME.fullmatch(name):
        raise Refused('PBL-USER', 'what the job names as user is no account name')
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Refused('PBL-ACCOUNT', f'there is no account {name}') from None
    uid, gid = account.pw_uid, account.pw_gid
    # pwd says -1 for 2**32-1, which to setresuid(2) and chown(2) means "as it is".
    plain = min(uid, gid) >= 0 and max(uid, gid) < 2**31
    if (uid == 0) is not (name == 'root') or not plain:
        raise Refused('PBL-ACCOUNT', f'{name} has the numbers {uid} and {gid}')
    if account.pw_uid:
        _require_open(name)
    if login:
        _require_login(account)
    return account


def _require_open(name: str) -> None:
    """shadow(5): neither expired, nor locked by who put a `!` before its password.

    An account that never had a password, as those of services, is not locked.
    """
    with suppress(FileNotFoundError), open('/etc/shadow', 'rb') as shadow:
        for line in shadow:
            fields = line.rstrip(b'\n').split(b':')
            if fields[0] != name.encode() or len(fields) < 8:
                continue
            if re.match(rb'!+[^!*]', fields[1]):
                raise Refused('PBL-ACCOUNT-LOCKED', f'the account {name} is locked')
            if fields[7].isdigit() and int(fields[7]) <= time.time() // 86400:
                raise Refused('PBL-ACCOUNT-EXPIRED', f'the account {name} has expired')


def _require_login(account: struct_passwd) -> None:
    name = account.pw_name
    if os.path.basename(account.pw_shell) in _NOBODYS_SHELL:
        raise Refused('PBL-ACCOUNT-LOGIN', f'the account {name} cannot log in')


def become(account: struct_passwd) -> None:
    """Become this account, with its groups, no capabilities and no keys, for good.

    Raises Refused if anything is not as it has to be; then this process must not
    go on.
    """
    try:
        _become(account)
    except (OSError, KeyError) as error:
        fact = f'this process cannot become {account.pw_name}: {error}'
        raise Refused('PBL-ACCOUNT-BECOME', fact) from None


def _become(account: struct_passwd) -> None:
    uid, gid = account.pw_uid, account.pw_gid
    groups = sorted({*os.getgrouplist(account.pw_name, gid)})
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _drop_capabilities()
    _leave_keyring()
    seen = os.getresuid(), os.getresgid(), sorted(os.getgroups())
    if uid == 0 or seen != ((uid,) * 3, (gid,) * 3, groups):
        raise OSError('its ids or groups are others')
    if pwd.getpwnam(account.pw_name) != account:
        raise OSError('the account has just changed')


def _drop_capabilities() -> None:
    """All: setresuid(2) leaves inheritable ones, and by securebits the others."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), 'capabilities cannot be dropped')


def _leave_keyring() -> None:
    """The caller's session keyring opens to whoever has it: keyrings(7)."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = _KEYCTL.get(os.uname().machine, _KEYCTL_ELSEWHERE)
    failed = libc.syscall(number, _JOIN_SESSION_KEYRING, None) < 0
    # A kernel without keys has no such call, and containers forbid it to everybody.
    if failed and ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        raise OSError(ctypes.get_errno(), 'the keyring cannot be left')
