"""The rule of 40: growth and margin of a year, added up."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Numeric, case, cast, literal, null

from tidemill.metrics.base import Check, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cash_flow import net_cash
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.shares import share_of
from tidemill.metrics.spending import ALL_COSTS, Spending
from tidemill.metrics.windows import Part, Rate, Windows, window_table
from tidemill.metrics.years import year_to
from tidemill.periods import Grain

__all__ = ["rule_table"]


_NOT_ASKED: Final = [
    cast(null(), Numeric).label(f"margin_{side}") for side in ("numerator", "denominator")
]


def rule_table(q: Query, start: date, end: date, grain: Grain, margin: str) -> Table:
    """One row a period: rule_of_40, growth and margin, each with both sides.

    Formula: net new MRR of the twelve months to the period's end / MRR a year before, plus the
             margin of these months: (net cash flow - all costs) / net cash flow.
    Raises:  InvalidQuery when a margin is given that is no share.
    """
    asked = Calendar.of(start, end, grain, q.policy.tz)
    years = tuple(replace(each, start=year_to(each.end)) for each in asked.periods)
    windows = Windows(Calendar(years, grain), rolling=False)
    growth = Retained(q, windows).growth()
    share: ColumnElement[Any]
    kept: list[ColumnElement[Any]]
    parts: tuple[Part, ...] = ()
    checks: tuple[Check, ...] = ()
    if margin:
        share = cast(literal(share_of("margin", margin, negative=True)), Numeric)
        kept = [share.label("margin"), *_NOT_ASKED]
    else:
        spending, cash = Spending(q, windows, among=ALL_COSTS), net_cash(q, windows)
        left = Rate(cash.of("net") - spending.of(ALL_COSTS), cash.of("net"), (spending.part, cash))
        share = case((left.bottom > 0, left.value))
        kept, parts = left.columns("margin", share), left.parts
        checks = (spending.known("margin_numerator"),)
    columns = [
        (growth.value + share).label("rule_of_40"), *growth.columns("growth", growth.value), *kept,
    ]  # fmt: skip
    table = window_table(q, windows, columns, (*growth.parts, *parts))
    # A rate that is missing for cash would look like costs that are not known.
    needs = (*(replace(each, eager=True) for part in parts for each in part.needs), *table.needs)
    return replace(table, needs=needs, checks=checks)
