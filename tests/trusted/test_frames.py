# SPDX-License-Identifier: ISC
"""plainbox-channel(7), FRAMES: words joined by NUL, strict, the same on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainbox_launcher.trusted import frames
from plainbox_launcher.trusted.frames import (
    Announce,
    Cancel,
    Ended,
    Frame,
    Hello,
    Malformed,
    Open,
    Ready,
    Refusal,
    Run,
    Started,
)

H = 'a' * 64
V = '0123456789abcdef' * 4

SAMPLES: list[tuple[Frame, bytes]] = [
    (Hello(1), b'hello\x001'),
    (Announce((f'{H}:', f'{H}:{V}')), f'announce\0{H}:\0{H}:{V}'.encode()),
    (Announce((f':{V}',)), f'announce\0:{V}'.encode()),
    (Announce(()), b'announce'),
    (Open(), b'open'),
    (Run(7, 60, H, '', ()), f'run\x007\x0060\0{H}\0'.encode()),
    (Run(8, 0, H, V, ('A=b=c', 'B=')), f'run\x008\x000\0{H}\0{V}\0A=b=c\0B='.encode()),
    (Cancel(7), b'cancel\x007'),
    (Ready(1, ()), b'ready\x001'),
    (Ready(1, ('read-only',)), b'ready\x001\0read-only'),
    (Started(7), b'started\x007'),
    (
        Ended(7, -15, 10, 20, 30, 'timeout', ('sleep', 'a b')),
        b'ended\x007\x00-15\x0010\x0020\x0030\0timeout\0sleep\0a b',
    ),
    (
        Refusal(7, 'PBL-NO-JOB', 'no such job', 'install it'),
        b'refused\x007\0PBL-NO-JOB\0no such job\0install it',
    ),
]


@pytest.mark.parametrize(('frame', 'data'), SAMPLES)
def test_both_ways(frame: Frame, data: bytes) -> None:
    assert frames.encode(frame) == data
    assert frames.decode(data) == frame


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\0',
        b'bye',
        b'hello',
        b'hello\0',
        b'hello\x001\x001',
        b'hello\x0001',
        b'hello\x00-1',
        b'hello\x00+1',
        b'hello\x00 1',
        b'hello\x001\n',
        'hello\0\u0661'.encode(),  # a digit to Unicode, not to us
        b'hello\x001_0',
        b'hello\0' + b'9' * 16,
        b'HELLO\x001',
        b'open\0',
        b'announce\0',
        b'announce\0:',
        f'announce\0:{V[1:]}'.encode(),
        f'announce\0:{V}:'.encode(),
        f'run\x001\x000\0\0{V}'.encode(),
        f'announce\0{H}'.encode(),
        f'announce\0{H[1:]}:'.encode(),
        f'announce\0{H.upper()}:'.encode(),
        f'announce\0{H}:\n'.encode(),
        f'announce\0{H}:{V}:'.encode(),
        f'run\x007\x000\0{H}'.encode(),
        f'run\x007\0{H}\0'.encode(),
        f'run\x007\x000\0{H}\0x'.encode(),
        f'run\x007\x000\0\0{V}'.encode(),
        f'run\x007\0inf\0{H}\0'.encode(),
        b'cancel',
        b'cancel\x007\x008',
        b'ended\x007\x001000\x000\x000\x000\0exit',
        b'refused\x007\0no code\0fact\0hint',
        b'hello\x001\xff',
        b'run\x007\x000\0' + H.encode() + b'\0\0A=' + b'x' * frames.MAX_FRAME,
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        frames.decode(data)


words = st.text(st.characters(exclude_characters='\0', codec='utf-8'), max_size=20)


@given(words.map(lambda text: (text,)) | st.tuples(words, words))
def test_a_variable_is_never_another_word(variables: tuple[str, ...]) -> None:
    frame = Run(1, 0, H, V, variables)
    assert frames.decode(frames.encode(frame)) == frame


@pytest.mark.parametrize('variables', [('A=\0B=1',), ('\0',), ('A=\udcff',)])
def test_what_has_no_room_is_not_written(variables: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        frames.encode(Run(1, 0, H, V, variables))


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=9)).map(b'\0'.join))
def test_bytes_are_a_frame_or_malformed(data: bytes) -> None:
    """Whatever is read is written as it was: no frame has two spellings."""
    try:
        frame = frames.decode(data)
    except Malformed:
        return
    assert frames.encode(frame) == data


@given(st.data())
def test_a_frame_with_a_byte_changed_is_strict_too(data: st.DataObject) -> None:
    good = bytearray(data.draw(st.sampled_from(SAMPLES))[1])
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255))
    test_bytes_are_a_frame_or_malformed.hypothesis.inner_test(  # type: ignore[attr-defined]
        bytes(good)
    )
