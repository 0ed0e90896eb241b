"""Reading a segment's JSON: a tree of conditions, or every problem it has.

::

    {
        "and": [
            {"field": "country", "operator": "in", "value": ["DE", "AT"]},
            {"not": {"field": "mrr", "operator": "<", "value": 100}},
        ]
    }
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from tidemill.errors import InvalidDay, InvalidSegment
from tidemill.periods import parse_day
from tidemill.problems import Problem, did_you_mean
from tidemill.segments.fields import OPERATORS, Field

__all__ = ["All", "Condition", "Either", "Node", "Not", "conditions_of", "read_tree"]

_DEPTH_MAX: Final = 20
_CONDITIONS_MAX: Final = 200
_VALUES_MAX: Final = 1000
# A number beyond this is no amount, and PostgreSQL would take its digits literally.
_EXPONENT_MAX: Final = 30
_PAIR: Final = 2

_WRITE: Final = 'Write {"field": …, "operator": …, "value": …}, or "and", "or", "not" over such.'
_WITHOUT_VALUE: Final = frozenset({"is_empty", "is_not_empty"})
_LISTS: Final = frozenset({"in", "not_in", "between"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `value` is of the field's kind; a tuple for in, not_in and between."""

    field: Field
    operator: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class All:
    """All of them hold."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of them holds."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    of: Node


Node = Condition | All | Either | Not
"""A tree of conditions."""


def conditions_of(node: Node) -> Iterator[Condition]:
    """Every condition of a tree."""
    match node:
        case Condition():
            yield node
        case Not(of=inner):
            yield from conditions_of(inner)
        case All(of=several) | Either(of=several):
            for each in several:
                yield from conditions_of(each)


def read_tree(document: Any, fields: Mapping[str, Field]) -> Node:
    """The tree that a JSON document describes.

    fields: by name, what conditions may speak of.
    Raises: InvalidSegment with every problem, each with its place: ``and[0].not.value``.
    """
    reader = _Reader(fields)
    node = reader.node(document, "", 1)
    if reader.count > _CONDITIONS_MAX:
        reader.refuse("", f"has {reader.count} conditions, more than {_CONDITIONS_MAX}")
    if reader.problems:
        raise InvalidSegment(reader.problems)
    assert node is not None, "a segment without a problem has a tree"
    return node


@dataclass
class _Reader:
    fields: Mapping[str, Field]
    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def refuse(self, path: str, problem: str, hint: str = "") -> None:
        self.problems.append(Problem(path, problem, hint))

    def node(self, document: Any, path: str, depth: int) -> Node | None:
        """A node; None, and problems noted, when it is none."""
        if not isinstance(document, Mapping):
            self.refuse(path, "must be an object", _WRITE)
            return None
        if depth > _DEPTH_MAX:
            self.refuse(path, f"is nested more than {_DEPTH_MAX} deep")
            return None
        joints = [name for name in ("and", "or", "not") if name in document]
        if not joints:
            return self._condition(document, path)
        for name in document:
            if name != joints[0]:
                self.refuse(_at(path, str(name)), f"cannot stand beside {joints[0]!r}")
        inner, where = document[joints[0]], _at(path, joints[0])
        if joints[0] == "not":
            only = self.node(inner, where, depth + 1)
            return None if only is None else Not(only)
        return self._several(joints[0], inner, where, depth)

    def _several(self, joint: str, inner: Any, where: str, depth: int) -> Node | None:
        if not isinstance(inner, Sequence) or isinstance(inner, str):
            self.refuse(where, "must be a list of conditions", _WRITE)
            return None
        if not inner:
            self.refuse(where, "is empty", "Give it a condition, or leave it out.")
            return None
        nodes = [self.node(each, f"{where}[{n}]", depth + 1) for n, each in enumerate(inner)]
        whole = tuple(each for each in nodes if each is not None)
        return All(whole) if joint == "and" else Either(whole)

    def _condition(self, document: Mapping[str, Any], path: str) -> Node | None:
        self.count += 1
        known = ("field", "operator", "value")
        for name in document:
            if name not in known:
                hint = did_you_mean(str(name), known, otherwise=_WRITE)
                self.refuse(_at(path, str(name)), "is no part of a condition", hint)
        found = self._field(document, path)
        operator = self._operator(document, path, found)
        if found is None or operator is None:
            return None
        if operator in _WITHOUT_VALUE:
            if document.get("value") is not None:
                self.refuse(_at(path, "value"), f"has no meaning beside {operator!r}")
            return Condition(found, operator)
        if "value" not in document:
            self.refuse(_at(path, "value"), "is missing")
            return None
        before = len(self.problems)
        value = self._value(found, operator, document["value"], _at(path, "value"))
        return None if len(self.problems) > before else Condition(found, operator, value)

    def _field(self, document: Mapping[str, Any], path: str) -> Field | None:
        name, where = document.get("field"), _at(path, "field")
        if not isinstance(name, str):
            said = "must be a text" if "field" in document else "is missing"
            self.refuse(where, said, _WRITE)
            return None
        if name not in self.fields:
            hint = did_you_mean(name, self.fields, otherwise="See `tidemill segments fields`.")
            self.refuse(where, f"no field is named {_shown(name)}", hint)
            return None
        return self.fields[name]

    def _operator(self, document: Mapping[str, Any], path: str, found: Field | None) -> str | None:
        operator, where = document.get("operator"), _at(path, "operator")
        every = tuple(dict.fromkeys(each for some in OPERATORS.values() for each in some))
        possible = every if found is None else OPERATORS[found.kind]
        listed = f"Choose one of {', '.join(possible)}."
        if "operator" not in document:
            self.refuse(where, "is missing", listed)
        elif not isinstance(operator, str) or operator not in every:
            near = did_you_mean(str(operator), possible)
            self.refuse(where, f"{_shown(operator)} is no operator", f"{near} {listed}".strip())
        elif found is not None and operator not in possible:
            self.refuse(where, f"{operator!r} cannot compare a {found.kind}", listed)
        else:
            return operator
        return None

    def _value(self, found: Field, operator: str, value: Any, where: str) -> Any:
        if operator not in _LISTS:
            return self._one(found, value, where)
        if not isinstance(value, list):
            self.refuse(where, f"must be a list, because the operator is {operator!r}")
            return None
        if operator == "between":
            return self._between(found, value, where)
        if not value:
            self.refuse(where, "is an empty list", "Nothing is in it; name at least one value.")
        if len(value) > _VALUES_MAX:
            self.refuse(where, f"has {len(value)} values, more than {_VALUES_MAX}")
            return None
        return tuple(self._one(found, each, f"{where}[{n}]") for n, each in enumerate(value))

    def _between(self, found: Field, value: list[Any], where: str) -> Any:
        if len(value) != _PAIR:
            self.refuse(where, f"has {len(value)} values", "Give the least and the greatest.")
            return None
        least, greatest = (self._one(found, each, f"{where}[{n}]") for n, each in enumerate(value))
        if least is not None and greatest is not None and least > greatest:
            self.refuse(where, f"{least} is more than {greatest}", "Give the lesser one first.")
        return least, greatest

    def _one(self, found: Field, value: Any, where: str) -> Any:
        """One value as the field's kind; None, and a problem noted, when it is not of it."""
        try:
            read = _READ[found.kind](value)
        except ValueError as error:
            self.refuse(where, f"{_shown(value)} is no {found.kind}", str(error))
            return None
        if found.upper:
            read = read.upper()
        if found.values and read not in found.values:
            listed = f"Choose one of {', '.join(found.values)}."
            hint = f"{did_you_mean(read, found.values)} {listed}".strip()
            self.refuse(where, f"{_shown(value)} is no {found.name}", hint)
        return read


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"  # noqa: PLR2004 - of a line


def _string(value: Any) -> str:
    if not isinstance(value, str) or not value:
        message = "Write a text; for none use is_empty."
        raise ValueError(message)
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        message = "It holds a character that no text can hold."
        raise ValueError(message)
    return value


def _number(value: Any) -> Decimal:
    message = "Write a number."
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(message)  # noqa: TRY004 - one error for every wrong value
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(message) from error
    if not number.is_finite() or abs(number.adjusted()) > _EXPONENT_MAX:
        raise ValueError(message)
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        message = "Write true or false, without quotes."
        raise ValueError(message)  # noqa: TRY004 - one error for every wrong value
    return value


def _day(value: Any) -> date:
    message = "Write a day, YYYY-MM-DD."
    if not isinstance(value, str):
        raise ValueError(message)  # noqa: TRY004 - one error for every wrong value
    try:
        return parse_day(value)
    except InvalidDay as error:
        raise ValueError(message) from error


_READ: Final[Mapping[Literal["string", "number", "bool", "day"], Callable[[Any], Any]]] = {
    "string": _string,
    "number": _number,
    "bool": _flag,
    "day": _day,
}
