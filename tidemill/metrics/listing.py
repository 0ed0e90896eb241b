"""Dated amounts one by one, each with the event behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Text, and_, cast, collate, select

from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day

__all__ = ["listed"]


def listed(q: Query, start: date | None, end: date, texts: Sequence[str]) -> Table:
    """The base rows from `start` (None: the first ever) to `end`, both included, in order of time.

    texts: the columns of the base rows that the question shows as they are.
    The question's other columns are among day, occurred_at, customer, amount, currency,
    native_amount and event_id.
    """
    rows = q.rows.c
    row = (
        q.select(
            end,
            lambda scope: [
                *(rows[name].label(f"row_{name}") for name in ("day", "occurred_at", "currency")),
                *(rows[name].label(f"row_{name}") for name in texts),
                rows.amount_minor,
                rows.event_position,
                scope["customers"].c.external_id.label("row_customer"),
                scope["events"].c.id.label("event_uuid"),
            ],
            joins=("customers", "events"),
        )
        .where(*([rows.day >= start] if start else []))
        .cte("listed_row")
    )
    rate = rates_by_day(q.rates_of_days, row, ("row_currency", "row_day"), "listed_rate")
    on_day = and_(rate.c.currency == row.c.row_currency, rate.c.day == row.c.row_day)
    shown = {
        "day": row.c.row_day,
        "occurred_at": row.c.row_occurred_at,
        "customer": row.c.row_customer,
        "amount": row.c.amount_minor * rate.c.factor,
        "currency": row.c.row_currency,
        "native_amount": row.c.amount_minor,
        "event_id": cast(row.c.event_uuid, Text),
        **{name: row.c[f"row_{name}"] for name in texts},
    }
    own = [each.name for each in q.question.columns]
    groups = [row.c[each.name] for each in q.bound.dimensions if each.name not in own]
    statement = (
        select(*groups, *(shown[name].label(name) for name in own))
        .outerjoin_from(row, rate, on_day)
        .order_by(
            row.c.row_occurred_at,
            row.c.event_position,
            *(collate(cast(row.c[f"row_{name}"], Text), "C") for name in texts),
        )
    )
    lacking = (
        select(row.c.row_currency, row.c.row_day)
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
