"""Movements: the changes of each bucket, named.

A movement is a difference of two levels, so movements sum to the level, always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CTE,
    Numeric,
    SmallInteger,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)

from tidemill.ledger.buckets import Buckets, buckets, dated, moves, unit_of
from tidemill.ledger.carrying import base_amount, carried, rates_of, swapped
from tidemill.ledger.changes import LINE, in_order
from tidemill.ledger.customers import cohorts, counted_apart
from tidemill.ledger.kinds import TYPED, joins, leaves, with_kinds
from tidemill.ledger.matching import matching, where
from tidemill.ledger.renewals import Revaluations, revalued
from tidemill.ledger.timers import within
from tidemill.vocabulary import MovementType

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["FX_TYPE", "named", "of_lines"]

FX_TYPE: Final = "fx"
"""The type of rows that are no movement: the same native level at another rate."""


# Columns that rows get beside those of their change; no row is looked at beside another for these.
_OF_BUCKETS: Final = frozenset({"day", "type", "amount_minor", "amount_base_minor", "cohort_month"})


def of_lines(policy: Policy, columns: Collection[str] | None) -> frozenset[str] | None:
    """Which columns of lines `named` reads to tell some columns; None for all, and their causes.

    All are read where rows of a bucket are put in order, to say one thing on one of them.
    """
    read = {"customer_id", "currency", "occurred_at", *(columns or ())} - _OF_BUCKETS
    is_plain = (
        policy.movement_level == "customer"
        and policy.fx not in ("at_movement", "at_renewal")
        and policy.netting in ("day", "none")
    )
    if columns is None or not is_plain or not read <= {*LINE, "occurred_at"}:
        return None
    return frozenset(read)


def named(
    changed: FromClause,
    revaluations: Revaluations | None,
    relations: Relations,
    policy: Policy,
    columns: Collection[str] | None = None,
) -> Select[tuple[object, ...]]:
    """The ledger: every change with the name of its bucket's movement.

    revaluations: what renewals change beside; None when they change nothing.
    columns: those that are wanted; None for all.

    Source: docs/reference/definitions.md, movements. With b and a the level of the customer before
            and after the bucket: not active, then active is new, or reactivation if ever active
            before; active, then not is churn; otherwise a >= b is expansion, a < b contraction.
    Shape:  the columns of `models.metric_mrr_movement`.
    A bucket in which a unit came and left again is empty: nothing was there before or after.
    """
    if revaluations is not None and policy.join_churn_same_month == "ignore":
        # What is erased takes its renewals with it.
        renewals = revalued(*revaluations)
        both = union_all(select(changed), select(renewals)).subquery("all")
        changed, revaluations = both, None
    # Read several times, made once.
    changes = select(dated(changed, policy)).cte("dated_change")
    made = buckets(changes, policy, "bucket")
    is_whole = of_lines(policy, columns) is None
    states = with_kinds(made, relations, policy, None if is_whole else TYPED).cte("bucket_state")
    rates = rates_of(changes, relations, policy)
    moved = carried(made, states, rates, relations)
    if is_whole:
        told = _told(changes, made, states, moved, relations, policy)
    else:
        told = [_told_of_lines(changes, made, states, policy)]
    if policy.fx == "at_renewal" or policy.netting not in ("day", "none"):
        still = _outside_empty(_still(changes, made, states, policy), states, policy, "still")
        told.append(_asides(swapped(still, rates, relations)))
    if revaluations is not None:
        renewals = _outside_empty(revaluations.renewals, states, policy, "renewal")
        told.append(_asides(dated(revalued(revaluations.levels, renewals), policy)))
    rows = union_all(*told).subquery("told")
    if policy.movement_level == "customer":
        return _whole(rows, states, columns)
    counted, turns = counted_apart(rows, changes, relations, policy)
    return _whole(counted, turns, columns)


def _told_of_lines(changes: CTE, made: Buckets, states: CTE, policy: Policy) -> Select[Any]:
    """The rows that are movements, with what is said of each line and bucket by itself."""
    source = matching(changes, states, unit=unit_of(changes, policy), key=changes.c[made.key])
    return (
        select(
            *(changes.c[name] for name in LINE if name in changes.c),
            changes.c.occurred_at,
            states.c.day,
            states.c.kind.label("type"),
            changes.c.amount_minor,
            cast(null(), Numeric).label("amount_base_minor"),
        )
        .select_from(source)
        .where(where(moves(changes), or_(states.c.was_active, states.c.is_active)))
    )


def _told(
    changes: CTE,
    made: Buckets,
    states: CTE,
    moved: FromClause | None,
    relations: Relations,
    policy: Policy,
) -> list[Select[Any]]:
    """The rows of the ledger that are movements, but for their cohort.

    moved: what their buckets carry, as `carried` gives it.

    Most are alone in their bucket. The others are looked at together: one of them says that the
    customer came or left, and all lines of a subscription's end say why it ended.
    """
    delta: ColumnElement[int] = literal(0)
    if policy.movement_level == "customer":
        delta = case((joins(states), 1), (leaves(states), -1), else_=0)
    is_told = or_(states.c.was_active, states.c.is_active)
    whole = select(states, delta.label("delta")).where(is_told)
    alone = whole.where(states.c.row_count == 1).subquery("alone_state")
    shared = whole.where(states.c.row_count > 1).subquery("shared_state")
    of_bucket = (shared.c.unit, shared.c.bucket)
    place = func.row_number().over(partition_by=of_bucket, order_by=in_order(changes))
    ended = func.last_value(changes.c.reason).over(
        partition_by=(*of_bucket, changes.c.subscription_id),
        order_by=changes.c.occurred_at,
        range_=(None, None),
    )

    def rows(
        state: FromClause, delta: ColumnElement[int], reason: ColumnElement[str]
    ) -> Select[Any]:
        source = matching(changes, state, unit=unit_of(changes, policy), key=changes.c[made.key])
        if moved is not None:
            of_step = {"currency": changes.c.currency, "bucket": state.c.bucket}
            source = matching(source, moved, unit=state.c.unit, **of_step)
        base = base_amount(changes, state, moved, relations, in_order(changes))
        return (
            select(
                *(changes.c[name] for name in LINE),
                changes.c.occurred_at,
                state.c.day,
                state.c.kind.label("type"),
                changes.c.amount_minor,
                (base.alone if state is alone else base.shared).label("amount_base_minor"),
                cast(delta, SmallInteger).label("customer_delta"),
                changes.c.cause,
                changes.c.event_position,
                case((leaves(state), reason)).label("churn_reason"),
            )
            .select_from(source)
            .where(where(moves(changes), state.c.unit.is_not(None)))
        )

    return [
        rows(alone, alone.c.delta, changes.c.reason),
        rows(shared, case((place == 1, shared.c.delta), else_=0), ended),
    ]


def _still(changes: CTE, made: Buckets, states: CTE, policy: Policy) -> CTE:
    """The changes that move nothing for their unit."""
    keys = {"unit": unit_of(changes, policy), "key": changes.c[made.key]}
    source = matching(changes, states, **keys)
    is_still = [
        changes.c.customer_id.is_not(None),
        or_(not_(moves(changes)), states.c.unit.is_(None)),
    ]
    if made.kept is not None:
        source = matching(source, made.kept, **keys)
        is_still.append(made.kept.c.unit.is_not(None))
    return (
        select(changes, keys["unit"].label("unit"))
        .select_from(source)
        .where(where(*is_still))
        .cte("still")
    )


def _outside_empty(rows: CTE, states: CTE, policy: Policy, name: str) -> FromClause:
    """Rows of units at instants, but for those in the middle of a bucket that is not told.

    Who came and left within a bucket was never there, and changed no item meanwhile either.
    """
    if policy.netting == "none":
        return rows
    empty = select(states.c.unit.label("owner"), states.c.begins_at, states.c.ends_at).where(
        not_(or_(states.c.was_active, states.c.is_active))
    )
    instants = select(rows.c.unit.label("owner"), rows.c.occurred_at.label("at"))
    inside = within(instants, empty.distinct(), f"{name}_in_empty")
    same = and_(inside.c.owner == rows.c.unit, inside.c.at == rows.c.occurred_at)
    joined = rows.outerjoin(inside, same)
    left = select(rows).select_from(joined).where(inside.c.owner.is_(None))
    return left.subquery(f"{name}_outside")


def _asides(changes: FromClause) -> Select[tuple[object, ...]]:
    """Changes of lines that are no movement of their unit: another rate, or another item.

    They add up to nothing for the unit in its own currency, but plans need them to add up as well.
    """
    is_rate = and_(changes.c.amount_minor == 0, changes.c.present == 0)
    # One free item for another changes no sum, and may be of a customer who never became active.
    is_worth_telling = or_(changes.c.amount_minor != 0, is_rate)
    base = changes.c.get("amount_base_minor", cast(null(), Numeric))
    return select(
        *(changes.c[name] for name in LINE),
        changes.c.occurred_at,
        changes.c.day,
        case((is_rate, FX_TYPE), else_=MovementType.EXPANSION.value),
        changes.c.amount_minor,
        base,
        cast(literal(0), SmallInteger),
        changes.c.cause,
        changes.c.event_position,
        cast(null(), Text),
    ).where(is_worth_telling)


def _whole(
    told: FromClause, states: CTE, columns: Collection[str] | None
) -> Select[tuple[object, ...]]:
    """The rows with the month in which their customer first became active, where it is wanted."""
    if columns is not None:
        kept = {"customer_id", *columns}
        told = select(*(each for each in told.c if each.name in kept)).subquery("wanted")
        if "cohort_month" not in columns:
            return select(told)
    cohort = cohorts(states)
    joined = matching(told, cohort, customer_id=told.c.customer_id)
    return (
        select(told, cohort.c.cohort_month)
        .select_from(joined)
        .where(where(told.c.customer_id.is_not(None)))
    )
