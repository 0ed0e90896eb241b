"""Two answers row against row: which figures differ, by how much, by which knob, and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tidemill.engine.answering import Asked
from tidemill.engine.comparison import Change, Key, Part, Value, less, total
from tidemill.errors import InvalidQuery, QueryError
from tidemill.metrics.base import Behind
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, Row
from tidemill.policy import Difference
from tidemill.problems import Problem

__all__ = [
    "Rows",
    "Shape",
    "changed_customers",
    "changes_of",
    "inside",
    "movements_by_customer",
    "rows_by_customer",
    "rows_of",
    "without",
]

# Counts that place a row, as a cohort's months do; they are no figures.
_PLACES: Final = frozenset({"offset"})
# The main figure of what goes from a level to a level, and of what has a size beside it.
_CLOSING: Final = "closing"
_VALUE: Final = "value"
# What makes two movements the same; instants move with netting and are left out.
_SAME_MOVEMENT: Final = (
    "day", "subscription", "plan", "type", "amount", "cause", "event_id",
)  # fmt: skip

Rows = Mapping[Key, Row]
"""Rows by the values of the columns that say what they are about."""


@dataclass(frozen=True)
class Shape:
    """Which columns of an answer say what a row is about, and which are figures."""

    columns: tuple[Column, ...]
    keys: tuple[Column, ...]
    figures: tuple[Column, ...]
    main: Column

    @classmethod
    def of(cls, asked: Asked, columns: tuple[Column, ...]) -> Shape:
        """The shape of an answer with these columns.

        Raises: InvalidQuery when it is a list, which has no figures to compare.
        """
        keys = tuple(each for each in columns if _is_key(each))
        figures = tuple(each for each in columns if not _is_key(each))
        if not figures or any(each.unit == "instant" for each in columns):
            raise InvalidQuery([_is_a_list(asked)])
        names = [each.name for each in figures]
        usual = next(
            (each for each in (asked.info.name, _CLOSING, _VALUE) if each in names), names[0]
        )
        return cls(columns, keys, figures, figures[names.index(usual)])

    @property
    def additive(self) -> tuple[Column, ...]:
        """The figures that customers' parts add up to: not quotients, but what they divide."""
        return tuple(each for each in self.figures if not each.quotient)

    @property
    def closes(self) -> bool:
        """Whether rows go from a level to a level, as a waterfall's do."""
        return self.main.name == _CLOSING

    @property
    def additive_main(self) -> Column | None:
        """The main figure, or the numerator of it."""
        names = (self.main.name, f"{self.main.name}_numerator")
        return next((each for each in self.additive if each.name in names), None)


def _is_key(column: Column) -> bool:
    return column.dimension or column.unit in {"day", "text"} or column.name in _PLACES


def _is_a_list(asked: Asked) -> Problem:
    what = f"{asked.info.name} {asked.question.name}"
    hint = "Compare a question with figures; the movements that differ are told with its customers."
    return Problem("question", f"{what} is a list and has no figures to compare", hint)


# --- rows -----------------------------------------------------------------------------------------


def rows_of(found: Result | QueryError, shape: Shape) -> Rows | None:
    """The rows by their keys; None without an answer."""
    if isinstance(found, QueryError):
        return None
    return _indexed(found.rows, shape)


def _indexed(rows: Iterable[Row], shape: Shape) -> Rows:
    """The rows by their keys; what has the same key (one id in two sources) is added up."""
    indexed: dict[Key, dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[each.name] for each in shape.keys)
        known = indexed.get(key)
        if known is None:
            indexed[key] = dict(row)
            continue
        for each in shape.figures:
            known[each.name] = _added(each, known[each.name], row[each.name])
    return indexed


def _added(column: Column, one: Value, other: Value) -> Value:
    """The sum of two rows' figures; quotients have none."""
    if column.quotient or one is None or other is None:
        return None
    return total((one, other))


def _figure(rows: Rows, key: Key, column: Column) -> Value:
    """A figure; of a row that is not there it is nothing, and a quotient is undefined."""
    row = rows.get(key)
    if row is not None:
        value: Value = row[column.name]
        return value
    if column.quotient:
        return None
    return Decimal(0) if column.unit == "money" else 0


def changes_of(
    shape: Shape,
    baseline: Result,
    other: Result,
    steps: Sequence[tuple[Difference, Rows | None]],
) -> Iterator[Change]:
    """The figures that differ, and all main ones, each with its parts by knob."""
    ends = _indexed(baseline.rows, shape), _indexed(other.rows, shape)
    known = [rows for _, rows in steps if rows is not None]
    for key in dict.fromkeys(key for rows in (*ends, *known) for key in rows):
        for column in shape.figures:
            start, end = (_figure(rows, key, column) for rows in ends)
            if start == end and column is not shape.main:
                continue
            values = (
                (turned, None if rows is None else _figure(rows, key, column))
                for turned, rows in steps
            )
            parts = () if start is None or end is None else tuple(_parts(start, values))
            yield Change(key, column, start, end, parts)


def _parts(start: Decimal | int, values: Iterable[tuple[Difference, Value]]) -> Iterator[Part]:
    """What each knob changes a figure by; knobs after which it is undefined wait for the next."""
    waiting: list[Difference] = []
    last = start
    for turned, value in values:
        waiting.append(turned)
        if value is None:
            continue
        amount = less(value, last)
        assert amount is not None
        yield Part(tuple(waiting), amount)
        waiting, last = [], value
    assert not waiting, "the last policy is the other side's, whose figure is defined"


# --- customers ------------------------------------------------------------------------------------


def rows_by_customer(result: Result, shape: Shape) -> dict[str, Rows]:
    """Customer → its rows."""
    apart: dict[str, list[Row]] = {}
    for row in result.rows:
        apart.setdefault(row["customer"], []).append(row)
    return {name: _indexed(rows, shape) for name, rows in apart.items()}


def changed_customers(
    shape: Shape, main: Column, one: Mapping[str, Rows], two: Mapping[str, Rows]
) -> list[tuple[str, tuple[Change, ...]]]:
    """The customers with a figure that differs, those that make the most difference first."""

    def weight(change: Change) -> tuple[bool, Decimal]:
        return change.column.name == main.name, abs(Decimal(change.difference or 0))

    found = []
    for name in dict.fromkeys((*one, *two)):
        before, after = one.get(name, {}), two.get(name, {})
        changes = [
            Change(key, column, _figure(before, key, column), _figure(after, key, column))
            for key in dict.fromkeys((*before, *after))
            for column in shape.additive
        ]
        differing = sorted((each for each in changes if each.differs), key=weight, reverse=True)
        if differing:
            found.append((name, tuple(differing)))
    found.sort(key=lambda each: each[0])
    found.sort(key=lambda each: weight(each[1][0]), reverse=True)
    return found


def movements_by_customer(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Customer → its movements."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["customer"], []).append(row)
    return found


def inside(behind: Behind, row: Row) -> bool:
    """Whether a movement is in the range; one without a start goes back to the beginning."""
    return behind.start is None or bool(row["day"] >= behind.start)


def without(rows: Iterable[Row], others: Iterable[Row]) -> list[Row]:
    """The movements that are not among the others, one for one."""
    left = Counter(_identity(row) for row in others)
    missing = []
    for row in rows:
        identity = _identity(row)
        if left[identity]:
            left[identity] -= 1
        else:
            missing.append(row)
    return missing


def _identity(row: Row) -> Key:
    names = _SAME_MOVEMENT if "amount" in row else row.keys()
    return tuple(row[name] for name in names)
