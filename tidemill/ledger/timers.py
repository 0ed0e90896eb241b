"""The instants inside a version at which time itself changes something.

A coupon runs out, a scheduled cancellation takes effect, a subscription begins later than it was
written down. Each is the boundary of a segment, past or future; no process has to wake up for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import DateTime, Interval, Text, case, cast, func, literal, select, union_all

from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import CTE, ColumnElement, FromClause, Select

__all__ = ["Timer", "after_intervals", "boundaries", "discount_timers", "version_timers"]

# A query for instants with the cause they stand for: version_id, at, cause.
Timer: TypeAlias = "Select[tuple[int, datetime, str]]"


def version_timers(
    versions: CTE, timers: Iterable[tuple[ColumnElement[datetime], Cause]]
) -> list[Timer]:
    """Timers that a version's own columns tell."""
    return [_inside(versions, at, cause) for at, cause in timers]


def discount_timers(discounts: CTE) -> list[Timer]:
    """Starts and ends of the discounts that count (`discounts.counted_discounts`)."""
    return [
        _inside(discounts, discounts.c.starts_at, Cause.DISCOUNT_STARTED),
        _inside(discounts, discounts.c.ends_at, Cause.DISCOUNT_ENDED),
    ]


def boundaries(timers: list[Timer]) -> FromClause:
    """All timers as one relation, a row an instant of a version: version_id, at, cause.

    Where several meet in one instant, the one that stands first in `Cause` gives its name.
    """
    cuts = union_all(*timers).subquery("timer")
    place = case({cause.value: rank for rank, cause in enumerate(Cause)}, value=cuts.c.cause)
    return (
        select(cuts)
        .distinct(cuts.c.version_id, cuts.c.at)
        .order_by(cuts.c.version_id, cuts.c.at, place)
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


def _inside(spans: CTE, at: ColumnElement[datetime], cause: Cause) -> Timer:
    """The instants strictly inside a version's span: at its start the event itself is the cause."""
    return select(
        spans.c.version_id, at.label("at"), cast(literal(cause.value), Text).label("cause")
    ).where(at > spans.c.valid_from, at < spans.c.valid_to)
