"""Renewals by number: when each is due, and which is the last at an instant.

They are numbered from the beginning of a version's period, which is 0; those before it count down.
Functions take rows that renew, as `renewals.renewing` gives them: anchor, interval, interval_count.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import DateTime, Integer, case, cast, func, literal, select

from tidemill.ledger.timers import after_intervals

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.relations import Relations

__all__ = [
    "after_rates",
    "due_at",
    "guessed_number",
    "last_number",
    "number_at",
    "numbers_between",
    "or_last_rate",
    "settled_number",
]

_INSTANT: Final = DateTime(timezone=True)
_DAY_S: Final = 86_400
# Before any renewal; where no rate was ever published none could bring one.
_BEFORE_ALL: Final = datetime(1, 1, 2, tzinfo=UTC)


def numbers_between(first: ColumnElement[int], last: ColumnElement[int]) -> FromClause:
    """A row for each number from the first to the last of them."""
    return func.generate_series(first, last).table_valued("number").render_derived()


def due_at(renews: FromClause, number: ColumnElement[int]) -> ColumnElement[datetime]:
    """When the renewal of a number is due."""
    return after_intervals(renews.c.anchor, renews.c.interval, renews.c.interval_count * number)


def number_at(
    renews: FromClause, at: ColumnElement[datetime], *, before: bool = False
) -> ColumnElement[int]:
    """The number of the last renewal at an instant or before it; with `before`, before it only.

    A period written down ahead of its time had others before it: they count down from it.
    """
    return settled_number(renews, guessed_number(renews, at), at, before=before)


def guessed_number(renews: FromClause, at: ColumnElement[datetime]) -> ColumnElement[int]:
    """The number that `number_at` gives, or the next one; `settled_number` says which."""
    start, end = (func.timezone("UTC", each, type_=DateTime()) for each in (renews.c.anchor, at))

    def part(name: str, of: ColumnElement[Any]) -> ColumnElement[float]:
        return func.date_part(name, of)

    # The calendar month of `at` has a renewal or follows one that is not after it.
    months = (part("year", end) - part("year", start)) * 12 + part("month", end)
    months -= part("month", start)
    by_month = months / case((renews.c.interval == "year", 12), else_=1)
    days = part("epoch", end - start) / _DAY_S
    by_day = days / case((renews.c.interval == "week", 7), else_=1)
    passed = case((renews.c.interval.in_(("year", "month")), by_month), else_=by_day)
    return cast(func.floor(passed / renews.c.interval_count), Integer)


def settled_number(
    renews: FromClause,
    guess: ColumnElement[int],
    at: ColumnElement[datetime],
    *,
    before: bool = False,
) -> ColumnElement[int]:
    """The number itself, of one that was guessed; see `number_at`."""
    due = due_at(renews, guess)
    is_ahead = due >= at if before else due > at
    return case((is_ahead, guess - 1), else_=guess)


def last_number(
    renews: FromClause, end: ColumnElement[datetime], relations: Relations
) -> ColumnElement[int]:
    """The number of the last renewal before an instant that can bring a rate."""
    until = func.least(end, after_rates(relations))
    return or_last_rate(renews, number_at(renews, until, before=True), end)


def after_rates(relations: Relations) -> ColumnElement[datetime]:
    """When the day after that of the last published rate begins."""
    rates = relations.fx_rates
    day_after = func.timezone("UTC", cast(func.max(rates.c.day) + 1, DateTime), type_=_INSTANT)
    at = func.coalesce(day_after, literal(_BEFORE_ALL, _INSTANT)).label("at")
    # Made once, because the planner works out each use of a subquery by itself.
    once = select(at).cte("after_rates").prefix_with("MATERIALIZED")
    return select(once.c.at).scalar_subquery()


def or_last_rate(
    renews: FromClause, number: ColumnElement[int], end: ColumnElement[datetime]
) -> ColumnElement[int]:
    """The number, or the next one where that is the first renewal after the last rate.

    It still takes that rate on, if it is due before the end.
    """
    return case((due_at(renews, number + 1) < end, number + 1), else_=number)
