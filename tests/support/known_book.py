"""A small book whose every number is worked out by hand, as canonical events.

Amounts are in cents. Ada pays 50.00 USD a month from 10 January 2025 and 100.00 from 10 February.
Bert pays 120.00 EUR a year from 15 January, so 10.00 a month, and ends on 5 March. A euro is worth
1.10 dollars from 1 January and 1.20 from 1 March:

    close of      MRR in USD
    31 January     50.00 + 10.00 × 1.10 =  61.00
    28 February   100.00 + 10.00 × 1.10 = 111.00
    31 March      100.00, after Bert's 10.00 × 1.20 = 12.00 have gone; rates alone added 1.00
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["EVENTS", "as_lines", "rate", "subscription"]


def rate(day: str, value: str, base: str = "USD", quote: str = "EUR") -> dict[str, Any]:
    """A published exchange rate."""
    return {
        "source": "books",
        "type": "fx_rate.published",
        "occurred_at": f"{day}T00:00:00Z",
        "customer": "",
        "data": {"base": base, "quote": quote, "day": day, "rate": value},
    }


def subscription(customer: str, occurred_at: str, **changes: Any) -> dict[str, Any]:
    """The state of a customer's only subscription, active unless changed."""
    item = {
        "id": f"si_{customer}",
        "plan": changes.pop("plan"),
        "product": "suite",
        "quantity": 1,
        "unit_amount": changes.pop("unit_amount"),
        "interval": changes.pop("interval", "month"),
        "interval_count": 1,
        "usage_type": "licensed",
        "tax_inclusive_amount": "0",
    }
    state = {
        "id": f"sub_{customer}",
        "status": "active",
        "currency": "usd",
        "items": [item],
        "discounts": [],
        "started_at": occurred_at,
        "current_period_start": occurred_at,
        "cancel_at_period_end": False,
        "refunded_at_cancellation": False,
        "confidence": "observed",
    }
    return {
        "source": "books",
        "type": "subscription.changed",
        "occurred_at": occurred_at,
        "customer": customer,
        "data": state | changes,
    }


def _customer(name: str, country: str) -> dict[str, Any]:
    return {
        "source": "books",
        "type": "customer.created",
        "occurred_at": "2025-01-01T00:00:00Z",
        "customer": name,
        "data": {"id": name, "name": name.title(), "country": country},
    }


_BERT = {"plan": "yearly", "unit_amount": "12000", "interval": "year", "currency": "eur"}

EVENTS: tuple[dict[str, Any], ...] = (
    rate("2025-01-01", "1.10"),
    rate("2025-03-01", "1.20"),
    _customer("ada", "GB"),
    _customer("bert", "DE"),
    subscription("ada", "2025-01-10T12:00:00Z", plan="basic", unit_amount="5000"),
    subscription("ada", "2025-02-10T12:00:00Z", plan="pro", unit_amount="10000"),
    subscription("bert", "2025-01-15T12:00:00Z", **_BERT),
    subscription(
        "bert",
        "2025-03-05T12:00:00Z",
        **_BERT,
        status="canceled",
        canceled_at="2025-03-05T12:00:00Z",
        ended_at="2025-03-05T12:00:00Z",
    ),
)
"""Every event of the book."""


def as_lines(events: Iterable[dict[str, Any]] = EVENTS) -> str:
    """The events as a file holds them."""
    return "".join(f"{json.dumps(event)}\n" for event in events)
