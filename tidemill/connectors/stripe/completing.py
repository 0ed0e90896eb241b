"""What a delivery leaves open, read from Stripe's API: which objects, and how they fill it in.

Webhooks hold at most ten members of a list, name discounts and tiers without showing them, and as
thin events show nothing at all. `wanted` reads what one delivery lacks; `completed` puts it in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tidemill.connectors.stripe.envelope import is_thin, thin_seconds
from tidemill.connectors.stripe.known import references
from tidemill.connectors.stripe.shapes import is_cut

__all__ = ["Reader", "Reading", "completed", "snapshot_type", "wanted"]

_Json = dict[str, Any]


class Reader(Protocol):
    """What is asked of Stripe's API; `client.StripeClient` does it."""

    def subscription(self, key: str) -> _Json | None:
        """A subscription as it is now, whole; None when Stripe does not know it."""

    def invoice(self, key: str) -> _Json | None:
        """An invoice as it is now, with all its lines."""

    def price(self, key: str) -> _Json | None:
        """A price with its tiers and other currencies."""

    def find(self, path: str, params: Mapping[str, object] | None = None) -> _Json | None:
        """Any other object."""

    def thin_event(self, key: str) -> _Json | None:
        """A thin event as the API keeps it."""


Reading = dict[str, Any]
"""What was read for a delivery: `object`, `twin` (id of a thin event's snapshot), `others`."""

# Ids become part of an address: nothing in them may lead elsewhere.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_LISTS: Final = ("items", "lines")
_SHOWN_INSTEAD: Final = ("latest_invoice", "charge")

# They name nobody; their charge does.
_GOING_BACK: Final = {
    "charge.dispute.": "disputes",
    "charge.refund.": "refunds",
    "refund.": "refunds",
}

# Finer types that exist only as thin events, and the snapshot type that tells the same.
_FINER: Final = "customer.subscription."
_SNAPSHOTS: Final = frozenset({"created", "updated", "deleted", "paused", "resumed"})


def snapshot_type(thin: Mapping[str, Any]) -> str:
    """The type of the snapshot event that tells what a thin event does.

    >>> snapshot_type({"type": "v1.customer.subscription.item_added"})
    'customer.subscription.updated'
    """
    kind = str(thin.get("type")).removeprefix("v1.")
    verb = kind.removeprefix(_FINER)
    if kind.startswith(_FINER) and "." not in verb and verb not in _SNAPSHOTS:
        return kind if verb.startswith(("pending_update", "trial_will")) else f"{_FINER}updated"
    return kind


def wanted(raw: Mapping[str, Any], reader: Reader) -> Reading | None:
    """Read what a delivery lacks; None when there is nothing to read that could help.

    Raises: whatever the reader does when it cannot read.
    """
    thin = is_thin(raw)
    kind = snapshot_type(raw) if thin else str(raw.get("type"))
    inside = raw.get("related_object") if thin else _object(raw)
    key = inside.get("id") if isinstance(inside, Mapping) else None
    read = _way(kind, reader)
    if read is None or not isinstance(key, str) or not _ID.fullmatch(key):
        return None
    found = read(key)
    twin = (reader.thin_event(str(raw.get("id"))) or {}).get("snapshot_event") if thin else None
    shown = found if thin else inside
    others = [_named(each, reader) for each in sorted(references([shown, found]))]
    return {"object": found, "twin": twin, "others": [each for each in others if each]}


def _way(kind: str, reader: Reader) -> Callable[[str], _Json | None] | None:
    """How an object of an event type is read."""
    if kind.startswith("customer.subscription."):
        return reader.subscription
    if kind.startswith("invoice.") and kind != "invoice.upcoming":
        return reader.invoice
    going_back = next((path for each, path in _GOING_BACK.items() if kind.startswith(each)), None)
    if going_back is not None:
        return lambda key: reader.find(f"/v1/{going_back}/{key}", {"expand": ["charge"]})
    paths = {
        "price": "prices",
        "product": "products",
        "customer": "customers",
        "charge": "charges",
        "credit_note": "credit_notes",
        "subscription_schedule": "subscription_schedules",
    }
    family = kind.partition(".")[0]
    if family == "price":
        return reader.price
    path = paths.get(family)
    if path is None or kind.count(".") > 1:
        return None
    return lambda key: reader.find(f"/v1/{path}/{key}")


def _named(named: tuple[str, str], reader: Reader) -> _Json | None:
    """A price or coupon by its id; a discount cannot be read alone, its subscription shows it."""
    kind, key = named
    if not _ID.fullmatch(key):
        return None
    if kind == "price":
        return reader.price(key)
    if kind == "coupon":
        return reader.find(f"/v1/coupons/{key}", {"expand": ["applies_to", "currency_options"]})
    return None


def completed(raw: _Json, reading: object) -> _Json:
    """A delivery with what was read because of it.

    A thin event becomes the snapshot event it stands for, with the object as it was read: states
    between the event and the reading are lost, which is why snapshots are better.
    """
    if not isinstance(reading, Mapping):
        return raw
    found = reading.get("object")
    if is_thin(raw):
        return raw if found is None else _snapshot(raw, found, reading.get("twin"))
    shown = _object(raw)
    if not isinstance(found, Mapping) or not isinstance(shown, Mapping):
        return raw
    filled: _Json = {}
    for key in _LISTS:
        if is_cut(shown.get(key)) and key in found:
            filled[key] = found[key]
    for key in _SHOWN_INSTEAD:
        whole = found.get(key)
        if isinstance(whole, Mapping) and shown.get(key) == whole.get("id"):
            filled[key] = whole
    if not filled:
        return raw
    return {**raw, "data": {**raw["data"], "object": {**shown, **filled}}}


def _snapshot(thin: _Json, found: object, twin: object) -> _Json:
    return {
        "id": twin if isinstance(twin, str) else thin.get("id"),
        "object": "event",
        "type": snapshot_type(thin),
        "created": thin_seconds(thin),
        "livemode": thin.get("livemode"),
        **({"account": thin["context"]} if thin.get("context") else {}),
        "api_version": None,
        "data": {"object": found},
    }


def _object(raw: Mapping[str, Any]) -> object:
    data = raw.get("data")
    return data.get("object") if isinstance(data, Mapping) else None
