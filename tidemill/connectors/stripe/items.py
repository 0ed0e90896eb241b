"""A subscription's items: what each costs a billing interval, and the tax inside that."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.discounts import Charge
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.prices import Price, read_price
from tidemill.connectors.stripe.shapes import line_detail, line_item, listed, price_of
from tidemill.connectors.stripe.wire import EXACT, minor, plain, twelve_places
from tidemill.payloads import Item

__all__ = ["ReadItem", "read_item"]

_PERCENT: Final = Decimal(100)
_FETCH_TAX: Final = "Import it with expand[]=latest_invoice, whose lines tell the tax."


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item, and what discounts can act on; nothing of a metered one."""

    item: Item
    charge: Charge | None


def read_item(raw: Fields, found: Fields, code: str, known: Known) -> ReadItem | None:
    """The canonical item; None after noting what is wrong with it.

    code: the subscription's currency, upper-case; empty when that is unknown and was noted.
    """
    before = len(raw.problems)
    key = raw.needed("id")
    price = read_price(price_of(raw), code, known)
    quantity = raw.integer("quantity")
    if quantity is not None and quantity < 0:
        raw.refuse("quantity", "must not be negative")
    if price is None or len(raw.problems) > before or not code:
        return None
    # A metered quantity is unknown until it is invoiced; a licensed one that is absent is one.
    units = 0 if price.metered else 1 if quantity is None else quantity
    amount = minor(price.amount(units), code)
    # Tiers and packages have no price a unit: the whole is one unit at the amount it comes to.
    unit = minor(price.unit, code) if price.per_unit else amount
    counted = units if price.per_unit or not units else 1
    tax = _tax_inside(unit, raw, found, price)
    if tax is None:
        return None
    item = Item(
        id=key,
        plan=price.id,
        product=price.product,
        quantity=str(counted),
        unit_amount=plain(unit),
        interval=price.interval,
        interval_count=price.interval_count,
        usage_type=price.usage_type,
        tax_inclusive_amount=plain(tax),
    )
    if price.metered:
        return ReadItem(item, None)
    charge = Charge(key, price.product, amount, price.interval, price.interval_count)
    return ReadItem(item, charge)


def _tax_inside(unit: Decimal, item: Fields, found: Fields, price: Price) -> Decimal | None:
    """The tax contained in a unit amount: gross - gross / (1 + sum of inclusive rates).

    1190 with 19 % inside contains 190. None after noting that the rate cannot be told.
    """
    rates = list(item.entries("tax_rates")) or list(found.entries("default_tax_rates"))
    inclusive = [each for each in rates if each.flag("inclusive")]
    percent = sum((each.decimal("percentage") or Decimal(0) for each in inclusive), Decimal(0))
    if percent < 0:
        found.refuse("default_tax_rates", "sum to less than nothing")
        return None
    if percent:
        whole = EXACT.add(_PERCENT, percent)
        return twelve_places(EXACT.divide(EXACT.multiply(unit, percent), whole))
    automatic = found.fields("automatic_tax").flag("enabled")
    if not (price.tax_inclusive and automatic and unit) or price.metered:
        return Decimal(0)
    return _tax_invoiced(unit, item, found)


def _tax_invoiced(unit: Decimal, item: Fields, found: Fields) -> Decimal | None:
    """The tax inside, as the latest invoice worked it out for the item; a problem without it."""
    invoice = found.value.get("latest_invoice")
    lines = listed(found.fields("latest_invoice"), "lines") if isinstance(invoice, dict) else []
    for line in lines:
        gross = line.decimal("amount")
        taxes = [*line.entries("taxes"), *line.entries("tax_amounts")]
        if gross and line_item(line, line_detail(line)) == item.value.get("id"):
            amounts = (each.decimal("amount") for each in taxes if _inside(each))
            inside = sum((each for each in amounts if each is not None), Decimal(0))
            return twelve_places(EXACT.divide(EXACT.multiply(unit, inside), gross))
    found.refuse(
        "automatic_tax",
        "is on and the price includes tax, but nothing here says how much",
        _FETCH_TAX,
    )
    return None


def _inside(tax: Fields) -> bool:
    return bool(tax.flag("inclusive")) or tax.text("tax_behavior") == "inclusive"
