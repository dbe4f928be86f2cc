# SPDX-License-Identifier: ISC
"""The channel: one consent for many jobs, each as `--hash` would run it.

What a hostile runner gets is in test_channel_attacks, how jobs are ended in
test_endings.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator

import pytest
from house import House
from launching import others
from probe import (
    GOLDEN,
    HOME,
    SHOW,
    UNKNOWN,
    checksum,
    environment,
    installed,
    job,
    seen,
    uid,
    written,
)
from talking import conversation, emptied, talk

from plainbox_launcher.trusted.frames import Ended, Ready, Refusal, Started

ONE = 'say(*Talker().open(hash + ":").run(hash, *variables))'


def run(
    house: House, command: str, *variables: str, **fields: str
) -> tuple[Ended, bytes, bytes]:
    """One job through a channel of its own: how it ended, and what it printed."""
    with installed(house, job(command, **fields)) as (hash_,):
        ended, out, err = talk(house, ONE, hash=hash_, variables=variables)
    assert isinstance(ended, Ended), ended
    return ended, out, err


# One consent, many jobs


def test_one_consent_for_many_jobs(house: House) -> None:
    """Opening the channel is the warm-up: pkexec is asked once, whatever runs."""
    with installed(house, job('echo a', id='a'), job('echo b', id='b')) as (a, b):
        said = talk(
            house,
            """
            talker = Talker().open(a + ':', b + ':')
            for hash in a, b, a:
                ended, out, err = talker.run(hash)
                say(ended.number, ended.status, out, err)
            say(*talker.close())
            """,
            a=a,
            b=b,
        )
    assert said == [
        *(1, 0, b'a\n', b''),
        *(2, 0, b'b\n', b''),
        *(3, 0, b'a\n', b''),
        *(0, ''),
    ]
    asked = [line for line in house.log('pkexec') if 'Executing command' in line.text]
    assert len(asked) == 1


def test_news_in_order(house: House) -> None:
    """Ready once all is announced; started once the shell runs, then how it ended.

    A job that cannot be run never started.
    """
    jobs = job('exit 3', id='a'), job('', id='b')
    with installed(house, *jobs) as (a, b):
        said = talk(
            house,
            """
            talker = Talker()
            talker.send(Hello(1))
            talker.send(Announce((a + ':',)))
            talker.send(Announce((b + ':',)))
            talker.send(Open())
            say(talker.receive())
            for hash in a, b, a:
                talker.ask(hash)
                say(first := talker.receive())
                if isinstance(first, Started):
                    say(talker.receive())
            """,
            a=a,
            b=b,
        )
    assert [type(frame) for frame in said] == [
        *(Ready, Started, Ended),
        Refusal,
        *(Started, Ended),
    ]
    assert [frame.number for frame in said[1:]] == [1, 1, 2, 3, 3]
    assert said[0].version == 1
    assert said[3].code == 'PBL-NO-COMMAND'


ENDINGS = [0, 1, 7, 125, 126, 127, 255, -9, -15]


@pytest.mark.canary('keeper.py', 'ended.status, wall', 'ended.status % 125, wall')
def test_endings_are_exact(house: House) -> None:
    """Results come by frame: 125, 126 and 127 of a job are the job's; row 28."""
    commands = [f'exit {n}' if n >= 0 else f'kill {n} $$' for n in ENDINGS]
    jobs = [job(command, id=f'j{n}') for n, command in enumerate(commands)]
    with installed(house, *jobs) as hashes:
        said = talk(
            house,
            """
            talker = Talker().open(*(hash + ':' for hash in hashes))
            for hash in hashes:
                say(talker.run(hash)[0])
            """,
            hashes=hashes,
        )
    assert [(frame.status, frame.cause) for frame in said] == [
        (status, 'exit') for status in ENDINGS
    ]


def test_output_and_input_untouched(house: House) -> None:
    """A job's stdin, stdout and stderr are the descriptors that came with the frame."""
    with installed(house, job('tee /dev/stderr')) as (hash_,):
        said = talk(
            house,
            """
            talker = Talker().open(hash + ':')
            every = bytes(range(256)) * 2
            _, out, err = talker.run(hash, given=every)
            say(out == every, err == every)
            much = random.Random(1).randbytes(10_000_000)
            _, out, err = talker.run(hash, given=much)
            say(out == much, err == much)
            """,
            hash=hash_,
        )
    assert said == [True] * 4


def test_the_end_of_a_job_is_the_end_of_its_pipes(house: House) -> None:
    """The launcher keeps no copy of a descriptor, so a reader sees the end."""
    with installed(house, job('echo out')) as (hash_,):
        said = talk(
            house,
            """
            talker = Talker().open(hash + ':')
            for each in hash, '0' * 64:  # one that runs, one that is refused
                out, out_end = os.pipe()
                talker.ask(each, fds=[out_end, out_end, out_end])
                os.close(out_end)
                with open(out, 'rb') as file:
                    say(file.read())
            """,
            hash=hash_,
        )
    assert said == [b'out\n', b'']


def test_figures(house: House) -> None:
    """Wall and CPU seconds, those of children too, and the peak of memory."""
    busy = """
    sleep 0.5
    /usr/bin/python3 -c '
    import time
    much = bytearray(64 << 20)
    while time.process_time() < 0.3:
        pass
    '
    """
    with installed(house, job(busy, id='busy'), job('true', id='idle')) as (a, b):
        said = talk(
            house,
            """
            talker = Talker().open(busy + ':', idle + ':')
            for hash in busy, idle:
                begun = time.monotonic()
                say(talker.run(hash)[0], time.monotonic() - begun)
            """,
            busy=a,
            idle=b,
        )
    busy_, around, idle, _ = said
    assert 800_000 <= busy_.wall <= around * 1e6
    assert busy_.cpu >= 300_000
    assert busy_.peak >= 64 << 10
    assert idle.cpu < busy_.cpu
    assert 0 < idle.peak < 64 << 10
    assert idle.left == ()


# What a job gets


@pytest.mark.canary('environ.py', 'not (denying and denied(name))', 'True')
def test_environment(house: House) -> None:
    """Only variables that the job names reach it, of all others it sees nothing.

    And none of the caller's: the environment is that of `--hash`.
    """
    variables = ['WANTED=a b=c', 'LD_PRELOAD=/tmp/evil.so', 'OTHER=no', 'EMPTY=']
    fields = {'environ': 'WANTED LD_PRELOAD EMPTY'}
    _, out, _ = run(house, SHOW, *variables, **fields)
    found = dict(entry.split('=', 1) for entry in out.decode().split('\0')[:-1])
    assert found == {**GOLDEN, 'WANTED': 'a b=c', 'EMPTY': ''}
    assert found == environment(
        seen(house, SHOW, *variables, **fields, call=house.pkexec)
    )


def test_bad_variables_refuse_the_job_alone(house: House) -> None:
    """NAME=VALUE in a frame obeys the rules of the command line."""
    with installed(house, job('true', environ='A')) as (hash_,):
        said = talk(
            house,
            """
            talker = Talker().open(hash + ':')
            for variables in ['A'], ['=x'], ['A=1', 'A=2'], ['A=' + 'x' * 32769]:
                say(talker.run(hash, *variables)[0].code)
            say(talker.run(hash, 'A=' + 'x' * 32768)[0].status)
            """,
            hash=hash_,
        )
    assert said == ['PBL-VARIABLE'] * 4 + [0]


STATE = """
files=$(ls -A | wc -l)
echo cwd $PWD
echo mode $(stat -c %a:%U:%G .)
echo files $files
ls /proc/$$/fd >fds
echo umask $(umask)
echo session $(($(ps -o sid= $$) == $$))
echo terminal $(ps -o tty= $$)
echo fds $(cat fds)
touch kept; mkdir -p a/b; ln -s /etc a/etc
"""


@pytest.mark.canary('channel.py', 'socket.MSG_CMSG_CLOEXEC | ', '')
def test_state_of_a_job(house: House) -> None:
    """A fresh directory of root's, which is removed; descriptors 0 to 2, no others."""
    with installed(house, job(STATE)) as (hash_,):
        said = talk(
            house,
            """
            talker = Talker().open(hash + ':')
            say(talker.run(hash)[1], talker.run(hash)[1])
            """,
            hash=hash_,
        )
    states = [
        dict(line.split(' ', 1) for line in text.decode().splitlines()) for text in said
    ]
    folders = {state.pop('cwd') for state in states}
    assert len(folders) == 2
    assert all(re.fullmatch('/tmp/plainbox-[0-9a-f]{16}', each) for each in folders)
    assert not list(house.path('/tmp').glob('plainbox-*'))
    golden = {'mode': '700:root:root', 'files': '0', 'umask': '0022'}
    golden |= {'fds': '0 1 2', 'session': '1', 'terminal': '?'}
    assert states == [golden, golden]


@pytest.mark.canary('execute.py', 'own = control is not None or', 'own =')
def test_a_job_signals_only_its_own(house: House) -> None:
    """A job has a session of its own: its `kill 0` ends neither launcher nor runner."""
    jobs = job('kill -TERM 0; sleep 60', id='a'), job('exit 4', id='b')
    with installed(house, *jobs) as (a, b):
        said = talk(
            house,
            """
            talker = Talker().open(a + ':', b + ':')
            say(talker.run(a)[0], talker.run(b)[0])
            """,
            a=a,
            b=b,
        )
    assert [getattr(frame, 'status', frame) for frame in said] == [-15, 4]


@pytest.mark.canary('channel.py', 'os.setsid()', 'pass')
def test_the_terminal_is_the_runners(house: House) -> None:
    """The terminal's Ctrl-C and Ctrl-Z are the runner's: the launcher has none."""
    said = talk(
        house,
        """
        talker = Talker().open()
        say(os.getsid(talker.process.pid) == os.getsid(0))
        """,
    )
    assert said == [False]


def test_a_runner_may_give_it_a_session(house: House) -> None:
    """A runner that starts pkexec in a session of its own has done that already."""
    with installed(house, job('exit 3')) as (hash_,):
        (ended,) = talk(
            house,
            """
            talker = Talker(start_new_session=True).open(hash + ':')
            say(talker.run(hash)[0])
            """,
            hash=hash_,
        )
    assert ended.status == 3


# Local jobs

COUNTED = '/tmp/counted'  # a byte for each time that the local job ran
PRINT = f"""
printf . >> {COUNTED}
for n in 1 2; do
printf 'id: made%d\\nuser: root\\ncommand: echo made %d\\n\\n' $n $n
done
"""
FAIL = f'printf . >> {COUNTED}; echo no luck >&2; exit 3'
MADE = [
    checksum({'id': f'made{n}', 'user': 'root', 'command': f'echo made {n}'})
    for n in (1, 2)
]


@pytest.fixture
def runs(house: House, _tidy: None) -> Iterator[Callable[[], int]]:
    """How often the local job ran."""
    counter = house.path(COUNTED)
    yield lambda: counter.stat().st_size
    counter.unlink(missing_ok=True)


def test_what_a_local_job_prints(house: House, runs: Callable[[], int]) -> None:
    """A local job is evaluated once in a channel, and its output kept.

    To announce it is to announce all that it prints.
    """
    with installed(house, job(PRINT, plugin='local', user='')) as (local,):
        said = talk(
            house,
            """
            talker = Talker().open(*announced)
            for hash in made * 2:
                ended, out, _ = talker.run(hash, via=via)
                say(ended.status, out)
            say(talker.run('0' * 64, via=via)[0].code)
            """,
            announced=[f'{local}:'],
            made=MADE,
            via=local,
        )
    assert said == [0, b'made 1\n', 0, b'made 2\n'] * 2 + ['PBL-NOT-GENERATED']
    assert [event for event, _ in written(house)].count('generate') == 1
    assert runs() == 1


@pytest.mark.canary('job.py', 'if request.via not in world.generated:', 'if True:')
def test_a_generated_job_by_itself(house: House, runs: Callable[[], int]) -> None:
    """A job may be announced with the local job that prints it, without the others."""
    with installed(house, job(PRINT, plugin='local', user='')) as (local,):
        said = talk(
            house,
            """
            talker = Talker().open(made[0] + ':' + via)
            say(talker.run(made[0], via=via)[1])
            say(talker.run(made[1], via=via)[0].code)
            say(talker.run(made[0])[0].code)
            say(talker.run(made[0], via=via)[1])
            """,
            made=MADE,
            via=local,
        )
    assert said == [b'made 1\n', *['PBL-NOT-ANNOUNCED'] * 2, b'made 1\n']
    assert runs() == 1


@pytest.mark.canary('job.py', "if refused.code == 'PBL-STOPPED':", 'if True:')
def test_a_local_job_that_fails(house: House, runs: Callable[[], int]) -> None:
    """One that fails has been evaluated, too: each request hears why."""
    with installed(house, job(FAIL, plugin='local', user='')) as (local,):
        said = talk(
            house,
            """
            talker = Talker().open(via + ':')
            for hash in made:
                say(talker.run(hash, via=via)[0])
            """,
            made=MADE,
            via=local,
        )
    assert [frame.code for frame in said] == ['PBL-GENERATOR-FAILED'] * 2
    assert said[0].fact == said[1].fact == 'the local job ended with 3: no luck'
    assert runs() == 1


@pytest.mark.canary(
    'job.py',
    '_evaluate(command, via.plugin, terms.control)',
    '_evaluate(command, via.plugin, None)',
)
def test_a_local_job_is_cancelled(house: House, runs: Callable[[], int]) -> None:
    """A cancel also ends a local job that is being evaluated, and says so.

    That is no answer of the local job's: it may be asked again.
    """
    slow = f'{PRINT} [ $(wc -c <{COUNTED}) -gt 1 ] || sleep 8'
    with installed(house, job(slow, plugin='local', user='')) as (local,):
        said = talk(
            house,
            """
            talker = Talker().open(via + ':')
            number = talker.ask(hash, via=via)
            while not os.path.exists(counted):
                time.sleep(0.01)
            talker.send(Cancel(number))
            say(talker.result(), talker.run(hash, via=via)[1])
            """,
            hash=MADE[0],
            via=local,
            counted=COUNTED,
        )
    stopped, out = said
    assert getattr(stopped, 'code', stopped) == 'PBL-STOPPED'
    assert out == b'made 1\n'
    assert runs() == 2


def test_any_refusal_is_told(house: House) -> None:
    """A refusal is one line of text, whatever the names in it are."""
    with installed(house, job('true')):
        name = f'{HOME}/units/'.encode() + b'\xff\n\x1b.pxu'
        path = os.fsencode(house.path('/')) + name
        with open(path, 'wb'):
            os.chmod(path, 0o666)
        (refused,) = talk(
            house,
            """
            talker = Talker().open(unknown + ':')
            say(talker.run(unknown)[0])
            """,
            unknown=UNKNOWN,
        )
    assert refused.code == 'PBL-NO-JOB'
    assert r'\udcff\n\x1b.pxu: ' in refused.fact
    assert refused.fact.isprintable()


# Who waits for what


def test_one_job_at_a_time(house: House) -> None:
    """While a job runs another is refused, and the first goes on."""
    jobs = job('echo; read x; echo $x', id='a'), job('true', id='b')
    with installed(house, *jobs) as (a, b):
        said = talk(
            house,
            """
            talker = Talker().open(a + ':', b + ':')
            from_us, to_it = os.pipe()
            out, out_end = os.pipe()
            talker.ask(a, fds=[from_us, out_end, out_end])
            os.read(out, 1)
            say(talker.run(b)[0])
            os.write(to_it, b'on\\n')
            say(talker.result(), os.read(out, 10))
            say(talker.run(b)[0])
            """,
            a=a,
            b=b,
        )
    busy, first, out, second = said
    assert (busy.number, busy.code) == (2, 'PBL-BUSY')
    assert (first.number, first.status, out) == (1, 0, b'on\n')
    assert (second.number, second.status) == (3, 0)


@pytest.mark.parametrize('limit', [1, 100])
def test_time_limit(house: House, limit: int) -> None:
    """A job that takes longer than its time limit is ended; one that does not, not."""
    with installed(house, job('sleep 2')) as (hash_,):
        (ended,) = talk(
            house,
            'say(Talker().open(hash + ":").run(hash, seconds=limit)[0])',
            hash=hash_,
            limit=limit,
        )
    wanted = (-15, 'timeout') if limit == 1 else (0, 'exit')
    assert (ended.status, ended.cause) == wanted


def test_cancel(house: House) -> None:
    """Cancel ends the job of that number, no other, and none that has ended."""
    with installed(house, job('echo; sleep 1', environ='N')) as (hash_,):
        said = talk(
            house,
            """
            talker = Talker().open(hash + ':')
            for cancelled in -1, 0, 1:
                number = talker.begin(hash)
                talker.send(Cancel(max(0, number + cancelled)))
                say(talker.result())
            """,
            hash=hash_,
        )
    assert [(each.status, each.cause) for each in said] == [
        (0, 'exit'),
        (-15, 'cancel'),
        (0, 'exit'),
    ]


# What goes on behind


@pytest.mark.canary('execute.py', 'cause, tree.names())', 'cause, ())')
def test_a_job_that_leaves_something(house: House) -> None:
    """What a job leaves running is named, and let be until the channel ends.

    Its result comes at once. The next job runs beside what was left.
    """
    leaves = """
    sleep 1000 & one=$!
    setsid sleep 2000 & two=$!
    for pid in $one $two; do
        until read name </proc/$pid/comm; [ $name = sleep ]; do :; done
    done
    exit 5
    """
    with (
        installed(house, job(leaves, id='a'), job('echo on', id='b')) as (a, b),
        conversation(
            house,
            """
            talker = Talker().open(a + ':', b + ':')
            say(talker.run(a)[0], talker.run(b)[1], talker.run(b)[0])
            wait()
            say(*talker.close())
            """,
            a=a,
            b=b,
        ) as talk_,
    ):
        ended, out, second = talk_.hear()
        running = sorted(house.processes().values())
        assert running.count('sleep') >= 2
        talk_.go_on()
        closed = talk_.hear()
        left = [pid for pid in others(house) if pid != talk_.process.pid]
    emptied(house)
    assert (ended.status, ended.left, ended.cause) == (5, ('sleep', 'sleep'), 'exit')
    assert (out, second.left) == (b'on\n', ())
    assert closed == [0, '']
    assert not left


def test_log(house: House) -> None:
    """Two lines for each job, who and what before it starts, and how it ended.

    Two for the channel: how many jobs were announced, with a digest, and its end.
    """
    jobs = job('sleep 100 & exit 3', id='a', environ='A'), job('sleep 9', id='b')
    with installed(house, *jobs) as (a, b):
        talk(
            house,
            """
            talker = Talker().open(a + ':', b + ':', a + ':')
            talker.run(a, 'A=secret', 'B=secret')
            talker.run(b, seconds=1)
            talker.run('0' * 64)
            talker.close()
            """,
            a=a,
            b=b,
        )
    lines = written(house)
    assert [event for event, _ in lines] == [
        *('open', 'start', 'end', 'start', 'end', 'refused', 'close')
    ]
    opened, start, end, _, late, refused, closed = (fields for _, fields in lines)
    announced = '\n'.join(sorted([f'{a}:', f'{b}:']))
    assert opened['announced'] == '2'
    assert opened['digest'] == hashlib.sha256(announced.encode()).hexdigest()
    assert {fields['uid'] for _, fields in lines} == {uid(house)}
    assert {fields['caller'] for _, fields in lines} == {'tester'}
    assert (start['hash'], start['passed'], start['dropped']) == (a, 'A', 'B')
    assert (end['hash'], end['status'], end['cause']) == (a, '3', 'exit')
    assert end['left'] == '1'
    assert (late['hash'], late['status'], late['cause']) == (b, '143', 'timeout')
    assert (refused['hash'], refused['code']) == ('0' * 64, 'PBL-NOT-ANNOUNCED')
    assert closed['hash'] == '-'


def test_nothing_announced(house: House) -> None:
    """A channel may open for nothing, as a warm-up, and end at once."""
    assert talk(house, 'say(*Talker().open().close())') == [0, '']
    assert [event for event, _ in written(house)] == ['open', 'close']
