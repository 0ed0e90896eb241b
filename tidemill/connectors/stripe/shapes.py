"""One fact, several places: where each API version of Stripe keeps the same thing.

Between 2020-08-27 and 2026-10-28.endive facts have moved (stripe.md §1.3-§1.4), stored events are
never written anew, and one account may send several versions at once. Each reader here knows all
the places of one fact. The version named by the event is never trusted to tell which applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tidemill.connectors.fields import Fields

__all__ = [
    "billing_period",
    "coupon_of",
    "customer_key",
    "discounts_of",
    "invoice_subscription",
    "invoice_tax",
    "is_cut",
    "line_detail",
    "line_is_proration",
    "line_item",
    "line_price",
    "line_subscription",
    "listed",
    "payment_reference",
    "price_of",
    "refuse_if_cut",
]


def listed(found: Fields, key: str) -> list[Fields]:
    """The members of a nested list: `{"object": "list", "data": […]}`, or a bare list."""
    if isinstance(found.value.get(key), list):
        return list(found.entries(key))
    return list(found.fields(key).entries("data"))


def is_cut(nested: object) -> bool:
    """Whether a nested list goes on beyond what is shown of it.

    It says so itself; old versions also say how many there are in all.
    """
    if not isinstance(nested, Mapping):
        return False
    shown, count = nested.get("data"), nested.get("total_count")
    fewer = isinstance(shown, list) and type(count) is int and len(shown) < count
    return nested.get("has_more") is True or fewer


def refuse_if_cut(found: Fields, key: str, remedy: str) -> None:
    """Note a problem when a nested list goes on beyond what the event holds (ten at most)."""
    if is_cut(found.value.get(key)):
        found.refuse(key, "goes on beyond what the event holds", remedy)


def customer_key(found: Fields) -> str | None:
    """Who an object belongs to: `customer`, or the account that acts as one (since clover)."""
    return found.reference("customer") or found.reference("customer_account")


def payment_reference(found: Fields) -> str | None:
    """What the attempts, refunds and disputes of one payment share.

    It is the payment intent; or the charge, where a payment has been made without one.
    """
    own = found.reference("id") if found.value.get("object") == "charge" else None
    return found.reference("payment_intent") or found.reference("charge") or own


def price_of(item: Fields) -> Fields:
    """What an item is charged by: `price`, or the `plan` of versions before prices."""
    return item.fields("price") if item.has("price") else item.fields("plan")


def billing_period(
    subscription: Fields, items: Sequence[Fields]
) -> tuple[datetime | None, datetime | None]:
    """The current billing period: of the items since basil, of the subscription before.

    With items of different periods it is the narrowest common one: latest start, earliest end.
    """
    starts = [each.instant("current_period_start") for each in items]
    ends = [each.instant("current_period_end") for each in items]
    start = max((each for each in starts if each is not None), default=None)
    end = min((each for each in ends if each is not None), default=None)
    return (
        start or subscription.instant("current_period_start"),
        end or subscription.instant("current_period_end"),
    )


def discounts_of(found: Fields) -> tuple[str, list[object]]:
    """The discounts of a subscription, item or customer, with the key they stand under.

    Since 2024 a list, `discounts`, of objects or of bare ids; before, one object, `discount`. In
    between both are sent, and the list may then hold the id of the very object beside it.
    """
    many = found.values("discounts")
    single = found.value.get("discount")
    if single is None:
        return "discounts", many
    if not many or (many == [_id(single)]):
        return "discount", [single]
    return "discounts", [single if each == _id(single) else each for each in many]


def coupon_of(discount: Fields) -> tuple[str, object]:
    """The coupon behind a discount (an object or an id), with the key it stands under."""
    if discount.has("coupon"):
        return "coupon", discount.value["coupon"]
    return "source.coupon", discount.fields("source").value.get("coupon")


def line_detail(line: Fields) -> Fields:
    """Since basil, what an invoice line comes from: the filled branch of `parent`."""
    parent = line.fields("parent")
    named = parent.text("type")
    for branch in ("subscription_item_details", "invoice_item_details"):
        if named == branch or (named is None and parent.has(branch)):
            return parent.fields(branch)
    return Fields(None)


def line_is_proration(line: Fields, detail: Fields) -> bool:
    """Whether a line makes up for a change inside a period; `detail` is its `line_detail`."""
    return bool(line.flag("proration") or detail.flag("proration"))


def line_item(line: Fields, detail: Fields) -> str | None:
    """The subscription item a line charges for; `detail` is its `line_detail`."""
    return line.reference("subscription_item") or detail.reference("subscription_item")


def line_price(line: Fields) -> tuple[str | None, Fields]:
    """The id of a line's price, and the price itself when the line shows it (else empty)."""
    details = line.fields("pricing").fields("price_details")
    for holder, key in ((line, "price"), (details, "price"), (line, "plan")):
        if holder.has(key):
            shown = isinstance(holder.value[key], dict)
            return holder.reference(key), holder.fields(key) if shown else Fields(None)
    return None, Fields(None)


def invoice_subscription(invoice: Fields, lines: Sequence[Fields]) -> str | None:
    """The subscription an invoice belongs to; the places are tried in turn, none is trusted alone.

    With an old pinned version the first can be null while the second is set, and the reverse.
    """
    found = invoice.reference("subscription") or invoice.fields("parent").fields(
        "subscription_details"
    ).reference("subscription")
    for line in lines if found is None else ():
        found = found or line_subscription(line, line_detail(line))
    return found


def line_subscription(line: Fields, detail: Fields) -> str | None:
    """The subscription a line belongs to; it may be another than the invoice's."""
    return detail.reference("subscription") or line.reference("subscription")


def invoice_tax(invoice: Fields) -> list[Fields]:
    """The tax amounts of an invoice, each with `amount`: new shape or old."""
    for key in ("total_taxes", "total_tax_amounts"):
        if invoice.values(key):
            return list(invoice.entries(key))
    return []


def _id(value: object) -> object:
    return value.get("id") if isinstance(value, dict) else value
