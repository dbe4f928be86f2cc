# SPDX-License-Identifier: ISC
"""What people read is in their language; what programs compare is not."""

import fcntl
import os
import re
import select
import shutil
import subprocess
import termios
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path

import pytest
from house import ACTION, CHECKOUT, CLEAN, HANGS, POLICY, House
from running import plainbox
from terminal import on_a_terminal

from plainbox_launcher import __version__
from plainbox_launcher.refusals import REFUSALS

TOP = Path(__file__).parent.parent
CATALOGUES = sorted((TOP / 'po').glob('*.po'))
GERMAN = {**CLEAN, 'LANGUAGE': 'de', 'COLUMNS': '80'}
QUESTION = 'Um Testjobs als root auszuführen, ist eine Authentifizierung nötig.'
LANGUAGE = '{http://www.w3.org/XML/1998/namespace}lang'

UNITS = """
id: own
_summary: Grüße, Ωμέγα, 漢字
command: echo own ran

id: fails
command: exit 3

id: unmet
requires: thing.kind == 'B'
command: true

id: thing
plugin: resource
command: printf 'kind: A\\n\\nkind: C\\n'

id: by-hand
plugin: manual

id: zsh
shell: /bin/zsh
command: echo ran

id: zsh-root
user: root
shell: /bin/zsh
command: echo ran

id: sly
_summary: abc\u202efdp.exe\u200b \u00ad\x9b31m
command: true
"""


@pytest.fixture
def _provider(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('languages', UNITS):
        yield


def gettext(*command: str | Path, given: str = '') -> subprocess.CompletedProcess[str]:
    """Runs one of gettext's programs."""
    if shutil.which(command[0]) is None:
        if 'PLAINBOX_REQUIRE' in os.environ:
            pytest.fail(f'missing: {command[0]}')
        pytest.skip(f'missing: {command[0]}')
    return subprocess.run(
        command, input=given, capture_output=True, text=True, env=CLEAN
    )


def commands(help_: str) -> list[str]:
    return re.findall(r'(?m)^    (\w+)', help_)


@pytest.fixture(scope='module')
def template() -> str:
    """Gives all texts there are, as po/extract finds them."""
    gettext('xgettext', '--version')
    done = subprocess.run([TOP / 'po/extract'], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


# The catalogues


def test_there_is_german() -> None:
    assert 'de.po' in [path.name for path in CATALOGUES]


@pytest.mark.parametrize('catalogue', CATALOGUES, ids=lambda path: path.name)
def test_a_catalogue_is_sound(catalogue: Path) -> None:
    """Placeholders are kept, and nothing is left open."""
    checks = ['--check', '--statistics', '--output-file=/dev/null']
    done = gettext('msgfmt', *checks, catalogue)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r'\d+ translated messages\.\n', done.stderr)


@pytest.mark.parametrize('catalogue', CATALOGUES, ids=lambda path: path.name)
def test_a_catalogue_has_every_text(catalogue: Path, template: str) -> None:
    """What po/extract finds is in there, and nothing that it does not find."""
    assert template.count('msgid ') > 250
    done = gettext('msgcmp', catalogue, '-', given=template)
    assert (done.returncode, done.stderr) == (0, '')


def test_texts_with_placeholders_are_checked(template: str) -> None:
    """msgfmt looks at placeholders of what is marked as having some."""
    for message in template.split('\n\n'):
        if re.search(r'\{\w+\}', message):
            assert 'python-brace-format' in message
        if re.search(r'%(\(\w+\))?[sr]', message):
            assert 'python-format' in message


def test_every_refusal_is_in_the_template(template: str) -> None:
    """Also the launcher's, which says nothing but English itself."""
    plain = template.replace('"\n"', '').replace('\\"', '"')
    for refusal in REFUSALS.values():
        for text in (refusal.meaning, *refusal.causes, *refusal.more):
            assert f'"{text}"' in plain


# The runner


@pytest.mark.usefixtures('_provider')
class TestGerman:
    def test_help(self, house: House) -> None:
        """argparse's own words, too."""
        said = plainbox(house, '--help', env=GERMAN).text
        assert said.startswith('Aufruf: plainbox [-h] [--version] BEFEHL ...\n')
        assert 'Plant Testjobs und führt sie aus.' in said
        assert 'diese Hilfe anzeigen und beenden' in said
        assert 'work' in commands(said)
        for command in [*commands(said), 'session show', 'session rm', 'session ack']:
            said += plainbox(house, *command.split(), '--help', env=GERMAN).text
        assert 'Aufruf: plainbox session rm [-h] ID [ID ...]\n' in said
        assert not re.search('usage|options|argument|show this|exit', said)
        assert not re.search('PATTERN|DURATION|SIZE|FILE|VERB|COMMAND', said)

    def test_wrong_usage(self, house: House) -> None:
        """argparse's own words, and ours."""
        for command, said in (
            ('show', 'plainbox show: Fehler: diese Argumente fehlen: MUSTER'),
            ('run', 'plainbox run: Fehler: ein MUSTER oder --plan angeben'),
        ):
            ran = plainbox(house, command, env=GERMAN)
            assert (ran.status, said in ran.errors) == (2, True)

    def test_a_run(self, house: House) -> None:
        jobs = ('own', 'fails', 'unmet', 'zsh', 'zsh-root', 'thing')
        ran = plainbox(house, 'run', *jobs, env=GERMAN)
        assert ran.status == 1
        found = re.sub(r'\d+\.\d', '0.0', ran.text).splitlines()
        denied = 'PBL-SHELL: the job wants another shell (die Shells sind bash, sh und'
        assert [line for line in found if line.startswith('    ')] == [
            '    bestanden nach 0.0 s: gibt 2 Datensätze aus',
            '    bestanden nach 0.0 s',
            '    fehlgeschlagen nach 0.0 s: Exit-Status 3',
            "    übersprungen: verlangt thing.kind == 'B'",
            f'    verweigert: {denied} dash)',
            f'    verweigert: {denied} dash)',
            '    noch einmal: plainbox run fails',
        ]
        assert found[-6:] == [
            'fehlgeschlagen  fails: Exit-Status 3',
            '    noch einmal: plainbox run fails',
            f'verweigert      zsh: {denied} dash)',
            f'verweigert      zsh-root: {denied} dash)',
            "übersprungen    unmet: verlangt thing.kind == 'B'",
            '6 Jobs: 2 bestanden, 1 fehlgeschlagen, 2 verweigert, 1 übersprungen',
        ]
        assert '[6/6] zsh-root, als root' in found

    def test_one_job(self, house: House) -> None:
        ran = plainbox(house, 'run', 'own', env=GERMAN)
        assert ran.lines[-1] == '1 Job: 1 bestanden'

    def test_what_is_kept(self, house: House) -> None:
        """What became of each job, in a session and in the list of them."""
        plainbox(house, 'run', 'own', 'fails', env=GERMAN)
        shown = plainbox(house, 'session', 'show', env=GERMAN).lines
        labels = ['Sitzung', 'Befehl', 'angelegt', 'begonnen', 'beendet', 'Rechner']
        assert [line.split(':')[0] for line in shown[:7]] == [*labels, 'Ordner']
        assert shown[0].endswith(', abgeschlossen')
        assert re.fullmatch(r'bestanden +\d\.\d s  own', shown[8])
        assert re.fullmatch(r'fehlgeschlagen +\d\.\d s  fails: Exit-.*', shown[10])
        listed = plainbox(house, 'sessions', env=GERMAN).lines[-1]
        assert listed.endswith('own fails  1 bestanden, 1 fehlgeschlagen')

    def test_a_person(self, house: House) -> None:
        """plainbox(1): answers are a letter, or a word in the language of the session.

        So no word of another language is one.
        """
        with on_a_terminal(house, 'run', 'by-hand', env=GERMAN) as terminal:
            terminal.answer('Ergebnis? ', 'pass')
            terminal.answer('Ergebnis? ', 'Überspringen')
        assert (
            'p bestanden   f fehlgeschlagen   s überspringen   c Komm' in terminal.seen
        )
        assert terminal.seen.endswith('\n1 Job: 1 übersprungen\n')

    def test_a_job(self, house: House) -> None:
        """Names of fields, of jobs and what they say are as they are."""
        lines = plainbox(house, 'show', 'own', env=GERMAN).lines
        assert [line.split(':')[0] for line in lines[:4]] == [
            'id',
            'hash',
            'definiert in',
            'läuft',
        ]
        assert lines[3].endswith('  als aufrufender Benutzer')
        assert lines[-1] == 'command: echo own ran'

    def test_explain(self, house: House) -> None:
        ran = plainbox(house, 'explain', 'no-agent', env=GERMAN)
        assert 'polkit will ein Passwort, und nichts kann danach fragen.' in ran.text
        assert '  Ursachen\n  - ' in ran.text
        assert '  Was hilft\n  - an der Konsole oder dem Desktop' in ran.text

    def test_a_refusal(self, house: House) -> None:
        """Before the run: code as it is, fact and hint translated."""
        ran = plainbox(house, 'run', 'own', '--launcher', '/nowhere', env=GERMAN)
        assert ran.status == 0  # needs no launcher
        path = '/nowhere'
        command = ['plainbox', 'run', 'smoke/root-account', '--launcher', path]
        done = house.run(command, env=GERMAN)
        assert done.stderr.decode() == (
            f'plainbox: PBL-NO-LAUNCHER: {path} ist nicht da (plainbox-launcher '
            'systemweit installieren, wie in der README beschrieben)\n'
        )

    def test_nothing_selected(self, house: House) -> None:
        ran = plainbox(house, 'run', 'unmett', env=GERMAN)
        fact = 'PBL-NO-MATCH: kein Job passt auf unmett; gemeint ist unmet?'
        hint = 'nachsehen, welche Jobs es gibt: plainbox list'
        assert (ran.status, ran.errors) == (4, f'plainbox: {fact} ({hint})\n')

    def test_not_for_programs(self, house: House) -> None:
        english = plainbox(house, 'special', '-J')
        assert plainbox(house, 'special', '-J', env=GERMAN).text == english.text
        assert plainbox(house, '--version', env=GERMAN).text == f'{__version__}\n'

    @pytest.mark.parametrize(
        ('name', 'value'),
        [
            ('LANG', 'de_DE.UTF-8'),
            ('LC_ALL', 'de_AT'),
            ('LC_MESSAGES', 'de'),
            ('LANGUAGE', 'xx:de'),
        ],
    )
    def test_how_it_is_chosen(self, house: House, name: str, value: str) -> None:
        env = {**CLEAN, 'PYTHONUTF8': '1', name: value}
        assert 'Aufruf: ' in plainbox(house, '--help', env=env).text


@pytest.mark.parametrize(
    'language', ['xx', 'en', 'C', '/', '../../..', 'de/x%', '\xff']
)
def test_english_otherwise(house: House, language: str) -> None:
    env = {**CLEAN, 'LANGUAGE': language}
    assert plainbox(house, '--help', env=env).text.startswith('usage: plainbox ')


# What can be seen


@pytest.mark.usefixtures('_provider')
def test_any_script_and_no_trick(house: House) -> None:
    """Letters are shown; what turns or hides text, or drives a terminal, is escaped."""
    lines = plainbox(house, 'list').lines
    assert any(line.endswith('  Grüße, Ωμέγα, 漢字') for line in lines)
    assert any(line.endswith(r'abc\u202efdp.exe\u200b \xad\x9b31m') for line in lines)
    shown = plainbox(house, 'show', 'sly').text
    assert r'_summary: abc\u202efdp.exe' in shown


@pytest.mark.usefixtures('_provider')
def test_a_terminal_that_cannot_show_it(house: House) -> None:
    """Never a traceback: what it has no letters for is escaped."""
    env = {**GERMAN, 'PYTHONIOENCODING': 'ascii'}
    ran = plainbox(house, 'list', env=env)
    assert ran.status == 0
    assert r'Gr\xfc\xdfe, \u03a9' in ran.text
    assert r'f\xfchrt' in plainbox(house, '--help', env=env).text
    wrong = plainbox(house, 'show', 'Grüßee', env=env)
    assert r'kein Job passt auf Gr\xfc\xdfee' in wrong.errors
    assert 'Traceback' not in ran.errors + wrong.errors


# The policy


def test_the_installed_policy(house: House) -> None:
    """English first, and each language by xml:lang."""
    root = ElementTree.fromstring(house.path(POLICY).read_bytes())  # noqa: S314
    for tag in 'description', 'message':
        languages = [each.get(LANGUAGE) for each in root.findall(f'action/{tag}')]
        assert languages == [None, *(path.stem for path in CATALOGUES)]
    message = root.find('action/message[2]')
    assert message is not None
    assert (message.text or '').startswith(QUESTION)


def test_polkit_knows_the_languages(house: House) -> None:
    polkit = 'org.freedesktop.PolicyKit1'
    call = ['dbus-send', '--system', '--print-reply', f'--dest={polkit}']
    call += [f'/{polkit.replace(".", "/")}/Authority']
    call += [f'{polkit}.Authority.EnumerateActions']
    for locale, said in ('de_DE.UTF-8', QUESTION), ('fr_FR', 'Authentication is req'):
        assert said in house.check(*call, f'string:{locale}').decode()
    pkaction = house.check('pkaction', '--verbose', '--action-id', ACTION).decode()
    assert 'Run an installed test job as root' in pkaction


# The question for a password

ASK = f"""
    polkit.addRule(function(action, subject) {{
        if (action.id == '{ACTION}') return polkit.Result.AUTH_ADMIN;
    }});
"""


def question(house: House, language: Mapping[str, str]) -> str:
    """What is on the terminal when the password is asked for; it gets none."""
    main, side = os.openpty()
    command = ['plainbox', 'run', 'smoke/root-account']
    env = {**CLEAN, **language}
    seen = b''

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with (
        house.rules(ASK),
        house.popen(
            command, env=env, before=take_terminal, stdin=side, stdout=side, stderr=side
        ) as process,
        open(main, 'rb', buffering=0) as terminal,
    ):
        os.close(side)
        while not seen.endswith(b'Password: '):
            seen += read(terminal, process)
        deadline = time.monotonic() + HANGS
        while termios.tcgetattr(main)[3] & termios.ECHO:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.write(main, b'\x04')
        assert process.wait(HANGS) == 3
    return seen.decode()


def read(terminal: FileIO, process: subprocess.Popen[bytes]) -> bytes:
    if not select.select([terminal], [], [], HANGS)[0]:
        process.kill()
        pytest.fail('the terminal hangs')
    return terminal.read(1 << 16)


@pytest.mark.parametrize(
    ('language', 'said'),
    [
        ({'LANG': 'de_DE.UTF-8'}, QUESTION),
        ({'LANG': 'en_US.UTF-8', 'LANGUAGE': 'de:en'}, QUESTION),
        ({'LANG': 'en_US.UTF-8', 'LC_ALL': 'de_AT'}, QUESTION),
        ({'LANG': 'C.UTF-8'}, 'Authentication is required to run test jobs as root.'),
        ({'LANG': 'xx%/\udcff'}, 'Authentication is required to run test jobs as '),
    ],
)
def test_the_question(house: House, language: dict[str, str], said: str) -> None:
    """In the language of the caller, although pkexec itself is spoken to in English."""
    assert said in question(house, language)


# Installing


def test_without_gettext(house: House) -> None:
    """One line says so; the policy is the plain one and everything is English."""
    place = '/tmp/destination'
    install = [f'{CHECKOUT}/contrib/install', '--destdir', place]
    house.check('mv', '/usr/bin/msgfmt', '/usr/bin/msgfmt.away')
    try:
        done = house.run(install, user='root')
        policy = house.path(f'{place}{POLICY}').read_bytes()
        english = said_in(house, place)
    finally:
        house.check('mv', '/usr/bin/msgfmt.away', '/usr/bin/msgfmt')
    try:
        assert done.returncode == 0
        assert re.fullmatch(r'contrib/install: .*without translations\n', text(done))
        plain = f'{CHECKOUT}/contrib/polkit/auth_admin_keep/{ACTION}.policy'
        assert policy == house.path(plain).read_bytes()
        assert b'/locale/' not in done.stdout
        assert english.startswith('usage: ')

        again = house.run(install, user='root')
        catalogue = b'/usr/share/locale/de/LC_MESSAGES/plainbox-launcher.mo'
        assert (text(again), catalogue in again.stdout.splitlines()) == ('', True)
        assert said_in(house, place).startswith('Aufruf: ')
    finally:
        house.check('rm', '-r', place)


def said_in(house: House, place: str) -> str:
    env = {**GERMAN, 'PYTHONPATH': f'{place}/usr/lib/plainbox-launcher'}
    command = ['/usr/bin/python3', '-B', '-m', 'plainbox_launcher', '--help']
    return house.check(*command, env=env, user='tester').decode()


def text(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode()
