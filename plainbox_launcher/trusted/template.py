# SPDX-License-Identifier: ISC
"""Templates: a job for each record that a resource job prints. Pure; plainbox-job(5).

Records that pass `template-filter` are counted from 1, and for each of them every
field of the template has `{name}` replaced by what the record says of that name.

What a record says is text. It is put in once and not looked at again: braces in it
are braces, and no value ends its field or begins another. The hash is that of the
template as it is written and of the values that it uses.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from .errors import Fault
from .unit import Unit, instance_checksum

MAX_INSTANCES: Final = 10_000
MAX_TEXT: Final = 16 << 20  # characters of all that one template makes

# What str.format reads, but plain names only: nothing of a value can be asked for. The
# last is what is malformed.
_PIECE: Final = re.compile(r'\{\{|\}\}|\{((?!\d+\})[^{}.:!\[\]]+)\}|[{}]')
_INDEX: Final = '__index__'

Record = Mapping[str, str]


def resource(template: Unit) -> str:
    """The full id of the resource job that a template is bound to; '' if none."""
    name = template.fields.get('template-resource', '')
    return template.resource(name) if name else ''


def instances(
    template: Unit, records: Iterable[Record]
) -> tuple[list[Unit], list[Fault]]:
    """The jobs that a template makes of records, and why it does not make others."""
    try:
        fields = _fields(template)
        names = {n for key in fields for n in _names(key, fields[key], template)}
        accepts = _filter(template)
    except Fault as fault:
        return [], [fault]
    made: list[Unit] = []
    lacking: dict[str, int] = {}
    room = MAX_TEXT
    for number, record in enumerate(filter(accepts, records), 1):
        values = {**record, _INDEX: str(number)}
        if missing := sorted(names - values.keys()):
            lacking[missing[0]] = lacking.get(missing[0], 0) + 1
            continue
        unit = _instance(template, fields, {n: values[n] for n in names}, number)
        room -= sum(map(len, unit.fields.values()))
        if room < 0 or len(made) == MAX_INSTANCES:
            fact = 'makes too many jobs, or too large ones: some are missing'
            return made, [Fault(template.where, fact)]
        made.append(unit)
    return made, [
        Fault(template.where, f'makes no job of {number} records without {name}')
        for name, number in lacking.items()
    ]


def _fields(template: Unit) -> dict[str, str]:
    """What becomes the fields of a job. Raises Fault if that is not ours to do."""
    engine = template.fields.get('template-engine', 'default')
    kind = template.fields.get('template-unit', 'job')
    if engine != 'default':
        raise Fault(template.where, f'is a template for another engine: {engine}')
    if kind != 'job':
        raise Fault(template.where, f'is a template for another kind of unit: {kind}')
    return {
        key: value
        for key, value in template.fields.items()
        if key != 'unit' and not key.startswith('template-')
    }


def _names(key: str, value: str, template: Unit) -> set[str]:
    """The names that a field uses. Raises Fault if it is malformed."""
    pieces = list(_PIECE.finditer(value))
    if wrong := next((p for p in pieces if len(p[0]) == 1), None):
        near = value[wrong.start() : wrong.start() + 20].split('\n')[0]
        fact = f'field {key} has a brace that is no plain {{name}}: {near}'
        raise Fault(template.where, fact)
    return {piece[1] for piece in pieces if piece[1]}


def _filter(template: Unit) -> Callable[[Record], bool]:
    """Whether a record passes `template-filter`, each line of it. Raises Fault."""
    lines = template.fields.get('template-filter', '').split('\n')
    if not any(map(str.strip, lines)):
        return lambda _: True
    from . import expression  # costs root 3 ms, which few jobs need

    parsed = []
    for line in filter(str.strip, lines):
        try:
            parsed.append(expression.parse(line))
        except expression.ExpressionError as error:
            fact = f'template-filter is malformed, {error}: {line.strip()[:80]}'
            raise Fault(template.where, fact) from None
    names = set().union(*map(expression.resources, parsed))
    for name in sorted(names):
        if template.resource(name) != resource(template):
            fact = f'template-filter asks about {name}, which is not its resource'
            raise Fault(template.where, fact)
    return lambda record: all(
        expression.holds(line, {name: [record] for name in names}) for line in parsed
    )


def _instance(
    template: Unit, fields: Record, values: dict[str, str], number: int
) -> Unit:
    """The job that these values of a record make."""

    def put(piece: re.Match[str]) -> str:
        return values[piece[1]] if piece[1] else piece[0][0]

    instance = {key: _PIECE.sub(put, value) for key, value in fields.items()}
    digest = instance_checksum(template.fields, {**values, _INDEX: number})
    return template._replace(fields=instance, digest=digest)
