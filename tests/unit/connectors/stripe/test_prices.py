"""A price of any kind comes to one amount for the quantity, or to a problem; never to zero."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.support.stripe import event, fixture, known
from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.prices import Package, Price, read_price
from tidemill.connectors.stripe.wire import minor
from tidemill.vocabulary import PricingModel, UsageType

PRICES: dict[str, dict[str, Any]] = fixture("prices")


def read(raw: dict[str, Any], code: str = "USD", more: Known | None = None) -> Price:
    found = Fields(raw)
    price = read_price(found, code, more or Known())
    assert price is not None, [str(each) for each in found.problems]
    return price


def refused(raw: dict[str, Any], code: str = "USD", more: Known | None = None) -> list[str]:
    found = Fields(raw)
    assert read_price(found, code, more or Known()) is None or found.problems
    return [each.path for each in found.problems]


@pytest.mark.parametrize(
    ("name", "quantity", "amount"),
    [
        ("seat_usd_month", 3, "4500"),
        ("graduated", 0, "0"),
        ("graduated", 10, "15000"),
        ("graduated", 11, "15800"),
        ("graduated", 60, "52000"),
        ("volume", 10, "10000"),
        ("volume", 100, "72000"),
        ("volume", 101, "50500"),
        ("package_up", 20, "10000"),
        ("package_up", 21, "15000"),
        ("package_down", 29, "10000"),
        ("package_down", 9, "0"),
        ("decimal", 100_000, "35000.00"),
        ("decimal", 1, "0.35"),
        ("free", 5, "0"),
    ],
)
def test_amount_of_a_quantity(name: str, quantity: int, amount: str) -> None:
    assert read(PRICES[name]).amount(quantity) == Decimal(amount)


def test_sub_cent_decimals_stay_exact() -> None:
    price = read({**PRICES["decimal"], "unit_amount_decimal": "0.000000000001"})
    assert price.amount(10**15) == 1000


def test_models() -> None:
    assert read(PRICES["graduated"]).model is PricingModel.TIERED
    assert read(PRICES["volume"]).model is PricingModel.VOLUME
    assert read(PRICES["package_up"]).model is PricingModel.PACKAGE
    metered = read(PRICES["metered"])
    assert (metered.model, metered.usage_type) == (PricingModel.USAGE, UsageType.METERED)


def test_a_plan_of_before_prices_says_the_same() -> None:
    plan = fixture("subscription.pre_basil")["plan"]
    price = read(plan)
    assert (price.id, price.interval.value) == ("price_seat_usd_month", "month")
    assert price.amount(2) == 3000


def test_tiers_of_old_plans_end_with_inf() -> None:
    tiers = [{"up_to": 5, "amount": 100}, {"up_to": "inf", "amount": 50}]
    plan = {"id": "p", "currency": "usd", "interval": "month", "interval_count": 1}
    price = read({**plan, "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers})
    assert price.amount(7) == 600


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"tiers": None}, "tiers"),
        ({"tiers": []}, "tiers"),
        ({"tiers_mode": None}, "tiers_mode"),
        ({"tiers": [{"up_to": 5, "unit_amount": 1}]}, "tiers"),
        (
            {"tiers": [{"up_to": None, "unit_amount": 1}, {"up_to": None, "unit_amount": 1}]},
            "tiers",
        ),
        (
            {"tiers": [{"up_to": 5, "unit_amount": 1}, {"up_to": 5, "unit_amount": 1}]},
            "tiers[1].up_to",
        ),
        ({"tiers": [{"up_to": None, "unit_amount": -1}]}, "tiers[0]"),
    ],
)
def test_tiers_that_cannot_be_used(changes: dict[str, Any], path: str) -> None:
    assert path in refused({**PRICES["graduated"], **changes})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"unit_amount": None, "unit_amount_decimal": None}, "unit_amount"),
        ({"unit_amount": -5, "unit_amount_decimal": None}, "unit_amount"),
        ({"recurring": {"interval": "fortnight"}}, "recurring.interval"),
        ({"recurring": {"interval": "month", "interval_count": 0}}, "recurring.interval_count"),
        ({"recurring": None}, "interval"),
        ({"recurring": {"interval": "month", "usage_type": "guessed"}}, "recurring.usage_type"),
        ({"transform_quantity": {"divide_by": 0}}, "transform_quantity.divide_by"),
        ({"id": None}, "id"),
    ],
)
def test_prices_that_cannot_be_used(changes: dict[str, Any], path: str) -> None:
    assert path in refused({**PRICES["seat_usd_month"], **changes})


def test_another_currency_is_looked_up() -> None:
    options = {"eur": {"unit_amount": 1400, "unit_amount_decimal": "1400"}}
    assert read({**PRICES["seat_usd_month"], "currency_options": options}, "EUR").amount(1) == 1400


def test_another_currency_without_options_is_not_converted() -> None:
    assert refused(PRICES["seat_usd_month"], "EUR") == ["currency"]


def test_what_the_subscription_leaves_out_the_price_event_tells() -> None:
    unexpanded = PRICES["graduated_unexpanded"]
    full = {**PRICES["graduated"], "id": unexpanded["id"]}
    more = known(event("price.updated", full))
    assert read(unexpanded, more=more).amount(25) == 27_000
    options = {"gbp": {"unit_amount": 1200}}
    more = known(event("price.created", {**PRICES["seat_usd_month"], "currency_options": options}))
    assert read(PRICES["seat_usd_month"], "GBP", more).amount(1) == 1200


def test_the_newest_price_event_counts_whatever_the_order() -> None:
    old = event("price.created", {**PRICES["free"], "unit_amount": 1}, created=1)
    new = event("price.updated", {**PRICES["free"], "unit_amount": 2}, created=2)
    for order in ((old, new), (new, old)):
        assert known(*order).prices["price_free"]["unit_amount"] == 2


def test_packages() -> None:
    assert [Package(10, round_up=True).count(n) for n in (0, 1, 10, 11)] == [0, 1, 1, 2]
    assert [Package(10, round_up=False).count(n) for n in (0, 1, 10, 19)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("wire", "code", "expected"),
    [
        ("1200", "JPY", "1200"),
        ("5500", "KWD", "5500"),
        ("150000", "ISK", "1500"),
        ("150000", "UGX", "1500"),
        ("500", "MGA", "50000"),
        ("0.35", "USD", "0.35"),
        ("100", "HUF", "100"),
        ("100", "TWD", "100"),
        ("100", "IQD", "1000"),
    ],
)
def test_amounts_on_the_wire_become_iso_minor_units(wire: str, code: str, expected: str) -> None:
    assert str(minor(Decimal(wire), code)) == expected
