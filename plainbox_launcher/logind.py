# SPDX-License-Identifier: ISC
"""Our own login session, as logind has it: org.freedesktop.login1(5)."""

from typing import Any, Final, NamedTuple

from . import bus
from .bus import Bus, Said

_SERVICE: Final = 'org.freedesktop.login1'
_PATH: Final = '/org/freedesktop/login1'
_OURSELVES: Final = 0  # whoever it is that asks


class NoLogind(Exception):
    """There is no logind that knows of sessions."""


class Session(NamedTuple):
    """A session. polkit calls those local that have a seat."""

    id: str
    seat: str
    type: str
    active: bool
    remote: bool

    @property
    def local(self) -> bool:
        """Whether it is on a seat of this machine."""
        return bool(self.seat)


def own() -> Session | None:
    """Our session, or that of our desktop; None if we are in none.

    Raises NoLogind, or Refused where there is no bus or no dbus-next.
    """
    return bus.talk(_own)


async def _own(connection: Bus) -> Session | None:
    try:
        path = await _path(connection)
        return await _session(connection, path) if path else None
    except Said as error:
        if error.name.startswith(_SERVICE):
            return None
        raise NoLogind(str(error)) from None


async def _path(connection: Bus) -> str:
    """Where our session is: as polkit, we look at the user's desktop next.

    Terminals of desktops are started by the user's manager, which is in no session.
    """
    manager = f'{_SERVICE}.Manager'
    try:
        method = f'{manager}.GetSessionByPID'
        found = await bus.call(
            connection, _SERVICE, _PATH, method, 'u', _OURSELVES, start=False
        )
        return str(found[0])
    except Said as error:
        if not error.name.startswith(_SERVICE):
            raise
    method = f'{manager}.GetUserByPID'
    found = await bus.call(
        connection, _SERVICE, _PATH, method, 'u', _OURSELVES, start=False
    )
    id_, path = await _property(connection, str(found[0]), 'User', 'Display')
    return str(path) if id_ else ''


async def _session(connection: Bus, path: str) -> Session:
    async def get(name: str) -> Any:  # noqa: ANN401
        return await _property(connection, path, 'Session', name)

    seat, __ = await get('Seat')
    return Session(
        id=str(await get('Id')),
        seat=str(seat),
        type=str(await get('Type')),
        active=bool(await get('Active')),
        remote=bool(await get('Remote')),
    )


async def _property(connection: Bus, path: str, kind: str, name: str) -> Any:  # noqa: ANN401
    method = 'org.freedesktop.DBus.Properties.Get'
    interface = f'{_SERVICE}.{kind}'
    (found,) = await bus.call(connection, _SERVICE, path, method, 'ss', interface, name)
    return found.value
