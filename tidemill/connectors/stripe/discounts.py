"""Which discounts a subscription has, on what, and until when.

Stripe takes the discounts of an item first, then those of the subscription, then (only when there
is none of these) the customer's; in array order. The canonical state keeps that order: item-level
discounts first, then those of the whole subscription.

A discount of the whole subscription is written as one of each item it touches when that is the only
way to say it: a coupon for certain products, or an amount off a subscription whose items are billed
at different intervals. All discounts of the subscription are then written so, which keeps their
order. An amount off several items is split in proportion to what is left of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.shapes import coupon_of, discounts_of
from tidemill.connectors.stripe.wire import EXACT, minor, twelve_places
from tidemill.periods import add_months
from tidemill.vocabulary import DiscountDuration

__all__ = ["Charge", "Reduction", "read_discounts"]

_DURATIONS: Final = frozenset(DiscountDuration)
_PERCENT_MAX: Final = 100
_MONTHS_MAX: Final = 1200
_DAYS: Final = {"day": Fraction(1), "week": Fraction(7), "month": Fraction(365, 12)}
_EXPAND_DISCOUNT: Final = (
    "Events since basil only name discounts: import the customer.discount.* and coupon.* events "
    "in the same file, or the subscription with expand[]=discounts.source.coupon."
)
_EXPAND_COUPON: Final = (
    "Import the coupon.* events in the same file, or the subscription with "
    "expand[]=discounts.source.coupon."
)


@dataclass(frozen=True, slots=True)
class Charge:
    """An item as discounts see it."""

    item: str
    product: str | None
    amount: Decimal
    """Of one billing interval, in minor units."""
    interval: str
    interval_count: int

    @property
    def days(self) -> Fraction:
        """The length of its billing interval, for comparing intervals only."""
        unit = Fraction(365) if self.interval == "year" else _DAYS[self.interval]
        return unit * self.interval_count


@dataclass(frozen=True, slots=True)
class Reduction:
    """A discount as it acts: a percentage, or an amount a billing interval (minor units)."""

    id: str
    coupon: str | None
    duration: DiscountDuration
    starts_at: datetime | None
    ends_at: datetime | None
    percent_off: Decimal | None = None
    amount_off: Decimal | None = None
    item: str | None = None
    """The item it is limited to; None for the whole subscription."""
    products: frozenset[str] | None = None
    """The products its coupon is limited to; None for all."""


def read_discounts(
    subscription: Fields,
    items: Sequence[Fields],
    charges: Sequence[Charge],
    code: str,
    known: Known,
) -> list[Reduction]:
    """Every discount of a subscription, in the order of application.

    items:   the raw items, for their own discounts.
    charges: what discounts can act on; a metered item is not among them.
    code:    the subscription's currency, upper-case.
    """
    own = [
        replace(each, item=item.text("id"))
        for item in items
        for each in _read_all(item, code, known)
    ]
    whole = _read_all(subscription, code, known)
    if not own and not whole and isinstance(subscription.value.get("customer"), dict):
        whole = _read_all(subscription.fields("customer"), code, known)
    own += [each for each in whole if each.item is not None]
    whole = [each for each in whole if each.item is None]
    if not _needs_placing(whole, charges):
        return own + whole
    left = {charge.item: Fraction(charge.amount) for charge in charges}
    for each in own:
        _take(left, each)
    placed: list[Reduction] = []
    for each in whole:
        parts = _place(each, charges, left)
        for part in parts:
            _take(left, part)
        placed += parts
    return own + placed


def _read_all(found: Fields, code: str, known: Known) -> list[Reduction]:
    key, entries = discounts_of(found)
    path = found.at(key)
    read = []
    for place, entry in enumerate(entries):
        where = path if key == "discount" else f"{path}[{place}]"
        resolved = known.discounts.get(entry) if isinstance(entry, str) else entry
        if resolved is None:
            holder = Fields({}, where, found.problems)
            holder.refuse("", f"is only an id here ({str(entry)[:60]})", _EXPAND_DISCOUNT)
            continue
        reduction = _read(Fields(resolved, where, found.problems), code, known)
        if reduction is not None:
            read.append(reduction)
    return read


def _read(discount: Fields, code: str, known: Known) -> Reduction | None:
    before = len(discount.problems)
    key, found = coupon_of(discount)
    resolved = known.coupons.get(found) if isinstance(found, str) else found
    if resolved is None:
        shown = f"is only an id here ({found[:60]})" if isinstance(found, str) else "is missing"
        discount.refuse(key, shown, _EXPAND_COUPON)
        return None
    coupon = Fields(resolved, discount.at(key), discount.problems)
    duration = coupon.needed("duration")
    if duration and duration not in _DURATIONS:
        coupon.refuse("duration", f"{duration[:20]!r} is not once, repeating or forever")
    percent, amount = coupon.decimal("percent_off"), _amount_off(coupon, code)
    if percent is not None and not 0 <= percent <= _PERCENT_MAX:
        coupon.refuse("percent_off", "must be between 0 and 100")
    if percent is None and amount is None and len(discount.problems) == before:
        coupon.refuse("", "says neither percent_off nor amount_off", _EXPAND_COUPON)
    starts_at, ends_at = discount.instant("start"), discount.instant("end")
    if duration == "repeating" and ends_at is None:
        ends_at = _months_on(starts_at, coupon)
    key = discount.needed("id")
    if len(discount.problems) > before:
        return None
    return Reduction(
        id=key,
        coupon=coupon.text("id"),
        duration=DiscountDuration(duration),
        starts_at=starts_at,
        ends_at=ends_at,
        percent_off=percent,
        amount_off=None if percent is not None else amount,
        item=discount.reference("subscription_item"),
        products=_products(coupon, known),
    )


def _amount_off(coupon: Fields, code: str) -> Decimal | None:
    """The amount off in the subscription's currency, in minor units."""
    if not coupon.has("amount_off") or not code:
        return None
    holder = coupon
    if (coupon.text("currency") or "").upper() != code:
        holder = coupon.fields("currency_options").fields(code.lower())
        if not holder.has("amount_off"):
            coupon.refuse("currency", f"is not {code}, which the subscription is billed in")
            return None
    amount = holder.decimal("amount_off")
    if amount is not None and amount < 0:
        holder.refuse("amount_off", "must not be negative")
    return None if amount is None else minor(amount, code)


def _products(coupon: Fields, known: Known) -> frozenset[str] | None:
    """The products a coupon is limited to. Stripe shows them only when asked, so look further."""
    for holder in (coupon, Fields(known.coupons.get(coupon.text("id") or ""))):
        products = holder.fields("applies_to").values("products")
        if products:
            return frozenset(each for each in products if isinstance(each, str))
    return None


def _months_on(start: datetime | None, coupon: Fields) -> datetime | None:
    """When a repeating discount ends that does not say so itself."""
    months = coupon.integer("duration_in_months")
    if start is None or months is None or not 1 <= months <= _MONTHS_MAX:
        coupon.refuse("duration_in_months", "does not tell when the discount ends")
        return None
    return datetime.combine(add_months(start.date(), months), start.time(), UTC)


def _needs_placing(whole: Sequence[Reduction], charges: Sequence[Charge]) -> bool:
    """Whether saying "the whole subscription" would say something else than Stripe does."""
    if any(each.products is not None for each in whole):
        return True
    amounts = any(each.amount_off is not None for each in whole)
    return amounts and len({charge.days for charge in charges}) > 1


def _place(
    whole: Reduction, charges: Sequence[Charge], left: dict[str, Fraction]
) -> list[Reduction]:
    """The same discount, as one of each item that it touches."""
    if whole.products is not None:
        charges = [each for each in charges if each.product in whole.products]
    if whole.amount_off is None:
        return [replace(whole, item=each.item) for each in charges]
    # An amount is taken off every invoice, and most invoices are those of the shortest interval.
    shortest = min((each.days for each in charges), default=None)
    touched = [each.item for each in charges if each.days == shortest]
    shares = _split(whole.amount_off, [left[item] for item in touched])
    return [
        replace(whole, item=item, amount_off=share)
        for item, share in zip(touched, shares, strict=True)
        if share
    ]


def _split(amount: Decimal, weights: Sequence[Fraction]) -> list[Decimal]:
    """The amount in parts proportional to the weights; the parts sum to it exactly.

    What rounding leaves over goes to the heaviest, whose share is large enough to bear it.
    100 over 2000 and 1000 is 66.666666666667 and 33.333333333333.
    """
    total = sum(weights)
    if not total:
        return [amount, *(Decimal(0) for _ in weights[1:])] if weights else []
    parts = []
    for weight in weights:
        share = Fraction(amount) * weight / total
        exact = EXACT.divide(Decimal(share.numerator), Decimal(share.denominator))
        parts.append(twelve_places(exact))
    heaviest = max(range(len(weights)), key=lambda place: weights[place])
    rest = EXACT.subtract(amount, sum(parts, Decimal(0)))
    parts[heaviest] = twelve_places(EXACT.add(parts[heaviest], rest))
    return parts


def _take(left: dict[str, Fraction], each: Reduction) -> None:
    """Lower what is left of the item a discount acts on."""
    if each.item not in left:
        return
    if each.percent_off is not None:
        left[each.item] *= 1 - Fraction(each.percent_off) / _PERCENT_MAX
    elif each.amount_off is not None:
        left[each.item] = max(Fraction(0), left[each.item] - Fraction(each.amount_off))
