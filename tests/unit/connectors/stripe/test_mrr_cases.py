"""The 39 subscriptions with known MRR translate to items and discounts that come to exactly it.

The value is worked out here once more, with plain fractions and nothing of the ledger, under the
assumptions that the file states: recurring discounts count and one-off ones do not, metered prices
and tax are left out, a subscription past due or with paused collection counts.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from tests.unit.connectors.stripe.samples import data, event, fixture, only
from tidemill.money import EXPONENTS

MONTHS = {
    "month": Fraction(1),
    "year": Fraction(12),
    "week": Fraction(12, 52),
    "day": Fraction(12, 365),
}
CASES = fixture("mrr_cases")
AS_OF = datetime.fromisoformat(CASES["config"]["as_of"])

# Stripe's decimals of a currency less those of ISO 4217, for the currencies in the file.
ON_THE_WIRE = {"isk": 2}


def monthly_value(state: dict[str, Any]) -> Fraction:
    """The MRR of a canonical subscription state, in minor units of its currency."""
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
        if counts(discount):
            take(left, discount)
    return sum((left[key] / months[key] for key in left), Fraction(0))


def counts(discount: dict[str, Any]) -> bool:
    """Whether a discount lowers MRR at the instant of the file."""
    ends_at = discount.get("ends_at")
    running = ends_at is None or datetime.fromisoformat(ends_at) > AS_OF
    return discount["duration"] != "once" and running


def take(left: dict[str, Fraction], discount: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: str(case["name"]))
def test_value_is_exact(case: dict[str, Any]) -> None:
    exact = case["expected"]["mrr_minor_exact"]
    translation = only("customer.subscription.updated", case["subscription"])
    if exact is None:
        assert not translation.events, "a price that is not known must not become zero"
        (problem,) = translation.problems
        assert problem.path.endswith("price.tiers")
        assert "expand[]=tiers" in problem.hint
        return
    code = case["subscription"]["currency"]
    shift = ON_THE_WIRE.get(code, EXPONENTS[code.upper()]) - EXPONENTS[code.upper()]
    assert monthly_value(data(translation)) == Fraction(exact) / 10**shift


def test_there_are_39_cases() -> None:
    assert len(CASES["cases"]) == 39


def test_a_price_without_tiers_is_resolved_by_the_price_event() -> None:
    """What is missing in the subscription may stand in another event of the same import."""
    from tests.unit.connectors.stripe.samples import known

    case = next(c for c in CASES["cases"] if c["name"] == "tiers_not_expanded")
    price = {**fixture("prices")["graduated"], "id": "price_graduated_unexpanded"}
    more = known(event("price.created", price))
    translation = only("customer.subscription.updated", case["subscription"], more=more)
    assert monthly_value(data(translation)) == 27_000
