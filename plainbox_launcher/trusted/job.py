# SPDX-License-Identifier: ISC
"""One job, from request to ending.

The order of the lines in `perform` is half of the argument for the launcher's
safety: what is asked, among what is installed; then what would run, as a value;
then the log; then, and only then, the job.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pwd import struct_passwd
from typing import NamedTuple

from . import account, audit, caller, desktop, environ, execute, generate, library, tree
from .caller import Caller
from .commandline import Request
from .errors import Fault, Refused
from .execute import Command, Ending
from .library import Library
from .tree import Ended
from .unit import Unit


class World(NamedTuple):
    """What is the same for all jobs of a launcher.

    `given` is the environment that pkexec left. `generated` is what local and
    resource jobs printed so far, or why they did not, by their hashes.
    """

    caller: Caller
    given: Mapping[bytes, bytes]
    installed: Library
    generated: dict[str, bytes | Refused]


class Terms(NamedTuple):
    """How a job is run: with which descriptors, how long, at whose beck."""

    fds: tuple[int, int, int] = (0, 1, 2)
    seconds: float = tree.FOREVER
    control: int | None = None
    started: Callable[[], None] = lambda: None
    generated: Callable[[bytes | Refused], None] = lambda _: None


def perform(request: Request, world: World, terms: Terms = Terms()) -> Ending:  # noqa: B008  # immutable
    """Run a job. Raises Refused, which the log has heard of."""
    try:
        return _perform(request, world, terms)
    except Refused as refused:
        if refused.code != 'PBL-AUDIT':  # which would take no line about itself
            with suppress(Refused):
                why = {'code': refused.code, 'fact': refused.fact}
                audit.write('refused', request, world.caller, **why)
        raise


def _perform(request: Request, world: World, terms: Terms) -> Ending:
    share = caller.session_share(request.variables, world.caller)
    if request.via:
        job = _generated(request, world, terms)
    else:
        job = _find(world.installed, request.hash)
    if job.get('context'):
        ending = _run_in_session(request, world, terms, job, share)
    else:
        command = _planned('start', request, world, job, _account(job), share)
        ending = _run(command, terms)
    with suppress(Refused):  # too late to refuse: the status is the job's
        facts = {
            'status': execute.shell_status(ending.ended.status),
            'seconds': f'{ending.seconds:.3f}',
            'cause': ending.cause,
            'left': len(ending.left),
        }
        audit.write('end', request, world.caller, job=job.id, **facts)
    return ending


def _run(
    command: Command, terms: Terms, finish: Callable[[float], Ended] | None = None
) -> Ending:
    return execute.run(
        command,
        terms.fds,
        seconds=terms.seconds,
        control=terms.control,
        started=terms.started,
        finish=finish,
    )


def _run_in_session(
    request: Request, world: World, terms: Terms, job: Unit, share: str
) -> Ending:
    """In the session of whoever sits at the machine, by that user's manager."""
    if job.get('context') != 'user-session' or job.get('user'):
        raise Refused('PBL-CONTEXT', 'the job wants a context that there is not')
    here = desktop.session()
    unit = f'plainbox-{os.urandom(8).hex()}'
    command = _planned('start', request, world, job, here.account, share)
    desktop.watch(here, unit, os.getpid())
    # A little longer than we wait ourselves, who say why it ended.
    seconds = terms.seconds + 2 * tree.GRACE
    inside = desktop.command(here, command, unit, seconds)
    return _run(inside, terms, lambda grace: desktop.finish(here, unit, grace))


def _planned(
    event: str,
    request: Request,
    world: World,
    job: Unit,
    user: struct_passwd,
    share: str,
) -> Command:
    """The command of a job, announced in the log."""
    # Whoever's session it is has a screen of their own.
    wanted = frozenset() if job.get('context') else job.environ
    screen = caller.screen(world.given, request.variables, wanted, world.caller)
    folders = world.installed.directories(job.provider)
    environment = environ.compose(
        job, user, folders, request.variables, share=share, screen=screen
    )
    command = execute.command(job, environment.values, user if user.pw_uid else None)
    audit.write(
        event,
        request,
        world.caller,
        job=job.id,
        user=user.pw_name,
        passed=environment.passed,
        dropped=environment.dropped,
        faults=world.installed.faults,
    )
    return command


def _generated(request: Request, world: World, terms: Terms) -> Unit:
    """A job that comes of what another prints, which is run but once."""
    via = _find(world.installed, request.via)
    if via.plugin not in generate.GENERATORS:
        fact = 'the job named by --via is neither a local nor a resource job'
        raise Refused('PBL-NOT-LOCAL', fact)
    if request.via not in world.generated:
        # As root, whatever it says of users. Without the caller's directory: what
        # it prints must not hang on what the caller wrote there.
        user = account.find('root', login=False)
        command = _planned('generate', request, world, via, user, '')
        output = _evaluate(command, via.plugin, terms.control)
        world.generated[request.via] = output
        terms.generated(output)
    output = world.generated[request.via]
    if isinstance(output, Refused):
        raise output
    return generate.choose(output, via, request.hash, world.installed.units)


def _evaluate(command: Command, plugin: str, control: int | None) -> bytes | Refused:
    """What such a job prints, or why not. Raises Refused if we were to stop."""
    try:
        return generate.evaluate(command, plugin, control)
    except Refused as refused:
        if refused.code == 'PBL-STOPPED':
            raise
        return refused


def _find(installed: Library, checksum: str) -> Unit:
    job = library.find(installed.units, checksum)
    if job is None:
        raise Refused('PBL-NO-JOB', f'no such job{_but(installed.faults)}')
    return job


def _account(job: Unit) -> struct_passwd:
    user = job.get('user')
    if not user:
        raise Refused('PBL-NO-USER', 'the job names no user')
    return account.find(user, login='login-shell' in job.flags)


def _but(faults: tuple[Fault, ...]) -> str:
    """The files that were refused, since the job may stand in one of them."""
    if not faults:
        return ''
    more = f'; and {len(faults) - 3} more' if len(faults) > 3 else ''
    return f'; refused were {"; ".join(map(str, faults[:3]))}{more}'
