# SPDX-License-Identifier: ISC
"""--via: the jobs that local jobs print, and what local jobs may not do."""

import subprocess
from collections.abc import Iterator

import pytest
from house import House
from launching import (
    UNKNOWN,
    digests,
    events,
    refused,
)

UNITS = r"""
id: here-document
plugin: local
command:
 for device in $(devices); do
 cat << EOF
 id: read-$device
 user: root
 command: echo reading $device, $(basename $PLAINBOX_PROVIDER_DATA)
 .
 EOF
 done

id: from-a-list
plugin: local
command:
 printf '%s\n' one two |
 while read name; do printf 'id: %s\nuser: root\ncommand: echo\n\n' list-$name; done

id: again
plugin: local
command:
 shopt -s extglob
 cat $PLAINBOX_PROVIDER_DATA/../jobs/again.txt?(.in)

id: again-on-one-line
plugin: local
command: shopt -s extglob; cat $PLAINBOX_PROVIDER_DATA/../jobs/again.txt?(.in)

id: no-local-job
plugin: shell
user: root
command: printf 'id: made\nuser: root\ncommand: echo ran\n'

id: by-root
plugin: local
user: root
command: printf 'id: by-%s\nuser: root\ncommand: echo ran\n' $(id -un)

id: various
plugin: local
command:
 cat << 'EOF'
 id: without-user
 command: echo ran
 .
 id: of-another
 user: nobody-of-that-name
 command: echo ran
 .
 id: nested
 plugin: local
 user: root
 command: echo ran
 .
 unit: template
 id: template
 user: root
 command: echo ran
 .
 id: twice
 user: root
 command: echo ran
 .
 id: alike
 user: root
 command: echo ran
 .
 id: alike
 user: root
 command: echo ran
 .
 id: twice
 user: root
 command: echo ran ran
 EOF

id: steered
plugin: local
environ: WANTED LD_PRELOAD
command:
 found=$WANTED,$OTHER,$LD_PRELOAD,$DISPLAY
 printf 'id: steered\nuser: root\ncommand: echo %s\n' "$found"

id: reads
plugin: local
command: printf 'id: reads\nuser: root\ncommand: echo read %s\n' "$(wc -c)"

id: where
plugin: local
command:
 printf 'id: where\nuser: root\ncommand: echo %s %s\n' $(umask) $(ls -A | wc -l)

id: fails
plugin: local
command: echo 'id: made'; echo first >&2; printf 'no \033[2J luck\n\n' >&2; exit 3

id: killed
plugin: local
command: kill -9 $$

id: malformed
plugin: local
command: printf 'id: made\nuser: root\ncommand: echo ran\n\nno field\n'

id: not-utf-8
plugin: local
command: printf 'id: made\nuser: root\ncommand: echo \377\n'

id: nothing
plugin: local
command: true

id: no-command
plugin: local

"""

AGAIN = """
id: again
user: root
command: echo again
"""

HASH = digests(UNITS)
FILES = {
    'units/house.pxu': UNITS,
    'jobs/again.txt.in': AGAIN,
    'bin/devices': '#!/bin/sh\necho sda sdb\n',
}


@pytest.fixture(autouse=True)
def _installed(house: House, _tidy: None) -> Iterator[None]:
    with house.provider('generate', FILES):
        yield


def made(house: House, text: str, via: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the job with this text, which this local job has to print."""
    (checksum,) = digests(text).values()
    return house.pkexec('--hash', checksum, '--via', HASH[via])


def job(id_: str, command: str, **more: str) -> str:
    """The text of a root job."""
    return '\n'.join(
        [
            f'id: {id_}',
            'user: root',
            f'command: {command}',
            *(f'{key}: {value}' for key, value in more.items()),
        ]
    )


RAN = job('made', 'echo ran')


# The three shapes in the wild


@pytest.mark.parametrize(
    ('via', 'id_', 'command', 'says'),
    [
        ('here-document', 'read-sda', 'echo reading sda, data', b'reading sda, data\n'),
        ('here-document', 'read-sdb', 'echo reading sdb, data', b'reading sdb, data\n'),
        ('from-a-list', 'list-two', 'echo', b'\n'),
        ('again', 'again', 'echo again', b'again\n'),
        ('by-root', 'by-root', 'echo ran', b'ran\n'),
    ],
)
def test_the_shapes_of_local_jobs(
    house: House, via: str, id_: str, command: str, says: bytes
) -> None:
    """Through a script of bin, from a tool's list, and existing jobs again.

    `user` is not needed on the local job, which root runs all the same.
    """
    done = made(house, job(id_, command), via)
    assert (done.returncode, done.stdout, done.stderr) == (0, says, b'')
    assert events(house) == ['generate', 'start', 'end']


def test_extglob_takes_a_line_of_its_own(house: House) -> None:
    """Bash reads a whole line before it obeys the `shopt` at its beginning."""
    done = made(house, AGAIN, 'again-on-one-line')
    assert refused(done, 'PBL-GENERATOR-FAILED')
    plain = house.run(['bash', '-c', '--', 'shopt -s extglob; echo x?(.in)'])
    assert (plain.returncode, plain.stdout) == (2, b'')


# Refusals


def test_via_names_a_local_job(house: House) -> None:
    assert refused(made(house, RAN, 'no-local-job'), 'PBL-NOT-LOCAL')
    done = house.pkexec('--hash', HASH['no-local-job'], '--via', UNKNOWN)
    assert refused(done, 'PBL-NO-JOB')
    assert events(house) == ['refused', 'refused']


@pytest.mark.canary('job.py', 'if via.plugin not in generate.GENERATORS:', 'if False:')
def test_only_local_jobs_generate(house: House) -> None:
    """What any other job prints is no job, although root ran it."""
    assert made(house, RAN, 'no-local-job').stdout == b''


def test_an_installed_job_is_not_what_a_local_job_prints(house: House) -> None:
    done = house.pkexec('--hash', HASH['no-local-job'], '--via', HASH['nothing'])
    assert refused(done, 'PBL-NOT-GENERATED')


@pytest.mark.parametrize(
    ('via', 'code'),
    [
        ('fails', 'PBL-GENERATOR-FAILED'),
        ('killed', 'PBL-GENERATOR-FAILED'),
        ('malformed', 'PBL-GENERATOR-OUTPUT'),
        ('not-utf-8', 'PBL-GENERATOR-OUTPUT'),
        ('nothing', 'PBL-NOT-GENERATED'),
        ('various', 'PBL-NOT-GENERATED'),
        ('no-command', 'PBL-NO-COMMAND'),
    ],
)
def test_three_different_refusals(house: House, via: str, code: str) -> None:
    """Failing, malformed output and `not among what it printed` differ."""
    assert refused(made(house, RAN, via), code)
    assert 'start' not in events(house)


def test_a_failure_says_why(house: House) -> None:
    """The status, and the last line of what the local job said, made harmless."""
    stderr = made(house, RAN, 'fails').stderr
    assert b'the local job ended with 3: no \\x1b[2J luck (' in stderr
    assert b' ended with 137 (' in made(house, RAN, 'killed').stderr


def test_a_fault_names_the_line(house: House) -> None:
    stderr = made(house, RAN, 'malformed').stderr
    assert b'output of 2026.plainbox.house::malformed:5: is neither a field' in stderr


WITHOUT_USER = 'id: without-user\ncommand: echo ran'
OF_NOBODY = 'id: of-another\nuser: nobody-of-that-name\ncommand: echo ran'
NESTED = 'id: nested\nplugin: local\nuser: root\ncommand: echo ran'
TEMPLATE = 'unit: template\nid: template\nuser: root\ncommand: echo ran'


@pytest.mark.parametrize(
    ('text', 'code'),
    [
        (WITHOUT_USER, 'PBL-NO-USER'),
        (OF_NOBODY, 'PBL-ACCOUNT'),
        (NESTED, 'PBL-NESTED'),
        (TEMPLATE, 'PBL-NOT-GENERATED'),
        (job('twice', 'echo ran'), 'PBL-GENERATOR-OUTPUT'),
        (job('twice', 'echo ran ran'), 'PBL-GENERATOR-OUTPUT'),
        (job('alike', 'echo ran', summary='x'), 'PBL-NOT-GENERATED'),
    ],
)
def test_what_is_printed_but_not_run(house: House, text: str, code: str) -> None:
    """Generated jobs need `user`; a local one is not evaluated; one id, one job."""
    assert refused(made(house, text, 'various'), code)
    assert events(house) == ['generate', 'refused']


def test_a_job_that_is_printed_twice(house: House) -> None:
    assert made(house, job('alike', 'echo ran'), 'various').stdout == b'ran\n'


@pytest.mark.canary('job.py', 'if not user:', "user = user or 'root'\n    if 0:")
def test_a_generated_job_needs_a_user(house: House) -> None:
    assert made(house, WITHOUT_USER, 'various').stdout == b''


@pytest.mark.canary('generate.py', "if found.plugin == 'local':", 'if False:')
def test_a_nested_local_job_is_not_run(house: House) -> None:
    assert made(house, NESTED, 'various').stdout == b''


@pytest.mark.canary('generate.py', 'found.id == other.id and', '0 and')
def test_two_jobs_of_one_id(house: House) -> None:
    assert made(house, job('twice', 'echo ran'), 'various').stdout == b''


@pytest.mark.canary(
    'generate.py', 'if status := execute.shell_status(printed.status):', 'if False:'
)
def test_a_failing_generator_is_not_believed(house: House) -> None:
    text = 'id: made'
    assert refused(made(house, text, 'fails'), 'PBL-GENERATOR-FAILED')


# What a local job is given


@pytest.mark.canary('environ.py', 'for name in job.environ &', 'for name in')
@pytest.mark.canary('environ.py', 'not (denying and denied(name))', 'True')
def test_nobody_steers_a_local_job(house: House) -> None:
    """Row 37: only names that its own `environ` lists, and no denied ones."""
    (checksum,) = digests(job('steered', 'echo yes,,,')).values()
    names = ('WANTED=yes', 'OTHER=yes', 'LD_PRELOAD=/nowhere.so', 'DISPLAY=:7')
    done = house.pkexec('--hash', checksum, '--via', HASH['steered'], *names)
    assert done.stdout == b'yes,,,\n'
    generated, started = (
        line.text
        for line in house.log('plainbox-trusted-launcher-1')
        if ' end ' not in line.text
    )
    assert ' passed=WANTED ' in generated
    assert ' passed=- ' in started  # the job that it prints lists no name


def test_a_variable_cannot_write_jobs(house: House) -> None:
    """Row 37: no control characters, so that no line is added."""
    via = ('--hash', UNKNOWN, '--via', HASH['steered'])
    done = house.launcher(*via, 'WANTED=x\n\nid: y\nuser: root\ncommand: id')
    assert refused(done, 'PBL-VARIABLE')
    assert events(house) == []


def test_its_input_is_empty(house: House) -> None:
    (checksum,) = digests(job('reads', 'echo read 0')).values()
    done = house.pkexec('--hash', checksum, '--via', HASH['reads'], input=b'x' * 9)
    assert done.stdout == b'read 0\n'


def test_its_directory_is_fresh(house: House) -> None:
    assert made(house, job('where', 'echo 0022 0'), 'where').stdout == b'0022 0\n'
