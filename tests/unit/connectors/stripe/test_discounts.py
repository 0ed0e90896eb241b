"""Discounts of every shape and level come out in the order in which Stripe takes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.support.stripe import data, event, fixture, known, only, subscription

START = 1_775_001_600  # 2026-04-01


def coupon(**terms: Any) -> dict[str, Any]:
    return {"id": "C1", "object": "coupon", "duration": "forever", **terms}


def discount(terms: object, **extra: Any) -> dict[str, Any]:
    source = {"type": "coupon", "coupon": terms}
    return {"id": "di_1", "start": START, "end": None, "source": source, **extra}


def item(key: str, product: str, amount: int, *, interval: str = "month", **extra: Any) -> Any:
    recurring = {"interval": interval, "interval_count": 1, "usage_type": "licensed"}
    price = {"id": f"price_{key}", "product": product, "currency": "usd", "unit_amount": amount}
    return {"id": key, "quantity": 1, "price": {**price, "recurring": recurring}, **extra}


def items(*each: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(each), "has_more": False}


def discounts(**changes: Any) -> list[dict[str, Any]]:
    state = data(only("customer.subscription.updated", subscription(**changes)))
    found: list[dict[str, Any]] = state.get("discounts", [])
    return found


def parts(**changes: Any) -> list[tuple[str | None, str]]:
    """The item and the term of each discount."""
    return [
        (each.get("item"), each.get("percent_off") or each["amount_off"])
        for each in discounts(**changes)
    ]


@pytest.mark.parametrize("shape", ["pre_clover_expanded", "clover_source_coupon_expanded"])
def test_shapes(shape: str) -> None:
    assert discounts(discounts=[fixture("discount.shapes")[shape]]) == [
        {
            "id": "di_1",
            "coupon": "P20F",
            "percent_off": "20.0",
            "duration": "forever",
            "starts_at": "2026-04-01T00:00:00Z",
        }
    ]


def test_the_single_discount_of_old_versions() -> None:
    state = data(only("customer.subscription.updated", fixture("subscription.pre_basil")))
    assert [each["coupon"] for each in state["discounts"]] == ["P20F"]


@pytest.mark.parametrize("shape", ["clover_source_coupon_id", "unexpanded_in_subscription"])
def test_what_is_only_named_keeps_the_event_aside(shape: str) -> None:
    found = subscription(discounts=[fixture("discount.shapes")[shape]])
    (problem,) = only("customer.subscription.updated", found).problems
    assert problem.path.startswith("data.object.discounts[0]")
    assert "coupon.*" in problem.hint


@pytest.mark.parametrize("shape", ["clover_source_coupon_id", "unexpanded_in_subscription"])
def test_what_is_only_named_is_found_in_other_events(shape: str) -> None:
    shapes = fixture("discount.shapes")
    more = known(
        event("coupon.created", shapes["clover_source_coupon_expanded"]["source"]["coupon"]),
        event("customer.discount.created", shapes["clover_source_coupon_id"]),
    )
    found = subscription(discounts=[shapes[shape]])
    state = data(only("customer.subscription.updated", found, more=more))
    assert [each["percent_off"] for each in state["discounts"]] == ["20.0"]


def test_order_of_levels() -> None:
    own = discount(coupon(percent_off=10), id="di_item")
    whole = discount(coupon(amount_off=100, currency="usd"), id="di_sub")
    assert parts(items=items(item("si_1", "p", 4500, discounts=[own])), discounts=[whole]) == [
        ("si_1", "10"),
        (None, "100"),
    ]


def test_a_discount_that_names_its_item_is_of_the_item() -> None:
    own = discount(coupon(percent_off=10), subscription_item="si_1")
    assert parts(items=items(item("si_1", "p", 4500)), discounts=[own]) == [("si_1", "10")]


def test_the_customers_coupon_counts_when_there_is_no_other() -> None:
    customer = {"id": "cus_T", "discount": discount(coupon(percent_off=5), id="di_customer")}
    assert parts(customer=customer, discounts=[]) == [(None, "5")]
    other = discount(coupon(percent_off=20))
    assert parts(customer=customer, discounts=[other]) == [(None, "20")]


def test_a_coupon_for_products_is_of_the_items_with_them() -> None:
    limited = coupon(percent_off=50, applies_to={"products": ["a"]})
    both = items(item("si_1", "a", 1000), item("si_2", "b", 1000))
    assert parts(items=both, discounts=[discount(limited)]) == [("si_1", "50")]


def test_what_a_coupon_is_limited_to_may_stand_in_its_own_event() -> None:
    limited = coupon(percent_off=50, applies_to={"products": ["b"]})
    both = items(item("si_1", "a", 1000), item("si_2", "b", 1000))
    found = subscription(items=both, discounts=[discount(coupon(percent_off=50))])
    more = known(event("coupon.created", limited))
    state = data(only("customer.subscription.updated", found, more=more))
    assert [each["item"] for each in state["discounts"]] == ["si_2"]


def test_an_amount_for_products_is_split_in_proportion_and_exactly() -> None:
    limited = coupon(amount_off=100, currency="usd", applies_to={"products": ["a", "b"]})
    three = items(item("si_1", "a", 2000), item("si_2", "b", 1000), item("si_3", "c", 5000))
    found = parts(items=three, discounts=[discount(limited)])
    assert found == [("si_1", "66.666666666667"), ("si_2", "33.333333333333")]
    assert sum(Decimal(amount) for _, amount in found) == 100


def test_a_split_looks_at_what_earlier_discounts_left() -> None:
    nothing_left = discount(coupon(percent_off=100), id="di_item")
    limited = coupon(amount_off=100, currency="usd", applies_to={"products": ["a", "b"]})
    both = items(item("si_1", "a", 100, discounts=[nothing_left]), item("si_2", "b", 100))
    assert parts(items=both, discounts=[discount(limited)]) == [("si_1", "100"), ("si_2", "100")]


def test_all_of_the_subscription_follow_one_that_is_split() -> None:
    """Otherwise an amount for everything would slip behind a later percentage for one product."""
    first = discount(coupon(amount_off=300, currency="usd"), id="di_1")
    second = discount(coupon(percent_off=50, applies_to={"products": ["a"]}), id="di_2")
    both = items(item("si_1", "a", 1000), item("si_2", "b", 2000))
    assert parts(items=both, discounts=[first, second]) == [
        ("si_1", "100"),
        ("si_2", "200"),
        ("si_1", "50"),
    ]


def test_an_amount_off_items_of_different_intervals_is_of_the_shortest() -> None:
    both = items(item("si_1", "a", 1500), item("si_2", "b", 14_400, interval="year"))
    off = discount(coupon(amount_off=500, currency="usd"))
    assert parts(items=both, discounts=[off]) == [("si_1", "500")]


def test_an_amount_in_the_subscriptions_currency() -> None:
    both = coupon(amount_off=1000, currency="eur", currency_options={"usd": {"amount_off": 1100}})
    assert parts(discounts=[discount(both)]) == [(None, "1100")]
    (problem,) = only(
        "customer.subscription.updated",
        subscription(discounts=[discount(coupon(amount_off=1000, currency="eur"))]),
    ).problems
    assert "USD" in problem.problem


def test_amounts_are_iso_minor_units() -> None:
    isk = item("si_1", "p", 150_000)
    isk["price"]["currency"] = "isk"
    off = discount(coupon(amount_off=50_000, currency="isk"))
    assert parts(currency="isk", items=items(isk), discounts=[off]) == [(None, "500")]


def test_durations() -> None:
    once = discount(coupon(percent_off=50, duration="once"))
    months = coupon(percent_off=50, duration="repeating", duration_in_months=3)
    found = discounts(discounts=[once, discount(months), discount(months, end=START + 60)])
    assert [each["duration"] for each in found] == ["once", "repeating", "repeating"]
    ends = [each.get("ends_at") for each in found]
    assert ends == [None, "2026-07-01T00:00:00Z", "2026-04-01T00:01:00Z"]


@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({}, ""),
        ({"percent_off": 120}, ".percent_off"),
        ({"percent_off": "much"}, ".percent_off"),
        ({"percent_off": 10, "duration": "daily"}, ".duration"),
        ({"percent_off": 10, "duration": "repeating"}, ".duration_in_months"),
        ({"amount_off": -5, "currency": "usd"}, ".amount_off"),
    ],
)
def test_terms_that_cannot_be(terms: dict[str, Any], path: str) -> None:
    found = subscription(discounts=[discount(coupon(**terms))])
    problems = only("customer.subscription.updated", found).problems
    assert f"data.object.discounts[0].source.coupon{path}" in [each.path for each in problems]
