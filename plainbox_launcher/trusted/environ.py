# SPDX-License-Identifier: ISC
"""What a job finds in its environment. Pure; each case is stated here.

Built from nothing, in this order, the later winning:

 1. always: LANG, HOME, USER, LOGNAME, SHELL of the account, and PATH;
 2. what the provider is: CHECKBOX_SHARE, PLAINBOX_PROVIDER_DATA and _UNITS,
    TEXTDOMAIN, TEXTDOMAINDIR; what it does not have is unset;
 3. the session's directory, if the caller named one, by its two names;
 4. what the job names in `environ`: DISPLAY and XAUTHORITY as far as they are
    fit, and each other NAME=VALUE of the caller that is not denied; an account of
    the caller's own takes all of them;
 5. with the flag `preserve-locale`, the caller's LANG, LANGUAGE and LC_*, as far as
    each is the name of a locale, or for LANGUAGE a list of such: never a path.

A name that the job does not list never reaches it.
"""

import re
from collections.abc import Iterable, Mapping
from pwd import struct_passwd
from typing import Final, NamedTuple

from .errors import Refused
from .unit import Unit

SYSTEM_PATH: Final = '/usr/sbin:/usr/bin:/sbin:/bin'
SHARE: Final = ('PLAINBOX_SESSION_SHARE', 'CHECKBOX_DATA')
SCREEN: Final = ('DISPLAY', 'XAUTHORITY')

MAX_VALUE: Final = 32 << 10  # bytes

_NAME: Final = re.compile('[A-Za-z_][A-Za-z0-9_]{0,127}')
# setlocale(3): language[_territory][.codeset][@modifier]
_LOCALE: Final = (
    '[A-Za-z]{1,8}(?:_[A-Za-z0-9]{1,8})?'
    '(?:[.][A-Za-z0-9-]{1,16})?(?:@[A-Za-z0-9]{1,16})?'
)
_LOCALES: Final = re.compile(
    rf'LANGUAGE={_LOCALE}(?::{_LOCALE}){{0,15}}|'
    '(?:LANG|LC_(?:ALL|ADDRESS|COLLATE|CTYPE|IDENTIFICATION|MEASUREMENT|MESSAGES|'
    rf'MONETARY|NAME|NUMERIC|PAPER|TELEPHONE|TIME))={_LOCALE}'
)
_CONTROL: Final = re.compile('[\0-\x08\n-\x1f\x7f\x80-\x9f]')

# What no job takes from its caller, whatever it says, but one of the caller's own.
# Such names make a loader, a library or an interpreter run or read what they say.
_DENIED: Final = re.compile(
    '|'.join(
        (
            # ld.so(8), "secure-execution mode"; glibc's list of unsecure variables
            'LD_.*|GCONV_PATH|GETCONF_DIR|GLIBC_TUNABLES|HOSTALIASES|LOCALDOMAIN',
            'LOCPATH|MALLOC_.*|NIS_PATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS',
            'TMPDIR|TZ(DIR)?',
            # bash(1), dash(1): what a shell obeys before the first command
            'BASH.*|ENV|IFS|CDPATH|GLOBIGNORE|SHELLOPTS|PS[0-9]|PROMPT_COMMAND',
            'POSIXLY_CORRECT|INPUTRC|HIST.*|FIGNORE|EXECIGNORE|OPT(IND|ARG|ERR)',
            # sudoers(5), "bad" variables: interpreters, terminals, Kerberos
            'PYTHON.*|PERL.*|RUBY.*|GEM_.*|LUA_.*|NODE_.*|NPM_.*|(_|JDK_)?JAVA_.*',
            'TCL.*|PHP.*|R_(HOME|LIBS|PROF|ENV).*|GUILE_.*|AWK.*|CLASSPATH|DOTNET_.*',
            'FPATH|ZDOTDIR|(READ)?NULLCMD|TMPPREFIX',
            'TERM(INFO(_DIRS)?|PATH|CAP)?|KRB5.*|COLORTERM|PATH_LOCALE|_RLD.*',
            # programs that run what a variable names, or read their orders there
            'GIT_.*|.*PAGER|EDITOR|VISUAL|SUDO_.*|BROWSER|LESS.*|MANPATH|SSH_.*',
            'SYSTEMD_.*|WGETRC|(VIM|EX)INIT|MODPROBE_OPTIONS|APT_CONFIG|DPKG_.*|LVM_.*',
            'RSYNC_.*|LIBMOUNT_.*|BLKID_.*|TPM2.*|TCTI|MAKE(FLAGS|FILES)|TAR_.*',
            'OPENSSL_.*|SSL.*|CURL_.*|GNUTLS_.*|P11_.*|GNUPGHOME|LDAP.*|SASL_.*',
            'XTABLES_LIBDIR|(TC|IP)_LIB_DIR|HWLOC_.*|(RDMA|IB)V_.*|SANE_CONFIG_DIR|TMOUT',
            # toolkits load modules from where these say
            'G(TK|DK|IO|ST|SETTINGS)_.*|QT_.*|QML.*|LIBGL_.*|MESA_.*',
            'OCL_ICD_.*|LIBVA_.*|SDL_.*|GBM_.*|VDPAU_.*|FONTCONFIG_.*|XLOCALEDIR',
            'LIBCAMERA_.*|SPA_.*|PIPEWIRE_.*|VK_.*|__(EGL|GLX)_.*|ALSA_.*|PULSE_.*|LV2_PATH|LADSPA_PATH',
            # who the job is, where it was found and whose bus it may speak on
            'PATH|HOME|USER|LOGNAME|SHELL|PWD|OLDPWD|MAIL|LANG|LANGUAGE|LC_.*',
            'XDG_.*|DBUS_.*|NOTIFY_SOCKET|LISTEN_.*|INVOCATION_ID|PKEXEC_UID',
            'CHECKBOX_SHARE|PLAINBOX_.*|TEXTDOMAIN(DIR)?',
        )
    )
)


class Environment(NamedTuple):
    """A job's environment, and what became of the names offered for it."""

    values: dict[str, str]
    passed: tuple[str, ...]
    dropped: tuple[str, ...]


def assignments(arguments: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE arguments. Raises Refused for the first that is none."""
    variables: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition('=')
        if not equals:
            raise Refused('PBL-VARIABLE', 'an argument is not NAME=VALUE')
        if not _NAME.fullmatch(name):
            raise Refused('PBL-VARIABLE', 'the name of a variable is malformed')
        if name in variables:
            raise Refused('PBL-VARIABLE', f'{name} is there twice')
        _require_plain(name, value)
        variables[name] = value
    return variables


def _require_plain(name: str, value: str) -> None:
    if len(value.encode()) > MAX_VALUE:
        raise Refused('PBL-VARIABLE', f'the value of {name} is too long')
    if _CONTROL.search(value):
        raise Refused('PBL-VARIABLE', f'the value of {name} has control characters')
    if value.startswith('()'):  # how old shells were handed functions
        raise Refused('PBL-VARIABLE', f'the value of {name} starts like a function')


def denied(name: str) -> bool:
    """Whether a job of another account takes this variable from nobody."""
    return _DENIED.fullmatch(name) is not None


def locale(variables: Mapping[str, str]) -> set[str]:
    """The names of variables that say which locale is wanted, and name one."""
    return {n for n, value in variables.items() if _LOCALES.fullmatch(f'{n}={value}')}


def compose(
    job: Unit,
    account: struct_passwd,
    directories: Iterable[str],
    offered: Mapping[str, str],
    *,
    share: str = '',
    screen: Mapping[str, str] | None = None,
    own: bool = False,
) -> Environment:
    """The environment of `job`, run as `account`.

    `directories` are the bin directories of the job's namespace; `offered` the
    caller's variables; `share` the session's directory; `screen` DISPLAY and
    XAUTHORITY as far as they are fit to be passed (caller.screen). `own` says that
    the account is the caller's own, which needs no protection from its caller.
    """
    denying = not own or account.pw_uid == 0
    screen = screen or {}
    offers = offered.keys() - SHARE
    passed = {
        name
        for name in job.environ & (offers | screen.keys())
        if (name in screen if name in SCREEN else not (denying and denied(name)))
    }
    if 'preserve-locale' in job.flags:
        passed |= locale(offered)
    values = _account(account) | _provider(job, directories)
    if share:
        values |= dict.fromkeys(SHARE, share)
    values |= {name: screen.get(name) or offered[name] for name in passed}
    return Environment(values, tuple(sorted(passed)), tuple(sorted(offers - passed)))


def _account(account: struct_passwd) -> dict[str, str]:
    return {
        'LANG': 'C.UTF-8',
        'HOME': account.pw_dir,
        'USER': account.pw_name,
        'LOGNAME': account.pw_name,
        'SHELL': account.pw_shell,
    }


def _provider(job: Unit, directories: Iterable[str]) -> dict[str, str]:
    provider = job.provider
    values = {
        'PATH': ':'.join([*directories, SYSTEM_PATH]),
        'CHECKBOX_SHARE': provider.base,
        'PLAINBOX_PROVIDER_DATA': provider.data,
        'PLAINBOX_PROVIDER_UNITS': provider.units,
        'TEXTDOMAIN': provider.gettext_domain,
        'TEXTDOMAINDIR': provider.locale,
    }
    return {name: value for name, value in values.items() if value}
