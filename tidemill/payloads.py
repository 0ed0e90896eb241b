"""The event contract as types: the envelope, and a payload for each event type.

Payloads are whole states, never differences. Each field's type says what is accepted; its
description is what a refused value is told it should have been. Keys with a default may be left out
of the JSON, and readers of the stored text apply the same defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Raw, Struct

from tidemill.vocabulary import (
    AttributeKind,
    CollectionMethod,
    Confidence,
    DiscountDuration,
    ExpenseCategory,
    Interval,
    InvoiceStatus,
    LineKind,
    PaymentMethod,
    PricingModel,
    SubscriptionStatus,
    UsageType,
)

__all__ = [
    "CATALOGUE_TYPES",
    "EVENT_TYPES",
    "Allocation",
    "Amount",
    "AttributePinned",
    "Attributes",
    "Country",
    "Currency",
    "Customer",
    "CustomerAttributes",
    "CustomerMerged",
    "CustomerRef",
    "Day",
    "Discount",
    "Envelope",
    "Expense",
    "FxRate",
    "Identifier",
    "Instant",
    "Invoice",
    "InvoiceLine",
    "Item",
    "Payload",
    "Payment",
    "Percent",
    "Phase",
    "Plan",
    "Product",
    "Schedule",
    "Sequence",
    "Subscription",
    "Whole",
]

_LARGEST = 10**15  # minor units; nobody's books hold ten trillion dollars
_INT32 = 2**31 - 1

# The description of a type is what a refused value is told it should have been.
Identifier = Annotated[
    str, Meta(min_length=1, max_length=255, description="a text of 1 to 255 characters")
]
Currency = Annotated[
    str, Meta(min_length=3, max_length=3, description="an ISO 4217 currency such as USD")
]
Country = Annotated[
    str, Meta(pattern=r"^[A-Za-z]{2}\Z", description="a two-letter ISO 3166 country code")
]
Instant = Annotated[
    datetime, Meta(tz=True, description="an instant with its offset, such as 2025-06-30T12:00:00Z")
]
Day = Annotated[date, Meta(description="a day, written YYYY-MM-DD")]
Sequence = Annotated[
    int, Meta(ge=-_INT32, le=_INT32, description="a whole number of at most 31 bits")
]
Whole = Annotated[
    int, Meta(ge=-_LARGEST, le=_LARGEST, description="a whole number of minor units below 10^15")
]
Amount = Annotated[
    Annotated[int, Meta(ge=0, le=_LARGEST)]
    | Annotated[str, Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,20})?\Z", max_length=36)],
    Meta(description='a decimal string such as "1000" or "10.5", not negative, below 10^15'),
]
Percent = Annotated[
    Annotated[int, Meta(ge=0, le=100)]
    | Annotated[
        str, Meta(pattern=r"^(100(\.0{1,20})?|[0-9]{1,2}(\.[0-9]{1,20})?)\Z", max_length=23)
    ],
    Meta(description='a decimal string from "0" to "100"'),
]
_NotNegative = Annotated[
    int,
    Meta(ge=0, le=_LARGEST, description="a whole number of minor units, not negative, below 10^15"),
]
_Times = Annotated[int, Meta(ge=1, le=3660, description="a whole number from 1 to 3660")]
Attributes = Annotated[
    dict[Identifier, str | int | float | bool | None],
    Meta(description="an object of texts, numbers and booleans"),
]
_Attempt = Annotated[int, Meta(ge=0, le=_INT32, description="a whole number, not negative")]


class Payload(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base of the payloads; `data` of an event."""


_Unknown = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=255)]],
    Meta(max_length=16, description="an object of texts"),
]
"""Key → the vendor's word for which there is none here, as the vendor writes it."""


class CustomerRef(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """A customer of a source."""

    source: Identifier
    customer: Identifier


class CustomerMerged(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``customer.merged``: two vendor customers are one company.

    The latest such event of a customer counts; ``"into": null`` takes the earlier ones back.
    """

    id: Identifier
    into: CustomerRef | None


class Customer(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``customer.*``: who pays."""

    id: Identifier
    name: str | None = None
    email: str | None = None
    country: Country | None = None
    currency: Currency | None = None
    created_at: Instant | None = None
    attributes: Attributes | None = None


class CustomerAttributes(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``customer.attributes_set``: what the business itself knows of a customer, key by key.

    A key stands before the billing system's own of that name until it is set to null.
    """

    id: Identifier
    attributes: Attributes


class AttributePinned(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``attribute.pinned``: what kind the attribute `id` is of; null goes by its values again."""

    id: Identifier
    kind: AttributeKind | None


class Product(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``product.*``: what is sold."""

    id: Identifier
    name: str
    active: bool | None = None


class Plan(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``plan.*``: an amount per interval for a product."""

    id: Identifier
    currency: Currency
    interval: Interval
    interval_count: _Times
    unit_amount: Amount
    pricing_model: PricingModel
    usage_type: UsageType
    product: Identifier | None = None
    name: str | None = None
    active: bool | None = None


class Item(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """A line of a subscription; `unit_amount` × `quantity` a period, before discounts."""

    id: Identifier
    quantity: Amount
    unit_amount: Amount
    interval: Interval
    interval_count: _Times = 1
    usage_type: UsageType = UsageType.LICENSED
    tax_inclusive_amount: Amount = "0"
    plan: Identifier | None = None
    product: Identifier | None = None


class Discount(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """A discount on a subscription, or on one `item` of it: a percentage or an amount."""

    id: Identifier
    duration: DiscountDuration
    coupon: Identifier | None = None
    item: Identifier | None = None
    percent_off: Percent | None = None
    amount_off: Amount | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class Subscription(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``subscription.*``: the whole state after the change."""

    id: Identifier
    status: SubscriptionStatus
    currency: Currency
    items: Annotated[list[Item], Meta(max_length=10_000)]
    discounts: Annotated[list[Discount], Meta(max_length=10_000)] = []
    started_at: Instant | None = None
    trial_start: Instant | None = None
    trial_end: Instant | None = None
    past_due_since: Instant | None = None
    paused_at: Instant | None = None
    current_period_start: Instant | None = None
    current_period_end: Instant | None = None
    cancel_at_period_end: bool = False
    cancel_at: Instant | None = None
    canceled_at: Instant | None = None
    ended_at: Instant | None = None
    cancel_reason: str | None = None
    cancel_feedback: str | None = None
    voluntary: bool | None = None
    refunded_at_cancellation: bool = False
    collection_method: CollectionMethod | None = None
    unknown: _Unknown | None = None
    confidence: Confidence = Confidence.OBSERVED


class Phase(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """What a subscription is to be from an instant on, as far as that is planned."""

    starts_at: Instant
    items: Annotated[list[Item], Meta(max_length=10_000)]
    discounts: Annotated[list[Discount], Meta(max_length=10_000)] = []


class Schedule(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``schedule.changed``: all that a schedule plans for a subscription, in place of what it did.

    ends_at: when it is to end; None when it is to go on as the last phase leaves it.
    """

    id: Identifier
    subscription: Identifier
    phases: Annotated[list[Phase], Meta(max_length=900)]
    ends_at: Instant | None = None


class InvoiceLine(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """A line of an invoice."""

    id: Identifier
    kind: LineKind
    amount: Whole
    subscription: Identifier | None = None
    item: Identifier | None = None
    plan: Identifier | None = None
    quantity: Amount | None = None
    period_start: Instant | None = None
    period_end: Instant | None = None


class Invoice(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``invoice.*``: the whole state after the change."""

    id: Identifier
    status: InvoiceStatus
    currency: Currency
    subtotal: Whole
    tax: Whole
    total: Whole
    issued_at: Instant
    lines: Annotated[list[InvoiceLine], Meta(max_length=100_000)]
    subscription: Identifier | None = None
    amount_paid: Whole | None = None
    period_start: Instant | None = None
    period_end: Instant | None = None
    paid_at: Instant | None = None


class Payment(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``payment.*``: money that moved, or failed to."""

    id: Identifier
    amount: _NotNegative
    currency: Currency
    invoice: Identifier | None = None
    reference: Identifier | None = None
    """What the attempts, refunds and disputes of one payment share: Stripe's payment intent."""
    fee: Whole | None = None
    method: PaymentMethod | None = None
    failure_reason: str | None = None
    attempt: _Attempt | None = None
    unknown: _Unknown | None = None


class Allocation(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``allocation.recorded``: which invoice the payments of a reference are for."""

    id: Identifier
    reference: Identifier
    invoice: Identifier


class FxRate(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``fx_rate.published``: one major unit of `quote` is worth `rate` major units of `base`."""

    base: Currency
    quote: Currency
    day: Day
    rate: Amount


class Expense(Payload, frozen=True, omit_defaults=True, kw_only=True):
    """``expense.recorded``: a cost that acquisition and margins need."""

    id: Identifier
    day: Day
    amount: Whole
    currency: Currency
    category: ExpenseCategory
    channel: str | None = None
    vendor: str | None = None
    description: str | None = None


_CHANGES = ("created", "updated", "deleted")
_FAMILIES: tuple[tuple[str, type[Payload], tuple[str, ...]], ...] = (
    ("customer", CustomerMerged, ("merged",)),
    ("customer", CustomerAttributes, ("attributes_set",)),
    ("customer", Customer, _CHANGES),
    ("product", Product, _CHANGES),
    ("plan", Plan, _CHANGES),
    (
        "subscription",
        Subscription,
        (
            "created", "activated", "changed", "canceled", "uncanceled", "churned", "reactivated",
            "trial_started", "trial_extended", "trial_converted", "trial_expired", "past_due",
            "recovered", "paused", "resumed", "updated",
        ),
    ),
    ("schedule", Schedule, ("changed",)),
    (
        "invoice",
        Invoice,
        ("created", "updated", "finalized", "paid", "voided", "uncollectible"),
    ),
    (
        "payment",
        Payment,
        ("succeeded", "failed", "refunded", "refund_failed", "disputed", "dispute_won"),
    ),
    ("allocation", Allocation, ("recorded",)),
    ("fx_rate", FxRate, ("published",)),
    ("expense", Expense, ("recorded",)),
    ("attribute", AttributePinned, ("pinned",)),
)  # fmt: skip

EVENT_TYPES: Mapping[str, type[Payload]] = MappingProxyType(
    {f"{family}.{verb}": payload for family, payload, verbs in _FAMILIES for verb in verbs}
)
"""Event type → the payload it carries."""

_OF_NOBODY = {"allocation", "attribute", "expense", "fx_rate", "plan", "product"}
CATALOGUE_TYPES: frozenset[str] = frozenset(
    name for name in EVENT_TYPES if name.split(".")[0] in _OF_NOBODY
)
"""Types that belong to no customer."""


class Envelope(Struct, frozen=True, kw_only=True, gc=False):
    """An event as it is written; `data` is left as text."""

    type: Annotated[str, Meta(description="a text")]
    occurred_at: Instant
    data: Raw
    source: Annotated[str, Meta(max_length=255, description="a text of 1 to 255 characters")] = ""
    customer: Annotated[str, Meta(max_length=255, description="a text of 1 to 255 characters")] = ""
    id: Annotated[UUID, Meta(description="a UUID")] | None = None
    sequence: Sequence = 0
    recorded_at: Instant | None = None
    livemode: bool = True
