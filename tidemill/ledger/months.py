"""What happened to customers within calendar months: who came, who left, and how their MRR changed.

Of whole months that is all that rates of churn and retention ask of customers one by one, and it
adds up: so sums of it can be kept (`models.metric_mrr_monthly`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Integer,
    Label,
    Numeric,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)

from tidemill.ledger.movements import FX_TYPE
from tidemill.vocabulary import MovementType

__all__ = [
    "EVERYBODY",
    "joined",
    "monthly_changes",
    "monthly_cohorts",
    "monthly_items",
    "visit_columns",
]

EVERYBODY: Final = 0
"""Stands for all customers who need not be told apart."""

_COUNTS: Final = ("lost_net", "lost_there", "lost_all", "joined")


def monthly_items(rows: FromClause) -> Select[Any]:
    """What movements add to `models.metric_mrr_item_monthly`, a row each: by month and item.

    rows:  movements.
    Shape: month, source_id, currency, plan and product (empty where there is none), interval,
           interval_count, amount_minor, amount_base_minor.
    """
    names = ("interval", "interval_count", "amount_minor", "amount_base_minor")
    return select(
        _month(rows).label("month"),
        rows.c.source_id,
        rows.c.currency,
        *(func.coalesce(rows.c[name], "").label(name) for name in ("plan", "product")),
        *(rows.c[name] for name in names),
    )


def monthly_cohorts(rows: FromClause) -> Select[Any]:
    """What movements add to `models.metric_mrr_cohort_monthly`, a row each: by cohort and month.

    rows:  movements.
    Shape: cohort_month, month, currency, amount_minor, amount_base_minor, customer_delta, joined (1
           where a new customer comes).
    """
    names = ("currency", "amount_minor", "amount_base_minor", "customer_delta")
    return select(
        rows.c.cohort_month,
        _month(rows).label("month"),
        *(rows.c[name] for name in names),
        joined(rows).label("joined"),
    )


def joined(rows: FromClause) -> ColumnElement[int]:
    """Of movements: 1 where a new customer comes, else 0."""
    is_new = and_(rows.c.customer_delta > 0, rows.c.type == MovementType.NEW.value)
    return cast(is_new, Integer)


def monthly_changes(rows: FromClause) -> Select[Any]:
    """What the months of customers add to `models.metric_mrr_monthly`, a row each and currency.

    rows: movements, all of each customer they are of.
    Shape: month, currency, customer_id, change_minor, shrinkage_minor (of those who were there when
           the month began, in native minor units); lost_net, lost_there, lost_all, joined (as the
           knob `logo_numerator` counts; rows without a currency). A customer whose MRR changed in
           several currencies stands for itself: only exchange rates tell whether it shrank.
    """
    visit = _visits(rows)
    net = _nets(rows, visit)
    alone = net.c.currencies == 1
    changed = select(
        net.c.month,
        net.c.currency,
        case((alone, EVERYBODY), else_=net.c.customer_id).label("customer_id"),
        net.c.change_minor,
        case((and_(alone, net.c.change_minor < 0), net.c.change_minor), else_=0).label(
            "shrinkage_minor"
        ),
        *(cast(literal(0), BigInteger).label(name) for name in _COUNTS),
    )
    there = visit.c.was_there
    counts = (
        cast(visit.c.net < 0, Integer),
        case((there, visit.c.left_count), else_=0),
        visit.c.left_count,
        visit.c.new_count,
    )
    passed = select(
        visit.c.month,
        cast(literal(""), Text),
        cast(literal(EVERYBODY), BigInteger),
        cast(literal(0), Numeric),
        cast(literal(0), Numeric),
        *(cast(count, BigInteger) for count in counts),
    )
    return select(union_all(changed, passed).subquery("month_change"))


def visit_columns(turn: FromClause) -> tuple[Label[Any], ...]:
    """What comings and goings of a customer within some days say: aggregates.

    turn:  its rows, with moment, delta (+1 or -1) and is_new.
    Shape: was_there (when the days began), net, left_count, new_count.
    """
    came, left = turn.c.delta > 0, turn.c.delta < 0
    first_came = func.min(turn.c.moment).filter(came)
    first_left = func.min(turn.c.moment).filter(left)
    return (
        # What nets to nothing was there before if it left before it came.
        func.coalesce(first_left < first_came, first_came.is_(None)).label("was_there"),
        func.sum(turn.c.delta).label("net"),
        func.count().filter(left).label("left_count"),
        func.count().filter(turn.c.is_new).label("new_count"),
    )


def _visits(rows: FromClause) -> FromClause:
    """Who came and left: customer_id, month, and `visit_columns`."""
    delta = rows.c.customer_delta
    turn = (
        select(
            rows.c.customer_id,
            _month(rows).label("month"),
            rows.c.occurred_at.label("moment"),
            delta.label("delta"),
            and_(delta > 0, rows.c.type == MovementType.NEW.value).label("is_new"),
        )
        .where(delta != 0)
        .subquery("month_turn")
    )
    keys = (turn.c.customer_id, turn.c.month)
    return select(*keys, *visit_columns(turn)).group_by(*keys).cte("month_visit")


def _nets(rows: FromClause, visit: FromClause) -> FromClause:
    """By how much the MRR of those there when a month began changed.

    Shape: customer_id, month, currency, change_minor, currencies (in how many it changed).
    """
    row = (
        select(
            rows.c.customer_id, _month(rows).label("month"), rows.c.currency, rows.c.amount_minor
        )
        .where(rows.c.type != FX_TYPE)
        .subquery("month_row")
    )
    same = and_(visit.c.customer_id == row.c.customer_id, visit.c.month == row.c.month)
    keys = (row.c.customer_id, row.c.month, row.c.currency)
    change = func.sum(row.c.amount_minor)
    several = func.count().over(partition_by=(row.c.customer_id, row.c.month))
    return (
        select(*keys, change.label("change_minor"), several.label("currencies"))
        .outerjoin_from(row, visit, same)
        .where(or_(visit.c.was_there.is_(None), visit.c.was_there))
        .group_by(*keys)
        .having(change != 0)
        .subquery("month_net")
    )


def _month(rows: FromClause) -> ColumnElement[Any]:
    # Through a timestamp without zone: a bare date would be read in the session's zone.
    return cast(func.date_trunc("month", cast(rows.c.day, DateTime)), Date)
