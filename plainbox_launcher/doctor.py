# SPDX-License-Identifier: ISC
"""Whether root's jobs will run here, and if not, why, before anybody tries.

Each check makes findings of the facts that `surroundings` gathered, and looks at
nothing else.
"""

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator
from gettext import gettext as _
from gettext import ngettext
from typing import Final, NamedTuple

from . import __version__, elevate, report, surroundings
from .logind import Session
from .polkit import Action, Rehearsal
from .refusals import HINTS
from .surroundings import Facts
from .trusted import errors
from .trusted.errors import Refused

OK: Final = 'ok'
WARNING: Final = 'warning'
PROBLEM: Final = 'problem'
UNKNOWN: Final = 'unknown'

ROOT_JOBS: Final = 0
NO_ROOT_JOBS: Final = 3

_PYTHON: Final = (3, 11)


class Finding(NamedTuple):
    """One line for people: its mark, what it is about, and the sentence.

    `code` is that of the refusal in which a run would end, if it would; `cure` says
    what to do. A warning alone keeps no job of root's from running.
    """

    mark: str
    about: str
    text: str
    code: str = ''
    cure: str = ''


def examine(*, as_json: bool, width: int) -> int:
    """Print what is found; the exit status says whether root's jobs will run."""
    findings = diagnose(surroundings.gather())
    print(in_json(findings) if as_json else as_text(findings, width))
    return ROOT_JOBS if will_run(findings) else NO_ROOT_JOBS


def diagnose(facts: Facts) -> list[Finding]:
    """What the facts mean, in the order in which a run meets them."""
    # From inside, nothing is root's: whatever else we saw would be a lie.
    checks = CHECKS[:2] if facts.view.user_namespace else CHECKS
    return [finding for check in checks for finding in check(facts)]


def will_run(findings: Iterable[Finding]) -> bool | None:
    """Whether root's jobs will run; None if that cannot be told."""
    marks = {finding.mark for finding in findings}
    if PROBLEM in marks:
        return False
    return None if UNKNOWN in marks else True


def in_json(findings: list[Finding]) -> str:
    """Findings for programs."""
    listed = [finding._asdict() for finding in findings]
    return json.dumps({'root_jobs': will_run(findings), 'findings': listed}, indent=2)


def as_text(findings: list[Finding], width: int) -> str:
    """Findings for people: a line for each, cures below, and what comes of it."""
    marks = {
        OK: _('ok'),
        WARNING: _('warning'),
        PROBLEM: _('PROBLEM'),
        UNKNOWN: _('unknown'),
    }
    column = max(map(len, marks.values())) + 2
    indent = column + max(len(finding.about) for finding in findings) + 2
    lines = []
    for mark, about, text, code, cure in findings:
        head = f'{marks[mark]:<{column}}{about}'
        said = f'{code}: {text}' if code else text
        lines.append(_wrapped(said, width, f'{head:<{indent}}'))
        if cure:
            lines.append(_wrapped(cure, width, ' ' * indent))
    return '\n'.join([*lines, '', _verdict(findings)])


def _wrapped(text: str, width: int, head: str) -> str:
    return textwrap.fill(
        report.shown(text),
        width,
        initial_indent=head,
        subsequent_indent=' ' * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _verdict(findings: list[Finding]) -> str:
    number = sum(finding.mark == PROBLEM for finding in findings)
    if number:
        text = ngettext(
            "not ready for root's jobs: {number} problem",
            "not ready for root's jobs: {number} problems",
            number,
        )
        return text.format(number=number)
    if will_run(findings):
        return _("ready for root's jobs")
    return _("it cannot be told whether root's jobs will run")


# From facts to findings


def _python(facts: Facts) -> Iterator[Finding]:
    text = '.'.join(map(str, facts.python))
    if facts.python >= _PYTHON:
        yield Finding(OK, 'Python', text)
    else:
        least = '.'.join(map(str, _PYTHON))
        cure = _('install Python {version} or later').format(version=least)
        yield Finding(PROBLEM, 'Python', text, cure=cure)


def _pkexec(facts: Facts) -> Iterator[Finding]:
    if not facts.pkexec:
        yield _problem('pkexec', 'PBL-NO-PKEXEC', _('pkexec is not installed'))
    elif not facts.setuid:
        text = _('{path} is not setuid root').format(path=facts.pkexec)
        yield _problem('pkexec', 'PBL-NOT-SETUID', text)
    elif facts.nosuid:
        text = _('the file system of {path} is mounted with nosuid')
        yield _problem('pkexec', 'PBL-NOT-SETUID', text.format(path=facts.pkexec))
    else:
        text = _('{path}, setuid root').format(path=facts.pkexec)
        yield Finding(OK, 'pkexec', text)


def _launcher(facts: Facts) -> Iterator[Finding]:
    about, found = _('launcher'), facts.launcher
    if isinstance(found, Refused):
        yield Finding(PROBLEM, about, found.fact, found.code, _(found.hint))
    elif found != __version__:
        text = _('it is version {version}, and plainbox is {ours}')
        cure = _('install plainbox and the launcher in one version')
        text = text.format(version=found, ours=__version__)
        yield Finding(WARNING, about, text, cure=cure)
    else:
        text = _("{path} {version}, root's own")
        text = text.format(path=elevate.LAUNCHER, version=found)
        yield Finding(OK, about, text)


def _privileges(facts: Facts) -> Iterator[Finding]:
    about = _('privileges')
    if facts.view.no_new_privs:
        text = _('no_new_privs keeps us from becoming root')
        yield _problem(about, 'PBL-NO-NEW-PRIVS', text)
    if facts.view.user_namespace:
        text = _('we are in a user namespace, whose root is not root')
        yield _problem(about, 'PBL-NAMESPACE', text)
    if not (facts.view.no_new_privs or facts.view.user_namespace):
        yield Finding(OK, about, _('nothing keeps a process of ours from being root'))


def _action(facts: Facts) -> Iterator[Finding]:
    about, found = _('policy'), facts.action
    if isinstance(found, Refused):
        # Without dbus-next we are only blind, which is no problem of pkexec's.
        mark = UNKNOWN if found.code == 'PBL-NO-DBUS-NEXT' else PROBLEM
        yield Finding(mark, about, found.fact, found.code, _(found.hint))
    elif found is None:
        text = _('the polkit action {action} is not installed')
        yield _problem(about, 'PBL-NO-POLICY', text.format(action=elevate.ACTION))
    elif found.path != elevate.LAUNCHER:
        text = _('the polkit action is for {path}').format(path=found.path or '-')
        yield _problem(about, 'PBL-NO-POLICY', text)
    else:
        yield Finding(OK, about, _variant(found))


def _variant(action: Action) -> str:
    match action.any, action.inactive, action.active:
        case 'no', 'no', 'auth_admin_keep':
            return _('auth_admin_keep: asks whoever sits here for a password')
        case 'no', 'no', 'yes':
            return _('yes: asks nobody who sits here')
        case _:
            text = _('of its own: any {any}, inactive {inactive}, active {active}')
            return text.format(**action._asdict())


def _session(facts: Facts) -> Iterator[Finding]:
    """No problem by itself: a rule may allow what the policy does not."""
    about, found = _('session'), facts.session
    if isinstance(found, str):
        yield Finding(WARNING, about, found)
    elif found is None:
        text = _('none, so that for polkit we are not at this machine')
        yield Finding(WARNING, about, text)
    else:
        near = found.active and found.local
        yield Finding(OK if near else WARNING, about, _described(found))


def _described(session: Session) -> str:
    where = session.seat or (_('remote') if session.remote else _('without a seat'))
    active = _('active') if session.active else _('not active')
    return ', '.join((session.id, active, where, session.type))


def _consent(facts: Facts) -> Iterator[Finding]:
    about, found = _('consent'), facts.rehearsal
    if found is None:  # what was found before says why
        return
    if isinstance(found, Refused):
        yield Finding(PROBLEM, about, found.fact, found.code, _(found.hint))
    elif found.asked:
        text = _('polkit will ask for the password of {names}')
        names = _(' or ').join(found.asked)
        yield Finding(OK, about, text.format(names=names))
        yield from _prompt(facts)
    elif found.status:
        yield _refusal(about, found)
    else:
        yield Finding(OK, about, _given(facts))


def _given(facts: Facts) -> str:
    """Why polkit does not ask."""
    if facts.root:
        return _('nobody is asked, we are root')
    if isinstance(facts.action, Action) and _implied(facts.action, facts) == 'yes':
        return _('nobody is asked, as the policy says')
    return _('nobody is asked, as a rule of polkit says')


def _implied(action: Action, facts: Facts) -> str:
    """What the policy says where no rule does: polkit(8), DECLARING ACTIONS."""
    if not isinstance(facts.session, Session) or not facts.session.local:
        return action.any
    return action.active if facts.session.active else action.inactive


def _refusal(about: str, found: Rehearsal) -> Finding:
    refused = elevate.understand(found.status, printed=False, stderr=found.stderr)
    if refused is None:
        text = _('pkexec ended with {status}: {words}')
        text = text.format(status=found.status, words=found.stderr.strip())
        return _problem(about, 'PBL-PKEXEC', text)
    hint = refused.hint
    if refused.code == 'PBL-NOT-AUTHORIZED':
        hint = HINTS['PBL-NO-AGENT']  # without the part on passwords: nobody was asked
    return Finding(PROBLEM, about, refused.fact, refused.code, _(hint))


def _prompt(facts: Facts) -> Iterator[Finding]:
    about = _('prompt')
    if facts.agent:
        yield Finding(OK, about, _("the desktop's dialog"))
    elif facts.terminal:
        yield Finding(OK, about, _('pkttyagent, on this terminal'))
    else:
        text = _('there is neither a desktop nor a terminal to ask on')
        yield _problem(about, 'PBL-NO-AGENT', text)


def _log(facts: Facts) -> Iterator[Finding]:
    about = _('system log')
    if facts.log:
        yield _problem(about, 'PBL-AUDIT', facts.log)
    else:
        yield Finding(OK, about, _('listens on {path}').format(path=surroundings.LOG))


def _view(facts: Facts) -> Iterator[Finding]:
    about, view = _('view'), facts.view
    parts = []
    if view.read_only:
        parts.append(_('{paths} read-only').format(paths=' '.join(view.read_only)))
    if view.private:
        parts.append(_('{paths} of its own').format(paths=' '.join(view.private)))
    if parts:
        text = _("root's jobs will see a sandbox: {parts}")
        cure = _(
            'to test the machine, run plainbox outside of the service or container'
        )
        yield Finding(WARNING, about, text.format(parts=', '.join(parts)), cure=cure)
    else:
        yield Finding(OK, about, _("root's jobs will see the machine as it is"))


def _providers(facts: Facts) -> Iterator[Finding]:
    about = _('providers')
    text = ngettext('{number} provider', '{number} providers', facts.providers)
    parts = [text.format(number=facts.providers)]
    text = ngettext('{number} job', '{number} jobs', facts.jobs)
    parts.append(text.format(number=facts.jobs))
    text = ngettext(
        '{number} of them needs root', '{number} of them need root', facts.root_jobs
    )
    parts.append(text.format(number=facts.root_jobs))
    if facts.root_jobs:
        yield Finding(OK, about, ', '.join(parts))
    else:
        cure = _('install a provider, such as plainbox-provider-system')
        yield Finding(WARNING, about, ', '.join(parts), cure=cure)
    for fault in dict.fromkeys(map(str, facts.faults)):
        yield Finding(WARNING, about, fault)


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    *(_python, _privileges, _pkexec, _launcher, _action, _session, _consent),
    *(_log, _view, _providers),
)


def _problem(about: str, code: str, text: str) -> Finding:
    return Finding(PROBLEM, about, text, code, _({**errors.HINTS, **HINTS}[code]))
