# SPDX-License-Identifier: ISC
"""Resource expressions: what holds, what does not, what is refused."""

import warnings
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from plainbox_launcher.trusted import expression
from plainbox_launcher.trusted.expression import ExpressionError

RECORDS = {
    'device': [
        {'category': 'DISK', 'name': 'sda', 'size': '100', 'driver': 'sd'},
        {'category': 'DISK', 'name': 'sdb', 'size': '5', 'hot': 'nan'},
        {'category': 'NETWORK', 'name': 'eth0', 'speed': '2.5', 'size': 'inf'},
    ],
    'system': [{'architecture': 'x86_64', 'name': '', '__class__': 'odd'}],
    'package': [{'name': 'eth0'}, {'name': 'bash'}],
    'nothing': [],
}


def holds(text: str) -> bool:
    return expression.holds(expression.parse(text), RECORDS)


@pytest.mark.parametrize(
    'text',
    [
        "device.category == 'DISK'",
        '  device.category == "DISK"  ',
        "device.category == 'DISK' and device.name == 'sdb'",
        "device.name == 'nope' or device.name == 'sda'",
        "not device.name == 'sda'",
        "not (device.name == 'sda' and device.size == '5')",
        "device.name != 'sda' and device.category == 'DISK'",
        "device.name in ['sda', 'nope']",
        "device.name in ('sda',)",
        "device.name not in ('sda', 'sdb')",
        "'th' in device.name",
        "'DISK' not in device.category",
        'int(device.size) > 99',
        'int(device.size) >= 100',
        'int(device.size) < 6 and int(device.size) <= 5',
        '1 < int(device.size) < 10',
        'int(device.size) > -1',
        'int(device.size) == - -100',
        '-int(device.size) == -5',
        'float(device.speed) == 2.5',
        'float(device.size) > 1e300',
        'int(float(device.speed)) == 2',
        'int(device.size) in [1, 5]',
        "device.category == 'DISK' and system.architecture in ('x86_64', 'i686')",
        'device.name == package.name',
        "system.name == ''",
        "system.name == '' and device.name",
        'device.driver',
        'True',
        '1 == 1',
        "device.name == 'eth0' # a comment",
        "system.__class__ == 'odd'",  # a field like others
        "device.size == 'inf' and not device.size == 5",
        'device.size != None',
    ],
)
def test_what_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    'text',
    [
        "device.category == 'disk'",
        # Two records would, together.
        "device.name == 'sda' and device.size == '5'",
        "device.category == 'NETWORK' and int(device.size) == 5",
        "device.name in ['nope']",
        'device.name == 5',
        'device.size == 100',
        'device.size > 5',
        'int(device.name) > 0',
        'device.nope',
        "device.nope == 'x'",
        "not device.nope == 'x'",  # a field that is missing satisfies nothing
        "device.nope != 'x'",
        "nope.name == 'x'",
        "nope.name != 'x'",
        "nothing.name != 'x'",
        "device.name == 'sda' and nothing.name != 'x'",
        'int(float(device.size)) > 200',  # one of them is infinite
        'int(float(device.hot)) == 0',  # not a number
        'device.name in 5',
        '5 in device.name',
        "-device.name == 'x'",
        'system.name',
        'device.__class__',
        'int.__class__',
        "device.__class__ != ''",
        'False',
        'None',
        '[]',
        'float(device.hot) == float(device.hot)',
        'int(None) == 0',
    ],
)
def test_what_does_not_hold(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    'text',
    [
        '',
        ' ',
        'garbage in, garbage out',
        'device.name ==',
        'device.name = 5',
        'device',
        'device.name.upper',
        'device.name.upper()',
        "device.name.startswith('s')",
        "device['name'] == 'sda'",
        'device.name[0]',
        'len(device.name) > 1',
        'str(device.size)',
        'eval("1")',
        'open("/etc/passwd")',
        "__import__('os').system('id')",
        '().__class__.__bases__',
        "''.__class__",
        'int',
        'int()',
        'int(device.size, 2)',
        'int(x=device.size)',
        'int(*device.size)',
        'int(**device.size)',
        'int(int)(5)',
        'int(device.size) + 1 == 6',
        "'x' * 1000000000 == device.name",
        '9 ** 9 ** 9 == 1',
        '1 << 99999',
        '+int(device.size) == 5',
        '~5',
        'device.name is None',
        'device.name is not None',
        'device.name if 1 else 2',
        'lambda: 1',
        '[x for x in device.name]',
        '{1: 2}',
        '{1}',
        '[*device.name]',
        '(yield)',
        'await device.name',
        '(x := 5)',
        "f'{device.name}'",
        "b'x' == device.name",
        '5j',
        '...',
        'import os',
        'device.name; device.name',
        'device.name == "sda"\ndevice.name == "sdb"',
        '\0',
        '"\ud800" == device.name',
        '(' * 300 + '1' + ')' * 300,
        '[' * 90 + ']' * 90 + ' == ' + '-' * 1500 + '1',
        '-' * 900 + '1',
        'not ' * 450 + '1',
        'device.name == ' + '"x"' * 1000,
        '9' * 5000,
        '0' * 1990 + '1',
    ],
)
def test_what_is_refused(text: str) -> None:
    """Python's syntax, but not Python: what is not listed here is refused."""
    with pytest.raises(ExpressionError):
        expression.parse(text)


@pytest.mark.parametrize('text', [r"device.name == '\d'", '1if device.name else 0'])
def test_python_does_not_warn(text: str) -> None:
    """On root's standard error there is one line, if any, and it is ours."""
    with warnings.catch_warnings(record=True) as told, suppress(ExpressionError):
        warnings.simplefilter('always')
        expression.parse(text)
    assert told == []


def test_a_refusal_names_the_culprit() -> None:
    with pytest.raises(ExpressionError, match=r'it may not use open\(device.name\)'):
        expression.parse("device.category == 'DISK' and open(device.name)")


def test_long_but_in_bounds() -> None:
    names = ', '.join(f"'name{number}'" for number in range(150))
    assert holds(f"device.name in [{names}, 'sda']")
    assert holds('1 == ' * 300 + '1')
    assert holds(' or '.join(["device.name == 'nope'"] * 70 + ['device.name']))


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ("device.a == 'x'", {'device'}),
        ('device.a == device.b', {'device'}),
        (
            'int(device.a) > 1 and system.b in [package.c]',
            {'device', 'system', 'package'},
        ),
        ('1 == 1', set()),
    ],
)
def test_resources(text: str, names: set[str]) -> None:
    assert expression.resources(expression.parse(text)) == names


TOKENS = [
    'device.name',
    'system.x',
    'and',
    'or',
    'not',
    'in',
    '==',
    '!=',
    '<',
    '(',
    ')',
    '[',
    ']',
    ',',
    '-',
    '1',
    '2.5',
    '"sda"',
    'int(',
    'float(',
    'None',
    'True',
    '.',
    '__class__',
    'lambda',
    'if',
    'else',
    'is',
    '#',
    '\\',
    '\n',
    ':',
    ':=',
    '*',
    '**',
    '{',
    '}',
    'f"',
]


@given(some.text() | some.lists(some.sampled_from(TOKENS)).map(' '.join))
@example('-' * 700 + 'device.name')
@example('int(' * 90 + 'device.size' + ')' * 90)
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """Nothing but ExpressionError, and what is parsed can be asked."""
    try:
        tree = expression.parse(text)
    except ExpressionError:
        return
    assert expression.holds(tree, RECORDS) in (True, False)


@given(some.dictionaries(some.sampled_from(['size', 'name']), some.text()))
@example({'size': 'inf'})
@example({'size': '9' * 5000})
@example({'size': '-0_0'})
def test_any_record_is_judged(record: dict[str, str]) -> None:
    text = "int(device.size) > 5 or int(float(device.size)) < 5 or device.name in 'x'"
    assert expression.holds(expression.parse(text), {'device': [record]}) in (
        True,
        False,
    )
