# SPDX-License-Identifier: ISC
"""What the launcher says on stderr, to whom, and when there is no room for it."""

import os
import re

import probe
import pytest
from house import LAUNCHER, House
from probe import UNKNOWN, uid, unescaped, written

# Row 56: nobody speaks to the terminal

HOSTILE_FILES = ['\x1b[2J.pxu', 'a\nb.pxu', '\u202e.pxu', 'a\x9bb.pxu', 'a b=c.pxu']
PLAIN_TEXT = re.compile(rb'[\t\n\x20-\x7e]*')


@pytest.mark.canary(
    'errors.py', "if ' ' <= c <= '~' else ascii(c)[1:-1]", '', crashes=True
)
@pytest.mark.parametrize('name', HOSTILE_FILES[:4])
def test_files_with_hostile_names(house: House, name: str) -> None:
    """On stderr and in the log."""
    check_file(house, name)


def test_a_file_that_looks_like_a_field(house: House) -> None:
    check_file(house, HOSTILE_FILES[4])


def check_file(house: House, name: str) -> None:
    one = probe.job('true')
    with house.provider(
        'probe', {'units/a.pxu': probe.text(one), f'units/{name}': 'x'}
    ):
        refused = house.launcher('--hash', UNKNOWN)
        done = house.launcher('--hash', probe.checksum(one))
    assert (done.returncode, done.stderr) == (0, b'')
    assert probe.code(refused) == 'PBL-NO-JOB'
    assert PLAIN_TEXT.fullmatch(refused.stderr)
    (_, first), (_, start), _ = written(house)
    fault = f'{probe.HOME}/units/{name}:1: is neither a field'
    assert unescaped(start['faults']).startswith(fault)
    assert 'refused were' in unescaped(first['fact'])


ARGUMENTS: list[list[str]] = [
    ['--\x1b]0;evil\a'],
    ['--\x9b2J'],
    ['--a\nplainbox-trusted-launcher-1: PBL-FORGED: no (yes)'],
    ['--\u202eevil'],
    ['--' + 'x' * 100_000],
    ['--hash', '\x1b[2J' * 16],
    ['--hash', UNKNOWN, '\x1b[2J=1'],
    ['--hash', UNKNOWN, 'A=\x1b[2J'],
    ['--hash', UNKNOWN, 'A' * 100_000 + '=1'],
    ['--hash', UNKNOWN, 'A=1', '--via', '\n' * 64],
    ['--hash', UNKNOWN, 'CHECKBOX_DATA=/\u202e', 'PLAINBOX_SESSION_SHARE=/tmp'],
    ['', ''],
]


@pytest.mark.parametrize('arguments', ARGUMENTS)
def test_hostile_arguments(house: House, arguments: list[str]) -> None:
    """Refused or wrong usage, without control characters and in few words."""
    done = house.pkexec(*arguments)
    assert done.returncode in (2, 125)
    assert done.stdout == b''
    assert PLAIN_TEXT.fullmatch(done.stderr)
    assert done.stderr.count(b'\n') == (1 if done.returncode == 125 else 4)
    assert b'\nplainbox-trusted-launcher-1: PBL-' not in done.stderr
    assert len(done.stderr) < 400


@pytest.mark.canary(
    'errors.py', "if ' ' <= c <= '~' else ascii(c)[1:-1]", '', crashes=True
)
@pytest.mark.parametrize('arguments', ARGUMENTS[:4])
def test_arguments_that_are_echoed(house: House, arguments: list[str]) -> None:
    test_hostile_arguments(house, arguments)


@pytest.mark.canary(
    'errors.py', "if ' ' <= c <= '~' else ascii(c)[1:-1]", '', crashes=True
)
def test_what_a_failing_generator_says(house: House) -> None:
    noise = r"printf 'x\033[2J\n\033]0;evil\007\377\302\205evil' >&2; exit 1"
    local = probe.job(noise, plugin='local')
    with probe.installed(house, local) as (via,):
        done = house.launcher('--hash', UNKNOWN, '--via', via)
    assert probe.code(done) == 'PBL-GENERATOR-FAILED'
    assert PLAIN_TEXT.fullmatch(done.stderr)


# Row 58: no oracle


SHARES = {
    'absent': '/home/stranger/nothing',
    'a file': '/etc/shadow',
    "another's": '/home/stranger',
    'a link': '/home/tester/link',
    'not absolute': 'home',
    'not plain': '/home/tester/../tester',
    'behind a file': '/etc/passwd/x',
    'too long': '/' + 'x' * 300,
    'empty': '',
}


@pytest.mark.canary(
    'caller.py',
    '    except OSError:\n        pass\n',
    '    except OSError as error:\n'
    "        raise Refused('PBL-SESSION-SHARE', str(error.strerror)) from None\n",
)
def test_paths_of_the_caller(house: House) -> None:
    """The same words for what is absent, not readable and of the wrong kind."""
    house.check('ln', '-s', '/home/tester', '/home/tester/link')
    try:
        with probe.installed(house, probe.job(':')) as (checksum,):
            said = {
                kind: house.pkexec('--hash', checksum, f'CHECKBOX_DATA={path}').stderr
                for kind, path in SHARES.items()
            }
    finally:
        house.check('rm', '/home/tester/link')
    assert len(set(said.values())) == 1, said
    assert b': PBL-SESSION-SHARE: ' in said['absent']


def test_no_such_job(house: House) -> None:
    """The same words for a hash of nothing, of what is no job and of a faulty file."""
    template = {**probe.job(':'), 'unit': 'template', 'template-resource': 'x'}
    hidden = probe.job('echo hidden', id='hidden')
    files: dict[str, str | bytes] = {
        'units/a.pxu': probe.text(template),
        'units/b.pxu': probe.text(hidden) + '\nx',
        'units/c.pxu': b'\xff',
    }
    with house.provider('probe', files):
        said = {
            house.pkexec('--hash', checksum).stderr
            for checksum in (UNKNOWN, probe.checksum(template), probe.checksum(hidden))
        }
    assert len(said) == 1
    assert b': PBL-NO-JOB: no such job; refused were ' in said.pop()


OPENS = 'status = _look(path)\n    if'


@pytest.mark.canary('caller.py', OPENS, f'os.close(os.open(path, 0))\n    {OPENS}')
def test_no_path_of_the_caller_is_opened(house: House) -> None:
    """A FIFO, a device or a file system of theirs would hold us, or take note."""
    trace = '/tmp/trace'
    offers = ['CHECKBOX_DATA=/home/tester', 'XAUTHORITY=/home/tester/.Xauthority']
    strace = ['strace', '-f', '-qq', '-e', 'trace=%file', '-o', trace]
    with probe.installed(house, probe.job(':', environ='XAUTHORITY')) as (checksum,):
        command = [*strace, LAUNCHER, '--hash', checksum, *offers]
        uid_ = uid(house)
        done = house.run(command, user='root', env={'PKEXEC_UID': uid_})
    calls = house.path(trace).read_text().splitlines()
    house.path(trace).unlink()
    assert (done.returncode, done.stderr) == (0, b'')
    theirs = [call for call in calls if '/home/tester' in call and 'exec' not in call]
    assert theirs
    assert not [call for call in theirs if 'open' in call]


# Row 59: where there is no room


def test_a_megabyte_and_a_half_of_arguments(house: House) -> None:
    """Refused; never run with less."""
    offers = [f'A{n}=' + 'x' * 100_000 for n in range(15)]
    assert probe.code(probe.seen(house, ':', *offers)) == 'PBL-VARIABLE'


BIG = [f'A{n}=' + 'x' * 32_700 for n in range(90)]


def wide() -> None:
    """Lets argv be as large as it can be; see execve(2), on limits on size."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))


@pytest.mark.canary('execute.py', '    if failure:\n', '    if False:\n')
@pytest.mark.parametrize('what', ['environment', 'command'])
def test_too_much_for_exec(house: House, what: str) -> None:
    """E2BIG: the job gets all or does not start."""
    if what == 'environment':
        names = ' '.join(offer.split('=')[0] for offer in BIG)
        done = probe.seen(house, 'echo ran', *BIG, environ=names, before=wide)
    else:
        done = probe.seen(house, 'echo ran\n' + '# x\n' * 50_000)
    assert probe.code(done) == 'PBL-EXEC'
    assert b'Argument list too long' in done.stderr


def test_arguments_that_are_not_utf_8(house: House) -> None:
    for argument in (b'\xff', b'--\xff', b'A=\xff', b'--via=' + b'\xff' * 64):
        assert probe.code(probe.seen(house, ':', argument)) == 'PBL-ARGUMENT'


@pytest.mark.canary(
    'launcher.py', '    with suppress(OSError):  # nobody', '    if 1:  # nobody'
)
@pytest.mark.parametrize('kind', ['full', 'a broken pipe'])
def test_nobody_hears_the_refusal(house: House, kind: str) -> None:
    """The status says it, too."""
    reader, writer = os.pipe()
    os.close(reader)
    with open('/dev/full', 'wb') as full, open(writer, 'wb') as broken:
        stream = full if kind == 'full' else broken
        done = house.launcher('--hash', UNKNOWN, stderr=stream)
        assert done.returncode == 125
        assert house.launcher('--evil', stderr=stream).returncode == 2
    assert [event for event, _ in written(house)] == ['refused']


def test_closed_stderr(house: House) -> None:
    done = house.launcher('--hash', UNKNOWN, before=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (125, b'')


def test_the_jobs_own_streams_may_be_full(house: House) -> None:
    with open('/dev/full', 'wb') as full:
        done = probe.seen(house, 'echo x || exit 7', stdout=full, stderr=full)
    assert done.returncode == 7


@pytest.mark.parametrize('option', ['--help', '--version'])
def test_nobody_hears_the_help(house: House, option: str) -> None:
    with open('/dev/full', 'wb') as full:
        done = house.launcher(option, stdout=full)
    assert done.returncode == 125
    assert probe.code(done)


def test_no_room_for_a_working_directory(house: House) -> None:
    """ENOSPC: no job in some other directory."""
    house.check('mount', '-t', 'tmpfs', '-o', 'nr_inodes=1', 'full', '/tmp')
    try:
        done = probe.seen(house, 'echo ran')
    finally:
        house.check('umount', '/tmp')
    assert probe.code(done) == 'PBL-EXEC'
    assert b'cannot be made: No space left on device' in done.stderr
