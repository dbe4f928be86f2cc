# SPDX-License-Identifier: ISC
"""Every refusal there is: what it means, where it comes from, what helps.

`plainbox explain` and plainbox-errors(7) are made from this one table. All texts are
in English here and translated where they are shown; po/extract knows where they stand.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from gettext import gettext as _
from typing import Final, NamedTuple

from .trusted import errors
from .trusted.errors import Fault, Refused

_ALONE: Final = (
    'log in on the console or desktop of this machine; for ssh, cron and CI see '
    '"Unattended machines" in the README'
)

# The runner's codes, and in one line what to do about each. Those of the launcher
# stand in trusted/errors.py, since the launcher imports nothing from here.
HINTS: Final = {
    'PBL-NO-MATCH': 'see which jobs there are: plainbox list',
    'PBL-NO-PLAN': 'write the full id of a test plan whose provider is installed',
    'PBL-NO-JOBS': 'install a provider, or name one with --provider',
    'PBL-PATTERN': 'mend the regular expression that the message names',
    'PBL-CIRCLE': 'break the circle: drop one of these dependencies',
    'PBL-NO-DEPENDENCY': 'install its provider, or mend the field depends',
    'PBL-DUPLICATE': 'give one of them another id, or remove it',
    'PBL-DURATION': 'write seconds, or as 1h 30m',
    'PBL-NO-PKEXEC': 'install the package pkexec (policykit-1 on older systems)',
    'PBL-NO-LAUNCHER': 'install plainbox-launcher system-wide, as the README says',
    'PBL-UNSAFE-LAUNCHER': 'reinstall it, and find out who changed it',
    'PBL-NO-POLICY': 'install plainbox-launcher system-wide, as the README says',
    'PBL-NO-NEW-PRIVS': 'run plainbox outside of the sandbox or service that sets it',
    'PBL-NOT-SETUID': 'reinstall pkexec, or mount its file system without nosuid',
    'PBL-NO-POLKIT': 'start polkit and the system bus',
    'PBL-DISMISSED': 'run it again and give the password',
    'PBL-NO-AGENT': _ALONE,
    'PBL-NOT-AUTHORIZED': f'{_ALONE}; if it asked, give the right password',
    'PBL-PKEXEC': 'see pkexec(1)',
    'PBL-NOT-INSTALLED': 'root runs only what is installed, install its provider',
    'PBL-NO-DBUS-NEXT': 'install the package python3-dbus-next',
    'PBL-LOST': 'run it again; the system log may say why',
    'PBL-VARIABLES': 'unset variables that the job can do without',
    'PBL-STATE': 'make room there, and see who owns it',
    'PBL-LEDGER': 'put the file aside, and report the fault',
    'PBL-NO-SESSION': 'see which there are: plainbox sessions',
    'PBL-SESSION-BUSY': 'wait for it, or end it',
    'PBL-UNFINISHED': 'go on with it, or remove it: plainbox session rm',
    'PBL-CHANGED': 'run it anew: plainbox rerun',
    'PBL-RUN-TIMEOUT': 'give it more time, or none at all',
    'PBL-EXPRESSION': 'mend the line, as plainbox-job(5) says',
    'PBL-RESOURCE': 'send all that is not records to standard error',
}


class Refusal(NamedTuple):
    """What is said of a code. `more` is what helps beside its hint."""

    meaning: str
    causes: tuple[str, ...]
    more: tuple[str, ...] = ()


REFUSALS: Final = {
    # The runner, as it plans what to run.
    'PBL-NO-MATCH': Refusal(
        'No job was selected by what was asked for.',
        (
            'the pattern is misspelt, or its provider is not installed',
            'the pattern is an ordinary one where a regular expression is wanted, or '
            'the other way round',
            'a local job of root prints the job, which is known only when it has run',
            'all that was selected was excluded again',
        ),
        ("put it into quotes, else the shell may replace it: plainbox run 'smoke/*'",),
    ),
    'PBL-NO-PLAN': Refusal(
        'There is no such test plan.',
        (
            'its id is misspelt',
            'the provider that defines it is not installed',
            'another test plan names it in its field nested_part',
        ),
        ('list the providers: ls /usr/share/plainbox*-1',),
    ),
    'PBL-NO-JOBS': Refusal(
        'There is no job at all.',
        (
            'no provider is installed, only the runner',
            'no provider could be read; a message names each',
            'the file or directory that --provider names has no jobs',
        ),
        ('list the providers: ls /usr/share/plainbox*-1',),
    ),
    'PBL-PATTERN': Refusal(
        'What should be a regular expression is none.',
        (
            'a bracket is not closed, or nothing stands before a * or +',
            'a shell pattern was given where a regular expression is wanted: .* there '
            'is what * is here',
            'a line of a test plan has more than one id or pattern',
        ),
        ("try it: python3 -c 'import re, sys; re.compile(sys.argv[1])' PATTERN",),
    ),
    'PBL-CIRCLE': Refusal(
        'There is no order in which these jobs can run, so nothing was run.',
        (
            'jobs depend on each other, or are to run after or before each other',
            'a resource job requires what the resource itself should tell',
            'a test plan is nested in itself, maybe by way of others',
        ),
        ('see the fields depends, after and before of each: plainbox show JOB',),
    ),
    'PBL-NO-DEPENDENCY': Refusal(
        'A job depends on one that is not there, so nothing was run.',
        (
            'the job that it depends on is of a provider that is not installed',
            'its id is misspelt, or of another namespace and written without that',
            'a template or local job makes it, but not on this machine',
        ),
        ('leave out the job that depends on it',),
    ),
    'PBL-DUPLICATE': Refusal(
        'Two different things have the same id, and which one is meant is not known.',
        (
            'a job was copied, or two files define different versions of it',
            'two providers of one namespace have a job of the same id',
            'the id of a template does not differ from one of its jobs to the next',
            'the short id of a test plan is used in several namespaces',
        ),
        ('write the full id, NAMESPACE::ID, where only the short one is ambiguous',),
    ),
    'PBL-DURATION': Refusal(
        'A text that should say how long something may take does not.',
        ('its units are others than h, m and s, or in another order',),
    ),
    # The runner, before or instead of the launcher.
    'PBL-NO-PKEXEC': Refusal(
        'Jobs of root are run through pkexec, which is not installed.',
        (
            'the package that has pkexec is only recommended by ours, not required',
            'PATH does not name the directory in which pkexec is',
        ),
        ('look for it: command -v pkexec',),
    ),
    'PBL-NO-LAUNCHER': Refusal(
        'The trusted launcher is not there, or pkexec cannot start it.',
        (
            'only the runner is installed, by pip or from a source tree',
            'the option --launcher names a file that is not there or not executable',
            'the first line of the launcher names an interpreter that is not there',
        ),
        ('look at it: ls -l /usr/bin/plainbox-trusted-launcher-1',),
    ),
    'PBL-UNSAFE-LAUNCHER': Refusal(
        'Somebody else than root could change what runs as root.',
        (
            'the launcher, or a directory above it, does not belong to root',
            'its group or everybody may write there',
            'it was copied by hand, or with another umask',
        ),
        ('look at it: namei -l /usr/bin/plainbox-trusted-launcher-1',),
    ),
    'PBL-NO-POLICY': Refusal(
        'polkit does not know the action that lets anybody call the launcher.',
        (
            'the policy file was not installed, or was removed',
            'only parts of the package were copied',
        ),
        (
            'see whether polkit knows the action: pkaction --verbose '
            '--action-id org.freedesktop.policykit.pkexec.run-plainbox-job',
        ),
    ),
    'PBL-NO-NEW-PRIVS': Refusal(
        'The kernel has been told that this process must never become root.',
        (
            'plainbox runs in a service with NoNewPrivileges= or an option of systemd '
            'that implies it',
            'plainbox runs in a container or sandbox that sets no_new_privs, as bwrap, '
            'flatpak and snap do',
        ),
        (
            'see whether it is set: grep NoNewPrivs /proc/self/status',
            'start the container without the security option no-new-privileges',
        ),
    ),
    'PBL-NOT-SETUID': Refusal(
        'pkexec cannot become root, since it is not started with the rights of root.',
        (
            'the set-uid bit of /usr/bin/pkexec was taken away',
            'its file system is mounted with the option nosuid',
            'pkexec was copied into a container or image without its mode',
        ),
        ('look at both: ls -l /usr/bin/pkexec; findmnt -T /usr/bin/pkexec',),
    ),
    'PBL-NO-POLKIT': Refusal(
        'pkexec cannot ask polkit, which decides who may run jobs as root.',
        (
            'the system bus or polkit is not running, as in most containers',
            'the socket /run/dbus/system_bus_socket cannot be reached from here',
            'polkit ends when it starts, for example for a mistake in its '
            'configuration',
        ),
        ('see what polkit says: systemctl status dbus polkit; journalctl -u polkit',),
    ),
    'PBL-DISMISSED': Refusal(
        'The question for a password was closed without an answer.',
        (
            'somebody pressed Cancel or Escape in the dialog',
            'the dialog ended by itself, for example as the screen was locked',
        ),
    ),
    'PBL-NO-AGENT': Refusal(
        'polkit wants a password, and nothing can ask for it.',
        (
            'plainbox has neither a desktop nor a terminal to ask on, as in a service, '
            'in cron or in CI',
            'pkttyagent, which asks on terminals, is not installed',
            'another launcher is called with --launcher, for which polkit always asks',
        ),
        (
            'see what the action asks of whom: pkaction --verbose '
            '--action-id org.freedesktop.policykit.pkexec.run-plainbox-job',
        ),
    ),
    'PBL-NOT-AUTHORIZED': Refusal(
        'polkit does not allow this caller to run jobs as root.',
        (
            'the caller has no active local session: ssh, cron, CI, or a session that '
            'is in the background',
            'a wrong password was given, or none in time',
            'a rule in /etc/polkit-1/rules.d says no',
            'the caller is not in the group that a rule there wants',
        ),
        (
            'see which sessions are active: loginctl; loginctl show-session ID',
            'see what the action allows: pkaction --verbose '
            '--action-id org.freedesktop.policykit.pkexec.run-plainbox-job',
        ),
    ),
    'PBL-PKEXEC': Refusal(
        'pkexec failed in a way of its own; the message has its words.',
        (
            'TERM, DISPLAY or XAUTHORITY has a value that pkexec takes for an attack',
            'pkexec was ended by a signal or ran out of memory',
        ),
        (
            'see what pkexec logged: journalctl -t pkexec',
            'try it by itself: pkexec plainbox-trusted-launcher-1 --warmup',
        ),
    ),
    'PBL-NOT-INSTALLED': Refusal(
        'The job needs root, but it is not among the installed ones.',
        (
            'its provider was named by --provider, or lies in the home directory',
            'the job was changed after its provider was installed',
        ),
        ('see which file defines it: plainbox show JOB',),
    ),
    'PBL-NO-DBUS-NEXT': Refusal(
        'The runner cannot talk to the system bus, for want of a library.',
        (
            'the Python module dbus_next is not installed, or only for another Python '
            'than /usr/bin/python3',
        ),
        ("see what is missing: /usr/bin/python3 -c 'import dbus_next'",),
    ),
    # The launcher: who calls it, and with what.
    'PBL-NOT-ROOT': Refusal(
        'The trusted launcher was not started as root.',
        (
            'it was called directly, not through pkexec',
            'pkexec was told to run it as another user',
        ),
        ('let plainbox run call it, which needs no options for that',),
    ),
    'PBL-INTERPRETER': Refusal(
        'The launcher was started without the options that its Python needs.',
        (
            'it was called as an argument of python3',
            'the first line of the program was changed, by a packaging tool for '
            'example',
        ),
        (
            'see that /usr/bin/plainbox-trusted-launcher-1 begins with '
            '#!/usr/bin/python3 -ISXutf8, and reinstall it if it does not',
        ),
    ),
    'PBL-NAMESPACE': Refusal(
        'The launcher runs as root of a user namespace, who is not root of the '
        'machine.',
        ('plainbox runs in a rootless container, or in a sandbox such as unshare -U',),
        ('see where you are: cat /proc/self/uid_map says 0 0 4294967295 outside',),
    ),
    'PBL-START': Refusal(
        'The launcher could not undo what its caller had set for it.',
        (
            'a hard resource limit is low, and root may not raise it here',
            '/proc is not mounted, or a container forbids to set priorities, '
            'processors or the OOM score',
        ),
        (
            'see the hard limits: ulimit -Ha; raise them in limits.conf(5), or in the '
            'unit of the service',
            'give the container the capabilities CAP_SYS_RESOURCE and CAP_SYS_NICE',
        ),
    ),
    'PBL-ARGUMENT': Refusal(
        'An argument of the launcher is not text in UTF-8.',
        (
            'a variable that the job wants has a value in another encoding, such as '
            'ISO 8859-1',
        ),
        ('set the variable anew in UTF-8, or unset it',),
    ),
    'PBL-HASH': Refusal(
        'The value of --hash or --via is not the hash of a job.',
        (
            'the hash was cut, or copied with a blank or in capital letters',
            'the id of the job was given in its place',
        ),
        ('list hashes and ids of all jobs: plainbox special -J',),
    ),
    'PBL-VARIABLE': Refusal(
        'A variable for the job cannot be passed on as it was given.',
        (
            'its value has line ends or other control characters, or is longer than '
            '32 KiB',
            'its value starts with (), as exported functions of old shells do',
            'its name has other characters than ASCII letters, digits and _, starts '
            'with a digit, or is longer than 128 characters',
            'it was given twice, or without =',
        ),
        ('unset the variable that the message names, or give it a plain value',),
    ),
    'PBL-CALLER': Refusal(
        'The launcher cannot tell who called it.',
        ('root called it by hand, with a wrong PKEXEC_UID in its environment',),
        ('unset PKEXEC_UID',),
    ),
    'PBL-SESSION-SHARE': Refusal(
        "The directory named for the session is not one of the caller's own.",
        (
            'it does not exist, or its path is not absolute and plain',
            'it is a symbolic link, or belongs to somebody else',
            'PLAINBOX_SESSION_SHARE and CHECKBOX_DATA name different directories',
        ),
        ('look at it: stat DIRECTORY', 'unset one of the two variables'),
    ),
    # The ledger: what has run, and what is still to run.
    'PBL-STATE': Refusal(
        'The ledger of sessions cannot be written, so nothing further runs.',
        (
            "the disk is full, or its owner's quota is used up",
            'the directory is read-only, or belongs to another user, as after sudo',
            'another program keeps the ledger locked for longer than 10 seconds',
        ),
        (
            'look at it: ls -ld ~/.local/state/plainbox-launcher; '
            'df ~/.local/state/plainbox-launcher',
            'keep it elsewhere: XDG_STATE_HOME=DIRECTORY plainbox run PATTERN',
            'go on afterwards: plainbox resume',
        ),
    ),
    'PBL-LEDGER': Refusal(
        'The file of the ledger is damaged, or not one that this plainbox understands.',
        (
            'the disk or its file system is damaged',
            'another program wrote into the file',
            'a newer plainbox has written it, and was replaced by an older one',
        ),
        (
            'see what can be saved: sqlite3 ledger.sqlite .recover',
            'what jobs printed lies beside it, in sessions',
        ),
    ),
    'PBL-NO-SESSION': Refusal(
        'There is no session with this id, or more than one.',
        (
            'it has been removed or acknowledged, or was never there',
            'several ids begin with what was given',
            'it belongs to another user, or to another XDG_STATE_HOME',
        ),
    ),
    'PBL-SESSION-BUSY': Refusal(
        'Another plainbox works on the session, or on the queue, at this moment.',
        (
            'it was resumed in another terminal',
            'plainbox work runs as a service of the user',
        ),
        (
            'see who: ps -eo pid,args | grep plainbox',
            'see whether the service runs: systemctl --user status plainbox-work',
        ),
    ),
    'PBL-UNFINISHED': Refusal(
        'Only a session that is over can be acknowledged.',
        ('jobs of it have not run yet, or were cut off',),
        ('go on with it: plainbox resume ID',),
    ),
    'PBL-CHANGED': Refusal(
        'A job that was planned is not there any more in this form.',
        (
            'its provider was updated or removed since',
            'a local job or template makes other jobs now, for example because a '
            'device is gone',
        ),
    ),
    'PBL-RUN-TIMEOUT': Refusal(
        'The job was skipped, since the time for the whole run was over.',
        ('the option --timeout allows less than the jobs took together',),
        ('run what is left: plainbox run JOB',),
    ),
    'PBL-EXPRESSION': Refusal(
        'A line of the field requires cannot be understood.',
        (
            'it is no expression, or uses what such expressions do not have',
            'a bracket or a quotation mark is missing',
        ),
        ('see the whole job: plainbox show JOB',),
    ),
    'PBL-RESOURCE': Refusal(
        'What a resource job printed cannot be read as records.',
        (
            'a line of it is neither a field nor the continuation of one, or not UTF-8',
            'warnings or progress of a program stand between the records',
        ),
        ('see what it prints: plainbox run RESOURCE; plainbox session show',),
    ),
    # The launcher: which job.
    'PBL-NO-JOB': Refusal(
        'No installed job has this hash.',
        (
            'its provider is not installed on this machine, or in another version',
            'the job was changed: each field counts for the hash',
            'the file that defines it was refused; the message names it, and why',
            'a local job prints it, and --via is missing',
        ),
        (
            'list what is installed: plainbox special -J',
            'let files that were refused belong to root and be writable by nobody '
            'else, and all directories above them',
        ),
    ),
    'PBL-NOT-LOCAL': Refusal(
        'The hash given as --via is that of a job that prints no jobs.',
        (
            'the hashes of --hash and --via were exchanged',
            'the job is no local or resource job any more',
        ),
        ('see the right hash in the line via: plainbox show JOB',),
    ),
    'PBL-NO-USER': Refusal(
        'The job has no field user, so the launcher does not run it.',
        ('the hash is that of an ordinary job, which runs as its caller',),
        (
            'run it as yourself: plainbox run JOB',
            'write user: root into the job if it does need root, which changes its '
            'hash',
        ),
    ),
    'PBL-USER': Refusal(
        'The field user of the job is not the name of an account.',
        (
            'it has a number, which is not taken for a name',
            'it has other characters than ASCII letters, digits, _, . and -',
        ),
        ('see what it has: plainbox show JOB',),
    ),
    'PBL-ACCOUNT': Refusal(
        'The job wants an account that is not there, or not what its name says.',
        (
            'no account has this name on this machine',
            'an account of another name has the number 0, or root has not',
        ),
        ('look it up: getent passwd NAME',),
    ),
    'PBL-ACCOUNT-LOCKED': Refusal(
        'The account that the job wants has been locked.',
        ('an administrator locked its password, by passwd -l or usermod -L',),
        ('see its state: passwd -S NAME',),
    ),
    'PBL-ACCOUNT-EXPIRED': Refusal(
        'The account that the job wants has expired.',
        ('an administrator gave it a last day, and that has passed',),
        ('see until when it may be used: chage -l NAME',),
    ),
    'PBL-ACCOUNT-LOGIN': Refusal(
        'The job wants to be logged in as an account that cannot log in.',
        ('the shell of the account is nologin or false, as for services',),
        ('see its shell: getent passwd NAME',),
    ),
    'PBL-ACCOUNT-HOME': Refusal(
        'The job starts in the home directory of its account, which has none.',
        (
            'the directory was never made, or was removed',
            'it lies on a file system that is not mounted now',
        ),
        ('see where it should be: getent passwd NAME',),
    ),
    'PBL-ACCOUNT-BECOME': Refusal(
        "The launcher could not take on the account's ids and groups.",
        (
            'it runs where root may not set ids or groups, as in a container or in a '
            'service without CAP_SETUID or CAP_SETGID',
            'the account was changed at that very moment',
        ),
        ('compare: id NAME; runuser -u NAME -- id',),
    ),
    'PBL-ACCOUNT-PROFILE': Refusal(
        'The login shell of the account ended before it came to the job.',
        (
            'the profile of the account, or one in /etc/profile.d, ends the shell or '
            'starts another program in its place',
        ),
        ('try it: runuser -l NAME -c true',),
    ),
    'PBL-CONTEXT': Refusal(
        'The job is to run in a context that this launcher does not know.',
        (
            'its field context has another value than user-session',
            'it has both, a context and a user: the session says who the user is',
        ),
        ('see what it has: plainbox show JOB',),
    ),
    'PBL-NO-COMMAND': Refusal(
        'The job has no command that could be run.',
        (
            'a person does the job, as its plugin says',
            'its definition lacks the field command',
        ),
        ('see what there is to do: plainbox show JOB',),
    ),
    'PBL-SHELL': Refusal(
        'The job wants its command to be run by a shell that is not allowed.',
        ('its field shell names another program, or one in another place',),
        ('put a program in another language into bin of the provider and call that',),
    ),
    # Jobs that print jobs or records.
    'PBL-GENERATOR-FAILED': Refusal(
        'A local or resource job failed, so there are no jobs of it.',
        (
            'its command ended with another exit status than 0; the message has what '
            'it said last',
            'a program or file that it needs is not there, or not for root',
        ),
        ('run it: plainbox run JOB',),
    ),
    'PBL-GENERATOR-LIMIT': Refusal(
        'A local or resource job printed too much or took too long.',
        (
            'it printed more than 4 MiB, or more than 10,000 records',
            'it took more than 30 seconds: it waits for a device, the network or input',
        ),
        ('see how long its command takes: time COMMAND',),
    ),
    'PBL-GENERATOR-OUTPUT': Refusal(
        'What a local or resource job printed cannot be read as records.',
        (
            'a line of it is neither a field nor the continuation of one, or not UTF-8',
            'warnings or progress of a program stand between the records',
            'it is a local job and prints two different jobs of one id',
        ),
        ('send all that is no record to standard error',),
    ),
    'PBL-NOT-GENERATED': Refusal(
        'Of what the local or resource job prints as root, the job does not come.',
        (
            'it prints something else for root than for an ordinary user',
            'a device was plugged or unplugged, or something else that it lists has '
            'changed',
            'a template that makes the job of it is not installed',
        ),
        (
            'run it again, so that the jobs are listed anew',
            'compare both: run its command as root and as yourself',
        ),
    ),
    'PBL-NESTED': Refusal(
        'Of what a job prints comes a local job, which is not asked for jobs again.',
        ('the provider was written for a runner that allows this',),
    ),
    # Jobs in the session of whoever sits at the machine.
    'PBL-NO-LOGIND': Refusal(
        'Who sits at the machine cannot be told, because logind does not answer.',
        (
            'systemd-logind is not running, as in most containers',
            'the system bus is not running or cannot be reached',
        ),
        ('see what it says: loginctl; systemctl status systemd-logind',),
    ),
    'PBL-SESSION-NONE': Refusal(
        'The job runs in the session of whoever sits at the machine, and nobody does.',
        (
            'nobody has logged in on the console or desktop',
            'the screen shows the question for a name and password only',
        ),
        ('see who is logged in: loginctl',),
    ),
    'PBL-SESSION-SEATS': Refusal(
        'People sit at several seats of the machine, and the job can be for one only.',
        ('more than one seat has an active session',),
        ('see the seats: loginctl list-seats',),
    ),
    'PBL-SESSION-ROOT': Refusal(
        'The session at the machine is that of root, where no job is started.',
        ('root has logged in on the console or desktop',),
        ('see whose session it is: loginctl',),
    ),
    'PBL-SESSION-REMOTE': Refusal(
        'Who is logged in does not sit at the machine.',
        ('the session came over the network, by ssh or a remote desktop',),
        ('see which sessions are remote: loginctl; loginctl show-session ID',),
    ),
    'PBL-SESSION-LOCKED': Refusal(
        'The session at the machine is locked, so nobody looks at its screen.',
        (
            'its user locked the screen and went away',
            'the screen was locked by itself, as nobody touched the machine',
        ),
        ('see whether it is locked: loginctl show-session ID -p LockedHint',),
    ),
    'PBL-SESSION-DISPLAY': Refusal(
        'The session is a graphical one, but which display it has cannot be told.',
        (
            'its desktop does not tell DISPLAY or WAYLAND_DISPLAY to the manager of '
            'the user',
        ),
        ('see what the manager knows: systemctl --user show-environment',),
    ),
    'PBL-SESSION-MANAGER': Refusal(
        'The systemd of the user in whose session the job should run does not answer.',
        (
            'the session was opened without pam_systemd, so the user has none',
            'it is stuck, or has just ended',
        ),
        ('see what it says: systemctl status user@UID',),
    ),
    'PBL-SESSION-LOST': Refusal(
        'How the job in the session ended is not known.',
        (
            'the session, or the systemd of its user, ended while the job ran',
            'the user stopped the job and had it forgotten',
        ),
        ('see what was logged: journalctl _UID=UID',),
    ),
    # The channel between runner and launcher.
    'PBL-CHANNEL': Refusal(
        'The launcher broke off the connection with its caller.',
        (
            'another program than plainbox calls the launcher with --channel, and '
            'makes a mistake; the message names it',
            'the process that called pkexec is not the one that made the connection, '
            'or has ended',
            'the runner is stuck and does not take the answers of the launcher',
        ),
        ('run it again',),
    ),
    'PBL-LOST': Refusal(
        'The launcher ended while the runner still needed it.',
        (
            'somebody killed it, or the kernel did for want of memory',
            'it met an error in itself',
        ),
        (
            'see what it logged: journalctl -t plainbox-trusted-launcher-1',
            'see what the kernel did: journalctl -k -g "Out of memory"',
        ),
    ),
    'PBL-VARIABLES': Refusal(
        'The variables that the job wants are too many, or too long, to be sent.',
        ('their values together are longer than a message to the launcher may be',),
        ('see which ones the job lists in environ: plainbox show JOB',),
    ),
    'PBL-VERSION': Refusal(
        'Runner and launcher do not understand each other.',
        (
            'one of the packages was updated and the other was not',
            'the runner comes from a source tree, or was installed by pip, and is of '
            'another release',
        ),
        ('compare: plainbox --version; plainbox-trusted-launcher-1 --version',),
    ),
    'PBL-BUSY': Refusal(
        'The launcher was given a job while another one was running.',
        (
            'the caller did not wait for the end of the job before',
            'earlier jobs have left too many processes that cannot be ended',
        ),
        ('see what runs: ps -eo pid,stat,args --forest',),
    ),
    'PBL-NOT-ANNOUNCED': Refusal(
        'The job is not one of those named when the password was asked for.',
        (
            'the caller asked for a job that it had not announced',
            'a local job printed other jobs than when the run began',
        ),
        ('run it again, so that the jobs are listed anew',),
    ),
    'PBL-DESCRIPTOR': Refusal(
        'What the job was to read from or write to cannot be handed to root.',
        (
            'plainbox was started with a directory as its input, as by < DIRECTORY',
            'a caller of its own handed over what was opened by O_PATH, neither to '
            'read nor to write',
        ),
        ('redirect input and output of plainbox to files, pipes or /dev/null',),
    ),
    # Running it.
    'PBL-AUDIT': Refusal(
        'The system log did not take the line about the job, so the job does not run.',
        (
            'no system log listens on /dev/log, as in most containers',
            'the system log is stuck or overloaded: it did not answer for 5 seconds',
        ),
        (
            'see whether it answers: logger --socket-errors=on -p authpriv.notice test',
            'see what the launcher logged: journalctl -t plainbox-trusted-launcher-1',
        ),
    ),
    'PBL-EXEC': Refusal(
        'The command of the job could not be started.',
        (
            'the shell that the job wants is not installed',
            'there is no place to run in: /tmp is full, read-only or missing',
            'there are too many processes, or too little memory',
        ),
        ('look at them: ls -l /bin/bash /bin/sh /bin/dash; df /tmp',),
    ),
    'PBL-STOPPED': Refusal(
        'The launcher was told to end before it had started the job.',
        (
            'the run was interrupted, or its terminal closed',
            'the machine is being shut down',
        ),
        ('run it again',),
    ),
    'PBL-UNKILLABLE': Refusal(
        'A process of the job does not end, although it was killed.',
        (
            'it waits in the kernel for a device or a network file system',
            'it makes new processes faster than they can be ended',
        ),
        (
            'find it by the state D: ps -eo pid,stat,wchan,args',
            'unplug the device, or restart the machine, if nothing else ends it',
        ),
    ),
    'PBL-INTERNAL': Refusal(
        'The launcher met an error in itself and gave up.',
        (
            'there is a mistake in the launcher',
            'its files are of two versions, or were changed',
        ),
        ('reinstall it, in case its files were changed',),
    ),
}


def refusal(code: str, fact: str) -> Refused:
    """A refusal of the runner's own, to be raised or reported."""
    return Refused(code, fact, HINTS[code])


def cures(code: str) -> tuple[str, ...]:
    """What helps: the hint first, which comes with the refusal itself."""
    return ({**errors.HINTS, **HINTS}[code], *REFUSALS[code].more)


def told(error: Fault | Refused) -> str:
    """A refusal as people see it: its code as it is, its hint in their language."""
    if isinstance(error, Refused):
        return f'{error.code}: {error.fact} ({_(error.hint)})'
    return str(error)


def suggestion(word: str, known: Sequence[str], likeness: float) -> str:
    """What may have been meant, to stand behind what is wrong; '' if nothing."""
    near = get_close_matches(word, known, 3, likeness)
    return _('; is it {names}?').format(names=_(' or ').join(near)) if near else ''
