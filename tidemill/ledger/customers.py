"""Customers: when each first came, and who came and left where movements are of subscriptions.

Customers are counted as customers whatever movements are told of, so under `movement_level =
subscription` they have buckets of their own. A customer's coming or going is said by the row of the
subscription with which it came or left; but its bucket may end at another time than all of theirs,
and then a row without an amount says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Numeric,
    SmallInteger,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.ledger.activity import keeps_free, month_of
from tidemill.ledger.buckets import buckets, moves
from tidemill.ledger.changes import in_order
from tidemill.ledger.kinds import joins, leaves, with_kinds
from tidemill.ledger.matching import matching, where
from tidemill.vocabulary import MovementType

if TYPE_CHECKING:
    from sqlalchemy import CTE, ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["cohorts", "counted_apart"]


def cohorts(states: FromClause) -> FromClause:
    """customer_id and cohort_month, the month in which each customer first became active."""
    return (
        select(
            states.c.unit.label("customer_id"),
            month_of(func.min(states.c.day)).label("cohort_month"),
        )
        .where(joins(states))
        .group_by(states.c.unit)
        .subquery("cohort")
    )


def counted_apart(
    told: FromClause, changes: CTE, relations: Relations, policy: Policy
) -> tuple[FromClause, CTE]:
    """The rows with the comings and goings of customers, and the states of customers' buckets.

    told:    rows of the ledger of which none says so yet.
    changes: of which they were made.
    """
    of_customers = policy.turned({"movement_level": "customer"})
    made = buckets(changes, of_customers, "customer_bucket")
    # By the instant, who comes or goes does so with a subscription that counts for something.
    is_apart = policy.netting != "none" or keeps_free(policy) or made.kept is not None
    named = with_kinds(made, relations, of_customers) if is_apart else select(made.states)
    states = named.cte("customer_state")
    rows = [_found(told, states, made.key, is_apart=is_apart)]
    if is_apart:
        rows.append(_extra(told, changes, states, made.key, policy))
    found = union_all(*rows).cte("found")
    # Who comes does so with the first of its subscriptions, who leaves does with the last.
    leaving_at = case((found.c.delta < 0, found.c.occurred_at))
    place = func.row_number().over(
        partition_by=(found.c.unit, found.c.bucket),
        order_by=(found.c.is_extra, leaving_at.desc().nulls_last(), *in_order(found)),
    )
    placed = select(found, place.label("place")).where(found.c.unit.is_not(None)).subquery("placed")
    delta = case((placed.c.place == 1, placed.c.delta), else_=0)
    own = {"customer_delta": cast(delta, SmallInteger)}
    columns = [own.get(each.name, placed.c[each.name]).label(each.name) for each in told.c]
    needed = or_(placed.c.is_extra == 0, placed.c.place == 1)
    others = select(*(found.c[each.name] for each in told.c)).where(found.c.unit.is_(None))
    return union_all(others, select(*columns).where(needed)).subquery("counted"), states


def _delta(state: FromClause) -> ColumnElement[int]:
    return case((joins(state), 1), (leaves(state), -1))


def _found(told: FromClause, states: CTE, key: str, *, is_apart: bool) -> Select[Any]:
    """The rows with the turn of their customer that they could tell of, where several could.

    It must be of the same day and have the same name. Without anything apart, the only row of a
    customer's bucket tells of it at once.
    """
    came = (MovementType.NEW.value, MovementType.REACTIVATION.value)
    is_churn = told.c.type == MovementType.CHURN.value
    says_so = or_(and_(joins(states), told.c.type.in_(came)), and_(leaves(states), is_churn))
    fits = and_(states.c.day == told.c.day, says_so)
    at_once = false() if is_apart else and_(fits, states.c.row_count == 1)
    own = {
        "customer_delta": cast(
            case((at_once, _delta(states)), else_=told.c.customer_delta), SmallInteger
        )
    }
    competes = and_(fits, not_(at_once))
    turn = {"unit": states.c.unit, "bucket": states.c.bucket, "delta": _delta(states)}
    return (
        select(
            *(own.get(each.name, each).label(each.name) for each in told.c),
            *(case((competes, each)).label(name) for name, each in turn.items()),
            literal(0).label("is_extra"),
        )
        .select_from(matching(told, states, unit=told.c.customer_id, key=told.c[key]))
        .where(where(told.c.customer_id.is_not(None)))
    )


def _extra(told: FromClause, changes: CTE, states: CTE, key: str, policy: Policy) -> Select[Any]:
    """A row without amount for each turn of a customer, of the last line that moved it."""
    has_own_rates = policy.fx in ("at_movement", "at_renewal")
    own: dict[str, ColumnElement[Any]] = {
        "day": states.c.day,
        "type": states.c.kind,
        "amount_minor": cast(literal(0), Numeric),
        "amount_base_minor": cast(literal(0) if has_own_rates else null(), Numeric),
        "customer_delta": cast(literal(0), SmallInteger),
        "churn_reason": case((leaves(states), changes.c.reason)),
    }
    is_last = and_(
        moves(changes),
        or_(joins(states), leaves(states)),
        states.c.ends_at == changes.c.occurred_at,
    )
    goes_along = changes.c.amount_minor * _delta(states) > 0
    return (
        select(
            *(own[each.name] if each.name in own else changes.c[each.name] for each in told.c),
            states.c.unit,
            states.c.bucket,
            _delta(states),
            literal(1),
        )
        .ext(distinct_on(states.c.unit, states.c.bucket))
        .select_from(matching(changes, states, unit=changes.c.customer_id, key=changes.c[key]))
        .where(where(is_last))
        .order_by(states.c.unit, states.c.bucket, goes_along.desc(), *in_order(changes))
    )
