# SPDX-License-Identifier: ISC
"""Completion in real shells, of what an ordinary user types.

In bash and zsh a key puts all that is offered into the line, as Tab does with one
answer, and then the line runs: `plainbox` is a function there that writes down its
arguments. So what is seen is what the shell made of the quoting, too.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shlex
import shutil
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from house import CLEAN, HANGS, House, put

from plainbox_launcher.reports import FORMATS

COMPLETION = Path(__file__).parent.parent / 'contrib/completion'
HOME = '/tmp/completion'
TAB, ALL = '\t', '\x1b*'
GIVE_UP = f'{TAB}\x01\x0bplainbox'  # Home, delete to the end, another line
BACKSLASHES = {ord(character): f'\\{character}' for character in " ();'>|"}
BASH_COMPLETION = '/usr/share/bash-completion/bash_completion'

PLAINBOX = """
plainbox() {
    for word; do printf '%s\\0' "$word"; done > ~/words
    echo 'written'
}
"""
BASH = """
PS1='ready> '
unset HISTFILE
"""
ZSH = """
PS1='ready> '
autoload -Uz compinit
compinit -D
bindkey '^I' complete-word  # by itself Tab first expands, whatever the command
zle -C all complete-word _generic
bindkey '^[*' all
zstyle ':completion:all:*' completer _all_matches _complete
zstyle ':completion:all:*' insert yes
"""
# $argv is the line. What --escape gives is what Tab would put there.
FISH = r"""
eval set words (complete --escape -C $argv[1] | string replace -r '\t.*' '')
for word in $words; printf '%s\0' $word; end > ~/words
true
"""
FILES = {
    'bash': ('.bashrc', BASH + '. /usr/share/bash-completion/completions/plainbox\n'),
    'bash-completion': ('.bashrc', f'{BASH}. {BASH_COMPLETION}\n'),
    'zsh': ('.zshrc', ZSH),
    'fish': ('complete.fish', FISH),
}
COMMANDS = {
    'bash': ['bash', '-i'],
    'bash-completion': ['bash', '-i'],
    'zsh': ['zsh', '-i'],
    'fish': ['fish', f'{HOME}/complete.fish'],
}

PROVIDED = """
id: alpha/one
command: true

id: alpha/two
command: true

id: beta
command: true

id: makes-jobs
plugin: local
command: touch /tmp/completion/ran; printf 'id: made\\ncommand: true\\n'

unit: test plan
id: everything
name: All  there is
include: .*

unit: test plan
id: alpha
include: alpha/.*
"""
NAMESPACE = '2026.plainbox.house'
OURS = {'alpha/one', 'alpha/two', 'beta', 'makes-jobs'}
PLANS = {'alpha', 'everything'}
VERBS = {'ack', 'rm', 'show'}

HOSTILE = [
    'hostile $(touch /tmp/completion/ran)',
    'hostile `touch /tmp/completion/ran`',
    'hostile; touch /tmp/completion/ran;',
    'hostile | touch /tmp/completion/ran &',
    'hostile (touch /tmp/completion/ran)',
    'hostile > /tmp/completion/ran',
    'hostile\'"touch',
    'hostile !! !$ ^a^b',
    'hostile $HOME ${HOME} ~ * ? [a-z] {a,b} # %1',
    'hostile=colon:equals@at',
    '=hostile',
    '~hostile',
    '$(touch /tmp/completion/ran)',
    '`touch /tmp/completion/ran`',
]
UNTYPABLE = [
    'hostile \x1b]0;title\x07',
    'hostile \x7f\x08\x01',
    'hostile \N{RIGHT-TO-LEFT OVERRIDE}txt',
    '--launcher=/tmp/completion/ran',
    '-J',
]


class Seen(NamedTuple):
    """The arguments that `plainbox` would have got, and all that was shown."""

    words: list[str]
    screen: str


class Shell(NamedTuple):
    house: House
    name: str

    def offers(self, before: str, current: str = '') -> list[str]:
        """What is offered for a word, behind others."""
        words = self.type(f'plainbox {before} {current}', ALL).words
        if self.name == 'fish':
            return words
        offered = words[len(shlex.split(before)) :]
        return [] if offered == [current] else offered

    def completes(self, arguments: str) -> str:
        """What Tab makes of the last of them; for fish, the only answer."""
        return self.type(f'plainbox {arguments}', TAB).words[-1]

    def after(self, arguments: str) -> list[str]:
        """What is left of a line on which Tab was pressed and that was given up."""
        return self.type(f'plainbox {arguments}', GIVE_UP).words

    def type(self, line: str, key: str = TAB) -> Seen:
        """Types a line, a key that completes it, and Return."""
        words = self.house.path(f'{HOME}/words')
        words.unlink(missing_ok=True)
        screen = self._ask(line) if self.name == 'fish' else self._type(line, key)
        return Seen(words.read_text().split('\0')[:-1], screen)

    def _ask(self, line: str) -> str:
        done = self.house.run([*COMMANDS['fish'], line], env=environment(), cwd=HOME)
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).decode()

    def _type(self, line: str, key: str) -> str:
        from pexpect import fdpexpect  # type: ignore[import-untyped]

        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 50, 2000, 0, 0))
        with self.house.popen(
            COMMANDS[self.name],
            env=environment(),
            cwd=HOME,
            before=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            terminal = fdpexpect.fdspawn(ours, timeout=HANGS, encoding='utf-8')
            try:
                terminal.expect_exact('ready> ')
                terminal.send(f'{line}{key}\r')
                terminal.expect_exact('written\r\n')
                shown = str(terminal.before)
            finally:
                process.kill()
                terminal.close()
        return shown


def environment() -> dict[str, str]:
    return {**CLEAN, 'HOME': HOME, 'USER': 'tester', 'TERM': 'dumb'}


def lack(tool: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(f'missing: {tool}')
    pytest.skip(f'missing: {tool}')


@pytest.fixture(params=sorted(COMMANDS))
def shell(house: House, _tidy: None, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Gives each of the shells, with the completion where contrib/install put it."""
    name = request.param
    if shutil.which(COMMANDS[name][0]) is None:
        lack(name)
    if name == 'bash-completion' and not Path(BASH_COMPLETION).exists():
        lack(name)
    if importlib.util.find_spec('pexpect') is None:
        lack('pexpect')
    house.check('install', '-d', '-o', 'tester', HOME)
    home = house.path(HOME)
    file, text = FILES[name]
    put(home / file, (text + ('' if name == 'fish' else PLAINBOX)).encode())
    try:
        with house.provider('completion', PROVIDED):
            yield Shell(house, name)
        assert not (home / 'ran').exists(), 'a job, or what stood in an id, was run'
    finally:
        shutil.rmtree(home)


def help_of(house: House, *command: str) -> str:
    return house.check('plainbox', *command, '--help', user='tester').decode()


def commands(house: House, *command: str) -> set[str]:
    return set(re.findall(r'(?m)^    (\w\S*)', help_of(house, *command)))


def options(house: House, *command: str) -> set[str]:
    lines = re.findall(r'(?m)^  (-.*?)(?:   .*)?$', help_of(house, *command))
    return {word for line in lines for word in re.findall(r'(?<!\w)--?\w[\w-]*', line)}


# What there is, is completed


def test_every_command_is_completed(shell: Shell) -> None:
    found = commands(shell.house)
    assert found >= {'list', 'run', 'show', 'special'}
    assert {*shell.offers('')} == found
    assert {*shell.offers('', 's')} == {name for name in found if name[0] == 's'}
    assert {*shell.offers('session')} == commands(shell.house, 'session') == VERBS


def test_every_option_is_completed(shell: Shell) -> None:
    for command in ['', *commands(shell.house), *(f'session {verb}' for verb in VERBS)]:
        found = options(shell.house, *command.split())
        assert found >= {'-h', '--help'}
        offered = shell.offers(command, '-')
        assert {option.removesuffix('=') for option in offered} == found, command


@pytest.mark.parametrize('command', ['list', 'run', 'show', 'submit', 'run --exclude'])
def test_ids(shell: Shell, command: str) -> None:
    """Short ones. None of those that only a local job knows: it was not run."""
    offered = shell.offers(command)
    assert {*offered} >= OURS
    assert [id_ for id_ in offered if '::' in id_] == []
    assert {*shell.offers(command, 'alpha/')} == {'alpha/one', 'alpha/two'}
    assert 'made' not in shell.offers(command, 'ma')


def test_full_ids_once_they_are_begun(shell: Shell) -> None:
    """Bash divides words at colons, and puts its answer behind the last one."""
    for begun in ('2026.plainbox.h', NAMESPACE, f'{NAMESPACE}:', f'{NAMESPACE}::'):
        offered = shell.offers('show', begun)
        assert offered
        assert f'{NAMESPACE}::alpha/one' == offered[0], begun
    for line in (f'show {NAMESPACE}::bet', f'run beta {NAMESPACE}::b'):
        assert shell.completes(line) == f'{NAMESPACE}::beta'


@pytest.mark.parametrize(
    'begun', ["'alpha/o", '"alpha/o', r'alpha\/o', f"'{NAMESPACE}::alpha/o"]
)
def test_ids_that_are_quoted(shell: Shell, begun: str) -> None:
    """As in README: plainbox run 'smoke/*'."""
    assert shell.completes(f'run {begun}').rpartition('::')[2] == 'alpha/one'


@pytest.mark.parametrize('option', ['run --plan', 'submit --plan', 'list --plans'])
def test_plans(shell: Shell, option: str) -> None:
    """By their short ids, without their names. No job is run for them."""
    offered = shell.offers(option)
    assert {*offered} >= PLANS
    assert not {*offered} & OURS
    assert shell.completes(f'{option} every') == 'everything'


def test_plans_behind_an_equals_sign(shell: Shell) -> None:
    assert shell.completes('run --plan=alp').removeprefix('--plan=') == 'alpha'
    assert shell.completes('run --exclude=bet').removeprefix('--exclude=') == 'beta'


@pytest.fixture
def sessions(shell: Shell) -> list[str]:
    """Gives the ids of two sessions."""
    for job in 'alpha/one', 'beta':
        shell.house.check(
            'plainbox', 'submit', job, env=environment(), user='tester', cwd=HOME
        )
    listed = shell.house.check(
        'plainbox', 'sessions', env=environment(), user='tester', cwd=HOME
    )
    return [line.split()[0] for line in listed.decode().splitlines()]


@pytest.mark.parametrize(
    'command',
    ['resume', 'rerun --failed', 'report', *(f'session {v}' for v in ('show', 'rm'))],
)
def test_sessions(shell: Shell, sessions: list[str], command: str) -> None:
    assert len(sessions) == 2
    assert {*shell.offers(command)} == {*sessions}
    assert shell.completes(f'{command} {sessions[1][:-1]}') == sessions[1]


def test_no_sessions_where_none_is_wanted(shell: Shell, sessions: list[str]) -> None:
    for command in ('work', 'sessions', 'session', 'doctor', 'run'):
        assert not {*shell.offers(command)} & {*sessions}


def test_codes(shell: Shell) -> None:
    listed = shell.house.check('plainbox', 'explain', user='tester').decode()
    codes = re.findall('(?m)^PBL-[A-Z-]+', listed)
    assert len(codes) > 20
    assert {*shell.offers('explain')} == {*codes}
    assert shell.completes('explain PBL-NO-JOB PBL-AUD') == 'PBL-AUDIT'


# Providers


@pytest.fixture
def own(shell: Shell) -> str:
    """Gives a developer's provider in the home directory, with a blank in its path."""
    folder = shell.house.path(HOME) / 'my own'
    (folder / 'units').mkdir(parents=True)
    put(folder / 'units/own.pxu', b'id: gamma\ncommand: true\n')
    text = f'[PlainBox Provider]\nname = 2026.own:own\nlocation = {HOME}/my own\n'
    put(folder / 'own.provider', (text + 'version = 1.0\n').encode())
    return folder.name


@pytest.mark.parametrize(
    'option',
    [
        r'--provider ~/my\ own',
        r'--provider=~/my\ own/own.provider',
        f"--provider '{HOME}/my own'",
        f'--provider="{HOME}/my own"',
        r'--provider my\ own --provider /nowhere',
    ],
)
def test_ids_of_a_provider_on_the_line(shell: Shell, own: str, option: str) -> None:
    assert own in option.replace('\\', '')
    assert shell.offers('show', 'gam') == []
    assert shell.completes(f'show {option} gam') == 'gamma'
    assert shell.completes(f'run beta {option} 2026.own') == '2026.own::gamma'


@pytest.mark.parametrize(
    ('command', 'option'),
    [
        ('list', '--provider'),
        ('run', '--launcher'),
        ('run', '--provider'),
        ('show', '--provider'),
        ('special', '--provider'),
        ('submit', '--launcher'),
        ('report', '--output'),
        ('report', '-o'),
    ],
)
def test_paths_behind_an_option(
    shell: Shell, own: str, command: str, option: str
) -> None:
    for between in (' ', '=') if option.startswith('--') else (' ',):
        path = shell.completes(f'{command} {option}{between}{HOME}/m')
        path = path.removeprefix(f'{option}=').removesuffix('/')
        assert path == f'{HOME}/{own}'


@pytest.mark.parametrize('between', [' ', '='])
def test_reports(shell: Shell, own: str, between: str) -> None:
    """plainbox(1): `--report FORMAT=FILE`, in one of three formats."""
    start = f'run --report{between}'
    for form in FORMATS:
        assert shell.completes(f'{start}{form[:-1]}').endswith(f'{form}=')
        path = shell.completes(f'{start}{form}={HOME}/m')
        path = path.removeprefix('--report=').removesuffix('/')
        assert path == f'{form}={HOME}/{own}'


def test_values_that_are_words(shell: Shell) -> None:
    """Every format there is, and every plugin that plainbox-job(5) knows."""
    assert {*shell.offers('report --format')} == {*FORMATS}
    assert shell.completes('report --format=ju').removeprefix('--format=') == 'junit'
    manual = (COMPLETION.parent.parent / 'man/plainbox-job.5').read_text()
    listed = manual.partition('.It Cm plugin')[2].partition('.It Cm')[0]
    assert {*shell.offers('list --plugin')} == {*re.findall(r'\.It Ql (\S+)', listed)}


def test_other_values_are_not_ids(shell: Shell) -> None:
    for option in ('--timeout', '--job-timeout', '--max-output'):
        assert shell.offers(f'run {option}') == []
        assert {*shell.offers(f'run {option} 1h')} >= OURS


# Nothing is run, nothing is said


@pytest.fixture
def hostile(shell: Shell) -> Iterator[None]:
    units = '\n\n'.join(
        f'id: {id_}\ncommand: true\n\nunit: test plan\nid: {id_}\ninclude: beta'
        for id_ in HOSTILE + UNTYPABLE
    )
    with shell.house.provider('hostile', units):
        yield


@pytest.mark.usefixtures('hostile')
@pytest.mark.parametrize('command', ['run', 'run --plan'])
def test_hostile_ids(shell: Shell, command: str) -> None:
    """Each comes through the shell as it is, or is not offered at all."""
    offered = shell.offers(command)
    assert {*offered} >= {*HOSTILE}
    assert [
        id_ for id_ in offered if id_.startswith('-') or not id_.isprintable()
    ] == []
    assert not [id_ for id_ in offered if '\\x' in id_ or '\\u' in id_]
    typable = [id_ for id_ in HOSTILE if id_.startswith('hostile')]
    assert {*shell.offers(command, 'host')} == {*typable}


@pytest.mark.usefixtures('hostile')
@pytest.mark.parametrize('quote', ['', "'", '"'])
def test_hostile_ids_one_by_one(shell: Shell, quote: str) -> None:
    """In quotes bash offers what needs none; the others know how to quote there."""
    for begun in ('hostile (', 'hostile;', 'hostile=', 'hostile >', 'hostile |'):
        typed = quote + (begun if quote else begun.translate(BACKSLASHES))
        id_ = next(id_ for id_ in HOSTILE if id_.startswith(begun))
        quoting = not shell.name.startswith('bash') or not quote
        if quoting or id_.startswith('hostile='):
            assert shell.completes(f'run {typed}') == id_
        else:
            assert shell.after(f'run {typed}') == []


@pytest.mark.parametrize('word', [f'$(touch {HOME}/ran)', f'"`touch {HOME}/ran`"'])
def test_nothing_on_the_line_is_run(shell: Shell, word: str) -> None:
    """Only completed, and then the line is given up."""
    for arguments in (
        f'run {word} bet',
        f'run --provider {word} bet',
        f'run --provider={word} bet',
        f'run {word}',
        f'run --launcher {word}',
        f'{word} bet',
    ):
        shell.after(arguments)
        assert not shell.house.path(f'{HOME}/ran').exists(), arguments


@pytest.mark.parametrize('gone', ['/usr/bin/plainbox', None])
def test_nothing_is_said(shell: Shell, gone: str | None) -> None:
    """Where plainbox is not, or finds fault, there is nothing to complete, silently."""
    with contextlib.ExitStack() as stack:
        if gone:
            stack.enter_context(shell.house.replaced(gone, None))
        for line in ('run --provider /nowhere gam', 'explain nope', 'nope nope'):
            seen = shell.type(f'plainbox {line}', TAB)
            assert seen.words in ([], line.split())
            shown = re.sub(r'\x1b\[\?2004[hl]|[\a\r\n]', '', seen.screen)
            assert shown in ('', f'plainbox {line}')


# The files themselves


@pytest.mark.parametrize(
    ('command', 'file'),
    [
        ('bash -n', 'plainbox.bash'),
        ('shellcheck --norc', 'plainbox.bash'),
        ('zsh -n', '_plainbox'),
        ('fish --no-execute', 'plainbox.fish'),
    ],
)
def test_syntax(command: str, file: str) -> None:
    argv = [*command.split(), str(COMPLETION / file)]
    if shutil.which(argv[0]) is None:
        lack(argv[0])
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
