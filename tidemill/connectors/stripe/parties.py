"""Who pays and what is sold: customers, products, prices and the plans before them."""

from __future__ import annotations

import re
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.prices import read_offer
from tidemill.connectors.stripe.wire import currency, minor, plain
from tidemill.money import is_currency
from tidemill.payloads import Customer, Plan, Product

__all__ = ["read_customer", "read_plan", "read_product"]

_COUNTRY: Final = re.compile(r"[A-Za-z]{2}")
_KEY_MAX: Final = 255


def read_customer(found: Fields) -> Customer | None:
    """The canonical customer; metadata become attributes, as the texts they are.

    A deleted customer may be a stub of no more than its id.
    """
    before = len(found.problems)
    key = found.needed("id")
    name, email = found.text("name"), found.text("email")
    code = (found.text("currency") or "").upper()
    created_at, attributes = found.instant("created"), _attributes(found)
    country = _country(found)
    if len(found.problems) > before:
        return None
    return Customer(
        id=key,
        name=name,
        email=email,
        country=country,
        currency=code if is_currency(code) else None,
        created_at=created_at,
        attributes=attributes,
    )


def read_product(found: Fields) -> Product | None:
    """The canonical product."""
    before = len(found.problems)
    key, name, active = found.needed("id"), found.text("name"), found.flag("active")
    if len(found.problems) > before:
        return None
    return Product(id=key, name=name or key, active=active)


def read_plan(found: Fields, known: Known) -> Plan | None:
    """The canonical plan of a recurring price; its unit amount is that of the first tier."""
    before = len(found.problems)
    code = currency(found)
    offer = read_offer(found, code, known)
    nickname, active = found.text("nickname"), found.flag("active")
    if offer is None or len(found.problems) > before:
        return None
    return Plan(
        id=offer.id,
        product=offer.product,
        name=nickname or found.text("name") or found.text("lookup_key"),
        currency=code,
        interval=offer.interval,
        interval_count=offer.interval_count,
        unit_amount=plain(minor(offer.unit, code)),
        pricing_model=offer.model,
        usage_type=offer.usage_type,
        active=active,
    )


def _country(found: Fields) -> str | None:
    """Where the customer is: of the address, else of the delivery; nonsense is no country."""
    for holder in (found.fields("address"), found.fields("shipping").fields("address")):
        country = holder.text("country")
        if country and _COUNTRY.fullmatch(country):
            return country.upper()
    return None


def _attributes(found: Fields) -> dict[str, str | int | float | bool | None] | None:
    metadata = found.fields("metadata")
    attributes: dict[str, str | int | float | bool | None] = {}
    for key in metadata.value:
        value = metadata.text(key)
        if value is not None and 0 < len(key) <= _KEY_MAX:
            attributes[key] = value
    return attributes or None
