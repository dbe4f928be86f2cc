# SPDX-License-Identifier: ISC
"""The account that a job runs as, and becoming it for good.

1. Accounts go by their names. A number, or a name that could be taken for one or
   for an option, is none: sudo and systemd have run such jobs as root.
2. What is asked of the system to become somebody is read back, and any difference
   ends the process before it is the job.
3. No credentials: that root may run the job as this account is polkit's answer.
"""

import ctypes
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

# capset(2), <linux/capability.h>; prctl(2), <linux/prctl.h>
_CAPABILITY_VERSION: Final = 0x20080522
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


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
    if (account.pw_uid == 0) is not (name == 'root') or account.pw_uid >= 2**31:
        raise Refused('PBL-ACCOUNT', f'{name} has the number {account.pw_uid}')
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
    if not account.pw_dir.startswith('/') or not os.path.isdir(account.pw_dir):
        raise Refused('PBL-ACCOUNT-HOME', f'{name} has no home directory')


def become(account: struct_passwd) -> None:
    """Become this account, with its groups and no capabilities, for good.

    Raises OSError if anything is not as it has to be; then this process must not
    go on.
    """
    uid, gid = account.pw_uid, account.pw_gid
    groups = sorted({*os.getgrouplist(account.pw_name, gid)})
    os.setgroups(groups)
    _drop_capabilities()
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    seen = os.getresuid(), os.getresgid(), sorted(os.getgroups())
    if uid == 0 or seen != ((uid,) * 3, (gid,) * 3, groups):
        raise OSError(f'this process did not become {account.pw_name}')
    if pwd.getpwnam(account.pw_name) != account:
        raise OSError(f'the account {account.pw_name} has just changed')


def _drop_capabilities() -> None:
    """Those that exec would keep; setresuid(2) drops the others: capabilities(7)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    libc.capget(header, sets)
    sets[2] = sets[5] = 0
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), 'capabilities cannot be dropped')
