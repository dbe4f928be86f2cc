# SPDX-License-Identifier: ISC
"""The synopsis, and all that is not of its form.

plainbox-trusted-launcher-1 [-h] (--hash HASH | --warmup) [--via LOCAL-JOB-HASH]
[NAME=VALUE [NAME=VALUE ...]]
"""

import re
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plainbox_launcher.trusted.commandline import Request, Usage, parse
from plainbox_launcher.trusted.errors import Refused

A = b'a' * 64
B = b'0123456789abcdef' * 4
HEX = A.decode()
OTHER = B.decode()

Words = list[bytes]


def asked(
    hash_: str, via: str = '', variables: Mapping[str, str] | None = None
) -> Request:
    return Request('hash', hash_, via, {**(variables or {})})


RUNS: dict[str, tuple[Words, Request]] = {
    'hash': ([b'--hash', A], asked(HEX)),
    'hash, joined': ([b'--hash=' + A], asked(HEX)),
    'warmup': ([b'--warmup'], Request('warmup', '', '', {})),
    'channel': ([b'--channel'], Request('channel', '', '', {})),
    'via': ([b'--hash', A, b'--via', B], asked(HEX, OTHER)),
    'via first, joined': (
        [b'--via=' + B, b'--hash', A],
        asked(HEX, OTHER),
    ),
    'variables': (
        [b'--hash', A, b'A=1', b'_b2=', b'C==x=--hash'],
        asked(HEX, variables={'A': '1', '_b2': '', 'C': '=x=--hash'}),
    ),
    'variables first': ([b'A=1', b'--hash', A], asked(HEX, variables={'A': '1'})),
    'not ASCII': (
        [b'--hash', A, b'A=\xc3\xa9\xf0\x9f\x98\x80'],
        asked(HEX, variables={'A': 'é\U0001f600'}),
    ),
    'tab': ([b'--hash', A, b'A=\t'], asked(HEX, variables={'A': '\t'})),
    'as long as can be': (
        [b'--hash', A, b'N' * 128 + b'=' + b'v' * (32 << 10)],
        asked(HEX, variables={'N' * 128: 'v' * (32 << 10)}),
    ),
}

ONE_OF = 'give one of --hash, --warmup, --channel'
ALONE = '--channel takes nothing else'
USAGE: dict[str, tuple[Words, str]] = {
    'nothing': ([], ONE_OF),
    'neither': ([b'A=1'], ONE_OF),
    'channel and warmup': ([b'--channel', b'--warmup'], ONE_OF),
    'channel and hash': ([b'--channel', b'--hash', A], ONE_OF),
    'channel and via': ([b'--channel', b'--via', A], ALONE),
    'channel and variable': ([b'--channel', b'A=1'], ALONE),
    'via alone': ([b'--via', A], ONE_OF),
    'both': ([b'--hash', A, b'--warmup'], ONE_OF),
    'both, joined': ([b'--warmup', b'--hash=' + A], ONE_OF),
    'hash twice': ([b'--hash', A, b'--hash', A], '--hash is there twice'),
    'hash twice, joined': ([b'--hash', A, b'--hash=' + A], '--hash is there twice'),
    'via twice': (
        [b'--hash', A, b'--via', A, b'--via', B],
        '--via is there twice',
    ),
    'warmup twice': ([b'--warmup', b'--warmup'], '--warmup is there twice'),
    'hash of nothing': ([b'--hash'], '--hash needs a value'),
    'via of nothing': ([b'--hash', A, b'--via'], '--via needs a value'),
    'unknown option': ([b'--hash', A, b'--user'], 'unknown option --user'),
    'unknown, joined': ([b'--hash', A, b'--user=x'], 'unknown option --user'),
    'abbreviated': ([b'--has', A], 'unknown option --has'),
    'one dash': ([b'-hash', A], 'unknown option -hash'),
    'a dash': ([b'--hash', A, b'-'], 'unknown option -'),
    'end of options': ([b'--', b'--hash', A], 'unknown option --'),
    'warmup of something': ([b'--warmup=1'], 'unknown option --warmup'),
    'upper-case option': ([b'--HASH', A], 'unknown option --HASH'),
    'long unknown option': ([b'--' + b'x' * 9999], 'unknown option --' + 'x' * 38),
}

BAD_HASHES: dict[str, bytes] = {
    'empty': b'',
    '63 digits': A[:63],
    '65 digits': A + b'a',
    '128 digits': A + A,
    'upper case': B.upper(),
    'one upper-case digit': A[:63] + b'A',
    'no digit': b'g' * 64,
    'newline after it': A + b'\n',
    'newline as a digit': A[:63] + b'\n',
    'carriage return': A + b'\r',
    'blank before it': b' ' + A,
    'blank after it': A + b' ',
    'blank as a digit': A[:63] + b' ',
    'prefix': b'0x' + A[:62],
    'name of the digest': b'sha256:' + A,
    'sign': b'-' + A[:63],
    'underscores': b'a_' * 32,
    'full-width digits': '\uff11'.encode() * 64,
    'full-width letters': '\uff41'.encode() * 64,
    'Arabic digits': '٣'.encode() * 64,
    'combining accent': A[:63] + 'á'.encode(),
    'glob': b'*',
    'path': b'/etc/shadow',
    'dots': b'../' * 21 + b'a',
    'option': b'--warmup',
    'variable': b'A=1',
    'format': b'{0.__class__}',
    'per cent': b'%s' * 32,
    'shell': b'$(reboot)',
    'long': b'a' * 100_000,
    'control characters': b'\x1b[2J' + A[:60],
}

MALFORMED = 'the name of a variable is malformed'
CONTROL = 'the value of A has control characters'
BAD_WORDS: dict[str, tuple[bytes, str]] = {
    'no equals sign': (b'A', 'PBL-VARIABLE: an argument is not NAME=VALUE'),
    'empty': (b'', 'PBL-VARIABLE: an argument is not NAME=VALUE'),
    'hash alone': (A, 'PBL-VARIABLE: an argument is not NAME=VALUE'),
    'no name': (b'=x', f'PBL-VARIABLE: {MALFORMED}'),
    'blank in the name': (b'A =x', f'PBL-VARIABLE: {MALFORMED}'),
    'newline in the name': (b'A\n=x', f'PBL-VARIABLE: {MALFORMED}'),
    'function': (b'BASH_FUNC_x%%=() { :; }', f'PBL-VARIABLE: {MALFORMED}'),
    'newline': (b'A=1\nB=2', f'PBL-VARIABLE: {CONTROL}'),
    'not UTF-8': (b'A=\xff', 'PBL-ARGUMENT: an argument is not UTF-8'),
    'surrogate': (b'A=\xed\xa0\x80', 'PBL-ARGUMENT: an argument is not UTF-8'),
}


@pytest.mark.parametrize(('words', 'request_'), RUNS.values(), ids=RUNS)
def test_what_is_of_the_form(words: Words, request_: Request) -> None:
    assert parse(words) == request_


@pytest.mark.parametrize(('words', 'fault'), USAGE.values(), ids=USAGE)
def test_wrong_usage(words: Words, fault: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(words)
    assert str(caught.value) == fault


@pytest.mark.parametrize('option', [b'--hash', b'--via'])
@pytest.mark.parametrize('value', BAD_HASHES.values(), ids=BAD_HASHES)
def test_no_hash(value: bytes, option: bytes) -> None:
    """64 lower-case hexadecimal digits, and not one character else."""
    for words in [option, value], [option + b'=' + value]:
        rest = [b'--hash', A] if option == b'--via' else []
        with pytest.raises(Refused) as caught:
            parse([*words, *rest])
        assert caught.value.code == 'PBL-HASH'
        assert caught.value.fact == f'the value of {option.decode()} is not a hash'


@pytest.mark.parametrize(('word', 'reason'), BAD_WORDS.values(), ids=BAD_WORDS)
def test_no_variable(word: bytes, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        parse([b'--hash', A, word])
    assert str(caught.value) == f'{reason} ({caught.value.hint})'


words = st.sampled_from(
    [b'--hash', b'--via', b'--warmup', b'--channel', b'--', b'=', b'A=', A]
)


@given(st.lists(words | st.binary(max_size=70), max_size=5))
@example([b'\xff'])
def test_nothing_else_is_raised(arguments: Words) -> None:
    """A request is one of two things, whatever the words."""
    try:
        request = parse(arguments)
    except (Usage, Refused):
        return
    assert (request.mode == 'hash') is bool(request.hash)
    assert re.fullmatch('([0-9a-f]{64})?', request.hash)
    assert re.fullmatch('([0-9a-f]{64})?', request.via)
