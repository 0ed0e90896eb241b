"""Buckets: which changes of a unit collapse into one movement.

The knob `movement_level` chooses the unit, `netting` the bucket. A change has the columns of a line
of the ledger, and most of them say nothing of that: so changes are added up by unit and time first,
buckets are made of the narrow sums, and changes find theirs by its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import CTE, Date, Integer, Label, Subquery, cast, func, or_, select

from tidemill.knobs import parameter
from tidemill.ledger.activity import keeps_free, month_of, with_activity, without_short_spells

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy

__all__ = ["Buckets", "buckets", "dated", "moves", "unit_of"]


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of units, and how their changes find them.

    key:    the column of a change that is the `key` of its bucket's row: day, or occurred_at.
    nets:   unit, key, currency and amount_minor, which add up to its change there.
    states: a row a unit and key: bucket, by which those of a unit are ordered; was_active and
            is_active, the unit's state at the bucket's edges; day, on which its movement is dated;
            begins_at, ends_at and row_count of the bucket; amount_minor, its change in all
            currencies, of which there are several if is_mixed.
    kept:   unit and key of changes that were not erased; None when nothing ever is.
    A key without a state is an instant that does not turn its unit.
    """

    key: str
    nets: FromClause
    states: Subquery
    kept: CTE | None


def dated(changes: FromClause, policy: Policy) -> FromClause:
    """The changes with their day."""
    local = func.timezone(policy.tz, changes.c.occurred_at)
    return select(changes, cast(local, Date).label("day")).subquery("dated")


def unit_of(rows: FromClause, policy: Policy) -> ColumnElement[int]:
    """`movement_level`: whose level a movement is a change of."""
    if policy.movement_level == "subscription":
        return rows.c.subscription_id
    return rows.c.customer_id


def moves(change: FromClause) -> ColumnElement[bool]:
    """Does a change say anything about its unit? One of its rate alone does not."""
    return or_(change.c.amount_minor != 0, change.c.present != 0)


def buckets(changes: FromClause, policy: Policy, name: str) -> Buckets:
    """The buckets of dated changes.

    name: of the common table expressions; a statement that makes buckets twice needs two.
    """
    # Who was there at which instant only matters where something hangs on what a bucket hides.
    by_instant = (
        policy.netting != "day" or keeps_free(policy) or policy.join_churn_same_month == "ignore"
    )
    key = "occurred_at" if by_instant else "day"
    nets: FromClause = _moved(changes, key, policy)
    if policy.netting not in ("day", "none"):
        # Whether an instant turns its unit has to be known of each currency.
        nets = _by_currency(nets).cte(f"{name}_net")
    active = with_activity(_sums(nets), policy)
    kept = None
    if policy.join_churn_same_month == "ignore":
        lasting = select(without_short_spells(active)).cte(f"{name}_lasting")
        active = kept = lasting
    if policy.netting == "none" or not by_instant:
        states = select(active, active.c.key.label("bucket")).subquery(name)
    else:
        states = _whole(_netted(_turning(active, policy), policy), name)
    return Buckets(key, nets, states, kept)


def _moved(changes: FromClause, key: str, policy: Policy) -> FromClause:
    """What of changes their buckets are made of."""
    moved = select(
        unit_of(changes, policy).label("unit"),
        changes.c[key].label("key"),
        changes.c.currency,
        changes.c.amount_minor,
        changes.c.present,
        changes.c.day,
        changes.c.occurred_at.label("begins_at"),
        changes.c.occurred_at.label("ends_at"),
        cast(moves(changes), Integer).label("row_count"),
    )
    if policy.join_churn_same_month == "ignore":
        # What is erased takes changes of its rate with it.
        return moved.subquery("moved")
    return moved.where(moves(changes)).subquery("moved")


def _added(rows: FromClause) -> list[Label[Any]]:
    how: dict[str, Any] = {"amount_minor": func.sum, "present": func.sum, "row_count": func.sum}
    how |= {"day": func.min, "begins_at": func.min, "ends_at": func.max}
    return [each(rows.c[name]).label(name) for name, each in how.items()]


def _by_currency(moved: FromClause) -> Select[Any]:
    names = ("unit", "key", "currency")
    rows = _in_order(moved, names, "moved_in_order")
    keys = [rows.c[name] for name in names]
    return select(*keys, *_added(rows)).group_by(*keys)


def _in_order(rows: FromClause, names: tuple[str, ...], name: str) -> FromClause:
    """Sorted as levels are added up afterwards: what is summed of it needs no sort of its own."""
    return select(rows).order_by(*(rows.c[each] for each in names)).subquery(name)


def _sums(moved: FromClause) -> FromClause:
    nets = _in_order(moved, ("unit", "key"), "net_in_order")
    changed = nets.c.amount_minor != 0
    first, last = (each(nets.c.currency).filter(changed) for each in (func.min, func.max))
    return (
        select(
            nets.c.unit,
            nets.c.key,
            *_added(nets),
            func.bool_or(changed).label("is_worth_more"),
            first.label("first_currency"),
            last.label("last_currency"),
        )
        .group_by(nets.c.unit, nets.c.key)
        .subquery("change_sum")
    )


def _turning(active: FromClause, policy: Policy) -> FromClause:
    """The instants after which the unit is worth another amount, or there, or no longer there.

    One item for another at the same price changes lines of the ledger, and a renewal their rate;
    for the unit nothing moved. Nor does it where a free subscription more or less keeps one that is
    worth something: neither dates a movement nor keeps a window open. By the day that makes no
    difference.
    """
    if policy.netting == "day":
        return active
    turns = or_(active.c.is_worth_more, active.c.was_active != active.c.is_active)
    return select(active).where(turns).subquery("turning")


def _netted(instants: FromClause, policy: Policy) -> FromClause:
    """`netting`: day and month by the calendar, window:N by the gaps.

    A window goes on for as long as each change that turns its unit comes within N minutes of the
    one before it.
    """
    word, minutes = parameter(policy.netting)
    if word == "window":
        run: dict[str, Any] = {"partition_by": instants.c.unit, "order_by": instants.c.key}
        gap = instants.c.key - func.lag(instants.c.key).over(**run)
        is_late = gap > func.make_interval(0, 0, 0, 0, 0, minutes)
        marked = select(instants, is_late.label("opens")).subquery("marked")
        bucket = (
            func.count()
            .filter(marked.c.opens)
            .over(partition_by=marked.c.unit, order_by=marked.c.key)
        )
        columns = [marked.c[column.name] for column in instants.c]
        return select(*columns, bucket.label("bucket")).subquery("netted")
    calendar = {"day": instants.c.day, "month": month_of(instants.c.day)}
    return select(instants, calendar[word].label("bucket")).subquery("netted")


def _whole(netted: FromClause, name: str) -> Subquery:
    """Instants with what is so of their whole bucket; its movement is dated at the last of them."""
    run: dict[str, Any] = {
        "partition_by": (netted.c.unit, netted.c.bucket),
        "order_by": netted.c.key,
        "rows": (None, None),
    }

    def of_bucket(aggregate: Any, column: str) -> Label[Any]:
        of: Label[Any] = aggregate(netted.c[column]).over(**run).label(column)
        return of

    return select(
        netted.c.unit,
        netted.c.key,
        netted.c.bucket,
        of_bucket(func.first_value, "was_active"),
        of_bucket(func.last_value, "is_active"),
        of_bucket(func.last_value, "day"),
        of_bucket(func.min, "begins_at"),
        of_bucket(func.max, "ends_at"),
        of_bucket(func.sum, "row_count"),
        of_bucket(func.sum, "amount_minor"),
        of_bucket(func.min, "first_currency"),
        of_bucket(func.max, "last_currency"),
    ).subquery(name)
