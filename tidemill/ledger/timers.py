"""The instants inside a version at which time itself changes something.

A coupon runs out, a scheduled cancellation takes effect, a subscription begins later than it was
written down. Each is the boundary of a segment, past or future; no process has to wake up for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import (
    DateTime,
    Interval,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause, Select

__all__ = ["Timer", "after_intervals", "boundaries", "dated_timer", "latest", "timer", "within"]

# A query for instants with what they stand for: version_id, at, cause, event_position.
Timer: TypeAlias = "Select[tuple[int, datetime, str, int]]"


def timer(
    spans: FromClause,
    at: ColumnElement[datetime],
    cause: Cause,
    position: ColumnElement[int] | None = None,
) -> Timer:
    """The instants strictly inside their version's span; at its start the event is the cause.

    spans:    rows with version_id, valid_from and valid_to; `at` is an expression over them.
    position: log position of the event behind the instant; that of the version when not given.
    """
    return select(
        spans.c.version_id,
        at.label("at"),
        cast(literal(cause.value), Text).label("cause"),
        (spans.c.version_id if position is None else position).label("event_position"),
    ).where(at > spans.c.valid_from, at < spans.c.valid_to)


def boundaries(timers: list[Timer]) -> FromClause:
    """All timers as one relation, a row an instant of a version.

    Where several meet in one instant, the one that stands first in `Cause` gives its name.
    """
    cuts = union_all(*timers).subquery("timer")
    place = case({cause.value: rank for rank, cause in enumerate(Cause)}, value=cuts.c.cause)
    return (
        select(cuts)
        .ext(distinct_on(cuts.c.version_id, cuts.c.at))
        .order_by(cuts.c.version_id, cuts.c.at, place, cuts.c.event_position)
        .subquery("boundary")
    )


def latest(instants: Select[Any], starts: Select[Any], name: str) -> FromClause:
    """For every instant of a subscription the last of some starts that is not after it.

    instants: subscription_id, at and whatever else is to be told of each.
    starts:   subscription_id and an instant.
    Shape:    the columns of `instants` and `since`; only where there is such a start.
    Both are laid out in one line of time: a join by ranges would compare each with each.
    """
    one, other = instants.cte(f"{name}_instant"), starts.subquery(f"{name}_start")
    owner, at = other.c
    empty = [cast(null(), column.type) for column in [*one.c][2:]]
    marks = union_all(
        select(
            one, cast(null(), DateTime(timezone=True)).label("start"), true().label("is_instant")
        ).where(one.c.subscription_id.in_(select(owner))),
        select(owner, at, *empty, at, false()).where(owner.in_(select(one.c.subscription_id))),
    ).subquery(f"{name}_mark")
    last = func.max(marks.c.start).over(partition_by=marks.c.subscription_id, order_by=marks.c.at)
    line = select(marks, last.label("since")).subquery(f"{name}_line")
    return (
        select(*(line.c[column.name] for column in one.c), line.c.since)
        .where(line.c.is_instant, line.c.since.is_not(None))
        .subquery(name)
    )


def dated_timer(versions: FromClause, instants: Select[Any], cause: Cause, name: str) -> Timer:
    """The instants of subscriptions, each inside the version in force then.

    instants: subscription_id, at and, where it is not the version's, event_position.
    """
    begun = select(versions.c.subscription_id, versions.c.valid_from)
    instant = latest(instants, begun, name)
    in_version = and_(
        versions.c.subscription_id == instant.c.subscription_id,
        versions.c.valid_from == instant.c.since,
    )
    told = [column for column in instant.c if column.name in ("at", "event_position")]
    spans = (
        select(versions.c.version_id, versions.c.valid_from, versions.c.valid_to, *told)
        .join(instant, in_version)
        .subquery(f"{name}_version")
    )
    return timer(spans, spans.c.at, cause, spans.c.get("event_position"))


def within(instants: Select[Any], spans: Select[Any], name: str) -> FromClause:
    """Those of some instants that lie in any of their owner's spans, each once: owner, at.

    instants: owner, at.
    spans:    owner, begins_at, ends_at (half-open; one that ends where it begins holds nothing).
    Both are laid out in one line of time: a join by ranges would compare each with each.
    """
    one, span = instants.subquery(f"{name}_instant"), spans.cte(f"{name}_span")
    marks = union_all(
        select(span.c.owner, span.c.begins_at.label("at"), literal(1).label("opens")),
        select(span.c.owner, span.c.ends_at, literal(-1)),
        select(one.c.owner, one.c.at, literal(0))
        .where(one.c.owner.in_(select(span.c.owner)))
        .distinct(),
    ).subquery(f"{name}_mark")
    depth = func.sum(marks.c.opens).over(partition_by=marks.c.owner, order_by=marks.c.at)
    line = select(marks, depth.label("depth")).subquery(f"{name}_line")
    return select(line.c.owner, line.c.at).where(line.c.opens == 0, line.c.depth > 0).subquery(name)


def after_intervals(
    start: ColumnElement[datetime], interval: ColumnElement[str], count: ColumnElement[int]
) -> ColumnElement[datetime]:
    """`start` plus `count` billing intervals by the UTC calendar.

    A month after 31 January is 28 or 29 February. The sum is made on UTC wall time because
    PostgreSQL adds months to a `timestamptz` in the zone of whichever session asks.
    """
    step = case(
        (interval == "year", func.make_interval(count)),
        (interval == "month", func.make_interval(0, count)),
        (interval == "week", func.make_interval(0, 0, count)),
        else_=func.make_interval(0, 0, 0, count),
    )
    moved = func.timezone("UTC", start) + cast(step, Interval)
    return func.timezone("UTC", moved, type_=DateTime(timezone=True))
