# SPDX-License-Identifier: ISC
"""What runners and jobs may do to the channel, and what comes of it.

Nearly always that the channel ends, says why, and nothing has run. Each test goes on
with what would be right if the launcher had not noticed: on a canary a job runs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from house import House
from launching import cleared
from probe import PROGRAM, installed, job, written
from talking import talk

from plainbox_launcher.trusted.frames import MAX_ANNOUNCED, Ended, Refusal

MARKER = '/tmp/marker'
MARK = job(f'echo >> {MARKER}')


@pytest.fixture
def marked(house: House, _tidy: None) -> Iterator[Callable[[], bool]]:
    """Whether the job MARK has run."""
    marker = house.path(MARKER)
    yield marker.exists
    marker.unlink(missing_ok=True)


def ends(
    house: House,
    snippet: str,
    code: str = 'PBL-CHANNEL',
    **names: Any,  # noqa: ANN401
) -> list[str]:
    """Breaks the rules, in an open channel that may run `mark`; the facts it is told.

    `broken` is said to `told` by the snippet: what the launcher answers at the end
    of the channel, each a refusal of the whole channel, and nothing else.
    """
    before = """
    def told(talker):
        say(talker.rest(), *talker.ending())
        talker.socket.close()

    def run(number):
        return Run(number, 0, mark, '', ())

    null = os.open('/dev/null', os.O_RDWR)
    three = [null] * 3
    """
    with installed(house, MARK) as (mark,):
        said = talk(house, before, snippet, mark=mark, **names)
    facts = []
    endings = list(zip(said[::3], said[1::3], said[2::3], strict=True))
    for rest, status, line in endings:
        assert rest, (status, line)
        refused = rest[-1]
        assert isinstance(refused, Refusal)
        assert not any(isinstance(frame, Ended) for frame in rest)
        assert (refused.number, refused.code) == (0, code)
        assert status == 125
        assert line == f'{PROGRAM}: {code}: {refused.fact} ({refused.hint})\n'
        facts.append(refused.fact)
    lines = [fields for event, fields in written(house) if event == 'refused']
    lines = [fields for fields in lines if fields['hash'] == '-']
    assert [fields['code'] for fields in lines] == [code] * len(endings)
    assert [event for event, _ in written(house)].count('close') == len(endings)
    return facts


# Row 51: frames

MALFORMED = [
    b'\0',
    b'bye',
    b'run',
    b'open\0',
    b'cancel\0one',
    b'hello\x001\xff',
    b'run\x002\x000\0' + b'0' * 63 + b'\0',
    b'RUN\x002\x000\0' + b'0' * 64 + b'\0',
    b'run\x00-1\x000\0' + b'0' * 64 + b'\0',
    b'run\x002\x000\0' + b'0' * 64 + b'\0\n',
    b'run\x002\x000\0' + b'0' * 64 + b'\0A=\xff',
]


@pytest.mark.canary(
    'channel.py', "raise Refused('PBL-CHANNEL', str(error)) from None", 'pass'
)
def test_malformed(house: House, marked: Callable[[], bool]) -> None:
    """A malformed frame ends the channel, and it is written into the log."""
    ends(
        house,
        """
        for data in malformed:
            talker = Talker().open(mark + ':')
            talker.send(bytes.fromhex(data), three * data.startswith('72756e'))
            talker.send(run(1), three)
            talker.socket.shutdown(socket.SHUT_WR)
            told(talker)
        """,
        malformed=[data.hex() for data in MALFORMED],
    )
    assert not marked()


def test_truncated(house: House, marked: Callable[[], bool]) -> None:
    """A part of a frame is no frame, wherever it was cut."""
    ends(
        house,
        """
        whole = frames.encode(run(1))
        for length in [*range(1, 8), *range(8, len(whole), 9), len(whole) - 1]:
            talker = Talker().open(mark + ':')
            talker.send(whole[:length], three)
            told(talker)
        """,
    )
    assert not marked()


@pytest.mark.canary(
    'channel.py', "raise Refused('PBL-CHANNEL', 'a frame is too large')", 'pass'
)
def test_oversized(house: House) -> None:
    """A frame that is larger than 128 KiB is not even looked at."""
    facts = ends(
        house,
        """
        for size in 131072, 131073, 131074, 200_000:
            talker = Talker().open(mark + ':')
            talker.send(b'x' * size)
            told(talker)
        """,
    )
    assert facts == [
        'there is no such frame',
        'the frame is too long',
        *['a frame is too large'] * 2,
    ]


def test_the_largest_frame(house: House) -> None:
    """128 KiB are fine, as far as the frame is concerned."""
    with installed(house, MARK) as (mark,):
        (refused,) = talk(
            house,
            """
            talker = Talker().open(mark + ':')
            whole = frames.encode(Run(1, 0, mark, '', ('A=',)))
            talker.send(whole.ljust(131072, b'x'), [os.open('/dev/null', 0)] * 3)
            say(talker.receive())
            """,
            mark=mark,
        )
    assert (refused.number, refused.code) == (1, 'PBL-VARIABLE')


def test_more_than_the_kernel_takes(house: House) -> None:
    """A frame larger than the socket's buffer does not leave its sender."""
    said = talk(
        house,
        """
        talker = Talker().open()
        try:
            talker.send(b'x' * (1 << 20))
        except OSError as error:
            say(os.strerror(error.errno))
        say(*talker.close())
        """,
    )
    assert said == ['Message too long', 0, '']


def test_empty(house: House, marked: Callable[[], bool]) -> None:
    """An empty frame is the end."""
    with installed(house, MARK) as (mark,):
        said = talk(
            house,
            """
            talker = Talker().open(mark + ':')
            talker.send(b'')
            talker.ask(mark)
            say(talker.rest())
            """,
            mark=mark,
        )
    assert said == [[]]
    assert not marked()
    assert [event for event, _ in written(house)][-1] == 'close'


EARLY = [
    'run(1), Hello(1), Announce(all), Open()',
    'Hello(1), run(1), Announce(all), Open()',
    'Hello(1), Announce(all), run(1), Open()',
    'Hello(1), Announce(all), Cancel(1), Open()',
    'Announce(all), Hello(1), Open()',
    'Open(), Hello(1), Announce(all)',
    'Announce(all), Open()',
    'Open()',
    'Cancel(1)',
]
LATE = [
    'Hello(1), Hello(1), Announce(all), Open()',
    'Hello(1), Announce(all), Open(), Hello(1)',
    'Hello(1), Announce(all), Open(), Open()',
    'Hello(1), Open(), Announce(all)',
    'Hello(1), Announce(all), Open(), Announce(all)',
]
THEIRS = [
    'Hello(1), Announce(all), Open(), Ready(1, ())',
    'Hello(1), Announce(all), Open(), Started(1)',
    'Hello(1), Announce(all), Open(), Ended(1, 0, 1, 1, 1, "exit", ())',
    'Hello(1), Announce(all), Open(), Refusal(1, "PBL-NO-JOB", "", "")',
]


@pytest.mark.canary(
    'channel.py', "raise Refused('PBL-CHANNEL', 'a frame is out of order')", 'pass'
)
@pytest.mark.parametrize('sent', [*EARLY, *LATE, *THEIRS])
def test_out_of_order(house: House, marked: Callable[[], bool], sent: str) -> None:
    """Frames come in order: hello, announcements, open; then what is to run."""
    (fact,) = ends(
        house,
        """
        talker = Talker()
        all = (mark + ':',)
        for frame in eval(f'[{sent}]'):
            talker.send(frame, three * isinstance(frame, Run))
        talker.send(run(2), three)
        talker.socket.shutdown(socket.SHUT_WR)
        rest = [frame for frame in talker.rest() if not isinstance(frame, Ready)]
        say(rest, *talker.ending())
        """,
        sent=sent,
    )
    assert fact == 'a frame is out of order'
    assert not marked()


@pytest.mark.canary(
    'channel.py',
    'case Run() if self._opened and frame.number',
    'case Run() if frame.number',
)
def test_nothing_runs_before_the_channel_is_open(
    house: House, marked: Callable[[], bool]
) -> None:
    """Announced is not open: what was announced by then must be known first."""
    ends(
        house,
        """
        talker = Talker()
        talker.send(Hello(1))
        talker.send(Announce((mark + ':',)))
        talker.send(run(1), three)
        talker.socket.shutdown(socket.SHUT_WR)
        told(talker)
        """,
    )
    assert not marked()


@pytest.mark.canary('channel.py', 'if version != frames.VERSION:', 'if False:')
@pytest.mark.parametrize('version', [0, 2, 10**14])
def test_another_version(
    house: House, marked: Callable[[], bool], version: int
) -> None:
    """A runner that speaks another version of the protocol is told so."""
    (fact,) = ends(
        house,
        """
        talker = Talker()
        for frame in Hello(version), Announce((mark + ':',)), Open():
            talker.send(frame)
        talker.send(run(1), three)
        talker.socket.shutdown(socket.SHUT_WR)
        told(talker)
        """,
        code='PBL-VERSION',
        version=version,
    )
    assert fact == f'the runner speaks version {version}'
    assert not marked()


@pytest.mark.canary('channel.py', ' and frame.number > self._last:', ':')
@pytest.mark.parametrize('numbers', [[0], [5, 5], [5, 4]], ids=str)
def test_numbers_grow(house: House, numbers: list[int]) -> None:
    """Each request has a higher number than those before, so none is answered twice."""
    ends(
        house,
        """
        talker = Talker().open()
        for number in numbers:
            talker.send(run(number), three)
        talker.socket.shutdown(socket.SHUT_WR)
        rest = talker.rest()
        say([frame for frame in rest if frame.number == 0], *talker.ending())
        """,
        numbers=numbers,
    )


# Row 23: what was not announced


@pytest.mark.canary('channel.py', 'if not self._is_announced(run):', 'if False:')
def test_not_announced(house: House, marked: Callable[[], bool]) -> None:
    """Nothing runs that was not announced before the channel opened; row 23.

    That is refused and logged, and the channel lives on.
    """
    printed = 'id: made\nuser: root\ncommand: true'
    local = job(f"echo '{printed}'", id='local', plugin='local', user='')
    allowed = job('echo allowed', id='allowed')
    with installed(house, MARK, local, allowed) as (mark, via, good):
        said = talk(
            house,
            """
            talker = Talker().open(good + ':', mark + ':' + via, good + ':' + via)
            say(talker.run(mark)[0], talker.run(via)[0])
            say(talker.run(mark, via=good)[0], talker.run('0' * 64, via=via)[0])
            say(talker.run(good)[1])
            """,
            mark=mark,
            via=via,
            good=good,
        )
    refused, out = said[:-1], said[-1]
    assert not marked()
    assert out == b'allowed\n'
    lines = [fields for event, fields in written(house) if event == 'refused']
    assert [fields['hash'] for fields in lines] == [mark, via, mark, '0' * 64]
    codes = [getattr(frame, 'code', frame) for frame in refused]
    no = 'PBL-NOT-ANNOUNCED'
    assert codes == [no, no, 'PBL-NOT-LOCAL', no]  # the third: it prints nothing


@pytest.mark.canary(
    'channel.py', 'if len(self._announced) > frames.MAX_ANNOUNCED:', 'if False:'
)
def test_too_many_announced(house: House) -> None:
    """What a channel keeps is bounded: at most 100,000 jobs are announced."""
    (fact,) = ends(
        house,
        """
        talker = Talker()
        talker.send(Hello(1))
        for start in range(0, most + 1, 1000):
            few = range(start, min(start + 1000, most + 1))
            talker.send(Announce(tuple(f'{n:064x}:' for n in few)))
        talker.send(Open())
        talker.send(run(1), three)
        talker.socket.shutdown(socket.SHUT_WR)
        told(talker)
        """,
        most=MAX_ANNOUNCED,
    )
    assert fact == 'too many jobs are announced'


def test_as_many_as_may_be_announced(house: House) -> None:
    """Just as many are fine, and the same one counts once."""
    said = talk(
        house,
        """
        talker = Talker()
        talker.send(Hello(1))
        for start in [*range(0, most, 1000), 0]:
            few = range(start, start + 1000)
            talker.send(Announce(tuple(f'{n:064x}:' for n in few)))
        talker.send(Open())
        say(talker.receive().version)
        talker.close()
        """,
        most=MAX_ANNOUNCED,
    )
    assert said == [1]
    assert written(house)[0][1]['announced'] == str(MAX_ANNOUNCED)


# Row 52: descriptors


@pytest.mark.canary(
    'channel.py',
    'if len(fds) != (3 if isinstance(frame, Run) else 0):',
    'if len(fds) % 3 > 1:',
)
@pytest.mark.parametrize(
    ('frame', 'count'),
    [('run(1)', n) for n in (4, 6, 253)] + [('Cancel(1)', n) for n in (1, 3, 253)],
)
def test_wrong_number_of_descriptors(
    house: House, marked: Callable[[], bool], frame: str, count: int
) -> None:
    """A run frame comes with exactly three descriptors, any other with none."""
    (fact,) = ends(
        house,
        """
        talker = Talker().open(mark + ':')
        talker.send(eval(frame), [null] * count)
        talker.send(run(2), three)
        talker.socket.shutdown(socket.SHUT_WR)
        told(talker)
        """,
        frame=frame,
        count=count,
    )
    assert fact == 'a frame has the wrong number of descriptors'
    assert not marked()


@pytest.mark.parametrize('count', range(3))
def test_too_few_descriptors(
    house: House, marked: Callable[[], bool], count: int
) -> None:
    """A job never gets descriptors that are not the runner's."""
    ends(
        house,
        """
        talker = Talker().open(mark + ':')
        talker.send(run(1), [null] * count)
        told(talker)
        """,
        count=count,
    )
    assert not marked()


FLOOD = """
import re
def held():
    return len(os.listdir(f'/proc/{talker.process.pid}/fd'))

def size():
    with open(f'/proc/{talker.process.pid}/status') as status:
        return int(re.search(r'VmRSS:\\s+(\\d+)', status.read())[1])

null = os.open('/dev/null', os.O_RDWR)
"""


@pytest.mark.canary(
    'channel.py', 'for fd in fds:\n                os.close(fd)', 'pass'
)
def test_flood_of_descriptors(house: House) -> None:
    """Descriptors of a frame are closed once it is obeyed: their number is constant."""
    with installed(house, job('true')) as (hash_,):
        said = talk(
            house,
            FLOOD,
            """
            talker = Talker().open(hash + ':')
            before = held(), size()
            for _ in range(3000):
                talker.ask('0' * 64)
                if talker.receive() is None:
                    break
            say(talker.run(hash)[0], before[1], size())
            until = time.monotonic() + 5  # it answers before it closes them
            while held() > before[0] and time.monotonic() < until:
                time.sleep(0.01)
            say(before[0], held())
            talker.close()
            """,
            user='root',
            hash=hash_,
        )
    ended, small, large, before, after = said
    assert getattr(ended, 'status', ended) == 0
    assert before == after
    assert large - small < 4096


def test_most_descriptors_again_and_again(house: House) -> None:
    """The most that a frame can carry end the channel; and none stays open in a job."""
    said = talk(
        house,
        FLOOD,
        """
        for _ in range(30):
            talker = Talker().open()
            for _ in range(3):
                talker.send(Cancel(1), [null] * 253)
            say([frame.code for frame in talker.rest()], talker.ending()[0])
            talker.socket.close()
        """,
        user='root',
    )
    assert said == [['PBL-CHANNEL'], 125] * 30


SO_PASSPIDFD = 76  # <asm-generic/socket.h>, since Linux 6.5


def test_flood_of_pidfds(house: House) -> None:
    """The socket is the runner's, too: it may have the kernel send descriptors.

    With SO_PASSPIDFD each frame comes with one. That breaks the rules, or is closed.
    """
    said = talk(
        house,
        FLOOD,
        """
        talker = Talker.__new__(Talker)
        talker.socket, theirs = pair()
        talker.process, talker.number = call(theirs), 0
        talker.open()
        before = held()
        try:
            theirs.setsockopt(socket.SOL_SOCKET, option, 1)
        except OSError:
            sys.exit()  # this kernel has no such thing
        for _ in range(100):
            talker.send(Cancel(1))
        talker.ask('0' * 64)
        alive = talker.receive().number
        say(held() - before if alive else 0)
        theirs.close()
        talker.close()
        """,
        user='root',
        option=SO_PASSPIDFD,
    )
    if not said:
        pytest.skip('no SO_PASSPIDFD')
    assert said[0] <= 3  # those of the last frame, perhaps


# Row 53: who speaks


@pytest.mark.canary(
    'channel.py', 'if sender != (self._pid, self._world.caller.uid):', 'if False:'
)
@pytest.mark.parametrize('user', ['tester', 'root'])
def test_a_child_of_the_runner(
    house: House, marked: Callable[[], bool], user: str
) -> None:
    """A frame of another process ends the channel, whoever gave it the socket."""
    with installed(house, MARK) as (mark,):
        said = talk(
            house,
            """
            talker = Talker().open(mark + ':')
            if os.fork() == 0:
                talker.ask(mark)
                os._exit(0)
            os.wait()
            talker.socket.shutdown(socket.SHUT_WR)
            say(talker.rest(), *talker.ending())
            """,
            mark=mark,
            user=user,
        )
    rest, status, _ = said
    assert [getattr(frame, 'fact', frame) for frame in rest] == [
        'a frame comes from another process'
    ]
    assert status == 125
    assert not marked()


SPEAKS = """
exec /usr/bin/python3 -c '
import array, os, socket, time
runner = socket.socket(fileno=os.dup(1))
fds = array.array("i", [2] * 3)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
runner.sendmsg([b"cancel\\0001"])
runner.sendmsg([os.environ["FRAME"].replace("/", "\\0").encode()], rights)
time.sleep(20)
'
"""


@pytest.mark.canary(
    'channel.py', 'if sender != (self._pid, self._world.caller.uid):', 'if False:'
)
def test_a_job_with_the_channel(house: House, marked: Callable[[], bool]) -> None:
    """Not even root's own job may speak, on the socket that the runner gave it."""
    speaks = job(SPEAKS, id='speaks', environ='FRAME')
    with installed(house, MARK, speaks) as (mark, hash_):
        said = talk(
            house,
            """
            talker = Talker().open(mark + ':', hash + ':')
            frame = frames.encode(Run(2, 0, mark, '', ())).decode()
            null = os.open('/dev/null', os.O_RDWR)
            fds = [null, talker.socket.fileno(), null]
            talker.ask(hash, 'FRAME=' + frame.replace(chr(0), '/'), fds=fds)
            say(talker.result(), talker.close()[0])
            """,
            mark=mark,
            hash=hash_,
        )
    refused, status = said
    assert getattr(refused, 'fact', refused) == 'a frame comes from another process'
    assert status == 125
    assert not marked()


CALLED = """
def called(stdin, **more):
    process = subprocess.Popen(CALL, stdin=stdin, stderr=subprocess.PIPE, **more)
    say(process.stderr.read().decode(), process.wait())
"""


@pytest.mark.canary(
    'channel.py', '(socket.AF_UNIX, socket.SOCK_SEQPACKET)', '(sock.family, sock.type)'
)
@pytest.mark.parametrize('kind', ['AF_UNIX, SOCK_STREAM', 'AF_UNIX, SOCK_DGRAM'])
def test_another_kind_of_socket(house: House, kind: str) -> None:
    """Standard input is one end of a pair of sockets for packets."""
    said = talk(
        house,
        CALLED,
        """
        kinds = [getattr(socket, each) for each in kind.split(', ')]
        called(socket.socket(*kinds))
        """,
        kind=kind,
    )
    no_channel(said, 'standard input is not a socket for packets')


@pytest.mark.parametrize(
    'stdin',
    ['subprocess.DEVNULL', 'os.pipe()[0]', 'os.openpty()[1]', 'socket.socket()'],
)
def test_no_socket(house: House, stdin: str) -> None:
    """Without a socket there is no channel."""
    said = talk(house, CALLED, f'called({stdin})\n')
    no_channel(said, 'standard input is not a socket')


def test_closed_stdin(house: House) -> None:
    """Nor with standard input closed."""
    said = talk(house, CALLED, 'called(None, preexec_fn=lambda: os.close(0))\n')
    no_channel(said, 'standard input is not a socket')


@pytest.mark.canary(
    'channel.py', 'if pid != os.getppid() or uid != caller.uid:', 'if False:'
)
def test_a_socket_of_someone_else(house: House) -> None:
    """The runner is the process that made the socket pair and started pkexec."""
    said = talk(
        house,
        CALLED,
        """
        ours, theirs = pair()
        ours.send(frames.encode(Hello(1)))
        ours.send(frames.encode(Open()))
        if os.fork() == 0:
            called(theirs)
            os._exit(0)
        os.wait()
        """,
    )
    no_channel(said, 'the socket was not made by who called')


def no_channel(said: list[Any], fact: str) -> None:
    line, status = said
    assert status == 125
    assert line.startswith(f'{PROGRAM}: PBL-CHANNEL: {fact}')
    assert line.count('\n') == 1


# Row 54: what kind of descriptors

KINDS = {
    'directory': 'os.open("/tmp", os.O_RDONLY)',
    'path': 'os.open("/dev/null", os.O_PATH)',
    'link': 'os.open("/proc/self/exe", os.O_PATH | os.O_NOFOLLOW)',
}


@pytest.mark.canary('channel.py', '            _require_files(fds)\n', '')
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('place', range(3))
def test_no_open_file(
    house: House, marked: Callable[[], bool], kind: str, place: int
) -> None:
    """A directory or an O_PATH descriptor is refused, and the channel lives on."""
    with installed(house, MARK, job('exit 3', id='b')) as (mark, next_):
        said = talk(
            house,
            f"""
            talker = Talker().open(mark + ':', next_ + ':')
            fds = [os.open('/dev/null', os.O_RDWR)] * 3
            fds[place] = {KINDS[kind]}
            talker.ask(mark, fds=fds)
            say(talker.result(), talker.run(next_)[0])
            """,
            mark=mark,
            next_=next_,
            place=place,
        )
    refused, ended = said
    assert isinstance(refused, Refusal)
    assert (refused.number, refused.code) == (1, 'PBL-DESCRIPTOR')
    assert ended.status == 3
    assert not marked()


STUCK = {
    'FIFO without a reader': """
os.mkfifo('/tmp/fifo')
stuck = os.open('/tmp/fifo', os.O_RDWR)
os.unlink('/tmp/fifo')
""",
    'full pipe': """
keep, stuck = os.pipe()
os.set_blocking(stuck, False)
try:
    while True:
        os.write(stuck, bytes(1 << 16))
except BlockingIOError:
    os.set_blocking(stuck, True)
""",
    'terminal': 'keep, stuck = os.openpty()',
    'socket': 'keep, stuck = (end.detach() for end in socket.socketpair())',
    'the channel itself': 'stuck = talker.socket.fileno()',
}


@pytest.mark.parametrize('kind', [each for each in STUCK if 'channel' not in each])
def test_stuck_descriptors(house: House, kind: str) -> None:
    """The launcher never reads or writes what a job was given: it still answers."""
    fill = 'echo; exec head -c 10000000 /dev/zero'
    with installed(house, job(fill, id='a'), job('cat', id='b')) as (writes, reads):
        said = talk(
            house,
            """
            talker = Talker().open(writes + ':', reads + ':')
            exec(make)
            for hash in writes, reads:
                number = talker.ask(hash, fds=[stuck] * 3)
                say(talker.receive().number)
                say(talker.run(hash)[0].code)
                talker.send(Cancel(number))
                say(talker.result())
            say(talker.close()[0])
            """,
            writes=writes,
            reads=reads,
            make=STUCK[kind],
        )
    first, busy, ended, third, again, late, status = said
    assert (first, busy, ended.cause) == (1, 'PBL-BUSY', 'cancel')
    assert (third, again, late.cause) == (3, 'PBL-BUSY', 'cancel')
    assert status == 0


# Row 55: who does not listen


@pytest.mark.canary(
    'channel.py', '_MAX_UNSENT: Final = 256', '_MAX_UNSENT: Final = 10**9'
)
def test_a_runner_that_does_not_listen(house: House) -> None:
    """What is to be said is bounded: a runner that does not listen loses the channel.

    And its job is ended.
    """
    hardy = "trap '' TERM; echo; while :; do sleep 1; done"
    with installed(house, job(hardy)) as (hash_,), cleared(house):
        said = talk(
            house,
            FLOOD,
            """
            talker = Talker().open(hash + ':')
            talker.begin(hash)
            sizes = [size()]
            run = frames.encode(Run(10**9, 0, '0' * 64, '', ()))
            for number in range(2000):
                data = run.replace(b'1000000000', b'%d' % (10**9 + number))
                try:
                    socket.send_fds(talker.socket, [data], [null] * 3)
                except ConnectionError:
                    break
                if number % 100 == 0:
                    with contextlib.suppress(OSError, TypeError):
                        sizes.append(size())
            say(number, sizes[0], max(sizes), talker.process.poll())
            say(*talker.close())
            """,
            user='root',
            hash=hash_,
        )
    number, small, large, _, status, line = said
    assert number < 1999
    assert large - small < 8192
    assert status == 125
    assert line.startswith(f'{PROGRAM}: PBL-CHANNEL: the runner does not listen (')


# All at once

FUZZ = """
chance = random.Random(seed)
null = os.open('/dev/null', os.O_RDWR)
words = ['run', '1', '0', mark, '']


def wrong():
    '''Bytes and descriptors that are no request for the job `mark`.'''
    some, count, kind = list(words), 3, chance.randrange(7)
    if kind == 0:  # another word of another kind
        some[0] = chance.choice(['', 'Run', 'run ', 'open', 'hello', 'cancel', 'ended'])
    elif kind == 1:  # a hash with a digit changed, too many or missing
        at = chance.randrange(64)
        other = chance.choice(['', '00', 'A', 'g', '/', 'x' * 99, '%', 'é'])
        some[3] = mark[:at] + other + mark[at + 1:]
    elif kind == 2:  # cut
        data = '\\0'.join(words).encode()
        return data[: chance.randrange(1, len(data))], 3
    elif kind == 3:  # words in another order, or missing
        while some == words:
            chance.shuffle(some)
            some = some[: chance.randrange(2, 6)]
    elif kind == 4:  # descriptors
        count = chance.choice([0, 1, 2, 4, 5, 64, 253])
    elif kind == 5:  # noise
        return chance.randbytes(chance.choice([1, 2, 77, 4000, 131072, 131073])), 3
    else:  # numbers that are none
        wrong = ['', '-1', '+1', '1_0', '٣', '1' * 16]
        some[chance.choice([1, 2])] = chance.choice(wrong)
    return '\\0'.join(some).encode(), count


talker, channels = None, 0
for _ in range(times):
    if talker is None:
        talker, channels = Talker().open(mark + ':'), channels + 1
    data, count = wrong()
    socket.send_fds(talker.socket, [data], [null] * count)
    frame = talker.receive() if data.startswith(b'run') or chance.randrange(2) else None
    if frame is None or frame.number == 0:
        talker.socket.close()
        talker.ending()
        talker = None
    elif not isinstance(frame, Refusal):
        say(data, count, frame)
        break
    else:
        words[1] = str(int(words[1]) + 1)
say(channels, os.path.exists(marker))
"""


@pytest.mark.canary(
    'channel.py',
    'if len(fds) != (3 if isinstance(frame, Run) else 0):',
    'if len(fds) < (3 if isinstance(frame, Run) else 0):',
)
@pytest.mark.parametrize('seed', range(2))
def test_fuzz(house: House, marked: Callable[[], bool], seed: int) -> None:
    """Nothing is ever executed without a valid run frame."""
    with installed(house, MARK) as (mark,):
        *told, channels, ran = talk(
            house, FUZZ, user='root', mark=mark, seed=seed, times=100, marker=MARKER
        )
    assert told == []
    assert not ran
    assert channels > 30
    assert not marked()
