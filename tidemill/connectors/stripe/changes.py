"""The event around an object: what changed, when, and what people would call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.shapes import listed, price_of

__all__ = ["Change", "subscription_label"]

_STATUS_LABELS: Final = {
    ("trialing", "active"): "trial_converted",
    ("past_due", "active"): "recovered",
    ("incomplete", "active"): "activated",
    ("paused", "active"): "resumed",
    ("paused", "trialing"): "resumed",
    ("unpaid", "active"): "reactivated",
}
_ARRIVALS: Final = {
    "past_due": "past_due",
    "unpaid": "churned",
    "paused": "paused",
    "trialing": "trial_started",
    "active": "activated",
}

_TERMS: Final = ("discount", "discounts", "plan", "quantity")


@dataclass(frozen=True, slots=True)
class Change:
    """The event around a subscription: what changed, when, and on whose behalf."""

    kind: str
    """Stripe's type: ``customer.subscription.updated``."""
    at: datetime
    before: Fields
    """`previous_attributes`; empty when the event has none."""

    def began(self, key: str, value: object) -> bool:
        """Whether an attribute came to be what it is with this very change."""
        return key in self.before.value and self.before.value[key] != value


def subscription_label(found: Fields, change: Change) -> str:
    """A name for what happened, for people; it never changes a number."""
    kind = change.kind.removeprefix("customer.subscription.")
    status, prior = found.value.get("status"), change.before.value.get("status")
    if kind == "created":
        return "trial_started" if status == "trialing" else "created"
    if kind == "deleted" or (prior is not None and status in ("canceled", "incomplete_expired")):
        return "trial_expired" if _never_converted(found) else "churned"
    if kind in {"paused", "resumed"}:
        return kind
    if prior is not None and prior != status:
        arrival = _ARRIVALS.get(str(status), "updated")
        return _STATUS_LABELS.get((str(prior), str(status)), arrival)
    return _change_label(found, change)


def _change_label(found: Fields, change: Change) -> str:
    """What happened while the status stayed the same."""
    if change.began("pause_collection", found.value.get("pause_collection")):
        return "paused" if found.has("pause_collection") else "resumed"
    for key in ("cancel_at_period_end", "cancel_at"):
        if change.began(key, found.value.get(key)):
            return "canceled" if found.value.get(key) else "uncanceled"
    if found.value.get("status") == "trialing" and "trial_end" in change.before.value:
        return "trial_extended"
    if any(key in change.before.value for key in _TERMS):
        return "changed"
    # Every renewal shows in the items too, as their periods.
    renewed = "items" not in change.before.value or (
        _sold(listed(found, "items")) == _sold(listed(change.before, "items"))
    )
    return "updated" if renewed else "changed"


def _sold(items: Sequence[Fields]) -> list[tuple[object, object, object]]:
    return [
        (i.value.get("id"), price_of(i).value.get("id"), i.value.get("quantity")) for i in items
    ]


def _never_converted(found: Fields) -> bool:
    ended, trial_end = found.instant("ended_at"), found.instant("trial_end")
    return ended is not None and trial_end is not None and ended <= trial_end
