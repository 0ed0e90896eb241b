"""A ledger written by hand, row by row, so that a test can work out every answer on paper."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import insert

from tidemill import models
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.policy import Policy

__all__ = ["AS_OF", "HandLedger"]

AS_OF = datetime(2025, 7, 1, tzinfo=UTC)
_NAMES = UUID("8d1c5a80-0000-4000-8000-000000000000")
_NOON = time(12)


class HandLedger:
    """Writes customers, plans, rates and movements into a database.

    The first movement of a customer makes the customer; days are text, amounts minor units.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sources: dict[str, int] = {}
        self._customers: dict[tuple[str, str], int] = {}
        self._cohorts: dict[int, date] = {}
        self._rows = 0

    def engine(
        self, base: str = "USD", *, as_of: datetime = AS_OF, policy: Policy | None = None
    ) -> MetricsEngine:
        """An engine over the ledger as written so far."""
        return MetricsEngine(self.database, base_currency=base, as_of=as_of, policy=policy)

    def rate(self, day: str, quote: str, rate: str, base: str = "USD") -> None:
        """One major unit of `quote` is worth `rate` of `base` from the day on."""
        self._rows += 1
        values = {
            "id": self._rows,
            "event_id": uuid5(_NAMES, f"rate {self._rows}"),
            "occurred_at": AS_OF,
            "sequence": self._rows,
            "recorded_at": AS_OF,
            "base": base,
            "quote": quote,
            "day": day,
            "rate": Decimal(rate),
        }
        self._insert(models.fx_rate, values)

    def customer(self, external_id: str, source: str = "stripe", **values: Any) -> int:
        """The customer's key; its details are `values`."""
        if (source, external_id) not in self._customers:
            key = 1000 + len(self._customers)
            self._customers[source, external_id] = key
            row = {"id": key, "source_id": self._source(source), "external_id": external_id}
            self._insert(models.customer, row | values)
        return self._customers[source, external_id]

    def plan(self, plan: str, source: str = "stripe", **values: Any) -> None:
        """A plan's catalogue row."""
        row = {
            "source_id": self._source(source),
            "external_id": plan,
            "currency": "USD",
            "interval": "month",
            "interval_count": 1,
            "unit_amount": 0,
            "pricing_model": "flat",
            "usage_type": "licensed",
        }
        self._insert(models.plan, row | _STATE | values)

    def product(self, product: str, source: str = "stripe", **values: Any) -> None:
        """A product's catalogue row."""
        row = {"source_id": self._source(source), "external_id": product}
        self._insert(models.product, row | _STATE | values)

    def move(
        self, day: str, customer: str, type: str, amount: str | int | Decimal, **values: Any
    ) -> None:
        """A movement; `values` are other columns, and `source`."""
        source = values.pop("source", "stripe")
        key = self.customer(customer, source)
        self._rows += 1
        on = date.fromisoformat(day)
        cohort = self._cohorts.setdefault(key, on.replace(day=1))
        arrived = {"new": 1, "reactivation": 1, "churn": -1}.get(type, 0)
        row: dict[str, Any] = {
            "customer_id": key,
            "subscription_id": key * 10,
            "source_id": self._source(source),
            "item": "si_1",
            "plan": "basic",
            "product": None,
            "interval": "month",
            "interval_count": 1,
            "currency": "USD",
            "occurred_at": datetime.combine(on, _NOON, UTC),
            "day": on,
            "type": type,
            "amount_minor": Decimal(amount),
            "customer_delta": arrived,
            "cohort_month": cohort,
            "cause": "event",
            "event_position": self.event(day, source) if values.pop("logged", False) else 0,
            "churn_reason": "unknown" if type == "churn" else None,
        }
        self._insert(models.metric_mrr_movement, row | values)

    def merge(self, one: str, into: str, source: str = "stripe") -> None:
        """Two customers are one company; the ledger's rows stay as they were written."""
        row = {
            "id": self.event("2025-06-01", source),
            "customer_id": self.customer(one, source),
            "into_source": source,
            "into_customer": into,
            "event_id": _NAMES,
            "occurred_at": AS_OF,
            "sequence": 0,
            "recorded_at": AS_OF,
            "livemode": True,
        }
        self._insert(models.customer_merge, row)

    def event(
        self, day: str, source: str = "stripe", *, livemode: bool = True, **values: Any
    ) -> int:
        """An event of the log; gives its position."""
        self._rows += 1
        row = {
            "id": uuid5(_NAMES, str(self._rows)),
            "source_id": self._source(source),
            "partition": 0,
            "type": "subscription.updated",
            "subject": "sub",
            "customer": "cus",
            "occurred_at": datetime.combine(date.fromisoformat(day), _NOON, UTC),
            "sequence": 0,
            "livemode": livemode,
            "data": {},
        }
        statement = insert(models.event_log).values(row | values)
        with self.database.begin() as connection:
            statement = statement.returning(models.event_log.c.position)
            return int(connection.execute(statement).scalar_one())

    def _source(self, name: str) -> int:
        if name not in self._sources:
            with self.database.begin() as connection:
                statement = insert(models.source).values(name=name, kind="files")
                found = connection.execute(statement.returning(models.source.c.id))
                self._sources[name] = int(found.scalar_one())
        return self._sources[name]

    def _insert(self, table: Any, values: Mapping[str, Any]) -> None:
        with self.database.begin() as connection:
            connection.execute(insert(table).values(values))


_STATE: dict[str, Any] = {
    "state_at": AS_OF,
    "state_sequence": 0,
    "state_recorded_at": AS_OF,
    "state_event_id": _NAMES,
}
