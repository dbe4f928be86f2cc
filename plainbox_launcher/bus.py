# SPDX-License-Identifier: ISC
"""Questions to services on the system bus, each conversation with an end.

asyncio and dbus-next take longer to load than all the rest of the runner, and most
commands ask nothing. So whoever needs this module, polkit or logind imports it where
it is needed. Where dbus-next is missing, root's jobs run all the same; one only
learns less about them beforehand.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from gettext import gettext as _
from typing import Any, Final, TypeVar

from .refusals import refusal
from .trusted.errors import Refused

#: For each answer. A service that is started for it has to be quick.
SECONDS: Final = 3.0

Bus = Any  # dbus_next.aio.MessageBus; dbus-next has no annotations
_T = TypeVar('_T')


class Said(Exception):
    """An error that came as an answer: its name on the bus, and its words."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(name, words)
        self.name = name
        self.words = words

    def __str__(self) -> str:
        return self.words or self.name


def library() -> Any:  # noqa: ANN401  # a module without annotations
    """The module dbus_next. Raises Refused if it is not installed."""
    try:
        import dbus_next.aio
    except ImportError:
        fact = _('the Python module dbus_next is not installed')
        raise refusal('PBL-NO-DBUS-NEXT', fact) from None
    return dbus_next


def talk(conversation: Callable[[Bus], Coroutine[Any, Any, _T]]) -> _T:
    """Hold a conversation on a connection of its own.

    Raises Refused if there is no bus, or nobody answers in time, and what the
    conversation raises.
    """
    library()
    with asyncio.Runner(loop_factory=_Loop) as runner:
        # What goes wrong is told where it is waited for.
        runner.get_loop().set_exception_handler(lambda *_: None)
        return runner.run(_talk(conversation))


async def call(
    bus: Bus,
    service: str,
    path: str,
    method: str,
    signature: str = '',
    *arguments: object,
    start: bool = True,
) -> list[Any]:
    """Call a method, INTERFACE.MEMBER; gives what it returns. Raises Said, Refused.

    `start` lets the bus start a service that does not run.
    """
    interface, __, member = method.rpartition('.')
    flags = library().MessageFlag
    message = library().Message(
        flags=flags.NONE if start else flags.NO_AUTOSTART,
        destination=service,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=list(arguments),
    )
    try:
        reply = await asyncio.wait_for(bus.call(message), SECONDS)
    except TimeoutError:
        raise unreachable(_('{name} does not answer').format(name=service)) from None
    except (OSError, EOFError) as error:
        raise unreachable(str(error)) from None
    if reply is None:
        raise unreachable(_('the system bus ended'))
    body = list(reply.body)
    if reply.error_name:
        raise Said(reply.error_name, str(body[0]) if body else '')
    return body


def unreachable(fact: str) -> Refused:
    """The refusal for a bus, or a polkit, that is not there."""
    return refusal('PBL-NO-POLKIT', fact)


async def _talk(conversation: Callable[[Bus], Coroutine[Any, Any, _T]]) -> _T:
    dbus = library()
    try:
        bus = dbus.aio.MessageBus(bus_type=dbus.BusType.SYSTEM)
        await asyncio.wait_for(bus.connect(), SECONDS)
    except TimeoutError:
        raise unreachable(_('the system bus does not answer')) from None
    except (OSError, EOFError, dbus.AuthError, dbus.InvalidAddressError) as error:
        words = getattr(error, 'strerror', None) or str(error)
        fact = _('the system bus cannot be reached: {reason}').format(reason=words)
        raise unreachable(fact) from None
    try:
        return await conversation(bus)
    finally:
        bus.disconnect()


class _Loop(asyncio.SelectorEventLoop):
    """With an end of the bus that dbus-next sees.

    While it says hello it reads on and on from a bus that has hung up, and gives
    nobody else a turn.
    """

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        data = await super().sock_recv(sock, nbytes)
        if not data:
            raise EOFError(_('the system bus hung up'))
        return data
