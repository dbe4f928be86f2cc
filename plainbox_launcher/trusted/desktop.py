# SPDX-License-Identifier: ISC
"""`context: user-session`: a job in the session of whoever sits at the machine.

1. Root asks logind who that is. All that speaks to the user's manager is systemd's
   own tools, in processes that became the user before they execute them; root
   opens nothing that is the user's.
2. No value of a variable stands on a command line: `--setenv=NAME` takes it from
   the environment.
3. A job is two units of the user's manager: the job, and its watcher, which ends
   it once the launcher is gone. As long as the watcher lives, the manager
   remembers how the job ended.

Nothing here defends the job from the user: what runs in a session is in the hands
of whose session it is, and so is what is said of its end.
"""

import os
import pwd
import re
import signal
from contextlib import suppress
from pwd import struct_passwd
from typing import Final, NamedTuple

from . import execute
from .environ import SCREEN
from .errors import Refused, printable
from .execute import Command, Limits
from .start import STOPS
from .tree import FOREVER, GRACE, HURRY, Ended

SEAT: Final = 'seat0'

_LIMITS: Final = Limits(max_bytes=1 << 20, seconds=30)
_ENDING: Final = '--property=ExecMainCode,ExecMainStatus,CPUUsageNSec,MemoryPeak'

# $0 is the launcher's process, and counts as alive though it be root's; $1 the job.
_WATCHER: Final = f"""
/usr/bin/tail --pid="$0" --sleep-interval=0.5 -f /dev/null
/usr/bin/systemctl --user kill --signal=TERM "$1"
/bin/sleep {HURRY}
/usr/bin/systemctl --user kill --signal=KILL "$1"
"""


class Session(NamedTuple):
    """Somebody's active session at the machine's own seat."""

    id: str
    account: struct_passwd
    type: str  # tty, x11, wayland


def session() -> Session:
    """The session that jobs of this context run in. Raises Refused."""
    people = [one for one in _sessions() if one['Class'] == 'user']
    active = [one for one in people if one['Active'] == 'yes']
    here = {one['Seat']: one for one in active if one['Seat']}
    if len(here) > 1:
        raise Refused('PBL-SESSION-SEATS', f'people sit at {", ".join(sorted(here))}')
    found = here.get(SEAT)
    away = [one['Name'] for one in people if one['Remote'] == 'yes']
    if away and (not found or found['Remote'] == 'yes'):
        raise Refused('PBL-SESSION-REMOTE', f'{away[0]} is logged in from elsewhere')
    if not found or found['State'] != 'active':
        raise Refused('PBL-SESSION-NONE', f'nobody is logged in at {SEAT}')
    account = pwd.getpwuid(int(found['User']))
    if account.pw_uid == 0:
        raise Refused('PBL-SESSION-ROOT', f'root is logged in at {SEAT}')
    if found['LockedHint'] != 'no':
        raise Refused('PBL-SESSION-LOCKED', f'{account.pw_name} has locked the session')
    if found['Type'] in ('x11', 'wayland'):
        _require_display(account)
    return Session(found['Id'], account, found['Type'])


def watch(here: Session, unit: str, launcher: int) -> None:
    """Have the session's manager end `unit` when the process `launcher` ends.

    Raises Refused, also if there is another session by now: nothing has run so far.
    """
    if session() != here:
        who = here.account.pw_name
        raise Refused('PBL-SESSION-NONE', f'{who} has just left {SEAT}')
    # By being named here the job is referred to, and so remembered.
    name = f'{unit}.service'
    words = '/bin/sh', '-c', _WATCHER, str(launcher), name
    properties = {'PropagatesStopTo': name}
    _output(_start(here, f'{unit}-watcher', properties, {}, words))


def command(here: Session, job: Command, unit: str, seconds: float) -> Command:
    """What starts `job` as a unit of the session's manager, and waits for its end.

    It passes on its descriptors 0-2. How it ends itself tells little, see `finish`.
    After `seconds` the manager ends the job, in case that the launcher does not.
    """
    values = {name: value for name, value in job.environ.items() if name not in SCREEN}
    values |= {'XDG_SESSION_ID': here.id, 'XDG_SESSION_TYPE': here.type}
    properties = {
        # Not a daemon, for which it is success to be ended by TERM.
        'Type': 'oneshot',
        'BindsTo': f'{unit}-watcher.service',
        'After': f'{unit}-watcher.service',
        'TimeoutStartSec': 'infinity' if seconds == FOREVER else f'{seconds:.3f}',
        'TimeoutStopSec': f'{GRACE:.0f}',
        'IgnoreSIGPIPE': 'no',
        'UMask': '0022',
        # Fresh, empty, and removed afterwards.
        'RuntimeDirectory': unit,
        'WorkingDirectory': job.directory or f'{_runtime(here.account)}/{unit}',
    }
    words = job.program, *job.argv[1:]
    return _start(here, unit, properties, values, words, '--pipe')


def finish(here: Session, unit: str, grace: float = GRACE) -> Ended:
    """End what still runs of `unit`: TERM, `grace` seconds, KILL; and its watcher.

    Returns how the job ended. Raises Refused if the manager does not know: it is
    gone, or never started it.
    """
    while signal.sigtimedwait(STOPS, 0):  # which is why we are here, and no reason
        pass  # not to start the tools that end the job
    account, name = here.account, f'{unit}.service'
    try:
        if not _obeyed(account, grace, 'stop', name):
            _obeyed(account, GRACE, 'kill', '--signal=KILL', name)
            _obeyed(account, GRACE, 'stop', name)
        said = _output(_systemctl(account, 'show', name, _ENDING), 'PBL-SESSION-LOST')
    finally:
        _obeyed(account, GRACE, 'stop', f'{unit}-watcher.service')
    shown = _properties(said)
    code, status = _number(shown, 'ExecMainCode'), _number(shown, 'ExecMainStatus')
    if code == 0 or status > 255:
        fact = f'the manager of {account.pw_name} does not know how the job ended'
        raise Refused('PBL-SESSION-LOST', fact)
    cpu, peak = _number(shown, 'CPUUsageNSec'), _number(shown, 'MemoryPeak')
    return Ended(status if code == os.CLD_EXITED else -status, cpu / 1e9, peak >> 10)


def _sessions() -> list[dict[str, str]]:
    """All that logind knows. What it does not say of one is empty."""
    found = []
    for line in _loginctl('list-sessions', '--no-legend').splitlines():
        with suppress(Refused):  # it has just ended
            said = _loginctl('show-session', '--all', line.split()[0])
            found.append(_properties(said))
    return found


def _require_display(account: struct_passwd) -> None:
    """The session has one; but does the manager give it to what it starts?"""
    known = _properties(_output(_systemctl(account, 'show-environment')))
    if not known.keys() & {'DISPLAY', 'WAYLAND_DISPLAY'}:
        fact = f'the manager of {account.pw_name} knows of no display'
        raise Refused('PBL-SESSION-DISPLAY', fact)


def _start(
    here: Session,
    unit: str,
    properties: dict[str, str],
    values: dict[str, str],
    words: tuple[str, ...],
    *options: str,
) -> Command:
    argv = (
        *('systemd-run', '--user', '--quiet', '--collect', f'--unit={unit}.service'),
        *('--description=plainbox-trusted-launcher-1', *options),
        *(f'--property={name}={value}' for name, value in properties.items()),
        *(f'--setenv={name}' for name in sorted(values)),
        # The manager puts variables in place of `$NAME`, and `$` in place of `$$`.
        *('--', *(word.replace('$', '$$') for word in words)),
    )
    environ = values | _environ(here.account)
    environ['LANG'] = values.get('LANG', environ['LANG'])
    return Command('/usr/bin/systemd-run', argv, environ, here.account)


def _obeyed(account: struct_passwd, seconds: float, *words: str) -> bool:
    """Whether an order came to its end in time, be it that there is no such unit."""
    try:
        limits = _LIMITS._replace(seconds=seconds)
        execute.capture(_systemctl(account, *words), limits)
    except execute.Exceeded:
        return False
    return True


def _systemctl(account: struct_passwd, *words: str) -> Command:
    argv = 'systemctl', '--user', *words
    return Command('/usr/bin/systemctl', argv, _environ(account), account)


def _environ(account: struct_passwd) -> dict[str, str]:
    return {'LANG': 'C.UTF-8', 'XDG_RUNTIME_DIR': _runtime(account)}


def _runtime(account: struct_passwd) -> str:
    return f'/run/user/{account.pw_uid}'  # pam_systemd(8)


def _loginctl(*words: str) -> str:
    argv = 'loginctl', *words
    environ = {'LANG': 'C.UTF-8'}
    return _output(Command('/usr/bin/loginctl', argv, environ), 'PBL-NO-LOGIND')


def _output(command: Command, code: str = 'PBL-SESSION-MANAGER') -> str:
    """What a tool prints. Raises Refused if it fails, with what it says last."""
    try:
        printed = execute.capture(command, _LIMITS)
    except execute.Exceeded as error:
        raise Refused(code, f'{command.argv[0]} {error}') from None
    except Refused as refused:
        if refused.code == 'PBL-EXEC':
            raise Refused(code, refused.fact) from None
        raise
    if printed.status:
        said = printed.stderr.decode(errors='replace').strip().rpartition('\n')[2]
        fact = printable(said)[:200] or f'it ended with {printed.status}'
        raise Refused(code, f'{command.argv[0]}: {fact}')
    return printed.stdout.decode(errors='replace')


def _properties(text: str) -> dict[str, str]:
    pairs = (line.partition('=') for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def _number(properties: dict[str, str], name: str) -> int:
    """A number; 0 if it is not known."""
    value = properties.get(name, '')
    return int(value) if re.fullmatch('[0-9]{1,20}', value) else 0
