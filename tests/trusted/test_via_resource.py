# SPDX-License-Identifier: ISC
"""--via RESOURCE: the jobs that installed templates make of what root's resource job
prints, and what a record cannot do."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator

import pytest
from house import House
from launching import events, refused
from probe import checksum, written
from talking import talk

from plainbox_launcher.trusted import library, rfc822, template, unit
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

RECORDS = """
name: sda
path: /dev/sda
kind: DISK

name: eth0
kind: NETWORK

name: sdb
path: /dev/sdb
kind: DISK
"""

UNITS = r"""
id: things
plugin: resource
command: cat "$PLAINBOX_PROVIDER_DATA/records"

id: others
plugin: resource
command: cat "$PLAINBOX_PROVIDER_DATA/records"

unit: template
template-resource: things
template-filter: things.kind == 'DISK'
id: disk/{name}
plugin: shell
user: root
command: echo '{name}' '{path}' {__index__} {{}}

unit: template
template-resource: 2026.plainbox.house::things
id: any/{name}
user: root
command: printf '%s|' '{name}' "$(id -un)"

unit: template
template-resource: things
template-filter: others.name == 'sda'
id: misnamed/{name}
user: root
command: echo ran

unit: template
template-resource: things
id: local/{name}
plugin: local
user: root
command: echo ran

unit: template
template-resource: things
id: for-nobody/{name}
command: echo ran

unit: template
template-resource: things
template-engine: jinja2
id: jinja/{name}
user: root
command: echo ran

unit: template
template-resource: things
id: attribute/{name}
user: root
command: echo ran {name.upper}

id: wanting
plugin: resource
environ: WANTED LD_PRELOAD
command: printf 'name: %s,%s,%s\n' "$WANTED" "$OTHER" "$LD_PRELOAD"

unit: template
template-resource: wanting
id: wanted/{name}
user: root
command: echo '{name}'

id: fails
plugin: resource
command: cat "$PLAINBOX_PROVIDER_DATA/records"; echo no luck >&2; exit 4

id: floods
plugin: resource
command: yes 'a: b' | sed G

id: malformed
plugin: resource
command: cat "$PLAINBOX_PROVIDER_DATA/records"; echo; echo garbage

id: shell
user: root
command: cat "$PLAINBOX_PROVIDER_DATA/records"
"""

NAMESPACE = '2026.plainbox.house'
OWNER = Provider(f'{NAMESPACE}:via', NAMESPACE, '', *[''] * 7)
ALL = [*library.units_of(UNITS.encode(), 'units', OWNER, [])]
VIA = {u.fields['id']: u.checksum for u in ALL if u.kind == 'job'}
TEMPLATES = {u.fields['id'].split('/')[0]: u for u in ALL if u.kind == 'template'}


@contextlib.contextmanager
def installed(house: House, records: str = RECORDS) -> Iterator[None]:
    files = {'units/via.pxu': UNITS, 'data/records': records}
    with house.provider('via', files):
        yield


def parsed(records: str) -> list[dict[str, str]]:
    return [record.fields for record in rfc822.parse(records.encode(), 'records')]


def made(name: str, records: str = RECORDS) -> list[Unit]:
    """What the runner would make of these records."""
    return template.instances(TEMPLATES[name], parsed(records))[0]


def digest(of: str, number: int, **values: str) -> str:
    """The hash of a job that could have been made of a template."""
    return unit.instance_checksum(TEMPLATES[of].fields, {**values, '__index__': number})


def via(
    house: House, hash_: str, resource: str = 'things', *variables: str
) -> subprocess.CompletedProcess[bytes]:
    return house.pkexec('--hash', hash_, '--via', VIA[resource], *variables)


# What runs


def test_the_jobs_of_a_template(house: House) -> None:
    """`--via RESOURCE-HASH` does for them what it does for local jobs: root runs the
    resource job, and the job with that hash."""
    with installed(house):
        done = [via(house, job.checksum) for job in made('disk') + made('any')]
    assert [(each.returncode, each.stderr) for each in done] == [(0, b'')] * 5
    assert [each.stdout for each in done] == [
        *(b'sda /dev/sda 1 {}\n', b'sdb /dev/sdb 2 {}\n'),
        *(b'sda|root|', b'eth0|root|', b'sdb|root|'),
    ]
    assert events(house) == ['generate', 'start', 'end'] * 5
    lines = [fields['job'] for _, fields in written(house)[:3]]
    assert lines == [f'{NAMESPACE}::things', *[f'{NAMESPACE}::disk/sda'] * 2]


@pytest.mark.canary('environ.py', 'for name in job.environ &', 'for name in')
@pytest.mark.canary('environ.py', 'not (denying and denied(name))', 'True')
def test_nobody_steers_a_resource_job(house: House) -> None:
    """Only names that its own `environ` lists, and no denied ones; row 37."""
    wanted = digest('wanted', 1, name='yes,,')
    names = ('WANTED=yes', 'OTHER=yes', 'LD_PRELOAD=/nowhere.so')
    with installed(house):
        done = via(house, wanted, 'wanting', *names)
        assert done.stdout == b'yes,,\n'


# What does not


@pytest.mark.parametrize(
    ('hash_', 'resource', 'code'),
    [
        (made('disk')[0].checksum, 'others', 'PBL-NOT-GENERATED'),
        (made('disk')[0].checksum, 'shell', 'PBL-NOT-LOCAL'),
        (made('disk')[0].checksum, 'fails', 'PBL-GENERATOR-FAILED'),
        (made('disk')[0].checksum, 'floods', 'PBL-GENERATOR-LIMIT'),
        (made('disk')[0].checksum, 'malformed', 'PBL-GENERATOR-OUTPUT'),
        (digest('disk', 3, name='sdc', path='/dev/sdc'), 'things', 'PBL-NOT-GENERATED'),
        # The second record does not pass the filter, so another is the second.
        (digest('disk', 3, name='sdb', path='/dev/sdb'), 'things', 'PBL-NOT-GENERATED'),
        (digest('any', 1, name='sda', kind='DISK'), 'things', 'PBL-NOT-GENERATED'),
        (digest('jinja', 1, name='sda'), 'things', 'PBL-NOT-GENERATED'),
        (digest('attribute', 1, name='sda'), 'things', 'PBL-NOT-GENERATED'),
        (TEMPLATES['any'].checksum, 'things', 'PBL-NOT-GENERATED'),
        (VIA['shell'], 'things', 'PBL-NOT-GENERATED'),
        (VIA['things'], 'things', 'PBL-NOT-GENERATED'),
        (made('for-nobody')[0].checksum, 'things', 'PBL-NO-USER'),
        (made('local')[0].checksum, 'things', 'PBL-NESTED'),
    ],
)
def test_what_is_refused(house: House, hash_: str, resource: str, code: str) -> None:
    with installed(house):
        assert refused(via(house, hash_, resource), code)
    assert 'start' not in events(house)


def test_a_failure_says_why(house: House) -> None:
    with installed(house):
        stderr = via(house, made('disk')[0].checksum, 'fails').stderr
    assert b'the resource job ended with 4: no luck (' in stderr


@pytest.mark.canary('generate.py', 'and template.resource(unit) == resource.id', '')
def test_a_template_takes_its_own_resource_only(house: House) -> None:
    """A record of another resource job is none of its own, whatever it says."""
    with installed(house):
        assert via(house, made('disk')[0].checksum, 'others').stdout == b''


@pytest.mark.canary(
    'template.py', 'if template.resource(name) != resource(template):', 'if False:'
)
def test_a_filter_asks_about_its_own_resource_only(house: House) -> None:
    with installed(house):
        assert via(house, digest('misnamed', 1, name='sda')).stdout == b''


@pytest.mark.canary('generate.py', "if found.plugin == 'local':", 'if False:')
def test_a_local_job_of_a_template_is_not_run(house: House) -> None:
    with installed(house):
        assert via(house, made('local')[0].checksum).stdout == b''


@pytest.mark.canary('template.py', '{**values, _INDEX: number}', '{_INDEX: number}')
def test_a_hash_is_that_of_the_values(house: House) -> None:
    """What was consented to is what the runner was told; no other value has its
    hash."""
    with installed(house, RECORDS.replace('sda', 'evil')):
        assert via(house, digest('any', 1)).stdout == b''


@pytest.mark.parametrize('name', ['disk', 'any'])
def test_a_record_that_has_changed(house: House, name: str) -> None:
    """The resource job says something else to root, or now: the job does not run."""
    for other in (
        RECORDS.replace('sda', 'sdX'),
        f'name: first\npath: x\nkind: DISK\n{RECORDS}',
    ):
        with installed(house, other):
            done = via(house, made(name)[0].checksum)
        assert refused(done, 'PBL-NOT-GENERATED')


# Hostile records


HOSTILE = [
    '{path}',
    '{{path}}',
    '{0.__class__.__mro__}',
    '{name.upper}',
    '{path',
    '}',
    '%s%n%(path)s $path ${path}',
    '`id` $(id) $((1)) ; id | id & id > /dev/null < / \\ " # ~ *',
    '\\1 \\g<0> \\x41 \\n',
    '\x1b[2J\x07',
    'two\n\nlines',
    'x\nuser: daemon\n\nid: y\nuser: root\ncommand: id',
]


def record(value: str) -> str:
    """A record that has this as its name; a blank line is written as a dot."""
    lines = ''.join(f' {line or "."}\n' for line in value.split('\n'))
    return f'name:\n{lines}path: PATH\nkind: DISK\nuser: daemon\n'


@pytest.mark.canary(
    'template.py', '_PIECE.sub(put, value)', '_PIECE.sub(put, _PIECE.sub(put, value))'
)
def test_a_value_is_put_in_once(house: House) -> None:
    with installed(house, record('{path}')):
        done = via(house, digest('disk', 1, name='{path}', path='PATH'))
    assert done.stdout == b'{path} PATH 1 {}\n'


@pytest.mark.parametrize('value', HOSTILE)
def test_hostile_values(house: House, value: str) -> None:
    """A value is text: not a placeholder, not another field, not another job.

    In this template it stands between single quotes of the shell's.
    """
    assert parsed(record(value))[0]['name'] == value
    with installed(house, record(value)):
        done = via(house, digest('any', 1, name=value))
    assert (done.returncode, done.stdout) == (0, f'{value}|root|'.encode())
    assert [f['user'] for event, f in written(house) if event == 'start'] == ['root']


def test_a_value_is_in_the_command(house: House) -> None:
    """That is what a template says: it is for its author to quote, and the resource
    job is as trusted as the template."""
    value = "'; id -u; : '"
    with installed(house, record(value)):
        done = via(house, digest('any', 1, name=value))
    assert b'0\n' in done.stdout


# Through the channel


@pytest.mark.canary('channel.py', 'if run.via not in self._resources:', 'if True:')
def test_a_resource_job_alone_announces_nothing_else(house: House) -> None:
    """To announce a resource job by its own hash is not to announce what templates
    make of it."""
    with installed(house):
        said = talk(
            house,
            """
            talker = Talker().open(via + ':', other + ':' + via)
            say(*talker.run(hash, via=via))
            say(*talker.run(other, via=via))
            """,
            via=VIA['things'],
            hash=made('any')[0].checksum,
            other=made('disk')[0].checksum,
        )
    code = getattr(said[0], 'code', said[0])
    assert (code, said[1]) == ('PBL-NOT-ANNOUNCED', b'')
    assert (said[3].status, said[4]) == (0, b'sda /dev/sda 1 {}\n')


@pytest.mark.parametrize('form', ['{hash}:{via}', ':{via}'])
def test_announced(house: House, form: str) -> None:
    """By its own hash and that of the resource job, or all that comes of that."""
    hash_ = made('any')[1].checksum
    announced = form.format(hash=hash_, via=VIA['things'])
    with installed(house):
        said = talk(
            house,
            """
            talker = Talker().open(announced)
            say(*talker.run(hash, via=via))
            say(*talker.run(hash, via=via))
            say(talker.run(via)[0], talker.run(hash)[0])
            """,
            announced=announced,
            hash=hash_,
            via=VIA['things'],
        )
    assert [said[1], said[4]] == [b'eth0|root|'] * 2
    assert [each.code for each in said[6:]] == ['PBL-NOT-ANNOUNCED'] * 2
    # The resource job runs but once in a channel.
    assert [event for event, _ in written(house)][:6] == [
        *('open', 'generate', 'start', 'end', 'start', 'end')
    ]


def test_all_that_a_local_job_prints(house: House) -> None:
    """`:VIA` says the same of a local job as its own hash does."""
    job = {'id': 'made', 'user': 'root', 'command': 'echo made ran'}
    local = {'id': 'l', 'plugin': 'local', 'command': 'cat $PLAINBOX_PROVIDER_DATA/j'}
    text = ''.join(f'{key}: {value}\n' for key, value in local.items())
    jobs = ''.join(f'{key}: {value}\n' for key, value in job.items())
    with house.provider('all', {'units/l.pxu': text, 'data/j': jobs}):
        said = talk(
            house,
            'say(Talker().open(":" + via).run(hash, via=via)[1])',
            hash=checksum(job),
            via=checksum(local),
        )
    assert said == [b'made ran\n']


def test_nothing_of_a_filter_runs(house: House, marked: Callable[[], bool]) -> None:
    """A filter is no Python: it makes nothing, and does nothing."""
    mark = "open('/marked', 'w')"
    units = UNITS.replace("things.kind == 'DISK'", f"{mark} or things.kind == 'DISK'")
    (bad, *_) = (
        u
        for u in library.units_of(units.encode(), 'units', OWNER, [])
        if u.kind != 'job'
    )
    hash_ = unit.instance_checksum(
        bad.fields, {'name': 'sda', 'path': '/dev/sda', '__index__': 1}
    )
    with house.provider('via', {'units/via.pxu': units, 'data/records': RECORDS}):
        assert refused(via(house, hash_), 'PBL-NOT-GENERATED')
    assert not marked()


@pytest.fixture
def marked(house: House) -> Callable[[], bool]:
    return lambda: house.path('/marked').exists()
