# SPDX-License-Identifier: ISC
"""Where we are, and what is installed: facts, seen without privileges.

Nothing in here asks anybody for a password, or waits for long.
"""

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from gettext import gettext as _
from typing import Final, NamedTuple

from . import catalogue, elevate, logind, polkit
from .logind import NoLogind, Session
from .polkit import Action, Rehearsal
from .refusals import refusal
from .trusted import files
from .trusted.commandline import PROGRAM
from .trusted.errors import Fault, Missing, Refused

LOG: Final = '/dev/log'

_ROOM: Final = '/usr/lib/plainbox-launcher/plainbox_launcher/trusted'
_SECONDS: Final = 10  # for a program that only says its version

# user_namespaces(7): in the one in which root is root.
_EVERYBODY: Final = ['0', '0', '4294967295']

# What services are shut out of: systemd.exec(5), ProtectSystem= and its like.
_PLACES: Final = (
    *('/', '/usr', '/etc', '/var', '/home', '/root', '/run'),
    *('/dev', '/tmp', '/var/tmp'),  # noqa: S108
)


class View(NamedTuple):
    """How this process sees the machine, and with it each job of root's.

    Such a job descends from us: polkit changes who it is, not where it is.
    `private` are the places that hold other files here than outside.
    """

    no_new_privs: bool
    user_namespace: bool
    read_only: tuple[str, ...]
    private: tuple[str, ...]


class Facts(NamedTuple):
    """All that was gathered."""

    root: bool
    python: tuple[int, int]
    pkexec: str  # its path, '' if there is none
    setuid: bool
    nosuid: bool
    launcher: str | Refused  # its version
    action: Action | Refused | None
    session: Session | str | None  # a text says why it is not known
    rehearsal: Rehearsal | Refused | None  # None: it made no sense
    agent: bool
    terminal: bool
    view: View
    log: str  # what is at fault with it, '' if nothing
    providers: int
    jobs: int
    root_jobs: int
    faults: tuple[Fault, ...]


def gather() -> Facts:
    """Look around."""
    installed = catalogue.read([]).installed
    jobs = [unit for unit in installed.units if unit.kind == 'job']
    pkexec = shutil.which('pkexec') or ''
    setuid, nosuid = rights(pkexec) if pkexec else (False, False)
    seen, launcher, action = view(), _launcher(), _action()
    # Where polkit was waited for in vain, that is enough.
    session = _('not known') if isinstance(action, Refused) else _session()
    able = setuid and not (nosuid or seen.no_new_privs or seen.user_namespace)
    sound = not isinstance(launcher, Refused)
    return Facts(
        root=os.getuid() == 0,
        python=sys.version_info[:2],
        pkexec=pkexec,
        setuid=setuid,
        nosuid=nosuid,
        launcher=launcher,
        action=action,
        session=session,
        rehearsal=_rehearsal(action) if able and sound else None,
        agent=_agent(session),
        terminal=elevate.can_ask(),
        view=seen,
        log=log_fault(),
        providers=len(installed.providers),
        jobs=len(jobs),
        root_jobs=sum(bool(job.get('user') or job.get('context')) for job in jobs),
        faults=installed.faults,
    )


def rights(program: str) -> tuple[bool, bool]:
    """Whether a program is setuid root, and whether its file system denies that."""
    status = os.stat(program)
    setuid = status.st_uid == 0 and bool(status.st_mode & stat.S_ISUID)
    return setuid, bool(os.statvfs(program).f_flag & os.ST_NOSUID)


def check_files() -> None:
    """Raise Fault unless launcher and room belong to root, and to nobody else."""
    faults: list[Fault] = []
    with files.directory(os.path.dirname(elevate.LAUNCHER)) as fd:
        files.read(PROGRAM, fd, elevate.LAUNCHER)
    with files.directory(_ROOM) as fd:
        for __ in files.walk(fd, _ROOM, ('.py',), faults):
            pass
    for fault in faults:
        raise fault


def log_fault() -> str:
    """Why the system log would take no line; '' if it would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        try:
            log.connect(LOG)
        except OSError as error:
            fact = _('{path} takes no line: {reason}')
            return fact.format(path=LOG, reason=error.strerror)
    return ''


def view() -> View:
    """How this process sees the machine."""
    with open('/proc/self/uid_map', encoding='ascii') as uid_map:
        everybody = uid_map.read().split() == _EVERYBODY
    with open('/proc/self/status', encoding='utf-8', errors='replace') as status:
        barred = re.search(r'(?m)^NoNewPrivs:\s*1$', status.read()) is not None
    with open('/proc/self/mountinfo', encoding='utf-8', errors='replace') as mounts:
        private = private_mounts(mounts.read())
    read_only = {place for place in _PLACES if _is_read_only(place)}
    read_only -= private - {'/'}  # that it is another place says more
    private -= read_only
    return View(
        no_new_privs=barred,
        user_namespace=not everybody,
        read_only=tuple(place for place in _PLACES if place in read_only),
        private=tuple(place for place in _PLACES if place in private),
    )


def private_mounts(mountinfo: str) -> set[str]:
    """The places of a /proc/self/mountinfo that are not as they are outside.

    proc_pid_mountinfo(5): number, parent, device, root, place, options, tags.
    """
    found = set()
    for line in mountinfo.splitlines():
        __, __, __, root, place, *rest = line.split(' ')
        end = rest.index('-')
        slave = any(tag.startswith('master:') for tag in rest[:end])
        if (
            (place == '/' and slave)  # a namespace of its own: mount_namespaces(7)
            or (place == '/dev' and rest[end + 1] != 'devtmpfs')  # PrivateDevices=
            or '/systemd-private-' in root  # PrivateTmp=
            or '/inaccessible/' in root  # ProtectHome=, InaccessiblePaths=
        ):
            found.add(place)
    return found


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _launcher() -> str | Refused:
    """The version that the launcher says it has, or what is wrong with it."""
    try:
        check_files()
        return _version()
    except Missing as fault:
        return refusal('PBL-NO-LAUNCHER', str(fault))
    except Fault as fault:
        return refusal('PBL-UNSAFE-LAUNCHER', str(fault))
    except OSError as error:
        fact = _('{path} cannot be started: {reason}')
        fact = fact.format(path=elevate.LAUNCHER, reason=error.strerror)
        return refusal('PBL-NO-LAUNCHER', fact)


def _version() -> str:
    """It says so to everybody. Raises OSError where it does not even start."""
    try:
        done = subprocess.run(  # noqa: S603  # no shell
            [elevate.LAUNCHER, '--version'],
            env=elevate.environment(),
            capture_output=True,
            encoding='utf-8',
            errors='replace',
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return '?'
    return done.stdout.strip().removeprefix(f'{PROGRAM} ') or '?'


def _action() -> Action | Refused | None:
    try:
        return polkit.action()
    except Refused as refused:
        return refused


def _session() -> Session | str | None:
    try:
        return logind.own()
    except NoLogind:
        return _('there is no logind; for polkit we are not at this machine')
    except Refused as refused:
        return _('not known: {reason}').format(reason=refused.fact)


def _rehearsal(action: Action | Refused | None) -> Rehearsal | Refused | None:
    if not isinstance(action, Action) or action.path != elevate.LAUNCHER:
        return None
    command = elevate.warm_up_command(elevate.LAUNCHER)
    try:
        return polkit.rehearse(command, elevate.environment())
    except Refused as refused:
        return refused


def _agent(session: Session | str | None) -> bool:
    """Whether a desktop asks in our session."""
    if not isinstance(session, Session):
        return False
    try:
        return polkit.has_agent(session.id)
    except Refused:
        return False
