# SPDX-License-Identifier: ISC
"""Ending really ends: time limit, cancel, and the end of channel and runner.

Nothing here waits for a time; what ends too late is only shown, see `pytest -rP`.
PLAINBOX_ENDINGS makes the random proofs longer: it is how many times a runner is
killed, and a fifth of how many jobs are cancelled.
"""

import os
import random
import secrets
import shlex
import signal
import time
from pathlib import Path

import pytest
from house import DAEMONS, House
from launching import cleared
from probe import installed, job, written
from talking import Conversation, children, conversation, emptied, only, stop, talk

from plainbox_launcher.trusted.frames import Ended, Refusal

TIMES = int(os.environ.get('PLAINBOX_ENDINGS', '20'))

# Row 43: how jobs detach themselves. Each prints something once it has.

ESCAPES = {
    'plain': 'echo; sleep 1000',
    'two sessions': 'setsid setsid sh -c "echo; exec sleep 1000" & sleep 1000',
    'two forks': '(setsid sh -c "sleep 1000 & sleep 1000 & echo" &); sleep 1000',
    'many': 'for n in $(seq 30); do (setsid sleep 1000 &); done; echo; sleep 1000',
    'own reaper': """
        exec /usr/bin/python3 -c '
        import ctypes, os, time
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                os.fork()
                time.sleep(1000)
        print(flush=True)
        time.sleep(1000)
        '
        """,
}
HARDY = {  # against these only KILL helps
    'own numbers': 'unshare -p -f sh -c "setsid sleep 1000 & echo; sleep 1000"',
    'ignores TERM': "trap '' TERM; echo; while :; do sleep 1; done",
    'all signals': """
        exec setsid --wait setsid --wait /usr/bin/python3 -c '
        import os, signal, time
        for number in signal.valid_signals() - {9, 19}:
            signal.signal(number, signal.SIG_IGN)
        os.fork()
        print(flush=True)
        while True:
            time.sleep(1000)
        '
        """,
    'stopped': 'sleep 1000 & kill -STOP $!; trap "" TERM; echo; kill -STOP $$',
    'never stops forking': """
        trap '' TERM
        echo
        fork() { while :; do (setsid sh -c ': & : &' &); done; }
        fork & fork & fork
        """,
}


def left(house: House, talk_: Conversation) -> list[str]:
    """What runs in the house but daemons, runner and channel."""
    names = house.processes()
    others = set(names) - {talk_.process.pid, talk_.channel}
    return [names[pid] for pid in others if names[pid] not in DAEMONS and not gone(pid)]


def gone(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return True
    return state in 'ZX'


@pytest.mark.canary('tree.py', '    prctl(_PR_SET_CHILD_SUBREAPER, 1)', '    pass')
@pytest.mark.parametrize('escape', [each for each in ESCAPES if each != 'plain'])
def test_cancel_ends_the_whole_tree(house: House, escape: str) -> None:
    """When a cancelled job is said to have ended, nothing of it is left."""
    with cleared(house):
        frame, remains = ended_by(house, ESCAPES[escape], 'talker.send(Cancel(number))')
        assert remains == []
        assert isinstance(frame, Ended), frame
        assert frame.cause == 'cancel'
        assert frame.left == ()


@pytest.mark.canary('tree.py', 'late = now >= deadline', 'late = False')
def test_what_ignores_term_is_killed(house: House) -> None:
    """TERM first, and KILL five seconds later, until nothing is left."""
    ignores = HARDY['ignores TERM']
    with cleared(house):
        frame, remains = ended_by(house, ignores, 'talker.send(Cancel(number))')
        assert remains == []
        assert isinstance(frame, Ended), frame
        assert (frame.cause, frame.status) == ('cancel', -9)
        assert frame.wall >= 5_000_000  # it could have ended by itself


def test_whatever_it_does_it_is_killed(house: House) -> None:
    """All of them at once, one of which never stops forking."""
    each = (f'bash -c {shlex.quote(text)} >/dev/null &' for text in HARDY.values())
    everything = '\n'.join([*each, 'sleep 1; echo; wait'])
    with cleared(house):
        frame, remains = ended_by(house, everything, 'talker.send(Cancel(number))')
        assert remains == []
        assert isinstance(frame, Ended), frame
        assert (frame.cause, frame.left) == ('cancel', ())


@pytest.mark.canary('execute.py', "raise Stopped('timeout')", 'pass')
def test_time_limit_ends_the_whole_tree(house: House) -> None:
    """A time limit ends all that the job started, as a cancel does."""
    short = ESCAPES['two forks'].replace('sleep 1000', 'sleep 8')
    with cleared(house):
        frame, remains = ended_by(house, short, 'pass', seconds=1)
        assert remains == []
        assert isinstance(frame, Ended), frame
        assert (frame.cause, frame.left) == ('timeout', ())


def test_a_job_that_ends_when_told_is_not_killed(house: House) -> None:
    """A job that is cancelled may tidy up: its status is its own."""
    tidy = "trap 'sleep 1; echo tidied; exit 7' TERM; echo; sleep 1000 & wait"
    with installed(house, job(tidy)) as (hash_,):
        frame, out = talk(
            house,
            """
            talker = Talker().open(hash + ':')
            out, out_end = os.pipe()
            number = talker.ask(hash, fds=[out_end] * 3)
            os.close(out_end)
            os.read(out, 1)
            talker.send(Cancel(number))
            say(talker.result(), os.read(out, 100))
            """,
            hash=hash_,
        )
    assert (frame.status, frame.cause, out) == (7, 'cancel', b'tidied\n')


def test_a_job_is_told_that_the_channel_ends(house: House) -> None:
    """TERM comes first then, too, though KILL follows after a second."""
    tidy = "trap 'touch /tmp/tidied; exit' TERM; echo; while :; do sleep 0.05; done"
    tidied = house.path('/tmp/tidied')
    try:
        with installed(house, job(tidy)) as (hash_,):
            talk(
                house,
                """
                talker = Talker().open(hash + ':')
                talker.begin(hash)
                talker.close()
                """,
                hash=hash_,
            )
        assert tidied.exists()
    finally:
        tidied.unlink(missing_ok=True)


def ended_by(
    house: House, command: str, how: str, seconds: int = 0
) -> tuple[object, list[str]]:
    """How a job ends that is ended so, and what of it runs when that is said."""
    with (
        installed(house, job(command)) as (hash_,),
        conversation(
            house,
            """
            talker = Talker().open(hash + ':')
            number = talker.begin(hash, seconds=seconds)
            exec(how)
            say(talker.result())
            wait()
            say(*talker.close())
            """,
            hash=hash_,
            how=how,
            seconds=seconds,
        ) as talk_,
    ):
        (frame,) = talk_.hear()
        remains = left(house, talk_)
        talk_.go_on()
        talk_.hear()
    return frame, remains


CANCELS = """
chance = random.Random(seed)
talker = Talker().open(*(hash + ':' for hash in hashes))
before = of_root()
for _ in range(times):
    number = talker.ask(chance.choice(hashes))
    time.sleep(chance.choice([0, 0.01, 0.03, 0.1]) * chance.random())
    talker.send(Cancel(number))
    frame = talker.result()
    after = of_root() - before
    if getattr(frame, 'cause', '') != 'cancel' or frame.left or after:
        say(frame, len(after))
say(*talker.close())
"""


def test_random_cancels(house: House) -> None:
    """Whenever a job is cancelled, nothing of it is left."""
    jobs = [job(text, id=name) for name, text in ESCAPES.items()]
    with installed(house, *jobs) as hashes, cleared(house):
        with conversation(
            house, CANCELS, hashes=hashes, seed=TIMES, times=5 * TIMES
        ) as talk_:
            said = talk_.rest()
        emptied(house)
        assert said == [0, '']
        assert not list(house.path('/tmp').glob('plainbox-*'))


# Row 45: the runner dies

RUNNER = """
chance = random.Random(seed)
talker = Talker().open(*(hash + ':' for hash in hashes))
while True:
    number = talker.ask(chance.choice(hashes))
    time.sleep(0.1 * chance.random())
    talker.send(Cancel(number))
    talker.result()
"""


def test_the_runner_is_killed(house: House) -> None:
    """Whenever the runner dies, nothing of root's is left after three seconds."""
    commands = {**ESCAPES, 'hardy': HARDY['ignores TERM']}
    jobs = [job(text, id=name) for name, text in commands.items()]
    chance = random.Random(TIMES)  # noqa: S311  # the same each time
    took = []
    with installed(house, *jobs) as hashes, cleared(house):
        for seed in range(TIMES):
            with conversation(house, RUNNER, hashes=hashes, seed=seed) as talk_:
                time.sleep(chance.choice([0.1, 0.3, 0.6]) * chance.random())
                talk_.process.kill()
            took.append(emptied(house))
    print(f'{TIMES} runners killed; the slowest end took {max(took):.2f} s')


def test_the_runner_is_killed_after_a_cancel(house: House) -> None:
    """Nothing of root's is left, not even a directory, while a job has its grace."""
    with installed(house, job(HARDY['ignores TERM'])) as (hash_,), cleared(house):
        with conversation(
            house,
            """
            talker = Talker().open(hash + ':')
            talker.send(Cancel(talker.begin(hash)))
            say('cancelled')
            wait()
            """,
            hash=hash_,
        ) as talk_:
            talk_.hear()
            time.sleep(0.5)  # so that the cancel has come to the keeper
            talk_.process.kill()
        emptied(house)
        assert not list(house.path('/tmp').glob('plainbox-*'))


HELD = """
talker = Talker().open(hash + ':')
talker.begin(hash)
if os.fork() == 0:
    say('child')
    time.sleep(1000)
say('runner')
wait()
"""


@pytest.mark.canary(
    'channel.py',
    '(self._socket.fileno(), self._gone, *self',
    '(self._socket.fileno(), *self',
)
def test_the_runner_leaves_its_socket(house: House) -> None:
    """The runner's death ends the channel, though others hold its end of the socket."""
    with (
        installed(house, job(ESCAPES['two forks'])) as (hash_,),
        cleared(house),
        conversation(house, HELD, hash=hash_) as talk_,
    ):
        talk_.hear()
        talk_.hear()
        child = only(children(talk_.process.pid) - {talk_.channel})
        talk_.process.kill()
        emptied(house, child)


@pytest.mark.canary('execute.py', "raise Stopped('timeout')", 'pass')
def test_the_runner_is_stopped(house: House) -> None:
    """The launcher does not need the runner to end a job at its time limit."""
    with (
        installed(house, job('setsid sleep 8 & echo; sleep 8')) as (hash_,),
        cleared(house),
        conversation(
            house,
            """
            talker = Talker().open(hash + ':')
            talker.begin(hash, seconds=1)
            say('begun')
            say(talker.result())
            """,
            hash=hash_,
        ) as talk_,
    ):
        talk_.hear()
        stop(talk_.process.pid)
        emptied(house, talk_.process.pid, talk_.channel)
        os.kill(talk_.process.pid, signal.SIGCONT)
        (ended,) = talk_.hear()
        assert (ended.cause, ended.status) == ('timeout', -15)


# What happens to the launcher

LEAVES = 'setsid sleep 1000 & exit 3'
HOLDS = """
talker = Talker().open(*(hash + ':' for hash in hashes))
talker.run(hashes[0])
if len(hashes) > 1:
    talker.begin(hashes[1])
say('begun')
say(talker.rest())
"""


@pytest.mark.canary(
    'channel.py', 'while not signal.sigpending() & start.STOPS:', 'while True:'
)
def test_the_channel_is_told_to_stop(house: House) -> None:
    """TERM, as at a shutdown, is the end of the channel and of all it started."""
    jobs = job(LEAVES, id='a'), job(HARDY['ignores TERM'], id='b')
    with (
        installed(house, *jobs) as hashes,
        cleared(house),
        conversation(house, HOLDS, hashes=hashes) as talk_,
    ):
        talk_.hear()
        os.kill(talk_.channel, signal.SIGTERM)
        emptied(house, talk_.process.pid)
        (rest,) = talk_.hear()
        assert not any(isinstance(frame, Ended) for frame in rest)


@pytest.mark.canary('tree.py', 'end_tree(HURRY)', 'return')
def test_the_channel_is_killed_with_leftovers(house: House) -> None:
    """Who keeps what a job left ends it when the channel is gone, whyever."""
    with (
        installed(house, job(LEAVES)) as hashes,
        cleared(house),
        conversation(house, HOLDS, hashes=hashes) as talk_,
    ):
        talk_.hear()
        os.kill(talk_.channel, signal.SIGKILL)
        talk_.hear()
        emptied(house)


@pytest.mark.canary('execute.py', '*([] if control is None else [control])', '*[]')
def test_the_channel_is_killed_with_a_job(house: House) -> None:
    """So does who keeps a job that runs."""
    channel_killed_with(house, ESCAPES['two forks'])


@pytest.mark.parametrize('name', ['own reaper', 'ignores TERM'])
def test_the_channel_is_killed_with_such_a_job(house: House, name: str) -> None:
    """Whatever that job makes of it."""
    channel_killed_with(house, (ESCAPES | HARDY)[name])


def channel_killed_with(house: House, command: str) -> None:
    jobs = job('true', id='a'), job(command, id='b')
    with (
        installed(house, *jobs) as hashes,
        cleared(house),
        conversation(house, HOLDS, hashes=hashes) as talk_,
    ):
        talk_.hear()
        os.kill(talk_.channel, signal.SIGKILL)
        talk_.hear()
        emptied(house)


def test_the_channel_is_killed_before_it_heard(house: House) -> None:
    """Nor is anything left when the channel did not hear of the job's end."""
    leaves = 'setsid sleep 1000 & echo; sleep 1'
    with (
        installed(house, job('true', id='a'), job(leaves, id='b')) as hashes,
        cleared(house),
        conversation(house, HOLDS, hashes=hashes) as talk_,
    ):
        talk_.hear()
        channel = talk_.channel
        stop(channel)
        while [event for event, _ in written(house)].count('end') < 2:
            time.sleep(0.01)
        time.sleep(0.3)  # the channel is told right after the log
        os.kill(channel, signal.SIGKILL)
        talk_.hear()
        emptied(house)


@pytest.mark.canary(
    'channel.py',
    'tree.end_tree(0, spare={other.pid for other in self._keepers.values()})',
    'pass',
    crashes=True,
)
def test_a_keeper_is_killed(house: House) -> None:
    """A job that loses its keeper is ended and reported; others are let be."""
    jobs = (
        job('setsid sleep 1111 & exit 3', id='a'),
        job('setsid setsid sleep 2222 & echo; sleep 2222', id='b'),
    )
    with (
        installed(house, *jobs) as hashes,
        cleared(house),
        conversation(
            house,
            """
            talker = Talker().open(*(hash + ':' for hash in hashes))
            talker.run(hashes[0])
            before = of_root()
            talker.begin(hashes[1])
            say('begun')
            say(talker.result(), len(of_root() - before), len(before - of_root()))
            say(talker.run(hashes[0])[0])
            """,
            hashes=hashes,
        ) as talk_,
    ):
        talk_.hear()
        keeper = only({pid for pid in talk_.keepers if len(children(pid)) == 2})
        os.kill(keeper, signal.SIGKILL)
        refused, more, less = talk_.hear()
        (again,) = talk_.hear()
        emptied(house, talk_.process.pid)
        assert isinstance(refused, Refusal)
        assert (refused.number, refused.code) == (2, 'PBL-INTERNAL')
        assert (more, less) == (0, 0)
        assert again.status == 3


# Row 44: numbers that were used before

REUSE = """
(sleep 1000 >/dev/null & echo $!)
trap '' TERM
sleep 20
"""
OVERTAKE = """
echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid
sleep 3000 & test $! = $1 && echo taken && wait
kill $!
"""


@pytest.mark.canary(
    'tree.py',
    """\
        for pid in pids if late else pids - told:
            os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told = pids
""",
    """\
        for pid in (pids | told) if late else pids - told:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= pids
""",
)
def test_a_number_that_was_used_before(house: House) -> None:
    """Signals go only to children that were not waited for, so to nobody else.

    A process keeps its number until its parent has waited for it, and only we wait
    for ours. Here a job's process dies of TERM, and its number passes to a stranger
    before KILL comes for the others.
    """
    with (
        installed(house, job(REUSE)) as (hash_,),
        cleared(house),
        conversation(
            house,
            """
            talker = Talker().open(hash + ':')
            out, out_end = os.pipe()
            number = talker.ask(hash, fds=[out_end] * 3)
            orphan = int(os.read(out, 100))
            time.sleep(0.2)  # till it ignores TERM
            talker.send(Cancel(number))
            while os.path.exists(f'/proc/{orphan}'):
                time.sleep(0.01)
            say(orphan)
            say(talker.result())
            """,
            hash=hash_,
        ) as talk_,
    ):
        (orphan,) = talk_.hear()
        argv = ['sh', '-c', OVERTAKE, 'overtake', str(orphan)]
        with house.popen(argv, user='root', stdout=-1) as stranger:
            assert stranger.stdout
            assert stranger.stdout.readline() == b'taken\n', 'the number is not free'
            before = children(stranger.pid)
            (ended,) = talk_.hear()
            after = children(stranger.pid)
            for pid in (stranger.pid, *after):
                os.kill(pid, signal.SIGKILL)
        assert isinstance(ended, Ended), ended
        assert ended.wall > 5_000_000
        assert before == after


# Row 42: secrets


@pytest.mark.canary(
    'job.py', 'passed=environment.passed', 'passed=tuple(request.variables.values())'
)
def test_values_are_not_shown(house: House) -> None:
    """A variable's value reaches the job, but no command line and no log."""
    secret = secrets.token_hex()
    show = 'echo "$SECRET"; sleep 1000'
    with (
        installed(house, job(show, environ='SECRET')) as (hash_,),
        conversation(
            house,
            """
            talker = Talker().open(hash + ':')
            out, out_end = os.pipe()
            number = talker.ask(hash, 'SECRET=' + input(), fds=[out_end] * 3)
            say(os.read(out, 1000))
            wait()
            talker.send(Cancel(number))
            say(talker.result(), *talker.close())
            """,
            hash=hash_,
        ) as talk_,
    ):
        assert talk_.process.stdin
        talk_.process.stdin.write(secret.encode())
        talk_.go_on()
        (shown,) = talk_.hear()
        seen = [
            pid
            for pid in house.processes()
            if secret.encode() in Path(f'/proc/{pid}/cmdline').read_bytes()
        ]
        talk_.go_on()
        ended, *_ = talk_.hear()
    assert shown == f'{secret}\n'.encode()
    assert ended.cause == 'cancel'
    assert seen == []
    assert [line.text for line in house.log() if secret in line.text] == []
    assert [event for event, _ in written(house)] == ['open', 'start', 'end', 'close']
