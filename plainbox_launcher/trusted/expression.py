# SPDX-License-Identifier: ISC
"""Resource expressions, the lines of `requires` and `template-filter`: plainbox-job(5).

A line such as `device.category == 'DISK' and int(device.size) > 10` holds when
one single record of each resource that it names satisfies the whole of it.
Python's syntax, but not Python: what is not listed here is refused.
"""

import ast
import itertools
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

MAX_LENGTH: Final = 2000
MAX_COMBINATIONS: Final = 1_000_000
MAX_DEPTH: Final = 50

Records = Sequence[Mapping[str, str]]

_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, whole: item in whole,
    ast.NotIn: lambda item, whole: item not in whole,
}
_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {'int': int, 'float': float}


class ExpressionError(ValueError):
    """A text that is not a resource expression; the argument says why."""


def parse(text: str) -> ast.expr:
    """Read an expression. Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError('it is too long')
    try:
        with warnings.catch_warnings(action='ignore'):  # they would go to root's stderr
            tree = ast.parse(text.strip(), mode='eval').body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError('it cannot be parsed') from None
    _check(tree)
    return tree


def resources(tree: ast.expr) -> set[str]:
    """The names of the resources that an expression asks about."""
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {a.value.id for a in attributes if isinstance(a.value, ast.Name)}


def holds(tree: ast.expr, records: Mapping[str, Records]) -> bool:
    """Whether one record of each resource satisfies the whole expression.

    Raises ExpressionError if there are too many combinations of records.
    """
    names = sorted(resources(tree))
    if math.prod(len(records.get(name, ())) for name in names) > MAX_COMBINATIONS:
        raise ExpressionError('it asks about too many records at once')
    chosen = itertools.product(*(records.get(name, ()) for name in names))
    return any(_satisfied(tree, dict(zip(names, one, strict=True))) for one in chosen)


def _satisfied(tree: ast.expr, record: Mapping[str, Mapping[str, str]]) -> bool:
    try:
        return bool(_value(tree, record))
    except (KeyError, TypeError, ValueError, OverflowError):
        return False  # a field that the record lacks, or of another kind


def _check(node: ast.expr, room: int = MAX_DEPTH) -> None:
    """Refuse what _value does not know, and what would be too deep for it."""
    if room == 0:
        raise ExpressionError('it is nested too deeply')
    for part in _parts(node):
        _check(part, room - 1)


def _parts(node: ast.expr) -> Sequence[ast.expr]:
    match node:
        case ast.Constant(value=str() | int() | float() | None):
            return ()
        case ast.Attribute(value=ast.Name()):
            return ()
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            return parts
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=part):
            return [part]
        case ast.Compare(left=left, ops=ops, comparators=parts) if all(
            type(op) in _COMPARE for op in ops
        ):
            return [left, *parts]
        case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]) if (
            name in _FUNCTIONS
        ):
            return [part]
        case _:
            raise ExpressionError(f'it may not use {_shown(node)}')


def _shown(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:60]
    except (RecursionError, ValueError):  # too deep, or too large a number
        return type(node).__name__


def _value(  # noqa: C901  # a case for each kind of node
    node: ast.expr, record: Mapping[str, Mapping[str, str]]
) -> Any:  # noqa: ANN401  # strings, numbers, truth, lists of them
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Attribute(value=ast.Name(id=name), attr=field):
            return record[name][field]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part, record) for part in parts]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, record) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, record) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _value(part, record)
        case ast.UnaryOp(operand=part):
            return -_value(part, record)
        case ast.Call(func=ast.Name(id=name), args=[part]):
            return _FUNCTIONS[name](_value(part, record))
        case ast.Compare(left=left, ops=ops, comparators=parts):
            values = [_value(part, record) for part in (left, *parts)]
            pairs = zip(ops, itertools.pairwise(values), strict=True)
            return all(_COMPARE[type(op)](*pair) for op, pair in pairs)
        case _:
            raise TypeError(ast.dump(node))  # _check let nothing else through
