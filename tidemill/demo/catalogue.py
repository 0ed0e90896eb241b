"""What the synthetic business sells: products, prices in three currencies, coupons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CURRENCIES", "PLANS", "Catalogue", "Plan"]

CURRENCIES: Final = ("usd", "eur", "gbp")


@dataclass(frozen=True, slots=True)
class Plan:
    """An offer: one price in each currency. Amounts in cents or pence per unit and interval."""

    key: str
    product: str
    interval: str
    amounts: tuple[float, float, float]
    per_seat: bool = False
    metered: bool = False
    """What was used is billed when the month is over."""


PLANS: Final = {
    each.key: each
    for each in (
        Plan("starter_month", "starter", "month", (2_900, 2_700, 2_400)),
        Plan("starter_year", "starter", "year", (29_000, 27_000, 24_000)),
        Plan("team_month", "team", "month", (1_500, 1_400, 1_200), per_seat=True),
        Plan("team_year", "team", "year", (15_000, 14_000, 12_000), per_seat=True),
        Plan("business_month", "business", "month", (24_900, 22_900, 19_900)),
        Plan("business_year", "business", "year", (249_000, 229_000, 199_000)),
        Plan("sprint_week", "sprint", "week", (900, 850, 750)),
        Plan("support_month", "support", "month", (4_900, 4_500, 3_900)),
        Plan("support_year", "support", "year", (49_000, 45_000, 39_000)),
        Plan("calls_month", "calls", "month", (0.04, 0.036, 0.032), metered=True),
    )
}
"""Every offer by its key."""

_PRODUCTS: Final = {
    "starter": "Starter",
    "team": "Team",
    "business": "Business",
    "sprint": "Sprint pass",
    "support": "Priority support",
    "calls": "API calls",
}


@dataclass(frozen=True, slots=True)
class _Coupon:
    """Terms of a coupon; `amounts_off` in the order of `CURRENCIES`."""

    duration: str
    months: int | None = None
    percent_off: float | None = None
    amounts_off: tuple[int, int, int] | None = None


_COUPONS: Final = {
    "LAUNCH20": _Coupon("repeating", 3, percent_off=20.0),
    "PARTNER15": _Coupon("forever", percent_off=15.0),
    "WELCOME50": _Coupon("once", percent_off=50.0),
    "TENOFF": _Coupon("repeating", 6, amounts_off=(1_000, 900, 800)),
    "STAY30": _Coupon("repeating", 3, percent_off=30.0),
}


class Catalogue:
    """The Stripe objects of everything on offer, shared by all events that show them.

    products and coupons by id; prices by plan key and currency. Read-only: the same object stands
    in thousands of events.
    """

    def __init__(self, created: int) -> None:
        self.products = {f"prod_{key}": _product(key, created) for key in _PRODUCTS}
        self.prices = {
            (offer.key, currency): _price(offer, currency, created)
            for offer in PLANS.values()
            for currency in CURRENCIES
        }
        self.coupons = {key: _coupon(key, created) for key in _COUPONS}


def _product(key: str, created: int) -> dict[str, Any]:
    return {
        "id": f"prod_{key}",
        "object": "product",
        "active": True,
        "created": created,
        "default_price": None,
        "description": None,
        "livemode": True,
        "metadata": {},
        "name": _PRODUCTS[key],
        "tax_code": None,
        "type": "service",
        "unit_label": {"team": "seat", "calls": "call"}.get(key),
        "updated": created,
    }


def _price(offer: Plan, currency: str, created: int) -> dict[str, Any]:
    amount = offer.amounts[CURRENCIES.index(currency)]
    return {
        "id": f"price_{offer.key}_{currency}",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": True,
        "lookup_key": None,
        "metadata": {},
        "nickname": f"{_PRODUCTS[offer.product]}, per {offer.interval}",
        "product": f"prod_{offer.product}",
        "recurring": {
            "interval": offer.interval,
            "interval_count": 1,
            "meter": f"mtr_{offer.product}" if offer.metered else None,
            "trial_period_days": None,
            "usage_type": "metered" if offer.metered else "licensed",
        },
        "tax_behavior": "exclusive",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": amount if isinstance(amount, int) else None,
        "unit_amount_decimal": str(amount),
    }


def _coupon(key: str, created: int) -> dict[str, Any]:
    terms = _COUPONS[key]
    amounts = terms.amounts_off
    found: dict[str, Any] = {
        "id": key,
        "object": "coupon",
        "amount_off": amounts[0] if amounts else None,
        "created": created,
        "currency": CURRENCIES[0] if amounts else None,
        "duration": terms.duration,
        "duration_in_months": terms.months,
        "livemode": True,
        "max_redemptions": None,
        "metadata": {},
        "name": key,
        "percent_off": terms.percent_off,
        "redeem_by": None,
        "valid": True,
    }
    if amounts:
        options = zip(CURRENCIES, amounts, strict=True)
        found["currency_options"] = {each: {"amount_off": amount} for each, amount in options}
    return found
