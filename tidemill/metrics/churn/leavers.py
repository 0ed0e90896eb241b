"""Leavers: customer by customer, who was there when a window opened, and who left in it.

The list is what logo churn counts: `there` adds up to its denominator, `lost` to its numerator,
and the opening MRR of those who were there is what MRR churn divides by.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.churn.departures import departures
from tidemill.metrics.levels import overlap
from tidemill.metrics.paging import paged
from tidemill.metrics.presence import Presence
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_on, whole_sum
from tidemill.metrics.windows import Windows

__all__ = ["Who", "leavers"]

Who = Literal["lost", "all"]
"""Those who were lost, or also those who were there and stayed."""


def leavers(q: Query, windows: Windows, who: Who) -> Table:
    """One row a customer (and group) of a page: who they are, whether there and lost, and why."""
    concerned = _concerned(q, windows, who)
    paid, need = _paid(q, windows, concerned)
    last = _last_departure(q, windows)
    named = q.relations.customers.alias("named_customer")
    state = q.relations.subscription_versions.alias("last_state")

    def same(other: FromClause) -> ColumnElement[bool]:
        line = other.c.customer_id == concerned.c.customer_id
        return and_(line, q.same_group(other, concerned))

    mrr = cast(case((paid.c.customer_id.is_(None), 0), else_=paid.c.mrr), Numeric)
    told = {
        "customer": named.c.external_id,
        "customer_name": named.c.name,
        "there": concerned.c.there,
        "lost": concerned.c.lost,
        "mrr": mrr,
        "churned_on": last.c.day,
        "churned_at": last.c.occurred_at,
        "reason": last.c.reason,
        "cancel_reason": state.c.cancel_reason,
        "cancel_feedback": state.c.cancel_feedback,
    }
    # Named apart from the dimensions, which are columns of the same rows.
    own = [value.label(f"row_{name}") for name, value in told.items()]
    every = (
        select(*q.group_columns(concerned), *own)
        .select_from(
            concerned.join(named, named.c.customer_id == concerned.c.customer_id)
            .outerjoin(paid, same(paid))
            .outerjoin(last, and_(same(last), concerned.c.lost > 0))
            .outerjoin(state, state.c.version_id == last.c.event_position)
        )
        .subquery("each_leaver")
    )
    keys = {"row_mrr": True, "row_customer": False}
    page = paged(every, keys, q.group_order, q.bound.page, "leaver")
    shown = [page.rows.c[f"row_{name}"].label(name) for name in told]
    statement = select(*q.shown_beside(page.rows), *shown, *page.places).order_by(*page.order)
    return q.table(
        statement,
        periods=windows.calendar.periods,
        behind=Behind(windows.first_day, windows.end),
        needs=(need,),
        warnings=(*windows.warnings, *overlap(q)),
    )


def _concerned(q: Query, windows: Windows, who: Who) -> CTE:
    """Whom the list is about: group columns, customer_id, there (0 or 1), lost (how often)."""
    presence = Presence(q, windows)
    visit = presence.visits
    keys = [*q.group_columns(visit), visit.c.customer_id]
    lost = presence.lost_of(visit)
    gone = select(*keys, cast(visit.c.was_there, Integer).label("there"), lost.label("lost"))
    if who == "lost":
        return gone.where(lost > 0).cte("concerned")
    turn = presence.turns
    stood = [*q.group_columns(turn), turn.c.customer_id]
    there = (
        select(*stood, literal(1).label("there"), cast(literal(0), BigInteger).label("lost"))
        .where(turn.c.day <= windows.eves[0])
        .group_by(*stood)
        .having(func.sum(turn.c.delta) > 0)
    )
    # Who was lost may not have been there; who was there counts once.
    each = union_all(there, gone.where(lost > 0)).subquery("each_concerned")
    line = [*q.group_columns(each), each.c.customer_id]
    once = func.max(each.c.there).label("there")
    return select(*line, once, func.max(each.c.lost).label("lost")).group_by(*line).cte("concerned")


def _paid(q: Query, windows: Windows, concerned: CTE) -> tuple[CTE, RateNeed]:
    """MRR at the opening, at that day's rates: group columns, customer_id, mrr."""
    eve, rows = windows.eves[0], q.rows.c
    moved = (
        q.select(
            eve,
            lambda _: [
                rows.customer_id.label("customer_id"),
                rows.currency.label("native_currency"),
                rows.amount_minor.label("moved"),
            ],
        )
        .where(rows.customer_id.in_(select(concerned.c.customer_id)))
        .subquery("early_move")
    )
    keys = [*q.group_columns(moved), moved.c.customer_id, moved.c.native_currency]
    total = func.sum(moved.c.moved)
    level = select(*keys, total.label("level")).group_by(*keys).having(total != 0).cte("paid_level")
    rate = rates_on(q.rates, eve, "opening_rate")
    on_currency = rate.c.currency == level.c.native_currency
    line = [*q.group_columns(level), level.c.customer_id]
    paid = (
        select(*line, whole_sum(level.c.level, rate.c.factor).label("mrr"))
        .select_from(level.outerjoin(rate, on_currency))
        .group_by(*line)
        .cte("paid")
    )
    lacking: Any = (
        select(level.c.native_currency, literal(eve).label("day"))
        .select_from(level.outerjoin(rate, on_currency))
        .where(rate.c.factor.is_(None))
        .distinct()
    )
    return paid, RateNeed(lacking)


def _last_departure(q: Query, windows: Windows) -> CTE:
    """How each customer left for the last time.

    Shape: group columns, customer_id, day, occurred_at, reason, event_position.
    """
    told = departures(q, windows, ("customer_id", "occurred_at", "event_position"))
    line = [*q.group_columns(told), told.c.customer_id]
    return (
        select(*line, told.c.day, told.c.occurred_at, told.c.reason, told.c.event_position)
        .ext(distinct_on(*line))
        .order_by(
            *line,
            told.c.day.desc(),
            told.c.left_count.desc(),
            told.c.occurred_at.desc(),
            told.c.event_position.desc(),
        )
        .cte("last_departure")
    )
