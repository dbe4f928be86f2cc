# SPDX-License-Identifier: ISC
"""What people see: lines of plain text, in their language."""

import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from gettext import gettext as _
from gettext import ngettext
from glob import escape
from math import inf
from typing import Final

from .catalogue import Job
from .process import Ended
from .refusals import REFUSALS, cures
from .result import (
    CANCELLED,
    DENIED,
    FAILED,
    LOST,
    PASSED,
    SKIPPED,
    TIMEOUT,
    Result,
)
from .store import PENDING, REBOOTING, RUNNING

_ORDER = (PASSED, FAILED, TIMEOUT, CANCELLED, LOST, DENIED, SKIPPED)
_TO_RUN_AGAIN: Final = (FAILED, TIMEOUT, LOST)

#: What drives a terminal, ECMA-48: a sequence, a string up to its end, or ESC alone.
ESCAPE: Final = re.compile(
    r'(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]'
    r'|\x1b[]PX^_].*?(?:\x07|\x1b\\|\Z)'
    r'|\x1b(?:[ -/]*[0-~])?'
)

_LAST: Final = 10  # lines of what a job printed, that the summary repeats


def shown(text: str) -> str:
    """Text in one line of any script, that no terminal takes for its own.

    Escaped is what is no character to be seen: controls, but also what turns the
    direction of writing, and bytes that are not text.
    """
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def visible(text: str) -> str:
    """What a terminal would show of a line of a job's output, as `shown`."""
    return shown(ESCAPE.sub('', text.rstrip('\r').rpartition('\r')[2].expandtabs()))


def span(seconds: float) -> str:
    """A time for people: `12 s`, `3 min 05 s` or `1 h 02 min`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        text = _('{hours} h {minutes} min')
        return text.format(hours=hours, minutes=f'{minutes:02}')
    if minutes:
        text = _('{minutes} min {seconds} s')
        return text.format(minutes=minutes, seconds=f'{rest:02}')
    return _('{seconds} s').format(seconds=rest)


def heading(number: int, total: int, job: Job) -> str:
    """The line above the output of a job."""
    return f'[{number:>{len(str(total))}}/{total}] {_called(job)}'


def running(job: Job, elapsed: float, limit: float) -> str:
    """What runs, for how long, in seconds, and how long it may."""
    time = span(elapsed)
    if limit != inf:
        time = _('{time} of {limit}').format(time=time, limit=span(limit))
    return f'{_called(job)}, {time}'


def heartbeat(elapsed: float, limit: float, silence: float | None) -> str:
    """The line in a log that says that a job still runs.

    `silence` is how long it has printed nothing, None if it never did.
    """
    facts = [_('no output yet')]
    if silence is not None:
        facts = [_('last output {time} ago').format(time=span(silence))]
    if limit != inf:
        facts.insert(0, _('time limit {time}').format(time=span(limit)))
    text = _('still running after {time}').format(time=span(elapsed))
    return f'    {text}: {", ".join(facts)}'


def _called(job: Job) -> str:
    who = _(', as {user}').format(user=shown(job.user)) if job.user else ''
    return f'{shown(job.short_id)}{who}'


def verdict(result: Result) -> str:
    """The line below the output of a job."""
    word = _words()[result.outcome]
    if result.ended or result.outcome in (PASSED, FAILED):
        text = _('{outcome} in {seconds} s')
        word = text.format(outcome=word, seconds=f'{result.seconds:.1f}')
    return f'    {word}{_detail(result)}'


def word(outcome: str) -> str:
    """An outcome as people see it, or the status of a job that has none yet."""
    return _words()[outcome]


def summary(results: Sequence[Result], again: Sequence[str] = ()) -> str:
    """The count of each outcome, and again what did not pass.

    Below what failed are its last lines, and `again`, the command that ran it, for
    this job alone.
    """
    words = _words()
    width = max((len(words[result.outcome]) for result in results), default=0)
    lines = [
        line
        for result in sorted(results, key=lambda result: _ORDER.index(result.outcome))
        if result.outcome != PASSED
        for line in (
            f'{words[result.outcome]:<{width}}  {shown(result.job.short_id)}'
            f'{_detail(result)}',
            *_aftermath(result, again),
        )
    ]
    return '\n'.join([*lines, total(Counter(result.outcome for result in results))])


def total(counts: Mapping[str, int]) -> str:
    """How many jobs there were, and of each outcome."""
    number = sum(counts.values())
    text = ngettext('{number} job: {outcomes}', '{number} jobs: {outcomes}', number)
    return text.format(number=number, outcomes=counted(counts) or _('nothing ran'))


def counted(counts: Mapping[str, int]) -> str:
    """The number of each outcome that there was."""
    words = _words()
    return ', '.join(f'{counts[w]} {words[w]}' for w in words if counts.get(w))


def _aftermath(result: Result, again: Sequence[str]) -> list[str]:
    """What helps to understand a failure: its last lines, and to see it once more."""
    if result.outcome not in _TO_RUN_AGAIN:
        return []
    lines = last_lines(result.ended) if result.ended else []
    command = shlex.join([*again, escape(result.job.short_id)])
    said = _('again: {command}').format(command=shown(command))
    return [f'    {line}' for line in [*lines, said]]


def last_lines(ended: Ended) -> list[str]:
    """The last lines that a job printed; half of them errors, if there are so many."""
    out, err = (_lines(text) for text in (ended.stdout, ended.stderr))
    half = _LAST // 2
    return out[-max(half, _LAST - len(err)) :] + err[-max(half, _LAST - len(out)) :]


def _lines(output: bytes) -> list[str]:
    text = output[-(1 << 14) :].decode('utf-8', 'replace').rstrip()
    return [visible(line).rstrip() for line in text.split('\n')] if text else []


def codes(width: int) -> str:
    """All codes of refusals, each with its meaning."""
    indent = max(map(len, REFUSALS)) + 2
    return '\n'.join(
        _wrapped(_(refusal.meaning), width, f'{code:<{indent}}', ' ' * indent)
        for code, refusal in REFUSALS.items()
    )


def explanation(code: str, width: int) -> str:
    """What a refusal means, where it comes from, and what helps."""
    refusal = REFUSALS[code]
    return '\n'.join(
        [
            code,
            _wrapped(_(refusal.meaning), width, '  ', '  '),
            *_points(_('Causes'), refusal.causes, width),
            *_points(_('What helps'), cures(code), width),
        ]
    )


def _points(title: str, texts: Iterable[str], width: int) -> list[str]:
    return ['', f'  {title}', *(_wrapped(_(t), width, '  - ', '    ') for t in texts)]


def _wrapped(text: str, width: int, first: str, other: str) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,  # options and codes stay whole
    )


def _words() -> dict[str, str]:
    """Outcomes as people see them, and what there is before one, in their order."""
    return {
        PASSED: _('passed'),
        FAILED: _('failed'),
        TIMEOUT: _('timed out'),
        CANCELLED: _('cancelled'),
        LOST: _('lost'),
        DENIED: _('denied'),
        SKIPPED: _('skipped'),
        RUNNING: _('running'),
        REBOOTING: _('restarting the machine'),
        PENDING: _('not run yet'),
    }


def _detail(result: Result) -> str:
    return f': {shown(result.detail)}' if result.detail else ''
