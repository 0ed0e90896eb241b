"""What a subscription item costs per billing interval, from any price or plan Stripe has had.

A price is resolved to one amount for the item's whole quantity (tiers, packages), in the currency
of the subscription. A price that cannot be resolved is a problem with a remedy, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.wire import EXACT, amount
from tidemill.vocabulary import Interval, PricingModel, UsageType

__all__ = ["Package", "Price", "Tier", "graduated", "read_offer", "read_price", "volume"]

_INTERVALS: Final = frozenset(Interval)
_USAGE_TYPES: Final = frozenset(UsageType)
_EXPAND_TIERS: Final = (
    "Stripe leaves tiers out unless asked: import a price event with its tiers in the same file, "
    "as GET /v1/prices/{id}?expand[]=tiers gives them."
)
_EXPAND_CURRENCIES: Final = (
    "Import a price event with its other currencies in the same file, "
    "as GET /v1/prices/{id}?expand[]=currency_options gives them."
)


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of a tiered price; amounts as on the wire."""

    up_to: int | None
    """The last unit that belongs to it; None for all that follow."""
    unit: Decimal
    flat: Decimal


@dataclass(frozen=True, slots=True)
class Package:
    """Units that are sold together."""

    divide_by: int
    round_up: bool
    """Whether a package that is begun counts whole, or not at all."""

    def count(self, quantity: int) -> int:
        """How many packages a quantity makes: 25 units in packages of 10 are 3, or 2."""
        whole, rest = divmod(quantity, self.divide_by)
        return whole + 1 if rest and self.round_up else whole


@dataclass(frozen=True, slots=True)
class Price:
    """A recurring price in one currency; amounts as on the wire (`wire.minor` converts them)."""

    id: str
    product: str | None
    interval: Interval
    interval_count: int
    model: PricingModel
    usage_type: UsageType
    tax_inclusive: bool
    unit: Decimal
    """Per unit, or per package; of the first tier for a tiered price; 0 when unknown."""
    tiers: tuple[Tier, ...] = ()
    package: Package | None = None

    @property
    def metered(self) -> bool:
        """Whether the quantity is measured afterwards, so that the price says nothing of MRR."""
        return self.usage_type is UsageType.METERED

    @property
    def per_unit(self) -> bool:
        """Whether the amount is simply quantity times `unit`."""
        return not self.tiers and self.package is None

    def amount(self, quantity: int) -> Decimal:
        """The full amount of one billing interval; 0 for no units, whatever the tiers say."""
        if not quantity:
            return Decimal(0)
        if self.tiers:
            tiered = volume if self.model is PricingModel.VOLUME else graduated
            return tiered(self.tiers, quantity)
        units = quantity if self.package is None else self.package.count(quantity)
        return EXACT.multiply(self.unit, Decimal(units))


def graduated(tiers: Sequence[Tier], quantity: int) -> Decimal:
    """Each tier's units at that tier's price, plus the flat amount of every tier reached.

    25 units with 10 at 1000 (flat 5000) and the rest at 800: 10 000 + 5 000 + 15 x 800 = 27 000.
    """
    total, below = Decimal(0), 0
    for tier in tiers:
        last = quantity if tier.up_to is None else min(tier.up_to, quantity)
        units = Decimal(max(last - below, 0))
        total = EXACT.add(total, EXACT.fma(tier.unit, units, tier.flat))
        below = last
        if last >= quantity:
            break
    return total


def volume(tiers: Sequence[Tier], quantity: int) -> Decimal:
    """All units at the price of the tier that the quantity falls into, plus its flat amount.

    11 units, up to 10 at 1000, beyond at 700 (flat 2000): 11 x 700 + 2 000 = 9 700.
    """
    reached = next(t for t in tiers if t.up_to is None or quantity <= t.up_to)
    return EXACT.fma(reached.unit, Decimal(quantity), reached.flat)


def read_price(price: Fields, code: str, known: Known) -> Price | None:
    """The price as it applies in a currency (upper-case); None after noting why it cannot be told.

    price: a `price`, or the `plan` that came before it; the two differ in where things stand.
    code:  the subscription's currency; empty when it is not known, which was noted already.
    """
    amounts = _in_currency(price, code, known.prices.get(price.text("id") or ""))
    offer = _offer(price, amounts)
    if amounts is None or (offer is not None and offer.metered):
        return offer
    if price.text("billing_scheme") == "tiered":
        tiers = _tiers(amounts)
        return replace(offer, tiers=tiers, unit=tiers[0].unit) if tiers and offer else None
    if amount(amounts, _unit_key(amounts)) is None:
        price.refuse("unit_amount", "is missing, so what the price costs is not known")
        return None
    return offer


def read_offer(price: Fields, code: str, known: Known) -> Price | None:
    """The price as the catalogue lists it: with the first tier's amount, or 0, if it is tiered."""
    amounts = _in_currency(price, code, known.prices.get(price.text("id") or ""))
    offer = _offer(price, amounts)
    if offer is None or amounts is None or not amounts.values("tiers"):
        return offer
    tiers = _tiers(amounts)
    return replace(offer, unit=tiers[0].unit) if tiers else None


def _offer(price: Fields, amounts: Fields | None) -> Price | None:
    """What a price says apart from tiers; None after noting what is wrong with it."""
    before = len(price.problems)
    key = price.needed("id")
    recurring = price.fields("recurring") if price.has("recurring") else price
    interval = recurring.needed("interval")
    if interval and interval not in _INTERVALS:
        recurring.refuse("interval", f"{interval[:20]!r} is not day, week, month or year")
    count = recurring.integer("interval_count")
    if count is not None and count < 1:
        recurring.refuse("interval_count", "must be 1 or more")
    usage_type = _usage_type(recurring)
    model, package = _model(price, usage_type)
    unit = None if amounts is None else amount(amounts, _unit_key(amounts))
    if unit is not None and unit < 0:
        price.refuse("unit_amount", "must not be negative")
    product, behavior = price.reference("product"), price.text("tax_behavior")
    if len(price.problems) > before:
        return None
    return Price(
        id=key,
        product=product,
        interval=Interval(interval),
        interval_count=1 if count is None else count,
        model=model,
        usage_type=usage_type,
        tax_inclusive=behavior == "inclusive",
        unit=Decimal(0) if unit is None else unit,
        package=package,
    )


def _unit_key(amounts: Fields) -> str:
    """Prices say `unit_amount`, plans `amount`."""
    new = amounts.has("unit_amount") or amounts.has("unit_amount_decimal")
    return "unit_amount" if new else "amount"


def _usage_type(recurring: Fields) -> UsageType:
    named = recurring.text("usage_type") or UsageType.LICENSED
    if named not in _USAGE_TYPES:
        recurring.refuse("usage_type", f"{named[:20]!r} is neither licensed nor metered")
        return UsageType.LICENSED
    return UsageType(named)


def _model(price: Fields, usage_type: UsageType) -> tuple[PricingModel, Package | None]:
    if usage_type is UsageType.METERED:
        return PricingModel.USAGE, None
    if price.text("billing_scheme") == "tiered":
        mode = price.text("tiers_mode")
        if mode not in {"graduated", "volume"}:
            price.refuse("tiers_mode", "must be graduated or volume for a tiered price")
        return (PricingModel.VOLUME if mode == "volume" else PricingModel.TIERED), None
    transform = price.fields("transform_quantity") or price.fields("transform_usage")
    if not transform:
        return PricingModel.FLAT, None
    divide_by = transform.integer("divide_by")
    if divide_by is None or divide_by < 1:
        transform.refuse("divide_by", "must be 1 or more")
        return PricingModel.PACKAGE, None
    return PricingModel.PACKAGE, Package(divide_by, transform.text("round") != "down")


def _in_currency(price: Fields, code: str, known: object) -> Fields | None:
    """The part of a price that holds its amounts in a currency, with tiers if anyone has them."""
    fuller = Fields(known, price.path, price.problems)
    own = price.text("currency")
    if not code or own is None or own.upper() == code:
        needs_tiers = price.text("billing_scheme") == "tiered" and not price.has("tiers")
        return fuller if needs_tiers and fuller.has("tiers") else price
    for holder in (price, fuller):
        options = holder.fields("currency_options")
        for key in (code.lower(), code):
            if options.has(key):
                return options.fields(key)
    price.refuse(
        "currency",
        f"is {own[:20].upper()}, while the subscription is billed in {code}",
        _EXPAND_CURRENCIES,
    )
    return None


def _tiers(amounts: Fields) -> tuple[Tier, ...]:
    """The tiers in order; empty after noting why they cannot be used."""
    before = len(amounts.problems)
    if not amounts.values("tiers"):
        amounts.refuse("tiers", "are missing, so what the price costs is not known", _EXPAND_TIERS)
        return ()
    tiers, reached = [], 0
    for entry in amounts.entries("tiers"):
        # Old versions say "inf" where new ones say null.
        up_to = None if entry.value.get("up_to") == "inf" else entry.integer("up_to")
        unit = amount(entry, "unit_amount" if _unit_key(entry) == "unit_amount" else "amount")
        flat = amount(entry, "flat_amount")
        if up_to is not None and up_to <= reached:
            entry.refuse("up_to", "must be higher than that of the tier before")
        if (unit or 0) < 0 or (flat or 0) < 0:
            entry.refuse("", "must not cost less than nothing")
        reached = reached if up_to is None else up_to
        tiers.append(Tier(up_to, unit or Decimal(0), flat or Decimal(0)))
    if tiers[-1].up_to is not None:
        amounts.refuse("tiers", "must end with a tier for all that follows (up_to null)")
    if any(tier.up_to is None for tier in tiers[:-1]):
        amounts.refuse("tiers", "have a tier behind the one for all that follows")
    return () if len(amounts.problems) > before else tuple(tiers)
