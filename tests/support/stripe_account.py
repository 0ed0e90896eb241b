"""The demo business as a Stripe account to read: its objects, and the events Stripe still keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, Final

from tidemill.connectors.stripe.backfill import EVENTS_KEPT_S
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.demo import generate
from tidemill.testing.stripe import FakeAccount, FakeStripe

__all__ = ["END", "KEY", "NOW", "business", "clock", "reading", "recent_account"]

END: Final = date(2026, 6, 30)
NOW: Final = datetime(2026, 7, 1, tzinfo=UTC)
"""The moment after the business's last day."""
KEY: Final = "rk_live_0123456789"


def clock() -> datetime:
    """The time, always the same."""
    return NOW


def business(customers: int = 30, months: int = 12, seed: int = 5) -> list[dict[str, Any]]:
    """Every event of a business that has gone on until `END`."""
    return list(generate(customers, months, seed=seed, end=END))


def recent_account(events: list[dict[str, Any]], now: datetime = NOW) -> FakeAccount:
    """The account those events have made; of the events only those of the last thirty days."""
    account = FakeAccount.of_events(events)
    first = int(now.timestamp()) - EVENTS_KEPT_S
    for event in events:
        if event["created"] < first:
            account.delete("event", event["id"])
    return account


@contextmanager
def reading(fake: FakeStripe, key: str = KEY) -> Iterator[StripeClient]:
    """A client that does not spare the fake."""
    throttle = Throttle(0, sleep=lambda _: None)
    with StripeClient(key, base_url=fake.url, throttle=throttle) as client:
        yield client
