"""A comparison: one question under several policies, and what makes the answers differ.

The first policy is the baseline. Every other one is compared with it: by knob (the knobs that
differ, turned one after another in the order of `KNOBS`) and by customer (who differs, and which
movements only one of the two has). Amounts are exact; parts sum to their difference exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, Final

from tidemill.errors import QueryError
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Freshness, Result, Row, json_value, utc_text
from tidemill.policy import Difference, Policy

__all__ = [
    "Change",
    "Comparison",
    "CustomerChange",
    "CustomerChanges",
    "Key",
    "Pair",
    "Part",
    "Side",
    "ToldMovement",
    "Value",
    "less",
    "total",
]

Value = Decimal | int | None
"""A figure: money in minor units, a ratio, or a count; None when it is undefined."""

Key = tuple[Any, ...]
"""What a row of the answer is about: its dimensions, its period, its type."""

# Wide enough for any NUMERIC; the default context's 28 digits would round.
_EXACT: Final = Context(prec=400)


def less(one: Value, other: Value) -> Value:
    """One less the other, exactly; None when one of them is undefined."""
    if one is None or other is None:
        return None
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    return _EXACT.subtract(Decimal(one), Decimal(other))


def total(values: Iterable[Decimal | int]) -> Decimal | int:
    """The exact sum."""
    summed: Decimal | int = 0
    for value in values:
        if isinstance(summed, int) and isinstance(value, int):
            summed += value
        else:
            summed = _EXACT.add(Decimal(summed), Decimal(value))
    return summed


@dataclass(frozen=True, slots=True)
class Side:
    """One policy with its answer, or with the reason why it has none."""

    label: str
    policy: Policy
    result: Result | None
    error: QueryError | None = None

    def document(self) -> dict[str, Any]:
        """The side as JSON."""
        shown: dict[str, Any] = {
            "label": self.label,
            "policy": {
                "preset": self.policy.preset,
                "set": dict(self.policy.overrides),
                "hash": self.policy.hash,
            },
            "rows": None,
        }
        if self.result is not None:
            shown["rows"] = self.result.to_dict()["rows"]
        if self.error is not None:
            shown["error"] = {"code": self.error.code, "detail": self.error.message}
        return shown


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a difference that turning a knob makes.

    There are several knobs where the figure could not be told after the first ones alone.
    """

    turned: tuple[Difference, ...]
    amount: Decimal | int

    @property
    def knobs(self) -> str:
        """The names of the knobs, joined."""
        return " + ".join(each.knob for each in self.turned)


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of the answer under both policies.

    ``difference`` is the other's less the baseline's, and the sum of ``parts``; it is None, and
    there are no parts, when one of them is undefined.
    """

    key: Key
    column: Column
    baseline: Value
    other: Value
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        """Whatever is told of a difference must be all of it."""
        if self.parts:
            assert total(each.amount for each in self.parts) == self.difference

    @property
    def difference(self) -> Value:
        """The other's figure less the baseline's."""
        return less(self.other, self.baseline)

    @property
    def differs(self) -> bool:
        """Whether the figures are not the same."""
        return self.baseline != self.other

    def document(self, keys: tuple[Column, ...]) -> dict[str, Any]:
        """The change as JSON."""
        unit = self.column.unit
        return {
            "key": {
                each.name: json_value(value, each.unit)
                for each, value in zip(keys, self.key, strict=True)
            },
            "figure": self.column.name,
            "baseline": json_value(self.baseline, unit),
            "other": json_value(self.other, unit),
            "difference": json_value(self.difference, unit),
        }


@dataclass(frozen=True, slots=True)
class ToldMovement:
    """A movement, and the one policy that has it; None when both do."""

    under: str | None
    columns: tuple[Column, ...]
    row: Row

    def document(self) -> dict[str, Any]:
        """The movement as JSON."""
        told = {each.name: json_value(self.row[each.name], each.unit) for each in self.columns}
        return {"under": self.under, **told}


@dataclass(frozen=True, slots=True)
class CustomerChange:
    """A customer whose part of the answer differs.

    ``changes`` are its figures that differ, the largest difference first. ``movements`` are those
    that only one policy has; where both have the same, those within the range asked about.
    """

    customer: str
    changes: tuple[Change, ...]
    movements: tuple[ToldMovement, ...]


@dataclass(frozen=True, slots=True)
class CustomerChanges:
    """The customers that differ most, the largest difference first.

    ``count`` is how many differ altogether; ``others`` what those that are not listed add to the
    difference of ``figure``, over all rows of the answer together.
    """

    figure: Column
    listed: tuple[CustomerChange, ...]
    count: int
    others: Decimal | int


@dataclass(frozen=True, slots=True)
class Pair:
    """A policy compared with the baseline.

    ``knobs`` are those on which they differ, in the order in which they are turned; ``idle`` those
    among them that do not bear on this metric. ``changes`` are the figures that differ and all of
    the main figure; ``customers`` is None where the question cannot be cut by customer.
    """

    baseline: str
    other: str
    knobs: tuple[Difference, ...]
    idle: tuple[str, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    customers: CustomerChanges | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One question under several policies, the first of which is the baseline.

    ``keys`` are the columns that say what a row is about, ``figure`` is the main one of the others.
    """

    metric: str
    question: str
    params: Mapping[str, Any]
    columns: tuple[Column, ...]
    keys: tuple[Column, ...]
    figure: Column
    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    as_of: datetime
    known_at: datetime | None
    dimensions: tuple[str, ...]
    filters: tuple[str, ...]
    freshness: tuple[Freshness, ...]

    @property
    def complete(self) -> bool:
        """Whether every side has an answer that is whole and final."""
        return all(each.result is not None and each.result.complete for each in self.sides)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once; of a side's own ones it is said whose they are."""
        found: dict[str, list[str]] = {}
        for each in self.sides:
            for warning in each.result.warnings if each.result else ():
                found.setdefault(warning, []).append(each.label)
        answered = sum(each.result is not None for each in self.sides)
        return tuple(
            warning if len(labels) == answered else f"{', '.join(labels)}: {warning}"
            for warning, labels in found.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """The comparison as the command line and the HTTP API give it in JSON."""
        return {
            "metric": self.metric,
            "question": self.question,
            "params": {name: json_value(value, "text") for name, value in self.params.items()},
            "dimensions": list(self.dimensions),
            "filters": list(self.filters),
            "columns": [each.document() for each in self.columns],
            "keys": [each.name for each in self.keys],
            "figure": self.figure.name,
            "sides": [each.document() for each in self.sides],
            "differences": [self._pair(each) for each in self.pairs],
            "as_of": utc_text(self.as_of),
            "known_at": self.known_at and utc_text(self.known_at),
            "complete": self.complete,
            "warnings": list(self.warnings),
            "freshness": [each.document() for each in self.freshness],
        }

    def _pair(self, pair: Pair) -> dict[str, Any]:
        found = pair.customers
        return {
            "baseline": pair.baseline,
            "other": pair.other,
            "knobs": [
                {
                    "knob": knob,
                    "baseline": value,
                    "other": other,
                    "bears_on_metric": knob not in pair.idle,
                }
                for knob, value, other in pair.knobs
            ],
            "changes": [
                each.document(self.keys) | {"by_knob": _parts(each)} for each in pair.changes
            ],
            "notes": list(pair.notes),
            "by_customer": found
            and {
                "figure": found.figure.name,
                "customer_count": found.count,
                "others": json_value(found.others, found.figure.unit),
                "customers": [
                    {
                        "customer": each.customer,
                        "changes": [change.document(self.keys) for change in each.changes],
                        "movements": [movement.document() for movement in each.movements],
                    }
                    for each in found.listed
                ],
            },
        }


def _parts(change: Change) -> list[dict[str, Any]]:
    """The parts that are not zero; every knob that was turned stands with the pair."""
    return [
        {
            "knobs": [each.knob for each in part.turned],
            "difference": json_value(part.amount, change.column.unit),
        }
        for part in change.parts
        if part.amount
    ]
