"""The instants inside a version at which time itself changes something.

A coupon runs out, a scheduled cancellation takes effect, a subscription begins later than it was
written down. Each is the boundary of a segment, past or future; no process has to wake up for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import DateTime, Interval, Text, case, cast, func, literal, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause, Select

__all__ = ["Timer", "after_intervals", "boundaries", "timer"]

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
