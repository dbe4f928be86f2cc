# SPDX-License-Identifier: ISC
"""NAME=VALUE on the command line: accepted means to the byte, all else is refused."""

import itertools
import unicodedata

import probe
import pytest
from house import House
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from probe import GOLDEN, SHOW, environment

# Row 5: values that a shell once took for a function


@pytest.mark.canary('environ.py', "if value.startswith('()'):", 'if False:')
@pytest.mark.parametrize(
    'value', ['() { :; }; touch /tmp/ran', '()', '() {', '(){ :; }; id']
)
def test_functions(house: House, value: str) -> None:
    """CVE-2014-6271."""
    done = probe.seen(house, SHOW, f'FUN={value}', environ='FUN', call=house.pkexec)
    assert probe.code(done) == 'PBL-VARIABLE'


# Row 6: syntax

MALFORMED = {
    # The name.
    'no equals sign': [b'A'],
    'nothing': [b''],
    'no name': [b'=x'],
    'only an equals sign': [b'='],
    'two equals signs': [b'==x'],
    'a digit first': [b'1A=x'],
    'a blank': [b'A B=x'],
    'a blank first': [b' A=x'],
    'a blank last': [b'A =x'],
    'a line end': [b'A\nB=x'],
    'a line end last': [b'A\n=x'],
    'a tab': [b'A\t=x'],
    'an escape': [b'A\x1b=x'],
    'a dot': [b'A.B=x'],
    'a slash': [b'A/B=x'],
    'a percent sign': [b'A%%=x'],
    "bash's name of a function": [b'BASH_FUNC_ls%%=() { id; }'],
    'brackets': [b'A()=x'],
    'an index': [b'A[0]=x'],
    'a plus sign': [b'A+=x'],
    'a letter not of ASCII': ['\xc4=x'.encode()],
    'a digit not of ASCII': ['A\u0661=x'.encode()],
    'a letter that looks like one': ['\u0410=x'.encode()],
    'not UTF-8': [b'A\xff=x'],
    'too long a name': [b'A' * 129 + b'=x'],
    # The value.
    'a newline': [b'A=x\ny'],
    'a newline last': [b'A=x\n'],
    'a carriage return': [b'A=x\ry'],
    'a form feed': [b'A=\f'],
    'a vertical tab': [b'A=\v'],
    'a backspace': [b'A=x\b'],
    'a terminal sequence': [b'A=\x1b[2J'],
    'DEL': [b'A=\x7f'],
    'NEL': ['A=\x85'.encode()],
    'CSI': ['A=\x9b'.encode()],
    'a stray byte': [b'A=\xff'],
    'an overlong slash': [b'A=\xc0\xaf'],
    'a surrogate': [b'A=\xed\xa0\x80'],
    'too long a value': [b'A=' + b'x' * 32769],
    'too long in bytes': [('A=' + '\xc4' * 16385).encode()],
    # Both.
    'twice': [b'A=1', b'A=2'],
    'twice the same': [b'A=1', b'A=1'],
    'a good one and a bad one': [b'A=1', b'B'],
    'a bad one that is not listed': [b'B=\n'],
}


@pytest.mark.parametrize('offers', MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(house: House, offers: list[bytes]) -> None:
    """One bad assignment, and the job does not run."""
    done = probe.seen(house, SHOW, *offers, environ='A')
    assert probe.code(done) in ('PBL-VARIABLE', 'PBL-ARGUMENT')
    assert done.stdout == b''


@pytest.mark.canary('environ.py', 'if not _NAME.fullmatch(name):', 'if not name:')
@pytest.mark.parametrize('name', ['A B', 'A\n', '\xc4', 'A' * 129, 'BASH_FUNC_ls%%'])
def test_malformed_name(house: House, name: str) -> None:
    assert probe.code(probe.seen(house, SHOW, f'{name}=x')) == 'PBL-VARIABLE'


@pytest.mark.canary('environ.py', 'if _CONTROL.search(value):', 'if False:')
@pytest.mark.parametrize('value', ['x\n', '\x1b[2J', '\x7f', '\x85', '\x9b', '\v'])
def test_control_characters(house: House, value: str) -> None:
    assert probe.code(probe.seen(house, SHOW, f'A={value}')) == 'PBL-VARIABLE'


@pytest.mark.canary('environ.py', 'if len(value.encode()) > MAX_VALUE:', 'if False:')
@pytest.mark.canary(
    'environ.py', 'if len(value.encode()) > MAX_VALUE:', 'if len(value) > MAX_VALUE:'
)
def test_too_long_in_bytes(house: House) -> None:
    assert probe.code(probe.seen(house, SHOW, 'A=' + '\xc4' * 16385)) == 'PBL-VARIABLE'
    done = probe.seen(house, SHOW, 'A=' + '\xc4' * 16384, environ='A')
    assert environment(done)['A'] == '\xc4' * 16384


@pytest.mark.canary('environ.py', 'if name in variables:', 'if False:')
def test_twice(house: House) -> None:
    assert probe.code(probe.seen(house, SHOW, 'A=1', 'A=2')) == 'PBL-VARIABLE'


def plain(value: str) -> bool:
    """Text without control characters but TAB, of at most 32 KiB, and no function."""
    controls = [c for c in value if unicodedata.category(c) == 'Cc' and c != '\t']
    return not controls and len(value.encode()) <= 32768 and value[:2] != '()'


AWKWARD = some.text(
    some.sampled_from('()=\\"\'$`;&|<>*?[]{}~! \t\n\r\x1b\x7f\x85\u2028')
)


@pytest.mark.canary('environ.py', 'or offered[name]', 'or offered[name].strip()')
def test_accepted_means_to_the_byte(house: House) -> None:
    """Any text is refused, or the job finds it as it was given."""
    number = itertools.count()

    @settings(
        max_examples=40,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(some.text(some.characters(exclude_characters='\0', codec='utf-8')) | AWKWARD)
    def property_(value: str) -> None:
        next(number)
        value = value.replace('\0', '')
        done = house.launcher('--hash', checksum, f'A={value}')
        if plain(value):
            assert environment(done) == {**GOLDEN, 'A': value}
        else:
            assert probe.code(done) == 'PBL-VARIABLE'

    with probe.installed(house, probe.job(SHOW, environ='A')) as (checksum,):
        property_()
    assert next(number) >= 40
