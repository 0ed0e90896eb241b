"""What a subscription state is worth a month, worked out with plain fractions.

Nothing of the ledger is used: this is what the ledger is compared with. Recurring discounts count
and one-off ones do not; metered prices, and tax inside prices, are left out; a subscription that is
past due, or whose collection is paused, counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from tidemill.money import EXPONENTS

__all__ = ["expected_value", "monthly_value"]

MONTHS = {
    "month": Fraction(1),
    "year": Fraction(12),
    "week": Fraction(12, 52),
    "day": Fraction(12, 365),
}

# Decimals Stripe sends where ISO 4217 has others, for the currencies of the fixtures.
ON_THE_WIRE = {"ISK": 2}


def expected_value(case: Mapping[str, Any]) -> Fraction:
    """The MRR a case of `mrr_cases.json` expects, in minor units of ISO 4217."""
    code = case["subscription"]["currency"].upper()
    shift = ON_THE_WIRE.get(code, EXPONENTS[code]) - EXPONENTS[code]
    return Fraction(case["expected"]["mrr_minor_exact"]) / Fraction(10) ** shift


def monthly_value(state: Mapping[str, Any], at: datetime) -> Fraction:
    """The MRR of a canonical subscription state at an instant, in minor units of its currency."""
    if state["status"] not in {"active", "past_due"}:
        return Fraction(0)
    left: dict[str, Fraction] = {}
    months: dict[str, Fraction] = {}
    for item in state["items"]:
        if item.get("usage_type", "licensed") == "metered":
            continue
        unit = Fraction(item["unit_amount"]) - Fraction(item.get("tax_inclusive_amount", "0"))
        left[item["id"]] = unit * Fraction(item["quantity"])
        months[item["id"]] = MONTHS[item["interval"]] * item.get("interval_count", 1)
    for discount in state.get("discounts", []):
        if _counts(discount, at):
            _take(left, discount)
    return sum((left[key] / months[key] for key in left), Fraction(0))


def _counts(discount: Mapping[str, Any], at: datetime) -> bool:
    """Whether a discount lowers MRR at an instant."""
    ends_at = discount.get("ends_at")
    running = ends_at is None or datetime.fromisoformat(ends_at) > at
    return discount["duration"] != "once" and running


def _take(left: dict[str, Fraction], discount: Mapping[str, Any]) -> None:
    """Take a discount off the items it is on; an amount off all is spread in proportion."""
    items = [discount["item"]] if discount.get("item") else list(left)
    if "percent_off" in discount:
        for item in items:
            left[item] *= 1 - Fraction(discount["percent_off"]) / 100
        return
    total = sum(left[item] for item in items)
    for item in items:
        share = Fraction(discount["amount_off"]) * left[item] / total if total else Fraction(0)
        left[item] = max(Fraction(0), left[item] - share)
