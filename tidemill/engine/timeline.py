"""A customer's timeline as data: what was said of it, and what each policy makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tidemill.metrics.result import json_value, utc_text
from tidemill.policy import Policy

__all__ = ["Discount", "Item", "Life", "Movement", "Segment", "Timeline", "Value", "Version"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a version; `unit_amount` is in minor units for each unit and billing interval."""

    item: str
    plan: str | None
    quantity: Decimal
    unit_amount: Decimal
    interval: str
    interval_count: int
    usage_type: str

    def document(self) -> dict[str, Any]:
        """The item as JSON."""
        return {
            "item": self.item,
            "plan": self.plan,
            "quantity": json_value(self.quantity, "count"),
            "unit_amount": json_value(self.unit_amount, "count"),
            "interval": self.interval,
            "interval_count": self.interval_count,
            "usage_type": self.usage_type,
        }


@dataclass(frozen=True, slots=True)
class Discount:
    """A discount of a version; `item` is None where it is on the whole subscription."""

    item: str | None
    percent_off: Decimal | None
    amount_off: Decimal | None
    duration: str
    starts_at: datetime | None
    ends_at: datetime | None

    def document(self) -> dict[str, Any]:
        """The discount as JSON."""
        return {
            "item": self.item,
            "percent_off": json_value(self.percent_off, "count"),
            "amount_off": json_value(self.amount_off, "count"),
            "duration": self.duration,
            "starts_at": _text(self.starts_at),
            "ends_at": _text(self.ends_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The whole state of a subscription after an event."""

    event_id: str
    type: str
    source: str
    customer: str
    subscription: str
    occurred_at: datetime
    recorded_at: datetime
    status: str
    currency: str
    items: tuple[Item, ...]
    discounts: tuple[Discount, ...]

    def document(self) -> dict[str, Any]:
        """The version as JSON."""
        return {
            "event_id": self.event_id,
            "type": self.type,
            "source": self.source,
            "customer": self.customer,
            "subscription": self.subscription,
            "occurred_at": utc_text(self.occurred_at),
            "recorded_at": utc_text(self.recorded_at),
            "status": self.status,
            "currency": self.currency,
            "items": [each.document() for each in self.items],
            "discounts": [each.document() for each in self.discounts],
        }


@dataclass(frozen=True, slots=True)
class Value:
    """What an item is worth a month: exact minor units of the segment's currency."""

    item: str
    plan: str | None
    amount_minor: Decimal

    def document(self) -> dict[str, Any]:
        """The value as JSON."""
        amount = json_value(self.amount_minor, "money")
        return {"item": self.item, "plan": self.plan, "amount": amount}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a version within which nothing changes.

    Attributes: ``event_id`` is the version's; ``cause`` and ``cause_event_id`` say why the segment
    begins; ``standing`` (`vocabulary.Standing`) why it counts or not; ``is_kept`` that it may keep
    its customer active at no value; ``valid_from`` and ``valid_to`` are the version's span. Spans
    are half-open, in UTC; None is open.
    """

    subscription: str
    event_id: str
    cause: str
    cause_event_id: str
    starts_at: datetime
    ends_at: datetime | None
    valid_from: datetime
    valid_to: datetime | None
    counts: bool
    is_kept: bool
    standing: str
    currency: str
    values: tuple[Value, ...]

    @property
    def amount_minor(self) -> Decimal:
        """What the subscription is worth a month."""
        return sum((each.amount_minor for each in self.values), Decimal(0))

    def document(self) -> dict[str, Any]:
        """The segment as JSON."""
        return {
            "subscription": self.subscription,
            "event_id": self.event_id,
            "cause": self.cause,
            "cause_event_id": self.cause_event_id,
            "starts_at": utc_text(self.starts_at),
            "ends_at": _text(self.ends_at),
            "valid_from": utc_text(self.valid_from),
            "valid_to": _text(self.valid_to),
            "counts": self.counts,
            "is_kept": self.is_kept,
            "standing": self.standing,
            "currency": self.currency,
            "amount": json_value(self.amount_minor, "money"),
            "items": [each.document() for each in self.values],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A row of the ledger: the signed change of an item's level, in its own currency."""

    day: date
    occurred_at: datetime
    subscription: str
    item: str
    plan: str | None
    type: str
    amount_minor: Decimal
    currency: str
    customer_delta: int
    cause: str
    event_id: str

    def document(self) -> dict[str, Any]:
        """The movement as JSON."""
        return {
            "day": self.day.isoformat(),
            "occurred_at": utc_text(self.occurred_at),
            "subscription": self.subscription,
            "item": self.item,
            "plan": self.plan,
            "type": self.type,
            "amount": json_value(self.amount_minor, "money"),
            "currency": self.currency,
            "customer_delta": self.customer_delta,
            "cause": self.cause,
            "event_id": self.event_id,
        }


@dataclass(frozen=True, slots=True)
class Life:
    """What a policy makes of the versions."""

    label: str
    policy: Policy
    segments: tuple[Segment, ...]
    movements: tuple[Movement, ...]

    def document(self) -> dict[str, Any]:
        """The life as JSON."""
        return {
            "label": self.label,
            "policy": {
                "preset": self.policy.preset,
                "set": dict(self.policy.overrides),
                "hash": self.policy.hash,
            },
            "segments": [each.document() for each in self.segments],
            "movements": [each.document() for each in self.movements],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A customer from its first event on, the future that is known already included.

    Attributes: ``customers`` are the vendor ids that are one company with it, its own among them;
    ``versions`` come by subscription, in the order of their instants; ``lives`` by policy.
    """

    customer: str
    customers: tuple[str, ...]
    versions: tuple[Version, ...]
    lives: tuple[Life, ...]
    known_at: datetime | None = None

    def to_dict(self) -> Mapping[str, Any]:
        """The timeline as the command line and the HTTP API give it in JSON."""
        return {
            "customer": self.customer,
            "customers": list(self.customers),
            "known_at": _text(self.known_at),
            "versions": [each.document() for each in self.versions],
            "policies": [each.document() for each in self.lives],
        }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment)
