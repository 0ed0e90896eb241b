"""CAC: what it costs to win a customer, and how soon the customer has paid it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import and_, case

from tidemill.metrics.base import (
    MONTH_START,
    TODAY,
    YEAR_OF_MONTHS,
    Day,
    Grain,
    Metric,
    Table,
    metric,
    question,
)
from tidemill.metrics.cac.channels import channel_table, way_table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.columns import Column, average, count, day, money, ratio, text
from tidemill.metrics.ltv.simple import ChurnKind, LifetimeValue
from tidemill.metrics.margins import margin_in
from tidemill.metrics.movement_cube import MOVEMENTS, MRR_MOVEMENTS
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.spending import Spending
from tidemill.metrics.windows import Rate, Windows, rate_table, window_table

__all__ = ["Cac"]

_NOBODY: Final = "nobody was new, or no costs are known for these days"


def _of_costs(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Columns that are null where no costs are known: a gap is no zero."""
    return tuple(replace(each, nullable=each.nullable or each.unit == "money") for each in columns)


_CAC: Final = _of_costs(average("cac", "Spend for each new customer.", undefined=_NOBODY))
_MARGIN: Final = Column(
    "margin", "ratio", "The gross margin it is worked out with.", nullable=True, share=True
)
_SPEND: Final = replace(money("spend", "By the knob `cac_scope`."), nullable=True)
_PAYBACK: Final = _of_costs(
    ratio(
        "payback_months",
        "Spend over what the customers won with it leave each month.",
        undefined="nothing new was sold, no costs are known for these days, or nothing is left",
    )
)
_LTV_CAC: Final = _of_costs(
    ratio(
        "ltv_cac",
        "What a customer is worth for each unit that it cost to win one.",
        undefined="a lifetime without an end has no value, nobody was new, or no costs are known",
    )
)


@metric("cac", title="Customer acquisition cost")
class Cac(Metric):
    """What is spent on sales and marketing for each new customer."""

    cube = MOVEMENTS
    facts = (MRR_MOVEMENTS,)

    # Costs are nobody's in particular: a question with costs cannot be cut.

    @question(*_CAC, default=True, kinds=())
    def current(self, q: Query, start: Day = MONTH_START, end: Day = TODAY) -> Table:
        """The acquisition cost of a range of days, by the knob `cac_scope`.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
        """
        return _costs(q, Calendar.of(start, end, None, q.policy.tz))

    @question(day("period"), *_CAC, kinds=())
    def series(
        self, q: Query, start: Day = YEAR_OF_MONTHS, end: Day = TODAY, grain: Grain = "month"
    ) -> Table:
        """The acquisition cost of every period, by the knob `cac_scope`.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            grain: how long a period is.
        """
        return _costs(q, Calendar.of(start, end, grain, q.policy.tz))

    @question(text("way", "simple, blended or fully_loaded."), *_CAC, kinds=())
    def ways(
        self, q: Query, start: Day = MONTH_START, end: Day = TODAY, attribute: str = "channel"
    ) -> Table:
        """The acquisition cost in the three ways in which it is told, side by side.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            attribute: the attribute of customers that says which channel won them.
        """
        return way_table(q, Calendar.of(start, end, None, q.policy.tz), attribute)

    @question(text("channel", "As costs and customers name it."), *_CAC, kinds=())
    def by_channel(
        self, q: Query, start: Day = MONTH_START, end: Day = TODAY, attribute: str = "channel"
    ) -> Table:
        """Programme spend for each customer won, channel by channel.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            attribute: the attribute of customers that says which channel won them.
        """
        return channel_table(q, Calendar.of(start, end, None, q.policy.tz), attribute)

    @question(*_PAYBACK, _MARGIN, kinds=())
    def payback(
        self, q: Query, start: Day = MONTH_START, end: Day = TODAY, margin: str = "1"
    ) -> Table:
        """How many months new customers take to pay back what it cost to win them.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            margin: the gross margin, such as 0.8, or cogs for that of the recorded costs.
        """
        return _payback(q, Calendar.of(start, end, None, q.policy.tz), margin)

    @question(*_LTV_CAC, _SPEND, count("new_customers"), _MARGIN, kinds=())
    def ltv_cac(
        self,
        q: Query,
        start: Day = MONTH_START,
        end: Day = TODAY,
        margin: str = "1",
        churn: ChurnKind = "logo",
    ) -> Table:
        """Lifetime value over acquisition cost, of the same days and with the same margin.

        Args:
            start: the first day of the range.
            end: the last day of the range, included.
            margin: the gross margin, such as 0.8, or cogs for that of the recorded costs.
            churn: what a lifetime is made of, as in `ltv`.
        """
        return _ltv_cac(q, Windows.of(q, start, end, None), churn, margin)


def _costs(q: Query, calendar: Calendar) -> Table:
    windows = Windows(calendar, rolling=False)
    spending = Spending(q, windows, q.policy.cac_lag_months)
    rate = _for_each(q, spending, Retained(q, windows))
    table = rate_table(q, windows, [("cac", rate)], warnings=spending.warnings)
    return replace(table, checks=(spending.known("cac_numerator"),))


def _for_each(q: Query, spending: Spending, retained: Retained) -> Rate:
    joined = retained.presence.newcomers
    return Rate(spending.of(q.policy.cac_scope), joined.of("joined"), (spending.part, joined))


def _payback(q: Query, calendar: Calendar, margin: str) -> Table:
    # CAC / (ASP x margin): both are for each of the same customers, whose number cancels out.
    windows = Windows(calendar, rolling=False)
    spending = Spending(q, windows, q.policy.cac_lag_months)
    sale, earned = Retained(q, windows).sale_price(), margin_in(q, windows, margin)
    left = case((sale.top == 0, 0), else_=sale.top * earned.share)
    parts = (spending.part, *sale.parts, *earned.parts)
    months = Rate(spending.of(q.policy.cac_scope), left, parts)
    # Without anybody new there is no CAC, whatever new subscriptions others made.
    value = case((and_(sale.bottom > 0, left > 0), months.value))
    columns = [*months.columns("payback_months", value), earned.share.label("margin")]
    table = window_table(q, windows, columns, parts, warnings=spending.warnings)
    top, bottom = "payback_months_numerator", "payback_months_denominator"
    return replace(table, checks=(spending.known(top), *earned.checks(bottom, of=top)))


def _ltv_cac(q: Query, windows: Windows, churn: ChurnKind, margin: str) -> Table:
    worth = LifetimeValue(q, windows, churn, margin)
    spending = Spending(q, worth.windows, q.policy.cac_lag_months)
    cac = _for_each(q, spending, worth.retained)
    parts = (*worth.parts, *cac.parts)
    quotient = Rate(worth.value, cac.value, parts)
    columns = [
        *quotient.columns("ltv_cac", quotient.value),
        cac.top.label("spend"),
        cac.bottom.label("new_customers"),
        worth.margin.share.label("margin"),
    ]
    warnings = (*worth.warnings, *spending.warnings)
    table = window_table(q, worth.windows, columns, parts, behind=worth.behind, warnings=warnings)
    margins = worth.margin.checks("margin", of="new_customers")
    return replace(table, checks=(spending.known("spend"), *margins))
