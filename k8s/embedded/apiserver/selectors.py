"""Label and field selectors: parsed once, then asked of each object.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api and
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from attrs import frozen

from k8s.embedded.apiserver.errors import StatusError, bad_request
from k8s.embedded.apiserver.validation import label_key_problem, label_value_problem

_TOKEN: Final = re.compile(r"\s*(?:(==|!=|=|,|\(|\)|!|>|<)|([^\s,()=!<>]+))")


@frozen
class Requirement:
    """One condition on one label or field: `in`, `notin`, `exists`, `absent`, `gt`, `lt`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, values: Mapping[str, str]) -> bool:
        """Whether these labels (or fields) meet the condition. `notin` is met by a missing key, as in Kubernetes."""
        value = values.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                return _compares(value, self.operator, self.values)


def _compares(value: str | None, operator: str, values: Collection[str]) -> bool:
    try:
        found, bound = int(value or ""), int(next(iter(values)))
    except ValueError:
        return False
    return found > bound if operator == "gt" else found < bound


@frozen
class Selector:
    """All requirements must be met; none means everything is selected."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, values: Mapping[str, str]) -> bool:
        """Whether these labels (or fields) are selected."""
        return all(requirement.matches(values) for requirement in self.requirements)

    def exact(self, key: str) -> str | None:
        """The only value that `key` may have, if the selector says so."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator == "in" and len(requirement.values) == 1:
                return next(iter(requirement.values))
        return None

    def __bool__(self) -> bool:
        return bool(self.requirements)


EVERYTHING: Final = Selector()


def parse_labels(text: str | None) -> Selector:
    """The selector that a `labelSelector` parameter means.

    Raises StatusError 400 for what is no selector.
    """
    if not text or not text.strip():
        return EVERYTHING
    return _LabelParser(text).selector()


class _LabelParser:
    """Recursive descent over tokens; words are keys, values and the operators `in` and `notin`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._error(f"unexpected {text[position]!r}")
            self._tokens.append(found.group(1) or found.group(2))
            position = found.end()
        self._at = 0

    def _error(self, why: str) -> StatusError:
        return bad_request(f'unable to parse requirement: {why} in the selector "{self._text}"')

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def selector(self) -> Selector:
        requirements = [self._requirement()]
        while self._peek():
            if self._next() != ",":
                raise self._error(f"found '{self._tokens[self._at - 1]}', expected: ',' or 'end of string'")
            requirements.append(self._requirement())
        return Selector(tuple(requirements))

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._key(), "absent")
        key = self._key()
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key, "exists")
        self._next()
        match operator:
            case "=" | "==":
                return Requirement(key, "in", frozenset([self._value()]))
            case "!=":
                return Requirement(key, "notin", frozenset([self._value()]))
            case "in" | "notin":
                return Requirement(key, operator, self._values())
            case ">" | "<":
                bound = self._value()
                if not re.fullmatch(r"-?\d+", bound):
                    raise self._error("for 'Gt', 'Lt' operators, the value must be an integer")
                return Requirement(key, "gt" if operator == ">" else "lt", frozenset([bound]))
        raise self._error(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._next()
        if problem := label_key_problem(key):
            raise self._error(f'invalid label key "{key}": {problem}')
        return key

    def _value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        value = self._next()
        if problem := label_value_problem(value):
            raise self._error(f'invalid label value "{value}": {problem}')
        return value

    def _values(self) -> frozenset[str]:
        if self._next() != "(":
            raise self._error("expected '(' after in and notin")
        values = {self._value()}
        while (token := self._next()) == ",":
            values.add(self._value() if self._peek() != ")" else "")
        if token != ")":
            raise self._error("expected ')'")
        return frozenset(values)


_TERMS: Final = re.compile(r"(?:[^\\,]|\\.)+")
_TERM: Final = re.compile(r"((?:[^\\=!,]|\\.)+)(==|!=|=)((?:[^\\,=]|\\.)*)")


def parse_fields(text: str | None, known: Collection[str]) -> Selector:
    """The selector that a `fieldSelector` parameter means, over the fields in `known`.

    Raises StatusError 400 for what is no selector, and for a field that cannot be selected by.
    """
    if not text:
        return EVERYTHING
    requirements = []
    for term in _TERMS.findall(text):
        found = _TERM.fullmatch(term)
        if found is None:
            raise bad_request(f"invalid field selector: '{text}'; can't understand '{term}'")
        key, operator, value = found.groups()
        if key not in known:
            raise bad_request(f"field label not supported: {key}")
        plain = re.sub(r"\\(.)", r"\1", value)
        requirements.append(Requirement(key, "notin" if operator == "!=" else "in", frozenset([plain])))
    return Selector(tuple(requirements))
