# SPDX-License-Identifier: ISC
"""A session as JUnit has it, which CI servers read: plainbox-report(5).

The schema is that of Jenkins: junit-10.xsd of https://github.com/jenkinsci/xunit-plugin.

 1. Only a job that has passed, and one that was skipped for a reason, MUST be no fault:
    what an interrupt left undone makes nothing green.
 2. Whatever a job printed, the document MUST be one that every parser takes.
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from gettext import gettext as _
from typing import Final
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from . import __version__, record
from .record import Output
from .report import ESCAPE, shown, word
from .result import FAILED, PASSED, SKIPPED
from .session import asked
from .store import Ledger, Row, Session

#: What a suite is called; Jenkins and GitLab compare runs by names.
NAME: Final = 'plainbox'

# https://www.w3.org/TR/xml/#charsets: what is no character, and the controls which are
# ones and discouraged.
_NO_TEXT: Final = re.compile(
    '[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]'
)
_NEW_LINE: Final = re.compile('\r\n?')  # as XML has them
_LAST: Final = 20  # lines of each output that the text of a fault repeats


def in_junit(ledger: Ledger, session: Session) -> bytes:
    """The document. Raises Refused."""
    most = asked(session).most
    rows = record.told(record.rows(ledger, session))
    suites = Element('testsuites', _figures(rows))
    suite = SubElement(suites, 'testsuite', _figures(rows), name=NAME)
    suite.set('skipped', str(sum(kind(row) == 'skipped' for row in rows)))
    suite.set('timestamp', _time(session.started_at or session.created_at))
    suite.set('hostname', shown(os.uname().nodename))
    suite.append(_properties(ledger, session))
    suite.extend(_case(ledger, row, most) for row in rows)
    ET.indent(suites)
    whole: bytes = ET.tostring(suites, 'utf-8', xml_declaration=True)
    return whole + b'\n'


def kind(row: Row) -> str:
    """What a job is to JUnit: `failure`, `error`, `skipped`, or '' if it passed.

    A failure is what the job itself, or a person, said. Of what has failed with the
    code of a refusal there was nothing to be asked.
    """
    if row.outcome == PASSED:
        return ''
    if row.outcome == SKIPPED and not row.code:  # as for want of time
        return 'skipped'
    return 'failure' if row.outcome == FAILED and not row.code else 'error'


def _figures(rows: Sequence[Row]) -> dict[str, str]:
    kinds = Counter(map(kind, rows))
    return {
        'tests': f'{len(rows)}',
        'failures': f'{kinds["failure"]}',
        'errors': f'{kinds["error"]}',
        'time': _seconds(sum(row.seconds or 0 for row in rows)),
    }


def _properties(ledger: Ledger, session: Session) -> Element:
    values = {
        'plainbox': __version__,
        'session': session.id,
        'state': record.state(ledger, session),
        'command': shown(shlex.join(record.command(session))),
    }
    properties = Element('properties')
    for name, value in values.items():
        SubElement(properties, 'property', name=name, value=value)
    return properties


def _case(ledger: Ledger, row: Row, most: int) -> Element:
    namespace, _colons, short_id = row.job.rpartition('::')
    case = Element('testcase', classname=shown(namespace), name=shown(short_id))
    case.set('time', _seconds(row.seconds or 0))
    out, err = (record.output(ledger, row, name, most) for name in ('stdout', 'stderr'))
    if kind(row):
        case.append(_why(row, [_text(out.text), _text(err.text)]))
    comment = _('comment: {text}').format(text=row.comment) if row.comment else ''
    for tag, text in (
        ('system-out', [_text(comment), *_printed(row, out)]),
        ('system-err', _printed(row, err)),
    ):
        if any(text):
            SubElement(case, tag).text = '\n'.join(filter(None, text))
    return case


def _why(row: Row, printed: Sequence[str]) -> Element:
    """Why a job is not among those that passed; what else is to be seen of a fault."""
    what = row.outcome or row.status
    element = Element(kind(row), message=shown(row.reason or word(what)))
    if element.tag != 'skipped':
        element.set('type', row.code or what)
        lasts = ['\n'.join(text.splitlines()[-_LAST:]) for text in printed]
        lines = [_text(row.reason or word(what)), _text(row.comment or ''), *lasts]
        element.text = '\n'.join(filter(None, lines))
    return element


def _printed(row: Row, output: Output) -> list[str]:
    """What a job printed. An attachment may be anything, and is a file."""
    if row.plugin == 'attachment' and output.path:
        return [_text(_('kept in {path}').format(path=output.path))]
    whole = [_text(output.text)]
    if output.size <= record.MOST:
        return whole
    text = _('[plainbox: the last {most} bytes of {size}; all of it is in {path}]')
    said = text.format(most=record.MOST, size=output.size, path=output.path)
    return [_text(said), *whole]


def _text(text: str) -> str:
    """Lines as XML may have them, without what would drive a terminal."""
    lines = (ESCAPE.sub('', line) for line in _NEW_LINE.sub('\n', text).split('\n'))
    return _NO_TEXT.sub('\ufffd', '\n'.join(lines))


def _seconds(seconds: float) -> str:
    return f'{seconds:.3f}'


def _time(text: str) -> str:
    """A time of the ledger, which is in UTC, as the schemas want it: without a zone."""
    return datetime.fromisoformat(text).strftime('%Y-%m-%dT%H:%M:%S')
