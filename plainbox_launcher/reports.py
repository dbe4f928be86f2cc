# SPDX-License-Identifier: ISC
"""Placeholder until the reports are merged."""

import json

from .store import Ledger, Session

FORMATS = ('text', 'json', 'junit')


def write(ledger: Ledger, session: Session, form: str) -> bytes:
    return json.dumps([form, *(r._asdict() for r in ledger.rows(session))], indent=1).encode()


def save(ledger: Ledger, session: Session, form: str, path: str) -> None:
    with open(path, 'wb') as file:
        file.write(write(ledger, session, form))


def require_writable(path: str) -> None:
    with open(path, 'ab'):
        pass


def sessions_in_text(ledger: Ledger) -> str:
    return ''.join(f'{s.id} {s.completed_at}\n' for s in ledger.sessions())


sessions_in_json = sessions_in_text


def session_in_text(ledger: Ledger, session: Session) -> str:
    return ''.join(f'{r.number} {r.job} {r.status} {r.reason}\n' for r in ledger.rows(session))
