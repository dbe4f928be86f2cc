# SPDX-License-Identifier: ISC
"""Patterns of ids: shell patterns, and regular expressions. Pure.

What a template will make is not known before its resource job has run, so its id is
compared as if each `{...}` stood for any text: where a pattern may match, the template
counts as matching, and where it may not match, as not excluded. What was made is
compared again.
"""

import re
from fnmatch import translate
from functools import lru_cache
from gettext import gettext as _
from typing import Final, NamedTuple

from .catalogue import Job, template_id
from .refusals import refusal

_SPECIAL: Final = re.compile(r'[.^$*+?{}\[\]\\|()]')
_QUANTIFIERS: Final = '*+?{'
# Of a provider: so that the dots in it stand for themselves.
_NAMESPACE: Final = re.compile(r'([\w.-]+)::(.+)', re.DOTALL)
_ANY: Final = '\0'  # in no id, so that only a star matches it


class Pattern(NamedTuple):
    """A pattern of whole ids, full or short; with a namespace, of short ones in it.

    `head` and `tail` are what every id that matches begins and ends with; `sure` is the
    pattern again if all that is special in it are stars, of which more can be said.
    """

    text: str
    regex: re.Pattern[str]
    head: str
    tail: str
    sure: re.Pattern[str] | None
    namespace: str | None = None

    @property
    def literal(self) -> bool:
        """Whether it is nothing but an id."""
        return self.head == self.text

    def matches(self, job: Job) -> bool:
        """Whether it matches a job, or may match one that a template makes."""
        if job.fruitless:
            return self.covers(job)
        test = self._may_match if _is_open(job) else self.regex.fullmatch
        return self._is_template_of(job) or any(map(test, self._names(job.id)))

    def covers(self, job: Job) -> bool:
        """Whether it matches a job, and if that is a template all that it makes."""
        test = self._surely_matches if _is_open(job) else self.regex.fullmatch
        return self._is_template_of(job) or any(map(test, self._names(job.id)))

    def _names(self, id_: str) -> list[str]:
        namespace, _colons, short = id_.rpartition('::')
        if self.namespace is None:
            return [id_, short]
        return [short] if namespace == self.namespace else []

    def _is_template_of(self, job: Job) -> bool:
        own = template_id(job.unit) if job.unit.kind == 'template' else job.template
        return bool(own) and self.text in self._names(own)

    def _may_match(self, id_: str) -> bool:
        head, tail = _ends(id_)
        if self.literal:
            return self.text.startswith(head) and self.text.endswith(tail)
        return (
            (head.startswith(self.head) or self.head.startswith(head))
            and (tail.endswith(self.tail) or self.tail.endswith(tail))
        )  # fmt: skip

    def _surely_matches(self, id_: str) -> bool:
        head, tail = _ends(id_)
        return bool(self.sure and self.sure.fullmatch(head + _ANY + tail))


class Rule(NamedTuple):
    """What a pattern selects, but for what others take away again.

    `where` is the file and line of a test plan; '' on the command line.
    """

    pattern: Pattern
    where: str = ''
    but: tuple[Pattern, ...] = ()

    def takes(self, job: Job) -> bool:
        """Whether a job is selected by this."""
        return self.pattern.matches(job) and not self.excludes(job)

    def excludes(self, job: Job) -> bool:
        """Whether a job is taken away, if it matches."""
        return any(pattern.covers(job) for pattern in self.but)


@lru_cache(4096)
def glob(text: str) -> Pattern:
    """A shell pattern, see glob(7)."""
    head = re.split(r'[*?[]', text, maxsplit=1)[0]
    tail = re.split(r'[*?\]]', text)[-1]
    sure = None if '[' in text else _of_stars(text)
    return Pattern(text, re.compile(translate(text)), head, tail, sure)


@lru_cache(4096)
def regex(text: str, where: str = '') -> Pattern:
    """A regular expression of Python's. Raises Refused."""
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        fact = _('{pattern} is no regular expression: {reason}')
        fact = fact.format(pattern=text, reason=error)
        raise refusal('PBL-PATTERN', f'{where}: {fact}' if where else fact) from None
    if '|' in text or compiled.flags != re.UNICODE:
        return Pattern(text, compiled, '', '', None)
    simple = not _SPECIAL.search(text.replace('.*', '').replace('.', ''))
    sure = _of_stars(text.replace('.*', '*')) if simple else None
    return Pattern(text, compiled, *_literal_ends(text), sure)


def of_plan(text: str, where: str, namespace: str) -> Pattern:
    """A regular expression of a test plan, short ids being of its namespace."""
    if match := _NAMESPACE.fullmatch(text):
        namespace, text = match.groups()
    elif '::' in text:
        return regex(text, where)
    return regex(text, where)._replace(namespace=namespace)


def _is_open(job: Job) -> bool:
    """Whether it is not known yet what ids it stands for."""
    return job.unit.kind == 'template' and '{' in job.id


def _ends(id_: str) -> tuple[str, str]:
    """What stands before and behind all that a template fills in."""
    return id_.partition('{')[0], id_.rpartition('}')[2]


def _of_stars(text: str) -> re.Pattern[str]:
    return re.compile('.*'.join(map(re.escape, text.split('*'))), re.DOTALL)


def _literal_ends(text: str) -> tuple[str, str]:
    """What each match of a regular expression begins and ends with, at least."""
    inner = text.removeprefix('^').removesuffix('$')
    specials = list(_SPECIAL.finditer(inner))
    if not specials:
        return inner, inner
    first, last = specials[0], specials[-1]
    head, tail = inner[: first.start()], inner[last.end() :]
    if first[0] in _QUANTIFIERS:  # which is about the character before it
        head = head[:-1]
    return head, '' if last[0] == '\\' else tail
