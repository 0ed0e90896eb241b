"""What of a result can be drawn: its figures, its groups, its line of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from html import escape
from typing import Any, Final

from tidemill.errors import NoChart
from tidemill.metrics.columns import Column
from tidemill.metrics.result import BESIDE, SIDES, Result, Row, shown
from tidemill.money import to_major
from tidemill.periods import Grain, next_period_start, periods

__all__ = [
    "Groups", "aged", "drawn", "figures", "group_columns", "grouped", "panels", "time_column",
    "titled", "unfinished",
]  # fmt: skip

Groups = dict[str, list[Row]]
"""Label of a group → its rows, both in the order of the answer; one label "" without groups."""

_FIGURES: Final = frozenset({"money", "ratio", "count"})
_TIMES: Final = ("period", "cohort")


def figures(result: Result) -> list[Column]:
    """The columns that are drawn: numbers, but not what they were divided from.

    The figures of an earlier range are no figures of their own; they stand beside.
    """
    names = {each.name for each in result.columns}
    hidden = {f"{name}{side}" for name in names for side in SIDES}
    if result.compared is not None:
        hidden |= {f"{name}{beside}" for name in names for beside in BESIDE}
    return [
        each
        for each in result.columns
        if each.unit in _FIGURES
        and not each.dimension
        and each.name not in hidden
        and each.currency_column is None
    ]


def panels(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns that share an axis together: the same unit, and both in percent or neither."""
    found: dict[tuple[str, bool], list[Column]] = {}
    for each in columns:
        found.setdefault((each.unit, each.share), []).append(each)
    return list(found.values())


def time_column(result: Result) -> str | None:
    """The column that runs along the line of time; None when there is none."""
    days = {each.name for each in result.columns if each.unit == "day" and not each.dimension}
    return next((name for name in _TIMES if name in days), None)


def group_columns(result: Result) -> list[Column]:
    """What the rows are grouped by: the dimensions, and texts that belong to the question."""
    return [each for each in result.columns if each.dimension or each.unit == "text"]


def grouped(result: Result) -> Groups:
    """The rows by the label of their group.

    Raises: NoChart when there are no rows.
    """
    if not result.rows:
        raise NoChart(f"{result.metric} {result.question} answered with no rows.")
    by = group_columns(result)
    found: Groups = {}
    for row in result.rows:
        found.setdefault(_label([shown(each, row) for each in by]), []).append(row)
    return found


def unfinished(result: Result) -> frozenset[date]:
    """The first days of the periods that can still change."""
    params = result.params
    if result.complete or not params.get("grain"):
        return frozenset()
    known = min(result.as_of, result.known_at or result.as_of)
    asked = periods(params["start"], params["end"], params["grain"], tz=result.policy.tz)
    return frozenset(each.key for each in asked if each.complete_at > known)


def aged(cohort: date, age: int, grain: Grain) -> date:
    """The period in which a cohort is so many periods old.

    >>> aged(date(2025, 11, 1), 2, "month")
    datetime.date(2026, 1, 1)
    """
    for _ in range(age):
        cohort = next_period_start(cohort, grain)
    return cohort


def drawn(column: Column, value: Any) -> float | None:
    """A value as a coordinate, money in major units: the last step, nothing is computed after it.

    A coordinate is a float to every drawing library.
    """
    if value is None:
        return None
    if column.unit != "money":
        return float(value)
    assert column.currency is not None, "figures are in one currency"
    return float(to_major(value, column.currency))


def titled(name: str) -> str:
    """A column's or question's name for people.

    >>> titled("gross_mrr_churn")
    'gross mrr churn'
    """
    return name.replace("_", " ")


def _label(parts: Sequence[str]) -> str:
    # Plotly reads a little HTML in every text; names of plans and customers are not HTML.
    return ", ".join(escape(part, quote=False) or "unknown" for part in parts)
