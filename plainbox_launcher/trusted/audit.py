# SPDX-License-Identifier: ISC
"""One line to the system log before a job, and one after: syslog(3), authpriv.

Not through the syslog module: syslog(3) returns nothing, and a job must not
run if its line was not taken. Values of variables are never written.
"""

import os
import socket
import time
from typing import Final

from .caller import Caller
from .commandline import PROGRAM, Request
from .errors import Refused

_LOG: Final = '/dev/log'
_PATIENCE: Final = 5.0  # seconds, for a log that is stuck

# <syslog.h>: LOG_AUTHPRIV is 10 << 3.
_NOTICE: Final = 80 | 5
_WARNING: Final = 80 | 4

_MAX_FIELD: Final = 1024


def write(event: str, request: Request, caller: Caller, **facts: object) -> None:
    """Write who wants what, and the facts. Raises Refused if the log is deaf."""
    fields = {
        'uid': caller.uid,
        'caller': caller.name,
        'hash': request.hash,
        'via': request.via,
        **facts,
    }
    priority = _WARNING if event == 'refused' else _NOTICE
    words = [event, *(f'{key}={_word(value)}' for key, value in fields.items())]
    stamp = time.strftime('%b %e %H:%M:%S')
    line = f'<{priority}>{stamp} {PROGRAM}[{os.getpid()}]: {" ".join(words)}'
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(_PATIENCE)
            log.connect(_LOG)
            log.sendall(line.encode('ascii'))
    except OSError as error:
        reason = error.strerror or 'it does not answer'
        raise Refused('PBL-AUDIT', f'{_LOG} takes no line: {reason}') from None


def _word(value: object) -> str:
    """One word, whatever it holds: nobody forges a field or a line."""
    text = ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
    escaped = ''.join(c if '!' <= c <= '~' and c != '\\' else _escape(c) for c in text)
    if len(escaped) > _MAX_FIELD:
        escaped = f'{escaped[:_MAX_FIELD]}...'
    return escaped or '-'


def _escape(character: str) -> str:
    code = ord(character)
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{{{code:x}}}'
