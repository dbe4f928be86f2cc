# SPDX-License-Identifier: ISC
"""Calling the trusted launcher through pkexec, and understanding its answers.

pkexec(1) has two exit statuses for all that can go wrong, 126 and 127, and a
job may return the same. Its messages tell them apart: it prints them instead of
starting the launcher, so they are all that there is on standard error.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from gettext import gettext as _
from typing import Final

from .catalogue import Job
from .refusals import refusal
from .trusted.commandline import PROGRAM
from .trusted.environ import SHARE, denied, locale
from .trusted.errors import Refused
from .trusted.launcher import REFUSED

LAUNCHER: Final = f'/usr/bin/{PROGRAM}'
ACTION: Final = 'org.freedesktop.policykit.pkexec.run-plainbox-job'
_POLICY: Final = f'/usr/share/polkit-1/actions/{ACTION}.policy'

_PKEXEC: Final = ('pkexec', '--disable-internal-agent')
_AGENT: Final = ('pkttyagent',)

_NO: Final = 'Error executing command as another user: '

# How pkexec's answers begin (polkit 105 to 126), and what they mean.
ANSWERS: Final = (
    (f'{_NO}Request dismissed', 'PBL-DISMISSED', 'the password dialog was dismissed'),
    (f'{_NO}No authentication ag', 'PBL-NO-AGENT', 'nothing can ask for a password'),
    ('Error creating textual auth', 'PBL-NO-AGENT', 'there is no terminal to ask on'),
    (f'{_NO}Not authorized', 'PBL-NOT-AUTHORIZED', 'polkit allows you no root jobs'),
    ('pkexec must be setuid root', 'PBL-NOT-SETUID', 'pkexec is not setuid root'),
    ('Error getting authority: ', 'PBL-NO-POLKIT', 'polkit cannot be reached'),
    ('Error checking for authoriz', 'PBL-NO-POLKIT', 'polkit does not answer'),
    ('Error accessing /', 'PBL-NO-LAUNCHER', 'the trusted launcher cannot be started'),
    ('Cannot run program ', 'PBL-NO-LAUNCHER', 'the trusted launcher is not there'),
    ('Error executing /', 'PBL-NO-LAUNCHER', 'the trusted launcher cannot be started'),
    ('The value for the SHELL va', 'PBL-PKEXEC', 'pkexec dislikes the environment'),
    ('The value for environment ', 'PBL-PKEXEC', 'pkexec dislikes the environment'),
)

# What GLib and polkit's helper for passwords may say before it.
_CHATTER: Final = ('** (', '(process:', 'polkit-agent-helper-1: ')

# A locale's name, as setlocale(3) has it.
_LOCALE: Final = re.compile(r'[A-Za-z0-9_.@-]{1,64}')

_REFUSAL: Final = re.compile(rf'{PROGRAM}: (PBL-[A-Z-]+): (.*) \((.*)\)')


def prerequisites(launcher: str) -> None:
    """Raise Refused for what keeps pkexec from starting, as far as we can see."""
    if not shutil.which('pkexec'):
        raise refusal('PBL-NO-PKEXEC', _('pkexec is not installed'))
    if not os.path.exists(launcher):
        fact = _('{path} is not there').format(path=launcher)
        raise refusal('PBL-NO-LAUNCHER', fact)
    if launcher == LAUNCHER and not os.path.exists(_POLICY):
        fact = _('the polkit action {action} is not installed').format(action=ACTION)
        raise refusal('PBL-NO-POLICY', fact)
    if _no_new_privs():
        fact = _('no_new_privs keeps us from becoming root')
        raise refusal('PBL-NO-NEW-PRIVS', fact)


def can_ask() -> bool:
    """Whether there is a terminal to ask on, and what asks there."""
    if not shutil.which('pkttyagent'):
        return False
    try:
        os.close(os.open('/dev/tty', os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _is_answer(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_CHATTER)


@contextmanager
def text_agent() -> Iterator[None]:
    """Let polkit ask for a password on our terminal, where no desktop does.

    pkexec has such an agent of its own, but up to polkit 123 that takes no password
    ("No session for cookie", polkit issue 18), so pkttyagent(1) it is. To be used
    only where there is no other: it would come before a desktop's dialog, and with
    --fallback polkit does not find it outside a login session.
    """
    ready, ready_end = os.pipe()
    agent = subprocess.Popen(  # noqa: S603  # no shell
        [*_AGENT, '--process', str(os.getpid()), '--notify-fd', str(ready_end)],
        env=environment() | {'LANG': _language()},
        pass_fds=(ready_end,),
        stderr=subprocess.DEVNULL,  # it speaks to the terminal itself
    )
    os.close(ready_end)
    with open(ready, 'rb') as pipe:
        pipe.read()  # it closes its end once polkit knows it
    try:
        yield
    finally:
        agent.terminate()
        agent.wait()


def warm_up_command(launcher: str) -> list[str]:
    """The command that asks for the password now, and does nothing."""
    return [*_PKEXEC, launcher, '--warmup']


def channel_command(launcher: str) -> list[str]:
    """The command that asks for the password once, for a whole run."""
    return [*_PKEXEC, launcher, '--channel']


def reason(status: int, stderr: str) -> Refused:
    """Why pkexec or the launcher ended without a word of the job's."""
    fact = _('pkexec ended with {status}: {words}')
    return understand(status, printed=False, stderr=stderr) or refusal(
        'PBL-PKEXEC', fact.format(status=status, words=stderr.strip())
    )


def request(job: Job) -> tuple[str, str]:
    """What root knows a job by: its hash, and that of the local job that prints it."""
    return job.unit.checksum, job.via.checksum if job.via else ''


def assignments(job: Job, variables: Mapping[str, str]) -> list[str]:
    """NAME=VALUE for those variables that a job may want of root's launcher."""
    units = [job.unit, *([job.via] if job.via else [])]
    wanted = {name for unit in units for name in unit.environ if not denied(name)}
    if any('preserve-locale' in unit.flags for unit in units):
        wanted |= locale(variables)
    wanted |= {*SHARE[:1]}
    return [f'{name}={variables[name]}' for name in sorted(wanted & variables.keys())]


def job_command(job: Job, launcher: str, variables: Mapping[str, str]) -> list[str]:
    """The command that runs a job as root, with those variables it may want."""
    hash_, via = request(job)
    words = ['--hash', hash_, *(['--via', via] if via else [])]
    return [*_PKEXEC, launcher, *words, *assignments(job, variables)]


def environment() -> dict[str, str]:
    """What pkexec gets: it refuses to run at all for some values of others."""
    kept = ('DISPLAY', 'XAUTHORITY', 'TERM')
    values = {name: os.environ[name] for name in kept if name in os.environ}
    # Its messages are understood in English only.
    return values | {'PATH': os.defpath, 'SHELL': '/bin/sh', 'LC_ALL': 'C.UTF-8'}


def _language() -> str:
    """What gettext(3) would take: polkit asks in the language of its agent's LANG.

    English for what is no name of a locale: it would go over the bus as it is.
    """
    names = ('LANGUAGE', 'LC_ALL', 'LC_MESSAGES', 'LANG')
    given = next((os.environ[name] for name in names if os.environ.get(name)), '')
    first = given.partition(':')[0]
    return first if _LOCALE.fullmatch(first) else 'C.UTF-8'


def understand(status: int, printed: bool, stderr: str) -> Refused | None:
    """The refusal in an answer of pkexec or the launcher; None if the job ran.

    `printed` tells whether there was anything on standard output; `stderr` is
    all, or the end, of what was on standard error.
    """
    if printed:
        return None
    lines = stderr.strip().splitlines() or ['']
    answer = next((line for line in lines if _is_answer(line)), '')
    if status == REFUSED and (match := _REFUSAL.fullmatch(lines[-1])):
        return Refused(match[1], match[2], match[3])
    if status not in (126, 127):
        return None
    for words, code, fact in ANSWERS:
        if answer.startswith(words) and (
            code != 'PBL-NO-LAUNCHER' or PROGRAM in answer
        ):
            return refusal(code, _(fact))
    return None


def _no_new_privs() -> bool:
    with open('/proc/self/status', encoding='utf-8', errors='replace') as status:
        return any(line.split() == ['NoNewPrivs:', '1'] for line in status)
