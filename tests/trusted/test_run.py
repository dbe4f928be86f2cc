# SPDX-License-Identifier: ISC
"""The launcher's command line, for real: one hash in, one job or one refusal out."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from house import HANGS, LAUNCHER, PROVIDERS, House, ended
from launching import NAME, digests, events, following, opened, others, refused

from plainbox_launcher import __version__

# Detached twice, deaf to TERM, and it holds no pipe of ours.
HARDY = """ setsid setsid bash -c 'trap "" TERM; echo $$ > /tmp/hardy; \
     while :; do sleep 1; done' > /dev/null 2>&1 &
 until [ -s /tmp/hardy ]; do sleep 0.01; done"""

UNITS = rf"""
id: greets
user: root
command: echo hello; id -u

id: bytes
user: root
command: printf '\000\377\n'; printf '\376\r\n' >&2

id: echoes
user: root
environ: ONE
command: echo "$ONE"

id: leaves
user: root
command: sleep infinity & sleep infinity & echo started

id: waits
user: root
command:
{HARDY}
 echo started
 sleep infinity
 echo never

id: sleeps
user: root
command: echo started; exec sleep infinity

id: of-nobody
command: echo ran

id: empty-user
user:
command: echo ran

id: of-nowhere
user: nobody-of-that-name
command: echo ran

id: of-a-number
user: 0
command: echo ran

id: manual
plugin: manual
user: root

id: other-shell
user: root
shell: /usr/bin/python3
command: print('ran')

id: option-i
user: root
command: -i

id: option-help
user: root
command: --help

unit: template
id: template
user: root
template-resource: other
command: echo ran

unit: test plan
id: plan
user: root
command: echo ran

unit: category
id: category
user: root
command: echo ran
"""


HASH = digests(UNITS)


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('run', UNITS):
        yield


# A job that is there, and those that are not to be run


def test_a_known_hash(house: House) -> None:
    """An ordinary user runs an installed job as root, by its hash."""
    done = house.pkexec('--hash', HASH['greets'])
    assert (done.returncode, done.stdout, done.stderr) == (0, b'hello\n0\n', b'')
    assert events(house) == ['start', 'end']


def test_output_is_untouched(house: House) -> None:
    done = house.pkexec(f'--hash={HASH["bytes"]}')
    assert (done.stdout, done.stderr) == (b'\0\xff\n', b'\xfe\r\n')


@pytest.mark.parametrize(
    ('job', 'code'),
    [
        ('of-nobody', 'PBL-NO-USER'),
        ('empty-user', 'PBL-NO-USER'),
        ('of-nowhere', 'PBL-ACCOUNT'),
        ('of-a-number', 'PBL-USER'),
        ('manual', 'PBL-NO-COMMAND'),
        ('other-shell', 'PBL-SHELL'),
        ('template', 'PBL-NO-JOB'),
        ('plan', 'PBL-NO-JOB'),
        ('category', 'PBL-NO-JOB'),
    ],
)
def test_what_is_no_job_for_root(house: House, job: str, code: str) -> None:
    """Only jobs that name a `user`, who has to be there; only jobs."""
    assert refused(house.pkexec('--hash', HASH[job]), code)
    assert events(house) == ['refused']


@pytest.mark.canary('job.py', 'if not user:', 'if False:')
@pytest.mark.canary('job.py', "job.get('user')\n", "job.get('user') or 'root'\n")
def test_a_user_has_to_be_named(house: House) -> None:
    assert refused(house.pkexec('--hash', HASH['of-nobody']), 'PBL-NO-USER')


@pytest.mark.canary('library.py', "if unit.kind == 'job'", 'if True')
@pytest.mark.parametrize('kind', ['template', 'plan', 'category'])
def test_only_jobs_are_run(house: House, kind: str) -> None:
    assert house.pkexec('--hash', HASH[kind]).stdout == b''


@pytest.mark.canary('execute.py', "'-c', '--', text", "'-c', text")
@pytest.mark.parametrize('command', ['-i', '--help'])
def test_a_command_is_no_option(house: House, command: str) -> None:
    """Row 41: commands `-i` and `--help` are run literally."""
    done = house.pkexec('--hash', HASH[f'option-{command.strip("-")}'])
    assert (done.returncode, done.stdout) == (127, b'')
    assert b' %s: command not found' % command.encode() in done.stderr


# Options that run nothing

WARM = "if request.mode == 'warmup':"


@pytest.mark.canary('launcher.py', WARM, f'library.load()\n    {WARM}')
def test_the_warm_up_reads_no_provider(house: House) -> None:
    """`--warmup` returns 0 at once, before any provider is read."""
    stderr, files = opened(house, [LAUNCHER, '--warmup'])
    assert stderr == b''
    assert '"/usr/lib/plainbox-launcher' in files  # strace saw something
    assert PROVIDERS not in files
    assert 'plainbox-providers-1' not in files
    assert events(house) == []


@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_for_everybody(house: House, option: str) -> None:
    done = house.run([LAUNCHER, option])
    assert (done.returncode, done.stderr) == (0, b'')
    assert done.stdout.startswith(
        b'usage: plainbox-trusted-launcher-1 [-h] (--hash HASH | --warmup)\n'
    )


def test_version_for_everybody(house: House) -> None:
    done = house.run([LAUNCHER, '--version'])
    expected = f'plainbox-trusted-launcher-1 {__version__}\n'
    assert (done.returncode, done.stdout, done.stderr) == (0, expected.encode(), b'')


# Tricks


EXCHANGE = """
import ctypes, sys
libc = ctypes.CDLL(None)
good, evil = (path.encode() for path in sys.argv[1:])
print('exchanging', flush=True)
while True:
    assert libc.renameat2(-100, good, -100, evil, 2) == 0  # RENAME_EXCHANGE
"""
FIND = 'job = library.find(installed.units, checksum)'
AGAIN = 'job = job and next(u for u in library.load().units if u.id == job.id)'


@pytest.mark.canary('job.py', FIND, f'{FIND}\n    {AGAIN}')
def test_what_was_hashed_is_what_runs(house: House) -> None:
    """Row 31: bytes read once, hashed and run from memory."""
    folder = '/usr/lib/house-run/units'
    good, evil = f'{folder}/race.pxu', f'{folder}/race.evil'
    text = 'id: race\nuser: root\ncommand: echo good\n'
    with (
        house.replaced(good, text.encode()),
        house.replaced(evil, text.replace('good', 'EVIL').encode()),
        house.popen(
            ['/usr/bin/python3', '-c', EXCHANGE, good, evil],
            user='root',
            stdout=subprocess.PIPE,
        ) as exchanger,
    ):
        assert exchanger.stdout
        assert exchanger.stdout.readline() == b'exchanging\n'
        hashes = (digests(text)['race'] + '\n').encode() * 120
        command = ['xargs', '-P4', '-n1', LAUNCHER, '--hash']
        done = house.run(command, user='root', input=hashes)
        exchanger.kill()
    said = done.stdout.split()
    assert b'EVIL' not in said
    assert said.count(b'good') + done.stderr.count(b'PBL-NO-JOB') == 120
    assert 0 < said.count(b'good') < 200  # both were met


@pytest.mark.canary('start.py', '!= _INITIAL_NAMESPACE', '== 0')
def test_a_root_of_ones_own_making(house: House) -> None:
    """Row 32: fake /usr/share in `unshare -Urm` fails."""
    fake = '[PlainBox Provider]\nname = x:y\nunits_dir = /usr/share\n'
    units = 'id: fake\nuser: root\ncommand: echo fake\n'
    script = f"""
        mount -t tmpfs -o mode=755 fake /usr/share
        mkdir {PROVIDERS}
        printf '{fake}' > {PROVIDERS}/fake.provider
        printf '{units}' > /usr/share/fake.pxu
        exec {LAUNCHER} --hash {digests(units)['fake']}
    """
    done = house.run(['unshare', '-Urm', 'sh', '-euc', script])
    assert refused(done, 'PBL-NAMESPACE')


# How it ends


def test_what_is_left_in_the_background(house: House) -> None:
    """Row 46: the result comes at once, what is left is counted."""
    with following(house, LAUNCHER, '--hash', HASH['leaves']) as process:
        assert process.wait(HANGS) == 0
        assert len(others(house)) == 2
    (line,) = (line.text for line in house.log(NAME) if ': end ' in line.text)
    assert ' status=0 ' in line
    assert line.endswith(' left=2')


def test_ctrl_c(house: House) -> None:
    """A Ctrl-C reaches the job; the status says so, 128+2."""
    with following(house, LAUNCHER, '--hash', HASH['sleeps']) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(HANGS) == 130
        assert not others(house)
    assert events(house) == ['start', 'end']


ENDS = 'ended = tree.end_tree(grace, pid, control=control)\n'


def test_ctrl_c_where_the_caller_ignored_it(house: House) -> None:
    script = f"trap '' INT; pkexec {LAUNCHER} --hash {HASH['sleeps']}; exit $?"
    with following(house, 'sh', '-c', script) as shell:
        os.killpg(shell.pid, signal.SIGINT)
        assert shell.wait(HANGS) == 130


@pytest.mark.canary('execute.py', ENDS, 'os.kill(pid, 15); ended = Ended(-15)\n')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_the_whole_tree(house: House, number: int) -> None:
    """A TERM or HUP to the launcher ends the command's whole tree.

    Row 43: also who detached itself twice and ignores TERM.
    """
    with following(house, LAUNCHER, '--hash', HASH['waits']) as process:
        assert len(others(house)) >= 4
        process.send_signal(number)
        assert process.wait(HANGS) == 128 + number
        assert not others(house)
    assert events(house) == ['start', 'end']


@pytest.mark.canary(
    'execute.py', 'tree.prctl(tree.PR_SET_PDEATHSIG, signal.SIGKILL)', 'pass'
)
def test_the_launcher_killed(house: House) -> None:
    """The job does not outlive a launcher that was killed."""
    with following(house, LAUNCHER, '--hash', HASH['sleeps']) as process:
        (job,) = others(house) - {process.pid}
        process.kill()
        assert ended(job, 5)
