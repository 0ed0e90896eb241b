"""What the statements that make up histories are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, column, func, literal, select, true

from tidemill import models

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

__all__ = ["BASE", "KEYS", "at", "each", "event", "numbers", "source"]

BASE: Final = "USD"
"""The base currency; three subscriptions in ten pay in another one."""

KEYS: Final = 100_000
"""Keys of a subscription: what its events wrote lies together, as it would in the log."""


def numbers(first: int, last: int, name: str) -> FromClause:
    """A row for each number, as n."""
    return (
        func.generate_series(first, last)
        .table_valued(column("n", Integer), name=name)
        .render_derived()
    )


def each(every: int, number: ColumnElement[int], place: int) -> ColumnElement[bool]:
    """One in so many numbers; different places are different ones."""
    return number % every == place


def source() -> ColumnElement[int]:
    """The one source there is."""
    return select(models.source.c.id).limit(1).scalar_subquery().label("source_id")


def event(version: FromClause) -> list[ColumnElement[Any]]:
    """The event behind a version."""
    return [
        version.c.event_id,
        *at(version.c.begins_at),
    ]


def at(instant: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """What happened then, and was known at once."""
    return [
        instant.label("occurred_at"),
        literal(0).label("sequence"),
        instant.label("recorded_at"),
        true().label("livemode"),
    ]
