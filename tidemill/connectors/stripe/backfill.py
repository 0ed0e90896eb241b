"""What is read from a Stripe account to fill the books, in which order, and how it can go on.

A backfill is a list of units, each a Stripe list with its filters. Units are read page by page, and
after each page there is a place to go on from: the unit, and the id of the last object. Whoever
keeps the objects keeps that place in the same transaction, so that nothing is read twice for
nothing and nothing is left out, whenever the program is stopped.

The order (stripe.md §4.2): what is sold, who buys, the subscriptions, then what was charged in
windows of thirty days, and last the events of the last thirty days. They are last so that nothing
that changes while the rest is read is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.client import Json, StripeClient
from tidemill.connectors.stripe.shapes import customer_key
from tidemill.errors import ApiRequestRefused

__all__ = [
    "EVENTS_KEPT_S",
    "WINDOW_S",
    "Reading",
    "Staged",
    "Unit",
    "basic_units",
    "event_units",
    "money_units",
    "read_unit",
    "schedule_unit",
    "staged",
    "subscription_unit",
]

_DAY: Final = 86_400
WINDOW_S: Final = 30 * _DAY
"""The length of the windows in which invoices and payments are read, in seconds."""

EVENTS_KEPT_S: Final = 30 * _DAY
"""For how long Stripe keeps events, in seconds."""

_EXPAND_SUBSCRIPTION: Final = ["data.discounts.source.coupon", "data.items.data.discounts"]
_EXPAND_INVOICE: Final = ["data.discounts.source.coupon", "data.payments"]
_EXPAND_REFUND: Final = ["data.failure_balance_transaction"]
_EXPAND_PRICE: Final = ["data.tiers", "data.currency_options"]
_EXPAND_COUPON: Final = ["data.applies_to", "data.currency_options"]
# Events come in groups, so that the many kinds nobody here reads are not even sent.
_EVENT_GROUPS: Final = (
    *("product.*", "price.*", "plan.*", "coupon.*", "customer.*"),
    *("invoice.*", "invoice_payment.*", "charge.*", "refund.*", "credit_note.*"),
    "subscription_schedule.*",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A list of Stripe's to read to its end."""

    kind: str
    """What its objects are: ``invoice``."""
    path: str
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """An object as it was read, to be understood when everything is there."""

    kind: str
    id: str
    owner: str | None
    """The customer it belongs to; None for what belongs to nobody."""
    created: int | None
    """Unix seconds."""
    body: str
    """The object as JSON text."""

    def value(self) -> Json:
        """The object."""
        return _DECODER.decode(self.body)


@dataclass(frozen=True, slots=True)
class Reading:
    """A page that was read, and where to go on."""

    objects: tuple[Staged, ...]
    after: str | None
    """The object after which the unit goes on; None when it has been read to its end."""


_DECODER: Final = msgspec.json.Decoder(Json)
_ENCODER: Final = msgspec.json.Encoder()


def basic_units() -> list[Unit]:
    """Everything but money and events: small lists, and those that say how far back to go."""
    return [
        Unit("product", "/v1/products"),
        *(
            Unit("price", "/v1/prices", {"active": active, "expand": _EXPAND_PRICE})
            for active in (True, False)
        ),
        Unit("coupon", "/v1/coupons", {"expand": _EXPAND_COUPON}),
        Unit("customer", "/v1/customers"),
        # Without `status` Stripe leaves out what has been canceled.
        Unit(
            "subscription",
            "/v1/subscriptions",
            {"status": "all", "expand": _EXPAND_SUBSCRIPTION},
        ),
        Unit("subscription_schedule", "/v1/subscription_schedules"),
    ]


def subscription_unit() -> Unit:
    """The list of all subscriptions as they are now."""
    return next(each for each in basic_units() if each.kind == "subscription")


def schedule_unit() -> Unit:
    """The list of all subscription schedules as they are now, also those that are over."""
    return next(each for each in basic_units() if each.kind == "subscription_schedule")


def money_units(first: int, last: int) -> list[Unit]:
    """What was charged, paid and given back from one instant to another (Unix seconds)."""
    windows = [
        {"gte": start, "lt": min(start + WINDOW_S, last)} for start in range(first, last, WINDOW_S)
    ]
    units = [Unit("invoiceitem", "/v1/invoiceitems", {"pending": True})]
    for kind, path, expand in (
        ("invoice", "/v1/invoices", _EXPAND_INVOICE),
        ("charge", "/v1/charges", ["data.balance_transaction"]),
    ):
        units += [Unit(kind, path, {"created": each, "expand": expand}) for each in windows]
    whole = {"gte": first, "lt": last}
    return [
        *units,
        Unit("refund", "/v1/refunds", {"created": whole, "expand": _EXPAND_REFUND}),
        Unit("dispute", "/v1/disputes", {"created": whole, "expand": ["data.charge"]}),
        Unit("credit_note", "/v1/credit_notes", {"created": whole}),
    ]


def event_units(first: int) -> list[Unit]:
    """The events since an instant (Unix seconds), by groups of types."""
    return [
        Unit("event", "/v1/events", {"type": group, "created": {"gte": first}})
        for group in _EVENT_GROUPS
    ]


def read_unit(client: StripeClient, unit: Unit, after: str | None) -> Iterator[Reading]:
    """Read a unit page by page, from its beginning or after an object that was read before.

    An object after which to go on may be gone by now; the unit is then read from its beginning.
    Raises: as `StripeClient.get`.
    """
    try:
        yield from _pages(client, unit, after)
    except ApiRequestRefused as error:
        if error.vendor_code != "resource_missing":
            raise
        yield from _pages(client, unit, None)


def _pages(client: StripeClient, unit: Unit, after: str | None) -> Iterator[Reading]:
    for page in client.pages(unit.path, unit.params, after=after):
        whole = [_whole(client, unit.kind, each) for each in page.objects]
        going_on = page.last if page.has_more else None
        yield Reading(tuple(staged(unit.kind, whole)), going_on)


def _whole(client: StripeClient, kind: str, found: Json) -> Json:
    """The object with its nested lists read to their end; drafts change, and may refuse it."""
    key = found.get("id")
    if kind == "subscription":
        path = f"/v1/subscription_items?subscription={key}"
        return client.completed(found, "items", path, ("data.discounts",))
    if kind == "invoice":
        found = client.completed(found, "payments", f"/v1/invoice_payments?invoice={key}")
        try:
            return client.completed(found, "lines", f"/v1/invoices/{key}/lines")
        except ApiRequestRefused:
            if found.get("status") != "draft":
                raise
    return found


def staged(kind: str, objects: Iterable[Json]) -> Iterator[Staged]:
    """Objects as they are kept until everything has been read; what has no id is left out."""
    for found in objects:
        key, created = found.get("id"), found.get("created")
        if isinstance(key, str):
            yield Staged(
                kind=kind,
                id=key,
                owner=_owner(kind, found),
                created=created if type(created) is int else None,
                body=_ENCODER.encode(found).decode(),
            )


def _owner(kind: str, found: Mapping[str, Any]) -> str | None:
    """The customer an object, or the object of an event, belongs to."""
    if kind == "event":
        data = found.get("data")
        inner = data.get("object") if isinstance(data, Mapping) else None
        if not isinstance(inner, Mapping):
            return None
        is_customer = inner.get("object") == "customer"
        return _owner("customer" if is_customer else "", inner)
    if kind == "customer":
        return str(found.get("id"))
    return customer_key(Fields(found))
