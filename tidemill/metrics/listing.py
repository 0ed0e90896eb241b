"""Base rows one by one, each with what it is worth and the event behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, cast, select

from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cube import Expression, Scope
from tidemill.metrics.paging import paged
from tidemill.metrics.query import Query
from tidemill.metrics.rates import Valued, rates_by_day

__all__ = ["Listing", "amounts", "listed", "own"]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What is listed beside what every row has.

    worth: what a row is worth, and the currency that is in; `rates` make base currency of it.
    shown: the question's other columns.
    ties:  what rows of one instant are sorted by: names of `shown`, or columns of base rows.
    """

    worth: Valued
    rates: FromClause
    shown: Mapping[str, Expression]
    ties: tuple[str, ...]
    joins: tuple[str, ...] = ()
    where: tuple[ColumnElement[bool], ...] = ()


def amounts(q: Query, *texts: str) -> Listing:
    """Dated amounts of money, at the rates of their days, with texts of their base rows."""
    rows = q.rows
    return Listing(
        worth=Valued(rows, rows.c.currency, rows.c.amount_minor),
        rates=q.rates_of_days,
        shown={name: own(name) for name in texts},
        ties=("event_position", *texts),
    )


def own(name: str) -> Expression:
    """A column of the base rows as it is."""
    return lambda scope: scope.rows.c[name]


def listed(q: Query, start: date | None, end: date, listing: Listing) -> Table:
    """A page of the base rows from `start` (None: the first ever) to `end`, in order of time.

    Of day, occurred_at, customer, amount, currency, native_amount and event_id the question has
    what it declares.
    """

    def columns(scope: Scope) -> list[ColumnElement[Any]]:
        rows, worth = scope.rows.c, listing.worth
        found = {
            "day": rows.day,
            "occurred_at": rows.occurred_at,
            "customer": scope["customers"].c.external_id,
            "currency": rows.currency,
            "native_amount": rows.amount_minor,
            "event_id": cast(scope["events"].c.id, Text),
            "worth_currency": worth.currency,
            "worth_amount": worth.amount,
            **{name: value(scope) for name, value in listing.shown.items()},
        }
        ties = {name: rows[name] for name in listing.ties if name not in found}
        # Named apart from the dimensions, which are columns of the same rows.
        return [value.label(f"row_{name}") for name, value in (found | ties).items()]

    joins = ("customers", "events", *listing.joins)
    each = q.select(end, columns, since=start, joins=joins).where(*listing.where)
    every = each.subquery("each_row")
    # Days follow from instants where indexes know these.
    keys = ("row_occurred_at",) if q.dated else ("row_day", "row_occurred_at")

    def ties(of: FromClause) -> list[ColumnElement[Any]]:
        return [*(of.c[f"row_{name}"] for name in listing.ties), *q.group_order(of)]

    page = paged(every, dict.fromkeys(keys, False), ties, q.bound.page, "listed_row")
    row = page.rows
    rate = rates_by_day(listing.rates, row, ("row_worth_currency", "row_day"), "listed_rate")
    on_day = and_(rate.c.currency == row.c.row_worth_currency, rate.c.day == row.c.row_day)
    shown = {
        each.name: row.c.row_worth_amount * rate.c.factor
        if each.name == "amount"
        else row.c[f"row_{each.name}"]
        for each in q.question.columns
    }
    told = [value.label(name) for name, value in shown.items()]
    statement = (
        select(*q.shown_beside(row), *told, *page.places)
        .outerjoin_from(row, rate, on_day)
        .order_by(*page.order)
    )
    lacking = (
        select(row.c.row_worth_currency, row.c.row_day)
        .outerjoin_from(row, rate, on_day)
        .where(rate.c.factor.is_(None))
        .distinct()
    )
    return q.table(
        statement,
        periods=Calendar.of(start or end, end, None, q.policy.tz).periods,
        behind=Behind(start, end),
        needs=(RateNeed(lacking),),
    )
