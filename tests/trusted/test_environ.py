# SPDX-License-Identifier: ISC
"""What a job finds in its environment: every case that environ.py states.

Rows 4, 5 and 6 of the ledger, as values. That a job really gets these and nothing
else is proven with a job.
"""

import re
from pwd import struct_passwd

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plainbox_launcher.trusted.environ import (
    Environment,
    assignments,
    compose,
    denied,
    locale,
)
from plainbox_launcher.trusted.errors import Refused
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

ROOT = struct_passwd(('root', 'x', 0, 0, 'root', '/root', '/bin/bash'))
ANN = struct_passwd(('ann', 'x', 1000, 1000, 'Ann', '/home/ann', '/bin/zsh'))
LEAN = Provider('2026.org.example:p', '2026.org.example', *[''] * 8)
FULL = LEAN._replace(
    gettext_domain='example',
    base='/usr/lib/p',
    units='/usr/lib/p/units',
    jobs='/usr/lib/p/jobs',
    data='/usr/share/p',
    bin='/usr/lib/p/bin',
    locale='/usr/share/locale',
)

BARE = {
    'LANG': 'C.UTF-8',
    'HOME': '/root',
    'USER': 'root',
    'LOGNAME': 'root',
    'SHELL': '/bin/bash',
    'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
}


def job(environ: str = '', provider: Provider = LEAN, flags: str = '') -> Unit:
    fields = {'id': 'a', 'user': 'root', 'environ': environ, 'flags': flags}
    return Unit(fields, provider, 'x.pxu:1')


# The environment


def test_from_nothing() -> None:
    assert compose(job(), ROOT, [], {}) == Environment(BARE, (), ())


def test_from_a_whole_provider() -> None:
    """PATH starts with the bin directories of all providers of the same namespace."""
    folders = ['/usr/lib/p/bin', '/usr/lib/q/bin']
    assert compose(job(provider=FULL), ANN, folders, {}).values == {
        'LANG': 'C.UTF-8',
        'HOME': '/home/ann',
        'USER': 'ann',
        'LOGNAME': 'ann',
        'SHELL': '/bin/zsh',
        'PATH': '/usr/lib/p/bin:/usr/lib/q/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'CHECKBOX_SHARE': '/usr/lib/p',
        'PLAINBOX_PROVIDER_DATA': '/usr/share/p',
        'PLAINBOX_PROVIDER_UNITS': '/usr/lib/p/units',
        'TEXTDOMAIN': 'example',
        'TEXTDOMAINDIR': '/usr/share/locale',
    }


def test_only_names_that_the_job_lists() -> None:
    """Names that the job does not list never reach it."""
    found = compose(job('FOO'), ROOT, [], {'FOO': '1', 'BAR': '2'})
    assert found == Environment({**BARE, 'FOO': '1'}, ('FOO',), ('BAR',))


def test_a_name_that_is_listed_and_not_offered_is_unset() -> None:
    assert compose(job('FOO BAR'), ROOT, [], {}) == Environment(BARE, (), ())


def test_an_empty_value_is_a_value() -> None:
    found = compose(job('FOO'), ROOT, [], {'FOO': ''})
    assert found == Environment({**BARE, 'FOO': ''}, ('FOO',), ())


def test_names_are_compared_as_they_are_written() -> None:
    found = compose(job('foo FOOT XFOO'), ROOT, [], {'FOO': '1'})
    assert found == Environment(BARE, (), ('FOO',))


def test_a_library_path_for_root_and_for_others() -> None:
    """As root, or another account, the name is dropped and audited and the job still
    runs; as the caller it is set."""
    offered = {'LD_LIBRARY_PATH': '/opt/lib', 'PATH': '/opt/bin', 'FOO': '1'}
    wants = job('LD_LIBRARY_PATH, PATH, FOO', FULL)
    as_root = compose(wants, ROOT, ['/usr/lib/p/bin'], offered)
    assert as_root.passed == ('FOO',)
    assert as_root.dropped == ('LD_LIBRARY_PATH', 'PATH')
    assert 'LD_LIBRARY_PATH' not in as_root.values
    assert as_root.values['PATH'] == '/usr/lib/p/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    as_another = compose(wants, ANN, ['/usr/lib/p/bin'], offered)
    assert as_another.passed == ('FOO',)
    as_ann = compose(wants, ANN, ['/usr/lib/p/bin'], offered, own=True)
    assert as_ann.passed == ('FOO', 'LD_LIBRARY_PATH', 'PATH')
    assert as_ann.dropped == ()
    assert offered.items() <= as_ann.values.items()


def test_the_sessions_directory_by_both_names() -> None:
    """It is known to the launcher: neither passed nor dropped, whatever the job
    lists."""
    offered = {'CHECKBOX_DATA': '/home/ann/evil'}
    for wants in job(), job('CHECKBOX_DATA PLAINBOX_SESSION_SHARE'):
        for share, values in (
            ('', BARE),
            (
                '/run/s',
                {**BARE, 'PLAINBOX_SESSION_SHARE': '/run/s', 'CHECKBOX_DATA': '/run/s'},
            ),
        ):
            found = compose(wants, ROOT, [], offered, share=share)
            assert found == Environment(values, (), ())


def test_the_screen_only_for_a_job_that_names_it() -> None:
    """DISPLAY and XAUTHORITY as far as they are fit; what is offered never counts."""
    screen = {'DISPLAY': ':0', 'XAUTHORITY': '/home/ann/.X'}
    offered = {'DISPLAY': 'evil', 'XAUTHORITY': '/etc/shadow'}
    both = ('DISPLAY', 'XAUTHORITY')
    for account in ROOT, ANN:
        always = compose(job(), account, [], {}).values
        found = compose(job(), account, [], offered, screen=screen)
        assert found == Environment(always, (), both)
        found = compose(job('DISPLAY'), account, [], offered, screen=screen)
        values = {**always, 'DISPLAY': ':0'}
        assert found == Environment(values, ('DISPLAY',), ('XAUTHORITY',))
        found = compose(job('DISPLAY XAUTHORITY'), account, [], {}, screen=screen)
        assert found == Environment({**always, **screen}, both, ())
        found = compose(job('DISPLAY XAUTHORITY'), account, [], offered, screen={})
        assert found == Environment(always, (), both)


name = st.from_regex('[A-Za-z_][A-Za-z0-9_]{0,8}', fullmatch=True) | st.sampled_from(
    ['PATH', 'LD_PRELOAD', 'LANG', 'CHECKBOX_DATA', 'PLAINBOX_X', 'DISPLAY', 'A', 'B']
)


@given(st.sets(name), st.dictionaries(name, st.text()))
def test_root_gets_what_is_listed_and_not_denied(
    listed: set[str], offered: dict[str, str]
) -> None:
    """And each name that is offered is accounted for."""
    found = compose(job(' '.join(listed)), ROOT, [], offered)
    assert set(found.passed) == {
        n for n in listed & offered.keys() if not denied(n)
    } - {'DISPLAY', 'XAUTHORITY', 'PLAINBOX_SESSION_SHARE', 'CHECKBOX_DATA'}
    assert found.values == {**BARE, **{n: offered[n] for n in found.passed}}
    assert {*found.passed, *found.dropped} == offered.keys() - {'CHECKBOX_DATA'}
    assert not {*found.passed} & {*found.dropped}


# The locale

LOCALES = """
    C POSIX C.UTF-8 C.utf8 de de_DE de_DE.UTF-8 en_US.utf8 ca_ES@valencia aa_ER@saaho
    de_DE.ISO-8859-15@euro ru_RU.KOI8-R zh_TW.Big5 ja_JP.eucJP sr_RS@latin
    uz_UZ@cyrillic es_419 ber_DZ
"""
NO_LOCALES = [
    '',
    '..',
    '.',
    '../../x',
    '/tmp/evil',
    'de/../..',
    'de_DE/x',
    'de_DE.UTF-8/../../../tmp',
    '$(id)',
    '() { :; }',
    'C\n',
    'C;LC_CTYPE=x',
    'LC_CTYPE=/tmp/x;LC_TIME=C',
    '%s%n',
    'a' * 9,
    'de_DE.' + 'x' * 17,
    'd\u00e9',
    '\uff23',
    'de de',
    ':',
]


@pytest.mark.parametrize('name', ['LANG', 'LANGUAGE', 'LC_ALL', 'LC_TIME'])
def test_a_locale_for_who_asks(name: str) -> None:
    """With the flag preserve-locale; without it LANG=C.UTF-8 and none else."""
    keeps, own = job(flags='preserve-locale'), job(flags='simple preserve-locale')
    for value in LOCALES.split():
        found = compose(keeps, ROOT, [], {name: value})
        assert found == Environment({**BARE, name: value}, (name,), ())
        assert compose(own, ANN, [], {name: value}, own=True).passed == (name,)
        for other in job(), job(name), job(flags='not-preserve-locale'):
            found = compose(other, ROOT, [], {name: value})
            assert found == Environment(BARE, (), (name,))


@pytest.mark.parametrize('value', NO_LOCALES)
@pytest.mark.parametrize('name', ['LANG', 'LANGUAGE', 'LC_ALL', 'LC_TIME'])
def test_no_locale(name: str, value: str) -> None:
    """Only if it looks like the name of one: never a path."""
    for listed in '', name:
        found = compose(job(listed, flags='preserve-locale'), ROOT, [], {name: value})
        assert found == Environment(BARE, (), (name,))


def test_which_names_say_a_locale() -> None:
    offered = dict.fromkeys(
        ('LANG', 'LC_ALL', 'LC_NOPE', 'LC_', 'LOCPATH', 'LANGUAGES', 'lang', 'XLANG'),
        'C',
    )
    assert locale(offered) == {'LANG', 'LC_ALL'}
    found = compose(job('LOCPATH', flags='preserve-locale'), ROOT, [], offered)
    assert found.passed == ('LANG', 'LC_ALL')
    assert locale({'LANGUAGE': 'de:en_GB:en'}) == {'LANGUAGE'}
    for value in 'de::en', ':de', 'de:', 'de:../x', ':'.join(['de'] * 17):
        assert locale({'LANGUAGE': value}) == set()
    assert locale({'LANG': 'de:en'}) == set()


# The deny list. Each class with names that its source gives.

DENIED = {
    'ld.so(8)': """
        LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_DEBUG_OUTPUT LD_BIND_NOW
        LD_ORIGIN_PATH LD_PROFILE LD_PROFILE_OUTPUT LD_SHOW_AUXV LD_VERBOSE LD_WARN
        LD_HWCAP_MASK LD_ASSUME_KERNEL LD_DYNAMIC_WEAK LD_USE_LOAD_BIAS
        LD_PREFER_MAP_32BIT_EXEC
    """,
    'glibc, unsecure variables': """
        GCONV_PATH GETCONF_DIR GLIBC_TUNABLES HOSTALIASES LOCALDOMAIN LOCPATH
        MALLOC_ARENA_MAX MALLOC_CHECK_ MALLOC_MMAP_THRESHOLD_ MALLOC_PERTURB_
        MALLOC_TOP_PAD_ MALLOC_TRACE MALLOC_TRIM_THRESHOLD_ NIS_PATH NLSPATH
        RESOLV_HOST_CONF RES_OPTIONS TMPDIR TZDIR
    """,
    'bash(1), dash(1)': """
        BASH_ENV ENV IFS CDPATH SHELLOPTS BASHOPTS BASH_XTRACEFD BASH_LOADABLES_PATH
        BASH_COMPAT GLOBIGNORE PS0 PS1 PS2 PS4 PROMPT_COMMAND POSIXLY_CORRECT INPUTRC
        HISTFILE OPTIND EXECIGNORE
    """,
    'sudoers(5), initial_badenv_table of sudo': """
        IFS CDPATH LOCALDOMAIN RES_OPTIONS HOSTALIASES NLSPATH PATH_LOCALE _RLD_LIST
        KRB5_CONFIG KRB5_KTNAME KRB5CCNAME TERMINFO TERMINFO_DIRS TERMPATH TERMCAP
        ENV BASH_ENV PS4 GLOBIGNORE BASHOPTS SHELLOPTS JAVA_TOOL_OPTIONS
        PERLIO_DEBUG PERLLIB PERL5LIB PERL5OPT PERL5DB FPATH NULLCMD READNULLCMD ZDOTDIR
        TMPPREFIX PYTHONHOME PYTHONPATH PYTHONINSPECT PYTHONUSERBASE RUBYLIB RUBYOPT
    """,
    'python3(1)': """
        PYTHONSTARTUP PYTHONEXECUTABLE PYTHONPYCACHEPREFIX PYTHONBREAKPOINT
        PYTHONPLATLIBDIR PYTHONWARNINGS PYTHONDEVMODE PYTHONHASHSEED
    """,
    'interpreters': """
        GEM_HOME GEM_PATH LUA_PATH LUA_CPATH LUA_INIT LUA_INIT_5_4 NODE_OPTIONS
        NODE_PATH _JAVA_OPTIONS JDK_JAVA_OPTIONS TCLLIBPATH TCL_LIBRARY PHPRC
        PHP_INI_SCAN_DIR R_HOME R_LIBS R_PROFILE R_ENVIRON GUILE_LOAD_PATH AWKPATH
        AWKLIBPATH
    """,
    'programs that run what a variable names': """
        PAGER GIT_PAGER MANPAGER SYSTEMD_PAGER EDITOR VISUAL SUDO_ASKPASS SUDO_USER
        BROWSER LESSOPEN LESSCLOSE GIT_SSH GIT_SSH_COMMAND GIT_EXEC_PATH SSH_ASKPASS
        RSYNC_RSH OPENSSL_CONF OPENSSL_MODULES SSL_CERT_FILE SSLKEYLOGFILE CURL_HOME
        GNUPGHOME MAKEFLAGS TAR_OPTIONS
    """,
    'toolkits': """
        GTK_MODULES GTK_PATH GDK_PIXBUF_MODULE_FILE GIO_EXTRA_MODULES GST_PLUGIN_PATH
        GST_PLUGIN_SCANNER GSETTINGS_SCHEMA_DIR QT_PLUGIN_PATH QML2_IMPORT_PATH
        LIBGL_DRIVERS_PATH MESA_GLSL_CACHE_DIR VK_ICD_FILENAMES VK_LAYER_PATH
        __EGL_VENDOR_LIBRARY_FILENAMES __GLX_VENDOR_LIBRARY_NAME ALSA_CONFIG_PATH
        PULSE_SERVER LADSPA_PATH LV2_PATH
    """,
    'who the job is, and whose bus it may speak on': """
        PATH HOME USER LOGNAME SHELL PWD OLDPWD MAIL LANG LANGUAGE LC_ALL LC_MESSAGES
        TERM COLORTERM XDG_RUNTIME_DIR XDG_DATA_DIRS XDG_CONFIG_HOME PKEXEC_UID
        DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS NOTIFY_SOCKET LISTEN_FDS
        LISTEN_PID INVOCATION_ID
    """,
    'what the launcher itself says': """
        CHECKBOX_SHARE PLAINBOX_PROVIDER_DATA PLAINBOX_PROVIDER_UNITS PLAINBOX_ANYTHING
        TEXTDOMAIN TEXTDOMAINDIR
    """,
}

# What jobs of the published providers list and need, and names close to denied ones.
ALLOWED = """
    BTDEVADDR OPEN_BG_SSID OPEN_N_SSID ROUTERS WPA_AC_PSK SERVER_IPERF TEST_TARGET_IPERF
    STRESS_S3_ITERATIONS STRESS_S4_WAIT_DELAY SUSPEND_MODES LAN_SERVER MODEM_APN
    WIFI_INTERFACE RPMSG_TEST_PARAM TRANSFER_SERVER HDMI_SOURCES NET_DEVICE_INFO FOO _
    A LD LDFLAGS XLD_PRELOAD OLD_PATH PATHS MY_PATH HOMEPAGE TMP TEMP DISPLAYS
    SUDOKU PYTHO TERMINAL LESTER ENVY IFSX CHECKBOX_DATA_DIR NODE GITLAB LANGUAGES
    http_proxy no_proxy
"""


@pytest.mark.parametrize('source', DENIED)
def test_root_takes_it_from_nobody(source: str) -> None:
    """The deny list wins over any job."""
    names = DENIED[source].split()
    assert [n for n in names if not denied(n)] == []
    offered = dict.fromkeys(names, '/tmp/evil')
    found = compose(job(' '.join(names)), ROOT, [], offered)
    assert found.values == BARE
    assert found.dropped == tuple(sorted({*names}))


def test_root_takes_what_is_harmless() -> None:
    assert [n for n in ALLOWED.split() if denied(n)] == []


# Assignments

LONG = 'v' * (32 << 10)
NAME = 'the name of a variable is malformed'
VALUE = 'an argument is not NAME=VALUE'
CONTROL = 'the value of A has control characters'
TOO_LONG = 'the value of A is too long'
FUNCTION = 'the value of A starts like a function'

REFUSED = {
    'A': VALUE,
    '': VALUE,
    'A:1': VALUE,
    'A\uff1d1': VALUE,  # a full-width equals sign
    '=': NAME,
    '=x': NAME,
    '==': NAME,
    ' A=1': NAME,
    'A =1': NAME,
    '1A=1': NAME,
    'A-B=1': NAME,
    'A.B=1': NAME,
    'A+=1': NAME,
    'A[0]=1': NAME,
    'A%%=1': NAME,
    'BASH_FUNC_id%%=() { :; }': NAME,
    'BASH_FUNC_id()=() { :; }': NAME,
    'A\n=1': NAME,
    'A\nB=1': NAME,
    'A\0=1': NAME,
    'Ä=1': NAME,
    '\uff21=1': NAME,  # a full-width A
    'A\u0663=1': NAME,  # a digit elsewhere
    'A' * 129 + '=1': NAME,
    'A=\0': CONTROL,
    'A=1\n': CONTROL,
    'A=1\nB=2': CONTROL,
    'A=\r': CONTROL,
    'A=\x1b[2J': CONTROL,
    'A=\x7f': CONTROL,
    'A=\x80': CONTROL,
    'A=\x9b2J': CONTROL,
    'A=() { :; }; id': FUNCTION,
    'A=()': FUNCTION,
    f'A={LONG}v': TOO_LONG,
    'A=' + 'é' * (16 << 10) + 'v': TOO_LONG,  # bytes count
}

READ = {
    'A=': ('A', ''),
    'A==': ('A', '='),
    'A=1=2': ('A', '1=2'),
    '_=x': ('_', 'x'),
    '_a1=x': ('_a1', 'x'),
    'a=x': ('a', 'x'),
    'A= x ': ('A', ' x '),
    'A=a\tb': ('A', 'a\tb'),
    'A=é\U0001f600\u2028': ('A', 'é\U0001f600\u2028'),
    'A=$(id) `id` ;|&': ('A', '$(id) `id` ;|&'),
    'A= () {': ('A', ' () {'),
    'A=(': ('A', '('),
    'A=%s{0}': ('A', '%s{0}'),
    f'{"A" * 128}=1': ('A' * 128, '1'),
    f'A={LONG}': ('A', LONG),
}


def reason(*arguments: str) -> str:
    with pytest.raises(Refused) as caught:
        assignments(arguments)
    assert caught.value.code == 'PBL-VARIABLE'
    return caught.value.fact


@pytest.mark.parametrize(('argument', 'fact'), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_no_assignment(argument: str, fact: str) -> None:
    assert reason(argument) == fact
    assert reason('GOOD=1', argument) == fact


@pytest.mark.parametrize(('argument', 'pair'), READ.items(), ids=range(len(READ)))
def test_what_is_one(argument: str, pair: tuple[str, str]) -> None:
    assert assignments([argument]) == dict([pair])


def test_a_name_twice() -> None:
    """Also if it says the same: what another program would make of it is not ours to
    guess."""
    assert reason('A=1', 'B=1', 'A=2') == 'A is there twice'
    assert reason('A=1', 'A=1') == 'A is there twice'
    assert assignments(['A=1', 'a=1']) == {'A': '1', 'a': '1'}


@given(st.lists(st.text() | st.tuples(name, st.text()).map('='.join)))
@example(['A=\x85'])
def test_accepted_means_byte_exact(arguments: list[str]) -> None:
    try:
        found = assignments(arguments)
    except Refused:
        return
    assert [f'{name}={value}' for name, value in found.items()] == arguments
    for key, value in found.items():
        assert re.fullmatch('[A-Za-z_][A-Za-z0-9_]{0,127}', key)
        assert value.replace('\t', '').isprintable() or not value.isascii()
        assert not set(value) & {*map(chr, (*range(9), *range(10, 32), 127))}
