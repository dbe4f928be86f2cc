# SPDX-License-Identifier: ISC
"""Jobs that a person has to do, on a real terminal; plainbox(1), JOBS FOR A PERSON."""

import os
import re
from collections.abc import Iterator

import pytest
from house import House
from launching import events
from running import plainbox
from terminal import Terminal, on_a_terminal

from plainbox_launcher import interactive, prose
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

GATE = '/tmp/gate'
UNITS = r"""
id: buttons
plugin: manual
_summary: The buttons of the touchpad
_purpose: Whether both of the buttons below the touchpad do what they are there for.
_steps:
 1. Click the left button of the touchpad, then the right one; wait a little
    between them
 2. Type:
      $ xev
      $ exit
_verification:
 Did you see
 two events?

id: nothing
plugin: manual

id: old
plugin: manual
_description:
 PURPOSE:
     This is about the lid.
 STEPS:
     1. Close the lid
     2. Open the lid
 VERIFICATION:
     Did the machine sleep?

id: interact
plugin: user-interact
_purpose: Of interaction.
_steps: Press the key.
_verification: Not to be seen
command: echo interact ran; read line; exit ${#line}

id: interact-fails
plugin: user-interact
command: exit 3

id: interact-slow
plugin: user-interact-verify
timeout: 0.1
command: sleep infinity

id: verify
plugin: user-verify
_purpose: Of verification.
_verification: Was it there?
command: echo verify ran; exit 7

id: both
plugin: user-interact-verify
_steps: Look at the screen.
_verification: Was it there?
command: echo ran >> $PLAINBOX_SESSION_SHARE/ran; cat $PLAINBOX_SESSION_SHARE/ran

id: of-root
plugin: user-interact-verify
user: root
_steps: Look at the screen.
_verification: Was it root?
command: echo ran as $(id -un)

id: manual-of-root
plugin: manual
user: root
command: echo never

id: waits
plugin: user-verify
command: echo working; cat GATE

id: raw
plugin: user-verify
command: stty -F /dev/tty raw -echo

id: explicit
plugin: manual
flags: explicit-fail

id: sly
plugin: manual
_summary: ESC[31mred
_purpose: ESC]0;titleBEL
_steps:
 1. ESC[2J
_verification: Did it CRoverwrite?

id: afterwards
command: echo afterwards ran

id: needs-it
depends: buttons
command: echo needs-it ran
""".replace('GATE', GATE)
UNITS = UNITS.replace('ESC', '\x1b').replace('BEL', '\x07').replace('CR', '\x08')


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('people', UNITS):
        yield


OUTCOME, READY, COMMENT = 'outcome? ', 'ready? ', 'comment '


def last(terminal: Terminal) -> str:
    return terminal.seen.splitlines()[-1]


# What is shown


def test_what_is_shown(house: House) -> None:
    """Purpose, steps and verification are shown, and the outcome is asked for."""
    with on_a_terminal(house, 'run', 'buttons', columns=60) as terminal:
        terminal.answer(OUTCOME, 'p')
    assert terminal.seen.startswith("""\
[1/1] buttons
    The buttons of the touchpad
    Purpose
      Whether both of the buttons below the touchpad do what
      they are there for.
    Steps
      1. Click the left button of the touchpad, then the
         right one; wait a little between them
      2. Type:
           $ xev
           $ exit
    Verification
      Did you see two events?
    p pass   f fail   s skip   c comment   q quit
    outcome? p
    passed in """)
    assert (terminal.status, last(terminal)) == (0, '1 job: 1 passed')


def test_lines_fit_the_terminal(house: House) -> None:
    """At most a hundred columns, which are good to read."""
    with on_a_terminal(house, 'run', 'buttons', columns=200) as terminal:
        terminal.answer(OUTCOME, 'p')
    (line,) = (line for line in terminal.seen.splitlines() if 'Click the left' in line)
    assert 90 < len(line) <= 100


def test_a_description_with_sections(house: House) -> None:
    """As older jobs have it, instead of the fields."""
    with on_a_terminal(house, 'run', 'old') as terminal:
        terminal.answer(OUTCOME, 'p')
    assert terminal.seen.startswith("""\
[1/1] old
    Purpose
      This is about the lid.
    Steps
      1. Close the lid
      2. Open the lid
    Verification
      Did the machine sleep?
""")


def of(**fields: str) -> interactive.Texts:
    nobodys = Provider(*([''] * len(Provider._fields)))
    return interactive.texts(Unit(fields, nobodys, ''))


@pytest.mark.parametrize(
    ('description', 'expected'),
    [
        ('Look at it.', ('Look at it.', '', '', '')),
        ('STEPS:\n Do\n  it\n', ('', '', 'Do\n it', '')),
        ('One\nSTEPS: Two\n Three', ('One', '', 'Two\nThree', '')),
        ('  PURPOSE :\n   a\n  VERIFICATION:\n   b', ('', 'a', '', 'b')),
        ('Steps:\n in small letters', ('Steps:\n in small letters', '', '', '')),
    ],
)
def test_sections(description: str, expected: tuple[str, ...]) -> None:
    assert of(_description=description) == expected


def test_fields_come_first() -> None:
    assert of(_steps='a', description='STEPS: b\nPURPOSE: c') == ('', 'c', 'a', '')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('one\ntwo\n\nthree', 'one two\n\nthree'),
        ('- one\n  two\n- three', '- one two\n- three'),
        ('1. one\ntwo', '1. one\ntwo'),
        ('a) one\n   two\n\n   three', 'a) one two\n\n   three'),
        ('one\n  $ two\n  $ three\nfour', 'one\n  $ two\n  $ three\nfour'),
        ('one\ttwo\u202e', r'one     two\u202e'),
        ('--an-option-that-is-rather-long', '--an-option-that-is-rather-long'),
    ],
)
def test_paragraphs_and_steps(text: str, expected: str) -> None:
    assert prose.filled(text, 24) == expected


def test_no_job_paints_the_terminal(house: House) -> None:
    """What a text would do to a terminal is shown instead."""
    with on_a_terminal(house, 'run', 'sly') as terminal:
        terminal.answer(OUTCOME, 'f')
    assert not re.search('[\x00-\x09\x0b-\x1f]', terminal.seen)
    for text in r'\x1b[31mred', r'\x1b]0;title\x07', r'1. \x1b[2J', r'it \x08over':
        assert text in terminal.seen


# What is answered


@pytest.mark.parametrize('answer', ['p', ' P ', 'pass'])
def test_pass(house: House, answer: str) -> None:
    with on_a_terminal(house, 'run', 'nothing', 'afterwards') as terminal:
        terminal.answer(OUTCOME, answer)
    assert 'afterwards ran' in terminal.seen
    assert (terminal.status, last(terminal)) == (0, '2 jobs: 2 passed')


def test_fail_with_a_comment(house: House) -> None:
    """A comment can be added, and more than one."""
    with on_a_terminal(house, 'run', 'buttons', 'needs-it') as terminal:
        terminal.answer(OUTCOME, 'c')
        terminal.answer(COMMENT, 'links klemmt ä \x1b[A')
        terminal.answer(OUTCOME, 'c')
        terminal.answer(COMMENT, 'rechts auch')
        terminal.answer(OUTCOME, 'f')
    detail = r': links klemmt ä \x1b[A; rechts auch'
    assert f's{detail}\n[2/2] needs-it' in terminal.seen
    assert f'failed   buttons{detail}\n' in terminal.seen
    assert (terminal.status, last(terminal)) == (1, '2 jobs: 1 failed, 1 skipped')


def test_bytes_that_are_no_text(house: House) -> None:
    with on_a_terminal(house, 'run', 'nothing') as terminal:
        terminal.answer(OUTCOME, 'c')
        terminal.expect(COMMENT)
        os.write(terminal.fileno(), b'\xff\xfe\r')
        terminal.answer(OUTCOME, 's')
    assert 'skipped: \ufffd\ufffd\n' in terminal.seen
    assert terminal.status == 0


def test_fail_without_a_comment(house: House) -> None:
    with on_a_terminal(house, 'run', 'nothing') as terminal:
        terminal.answer(OUTCOME, 'f')
    assert 'failed  nothing: a person says so\n' in terminal.seen


def test_a_failure_that_wants_a_comment(house: House) -> None:
    """explicit-fail: a failure wants a comment."""
    with on_a_terminal(house, 'run', 'explicit') as terminal:
        terminal.answer(OUTCOME, 'f')
        terminal.answer('with a failure) ', '')
        terminal.answer('with a failure) ', 'it is broken')
    assert 'failed  explicit: it is broken\n' in terminal.seen


def test_skip(house: House) -> None:
    """What depends on it is skipped, too."""
    with on_a_terminal(house, 'run', 'buttons', 'needs-it') as terminal:
        terminal.answer(OUTCOME, 's')
    assert 'needs-it ran' not in terminal.seen
    assert (terminal.status, last(terminal)) == (0, '2 jobs: 2 skipped')


@pytest.mark.parametrize('answer', ['', ' ', 'y', 'passed', 'r', 'ö'])
def test_anything_else_repeats_the_question(house: House, answer: str) -> None:
    """Enter alone is no answer, and a manual job has nothing to be run again."""
    with on_a_terminal(house, 'run', 'nothing') as terminal:
        terminal.answer(OUTCOME, answer)
        assert terminal.expect('p pass').strip() == answer.strip()
        terminal.answer(OUTCOME, 'f')
    assert terminal.status == 1


@pytest.mark.parametrize('key', ['q\r', 'quit\r', '\x03', '\x04', 'p\x04'])
@pytest.mark.parametrize(('job', 'question'), [('nothing', OUTCOME), ('both', READY)])
def test_the_end_of_the_run(house: House, job: str, question: str, key: str) -> None:
    """q, Ctrl-C and the end of input interrupt the run: 130, and no pass.

    After q the job is still to be done, when the run is resumed.
    """
    with on_a_terminal(house, 'run', job, 'afterwards') as terminal:
        terminal.expect(question)
        terminal.type(key)
    assert 'interrupted' in terminal.seen
    assert 'afterwards ran' not in terminal.seen
    quits = key.startswith('q')
    left = '0 jobs: nothing ran' if quits else '1 job: 1 cancelled'
    assert terminal.status == 130
    assert left in terminal.seen


# With a command


def test_user_interact(house: House) -> None:
    """Enter starts the command, its exit status decides. It has no input."""
    with on_a_terminal(house, 'run', 'interact') as terminal:
        before = terminal.answer(READY, '')
        assert before.endswith(
            '    Purpose\n      Of interaction.\n    Steps\n      Press the key.\n'
            '    Enter start   s skip   c comment   q quit\n    '
        )
    assert 'interact ran\n    passed in ' in terminal.seen
    assert 'Not to be seen' not in terminal.seen
    assert terminal.status == 0


def test_user_interact_that_fails(house: House) -> None:
    with on_a_terminal(house, 'run', 'interact-fails') as terminal:
        terminal.answer(READY, '')
    assert 'failed  interact-fails: exit status 3\n' in terminal.seen


@pytest.mark.parametrize('answer', ['y', 'p'])
def test_nothing_else_starts_it(house: House, answer: str) -> None:
    with on_a_terminal(house, 'run', 'interact') as terminal:
        terminal.answer(READY, answer)
        assert terminal.expect('Enter start').strip() == answer
        terminal.answer(READY, 's')
    assert 'interact ran' not in terminal.seen
    assert (terminal.status, last(terminal)) == (0, '1 job: 1 skipped')


def test_user_verify(house: House) -> None:
    """The command runs at once; what counts is what is said of it."""
    with on_a_terminal(house, 'run', 'verify') as terminal:
        terminal.answer(OUTCOME, 'p')
    assert (
        """
    Purpose
      Of verification.
verify ran
    The command failed: exit status 7.
    Verification
      Was it there?
    p pass   f fail   s skip   c comment   r run again   q quit
    outcome? p
    passed in """
        in terminal.seen
    )
    assert terminal.status == 0


def test_again(house: House) -> None:
    """r runs the test again, and a comment is kept."""
    with on_a_terminal(house, 'run', 'both') as terminal:
        terminal.answer(READY, '')
        terminal.answer(OUTCOME, 'c')
        terminal.answer(COMMENT, 'it flickers')
        terminal.answer(OUTCOME, 'r')
        assert 'Look at the screen.' in terminal.answer(READY, '')
        assert '\nran\nran\n' in terminal.answer(OUTCOME, 'f')
    assert 'failed  both: it flickers\n' in terminal.seen
    assert terminal.status == 1


def test_a_command_that_takes_too_long(house: House) -> None:
    """It has timed out, and nobody is asked."""
    with on_a_terminal(house, 'run', 'interact-slow') as terminal:
        terminal.answer(READY, '')
    assert last(terminal) == '1 job: 1 timed out'
    assert terminal.status == 1


def test_roots(house: House) -> None:
    """Its command runs as root, after Enter, and not without it."""
    with on_a_terminal(house, 'run', 'of-root') as terminal:
        terminal.expect(READY)
        assert events(house) == ['open']
        terminal.type('\r')
        assert '\nran as root\n' in terminal.answer(OUTCOME, 'r')
        terminal.answer(READY, '')
        terminal.answer(OUTCOME, 'p')
    assert (terminal.status, last(terminal)) == (0, '1 job: 1 passed')
    assert events(house) == ['open', 'start', 'end', 'start', 'end', 'close']


def test_a_manual_job_of_roots(house: House) -> None:
    """A command of it is not run, so that root is not needed."""
    with on_a_terminal(house, 'run', 'manual-of-root') as terminal:
        terminal.answer(OUTCOME, 'p')
    assert 'never' not in terminal.seen
    assert events(house) == []


def test_typed_ahead(house: House) -> None:
    """What was typed before the question was there does not answer it."""
    gate = house.path(GATE)
    os.mkfifo(gate)
    gate.chmod(0o644)
    try:
        with on_a_terminal(house, 'run', 'waits') as terminal:
            terminal.expect('working')
            terminal.type('\rp\rq\r')
            terminal.expect('p\r\nq\r\n')
            gate.write_bytes(b'')
            terminal.answer(OUTCOME, 'f')
    finally:
        gate.unlink()
    assert (terminal.status, last(terminal)) == (1, '1 job: 1 failed')


def test_a_job_that_changes_the_terminal(house: House) -> None:
    """Answers are lines, and seen, whatever a job made of it."""
    with on_a_terminal(house, 'run', 'raw') as terminal:
        terminal.expect(OUTCOME)
        terminal.type('x')
        terminal.expect('x')
        terminal.type('\x7fs\r')
    assert (terminal.status, last(terminal)) == (0, '1 job: 1 skipped')


def test_ctrl_c_while_the_command_runs(house: House) -> None:
    """As with any other job, and nothing is asked then."""
    gate = house.path(GATE)
    os.mkfifo(gate)
    gate.chmod(0o644)
    try:
        with on_a_terminal(house, 'run', 'waits', 'afterwards') as terminal:
            terminal.expect('working')
            terminal.type('\x03')
    finally:
        gate.unlink()
    assert 'outcome?' not in terminal.seen
    assert (terminal.status, last(terminal)) == (130, '1 job: 1 cancelled')


# Nobody there

EVERY = ['buttons', 'interact', 'verify', 'both', 'of-root']


def test_non_interactive(house: House) -> None:
    """--non-interactive skips them, on a terminal, too; and root is asked nothing."""
    arguments = ['run', '--non-interactive', *EVERY, 'needs-it', 'afterwards']
    with on_a_terminal(house, *arguments) as terminal:
        pass
    said = terminal.seen
    reason = 'a person has to do it, but --non-interactive was given'
    assert said.count(f'\n    skipped: {reason}\n') == len(EVERY)
    assert 'verify ran' not in said
    assert (terminal.status, last(terminal)) == (0, '7 jobs: 1 passed, 6 skipped')
    assert events(house) == []


def test_without_a_terminal(house: House) -> None:
    """They are skipped, and what is missing is said."""
    ran = plainbox(house, 'run', *EVERY)
    reason = 'a person has to do it, but standard input is no terminal'
    assert ran.text.count(f'\n    skipped: {reason}\n') == len(EVERY)
    assert (ran.status, ran.lines[-1]) == (0, f'{len(EVERY)} jobs: 5 skipped')
    assert events(house) == []


def test_with_half_a_terminal(house: House) -> None:
    """Who does not see a question is not asked it."""
    out, into = os.pipe()
    with open(out) as seen:
        with on_a_terminal(house, 'run', 'nothing', stdout=into) as terminal:
            os.close(into)
            text = seen.read()
        assert terminal.status == 0
    assert 'skipped: a person has to do it, but standard output is no terminal' in text


def test_without_standard_input(house: House) -> None:
    done = house.run(['sh', '-c', 'exec plainbox run nothing <&-'])
    assert b'but standard input is no terminal' in done.stdout
