# SPDX-License-Identifier: ISC
"""Reports that CI servers read: plainbox-report(5), JUnit."""

import io
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from house import HANGS, House
from launching import cleared
from reporting import job, junit_schemas, module, planned, ran, validate_junit
from running import NAMESPACE, plainbox

from plainbox_launcher.junit import in_junit
from plainbox_launcher.result import Result
from plainbox_launcher.store import Ledger, open_ledger

UNITS = r"""
id: passes
command: echo fine; echo a warning >&2

id: root/passes
user: root
command: true

id: fails
command: echo begun; echo no luck >&2; exit 3

id: killed
command: kill -9 $$

id: limited
timeout: 1
command: echo begun; sleep infinity

id: nobody
user: nobody-such
command: true

id: unmet
requires: thing.kind == 'B' and '<' != '"'
command: true

id: must-be
flags: fail-on-resource
requires: thing.kind == 'B'
command: true

id: malformed
requires: open('/etc/passwd')
command: true

id: after
depends: fails
command: true

id: manual
plugin: manual
_description: Look at it.

id: thing
plugin: resource
command: echo 'kind: A'

id: broken
plugin: resource
command: exit 5

id: of-broken
requires: broken.kind == 'B'
command: true

id: picture
plugin: attachment
command: head -c 100 /dev/zero

id: waits
command: echo started; sleep infinity

id: odd "<&>' ]]> ü 😀
command: true

id: hostile
command:
 printf '\033[31mred\033[0m \033]0;title\a]]><!-- &amp; \0\001\v\f\177\r\n'
 printf '\302\233\357\277\276\355\240\200\377 \360\237\230\200\n'

id: megabyte
command: head -c 1048576 /dev/zero | tr '\0' x
"""
REPORT = '/tmp/report.xml'


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest, _tidy: None) -> Iterator[None]:
    if 'house' not in request.fixturenames:
        yield
        return
    house: House = request.getfixturevalue('house')
    with house.provider('junit', UNITS):
        yield
    house.check('rm', '-f', REPORT)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(str(tmp_path)) as ledger:
        yield ledger


def read(house: House) -> bytes:
    return house.path(REPORT).read_bytes()


def parsed(data: bytes) -> Element:
    return ET.fromstring(data)  # noqa: S314  # it is of our own making


def cases(data: bytes) -> dict[str, Element]:
    """The test cases of a document, by their names."""
    return {case.get('name', ''): case for case in parsed(data).iter('testcase')}


def reported(house: House, *jobs: str) -> dict[str, Element]:
    house.run(['plainbox', 'run', f'--report=junit={REPORT}', *jobs])
    return cases(read(house))


def verdict(case: Element) -> tuple[str, str | None, str]:
    """What is in a case: failure, error or skipped, with its type and message."""
    found = [each for each in case if each.tag in ('failure', 'error', 'skipped')]
    if not found:
        return ('', None, '')
    (element,) = found
    return element.tag, element.get('type'), element.get('message', '')


# What is what


VERDICTS = {
    'passes': ('', None, ''),
    'root/passes': ('', None, ''),
    'picture': ('', None, ''),
    'fails': ('failure', 'failed', 'exit status 3'),
    'killed': ('failure', 'failed', 'ended by signal 9'),
    'must-be': ('failure', 'failed', "requires thing.kind == 'B'"),
    'limited': ('error', 'timeout', 'it took more than its time'),
    'nobody': ('error', 'PBL-ACCOUNT', 'PBL-ACCOUNT: there is no account nobody-such'),
    'malformed': ('error', 'PBL-EXPRESSION', 'PBL-EXPRESSION: '),
    'unmet': ('skipped', None, "requires thing.kind == 'B' and '<' != '\"'"),
    'after': ('skipped', None, f'needs {NAMESPACE}::fails to pass'),
    'manual': ('skipped', None, ''),
}


@pytest.fixture(scope='module')
def full(house: House) -> bytes:
    """A report of jobs of all outcomes that a run can have to its end."""
    with house.provider('junit', UNITS):
        house.run(['plainbox', 'run', f'--report=junit={REPORT}', *VERDICTS])
    data = read(house)
    house.check('rm', REPORT)
    house.forget()
    return data


@pytest.mark.parametrize('name', VERDICTS)
def test_verdicts(full: bytes, name: str) -> None:
    """Failure: the job itself said no. Error: it could not tell. Skipped: why."""
    tag, type_, message = verdict(cases(full)[name])
    assert (tag, type_) == VERDICTS[name][:2]
    assert message.startswith(VERDICTS[name][2])


def test_counts(full: bytes) -> None:
    """Of all cases in a suite, which are those that were asked for."""
    suites = parsed(full)
    (suite,) = suites.findall('testsuite')
    kinds = Counter(verdict(case)[0] for case in suite.iter('testcase'))
    assert sorted(cases(full)) == sorted(VERDICTS)
    assert {name: suite.get(name) for name in ('tests', 'failures', 'errors')} == {
        'tests': str(len(VERDICTS)),
        'failures': str(kinds['failure']),
        'errors': str(kinds['error']),
    }
    assert suite.get('skipped') == str(kinds['skipped'])
    for name in 'tests', 'failures', 'errors', 'time':
        assert suites.get(name) == suite.get(name)


def test_names_and_times(full: bytes) -> None:
    """Namespace and id, as Jenkins and GitLab show them; seconds; a time in UTC."""
    suites = parsed(full)
    for case in suites.iter('testcase'):
        assert case.get('classname') == NAMESPACE
    assert float(cases(full)['limited'].get('time', '')) >= 1
    (suite,) = suites
    total = sum(float(case.get('time', '')) for case in suite.iter('testcase'))
    assert abs(float(suite.get('time', '')) - total) < 0.01
    stamp = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d'
    assert re.fullmatch(stamp, suite.get('timestamp', ''))
    assert suite.get('hostname') == os.uname().nodename
    properties = {p.get('name'): p.get('value') for p in suite.iter('property')}
    assert properties['state'] == 'finished'
    assert str(properties['command']).startswith('plainbox run --report=junit=')


def test_output(full: bytes) -> None:
    """The end of each output; with a fault, its last lines as well."""
    passed, failed = cases(full)['passes'], cases(full)['fails']
    assert passed.findtext('system-out') == 'fine\n'
    assert passed.findtext('system-err') == 'a warning\n'
    assert failed.findtext('failure') == 'exit status 3\nbegun\nno luck'
    assert cases(full)['root/passes'].find('system-out') is None


def test_attachment(full: bytes) -> None:
    """Of an attachment, which may be anything, there is the path."""
    said = cases(full)['picture'].findtext('system-out', '')
    assert re.fullmatch(r'kept in /home/tester/\S+/attachments/\d+-picture\.out', said)


def test_those_that_others_ask_about(house: House) -> None:
    """Implied ones are in it only as far as they went wrong."""
    found = reported(house, 'unmet', 'of-broken')
    assert [*found] == ['broken', 'unmet', 'of-broken']
    assert verdict(found['broken'])[0] == 'failure'


# What did not come to its end


def heed() -> None:
    """Heed Ctrl-C: what a shell started in the background does not, nor its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_makes_nothing_green(house: House, number: int) -> None:
    """What is left of a session that was cut off is an error."""
    command = ['plainbox', 'run', f'--report=junit={REPORT}']
    house.path(REPORT).write_bytes(b'an older report')
    house.check('chown', 'tester', REPORT)
    with (
        house.popen(
            [*command, 'passes', 'waits', 'fails'], stdout=subprocess.PIPE, before=heed
        ) as process,
        cleared(house),
    ):
        assert process.stdout
        while process.stdout.readline() != b'started\n':
            assert process.poll() is None
        os.kill(process.pid, number)
        process.communicate(timeout=HANGS)
    if number == signal.SIGKILL:
        assert read(house) == b''
        said = plainbox(house, 'report', '--format=junit', '-o', REPORT)
        assert (said.status, said.text) == (0, '')
    data = read(house)
    found = cases(data)
    assert {name: verdict(case)[:2] for name, case in found.items()} == {
        'passes': ('', None),
        'waits': ('error', 'cancelled' if number == signal.SIGINT else 'lost'),
        'fails': ('error', 'pending'),
    }
    assert verdict(found['fails'])[2] == 'not run yet'
    assert parsed(data).get('errors') == '2'
    assert b'name="state" value="interrupted"' in data
    validate_junit(data)


# Content


def test_odd_ids(house: House) -> None:
    """Whatever the id of a job, a parser finds it as it is."""
    name = 'odd "<&>\' ]]> ü 😀'
    assert [*reported(house, 'odd*')] == [name]
    validate_junit(read(house))


def test_hostile_output(house: House) -> None:
    """No sequence that controls a terminal; U+FFFD for what XML does not have."""
    case = reported(house, 'hostile')['hostile']
    assert case.findtext('system-out') == (
        'red ]]><!-- &amp; \ufffd\ufffd\ufffd\ufffd\ufffd\n\n'.replace('\n\n', '\n')
        + '\ufffd\ufffd'
        + '\ufffd' * 4
        + ' \U0001f600\n'
    )
    validate_junit(read(house))


def test_a_megabyte_in_a_line(house: House) -> None:
    """The last 64 KiB, and where all of it is."""
    case = reported(house, 'megabyte')['megabyte']
    first, line = case.findtext('system-out', '').split('\n')
    said = r'\[plainbox: the last 65536 bytes of 1048576; all of it is in (/\S+)\]'
    found = re.fullmatch(said, first)
    assert found
    assert house.path(found[1]).stat().st_size == 1048576
    assert line == 'x' * 65536


def test_each_character_there_is(ledger: Ledger) -> None:
    """All of Unicode, printed and said: strict parsers take it; what is seen stays."""
    pieces = [
        ''.join(map(chr, range(start, start + 0x3F00)))
        for start in range(0, sys.maxunicode, 0x3F00)
        if start + 0x3F00 <= sys.maxunicode
    ]
    pieces.append(''.join(map(chr, range(len(pieces) * 0x3F00, sys.maxunicode + 1))))
    jobs = [job(f'id: {number}\ncommand: true\n') for number in range(len(pieces))]
    session = planned(ledger, *jobs)
    for each, row, text in zip(jobs, ledger.rows(session), pieces, strict=True):
        data = text.encode('utf-8', 'surrogatepass')
        comment = data.decode('utf-8', 'replace')
        ran(ledger, row, Result(each, 'failed', comment, comment=comment), data, data)
    document = in_junit(ledger, session)
    etree = module('lxml.etree')
    tree = etree.parse(io.BytesIO(document))
    for case, text in zip(tree.iter('testcase'), pieces, strict=True):
        seen = [character for character in text if character.isprintable()]
        for tag in 'failure', 'system-out', 'system-err':
            there = set(case.findtext(tag))
            assert there.issuperset(seen), tag
            assert all(c.isprintable() or c not in '\x1b\x9b' for c in there)
        assert set(case.find('failure').get('message')).issuperset(seen)


def test_comment(ledger: Ledger) -> None:
    """What a person said stands above what the job printed, and with the fault."""
    names = 'good', 'bad'
    jobs = [job(f'id: {name}\nplugin: user-verify\n') for name in names]
    session = planned(ledger, *jobs)
    for each, row in zip(jobs, ledger.rows(session), strict=True):
        outcome = 'passed' if each.short_id == 'good' else 'failed'
        ran(ledger, row, Result(each, outcome, comment='it\x1b[5m hums'), b'here\n')
    found = cases(in_junit(ledger, session))
    assert found['good'].findtext('system-out') == 'comment: it hums\nhere\n'
    assert found['bad'].findtext('failure') == 'failed\nit hums\nhere'
    assert verdict(found['bad']) == ('failure', 'failed', 'failed')


def test_sequences_without_end(ledger: Ledger) -> None:
    """To read starts of sequences takes a time in proportion to them."""
    only = job('id: only\ncommand: true\n')
    session = planned(ledger, only)
    (row,) = ledger.rows(session)
    ran(ledger, row, Result(only, 'passed'), b'\x1b]' * 30000 + b'\nx')
    assert cases(in_junit(ledger, session))['only'].findtext('system-out') == '\nx'


# Who reads it


def test_schemas(full: bytes) -> None:
    """According to junit-10.xsd of Jenkins; which takes not just anything."""
    validate_junit(full)
    assert len(junit_schemas()) == 2
    etree = module('lxml.etree')
    with pytest.raises(etree.DocumentInvalid, match='tests'):
        validate_junit(full.replace(b' tests="', b' test="'))


def test_junitparser(full: bytes) -> None:
    """It counts as we do."""
    junitparser = module('junitparser')
    (suite,) = junitparser.JUnitXml.fromstring(full)
    given = (suite.tests, suite.failures, suite.errors, suite.skipped)
    suite.update_statistics()
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == given
    results = {case.name: [type(r).__name__ for r in case.result] for case in suite}
    kinds = {'failure': 'Failure', 'error': 'Error', 'skipped': 'Skipped'}
    assert results == {
        name: [kinds[tag]] if tag else [] for name, (tag, *_) in VERDICTS.items()
    }


def test_junit2html(full: bytes, tmp_path: Path) -> None:
    """A page for people is made of it."""
    module('junit2htmlreport')
    source, page = tmp_path / 'report.xml', tmp_path / 'report.html'
    source.write_bytes(full)
    command = [sys.executable, '-m', 'junit2htmlreport', str(source)]
    done = subprocess.run([*command, str(page)], capture_output=True, timeout=HANGS)
    assert (done.returncode, done.stderr) == (0, b'')
    text = page.read_text()
    assert all(name in text for name in VERDICTS)
