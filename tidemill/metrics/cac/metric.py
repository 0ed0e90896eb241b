"""CAC: what it costs to win a customer, and how soon the customer has paid it back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from sqlalchemy import Numeric, cast, literal

from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_OF_MONTHS,
    Column,
    Day,
    Grain,
    Metric,
    Table,
    average,
    day,
    metric,
    question,
    ratio,
)
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.shares import share_of
from tidemill.metrics.spending import FULLY_LOADED, PROGRAMME, Spending
from tidemill.metrics.windows import Rate, Windows, rate_table

__all__ = ["Cac"]

_NOBODY: Final = "nobody was new, or no costs are known for these days"


def _of_spend(columns: tuple[Column, Column, Column]) -> tuple[Column, ...]:
    """A quotient of spend, which is null where no costs are known: a gap is no zero."""
    quotient, spend, bottom = columns
    return quotient, replace(spend, nullable=True), bottom


_COLUMNS: Final = (
    *_of_spend(average("cac", "By the knob cac_scope one of those below.", undefined=_NOBODY)),
    *_of_spend(average("cac_blended", "Programme spend for each new customer.", undefined=_NOBODY)),
    *_of_spend(
        average(
            "cac_fully_loaded",
            "All costs of sales and marketing for each new customer.",
            undefined=_NOBODY,
        )
    ),
)
_PAYBACK: Final = _of_spend(
    ratio(
        "payback_months",
        "Spend over what the customers won with it bring in each month.",
        undefined="nothing new was sold, or no costs are known for these days",
    )
)


@metric("cac", title="Customer acquisition cost")
class Cac(Metric):
    """What is spent on sales and marketing for each new customer."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    # Costs are nobody's in particular: a question with costs cannot be cut.

    @question(*_COLUMNS, default=True, kinds=())
    def current(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """The acquisition cost of a range of days.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return _costs(q, Calendar.of(start, end, None, q.policy.tz))

    @question(day("period"), *_COLUMNS, kinds=())
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """The acquisition cost of every period.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return _costs(q, Calendar.of(start, end, grain, q.policy.tz))

    @question(*_PAYBACK, kinds=())
    def payback(
        self, q: Query, start: Day = MONTH_START, end: Day = TODAY, margin: str = "1"
    ) -> Table:
        """How many months new customers take to pay back what it cost to win them.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            margin: the gross margin as a share of revenue, such as 0.8; 1 counts all revenue.
        """
        calendar = Calendar.of(start, end, None, q.policy.tz)
        return _payback(q, calendar, share_of("margin", margin, "positive"))


def _costs(q: Query, calendar: Calendar) -> Table:
    windows = Windows(calendar, rolling=False)
    spending = Spending(q, windows, q.policy.cac_lag_months)
    joined = Retained(q, windows).presence.newcomers

    def for_each(scope: str) -> Rate:
        return Rate(spending.of(scope), joined.of("joined"), (spending.part, joined))

    table = rate_table(
        q,
        windows,
        [
            ("cac", for_each(q.policy.cac_scope)),
            ("cac_blended", for_each(PROGRAMME)),
            ("cac_fully_loaded", for_each(FULLY_LOADED)),
        ],
        warnings=spending.warnings,
    )
    return replace(table, checks=(spending.known("cac_numerator"),))


def _payback(q: Query, calendar: Calendar, margin: Decimal) -> Table:
    # CAC / (ASP x margin): both are for each of the same customers, whose number cancels out.
    windows = Windows(calendar, rolling=False)
    spending = Spending(q, windows, q.policy.cac_lag_months)
    sale = Retained(q, windows).sale_price()
    share = cast(literal(margin), Numeric)
    earned = Rate(spending.of(q.policy.cac_scope), sale.top * share, (spending.part, *sale.parts))
    table = rate_table(q, windows, [("payback_months", earned)], warnings=spending.warnings)
    return replace(table, checks=(spending.known("payback_months_numerator"),))
