"""Growth of MRR, period by period, and what it comes to for each month."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from sqlalchemy import Numeric, case, cast, func, literal

from tidemill.errors import InvalidQuery
from tidemill.metrics.base import Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.windows import Rate, Windows, rate_table, window_table
from tidemill.periods import Grain, add_months
from tidemill.problems import Issue

__all__ = ["compound_table", "growth_table"]

_DAY: Final = timedelta(days=1)
_MONTHS_MAX: Final = 120


def growth_table(q: Query, start: date, end: date, grain: Grain) -> Table:
    """One row a group and period: growth with both sides."""
    windows = Windows(Calendar.of(start, end, grain, q.policy.tz), rolling=False)
    return rate_table(q, windows, [("growth", Retained(q, windows).growth())])


def compound_table(q: Query, end: date, months: int) -> Table:
    """One row a group: cmgr with what MRR became, and what it was.

    Formula: (1 + growth of all n months) ^ (1 / n) - 1.
    Raises:  InvalidQuery unless there are months, and not more than ten years of them.
    """
    if not 1 <= months <= _MONTHS_MAX:
        hint = f"Write 1 to {_MONTHS_MAX}."
        raise InvalidQuery([Issue("months", f"{months} months cannot be compounded", hint)])
    start = add_months(end + _DAY, -months)
    windows = Windows(Calendar.of(start, end, None, q.policy.tz), rolling=False)
    grown = Retained(q, windows).growth()
    whole = Rate(grown.bottom + grown.top, grown.bottom, grown.parts)
    power = cast(literal(1), Numeric) / months
    # Nothing that is left is a growth of -1, and less than nothing has no root.
    value = case((whole.value >= 0, func.power(whole.value, power) - 1))
    return window_table(q, windows, whole.columns("cmgr", value), whole.parts)
