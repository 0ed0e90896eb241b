"""The summary: the headline numbers with their change, and how MRR moved in the last months."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from tidemill.errors import QueryError
from tidemill.metrics.base import Column
from tidemill.metrics.result import Result, json_value, utc_text
from tidemill.periods import add_months, period_start

__all__ = ["Ask", "Headline", "Summary", "summarise"]

# Metric, question, and whether it is asked of a day or of the month up to that day.
_HEADLINES: Final = (
    ("mrr", "current", "at"),
    ("arr", "current", "at"),
    ("customers", "current", "at"),
    ("quick_ratio", "current", "range"),
)
_WATERFALL_MONTHS: Final = 6

Ask = Callable[[str, str, Mapping[str, Any]], Result]


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One number and what it was a month before.

    ``error`` is set, and the numbers are None, when the question could not be answered; None
    without an error means undefined.
    """

    metric: str
    column: Column | None = None
    value: Decimal | int | None = None
    previous: Decimal | int | None = None
    error: QueryError | None = None

    @property
    def change(self) -> Decimal | int | None:
        """Value less previous value; None when one of them is undefined."""
        if self.value is None or self.previous is None:
            return None
        return self.value - self.previous

    def to_dict(self) -> dict[str, Any]:
        """The headline as JSON."""
        unit = self.column.unit if self.column else "text"
        shown: dict[str, Any] = {
            "metric": self.metric,
            "column": self.column and self.column.document(),
            "value": json_value(self.value, unit),
            "previous": json_value(self.previous, unit),
            "change": json_value(self.change, unit),
        }
        if self.error is not None:
            shown["error"] = {"code": self.error.code, "detail": self.error.message}
        return shown


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The headline numbers at the close of a day, and the waterfall of the months up to it."""

    at: date
    previous_at: date
    headlines: tuple[Headline, ...]
    waterfall: Result | None
    waterfall_error: QueryError | None
    results: tuple[Result, ...]

    @property
    def complete(self) -> bool:
        """Whether every number is whole and final."""
        failed = self.waterfall_error or any(each.error for each in self.headlines)
        return not failed and all(each.complete for each in self.results)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning of the numbers once."""
        return tuple(dict.fromkeys(said for each in self.results for said in each.warnings))

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON."""
        first = self.results[0] if self.results else None
        return {
            "at": self.at.isoformat(),
            "previous_at": self.previous_at.isoformat(),
            "headlines": [each.to_dict() for each in self.headlines],
            "waterfall": self.waterfall and self.waterfall.to_dict(),
            "policy": first and first.to_dict()["policy"],
            "as_of": first and utc_text(first.as_of),
            "complete": self.complete,
            "warnings": list(self.warnings),
            "freshness": [each.document() for each in first.freshness] if first else [],
        }


def summarise(at: date, ask: Ask) -> Summary:
    """The summary of a day; a metric that fails is named, and the others are shown."""
    previous = _month_before(at)
    headlines, results = [], []
    for metric, question, kind in _HEADLINES:
        headline, result = _headline(ask, (metric, question, kind), at, previous)
        headlines.append(headline)
        results += [result] if result else []
    start = add_months(period_start(at, "month"), 1 - _WATERFALL_MONTHS)
    waterfall, failure = None, None
    try:
        waterfall = ask("mrr", "waterfall", {"start": start, "end": at, "grain": "month"})
        results.append(waterfall)
    except QueryError as error:
        failure = error
    return Summary(
        at=at,
        previous_at=previous,
        headlines=tuple(headlines),
        waterfall=waterfall,
        waterfall_error=failure,
        results=tuple(results),
    )


def _headline(
    ask: Ask, named: tuple[str, str, str], at: date, previous: date
) -> tuple[Headline, Result | None]:
    metric, question, kind = named
    try:
        now, before = (ask(metric, question, _params(kind, day)) for day in (at, previous))
    except QueryError as error:
        return Headline(metric=metric, error=error), None
    column = now.columns[0]
    return Headline(metric=metric, column=column, value=now.value, previous=before.value), now


def _params(kind: str, day: date) -> dict[str, date]:
    return {"at": day} if kind == "at" else {"start": period_start(day, "month"), "end": day}


def _month_before(at: date) -> date:
    """The same day a month earlier; from a month's last day, the last day of the month before."""
    if (at + timedelta(days=1)).day == 1:
        return period_start(at, "month") - timedelta(days=1)
    return add_months(at, -1)
