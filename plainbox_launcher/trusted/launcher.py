# SPDX-License-Identifier: ISC
"""The road of plainbox-trusted-launcher-1, from argv to exit status.

The order of the lines in `_launch` is half of the argument for its safety: our own
state first, then what is asked and by whom; the other half is in `job.perform`.
"""

import os
from contextlib import suppress

from .. import __version__
from . import caller, channel, commandline, execute, job, library, start, tree
from .commandline import PROGRAM
from .errors import Refused, printable
from .job import World

REFUSED = 125  # what env(1), nice(1) and their like return for a failure of theirs
WRONG_USAGE = 2


def main(argv: list[str]) -> int:
    """Run the launcher; returns its exit status. Raises nothing."""
    try:
        arguments = [os.fsencode(argument) for argument in argv[1:]]
        if b'-h' in arguments or b'--help' in arguments:
            return _say(1, commandline.HELP)
        if b'--version' in arguments:
            return _say(1, f'{PROGRAM} {__version__}\n')
        return _launch(arguments)
    except commandline.Usage as error:
        with suppress(OSError):
            _say(2, f'{commandline.USAGE}{PROGRAM}: {printable(str(error))}\n')
        return WRONG_USAGE
    except Refused as refused:
        return _refuse(refused)
    except Exception as surprise:  # noqa: BLE001  # whatever it is, it is a refusal
        return _refuse(Refused('PBL-INTERNAL', f'unforeseen {type(surprise).__name__}'))


def _launch(arguments: list[bytes]) -> int:
    given = start.settle()
    request = commandline.parse(arguments)
    if request.mode == 'warmup':
        return 0
    who = caller.identify(given)
    tree.own_descendants()
    if request.mode == 'channel':
        return channel.serve(who, given)
    ending = job.perform(request, World(who, given, library.load(), {}))
    return execute.shell_status(ending.ended.status)


def _refuse(refused: Refused) -> int:
    with suppress(OSError):  # nobody listens, but the exit status speaks too
        _say(2, f'{PROGRAM}: {refused}\n')
    return REFUSED


def _say(fd: int, text: str) -> int:
    os.write(fd, text.encode('ascii'))
    return 0
