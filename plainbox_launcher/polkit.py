# SPDX-License-Identifier: ISC
"""What polkit knows and would say, asked before a run; and what it is to forget after.

https://www.freedesktop.org/software/polkit/docs/latest/eggdbus-interface-org.freedesktop.PolicyKit1.Authority.html
"""

import asyncio
import contextlib
import os
import pwd
from collections.abc import Callable, Coroutine, Mapping, Sequence
from gettext import gettext as _
from typing import Any, Final, NamedTuple, TypeVar

from . import bus
from .bus import Bus, Said
from .elevate import ACTION

YES: Final = 'yes'
ASK: Final = 'ask'
NO: Final = 'no'

_SERVICE: Final = 'org.freedesktop.PolicyKit1'
_PATH: Final = '/org/freedesktop/PolicyKit1/Authority'
_AGENT: Final = '/org/freedesktop/PolicyKit1/AuthenticationAgent'
_EXEC_PATH: Final = 'org.freedesktop.policykit.exec.path'
_KEPT: Final = 'polkit.temporary_authorization_id'

# ImplicitAuthorization, in the words of policy files.
_IMPLICIT: Final = (
    *('no', 'auth_self', 'auth_admin', 'auth_self_keep', 'auth_admin_keep', 'yes'),
)


_T = TypeVar('_T')


class Action(NamedTuple):
    """The program an action is for, and what its policy says of whom."""

    path: str
    any: str
    inactive: str
    active: str


class Answer(NamedTuple):
    """YES, ASK or NO; `kept` names the consent that polkit kept, if it is for that."""

    word: str
    kept: str = ''


class Rehearsal(NamedTuple):
    """How pkexec ended where nobody answers, and who would have been asked."""

    status: int
    stderr: str
    asked: tuple[str, ...]


def action(name: str = ACTION) -> Action | None:
    """What polkit has registered under this name; None if it has nothing.

    All in here raise Refused where the bus, polkit or dbus-next is missing.
    """
    return _talk(lambda connection: _action(connection, name))


def would_ask(name: str = ACTION) -> Answer:
    """What polkit says if we ask it for ourselves, and nobody is asked.

    It tells only root's own programs what a rule says that looks at the user whom
    pkexec is to become, as our rule for the group does: to us, that is NO.
    `rehearse` knows better.
    """
    return _talk(lambda connection: _check(connection, name))


def revoke(name: str = ACTION) -> bool:
    """Have polkit forget the consent it keeps for us; whether it has none any more.

    It forgets on demand what the agent of a session asked for. What the agent of a
    process did, as pkttyagent(1) for the runner, it keeps until that process ends.
    """
    return _talk(lambda connection: _revoke(connection, name))


def rehearse(command: Sequence[str], environment: Mapping[str, str]) -> Rehearsal:
    """Run a command of pkexec's, and close each dialog before anybody sees it.

    polkit asks the agent of the process that called pkexec before that of the
    session, so for once we are that agent. There is no other way to hear, without
    privileges, what polkit will say to pkexec.
    """
    return _talk(lambda connection: _rehearse(connection, command, environment))


def has_agent(session: str) -> bool:
    """Whether somebody asks for passwords in our session, as desktops do.

    polkit does not say; but it takes only one agent for a session.
    """
    return _talk(lambda connection: _has_agent(connection, session))


def _talk(conversation: Callable[[Bus], Coroutine[Any, Any, _T]]) -> _T:
    try:
        return bus.talk(conversation)
    except Said as error:
        raise bus.unreachable(str(error)) from None


async def _call(connection: Bus, member: str, types: str, *values: object) -> list[Any]:
    method = f'{_SERVICE}.Authority.{member}'
    return await bus.call(connection, _SERVICE, _PATH, method, types, *values)


async def _action(connection: Bus, name: str) -> Action | None:
    (actions,) = await _call(connection, 'EnumerateActions', 's', 'C')
    for id_, *__, other, inactive, active, annotations in actions:
        if id_ == name:
            words = (_IMPLICIT[number] for number in (other, inactive, active))
            return Action(annotations.get(_EXEC_PATH, ''), *words)
    return None


async def _check(connection: Bus, name: str) -> Answer:
    # Our own connection: polkit asks the bus whose it is, and no number can be old.
    me = ['system-bus-name', {'name': _variant('s', connection.unique_name)}]
    types, silently = '(sa{sv})sa{ss}us', 0
    ((authorized, challenge, details),) = await _call(
        connection, 'CheckAuthorization', types, me, name, {}, silently, ''
    )
    if authorized:
        return Answer(YES, details.get(_KEPT, ''))
    return Answer(ASK if challenge else NO)


async def _revoke(connection: Bus, name: str) -> bool:
    kept = (await _check(connection, name)).kept
    if not kept:
        return True
    try:
        await _call(connection, 'RevokeTemporaryAuthorizationById', 's', kept)
    except Said:  # kept for a process, or for another session
        return False
    return not (await _check(connection, name)).kept


async def _rehearse(
    connection: Bus, command: Sequence[str], environment: Mapping[str, str]
) -> Rehearsal:
    asked: list[str] = []

    def answer(message: Any) -> Any:  # noqa: ANN401  # dbus_next.Message
        if message.path != _AGENT:
            return None
        if message.member == 'BeginAuthentication':
            asked.extend(_names(message.body[5]))
            name = f'{_SERVICE}.Error.Cancelled'
            return bus.library().Message.new_error(message, name, 'a rehearsal')
        return bus.library().Message.new_method_return(message)

    connection.add_message_handler(answer)
    me = ['unix-process', {k: _variant(*v) for k, v in _process().items()}]
    await _call(
        connection, 'RegisterAuthenticationAgent', '(sa{sv})ss', me, 'C', _AGENT
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        __, err = await asyncio.wait_for(process.communicate(), bus.SECONDS)
    except TimeoutError:
        with contextlib.suppress(PermissionError):  # root's by now
            process.kill()
        raise bus.unreachable(_('pkexec does not end')) from None
    status = process.returncode or 0
    return Rehearsal(status, err.decode('utf-8', 'replace'), tuple(asked))


async def _has_agent(connection: Bus, session: str) -> bool:
    subject = ['unix-session', {'session-id': _variant('s', session)}]
    try:
        await _call(
            connection,
            'RegisterAuthenticationAgent',
            '(sa{sv})ss',
            subject,
            'C',
            _AGENT,
        )
    except Said as error:
        return 'already exists' in error.words
    await _call(
        connection, 'UnregisterAuthenticationAgent', '(sa{sv})s', subject, _AGENT
    )
    return False


def _variant(kind: str, value: object) -> Any:  # noqa: ANN401
    return bus.library().Variant(kind, value)


def _process() -> dict[str, tuple[str, int]]:
    """We, as polkit tells processes apart."""
    with open('/proc/self/stat', encoding='utf-8', errors='replace') as file:
        # proc(5): field 22, and the second is a name that may hold anything.
        start = int(file.read().rpartition(')')[2].split()[19])
    return {
        'pid': ('u', os.getpid()),
        'start-time': ('t', start),
        'uid': ('i', os.getuid()),
    }


def _names(identities: Sequence[Sequence[Any]]) -> list[str]:
    """Whose passwords would do, in polkit's order."""
    found = []
    for kind, facts in identities:
        if kind == 'unix-user':
            uid = facts['uid'].value
            try:
                found.append(pwd.getpwuid(uid).pw_name)
            except KeyError:
                found.append(str(uid))
    return found
