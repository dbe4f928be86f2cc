# SPDX-License-Identifier: ISC
"""The environment of a job of root's, as the job itself finds it.

The probe shows /proc/PID/environ of its shell, so what the launcher made, before bash
adds variables of its own.
"""

import os
from collections.abc import Iterator

import probe
import pytest
from house import House, put
from probe import GOLDEN, SHOW, environment

# What makes a loader, a library, a shell or a program run or read what the caller
# chose: ld.so(8), bash(1), dash(1), sudoers(5), and the manuals of those programs.
HOSTILE = {
    'LD_PRELOAD': '/tmp/evil.so',
    'LD_LIBRARY_PATH': '/tmp/evil',
    'LD_AUDIT': '/tmp/evil.so',
    'LD_DEBUG_OUTPUT': '/etc/passwd',
    'LD_ORIGIN_PATH': '/tmp/evil',
    'GCONV_PATH': '/tmp/evil',
    'GETCONF_DIR': '/tmp/evil',
    'GLIBC_TUNABLES': 'glibc.malloc.mxfast=glibc.malloc.mxfast=A',
    'HOSTALIASES': '/etc/shadow',
    'LOCALDOMAIN': 'evil.example',
    'LOCPATH': '/tmp/evil',
    'MALLOC_TRACE': '/etc/passwd',
    'NIS_PATH': '/tmp/evil',
    'NLSPATH': '/tmp/evil/%N',
    'RESOLV_HOST_CONF': '/etc/shadow',
    'RES_OPTIONS': 'debug',
    'TMPDIR': '/tmp/evil',
    'TZDIR': '/tmp/evil',
    'BASH_ENV': '/tmp/evil.sh',
    'BASH_XTRACEFD': '1',
    'BASHOPTS': 'extdebug',
    'ENV': '/tmp/evil.sh',
    'IFS': '/',
    'CDPATH': '/tmp/evil',
    'GLOBIGNORE': '*',
    'SHELLOPTS': 'xtrace',
    'PS4': '$(touch /tmp/ran)',
    'PROMPT_COMMAND': 'touch /tmp/ran',
    'POSIXLY_CORRECT': '1',
    'INPUTRC': '/tmp/evil',
    'HISTFILE': '/etc/passwd',
    'PYTHONPATH': '/tmp/evil',
    'PYTHONHOME': '/tmp/evil',
    'PYTHONSTARTUP': '/tmp/evil.py',
    'PERL5LIB': '/tmp/evil',
    'PERL5OPT': '-Mevil',
    'RUBYLIB': '/tmp/evil',
    'RUBYOPT': '-revil',
    'GEM_PATH': '/tmp/evil',
    'NODE_OPTIONS': '--require=/tmp/evil.js',
    'JAVA_TOOL_OPTIONS': '-javaagent:/tmp/evil.jar',
    'TERMINFO': '/tmp/evil',
    'TERMCAP': '/tmp/evil',
    'TERM': 'evil',
    'KRB5_CONFIG': '/tmp/evil',
    'COLORTERM': 'evil',
    'GIT_SSH_COMMAND': 'touch /tmp/ran',
    'GIT_CONFIG_GLOBAL': '/tmp/evil',
    'PAGER': 'touch /tmp/ran',
    'MANPAGER': 'touch /tmp/ran',
    'EDITOR': 'touch /tmp/ran',
    'VISUAL': 'touch /tmp/ran',
    'SUDO_ASKPASS': '/tmp/evil',
    'BROWSER': '/tmp/evil',
    'LESSOPEN': '|/tmp/evil %s',
    'SSH_ASKPASS': '/tmp/evil',
    'OPENSSL_CONF': '/tmp/evil',
    'SSL_CERT_FILE': '/tmp/evil',
    'CURL_HOME': '/tmp/evil',
    'GTK_MODULES': '/tmp/evil.so',
    'GIO_MODULE_DIR': '/tmp/evil',
    'QT_PLUGIN_PATH': '/tmp/evil',
    'LIBGL_DRIVERS_PATH': '/tmp/evil',
    'VK_ICD_FILENAMES': '/tmp/evil',
    'ALSA_CONFIG_PATH': '/tmp/evil',
    'PATH': '/tmp/evil',
    'HOME': '/tmp/evil',
    'USER': 'evil',
    'LOGNAME': 'evil',
    'SHELL': '/tmp/evil',
    'PWD': '/tmp/evil',
    'OLDPWD': '/tmp/evil',
    'LANG': '../../tmp/evil',
    'LANGUAGE': 'evil',
    'LC_ALL': '$(touch /tmp/ran)',
    'XDG_RUNTIME_DIR': '/tmp/evil',
    'XDG_CONFIG_HOME': '/tmp/evil',
    'DBUS_SESSION_BUS_ADDRESS': 'unixexec:path=/tmp/evil',
    'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/tmp/evil',
    'NOTIFY_SOCKET': '/tmp/evil',
    'PKEXEC_UID': '0',
    'CHECKBOX_SHARE': '/tmp/evil',
    'PLAINBOX_PROVIDER_DATA': '/tmp/evil',
    'TEXTDOMAINDIR': '/tmp/evil',
}
OFFERS = [f'{name}={value}' for name, value in HOSTILE.items()]

ONLY_LISTED = 'for name in job.environ & (offers | screen.keys())'
FROM_NOTHING = 'execute.command(job, environment.values, '
FROM_OURS = """execute.command(job, {
            **{k.decode(): v.decode(errors='replace') for k, v in world.given.items()},
            **environment.values,
        }, """


# Rows 2, 4 and 5: names


@pytest.mark.canary('environ.py', ONLY_LISTED, 'for name in (offers | screen.keys())')
def test_only_names_that_the_job_lists(house: House) -> None:
    """`FOO=1 BAR=2` for `environ: FOO`; the original launcher passed them both."""
    done = probe.seen(house, SHOW, 'FOO=1', 'BAR=2', environ='FOO', call=house.pkexec)
    assert environment(done) == {**GOLDEN, 'FOO': '1'}


@pytest.mark.parametrize('names', ['A,B', 'A B', 'A,\n B', ' ,A,, \tB,'])
def test_how_names_are_listed(house: House, names: str) -> None:
    """Separated by blanks and commas. What is not offered is not set."""
    done = probe.seen(house, SHOW, 'A=1', 'C=3', environ=names)
    assert environment(done) == {**GOLDEN, 'A': '1'}
    done = probe.seen(house, SHOW, 'B=', 'A=', environ=names)
    assert environment(done) == {**GOLDEN, 'A': '', 'B': ''}


@pytest.mark.canary('environ.py', ONLY_LISTED, 'for name in (offers | screen.keys())')
def test_hostile_names(house: House) -> None:
    """None of them reaches a job that lists none: its environment is the golden one."""
    assert len(HOSTILE) >= 60
    done = probe.seen(house, SHOW, *OFFERS, 'ONE=1', call=house.pkexec)
    assert environment(done) == GOLDEN


@pytest.mark.canary('environ.py', 'not (denying and denied(name))', 'True')
@pytest.mark.parametrize('shell', ['bash', 'sh', 'dash'])
def test_hostile_names_that_the_job_lists(house: House, shell: str) -> None:
    """The deny list wins even over the job, whatever shell it asks for."""
    one = probe.job(SHOW, environ=' '.join(HOSTILE), shell=shell)
    with probe.installed(house, one) as (checksum,):
        done = house.pkexec('--hash', checksum, *OFFERS)
    assert environment(done) == GOLDEN
    assert not house.path('/tmp/ran').exists()


@pytest.mark.canary('environ.py', 'not (denying and denied(name))', 'True')
def test_each_hostile_name_alone(house: House) -> None:
    """That they are dropped is not one of them hiding another."""
    (start,) = logged_for_all(house)
    dropped = start.split(' dropped=')[1].split()[0].split(',')
    assert sorted(dropped) == sorted(HOSTILE)
    assert ' passed=- ' in start


def logged_for_all(house: House) -> list[str]:
    probe.seen(house, ':', *OFFERS, environ=' '.join(HOSTILE))
    lines = house.log('plainbox-trusted-launcher-1')
    return [line.text for line in lines if ': start ' in line.text]


@pytest.mark.canary('job.py', FROM_NOTHING, FROM_OURS)
@pytest.mark.parametrize('environ', ['', ' '.join(HOSTILE)])
def test_what_root_was_started_with(house: House, environ: str) -> None:
    """The environment is built from nothing, never from a copy of the launcher's."""
    env = {**HOSTILE, 'PLAIN': '1'}
    for name in ('LD_PRELOAD', 'LD_AUDIT', 'LD_DEBUG_OUTPUT', 'PKEXEC_UID'):
        del env[name]  # the loader of our own test would obey
    done = probe.seen(house, SHOW, environ=f'PLAIN {environ}', env=env)
    assert environment(done) == GOLDEN


LOCALE = {'LANG': 'de_DE.UTF-8', 'LANGUAGE': 'de:en', 'LC_TIME': 'C'}


def test_the_locale(house: House) -> None:
    """The flag preserve-locale: the caller's LANG, LANGUAGE and LC_*."""
    assert located(house, 'preserve-locale') == {**GOLDEN, **LOCALE}


@pytest.mark.canary('environ.py', "if 'preserve-locale' in job.flags:", 'if True:')
def test_no_locale_for_who_does_not_ask(house: House) -> None:
    assert located(house, 'preserve-cwd') == GOLDEN


def located(house: House, flags: str) -> dict[str, str]:
    """The environment of a job with flags, to which a locale was offered."""
    offers = [f'{name}={value}' for name, value in LOCALE.items()]
    with probe.installed(house, probe.job(SHOW, flags=flags)) as (checksum,):
        return environment(house.pkexec('--hash', checksum, *offers))


@pytest.mark.canary(
    'environ.py', "_LOCALES.fullmatch(f'{n}={value}')", "n[:2] in 'LOLC'"
)
@pytest.mark.parametrize(
    'value', ['../../x', '/tmp/evil', '..', '$(touch /tmp/ran)', 'C.UTF-8/../x']
)
def test_no_locale_is_a_path(house: House, value: str) -> None:
    """What is no name of a locale does not reach the job, nor does LOCPATH."""
    names = ('LANG', 'LANGUAGE', 'LC_ALL', 'LC_CTYPE', 'LOCPATH')
    one = probe.job(SHOW, flags='preserve-locale', environ=' '.join(names))
    with probe.installed(house, one) as (checksum,):
        done = house.pkexec('--hash', checksum, *(f'{name}={value}' for name in names))
    assert environment(done) == GOLDEN


@pytest.mark.canary('job.py', FROM_NOTHING, FROM_OURS)
def test_what_pkexec_leaves(house: House) -> None:
    """pkexec keeps SHELL, LANG, LC_*, TERM, COLORTERM, DISPLAY and XAUTHORITY."""
    hostile = {
        'COLORTERM': '\x1b]0;evil\a\n',
        'TERM': 'evil',
        'LC_ALL': '$(id)',
        'LANG': 'evil',
        'LC_MESSAGES': 'evil',
        'SHELL': '/bin/sh',
        'DISPLAY': ':0',
        'XAUTHORITY': '/etc/shadow',
        'LD_PRELOAD': '',
    }
    kept = house.pkexec('--warmup', env=hostile)
    assert (kept.returncode, kept.stderr) == (0, b'')  # pkexec lets them pass
    done = probe.seen(house, SHOW, call=house.pkexec, env=hostile)
    assert environment(done) == GOLDEN


# Row 8: the screen

XAUTHORITY = '/home/tester/.Xauthority'


@pytest.fixture
def cookie(house: House) -> Iterator[str]:
    path = house.path(XAUTHORITY)
    put(path, b'cookie', 0o600)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    house.check('ln', '-s', XAUTHORITY, '/home/tester/link')
    yield XAUTHORITY
    house.check('rm', '-f', XAUTHORITY, '/home/tester/link')


WANTED = 'DISPLAY XAUTHORITY'


@pytest.mark.parametrize('how', ['kept by pkexec', 'offered'])
@pytest.mark.parametrize('display', [':0', ':0.1', 'localhost:10.0'])
def test_the_screen(house: House, cookie: str, how: str, display: str) -> None:
    """DISPLAY and XAUTHORITY only for a job that names them."""
    values = {'DISPLAY': display, 'XAUTHORITY': cookie}
    offers = [f'{name}={value}' for name, value in values.items()]
    with probe.installed(
        house, probe.job(SHOW, environ=WANTED), probe.job(SHOW, id='blind')
    ) as (seeing, blind):
        for checksum, expected in ((seeing, {**GOLDEN, **values}), (blind, GOLDEN)):
            if how == 'offered':
                done = house.pkexec('--hash', checksum, *offers)
            else:
                done = house.pkexec('--hash', checksum, env={**values, 'PATH': '/bin'})
            assert environment(done) == expected


@pytest.mark.canary(
    'caller.py', 'stat.S_ISREG(status.st_mode) and status.st_uid == caller.uid', 'True'
)
@pytest.mark.parametrize(
    'path',
    [
        '/etc/shadow',  # root's
        '/etc/passwd',
        '/home/tester',  # a directory
        '/home/tester/link',  # a link to a good one
        '/home/tester/nothing',
        '/home/tester/./.Xauthority',
        '/home//tester/.Xauthority',
        '.Xauthority',
        '/dev/null',
        '/proc/self/environ',
        '$(id)',
    ],
)
def test_no_file_of_the_caller(house: House, cookie: str, path: str) -> None:
    """XAUTHORITY only as a regular file owned by the caller; else the job has none."""
    del cookie
    with probe.installed(house, probe.job(SHOW, environ=WANTED)) as (checksum,):
        kept = house.pkexec('--hash', checksum, env={'XAUTHORITY': path})
        offered = house.pkexec('--hash', checksum, f'XAUTHORITY={path}')
    assert environment(kept) == environment(offered) == GOLDEN


@pytest.mark.canary('caller.py', '_DISPLAY.fullmatch(value) is not None', 'True')
@pytest.mark.parametrize(
    'display', ['', 'x', ':', ':0;id', ':0\t', '$(id):0', ':0.0.0', ' :0', ':999999']
)
def test_no_display(house: House, display: str) -> None:
    done = probe.seen(
        house, SHOW, f'DISPLAY={display}', environ=WANTED, call=house.pkexec
    )
    assert environment(done) == GOLDEN


# The session's directory


def test_the_sessions_directory(house: House) -> None:
    """Known to the launcher, by both names, also to a job that lists neither."""
    share = '/home/tester'
    for name in ('PLAINBOX_SESSION_SHARE', 'CHECKBOX_DATA'):
        done = probe.seen(house, SHOW, f'{name}={share}', call=house.pkexec)
        both = {'PLAINBOX_SESSION_SHARE': share, 'CHECKBOX_DATA': share}
        assert environment(done) == {**GOLDEN, **both}


@pytest.mark.canary('caller.py', 'status.st_uid != caller.uid', 'False')
@pytest.mark.parametrize('folder', ['/home/stranger', '/root', '/etc'])
def test_the_sessions_directory_of_another(house: House, folder: str) -> None:
    """Nor of root: what is said of it would tell what exists in secret places."""
    share = f'PLAINBOX_SESSION_SHARE={folder}'
    assert probe.code(probe.seen(house, SHOW, share, call=house.pkexec)) == (
        'PBL-SESSION-SHARE'
    )


# Row 37: a generator's environment

LISTS = """
    printf 'id: generated\\nuser: root\\ncommand: echo %s\\n' "$A$B"
"""


def generated(value: str) -> probe.Job:
    return {'id': 'generated', 'user': 'root', 'command': f'echo {value}'.strip()}


@pytest.mark.canary('environ.py', ONLY_LISTED, 'for name in (offers | screen.keys())')
def test_a_generator_gets_what_it_lists(house: House) -> None:
    """The same treatment by its own `environ`, not by that of the job it prints."""
    local = probe.job(LISTS, id='local', plugin='local', environ='A', user='')
    with probe.installed(house, local) as (via,):
        for value in ('1', '12'):
            wanted = probe.checksum(generated(value))
            done = house.pkexec('--hash', wanted, '--via', via, 'A=1', 'B=2')
            if value == '1':
                assert (done.returncode, done.stdout) == (0, b'1\n')
            else:
                assert probe.code(done) == 'PBL-NOT-GENERATED'
