"""Short ways to say what happened, as canonical events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from tidemill.events import Event, parse_event

__all__ = ["at", "deleted", "known_as", "merged", "poisoned", "priced", "rated", "state"]

START = datetime(2025, 1, 1, tzinfo=UTC)


def at(day: int, hour: int = 0) -> datetime:
    """The start of a day of 2025, counted from 1 January as 1; some hours later if so wished."""
    return START + timedelta(days=day - 1, hours=hour)


def _event(about: str, when: datetime, data: dict[str, Any], **envelope: Any) -> Event:
    known = {"source": "stripe", "type": about, "occurred_at": when, "data": data}
    if nickname := envelope.pop("nickname", None):
        envelope["id"] = uuid5(NAMESPACE_URL, f"{about} {nickname}")
    envelope.setdefault("recorded_at", when)
    return parse_event(known | envelope)


def state(  # one whole state of a subscription
    customer: str,
    when: datetime,
    status: str = "active",
    amount: int = 10_000,
    **more: Any,
) -> Event:
    """``subscription.updated``: one monthly item of `amount` US cents.

    `subscription` names it (``sub_CUSTOMER`` by default), `data` adds to the payload, and all else
    goes into the envelope.
    """
    subscription = more.pop("subscription", f"sub_{customer}")
    items = [
        {"id": f"si_{subscription}", "quantity": 1, "unit_amount": amount, "interval": "month"}
    ]
    data = {"id": subscription, "status": status, "currency": "usd", "items": items}
    about = more.pop("type", "subscription.updated")
    return _event(about, when, data | more.pop("data", {}), customer=customer, **more)


def known_as(customer: str, when: datetime, name: str = "", **more: Any) -> Event:
    """``customer.updated`` with a name."""
    data = {"id": customer, "name": name} | more.pop("data", {})
    about = more.pop("type", "customer.updated")
    return _event(about, when, data, customer=customer, **more)


def deleted(customer: str, when: datetime, **more: Any) -> Event:
    """``customer.deleted``."""
    return _event("customer.deleted", when, {"id": customer}, customer=customer, **more)


def priced(plan: str, when: datetime, amount: int = 1_000, **more: Any) -> Event:
    """``plan.updated``: a monthly plan."""
    data = {
        "id": plan,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "unit_amount": amount,
        "pricing_model": "flat",
        "usage_type": "licensed",
    }
    about = more.pop("type", "plan.updated")
    return _event(about, when, data | more.pop("data", {}), customer="", **more)


def rated(day: str, rate: str, when: datetime, **more: Any) -> Event:
    """``fx_rate.published``: US dollars for a euro."""
    data = {"base": "USD", "quote": "EUR", "day": day, "rate": rate}
    return _event("fx_rate.published", when, data, customer="", **more)


def merged(customer: str, into: str, when: datetime, **more: Any) -> Event:
    """``customer.merged``: two customers of a source are one company."""
    data = {"id": customer, "into": {"source": "stripe", "customer": into}}
    return _event("customer.merged", when, data, customer=customer, **more)


def poisoned(customer: str, when: datetime, **more: Any) -> Event:
    """A subscription event that passes for valid and that no table takes: its status is missing.

    Nothing `parse_event` lets through is known to fail, so this is made past it.
    """
    good = state(customer, when, **more)
    return Event(
        id=UUID(int=good.id.int ^ 1),
        source=good.source,
        type=good.type,
        occurred_at=good.occurred_at,
        sequence=good.sequence,
        recorded_at=good.recorded_at,
        customer=good.customer,
        livemode=good.livemode,
        subject=good.subject,
        data=good.data.replace(b'"status":"active"', b'"status":null'),
    )
