# SPDX-License-Identifier: ISC
"""A polkit agent that knows root's password: `giver.py PASSWORD SCOPE COMMAND...`.

It runs the command, and answers what pkexec, called by the command, wants to know:
as the agent of that one process, or where SCOPE is the id of a session, of that
session, as a desktop's is. Each time it is asked it says so on standard error.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from typing import Any

from dbus_next import BusType, Message, MessageType, Variant
from dbus_next.aio import MessageBus

POLKIT = 'org.freedesktop.PolicyKit1'
HELPER = '/usr/lib/polkit-1/polkit-agent-helper-1'
PR_SET_PDEATHSIG = 1


def subject(scope: str, pid: int) -> list[Any]:
    if scope != 'process':
        return ['unix-session', {'session-id': Variant('s', scope)}]
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        start = int(file.read().rpartition(')')[2].split()[19])
    return [
        'unix-process',
        {'pid': Variant('u', pid), 'start-time': Variant('t', start)},
    ]


async def answer(bus: MessageBus, message: Message, password: str) -> None:
    """polkit believes only its own helper, which wants cookie and password."""
    print('agent: asked', file=sys.stderr, flush=True)
    helper = await asyncio.create_subprocess_exec(
        HELPER, 'root', stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    await helper.communicate(f'{message.body[4]}\n{password}\n'.encode())
    await bus.send(Message.new_method_return(message))


async def serve(password: str, scope: str, pid: int, registered: int) -> None:
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    tasks = set()

    def handle(message: Message) -> bool:
        if message.member != 'BeginAuthentication':
            return False
        tasks.add(asyncio.ensure_future(answer(bus, message, password)))
        return True

    bus.add_message_handler(handle)
    reply = await bus.call(
        Message(
            destination=POLKIT,
            path='/org/freedesktop/PolicyKit1/Authority',
            interface=f'{POLKIT}.Authority',
            member='RegisterAuthenticationAgent',
            signature='(sa{sv})ss',
            body=[subject(scope, pid), 'C', '/agent'],
        )
    )
    if reply.message_type != MessageType.METHOD_RETURN:
        sys.exit(f'agent: {reply.body}')
    os.close(registered)
    await bus.wait_for_disconnect()


def main(password: str, scope: str, command: list[str]) -> None:
    pid = os.getpid()
    ready, registered = os.pipe()
    if os.fork():
        os.close(registered)
        os.read(ready, 1)
        os.execvp(command[0], command)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(ready)
    asyncio.run(serve(password, scope, pid, registered))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
