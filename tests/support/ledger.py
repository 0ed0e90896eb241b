"""Books in a real database, and the ledger's answer about them, told in the words of the cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from tests.support.cases import customer_label
from tidemill import models
from tidemill.bus.postgres import PostgresBus
from tidemill.database import Database
from tidemill.events import parse_event
from tidemill.ledger import derive
from tidemill.policy import Policy
from tidemill.relations import core_relations
from tidemill.state import Books, apply

__all__ = ["Row", "derived_rows", "keep_books", "movements", "native_level"]

BASE = "USD"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ledger, with the names that people use for customers and subscriptions."""

    customer: str
    subscription: str
    day: date
    occurred_at: datetime
    type: str
    amount: Decimal
    currency: str
    customer_delta: int
    cause: str
    event_position: int
    churn_reason: str | None
    amount_base: Decimal | None


def keep_books(database: Database, events: Iterable[Mapping[str, Any]]) -> None:
    """Append events to the log and apply them all, as the worker does."""
    bus = PostgresBus(database)
    bus.append(parse_event(event) for event in events)
    while True:
        with bus.claim("state", 10_000) as delivery:
            if delivery is None:
                return
            apply(delivery.connection, delivery.rows, Books(base_currency=BASE))


def derived_rows(
    connection: Connection, policy: Policy, *, known_at: datetime | None = None
) -> list[Row]:
    """All movements under a policy, derived as a query, in the order of their instants."""
    return [_row(found) for found in connection.execute(_ledger(policy, known_at))]


@cache
def _ledger(policy: Policy, known_at: datetime | None) -> Select[Any]:
    """The statement; building it takes longer than running it on a small book."""
    relations = core_relations(base_currency=BASE, known_at=known_at)
    row = derive(relations, policy).subquery("movement")
    customer, subscription, source = models.customer, models.subscription, models.source
    return (
        select(
            source.c.name.label("source"),
            customer.c.external_id.label("customer_name"),
            subscription.c.external_id.label("subscription_name"),
            row,
        )
        .join(customer, customer.c.id == row.c.customer_id)
        .join(source, source.c.id == customer.c.source_id)
        .join(subscription, subscription.c.id == row.c.subscription_id)
        .order_by(row.c.occurred_at, row.c.event_position)
    )


def _row(found: Any) -> Row:
    return Row(
        customer=customer_label(found.source, found.customer_name),
        subscription=found.subscription_name,
        day=found.day,
        occurred_at=found.occurred_at,
        type=found.type,
        amount=found.amount_minor,
        amount_base=found.amount_base_minor,
        currency=found.currency,
        customer_delta=found.customer_delta,
        cause=found.cause,
        event_position=found.event_position,
        churn_reason=found.churn_reason,
    )


def movements(rows: Iterable[Row], policy: Policy) -> dict[tuple[str, ...], Decimal]:
    """Netted movements: (day, customer[, subscription], type) → signed native amount.

    A movement of nothing is told only where a customer came or went by it.
    """
    told: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    moved: dict[tuple[str, ...], int] = defaultdict(int)
    for row in rows:
        by_subscription = policy.movement_level == "subscription"
        unit = (row.customer, row.subscription) if by_subscription else (row.customer,)
        key = (row.day.isoformat(), *unit, row.type)
        told[key] += row.amount
        moved[key] += row.customer_delta
    return {key: amount for key, amount in told.items() if amount or moved[key]}


def native_level(rows: Iterable[Row], day: date) -> dict[str, Decimal]:
    """The level at the close of a day, by currency."""
    level: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.day <= day:
            level[row.currency] += row.amount
    return dict(level)
