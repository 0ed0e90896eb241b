"""What the customers of each cohort paid in each period, beside what they paid in the first."""

from __future__ import annotations

from sqlalchemy import CTE, and_, case, func, select

from tidemill.errors import InvalidQuery, Issue
from tidemill.metrics.base import RateNeed
from tidemill.metrics.cash_flow import cash_rows
from tidemill.metrics.retention.cohorts import Cohorts

__all__ = ["cash_cells"]


def cash_cells(found: Cohorts) -> tuple[CTE, tuple[RateNeed, ...]]:
    """The money of each period at its days' rates; the opening is that of the first."""
    q, member = found.q, found.member
    if q.cuts_by("item"):
        problem = "a payment is of a customer, not of a plan or another part of one"
        raise InvalidQuery([Issue("measure", problem, "Cut cash by what customers have.")])
    paid = cash_rows(q, found.calendar.end)
    key = found.not_before(paid.c.day, member.c.cohort)
    keys = [*q.group_columns(member), member.c.cohort, key.label("key"), paid.c.day]
    flow = (
        select(*keys, paid.c.native_currency, func.sum(paid.c.amount).label("amount"))
        .select_from(paid.join(member, member.c.customer_id == paid.c.customer_id))
        .group_by(*keys, paid.c.native_currency)
        .cte("cohort_payment")
    )
    by_period, need = found.valued(flow, "day", "key", q.rates_of_days)
    size = found.sizes
    line = select(*q.group_columns(size), size.c.cohort).subquery("line")
    period = found.period
    same = and_(
        by_period.c.cohort == line.c.cohort,
        by_period.c.key == period.c.key,
        q.same_group(by_period, line),
    )
    later = line.join(period, and_(period.c.place > 0, period.c.key >= line.c.cohort))
    value = case((by_period.c.cohort.is_(None), 0), else_=by_period.c.value)
    cells = (
        select(*line.c, found.offset(line), value.label("value"))
        .select_from(later.outerjoin(by_period, same))
        .cte("cash_cell")
    )
    first = select(*q.group_columns(cells), cells.c.cohort, cells.c.value)
    opening = first.where(cells.c.offset == 0).cte("cash_opening")
    return found.with_opening(cells, opening, "value"), (need,)
