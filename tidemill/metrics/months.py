"""Whole months, of which sums are kept: what became of customers in them need not be looked up.

Rates look at customers one by one, through the movements of their windows. Where a window is a
calendar month and nothing is cut, `models.metric_mrr_monthly` holds what that gives; only the other
windows (mostly the month that is not over) are looked at row by row. So it is with cohorts: what
each month added to them is in `models.metric_mrr_cohort_monthly`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from sqlalchemy import CTE, and_, case, func, or_, select, union_all

from tidemill.ledger.months import EVERYBODY, joined
from tidemill.metrics.base import RateNeed
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day
from tidemill.metrics.windows import Part, Windows
from tidemill.models import (
    metric_mrr_cohort_monthly,
    metric_mrr_monthly,
    metric_mrr_movement,
)
from tidemill.periods import period_start

__all__ = ["by_cohort", "cohort_of_months", "kept_months", "kept_places", "new_once"]

_KEPT = metric_mrr_monthly


def kept_places(q: Query, windows: Windows) -> frozenset[int]:
    """The places of the windows whose sums are kept as this question wants them."""
    # Who is new is told by the movements' types only where these are of customers.
    by_customer = q.policy.movement_level == "customer"
    if not (by_customer and _of_everybody(q) and _KEPT.name in q.kept):
        return frozenset()
    return frozenset(windows.months)


def new_once(q: Query) -> bool:
    """Whether the movements of everybody are kept, and nobody is new in them who was there before.

    Cut by anything, a customer may be in a group first with a movement that is not its first.
    """
    policy = q.policy
    told = policy.movement_level == "customer" and policy.reactivation == "forever"
    return told and _of_everybody(q)


def by_cohort(q: Query, until: date) -> Query | None:
    """The question of what months added to cohorts, up to the close of a day; None if not kept.

    Its `rows` have cohort_month, day, currency, amounts, customer_delta and joined (new customers).
    They stand on the first day of their month, but for those of a month that is not over by then.
    """
    kept, rows = metric_mrr_cohort_monthly, q.rows
    if not (new_once(q) and kept.name in q.kept):
        return None
    open_from = period_start(until + timedelta(days=1), "month")
    names = ("cohort_month", "currency", "amount_minor", "amount_base_minor", "customer_delta")
    over = select(kept.c.month.label("day"), *(kept.c[name] for name in names), kept.c.joined)
    rest = select(rows.c.day, *(rows.c[name] for name in names), joined(rows).label("joined"))
    parts = union_all(over.where(kept.c.month < open_from), rest.where(rows.c.day >= open_from))
    return replace(q, rows=parts.subquery("cohort_part"), rollups=())


def _of_everybody(q: Query) -> bool:
    """Whether the question is of all movements as they are kept, and nothing cuts it."""
    bound = q.bound
    whole = not bound.dimensions and not bound.conditions and bound.members is None
    return whole and q.rows is metric_mrr_movement


def kept_months(windows: Windows, places: frozenset[int]) -> CTE:
    """The kept sums of some windows: place, eve, and the columns of the table but its month."""
    window = windows.cte
    columns = [column for column in _KEPT.c if column.name not in ("month", "row_count")]
    return (
        select(window.c.place, window.c.eve, *columns)
        .join_from(window, _KEPT, _KEPT.c.month == window.c.eve + 1)
        .where(window.c.place.in_(sorted(places)))
        .cte("kept_month")
    )


def cohort_of_months(q: Query, kept: CTE) -> Part:
    """By how much those there when a month began changed, at the rates of the eve.

    kept:  see `kept_months`.
    Shape: place, change (net), shrinkage (of those who shrank, negative).
    """
    level = select(kept).where(kept.c.currency != "").cte("month_change")
    rate = rates_by_day(q.rates, level, ("currency", "eve"), "month_rate")
    on_eve = and_(rate.c.currency == level.c.currency, rate.c.day == level.c.eve)
    priced = select(level, rate.c.factor).outerjoin_from(level, rate, on_eve).cte("month_worth")
    moved = or_(priced.c.change_minor != 0, priced.c.shrinkage_minor != 0)
    lost = and_(moved, priced.c.factor.is_(None))
    each = (
        select(
            priced.c.place,
            priced.c.customer_id,
            func.coalesce(func.sum(priced.c.change_minor * priced.c.factor), 0).label("change"),
            func.coalesce(func.sum(priced.c.shrinkage_minor * priced.c.factor), 0).label(
                "shrinkage"
            ),
            func.bool_or(lost).label("lacks"),
        )
        .group_by(priced.c.place, priced.c.customer_id)
        .subquery("month_customer")
    )
    # One that stands for itself shrank or grew as a whole.
    own = case((each.c.change < 0, each.c.change), else_=0)
    shrunk = case((each.c.customer_id == EVERYBODY, each.c.shrinkage), else_=own)
    whole = ~func.bool_or(each.c.lacks)
    found = select(
        each.c.place,
        case((whole, func.sum(each.c.change))).label("change"),
        case((whole, func.sum(shrunk))).label("shrinkage"),
    ).group_by(each.c.place)
    lacking = select(priced.c.currency, priced.c.eve).where(lost).distinct()
    return Part(found.cte("cohort_of_months"), (RateNeed(lacking),))
