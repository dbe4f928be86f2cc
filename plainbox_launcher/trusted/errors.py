# SPDX-License-Identifier: ISC
"""How the room says no."""

from typing import Final

# Every code that the launcher can refuse with, and what to do about it.
# Codes are stable: people search for them and programs compare them.
HINTS: Final = {
    'PBL-NOT-ROOT': 'call it through pkexec, without --user',
    'PBL-INTERPRETER': 'start the program itself, not through python3',
    'PBL-NAMESPACE': 'run it outside of the container or sandbox',
    'PBL-START': 'run it where root may set limits and priorities',
    'PBL-ARGUMENT': 'arguments are UTF-8 text without control characters',
    'PBL-HASH': 'a hash is 64 lower-case hexadecimal digits, see plainbox show',
    'PBL-VARIABLE': 'write NAME=VALUE, each name once, one line, at most 32 KiB',
    'PBL-CALLER': 'call it through pkexec',
    'PBL-SESSION-SHARE': 'name an existing directory of your own by its full path',
    'PBL-NO-JOB': 'install the provider that defines it, or update the caller',
    'PBL-NOT-LOCAL': '--via takes the hash of a job with plugin: local or resource',
    'PBL-NO-USER': 'run it without the launcher, it does not ask for root',
    'PBL-USER': 'write user: and the name of an account',
    'PBL-ACCOUNT': 'create the account, or mend the job',
    'PBL-ACCOUNT-LOCKED': 'unlock it with passwd -u, or give the job another user',
    'PBL-ACCOUNT-EXPIRED': 'give it more time with chage -E, or the job another user',
    'PBL-ACCOUNT-LOGIN': 'give it a shell with chsh, or drop the flag login-shell',
    'PBL-ACCOUNT-HOME': 'create its home directory, or drop login-shell, preserve-cwd',
    'PBL-ACCOUNT-BECOME': 'run it where root may set ids and groups',
    'PBL-ACCOUNT-PROFILE': 'log in as the account and see what its profile does',
    'PBL-NO-LOGIND': 'run it where systemd started the machine, see loginctl',
    'PBL-SESSION-NONE': 'log in on the console or desktop of this machine',
    'PBL-SESSION-SEATS': 'let all but one of them log out',
    'PBL-SESSION-REMOTE': 'log in at the machine itself',
    'PBL-SESSION-LOCKED': 'unlock the screen',
    'PBL-SESSION-ROOT': 'log in as somebody else',
    'PBL-SESSION-DISPLAY': 'let it tell: systemctl --user import-environment DISPLAY',
    'PBL-SESSION-MANAGER': 'see systemctl --user status, and install dbus-user-session',
    'PBL-SESSION-LOST': 'run it again, and keep the session until it has ended',
    'PBL-CONTEXT': 'write context: user-session and no user, or neither',
    'PBL-NO-COMMAND': 'a person does this job, there is nothing to run',
    'PBL-SHELL': 'the shells are bash, sh and dash',
    'PBL-GENERATOR-FAILED': 'run that job on its own to see why',
    'PBL-GENERATOR-LIMIT': 'let it do nothing but list, and an ordinary job the work',
    'PBL-GENERATOR-OUTPUT': 'mend what that job prints',
    'PBL-NOT-GENERATED': 'what it prints differs between root and you, or has changed',
    'PBL-NESTED': 'let it be ordinary jobs that come of it',
    'PBL-AUDIT': 'start a system log that listens on /dev/log',
    'PBL-CHANNEL': 'the caller of --channel breaks its rules, see plainbox-channel(7)',
    'PBL-VERSION': 'install runner and launcher of one release',
    'PBL-BUSY': 'wait until the running job has ended',
    'PBL-NOT-ANNOUNCED': 'announce each job before the channel opens',
    'PBL-DESCRIPTOR': 'hand over open files, pipes or terminals',
    'PBL-EXEC': 'see that the shell is installed and /tmp can be written',
    'PBL-STOPPED': 'the job was not started',
    'PBL-UNKILLABLE': 'a device or file system does not answer, see the kernel log',
    'PBL-INTERNAL': 'please report this',
}


class Refused(Exception):
    """A request that is not granted.

    `code` is a key of HINTS, unless the runner gives a hint with a code of its
    own; `fact` says in lower case what was found.
    """

    def __init__(self, code: str, fact: str, hint: str = '') -> None:
        super().__init__(code, fact)
        self.code = code
        self.fact = fact
        self.hint = hint or HINTS[code]

    def __str__(self) -> str:
        return printable(f'{self.code}: {self.fact} ({self.hint})')


class Fault(Exception):
    """Something installed that cannot be used; the rest lives on.

    `where` is a path, with `:LINE` where a line is to blame.
    """

    def __init__(self, where: str, fact: str) -> None:
        super().__init__(where, fact)
        self.where = where
        self.fact = fact

    def __str__(self) -> str:
        return f'{self.where}: {self.fact}'


class Missing(Fault):
    """A directory or file that is not there, which may be quite all right."""


def printable(text: str) -> str:
    """Show text in one line that no terminal and no log takes for its own."""
    return ''.join(c if ' ' <= c <= '~' else ascii(c)[1:-1] for c in text)
