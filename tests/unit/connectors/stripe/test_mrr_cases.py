"""The 39 subscriptions with known MRR translate to items and discounts that come to exactly it.

The value is worked out by `tests.support.stripe_value`, with plain fractions and nothing of the
ledger, under the assumptions that the file states: recurring discounts count and one-off ones do
not, metered prices and tax are left out, a subscription past due or with paused collection counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.support.stripe import data, event, fixture, known, only
from tests.support.stripe_value import expected_value, monthly_value

CASES = fixture("mrr_cases")
AS_OF = datetime.fromisoformat(CASES["config"]["as_of"])


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
    assert monthly_value(data(translation), AS_OF) == expected_value(case)


def test_there_are_39_cases() -> None:
    assert len(CASES["cases"]) == 39


def test_a_price_without_tiers_is_resolved_by_the_price_event() -> None:
    """What is missing in the subscription may stand in another event of the same import."""
    case = next(c for c in CASES["cases"] if c["name"] == "tiers_not_expanded")
    price = {**fixture("prices")["graduated"], "id": "price_graduated_unexpanded"}
    more = known(event("price.created", price))
    translation = only("customer.subscription.updated", case["subscription"], more=more)
    assert monthly_value(data(translation), AS_OF) == 27_000
