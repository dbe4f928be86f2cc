# SPDX-License-Identifier: ISC
"""A polkit agent that never gives a password: `agent.py cancel|fail COMMAND...`.

It runs the command, and is asked for what pkexec, called by the command, wants.
`cancel` is the user who closes the dialog, `fail` the one who knows no password. Each
time it is asked it says so on standard error.

It speaks to the bus by itself, so that tests need no library for that:
https://dbus.freedesktop.org/doc/dbus-specification.html and
https://www.freedesktop.org/software/polkit/docs/latest/eggdbus-interface-org.freedesktop.PolicyKit1.AuthenticationAgent.html
"""

import ctypes
import os
import signal
import socket
import struct
import sys
from typing import NamedTuple

CALL, RETURN, ERROR = 1, 2, 3
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = (
    *range(1, 9),
)
KINDS = {PATH: 'o', REPLY_SERIAL: 'u', SIGNATURE: 'g'}  # the others are strings
POLKIT = 'org.freedesktop.PolicyKit1'
PR_SET_PDEATHSIG = 1


class Message(NamedTuple):
    kind: int
    serial: int
    fields: dict[int, str | int]


def align(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def put(data: bytes, kind: str, value: str | int) -> bytes:
    """Appends a value where it belongs in the message that begins with `data`."""
    if isinstance(value, int):
        size = {'u': 4, 'i': 4, 't': 8}[kind]
        return align(data, size) + value.to_bytes(size, 'little')
    raw = value.encode()
    if kind == 'g':
        return data + bytes([len(raw)]) + raw + b'\0'
    return put(data, 'u', len(raw)) + raw + b'\0'


def encode(kind: int, fields: dict[int, str | int], body: bytes = b'') -> bytes:
    data = struct.pack('<cBBBIII', b'l', kind, 0, 1, len(body), 1, 0)
    for code, value in fields.items():
        what = KINDS.get(code, 's')
        data = put(put(align(data, 8) + bytes([code]), 'g', what), what, value)
    data = data[:12] + struct.pack('<I', len(data) - 16) + data[16:]
    return align(data, 8) + body


def receive(bus: socket.socket) -> Message:
    head = bus.recv(16, socket.MSG_WAITALL)
    if len(head) < 16:
        sys.exit('agent: the bus is gone')
    _, kind, _, _, length, serial, size = struct.unpack('<cBBBIII', head)
    rest = bus.recv(size + -size % 8 + length, socket.MSG_WAITALL)
    return Message(kind, serial, decode(head + rest[:size]))


def decode(data: bytes) -> dict[int, str | int]:
    """The header fields; those that matter are strings and a number."""
    fields: dict[int, str | int] = {}
    at = 16
    while at < len(data):
        at += -at % 8
        code, what = data[at], chr(data[at + 2])
        at += 4
        size = data[at] if what == 'g' else int.from_bytes(data[at : at + 4], 'little')
        at += 1 if what == 'g' else 4
        if what == 'u':
            fields[code] = size
        else:
            fields[code] = data[at : at + size].decode()
            at += size + 1
    return fields


def connect() -> socket.socket:
    bus = socket.socket(socket.AF_UNIX)
    bus.connect('/run/dbus/system_bus_socket')
    bus.sendall(b'\0AUTH EXTERNAL %s\r\n' % str(os.getuid()).encode().hex().encode())
    assert bus.recv(100).startswith(b'OK')
    bus.sendall(b'BEGIN\r\n')
    hello = {PATH: '/', DESTINATION: 'org.freedesktop.DBus', MEMBER: 'Hello'}
    call(bus, {**hello, INTERFACE: 'org.freedesktop.DBus'})
    return bus


def call(bus: socket.socket, fields: dict[int, str | int], body: bytes = b'') -> None:
    bus.sendall(encode(CALL, fields, body))
    while (answer := receive(bus)).kind not in (RETURN, ERROR):
        pass
    if answer.kind == ERROR:
        sys.exit(f'agent: {answer.fields[ERROR_NAME]}')


def register(bus: socket.socket, pid: int) -> None:
    """Be asked for whatever this process needs to be asked for."""
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        start = int(file.read().rpartition(')')[2].split()[19])
    facts = b''
    body = put(b'', 's', 'unix-process') + b'\0\0\0'
    at = len(align(body, 4)) + 4
    facts = bytes(at + -at % 8)
    begin = len(facts)
    for name, kind, value in (('pid', 'u', pid), ('start-time', 't', start)):
        facts = put(put(put(align(facts, 8), 's', name), 'g', kind), kind, value)
    body = put(body, 'u', len(facts) - begin)
    body = align(body, 8) + facts[begin:]
    body = put(put(body, 's', 'C'), 's', '/agent')
    where: dict[int, str | int] = {
        PATH: f'/{POLKIT.replace(".", "/")}/Authority',
        DESTINATION: POLKIT,
        INTERFACE: f'{POLKIT}.Authority',
        MEMBER: 'RegisterAuthenticationAgent',
        SIGNATURE: '(sa{sv})ss',
    }
    call(bus, where, body)


def answer(bus: socket.socket, how: str) -> None:
    asked = receive(bus)
    if asked.kind != CALL:
        return
    fields = {REPLY_SERIAL: asked.serial, DESTINATION: asked.fields[SENDER]}
    if asked.fields[MEMBER] == 'BeginAuthentication':
        print('agent: asked', file=sys.stderr, flush=True)
        if how == 'cancel':
            error = f'{POLKIT}.Error.Cancelled'
            bus.sendall(encode(ERROR, {**fields, ERROR_NAME: error}))
            return
    bus.sendall(encode(RETURN, fields))


def main(how: str, command: list[str]) -> None:
    pid = os.getpid()
    ready, registered = os.pipe()
    if os.fork():
        os.close(registered)
        os.read(ready, 1)
        os.execvp(command[0], command)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(ready)
    bus = connect()
    register(bus, pid)
    os.close(registered)
    while True:
        answer(bus, how)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
