"""Net cash flow beside other figures: payments, refunds and disputes as `payment_cube` tells them.

Money that moved on a day is worth the rate of that day, also under ``fx = constant``.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from sqlalchemy import CTE, FromClause, and_, func, select

from tidemill.metrics.base import RateNeed
from tidemill.metrics.payment_cube import NET_CASH, payment_rows
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day, whole_sum
from tidemill.metrics.windows import Part, Windows
from tidemill.models import metric_payment_daily
from tidemill.periods import instants

__all__ = ["TRANSACTIONS", "cash_rows", "net_cash"]

TRANSACTIONS: Final = ("cash", "transactions")
"""The metric and question that list the payments an answer rests on."""


def cash_rows(q: Query, end: date, since: date | None = None) -> CTE:
    """What moved up to a day, signed, in whose books it is.

    since: the first day, where not everything up to the last is wanted.

    Shape: customer_id, day (of the policy's time zone), native_currency, amount.
    """
    row = payment_rows(q.relations, q.policy, NET_CASH).subquery("cash_payment")
    found = select(
        row.c.customer_id,
        row.c.day,
        row.c.currency.label("native_currency"),
        row.c.amount_minor.label("amount"),
    ).where(row.c.occurred_at < instants(end, end, q.policy.tz).end_exclusive)
    if since is not None:
        found = found.where(row.c.occurred_at >= instants(since, since, q.policy.tz).start)
    return found.cte("cash_row")


def net_cash(q: Query, windows: Windows) -> Part:
    """Net cash flow of every window, of all customers: place, net (base currency)."""
    row, day = _summed_rows(q, windows), windows.days
    daily = (
        select(row.c.day, row.c.native_currency, func.sum(row.c.amount).label("amount"))
        .group_by(row.c.day, row.c.native_currency)
        .cte("cash_day")
    )
    rate = rates_by_day(q.rates_of_days, daily, ("native_currency", "day"), "cash_rate")
    on_day = and_(rate.c.currency == daily.c.native_currency, rate.c.day == daily.c.day)
    priced = daily.outerjoin(rate, on_day)
    rows = (
        select(day.c.place, whole_sum(daily.c.amount, rate.c.factor).label("net"))
        .select_from(priced.join(day, day.c.day == daily.c.day))
        .group_by(day.c.place)
        .cte("net_cash")
    )
    lacking = select(daily.c.native_currency, daily.c.day).select_from(priced)
    lost = lacking.where(daily.c.amount != 0, rate.c.factor.is_(None)).distinct()
    return Part(rows, (RateNeed(lost),))


def _summed_rows(q: Query, windows: Windows) -> FromClause:
    """What moved in the windows, or its kept sums: day, native_currency, amount."""
    kept = metric_payment_daily
    if kept.name not in q.kept:
        return cash_rows(q, windows.end, windows.first_day)
    columns = (
        kept.c.day,
        kept.c.currency.label("native_currency"),
        kept.c.amount_minor.label("amount"),
    )
    moved = select(*columns).where(kept.c.kind.in_(NET_CASH), windows.within(kept.c.day))
    return moved.subquery("cash_sum")
