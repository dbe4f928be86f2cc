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

from .. import __version__
from . import audit, caller, commandline, environ, execute, generate, library, start
from .caller import Caller
from .commandline import PROGRAM, Request
from .errors import Fault, Refused, printable
from .library import Library
from .unit import Unit

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
    if request.warmup:
        return 0
    who = caller.identify(given)
    try:
        return _serve(request, who, given)
    except Refused as refused:
        if refused.code != 'PBL-AUDIT':  # which would take no line about itself
            with suppress(Refused):
                why = {'code': refused.code, 'fact': refused.fact}
                audit.write('refused', request, who, **why)
        raise


def _serve(request: Request, who: Caller, given: Mapping[bytes, bytes]) -> int:
    share = caller.session_share(request.variables, who)
    installed = library.load()
    execute.own_descendants()

    def planned(
        event: str, job: Unit, user: pwd.struct_passwd, share: str
    ) -> execute.Command:
        """The command of a job, announced in the log."""
        screen = caller.screen(given, request.variables, job.environ, who)
        folders = installed.directories(job.provider)
        environment = environ.compose(
            job, user, folders, request.variables, share=share, screen=screen
        )
        command = execute.command(job, environment.values)
        audit.write(
            event,
            request,
            who,
            job=job.id,
            user=user.pw_name,
            passed=environment.passed,
            dropped=environment.dropped,
            faults=installed.faults,
        )
        return command

    if request.via:
        local = _local_job(installed, request.via)
        # As root, whatever it says of users. Without the caller's directory: what
        # a local job prints must not hang on what the caller wrote there.
        generator = planned('generate', local, pwd.getpwuid(0), '')
        job = generate.choose(generate.evaluate(local, generator), request.hash)
    else:
        job = _job(installed, request.hash)
    ending = execute.run(planned('start', job, _account(job), share))
    with suppress(Refused):  # too late to refuse: the status is the job's
        seconds = f'{ending.seconds:.3f}'
        facts = {'status': ending.status, 'seconds': seconds, 'left': ending.left}
        audit.write('end', request, who, job=job.id, **facts)
    return ending.status


def _job(installed: Library, checksum: str) -> Unit:
    job = library.find(installed.units, checksum)
    if job is None:
        raise Refused('PBL-NO-JOB', f'no such job{_but(installed.faults)}')
    return job


def _local_job(installed: Library, checksum: str) -> Unit:
    job = _job(installed, checksum)
    if job.plugin != 'local':
        raise Refused('PBL-NOT-LOCAL', 'the job named by --via is not a local job')
    return job


def _account(job: Unit) -> pwd.struct_passwd:
    user = job.get('user')
    if not user:
        raise Refused('PBL-NO-USER', 'the job names no user')
    if user != 'root':
        raise Refused('PBL-USER', f'the job wants the user {user}')
    return pwd.getpwuid(0)


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
