"""A restatement: how an answer changed between two knowledge dates, and which news changed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from tidemill.engine.comparison import Value
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, Row, json_value, utc_text

__all__ = ["Figure", "LateEvent", "RestatedMovement", "Restatement"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is another now.

    Attributes: ``key`` is what its row is about (period, dimensions); ``before`` and ``after`` are
    None where there was no such row, or no value; ``change`` counts a missing amount as nothing,
    and is None for a ratio that is missing on one side.
    """

    key: Mapping[str, Any]
    column: Column
    before: Value
    after: Value
    change: Value

    def document(self, units: Mapping[str, str]) -> dict[str, Any]:
        """The figure as JSON; `units` are those of the key's columns."""
        values = {"before": self.before, "after": self.after, "change": self.change}
        return {
            "key": {name: json_value(value, units[name]) for name, value in self.key.items()},
            "column": self.column.name,
            **{name: json_value(value, self.column.unit) for name, value in values.items()},
        }


@dataclass(frozen=True, slots=True)
class RestatedMovement:
    """A movement that only one of the two dates knows.

    Attributes: ``row`` is one of `mrr movements`; ``because`` the id of the late event it is put
    down to, None when no late event of its customer explains it.
    """

    what: Literal["added", "removed"]
    row: Row
    because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LateEvent:
    """An event that was recorded between the two dates and changed the answer.

    ``amount`` is what the movements put down to it sum to, in base currency at the rates of their
    days; None for an exchange rate, which moves no customer.
    """

    id: str
    source: str
    type: str
    customer: str | None
    subject: str
    occurred_at: datetime
    recorded_at: datetime
    amount: Decimal | None

    def document(self) -> dict[str, Any]:
        """The event as JSON."""
        return {
            "event_id": self.id,
            "source": self.source,
            "type": self.type,
            "customer": self.customer,
            "subject": self.subject,
            "occurred_at": utc_text(self.occurred_at),
            "recorded_at": utc_text(self.recorded_at),
            "amount": json_value(self.amount, "money"),
        }


@dataclass(frozen=True, kw_only=True)
class Restatement:
    """One question at two knowledge dates.

    Attributes: ``before`` and ``after`` are the two answers; ``figures`` what differs between them;
    ``movements`` those only one of them rests on; ``events`` the late events that made them so, in
    the order in which they were heard of.
    """

    before: Result
    after: Result
    figures: tuple[Figure, ...]
    movement_columns: tuple[Column, ...]
    movements: tuple[RestatedMovement, ...]
    events: tuple[LateEvent, ...]
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What else to know, of both answers."""
        return tuple(dict.fromkeys((*self.before.warnings, *self.after.warnings, *self.notes)))

    def to_dict(self) -> dict[str, Any]:
        """The restatement as the command line and the HTTP API give it in JSON."""
        units = {column.name: column.unit for column in self.after.columns}
        return {
            "metric": self.after.metric,
            "question": self.after.question,
            "known_at": [_known(self.before), _known(self.after)],
            "restated": [each.document(units) for each in self.figures],
            "movements": [self._movement(each) for each in self.movements],
            "events": [each.document() for each in self.events],
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "warnings": list(self.warnings),
        }

    def _movement(self, moved: RestatedMovement) -> dict[str, Any]:
        row = {c.name: json_value(moved.row[c.name], c.unit) for c in self.movement_columns}
        return {"change": moved.what, **row, "because": moved.because}


def _known(result: Result) -> str:
    assert result.known_at is not None, "each side of a restatement is of a knowledge date"
    return utc_text(result.known_at)
