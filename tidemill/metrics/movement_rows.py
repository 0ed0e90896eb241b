"""Movements one by one, each with its cause and the event behind it."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Text, and_, cast, collate, select

from tidemill.ledger.movements import FX_TYPE
from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day

__all__ = ["movement_rows"]

_JOINS = ("customers", "subscriptions", "events")


def movement_rows(q: Query, start: date | None, end: date) -> Table:
    """The movements from `start` (None: the first ever) to `end`, both included, in order."""
    first = start or end
    row = (
        q.select(
            end,
            lambda scope: [
                scope.rows.c.day.label("on_day"),
                scope.rows.c.occurred_at.label("at"),
                scope["customers"].c.external_id.label("customer_id"),
                scope["subscriptions"].c.external_id.label("subscription_id"),
                scope.rows.c.plan.label("plan_id"),
                scope.rows.c.type.label("movement_type"),
                scope.rows.c.currency.label("native_currency"),
                scope.rows.c.amount_minor.label("native_minor"),
                q.moved.currency.label("worth_currency"),
                q.moved.amount.label("worth_minor"),
                scope.rows.c.cause.label("made_by"),
                scope["events"].c.id.label("event_uuid"),
                scope.rows.c.event_position,
                scope.rows.c.item,
            ],
            joins=_JOINS,
        )
        .where(q.rows.c.type != FX_TYPE, *([q.rows.c.day >= start] if start else []))
        .cte("movement")
    )
    rate = rates_by_day(q.rates, row, ("worth_currency", "on_day"), "movement_rate")
    own_columns = {each.name for each in q.question.columns}
    groups = [row.c[each.name] for each in q.bound.dimensions if each.name not in own_columns]
    on_day = and_(rate.c.currency == row.c.worth_currency, rate.c.day == row.c.on_day)
    statement = (
        select(
            *groups,
            row.c.on_day.label("day"),
            row.c.at.label("occurred_at"),
            row.c.customer_id.label("customer"),
            row.c.subscription_id.label("subscription"),
            row.c.plan_id.label("plan"),
            row.c.movement_type.label("type"),
            (row.c.worth_minor * rate.c.factor).label("amount"),
            row.c.native_currency.label("currency"),
            row.c.native_minor.label("native_amount"),
            row.c.made_by.label("cause"),
            cast(row.c.event_uuid, Text).label("event_id"),
        )
        .outerjoin_from(row, rate, on_day)
        .order_by(
            row.c.on_day,
            row.c.at,
            collate(row.c.customer_id, "C"),
            collate(row.c.subscription_id, "C"),
            row.c.event_position,
            collate(row.c.item, "C"),
            row.c.native_minor,
        )
    )
    lacking = (
        select(row.c.worth_currency, row.c.on_day)
        .outerjoin_from(row, rate, on_day)
        .where(rate.c.factor.is_(None))
        .distinct()
    )
    return q.table(
        statement,
        periods=Calendar.of(first, end, None, q.policy.tz).periods,
        behind=Behind(start, end),
        needs=(RateNeed(lacking),),
    )
