# SPDX-License-Identifier: ISC
"""The road of plainbox-trusted-launcher-1, from argv to exit status.

The order of the lines in `_launch` is the argument for its safety: our own
state first, then what is asked and by whom, then what is installed, then what
would run, as a value; then the log; then, and only then, the job.
"""

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from .. import __version__
from . import audit, caller, commandline, environ, execute, generate, library, start
from .caller import Caller
from .commandline import PROGRAM, Request
from .environ import Environment
from .errors import Fault, Refused, printable
from .library import Library
from .unit import Unit

REFUSED = 125  # what env(1), nice(1) and their like return for a failure of theirs
WRONG_USAGE = 2


class Errand(NamedTuple):
    """All that a decision rests on."""

    request: Request
    caller: Caller
    given: Mapping[bytes, bytes]  # the environment that pkexec left
    share: str
    installed: Library


def main(argv: list[str]) -> int:
    """Run the launcher; returns its exit status. Raises nothing."""
    # Bytes, since the caller's LC_ALL decides how Python decoded them.
    arguments = [os.fsencode(argument) for argument in argv[1:]]
    try:
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
    if request.warmup:
        return 0
    who = caller.identify(given)
    try:
        return _serve(request, who, given)
    except Refused as refused:
        with suppress(Refused):  # a log that fails cannot make us refuse more
            audit.write(
                'refused',
                **_who_and_what(request, who),
                code=refused.code,
                fact=refused.fact,
            )
        raise


def _serve(request: Request, who: Caller, given: Mapping[bytes, bytes]) -> int:
    share = caller.session_share(request.variables, who)
    errand = Errand(request, who, given, share, library.load())
    execute.own_descendants()
    job = _generated(errand) if request.via else _installed(errand, request.hash)
    account = _account(job)
    environment = _environment(errand, job, account)
    command = execute.command(job, environment.values)
    _log('start', errand, job, account, environment)
    ending = execute.run(command)
    with suppress(Refused):  # too late to refuse: the status is the job's
        _log_end(errand, job, ending)
    return ending.status


def _installed(errand: Errand, checksum: str) -> Unit:
    job = library.find(errand.installed.units, checksum)
    if job is None:
        raise Refused('PBL-NO-JOB', f'no such job{_but(errand.installed.faults)}')
    return job


def _generated(errand: Errand) -> Unit:
    """Run the local job as root, whatever it says of users, and choose."""
    local = _installed(errand, errand.request.via)
    if local.plugin != 'local':
        raise Refused('PBL-NOT-LOCAL', 'the job named by --via is not a local job')
    root = pwd.getpwuid(0)
    environment = _environment(errand, local, root)
    _log('generate', errand, local, root, environment)
    units = generate.evaluate(local, environment.values)
    return generate.choose(units, errand.request.hash)


def _account(job: Unit) -> pwd.struct_passwd:
    user = job.get('user')
    if not user:
        raise Refused('PBL-NO-USER', 'the job names no user')
    if user != 'root':
        raise Refused('PBL-USER', f'the job wants the user {user}')
    return pwd.getpwuid(0)


def _environment(errand: Errand, job: Unit, account: pwd.struct_passwd) -> Environment:
    offered = errand.request.variables
    return environ.compose(
        job,
        account,
        errand.installed.directories(job.provider),
        offered,
        share=errand.share,
        screen=caller.screen(errand.given, offered, job.environ, errand.caller),
    )


def _log(
    event: str,
    errand: Errand,
    job: Unit,
    account: pwd.struct_passwd,
    environment: Environment,
) -> None:
    audit.write(
        event,
        **_who_and_what(errand.request, errand.caller),
        job=job.id,
        user=account.pw_name,
        passed=environment.passed,
        dropped=environment.dropped,
        faults=errand.installed.faults,
    )


def _log_end(errand: Errand, job: Unit, ending: execute.Ending) -> None:
    audit.write(
        'end',
        **_who_and_what(errand.request, errand.caller),
        job=job.id,
        status=ending.status,
        seconds=f'{ending.seconds:.3f}',
        left=ending.left,
    )


def _who_and_what(request: Request, who: Caller) -> dict[str, object]:
    return {
        'uid': who.uid,
        'caller': who.name,
        'hash': request.hash,
        'via': request.via,
    }


def _but(faults: tuple[Fault, ...]) -> str:
    """The files that were refused, since the job may stand in one of them."""
    if not faults:
        return ''
    more = f'; and {len(faults) - 3} more' if len(faults) > 3 else ''
    return f'; refused were {"; ".join(map(str, faults[:3]))}{more}'


def _refuse(refused: Refused) -> int:
    with suppress(OSError):  # nobody listens, but the exit status speaks too
        _say(2, f'{PROGRAM}: {refused}\n')
    return REFUSED


def _say(fd: int, text: str) -> int:
    os.write(fd, text.encode('ascii'))
    return 0
