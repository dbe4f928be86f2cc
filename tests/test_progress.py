# SPDX-License-Identifier: ISC
"""What a person sees of a run: on a terminal, by way of an emulator, and in a log."""

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyte
import pytest
from house import CLEAN, HANGS, House
from hypothesis import example, given, settings
from hypothesis import strategies as some
from launching import cleared
from running import Ran, plainbox, run
from talking import emptied

from plainbox_launcher import bar, progress, report
from plainbox_launcher.process import Ended

UNITS = r"""
id: own
command: echo own ran

id: root
user: root
command: echo root ran

id: fails
command: seq 20; echo wrong >&2; exit 3

id: limited
timeout: 1
command: echo started; sleep infinity

id: waits
estimated_duration: 1m 10s
command: echo started; printf 'half a line'; sleep infinity

id: waits-root
user: root
timeout: 90s
command: echo started; sleep infinity

id: slow
timeout: 90s
command: printf before; sleep 3; echo after

id: silent
timeout: 0
command: sleep 3

id: flood
command: yes 'a line that is not short, and comes again' | head -c 50000000

id: endless
command: head -c 50000000 /dev/zero | tr '\0' x

id: flows
command: yes 'a line that is not short, and comes again'

id: copies
command:
 for i in $(seq 200); do printf '\r%s bytes copied' $i; done
 echo; echo done; sleep infinity

id: clears
command:
 printf 'kept\n\033[2J\033[H\033[1;1Hcleared\033c\033[?1049h\033[?25l\n'
 printf '\033]0;title\007\033[31mred\033[0m and \033[5A\033[2Kplain\033[1;33m too\n'
 printf '\303\244\302\233?1049h\r\n\033[3;5r\377\b\v\f\033(0\n\033Pdrop\033\\last\n'
 sleep infinity

id: thing
plugin: resource
command: printf 'kind: A\n\nkind: B\n'

id: of-thing
requires: thing.kind == 'A'
command: echo of-thing ran

id: unmet
requires: thing.kind == 'C'
command: echo unmet ran

id: odd-[id]
command:
 printf '\033[31mred\033[0m \033]0;title\007\a\n100%%\r200%%\n\302\205x\n'
 exit 1
"""
TOP = Path(__file__).parent.parent
FOLDER = '/usr/lib/plainbox-launcher/plainbox_launcher'
HEARTBEAT = (
    f'{FOLDER}/progress.py',
    'HEARTBEAT: Final = 30.0',
    'HEARTBEAT: Final = 0.7',
)
PLAIN_STYLES = {b'\x1b[0m', b'\x1b[1m'}


@pytest.fixture
def jobs(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('progress', UNITS):
        yield


pytestmark = pytest.mark.usefixtures('jobs')


class Terminal:
    """A terminal with a program on it, and what a person sees there."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        rows, columns, *_ = struct.unpack(
            '4H', fcntl.ioctl(fd, termios.TIOCGWINSZ, b'\0' * 8)
        )
        self.process = process
        self.fd = fd
        self.raw = bytearray()
        self.emulated = True
        self.screen = pyte.HistoryScreen(columns or 80, rows or 50, history=1 << 20)
        self._stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        """All lines down to the last that is not empty, without trailing blanks."""
        above = [self._text(line) for line in self.screen.history.top]
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return above + shown

    def _text(self, line: Mapping[int, pyte.screens.Char]) -> str:
        return ''.join(line[x].data for x in range(self.screen.columns)).rstrip()

    def read(self) -> bool:
        """Take what comes; false at the end."""
        assert select.select([self.fd], [], [], HANGS)[0], self.lines
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:  # EIO: nobody is there any more
            return False
        self.raw += data
        if self.emulated:
            self.emulate(data)
        return bool(data)

    def emulate(self, data: bytes) -> None:
        self._stream.feed(data)

    def until(self, *patterns: str) -> None:
        """Wait for lines like these."""
        while not all(any(re.search(p, line) for line in self.lines) for p in patterns):
            assert self.read(), (patterns, self.lines)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def end(self) -> int:
        """Wait for the program to end; its status."""
        while self.read():
            pass
        return self.process.wait(HANGS)

    def colour_of(self, text: str) -> str:
        """That of the first character of some text on the screen."""
        for y, line in enumerate(self.screen.display):
            if text in line:
                return str(self.screen.buffer[y][line.index(text)].fg)
        raise AssertionError(text, self.lines)


@contextlib.contextmanager
def terminal(
    house: House,
    *arguments: str,
    columns: int = 80,
    rows: int = 50,
    errors: int | None = None,
    env: Mapping[str, str] = {},
) -> Iterator[Terminal]:
    """`plainbox run` on a terminal of its own."""
    main, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))

    def heed() -> None:
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    values = {**CLEAN, 'TERM': 'xterm-256color', 'HOME': '/home/tester', **env}

    with (
        cleared(house),
        house.popen(
            ['plainbox', 'run', *arguments],
            env=values,
            before=heed,
            stdin=side,
            stdout=side,
            stderr=side if errors is None else errors,
        ) as process,
    ):
        os.close(side)
        try:
            yield Terminal(process, main)
        finally:
            process.kill()
            os.close(main)


def alike(lines: Sequence[str]) -> list[str]:
    """Lines of which only the times may differ, and not that of a session's id."""
    passing = re.compile(r'^    output:|/sessions/|\.out$| resume ')
    kept = (line for line in lines if not passing.search(line))
    return [re.sub(r' in \d+\.\d s', ' in 0.0 s', line) for line in kept]


def bars(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if '━' in line]


# On a terminal


def test_the_bar(house: House) -> None:
    """A bar over the plan, below the lines: elapsed and estimated time, the running

    job, root or user, its time limit, its last output line.
    """
    with terminal(house, 'own', 'waits', 'root') as seen:
        seen.until('half a line$')
        assert alike(seen.lines[:-2]) == [
            '[1/3] own',
            'own ran',
            '    passed in 0.0 s',
            '[2/3] waits',
            'started',
        ]
        count, job = seen.lines[-2:]
        assert re.fullmatch('[━╺╸]+ 1/3, \\d s, about 1 min [01]\\d s left', count)
        assert re.fullmatch(r'waits, \d s of 5 min 40 s: half a line', job)
        assert seen.colour_of('passed') == 'green'
        os.write(seen.fd, b'\x03')
        seen.end()


def test_the_bar_of_a_root_job(house: House) -> None:
    with terminal(house, 'waits-root', 'own') as seen:
        seen.until(r'^waits-root, as root, [1-9] s of 1 min 30 s: started$')
        assert re.search('━ 0/2, [1-9] s$', seen.lines[-2])  # nothing is estimated
        os.write(seen.fd, b'\x03')
        seen.end()


@pytest.mark.parametrize('options', [(), ('-v',), ('-q',)])
def test_what_stays(house: House, options: tuple[str, ...]) -> None:
    """In the end a terminal shows what a log does: of the bar nothing is left."""
    given = (*options, 'own', 'root', 'fails', 'unmet', 'thing', 'limited')
    with terminal(house, *given) as seen:
        assert seen.end() == 1
        assert seen.raw.count('━'.encode()) > 100
        log = house.run(['plainbox', 'run', *given], stderr=subprocess.STDOUT)
        assert alike(seen.lines) == alike(log.stdout.decode().splitlines())
        assert b'\x1b' not in log.stdout
        assert not seen.screen.cursor.hidden
        assert seen.screen.cursor.x == 0
        assert seen.colour_of('    failed') == 'default'  # its blanks


def test_colours(house: House) -> None:
    """Verdict words are coloured, and so are lines that a job colours itself."""
    with terminal(house, 'own', 'fails', 'unmet', 'clears') as seen:
        seen.until('^last$')
        for word, colour in {
            'passed': 'green',
            'failed': 'red',
            'red and': 'red',
        }.items():
            assert seen.colour_of(word) == colour
        assert seen.colour_of('skipped') == 'brown'  # pyte's word for dark yellow
        os.write(seen.fd, b'\x03')
        seen.end()


def test_no_color(house: House) -> None:
    """NO_COLOR: neither we nor what jobs print colours anything."""
    with terminal(house, 'own', 'fails', 'clears', env={'NO_COLOR': '1'}) as seen:
        seen.until('^last$', '━ +2/3')
        os.write(seen.fd, b'\x03')
        seen.end()
        assert {*re.findall(rb'\x1b\[[0-9;]*m', seen.raw)} <= PLAIN_STYLES


def test_a_job_that_drives_the_terminal(house: House) -> None:
    """What a job prints MUST NOT move or erase the bar."""
    with terminal(house, 'own', 'clears') as seen:
        seen.until('^last$', r'clears, .*: last$')
        assert seen.lines[4:-2] == [
            'kept',
            'cleared',
            'red and plain too',
            'ä',
            '\\xff',
            'last',
        ]
        assert len(bars(seen.lines)) == 1
        assert not seen.screen.cursor.hidden
        assert seen.screen.title == ''
        assert seen.screen.margins is None
        os.write(seen.fd, b'\x03')
        assert seen.end() == 130


def test_what_overwrites_itself(house: House) -> None:
    """Of carriage returns only what is seen in the end is a line."""
    with terminal(house, 'copies') as seen:
        seen.until('^done$')
        assert seen.lines[:-2] == ['[1/1] copies', '200 bytes copied', 'done']
        os.write(seen.fd, b'\x03')
        seen.end()


@pytest.mark.parametrize(('job', 'size'), [('flood', 50_000_000), ('endless', 5e7)])
def test_a_flood(house: House, job: str, size: float) -> None:
    """It ends, and all of it is seen."""
    with terminal(house, job, 'own') as seen:
        seen.emulated = False
        assert seen.end() == 0
        assert len(seen.raw) > size
        assert seen.raw.endswith(b'2 jobs: 2 passed\r\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_in_a_flood(house: House, number: signal.Signals) -> None:
    """Whatever it was just drawing, no half of it stays."""
    with terminal(house, 'flows', 'own') as seen:
        seen.emulated = False
        while len(seen.raw) < 1 << 20:
            seen.read()
        os.kill(seen.process.pid, number)
        assert seen.end() == 130
        end = seen.raw[seen.raw.rindex(b'again\r\n') :]
        seen.emulate(bytes(end))
        assert alike(seen.lines)[-5:] == [
            '',
            'interrupted',
            '',
            'cancelled  flows',
            '1 job: 1 cancelled',
        ]
        assert bars(seen.lines) == []
        assert not seen.screen.cursor.hidden


def test_the_cursor_of_who_is_killed(house: House) -> None:
    """Nothing that outlives us MUST be changed in the terminal."""
    with terminal(house, 'waits') as seen:
        before = termios.tcgetattr(seen.fd)
        seen.until('half a line$')
        seen.process.kill()
        seen.end()
        assert not seen.screen.cursor.hidden
        assert termios.tcgetattr(seen.fd) == before


@pytest.mark.parametrize('job', ['waits', 'waits-root', 'flows'])
def test_a_terminal_that_goes(house: House, job: str) -> None:
    """A job ends with the run, and 3 says that output could not be written."""
    with terminal(house, job, 'own') as seen:
        seen.until('^started$' if job != 'flows' else 'again$')
        with open(os.devnull, 'rb') as nowhere:
            os.dup2(nowhere.fileno(), seen.fd)
        assert seen.process.wait(HANGS) == 3
        emptied(house)


@pytest.mark.parametrize('columns', [40, 20, 16])
def test_a_narrow_terminal(house: House, columns: int) -> None:
    with terminal(house, 'own', 'waits-root', columns=columns) as seen:
        seen.until('^started$', '━')
        count = len(seen.lines)
        for _again in range(6):
            seen.read()
        assert len(seen.lines) == count  # drawn where it was, again and again
        assert len(bars(seen.lines)) == 1
        if columns == 40:
            assert re.fullmatch('[━╺╸]+ 1/2, \\d s, about .* left', seen.lines[-2])
            assert re.fullmatch(
                r'waits-root, as root, \d s of 1 min .*…', seen.lines[-1]
            )
        os.write(seen.fd, b'\x03')
        seen.end()
        assert bars(seen.lines) == []


def test_a_terminal_that_is_resized(house: House) -> None:
    with terminal(house, 'own', 'waits', columns=120) as seen:
        seen.until('^━{15}╺━{14} 1/2', 'half a line$')
        seen.resize(60, 50)
        seen.until('^━{7}╸━{7} 1/2')
        seen.resize(80, 50)
        seen.until('^━{10}╺━{9} 1/2')
        assert len(bars(seen.lines)) == 1
        os.write(seen.fd, b'\x03')
        seen.end()
        assert bars(seen.lines) == []


def test_errors_that_go_elsewhere(house: House) -> None:
    """Where standard error is no terminal, it is passed on untouched."""
    ours, theirs = os.pipe()
    with terminal(house, 'fails', 'odd-[[]id]', errors=theirs) as seen:
        os.close(theirs)
        assert seen.end() == 1
        assert '━' in seen.raw.decode()
    with open(ours, 'rb') as pipe:
        assert pipe.read() == b'wrong\n'


# People who type

TYPES = """
import select
import sys
from types import SimpleNamespace as Some
from plainbox_launcher.bar import Bar
job = Some(short_id='manual', user='', unit=Some(checksum='0'))
bar = Bar([None, None], quiet='-q' in sys.argv)
bar.heading(1, 2, job)
bar.output(1, b'half')
with bar.paused():
    answer = input('passed? ')
bar.output(1, answer.encode() + b' was it\\n')
while not select.select([0], [], [], 0.1)[0]:
    bar.tick()
bar.close()
"""


@contextlib.contextmanager
def driven(text: str, *arguments: str) -> Iterator[Terminal]:
    """A program on a terminal that drives the bar itself."""
    main, side = os.openpty()
    process = subprocess.Popen(
        [sys.executable, '-c', text, *arguments],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, 'TERM': 'xterm', 'PYTHONPATH': str(TOP)},
        start_new_session=True,
    )
    os.close(side)
    try:
        yield Terminal(process, main)
    finally:
        process.kill()
        process.wait()
        os.close(main)


@pytest.mark.parametrize('option', ['', '-q'])
def test_paused(option: str) -> None:
    """The bar is away while somebody types, and comes back."""
    with driven(TYPES, option) as seen:
        seen.until('^passed[?]')
        assert bars(seen.lines) == []
        assert seen.lines[0] == '[1/2] manual'  # also where it is quiet
        os.write(seen.fd, b'yes\n')
        seen.until('━ 0/2', '^manual, .*: yes was it')
        shown = ['[1/2] manual', 'half', 'passed? yes', 'yes was it']
        if option == '-q':
            shown = [shown[0], shown[2]]
        assert seen.lines[:-2] == shown
        os.write(seen.fd, b'\n')
        assert seen.end() == 0
        assert seen.lines[:-1] == shown  # and the line that was typed


# Each drawing is interrupted in its middle.
INTERRUPTED = """
import contextlib, io, os, signal, sys
from types import SimpleNamespace as Some

class Output(io.TextIOWrapper):
    def write(self, text):
        super().write(text[:len(text) // 2])
        self.flush()
        os.kill(os.getpid(), signal.SIGINT)
        return super().write(text[len(text) // 2:])

from plainbox_launcher.bar import Bar
job = Some(short_id='job', user='', unit=Some(checksum='0'))
bar = Bar([None, None])
sys.stdout.flush()
bar._console.file = Output(open(1, 'wb', closefd=False))
count = 0
for number in 1, 2:
    for call in (
        lambda: bar.heading(number, 2, job),
        lambda: bar.output(1, b'a line\\n' * 10000),
        lambda: bar.output(2, b'another line\\n' * 10000),
        lambda: bar.close() if number == 2 else None,
    ):
        try:
            call()
        except KeyboardInterrupt:
            count += 1
print(f'interrupted {count} times')
"""


def test_interrupted_while_drawing() -> None:
    """Nothing is lost, comes twice, or stays."""
    with driven(INTERRUPTED) as seen:
        assert seen.end() == 0
    output = ['a line'] * 10000 + ['another line'] * 10000
    times = seen.lines[-1]
    assert re.fullmatch('interrupted [5-9] times', times)
    assert seen.lines[:-1] == ['[1/2] job', *output, '[2/2] job', *output]


# In a log


@pytest.mark.parametrize(
    ('options', 'variables'),
    [(('--plain',), {}), ((), {'TERM': 'dumb'}), ((), {'TERM': ''})],
)
def test_plain(
    house: House, options: tuple[str, ...], variables: dict[str, str]
) -> None:
    """Plain lines with --plain, and on a terminal that can do no more."""
    jobs = ('own', 'fails', 'odd-[[]id]', 'unmet')
    with terminal(house, *options, *jobs, env=variables) as seen:
        assert seen.end() == 1
        log = house.run(['plainbox', 'run', *jobs], stderr=subprocess.STDOUT)
        shown = seen.raw.replace(b'\r\n', b'\n').decode().splitlines()
        assert alike(shown) == alike(log.stdout.decode().splitlines())
        assert b'\n\x1b[31mred\x1b[0m \x1b]0;title\x07\x07\n100%\r200%\n' in log.stdout


@pytest.mark.parametrize(
    ('command', 'loads'),
    [
        (['list', 'own'], False),
        (['run', 'own'], False),
        (['run', '--plain', 'own'], False),
        (['run', 'own'], True),
    ],
)
def test_rich_is_slow(house: House, command: list[str], *, loads: bool) -> None:
    """It is loaded where there is a bar, and nowhere else."""
    program = ['/usr/bin/python3', '-X', 'importtime', '/usr/bin/plainbox', *command]
    main, side = os.openpty()
    on_terminal = loads or '--plain' in command
    with house.popen(
        program,
        env={**CLEAN, 'TERM': 'xterm'},
        stdout=side if on_terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(side)
        _out, err = process.communicate(timeout=HANGS)
    os.close(main)
    assert process.returncode == 0
    assert b'| plainbox_launcher.cli\n' in err.replace(b' ', b'').replace(b'|', b'| ')
    assert (b'rich' in err) is loads


def test_heartbeat(house: House) -> None:
    """In a log a line every 30 s says that a job still runs, and for how long it

    has been silent.
    """
    with house.canary(*HEARTBEAT):
        ran = run(house, 'slow', 'silent', 'own')
        quiet = run(house, '-q', 'slow')
    assert ran.lines[:2] == ['[1/3] slow', 'before']
    still = 'still running after {}: time limit 1 min 30 s, last output {} ago'
    times = [('0 s', '0 s'), ('1 s', '1 s'), ('2 s', '2 s'), ('2 s', '2 s')]
    beats = [line for line in ran.lines if 'still' in line and 'limit' in line]
    assert beats == [f'    {still.format(*each)}' for each in times]
    assert ran.lines[2:6] == beats
    assert ran.lines[6] == 'after'
    silent = [line for line in ran.lines if line.endswith(': no output yet')]
    assert silent[0] == '    still running after 0 s: no output yet'
    assert quiet.text == '\n1 job: 1 passed\n'


def test_without_rich(house: House) -> None:
    """Lines do, too: what is installed from source may lack it."""
    folder = '/usr/lib/python3/dist-packages/rich'
    house.check('mv', folder, f'{folder}.away')
    try:
        with terminal(house, 'own') as seen:
            assert seen.end() == 0
    finally:
        house.check('mv', f'{folder}.away', folder)
    assert alike(seen.lines)[:3] == ['[1/1] own', 'own ran', '    passed in 0.0 s']
    assert b'\x1b' not in seen.raw


# Less and more


def test_quiet(house: House) -> None:
    """-q: what did not pass, and the summary."""
    ran = run(house, '-q', 'own', 'root', 'fails', 'unmet', 'thing')
    assert ran.status == 1
    assert alike(ran.lines) == [
        '[4/5] fails',
        '    failed in 0.0 s: exit status 3',
        '[5/5] unmet',
        "    skipped: requires thing.kind == 'C'",
        '',
        'failed   fails: exit status 3',
        *(f'    {number}' for number in range(12, 21)),
        '    wrong',
        '    again: plainbox run fails',
        "skipped  unmet: requires thing.kind == 'C'",
        '5 jobs: 3 passed, 1 failed, 1 skipped',
    ]
    assert ran.errors == ''


def test_verbose(house: House) -> None:
    """-v: also the hash of each job, its time limit, and what resource jobs print."""
    ran = run(house, '-v', 'of-thing', 'silent')
    hashes = plainbox(house, 'special', '-J').lines
    found = {line.split('::')[1]: line.split()[0] for line in hashes}
    assert alike(ran.lines)[:5] == [
        '    resource 2026.plainbox.house::thing: 2 records',
        '[1/2] of-thing',
        f'    hash: {found["of-thing"]}',
        '    time limit: 1 min 00 s',
        'of-thing ran',
    ]
    assert '    time limit: none' in ran.lines


def test_not_both(house: House) -> None:
    """2: wrong usage."""
    assert run(house, '-q', '-v', 'own').status == 2


# What failed


def test_what_failed(house: House) -> None:
    """Each ends with its last lines, that drive no terminal, and with the command

    that runs it again; which then does.
    """
    ran = run(house, 'own', 'odd-[[]id]', 'limited')
    assert alike(ran.lines)[-9:] == [
        'failed     odd-[id]: exit status 1',
        '    red \\x07',
        '    200%',
        '    \\x85x',
        "    again: plainbox run 'odd-[[]id]'",
        'timed out  limited: it took more than its time',
        '    started',
        '    again: plainbox run limited',
        '3 jobs: 1 passed, 1 failed, 1 timed out',
    ]
    (command,) = re.findall(r"again: (.*'.*)", ran.text)
    again = Ran(house.run(shlex.split(command)))
    assert again.lines[0] == '[1/1] odd-[id]'
    assert again.lines[-1] == '1 job: 1 failed'


def test_the_command_is_whole(house: House) -> None:
    """Also where it was from, and by what."""
    options = ('--provider', '/usr/lib/house-progress', '--per-job')
    ran = run(house, *options, 'fails')
    assert f'    again: plainbox run {" ".join(options)} fails' in ran.lines


@pytest.mark.parametrize(
    ('out', 'err', 'lines'),
    [
        ('', '', ''),
        ('1 2 3', '', '1 2 3'),
        ('1 2 3', 'a b', '1 2 3 a b'),
        ('1 2 3 4 5 6 7 8 9 0 1 2', '', '3 4 5 6 7 8 9 0 1 2'),
        ('1 2 3 4 5 6 7 8 9', 'a b', '2 3 4 5 6 7 8 9 a b'),
        ('1 2', 'a b c d e f g h i', '1 2 b c d e f g h i'),
        ('1 2 3 4 5 6 7 8', 'a b c d e f g h', '4 5 6 7 8 d e f g h'),
    ],
)
def test_last_lines(out: str, err: str, lines: str) -> None:
    ended = Ended(1, out.replace(' ', '\n').encode(), err.replace(' ', '\n').encode())
    assert report.last_lines(ended) == lines.split()


# Texts


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0, '0 s'),
        (12.9, '12 s'),
        (60, '1 min 00 s'),
        (185, '3 min 05 s'),
        (3599.9, '59 min 59 s'),
        (3720, '1 h 02 min'),
        (90000, '25 h 00 min'),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert report.span(seconds) == text


@pytest.mark.parametrize(
    ('estimates', 'took', 'elapsed', 'left'),
    [
        ([], [], 0, None),
        ([10, 20, 30], [], 0, 60),
        ([10, 20, 30], [], 4, 56),
        ([10, 20, 30], [1], 100, 30),
        ([10, 20, 30], [1, 1, 1], 0, 0),
        ([10, None, 30], [], 0, 60),
        ([None, 10, None], [2], 0, 12),
        ([None, None, None], [], 0, None),
        ([None, None, None], [4], 0, 8),
        ([None, None, None], [4], 1, 7),
        ([10, None], [3], 0, 10),
    ],
)
def test_estimates(
    estimates: list[float | None], took: list[float], elapsed: float, left: float | None
) -> None:
    """One of which nothing is known takes as long as the others on average."""
    assert progress.remaining(estimates, took, elapsed) == left


COLOURS = re.compile(r'\x1b\[[0-9;:]*m')


@settings(deadline=None)
@given(some.text() | some.text('\x1b[]0m;?2JPX^_\\\x07\x9b\x9c\r\n\tx '))
@example('\x1b[3\x001m\x1b\x1b[31m\x1b[3\x1b[0m')
@example('\x1b]0;title\nx\x1b\\')
def test_what_drives_a_terminal(text: str) -> None:
    """Nothing of it is left but colours, and these end with the line."""
    for line in bar.tamed(text, colours=True).split('\n'):
        assert not re.search(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]', COLOURS.sub('', line))
        assert '\x1b' not in line or line.endswith('\x1b[0m')
    assert '\x1b' not in bar.tamed(text, colours=False)
    assert bar.tamed(text, colours=True).count('\n') == text.count('\n')
    assert report.visible(text.replace('\n', '')).isprintable()


@pytest.mark.parametrize(
    ('recent', 'line'),
    [
        (b'', ''),
        (b'one\ntwo\n', 'two'),
        (b'one\ntwo', 'two'),
        (b'one\n\n \n\x1b[0m\n', 'one'),
        (b'10%\r20%\r', '20%'),
        (b'\xa4\xc3\xa4 \x1b[31mred\x1b[m\t!\xc3', 'ä red   !'),
    ],
)
def test_the_last_line(recent: bytes, line: str) -> None:
    assert bar.last_line(recent) == line
