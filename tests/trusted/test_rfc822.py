# SPDX-License-Identifier: ISC
"""Unit text as the job format says it, rule by rule, and for any text at all.

The vectors hold texts and what PlainBox makes of them. `error` marks those which are
refused, by PlainBox or only here.
"""

import base64
import contextlib
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plainbox_launcher.trusted import rfc822
from plainbox_launcher.trusted.errors import Fault
from plainbox_launcher.trusted.unit import checksum

VECTORS: dict[str, Any] = {
    vector['name']: vector
    for vector in json.loads(Path(__file__).with_name('vectors.json').read_text())[
        'records'
    ]
}
REFUSED = {name for name, vector in VECTORS.items() if 'error' in vector}

# Where in each refused text the fault is, and which.
NO_FIELD_ABOVE = 'continues a field, but there is none'
NO_COLON = 'is neither a field nor the continuation of one'
FAULTS = {
    'continuation-after-blank': (6, NO_FIELD_ABOVE),
    'continuation-first': (1, NO_FIELD_ABOVE),
    'duplicate-key': (4, 'field command is there twice'),
    'duplicate-key-same-value': (4, 'field command is there twice'),
    'good-then-bad': (6, NO_COLON),
    'nul-byte': (3, 'holds a NUL byte'),
    'bom': (1, 'starts with a byte order mark'),
    'invalid-utf8': (3, 'is not UTF-8'),
}


def text_of(name: str) -> bytes:
    return base64.b64decode(VECTORS[name]['text_base64'])


def fields(data: bytes | str) -> list[dict[str, str]]:
    raw = data.encode() if isinstance(data, str) else data
    return [record.fields for record in rfc822.parse(raw, 'x.pxu')]


def fault(data: bytes) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        rfc822.parse(data, '/usr/share/x.pxu')
    return caught.value.where, caught.value.fact


def test_the_vectors_are_all_there() -> None:
    assert len(VECTORS) == 56
    assert FAULTS.keys() == REFUSED


@pytest.mark.parametrize('name', sorted(VECTORS.keys() - REFUSED))
def test_the_hash_is_plainboxs(name: str) -> None:
    assert [*map(checksum, fields(text_of(name)))] == VECTORS[name]['checksums']


@pytest.mark.parametrize('name', sorted(REFUSED))
def test_a_refusal_names_file_and_line(name: str) -> None:
    """An error in a file drops the whole file, with file and line in the message."""
    line, fact = FAULTS[name]
    assert fault(text_of(name)) == (f'/usr/share/x.pxu:{line}', fact)


@pytest.mark.parametrize(
    ('data', 'line', 'fact'),
    [
        (b'a: 1\n# c\n\n# c\nb 2\n', 5, NO_COLON),
        (b'a: 1\r\n\r\nb 2\r\n', 3, NO_COLON),
        (b'a: 1\r\rb 2\r', 3, NO_COLON),
        (b'a: 1\n\rb 2', 3, NO_COLON),
        ('a: \u2028\x85\x0b\x0c\x1c\x1d\x1e\u2029\nb 2'.encode(), 2, NO_COLON),
        (b'a:\n\tno blank\n', 2, NO_COLON),
        (b'\xc2\xa0a\n', 1, NO_COLON),
        (b'# c\n a\n', 2, NO_FIELD_ABOVE),
        (b'a: 1\n \n b\n', 3, NO_FIELD_ABOVE),
        (b': 1\n', 1, 'has no name before the colon'),
        (b'a: 1\n\t: 1\n', 2, 'has no name before the colon'),
        (b'a: 1\nb: 2\na : 1\n', 3, 'field a is there twice'),
        (b'a: 1\r\nb: \0\r\n', 2, 'holds a NUL byte'),
        (b'a: 1\rb: 2\r# \0\r', 3, 'holds a NUL byte'),
        (b'a: 1\r\n# \xc3\r\n', 2, 'is not UTF-8'),
        (b'a: \xed\xa0\x80\n', 1, 'is not UTF-8'),  # a surrogate
        (b'a: \xc0\x80\n', 1, 'is not UTF-8'),  # NUL, the long way
        (b'\n\na: \xf4\x90\x80\x80\n', 3, 'is not UTF-8'),  # past the last code point
        (b'\xef\xbb\xbf', 1, 'starts with a byte order mark'),
    ],
)
def test_the_line_of_a_fault(data: bytes, line: int, fact: str) -> None:
    assert fault(data) == (f'/usr/share/x.pxu:{line}', fact)


def test_a_record_knows_its_line() -> None:
    """Records, each with file and line: that of its first field."""
    text = b'\n# c\n\na: 1\nb: 2\n\n\r\n# c\nc: 3\n  \nd:\n 4\n'
    found = [(r.path, r.line) for r in rfc822.parse(text, 'x.pxu')]
    assert found == [('x.pxu', 4), ('x.pxu', 9), ('x.pxu', 11)]


def test_all_else_is_an_ordinary_character() -> None:
    """Only LF, CR LF and CR end lines, of all characters that there are."""
    surrogates = range(0xD800, 0xE000)
    codes = (c for c in range(1, sys.maxunicode + 1) if c not in surrogates)
    everything = ''.join(map(chr, codes)).replace('\n', '').replace('\r', '')
    assert len(everything) == 0x110000 - 1 - len(surrogates) - 2
    value = f'<{everything}>'
    assert fields(f'a: {value}\nb: c') == [{'a': value, 'b': 'c'}]


# What the rules are about, often, and anything else, seldom.
telling = st.sampled_from(list(' \t.:#ab\x0b\x0c\x1c\x85\xa0\u2028\u3000\ufeff'))
anything = st.characters(exclude_characters='\0\r\n', exclude_categories=['Cs'])
line = st.text(st.one_of(telling, telling, anything), max_size=12)
visible = line.filter(str.strip)
indent = st.sampled_from(['', ' ', '  ', '\t', ' \t'])
indented = st.tuples(indent, visible).map(''.join)


@given(st.lists(visible, max_size=8), st.data())
def test_cr_and_crlf_are_lf(lines: list[str], data: st.DataObject) -> None:
    """CR LF and CR count as line ends."""
    ends = [data.draw(st.sampled_from(['\n', '\r', '\r\n'])) for _ in lines]
    mixed = ''.join(text + end for text, end in zip(lines, ends, strict=True))
    plain = ''.join(f'{text}\n' for text in lines)
    assert outcome(mixed) == outcome(plain)


def outcome(text: str) -> object:
    try:
        return rfc822.parse(text.encode(), 'x')
    except Fault as refused:
        return refused.args


@given(line, st.lists(indented, max_size=8))
@example('', ['.', '  x', '   .', ' y'])
@example('x', ['  y'])
@example('  x', ['  y'])
@example('', ['\tx', '  y'])
@pytest.mark.skipif(sys.version_info >= (3, 14), reason='its dedent is another')
def test_a_value_is_undotted_dedented_and_stripped(first: str, rest: list[str]) -> None:
    """If that text holds more than one LF: a line that is blanks and one final `.`
    loses the dot, then the common indentation is removed (as textwrap.dedent does).
    Then, always, the value is stripped at both ends."""
    text = f'{first}\n'.lstrip() + ''.join(f'{one}\n' for one in rest)
    if text.count('\n') > 1:
        text = textwrap.dedent(re.sub(r'(?m)^( *)\.$', r'\1', text))
    unit = f'key:{first}\n' + ''.join(f' {one}\n' for one in rest)
    assert fields(unit) == [{'key': text.strip()}]


def printed(record: dict[str, str]) -> str:
    return ''.join(f'{key}:{_shown(value)}' for key, value in record.items())


def _shown(value: str) -> str:
    if '\n' not in value:
        return f' {value}\n'
    return '\n' + ''.join(f' {one or "."}\n' for one in value.split('\n'))


# A name that is no comment and no continuation; a value that can be written at all:
# no line of blanks, none with a lone dot.
key = line.filter(
    lambda k: k and k == k.strip() and ':' not in k and k[0] not in '#\ufeff'
)
inner = st.just('') | visible.filter(lambda text: text.strip(' ') != '.')
value = st.lists(inner, max_size=6).map('\n'.join).filter(lambda v: v == v.strip())


@given(st.lists(st.dictionaries(key, value, min_size=1, max_size=5), max_size=4))
def test_what_is_printed_is_read_again(records: list[dict[str, str]]) -> None:
    assert fields('\n'.join(map(printed, records))) == records


pieces = st.sampled_from(
    [b'a:', b' ', b'\n', b'\r', b'\t', b'.', b'#', b'\xc3', b'\xa4']
)


@given(st.binary() | st.lists(pieces, max_size=30).map(b''.join))
def test_nothing_but_a_fault_is_raised(data: bytes) -> None:
    """A file counts as a whole or not at all; what is read is text without NUL."""
    with contextlib.suppress(Fault):
        for record in rfc822.parse(data, 'x'):
            assert record.fields
            for text in (*record.fields, *record.fields.values()):
                assert text == text.strip()
                assert text.encode() in data.replace(b'\r\n', b'\n') or '\n' in text
