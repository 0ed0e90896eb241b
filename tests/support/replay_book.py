"""Reads canonical events into the plain facts that the replay looks at.

Nothing is decided here that a policy can change: events known too late, duplicates and test-mode
events are dropped, texts become instants and exact fractions, and that is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from fractions import Fraction
from functools import cache
from typing import Any

from tests.support.calendars import instant

__all__ = [
    "Book",
    "Discount",
    "Invoice",
    "Item",
    "Key",
    "Payment",
    "Subscription",
    "Version",
    "read_book",
]

Key = tuple[str, str]
"""Source and vendor id: of a customer, a subscription or an invoice."""

_TERMINAL = {"canceled", "paid", "void", "uncollectible"}
_Order = tuple[datetime, int, bool, datetime, str]


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a subscription; amounts are for one billing period, before discounts."""

    id: str
    gross: Fraction
    tax: Fraction
    interval: str
    count: int
    metered: bool


@dataclass(frozen=True, slots=True)
class Discount:
    """A discount on everything, or on one item."""

    item: str | None
    percent: Fraction | None
    amount: Fraction | None
    duration: str
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The whole state of a subscription that one event told."""

    order: _Order
    occurred_at: datetime
    recorded_at: datetime
    status: str
    currency: str
    items: tuple[Item, ...]
    discounts: tuple[Discount, ...]
    started_at: datetime | None
    past_due_since: datetime | None
    paused_at: datetime | None
    period_start: datetime | None
    period_end: datetime | None
    cancel_at_period_end: bool
    cancel_at: datetime | None
    refunded: bool
    voluntary: bool | None

    @property
    def paused(self) -> bool:
        """Suspended: by status, or because collection is paused."""
        return self.status == "paused" or self.paused_at is not None


@dataclass(slots=True)
class Subscription:
    """A contract and all states it ever had, in the order of the billing system (decision a)."""

    key: Key
    customer: Key
    versions: list[Version] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice as last known; `usage` is what it charges each subscription for usage."""

    key: Key
    subscription: Key | None
    status: str
    currency: str
    total: Fraction
    issued_at: datetime
    paid_at: datetime | None
    period_start: datetime | None
    period_end: datetime | None
    usage: Mapping[Key, Fraction]


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that moved, or failed to."""

    kind: str
    invoice: Key | None
    reference: Key | None
    amount: Fraction
    currency: str
    at: datetime


@dataclass(slots=True)
class Book:
    """Everything known about one business."""

    subscriptions: dict[Key, Subscription] = field(default_factory=dict)
    invoices: dict[Key, Invoice] = field(default_factory=dict)
    payments: dict[tuple[Key, str, int], Payment] = field(default_factory=dict)
    merges: dict[Key, Key] = field(default_factory=dict)
    rates: dict[tuple[str, str], dict[date, Fraction]] = field(default_factory=dict)

    def owner(self, customer: Key) -> Key:
        """The customer whose books this customer belongs to, after all merges."""
        seen = {customer}
        while customer in self.merges:
            customer = self.merges[customer]
            if customer in seen:
                break
            seen.add(customer)
        return customer


def read_book(events: Iterable[Mapping[str, Any]], known_at: datetime | None = None) -> Book:
    """The facts in live events that were recorded by `known_at`."""
    book = Book()
    named: dict[Key, str] = {}
    for event in _ordered(events, known_at):
        family, _, verb = event["type"].partition(".")
        match family:
            case "subscription":
                _add_version(book, event)
            case "invoice":
                invoice = _invoice(event)
                book.invoices[invoice.key] = invoice
            case "payment":
                # An attempt that is told again is the same attempt, in later words.
                key = (event["source"], event["data"]["id"])
                attempt = event["data"].get("attempt") or 0
                book.payments[key, verb, attempt] = _payment(event, verb)
                # Earlier in this order is older: the latest word on a reference stays.
                if (reference := event["data"].get("reference")) and event["data"].get("invoice"):
                    named[event["source"], reference] = event["data"]["invoice"]
            case "allocation":
                named[event["source"], event["data"]["reference"]] = event["data"]["invoice"]
            case "fx_rate":
                data = event["data"]
                pair = (data["base"].upper(), data["quote"].upper())
                day = date.fromisoformat(data["day"])
                book.rates.setdefault(pair, {})[day] = Fraction(str(data["rate"]))
            case "customer" if verb == "merged":
                into = event["data"]["into"]
                merged = (event["source"], event["data"]["id"])
                if into is None:
                    book.merges.pop(merged, None)
                else:
                    book.merges[merged] = (into["source"], into["customer"])
            case _:
                pass
    book.payments = {key: _joined(each, named) for key, each in book.payments.items()}
    return book


def _joined(payment: Payment, named: Mapping[Key, str]) -> Payment:
    """A payment with the invoice of its reference, if it does not say itself which it was for."""
    if payment.invoice is not None or payment.reference is None:
        return payment
    invoice = named.get(payment.reference)
    return payment if invoice is None else replace(payment, invoice=(payment.reference[0], invoice))


def _ordered(
    events: Iterable[Mapping[str, Any]], known_at: datetime | None
) -> Sequence[Mapping[str, Any]]:
    """Each event once, in billing order, so that of two states of one thing the last one wins."""
    first: dict[str, Mapping[str, Any]] = {}
    for event in events:
        first.setdefault(event["id"], event)
    live = (event for event in first.values() if event.get("livemode", True))
    known = (e for e in live if known_at is None or _recorded_at(e) <= known_at)
    return sorted(known, key=_order)


def _order(event: Mapping[str, Any]) -> _Order:
    # Decision a: what ends a thing comes last among what happened to it at the same instant.
    terminal = event["data"].get("status") in _TERMINAL
    sequence = int(event.get("sequence", 0))
    return (_instant(event["occurred_at"]), sequence, terminal, _recorded_at(event), event["id"])


def _recorded_at(event: Mapping[str, Any]) -> datetime:
    return _instant(event.get("recorded_at") or event["occurred_at"])


def _add_version(book: Book, event: Mapping[str, Any]) -> None:
    data = event["data"]
    key = (event["source"], data["id"])
    owner = (event["source"], event["customer"])
    known = book.subscriptions.setdefault(key, Subscription(key, owner))
    known.versions.append(
        Version(
            order=_order(event),
            occurred_at=_instant(event["occurred_at"]),
            recorded_at=_recorded_at(event),
            status=data["status"],
            currency=data["currency"].upper(),
            items=tuple(_item(raw) for raw in data["items"]),
            discounts=tuple(_discount(raw) for raw in data.get("discounts", ())),
            started_at=_maybe(data.get("started_at")),
            past_due_since=_maybe(data.get("past_due_since")),
            paused_at=_maybe(data.get("paused_at")),
            period_start=_maybe(data.get("current_period_start")),
            period_end=_maybe(data.get("current_period_end")),
            cancel_at_period_end=data.get("cancel_at_period_end", False),
            cancel_at=_maybe(data.get("cancel_at")),
            refunded=data.get("refunded_at_cancellation", False),
            voluntary=data.get("voluntary"),
        )
    )


def _item(raw: Mapping[str, Any]) -> Item:
    quantity = Fraction(str(raw["quantity"]))
    return Item(
        id=raw["id"],
        gross=Fraction(str(raw["unit_amount"])) * quantity,
        tax=Fraction(str(raw.get("tax_inclusive_amount", "0"))) * quantity,
        interval=raw["interval"],
        count=raw.get("interval_count", 1),
        metered=raw.get("usage_type", "licensed") == "metered",
    )


def _discount(raw: Mapping[str, Any]) -> Discount:
    percent, amount = raw.get("percent_off"), raw.get("amount_off")
    return Discount(
        item=raw.get("item"),
        percent=None if percent is None else Fraction(str(percent)),
        amount=None if amount is None else Fraction(str(amount)),
        duration=raw["duration"],
        starts_at=_maybe(raw.get("starts_at")),
        ends_at=_maybe(raw.get("ends_at")),
    )


def _invoice(event: Mapping[str, Any]) -> Invoice:
    data, source = event["data"], event["source"]
    owner = data.get("subscription")
    usage: dict[Key, Fraction] = {}
    for line in data["lines"]:
        subscription = line.get("subscription") or owner
        if line["kind"] == "usage" and subscription:
            key = (source, subscription)
            usage[key] = usage.get(key, Fraction(0)) + line["amount"]
    return Invoice(
        key=(source, data["id"]),
        subscription=(source, owner) if owner else None,
        status=data["status"],
        currency=data["currency"].upper(),
        total=Fraction(data["total"]),
        issued_at=_instant(data["issued_at"]),
        paid_at=_maybe(data.get("paid_at")),
        period_start=_maybe(data.get("period_start")),
        period_end=_maybe(data.get("period_end")),
        usage=usage,
    )


def _payment(event: Mapping[str, Any], verb: str) -> Payment:
    data = event["data"]
    invoice, reference = data.get("invoice"), data.get("reference")
    return Payment(
        kind=verb,
        invoice=(event["source"], invoice) if invoice else None,
        reference=(event["source"], reference) if reference else None,
        amount=Fraction(data["amount"]),
        currency=data["currency"].upper(),
        at=_instant(event["occurred_at"]),
    )


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)


@cache
def _instant(text: str) -> datetime:
    return instant(text)
