# SPDX-License-Identifier: ISC
"""Jobs as another account: plainbox-job(5), `user` and the flag `login-shell`.

Where nothing else is said the tester asks for them, through pkexec.
"""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import probe
import pytest
from house import HANGS, LAUNCHER, House, ended, put
from launching import cleared, others
from probe import GOLDEN, SHOW, Done, environment, installed, job
from talking import talk

from plainbox_launcher.trusted import account
from plainbox_launcher.trusted.errors import Refused
from plainbox_launcher.trusted.frames import Ended, Started

HOME = '/home/ann'
ANN = {'HOME': HOME, 'USER': 'ann', 'LOGNAME': 'ann', 'SHELL': '/bin/sh'}
PROFILE = f'{HOME}/.bash_profile'

LAUNCHER_BY_PKEXEC = f'pkexec --disable-internal-agent {LAUNCHER}'

FORMS = pytest.mark.parametrize('flags', ['', 'login-shell'])


@pytest.fixture(scope='module', autouse=True)
def _ann(house: House) -> Iterator[None]:
    house.check('groupadd', 'crew')
    more = ('--create-home', '--shell', '/bin/sh', '--groups', 'crew,audio')
    house.check('useradd', *more, 'ann')
    yield
    house.check('userdel', '--remove', '--force', 'ann')
    house.check('groupdel', 'crew')


@pytest.fixture(autouse=True)
def _swept(house: House, _room: pytest.Mark | None) -> Iterator[None]:
    """Who cannot become Ann, as on some canaries, cannot remove what is hers."""
    yield
    if _room:
        probe.sweep(house)


def done(
    house: House,
    command: str,
    *variables: str,
    call: probe.Call | None = None,
    **fields: Any,  # noqa: ANN401  # a field's text
) -> Done:
    """Runs a command as a job of Ann's."""
    with installed(house, job(command, **{'user': 'ann', **fields})) as (hash_,):
        return (call or house.pkexec)('--hash', hash_, *variables)


def said(house: House, command: str, *variables: str, **fields: Any) -> str:  # noqa: ANN401
    """What it prints, if all goes well."""
    it = done(house, command, *variables, **fields)
    assert (it.returncode, it.stderr) == (0, b'')
    return it.stdout.decode()


@contextlib.contextmanager
def profile(house: House, text: str) -> Iterator[None]:
    with house.replaced(PROFILE, text.encode()):
        yield


@contextlib.contextmanager
def accounts_kept(house: House) -> Iterator[None]:
    """Whatever passwd(1) and its like do to the accounts is undone."""
    with contextlib.ExitStack() as undo:
        for name in ('passwd', 'passwd-', 'shadow', 'shadow-'):
            path = house.path(f'/etc/{name}')
            data = path.read_bytes() if path.exists() else None
            undo.enter_context(house.replaced(f'/etc/{name}', data))
        yield


# Row 47: ids and groups

GROUPS = 'os.setgroups(groups)'
GROUP = 'os.setresgid(gid, gid, gid)'
USER = 'os.setresuid(uid, uid, uid)'
READ_BACK = 'if uid == 0 or seen != ((uid,) * 3, (gid,) * 3, groups):'
SAME = 'if pwd.getpwnam(account.pw_name) != account:'

BECOMING = [
    'groups = sorted({*os.getgrouplist(account.pw_name, gid)})\n',
    f'{GROUPS}\n',
    f'{GROUP}\n',
    f'{USER}\n',
    '_drop_capabilities()\n',
    '_leave_keyring()\n',
    'seen = os.getresuid(), os.getresgid(), sorted(os.getgroups())\n',
    READ_BACK,
    SAME,
]


@pytest.mark.canary('account.py', GROUPS, 'pass')
@pytest.mark.canary('account.py', GROUP, 'pass')
@pytest.mark.canary('account.py', USER, 'pass')
@pytest.mark.parametrize('call', ['pkexec', 'launcher'])
def test_ids_and_groups(house: House, call: str) -> None:
    """The job runs with the ids and all groups of a fresh login."""
    fresh = house.check('runuser', '-l', 'ann', '-c', 'id')
    assert b'(crew)' in fresh
    assert b'(audio)' in fresh
    for flags in ('', 'login-shell'):
        it = done(house, 'id', call=getattr(house, call), flags=flags)
        assert (it.returncode, it.stdout, it.stderr) == (0, fresh, b'')
    for event, fields in probe.written(house):
        assert (event, fields.get('user', 'ann')) in {('start', 'ann'), ('end', 'ann')}


@FORMS
def test_there_is_no_way_back(house: House, flags: str) -> None:
    """Real, effective, saved and file system ids are the account's."""
    attempts = (
        'setuid(0) seteuid(0) setresuid(0,0,0) setgid(0) setegid(0) setgroups([])'
    )
    found = said(
        house,
        f"""
        grep -E '^(Uid|Gid):' /proc/self/status
        for attempt in '{attempts.replace(' ', "' '")}'; do
            /usr/bin/python3 -c "import os; os.$attempt" 2>&1 | tail -n1
        done
        """,
        flags=flags,
    )
    lines = [line.split() for line in found.splitlines()]
    uid, gid = (
        house.check('id', which, 'ann').decode().strip() for which in ('-u', '-g')
    )
    assert lines[:2] == [['Uid:', *[uid] * 4], ['Gid:', *[gid] * 4]]
    assert [line[0] for line in lines[2:]] == ['PermissionError:'] * 6


@pytest.mark.canary('execute.py', '    if failure:\n', '    if False:\n')
@pytest.mark.parametrize('step', BECOMING)
def test_an_error_in_becoming(house: House, step: str) -> None:
    """If any step fails the job does not start."""
    raising = "raise OSError(5, 'injected')\n    "
    with house.canary('account.py', f'    {step}', f'    {raising}{step}'):
        it = done(house, 'echo ran', call=house.launcher)
    probe.sweep(house)  # who cannot become Ann cannot remove what is hers
    assert probe.code(it) == 'PBL-ACCOUNT-BECOME'
    assert b'injected' in it.stderr
    assert it.stdout == b''


@pytest.mark.canary('account.py', READ_BACK, 'if False:')
@pytest.mark.parametrize('step', [GROUPS, GROUP])
def test_a_step_without_effect(house: House, step: str) -> None:
    """All ids and groups are read back: what is not so is not run."""
    with house.canary('account.py', step, 'pass'):
        it = done(house, 'id', call=house.launcher)
    probe.sweep(house)
    assert probe.code(it) == 'PBL-ACCOUNT-BECOME'
    assert it.stdout == b''


# Row 29: who is meant

NO_NAMES = [
    '-1', '0', '00', '1003', '4294967295', '4294967296', '18446744073709551616',
    '0x0', '0day', '-f root', '-f', '--', '--help', '-l', 'ro ot', 'ann root',
    'ann:ann', ':', '../x', 'ann/', '/', '.', '..', 'ann,root', 'ann;id', '$(id)',
    '#0', '+ann', '*', '%u', 'ann@localhost', 'ann\\x', 'ann$', 'ann\troot',
    'root\nroot', 'ann\x1b', '\u0660', '\uff10', 'r\u043e\u043et', 'ann\u200b',
    'a' * 33, 'a' * 5000,
]  # fmt: skip


def touching(user: str, number: int) -> probe.Job:
    return job('touch /tmp/ran', id=f'bad-{number}', user=user)


@pytest.mark.canary('account.py', 'if not _NAME.fullmatch(name):', 'if False:')
def test_what_is_no_name(house: House) -> None:
    """CVE-2019-14287, CVE-2017-1000082. Accounts go by their names."""
    jobs = [touching(user, number) for number, user in enumerate(NO_NAMES)]
    with installed(house, *jobs) as hashes:
        codes = {
            user: probe.code(house.launcher('--hash', hash_))
            for user, hash_ in zip(NO_NAMES, hashes, strict=True)
        }
    assert set(codes.values()) == {'PBL-USER'}
    assert not house.path('/tmp/ran').exists()


@pytest.mark.parametrize('name', ['root ', ' root', 'root\n', '\nroot', 'ann\0', '\0'])
def test_what_a_file_cannot_say(name: str) -> None:
    """A unit file's values are stripped; who asks in another way is not obeyed."""
    with pytest.raises(Refused, match='PBL-USER'):
        account.find(name, login=False)


def test_nobody_named(house: House) -> None:
    one = job('touch /tmp/ran', user='')
    with house.provider('probe', probe.text(one) + 'user:\n'):
        it = house.pkexec('--hash', probe.checksum({**one, 'user': ''}))
    assert probe.code(it) == 'PBL-NO-USER'
    assert not house.path('/tmp/ran').exists()


NUMBERS = [
    ('toor', '0:0'),
    ('bob', '0:100'),
    ('bob', '-1:100'),
    ('bob', ':100'),
    ('bob', '2147483648:100'),
    ('bob', '4294967294:100'),
    ('bob', '4294967295:100'),
    ('bob', '4294967296:100'),
    ('bob', '1999:4294967295'),
    ('bob', '1999:-1'),
]


@pytest.mark.canary(
    'account.py', "if (uid == 0) is not (name == 'root') or not plain:", 'if False:'
)
def test_what_is_no_number(house: House) -> None:
    """An account that only root may have, or that says "as it is" to the kernel."""
    passwd = house.path('/etc/passwd').read_text()
    command, call = 'touch /tmp/ran', house.launcher
    with contextlib.ExitStack() as undo:
        undo.callback(house.check, 'rm', '-f', '/tmp/ran')
        for name, numbers in NUMBERS:
            line = f'{name}:x:{numbers}::/tmp:/bin/bash\n'
            with house.replaced('/etc/passwd', (passwd + line).encode()):
                for flags in ('', 'login-shell'):
                    it = done(house, command, user=name, flags=flags, call=call)
                    assert probe.code(it) == 'PBL-ACCOUNT'
                    assert not house.path('/tmp/ran').exists()


def test_a_root_that_is_none(house: House) -> None:
    """Nor does the name alone make root."""
    script = """
        sed 's/^root:x:0:0:/root:x:1999:100:/' /etc/passwd > /run/passwd
        mount --bind /run/passwd /etc/passwd
        rm /run/passwd
        exec "$@"
    """
    elsewhere = ('unshare', '--mount', 'sh', '-euc', script, 'sh')
    with installed(house, job('id')) as (hash_,):
        it = house.run([*elsewhere, LAUNCHER, '--hash', hash_], user='root')
    assert probe.code(it) == 'PBL-ACCOUNT'


# The catalogue: why a job of an account does not start


def test_no_such_account(house: House) -> None:
    it = done(house, 'echo ran', user='nobody-of-that-name')
    assert probe.code(it) == 'PBL-ACCOUNT'
    assert b'there is no account nobody-of-that-name' in it.stderr


@FORMS
@pytest.mark.canary('account.py', "rb'!+[^!*]', fields[1]", "rb'x{9}', fields[1]")
@pytest.mark.parametrize('command', ['passwd --lock ann', 'usermod --lock ann'])
def test_a_locked_account(house: House, command: str, flags: str) -> None:
    with accounts_kept(house):
        house.check('usermod', '--password', '$y$j9T$x$y', 'ann')
        assert said(house, 'whoami', flags=flags) == 'ann\n'
        house.check(*command.split())
        it = done(house, 'echo ran', flags=flags)
    assert probe.code(it) == 'PBL-ACCOUNT-LOCKED'
    assert it.stdout == b''


@pytest.mark.canary('account.py', "rb'!+[^!*]'", "rb'[!*]'")
@pytest.mark.parametrize('password', ['!', '!!', '*', '!*', ''])
def test_who_never_had_a_password(house: House, password: str) -> None:
    """An account that never had one, as those of services, is not locked."""
    assert said(house, 'whoami', user='daemon') == 'daemon\n'
    with accounts_kept(house):
        house.check('usermod', '--password', password, 'ann')
        assert said(house, 'whoami') == 'ann\n'


@pytest.mark.canary('account.py', '<= time.time() // 86400', '< 0')
@pytest.mark.parametrize('days', ['0', '1', 'today'])
@FORMS
def test_an_expired_account(house: House, days: str, flags: str) -> None:
    last = date.today().isoformat() if days == 'today' else days  # noqa: DTZ011
    with accounts_kept(house):
        house.check('chage', '--expiredate', last, 'ann')
        it = done(house, 'echo ran', flags=flags)
    assert probe.code(it) == 'PBL-ACCOUNT-EXPIRED'
    assert it.stdout == b''


@pytest.mark.parametrize('days', ['-1', 'later'])
def test_an_account_that_has_not_expired(house: House, days: str) -> None:
    later = (date.today() + timedelta(days=2)).isoformat()  # noqa: DTZ011
    with accounts_kept(house):
        house.check('chage', '--expiredate', later if days == 'later' else days, 'ann')
        assert said(house, 'whoami') == 'ann\n'


@pytest.mark.canary('account.py', 'in _NOBODYS_SHELL', 'in ()')
@pytest.mark.parametrize('shell', ['/usr/sbin/nologin', '/bin/false'])
def test_an_account_that_cannot_log_in(house: House, shell: str) -> None:
    """`login-shell` asks for one that can; without it any will do."""
    with accounts_kept(house):
        house.check('usermod', '--shell', shell, 'ann')
        assert said(house, 'whoami; echo $SHELL') == f'ann\n{shell}\n'
        it = done(house, 'echo ran', flags='login-shell')
    assert probe.code(it) == 'PBL-ACCOUNT-LOGIN'


@pytest.mark.canary(
    'execute.py',
    'if not _as(account, lambda: os.chdir(account.pw_dir)):',
    'if False:',
)
@pytest.mark.parametrize('home', ['/home/nowhere', '/etc/passwd', ''])
def test_an_account_without_a_home(house: House, home: str) -> None:
    passwd = house.path('/etc/passwd').read_text()
    moved = passwd.replace(f':{HOME}:', f':{home}:')
    with house.replaced('/etc/passwd', moved.encode()):
        assert said(house, 'whoami; echo "$HOME"') == f'ann\n{home}\n'
        it = done(house, 'echo ran', flags='login-shell')
    assert probe.code(it) == 'PBL-ACCOUNT-HOME'
    assert it.stdout == b''


ENDING = ['exit 3', 'exit 0', 'exec true', 'kill -9 $$', 'exec 3>&-', 'set -e; false']


@pytest.mark.canary(
    'execute.py', "command.login and cause == 'exit' and not seen()", 'False'
)
@pytest.mark.parametrize('text', ENDING)
def test_a_profile_that_ends_the_login(house: House, text: str) -> None:
    """The job has not run, and is not taken for one that has."""
    with profile(house, f'{text}\n'):
        it = done(house, 'echo ran', flags='login-shell')
    assert it.returncode == 125
    assert b'plainbox-trusted-launcher-1: PBL-ACCOUNT-PROFILE: ' in it.stderr
    assert it.stdout == b''
    assert [event for event, _ in probe.written(house)] == ['start', 'refused']


# Detached twice, deaf to TERM, and it holds no pipe of ours.
HANGS_HARD = """
setsid setsid bash -c 'trap "" TERM; echo $$ > /tmp/hardy; \\
    while :; do sleep 1; done' > /dev/null 2>&1 &
until [ -s /tmp/hardy ]; do sleep 0.01; done
sleep infinity
"""
HANGING = """
    talker = Talker().open(hash + ':')
    number = talker.ask(hash, seconds=seconds)
    say(talker.receive())
    if not seconds:
        while not os.path.exists('/tmp/hardy'):
            time.sleep(0.01)
        talker.send(Cancel(number))
    say(talker.result())
    left = ['find', '/proc', '-maxdepth', '1', '-user', 'ann']
    say(subprocess.run(left, stdout=subprocess.PIPE).stdout)
    talker.close()
"""
ENDS = 'ended = tree.end_tree(grace, pid, control=control)'


@pytest.mark.canary('execute.py', ENDS, 'os.kill(pid, 15); ended = Ended(-15)')
@pytest.mark.parametrize('how', ['timeout', 'cancel'])
@pytest.mark.parametrize('where', ['profile', 'login', 'job'])
def test_what_hangs_is_ended(house: House, where: str, how: str) -> None:
    """Time limit and cancel end it all, also who detached itself and ignores TERM."""
    command = 'echo ran' if where == 'profile' else HANGS_HARD
    one = job(command, user='ann', flags='' if where == 'job' else 'login-shell')
    with (
        cleared(house),
        profile(house, HANGS_HARD if where == 'profile' else ':\n'),
        installed(house, one) as (hash_,),
    ):
        seconds = 2 if how == 'timeout' else 0
        started, ending, left = talk(house, HANGING, hash=hash_, seconds=seconds)
    assert started == Started(1)
    assert isinstance(ending, Ended)
    assert (ending.number, ending.cause, left) == (1, how, b'')


@pytest.mark.canary(
    'execute.py', 'tree.prctl(tree.PR_SET_PDEATHSIG, signal.SIGTERM)', 'pass'
)
def test_the_launcher_killed(house: House) -> None:
    """A login does not outlive a launcher that was killed, nor does its job."""
    one = job('echo started; exec sleep 60', user='ann', flags='login-shell')
    with installed(house, one) as (hash_,), cleared(house):
        with house.popen(
            [LAUNCHER, '--hash', hash_], user='root', stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert process.stdout
            assert process.stdout.readline() == b'started\n'
            job_and_login = others(house) - {process.pid}
            process.kill()
        assert len(job_and_login) == 2
        assert all(ended(pid, 10) for pid in job_and_login)


# What the job finds


@pytest.mark.canary('environ.py', "'HOME': account.pw_dir", "'HOME': '/root'")
@pytest.mark.canary('environ.py', "'SHELL': account.pw_shell", "'SHELL': '/bin/bash'")
def test_the_environment(house: House) -> None:
    """That of any job, with the account's HOME, USER, LOGNAME and SHELL."""
    assert environment(done(house, SHOW)) == GOLDEN | ANN


DENIED = [
    'LD_PRELOAD', 'LD_LIBRARY_PATH', 'PATH', 'BASH_ENV', 'GCONV_PATH', 'GLIBC_TUNABLES',
    'PYTHONPATH', 'HOME', 'SYSTEMD_LOG_LEVEL', 'DBUS_SYSTEM_BUS_ADDRESS',
    'XDG_RUNTIME_DIR', 'TERM', 'LOCPATH', 'HOSTALIASES', 'KRB5_CONFIG', 'TZ', 'TZDIR',
]  # fmt: skip


@FORMS
@pytest.mark.canary(
    'environ.py', 'denying = not own or account.pw_uid == 0', 'denying = False'
)
def test_what_no_account_takes(house: House, flags: str) -> None:
    """Names that root takes from nobody another account does not take either.

    A login would have its program, which is root's, start with them.
    """
    offers = [f'{name}=/tmp/evil' for name in DENIED]
    listed = ' '.join(['FOO', *DENIED])
    it = done(house, SHOW, 'FOO=1', *offers, environ=listed, flags=flags)
    found = environment(it)
    assert found.get('FOO') == '1'
    assert '/tmp/evil' not in found.values()
    fields = next(fields for event, fields in probe.written(house) if event == 'start')
    assert fields['passed'] == 'FOO'
    assert sorted(fields['dropped'].split(',')) == sorted(DENIED)


@FORMS
@pytest.mark.canary('caller.py', 'status.st_uid == caller.uid', 'status.st_uid != 0')
def test_the_screen(house: House, flags: str) -> None:
    """DISPLAY and XAUTHORITY as for root: of their form, and a file of the caller's."""
    show = 'echo "$DISPLAY $XAUTHORITY"'
    wanted = {'environ': 'DISPLAY XAUTHORITY', 'flags': flags}
    for owner in ('tester', 'ann'):
        cookie = f'/home/{owner}/.Xauthority'
        with house.replaced(cookie, b'cookie', 0o600):
            house.check('chown', owner, cookie)
            offers = ('DISPLAY=:0', f'XAUTHORITY={cookie}')
            expected = f':0 {cookie}\n' if owner == 'tester' else ':0 \n'
            assert said(house, show, *offers, **wanted) == expected
            assert said(house, show, *offers, flags=flags) == ' \n'


@FORMS
@pytest.mark.canary('caller.py', 'status.st_uid != caller.uid', 'False')
def test_the_sessions_directory(house: House, flags: str) -> None:
    """It is the caller's, not the account's, by both its names."""
    show = 'echo "$PLAINBOX_SESSION_SHARE $CHECKBOX_DATA"; test -w "$CHECKBOX_DATA"'
    share = 'PLAINBOX_SESSION_SHARE=/home/tester'
    it = done(house, show, share, flags=flags)
    assert (it.returncode, it.stdout) == (1, b'/home/tester /home/tester\n')
    it = done(house, show, f'PLAINBOX_SESSION_SHARE={HOME}', flags=flags)
    assert probe.code(it) == 'PBL-SESSION-SHARE'


# Rows 18, 20, 48, 49: what a process has besides


@FORMS
@pytest.mark.canary('execute.py', 'fcntl(fd, F_DUPFD_CLOEXEC, 10)', 'fcntl(fd, 0, 10)')
def test_descriptors(house: House, flags: str) -> None:
    """Only descriptors 0-2."""
    assert said(house, 'ls /proc/$$/fd; :', flags=flags) == '0\n1\n2\n'


@pytest.mark.canary('execute.py', 'exec 3>&- {words}', 'exec {words}')
def test_descriptors_after_a_login(house: House) -> None:
    found = said(house, 'ls /proc/$$/fd; :', flags='login-shell')
    assert found == '0\n1\n2\n'


TERMINAL = """
import fcntl, os, termios
for fd in range(3):
    for byte in b'id\\n':
        try:
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([byte]))
            print('pushed', byte)
        except OSError:
            pass
try:
    os.open('/dev/tty', os.O_RDWR)
    print('has a terminal')
except OSError:
    pass
print('session', os.getsid(0) in (os.getpid(), os.getppid()), os.isatty(0))
"""
WAITING = """
import array, fcntl, termios
waiting = array.array('i', [-1])
fcntl.ioctl(0, termios.FIONREAD, waiting)
print('waiting', waiting[0])
"""


@pytest.mark.canary('execute.py', 'os.setsid()', 'pass')
def test_the_terminal_of_the_caller(house: House) -> None:
    """CVE-2017-5226. Row 18: a job types nothing into its caller's terminal."""
    files = {'bin/types': f'#!/usr/bin/python3\n{TERMINAL}'}
    one = job('types', user='ann')
    with house.provider('probe', {'units/house.pxu': probe.text(one), **files}):
        command = f"""
            {LAUNCHER_BY_PKEXEC} --hash {probe.checksum(one)}
            /usr/bin/python3 -c "{WAITING}"
        """
        it = house.run(['script', '-qec', command, '/dev/null'])
    assert it.stdout.split(b'\r\n') == [b'session True True', b'waiting 0', b'']


def capabilities(house: House, flags: str, *options: str) -> dict[str, int]:
    """Those of a job whose launcher was started by root with more than usual."""
    one = job('cat /proc/self/status', user='ann', flags=flags)
    with installed(house, one) as (hash_,):
        command = ('setpriv', *options, LAUNCHER, '--hash', hash_)
        found = probe.status(house.check(*command))
    return {
        name: int(found[f'Cap{name}'], 16)
        for name in ('Inh', 'Prm', 'Eff', 'Amb', 'Bnd')
    }


INHERITED = ('--inh-caps=+chown,+sys_admin', '--ambient-caps=+chown,+sys_admin')
NONE = {'Inh': 0, 'Prm': 0, 'Eff': 0, 'Amb': 0}


@pytest.mark.canary('account.py', '    _drop_capabilities()\n', '')
def test_capabilities(house: House) -> None:
    """None, whatever root had; the bounding set is the machine's."""
    found = capabilities(house, '', *INHERITED)
    assert found.pop('Bnd') == int(
        probe.status(house.check('cat', '/proc/self/status'))['CapBnd'], 16
    )
    assert found == NONE


@pytest.mark.canary('execute.py', "'--inh-caps=-all', ", '')
def test_capabilities_after_a_login(house: House) -> None:
    found = capabilities(house, 'login-shell', *INHERITED)
    assert found.pop('Bnd')
    assert found == NONE


KEYS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
machine = {'x86_64': (248, 250)}.get(os.uname().machine, (217, 219))
add_key, keyctl = (lambda *words, n=n: libc.syscall(n, *words) for n in machine)
JOIN, SEARCH, SESSION = 1, 10, ctypes.c_int(-3)
"""
GIVE = f"""#!/usr/bin/python3
{KEYS}
if keyctl(JOIN, None) < 0:
    sys.exit(f'no keyrings: {{os.strerror(ctypes.get_errno())}}')
assert add_key(b'user', b'house', b'secret', 6, SESSION) > 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
LOOK = f"""#!/usr/bin/python3
{KEYS}
print(keyctl(SEARCH, SESSION, b'user', b'house', 0) > 0)
"""


def keys(house: House, flags: str) -> tuple[bytes, bytes]:
    """Whether a job of Ann's, and one of root's, finds the key of their caller."""
    jobs = [job('look', user=user, flags=flags, id=user) for user in ('ann', 'root')]
    files = {'bin/look': LOOK, 'bin/give': GIVE, 'units/house.pxu': probe.text(*jobs)}
    command = [f'{probe.HOME}/bin/give', *LAUNCHER_BY_PKEXEC.split(), '--hash']
    with house.provider('probe', files):
        ann, root = (
            house.run([*command, probe.checksum(one)], parent=True) for one in jobs
        )
    if b'no keyrings' in ann.stderr:
        pytest.skip(ann.stderr.decode())
    return ann.stdout, root.stdout


@pytest.mark.canary('account.py', '    _leave_keyring()\n', '')
def test_keys(house: House) -> None:
    """Row 20: a session keyring of its own, in which the caller's keys are not.

    What is in a session keyring opens to each process that has the keyring.
    """
    assert keys(house, '') == (b'False\n', b'True\n')


def test_keys_after_a_login(house: House) -> None:
    """There it is pam_keyinit(8) that sees to that."""
    assert keys(house, 'login-shell') == (b'False\n', b'True\n')


@FORMS
def test_the_audit_session(house: House, flags: str) -> None:
    """Row 49: the login uid, which the kernel's audit logs, stays the caller's."""

    log_in = 'me=$(id -u); echo "$me" > /proc/self/loginuid'
    show = 'cat /proc/self/loginuid'
    with installed(house, job(show, user='ann', flags=flags)) as (hash_,):
        script = f'{log_in}; {show}; echo; {LAUNCHER_BY_PKEXEC} --hash {hash_}; exit'
        it = house.run(['sh', '-c', script])
    callers, jobs = it.stdout.split(b'\n')
    if callers in (b'', b'4294967295'):
        pytest.skip('this kernel has no login uid, or lets nobody set it')
    assert (jobs, it.returncode) == (callers, 0)


# The directory


@pytest.mark.canary('execute.py', 'os.umask(0o022)', 'pass')
def test_the_directory(house: House) -> None:
    """A fresh and empty directory of hers, closed to others; umask 022."""
    shown = said(house, "pwd; stat -c '%U %G %a' .; ls -A; umask")
    path, *rest = shown.splitlines()
    assert path.startswith('/tmp/plainbox-')
    assert rest == ['ann ann 700', '0022']
    assert not house.path(path).exists()


@pytest.mark.canary(
    'execute.py', 'return _workspace(command.account)', 'return _workspace(None)'
)
def test_the_directory_is_hers(house: House) -> None:
    assert said(house, 'touch file && ls') == 'file\n'


@pytest.mark.canary('execute.py', '        _open_up(path)\n', '        pass\n')
def test_the_directory_is_removed(house: House) -> None:
    """Whatever lies in it, as far as it is hers."""
    command = """
        mkdir -p deep/er; > deep/er/file; > -odd; > $'\\n\\xff'; mkfifo fifo
        ln -s / folder; ln -s nowhere link; ln -s ~ home
        mkdir -p closed/in unwritable/in; > unwritable/file
        chmod 0 closed; chmod 500 unwritable; chmod 0 .; pwd
    """
    mode = house.path(HOME).stat().st_mode
    path = said(house, command).strip()
    left = house.path(path).exists()
    probe.sweep(house)
    assert not left
    assert house.path(HOME).stat().st_mode == mode  # links are not followed


@pytest.mark.canary(
    'execute.py',
    '_as(account, lambda: _remove(path, closed=True))',
    '_remove(path)',
)
def test_it_is_removed_by_her_own_rights(house: House) -> None:
    """What another put there, or she had no right to, root does not touch."""
    pipe = subprocess.PIPE
    with (
        installed(house, job('pwd; read -r line', user='ann')) as (hash_,),
        house.popen(
            [LAUNCHER, '--hash', hash_], user='root', stdin=pipe, stdout=pipe
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        path = house.path(process.stdout.readline().decode().strip())
        (path / 'of-root').mkdir()
        put(path / 'of-root/file', b'precious')
        process.stdin.write(b'\n')
        process.stdin.close()
        assert process.wait(HANGS) == 0
    kept = (path / 'of-root/file').exists()
    shutil.rmtree(path, ignore_errors=True)
    assert kept


SWAP = """
import os
print('ready', flush=True)
while True:
    for name in os.listdir('/tmp'):
        path = f'/tmp/{name}'
        if name.startswith('plainbox-') and not os.path.islink(path):
            try:
                os.rename(path, f'/tmp/taken-{name}')
                os.symlink('/opt/closed/open', path)
            except OSError:
                pass
"""
DROP = """    os.umask(0o022)
    if command.account and not command.login:
        accounts.become(command.account)
"""
GO = '    os.chdir(directory)'


@pytest.mark.canary('execute.py', f'{DROP}{GO}', f'{GO}\n{DROP}')
def test_nobody_leads_root_into_a_directory(house: House) -> None:
    """Ann puts a link in the place of her job's directory, which is hers to move.

    Whoever has a working directory is past the doors above it.
    """
    house.check(
        'sh', '-c', 'mkdir -p /opt/closed/open; echo secret > /opt/closed/open/f'
    )
    house.check('sh', '-c', 'chmod 755 /opt/closed/open; chmod 700 /opt/closed')
    strace = (
        'strace -f -qq -o /dev/null -e trace=chdir -e inject=chdir:delay_enter=300000'
    )
    try:
        with (
            installed(house, job('cat f', user='ann')) as (hash_,),
            house.popen(
                ['/usr/bin/python3', '-c', SWAP], user='ann', stdout=subprocess.PIPE
            ) as swapper,
        ):
            assert swapper.stdout
            assert swapper.stdout.readline() == b'ready\n'
            it = house.run([*strace.split(), LAUNCHER, '--hash', hash_], user='root')
            swapper.kill()
        taken = list(house.path('/tmp').glob('taken-plainbox-*'))
    finally:
        house.check('sh', '-c', 'rm -rf /opt/closed /tmp/taken-* /tmp/plainbox-*')
    assert len(taken) == 1
    assert (probe.code(it), it.stdout) == ('PBL-EXEC', b'')


def test_a_login_starts_at_home(house: House) -> None:
    assert said(house, 'pwd', flags='login-shell') == f'{HOME}\n'


@pytest.mark.canary('execute.py', "environ['HOME'] if", 'os.getcwd() if')
def test_preserve_cwd(house: House) -> None:
    """The home directory of the account, entered by the account itself."""
    assert said(house, 'pwd; id -un', flags='preserve-cwd') == f'{HOME}\nann\n'


def test_preserve_cwd_after_a_login(house: House) -> None:
    flags = 'preserve-cwd, login-shell'
    assert said(house, 'pwd; id -un', flags=flags) == f'{HOME}\nann\n'


@pytest.mark.parametrize('home', ['/home/nowhere', '/root', '/etc/passwd'])
def test_no_home_to_preserve(house: House, home: str) -> None:
    passwd = house.path('/etc/passwd').read_text()
    moved = passwd.replace(f':{HOME}:', f':{home}:')
    with house.replaced('/etc/passwd', moved.encode()):
        it = done(house, 'echo ran', flags='preserve-cwd')
    assert (probe.code(it), it.stdout) == ('PBL-ACCOUNT-HOME', b'')


# The flag login-shell


@pytest.mark.parametrize('shell', ['bash', 'sh', 'dash'])
def test_the_profile(house: House, shell: str) -> None:
    """The login environment: /etc/profile, then the account's own for that shell.

    PATH is the profile's, behind the provider's; what it prints is output.
    """
    own = f'{HOME}/.bash_profile' if shell == 'bash' else f'{HOME}/.profile'
    text = 'export OF_ANN=1; PATH=$PATH:~/mine; echo from the profile\n'
    command = 'tool; echo "$OF_ALL $OF_ANN $PATH"; echo "$HOME $USER $LOGNAME $SHELL"'
    one = job(command, user='ann', flags='login-shell', shell=shell)
    files = {'bin/tool': '#!/bin/sh\necho tool\n', 'units/house.pxu': probe.text(one)}
    with (
        house.provider('probe', files),
        house.replaced('/etc/profile.d/house.sh', b'export OF_ALL=1\n'),
        house.replaced(own, text.encode()),
    ):
        it = house.pkexec('--hash', probe.checksum(one))
    assert (it.returncode, it.stderr) == (0, b'')
    first, tool, words, who = it.stdout.decode().splitlines()
    assert (first, tool) == ('from the profile', 'tool')
    assert words.startswith(f'1 1 {probe.HOME}/bin:')
    assert words.endswith(f':{HOME}/mine')
    assert who == f'{HOME} ann ann /bin/{shell}'


def test_no_profile_without_the_flag(house: House) -> None:
    with profile(house, 'echo from the profile\n'):
        assert said(house, 'echo $0') == 'bash\n'


def test_what_the_provider_is(house: House) -> None:
    """A login clears what it was started with, but not what was composed."""
    found = environment(done(house, SHOW, 'FOO=1', environ='FOO', flags='login-shell'))
    names = ('CHECKBOX_SHARE', 'PLAINBOX_PROVIDER_DATA', 'PLAINBOX_PROVIDER_UNITS')
    assert {name: found[name] for name in names} == {
        name: GOLDEN[name] for name in names
    }
    assert found['FOO'] == '1'


ODD_PROFILES = {
    'unset PATH': 'other:/usr/sbin:/usr/bin:/sbin:/bin',
    'PATH=': 'other:/usr/sbin:/usr/bin:/sbin:/bin',
    'PATH=/x': 'other:/x',
    'set -- a b c': 'other:',
    'set -u; set -o noclobber; set -f': 'other:',
    'trap "echo trapped" EXIT': 'other:',
    'IFS=:/; cd /; umask 077': 'other:',
    'echo() { false; }; printf() { false; }': 'other:',
    'exec </dev/null; shopt -s expand_aliases; alias echo=false': 'other:',
}


@pytest.mark.parametrize(('text', 'path'), ODD_PROFILES.items(), ids=range(9))
def test_an_odd_profile(house: House, text: str, path: str) -> None:
    """It does what it likes with its shell, and the job's text still arrives."""
    with profile(house, f'{text}\n'):
        found = said(
            house,
            'echo "$# $PATH"; /usr/bin/env | /usr/bin/grep ^PATH=',
            flags='login-shell',
        )
    words, exported = found.splitlines()
    assert words.startswith('0 ' + path.replace('other', f'{probe.HOME}/bin'))
    assert exported == words.replace('0 ', 'PATH=')


def test_a_provider_without_programs(house: House) -> None:
    """Nothing is put before the profile's PATH, least of all the empty name for `.`"""
    one = job('echo "$PATH"', user='ann', flags='login-shell')
    with house.provider('probe', probe.text(one)):
        house.check('rmdir', f'{probe.HOME}/bin')
        it = house.pkexec('--hash', probe.checksum(one))
    plain = house.check('runuser', '-l', 'ann', '-s', '/bin/bash', '-c', 'echo "$PATH"')
    assert it.stdout == plain


LITERALLY = [
    "'", '"', "it''s", r'\\', r"\'", '$HOME', '${1}', '$@', '$(id)', '`id`', '%s %d %%',
    '!', '*', '~', '#', '-i', '--', ';', '&', '|', 'a\nb', '\\n', '\xe9\U0001f600',
    '{a,b}',
]  # fmt: skip


@pytest.mark.canary('execute.py', 'word.replace("\'", "\'\\\\\'\'")', 'word')
@pytest.mark.parametrize('shell', ['bash', 'dash'])
def test_the_text_arrives_literally(house: House, shell: str) -> None:
    """A here-document of all that a shell could take for its own."""
    text = '\n'.join(LITERALLY)
    command = f"cat <<'END'\n{text}\nEND"
    assert said(house, command, flags='login-shell', shell=shell) == f'{text}\n'


@pytest.mark.parametrize('command', ['-i', '--help', '-c id', '--login'])
def test_a_command_is_no_option(house: House, command: str) -> None:
    it = done(house, command, flags='login-shell')
    assert (it.returncode, it.stdout) == (127, b'')
    assert b' %s: command not found\n' % command.split()[0].encode() in it.stderr


@pytest.mark.parametrize('status', [0, 1, 77, 125, 126, 127, 255])
def test_exit_status(house: House, status: int) -> None:
    """As it is, also 125: the frame and the log tell it from a refusal."""
    it = done(house, f'exit {status}', flags='login-shell')
    assert (it.returncode, it.stderr) == (status, b'')
    assert [event for event, _ in probe.written(house)] == ['start', 'end']


ONE = 'say(*Talker().open(hash + ":").run(hash))'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal(house: House, number: int) -> None:
    """Without a login it is known as one; a login makes an exit status of it, 128+n."""
    for flags, status in (('', -number), ('login-shell', 128 + number)):
        one = job(f'kill -{int(number)} $$', user='ann', flags=flags)
        with installed(house, one) as (hash_,):
            ending, _, _ = talk(house, ONE, hash=hash_)
        assert isinstance(ending, Ended)
        assert (ending.status, ending.cause) == (status, 'exit')


SAYS_WHETHER = """
    value = os.urandom(8).hex()
    _, out, _ = Talker().open(hash + ':').run(hash, 'SECRET=' + value)
    mine, lines = out.decode().split('\\n', 1)
    say(mine == value, value in lines, 'runuser' in lines)
"""


@pytest.mark.canary(
    'execute.py', "','.join(kept)", "','.join(f'{n},{v}' for n, v in kept.items())"
)
def test_a_value_is_in_no_command_line(house: House) -> None:
    """Row 42: values travel in frames and environments only."""
    command = r"""
        echo "$SECRET"
        cat /proc/[0-9]*/cmdline | tr '\0' ' '
    """
    one = job(command, user='ann', environ='SECRET', flags='login-shell')
    with installed(house, one) as (hash_,):
        found = talk(house, SAYS_WHETHER, hash=hash_)
    assert found == [True, False, True]
    for line in house.log(probe.PROGRAM):
        assert ' passed=SECRET ' in line.text or ': start ' not in line.text
