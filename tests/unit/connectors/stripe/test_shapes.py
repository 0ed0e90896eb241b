"""One fact, several places: each reader finds it in the shape of every API version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.stripe import fixture
from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe import shapes

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("shape", ["subscription.new_shape", "subscription.pre_basil"])
def test_billing_period(shape: str) -> None:
    found = Fields(fixture(shape))
    assert shapes.billing_period(found, shapes.listed(found, "items")) == (APRIL, MAY)


def test_billing_period_of_items_that_differ_is_what_they_share() -> None:
    items = [
        {"current_period_start": 1_775_001_600, "current_period_end": 1_806_537_600},
        {"current_period_start": 1_775_001_600, "current_period_end": 1_777_593_600},
    ]
    found = Fields({"items": {"data": items}, "current_period_end": 1})
    assert shapes.billing_period(found, shapes.listed(found, "items")) == (APRIL, MAY)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"discounts": ["di_1"]}, ("discounts", ["di_1"])),
        ({"discounts": [{"id": "di_1"}]}, ("discounts", [{"id": "di_1"}])),
        ({"discount": {"id": "di_1"}}, ("discount", [{"id": "di_1"}])),
        ({"discount": {"id": "di_1"}, "discounts": ["di_1"]}, ("discount", [{"id": "di_1"}])),
        (
            {"discount": {"id": "di_2"}, "discounts": ["di_1", "di_2"]},
            ("discounts", ["di_1", {"id": "di_2"}]),
        ),
        ({"discount": None, "discounts": []}, ("discounts", [])),
        ({}, ("discounts", [])),
    ],
)
def test_discounts(found: dict[str, Any], expected: tuple[str, list[object]]) -> None:
    assert shapes.discounts_of(Fields(found)) == expected


def test_coupon() -> None:
    forms = fixture("discount.shapes")
    old = shapes.coupon_of(Fields(forms["pre_clover_expanded"]))
    new = shapes.coupon_of(Fields(forms["clover_source_coupon_expanded"]))
    assert old[0] == "coupon"
    assert new[0] == "source.coupon"
    assert old[1] == new[1] != "P20F"
    assert shapes.coupon_of(Fields(forms["clover_source_coupon_id"]))[1] == "P20F"


@pytest.mark.parametrize("shape", ["invoice.new_shape", "invoice.pre_basil"])
def test_invoice_lines(shape: str) -> None:
    found = Fields(fixture(shape))
    lines = shapes.listed(found, "lines")
    details = [shapes.line_detail(line) for line in lines]
    both = list(zip(lines, details, strict=True))
    assert shapes.invoice_subscription(found, lines) == "sub_T"
    assert [shapes.line_is_proration(*each) for each in both] == [True, True, False]
    assert [shapes.line_subscription(*each) for each in both] == ["sub_T"] * 3
    assert shapes.line_item(*both[2]) == "si_1"
    assert {shapes.line_price(line)[0] for line in lines} == {"price_seat_usd_month"}


@pytest.mark.parametrize(
    "found",
    [
        {"subscription": "sub_1"},
        {"subscription": {"id": "sub_1"}},
        {"subscription": None, "parent": {"subscription_details": {"subscription": "sub_1"}}},
        {"lines": {"data": [{"subscription": "sub_1"}]}},
        {
            "lines": {
                "data": [
                    {
                        "parent": {
                            "type": "subscription_item_details",
                            "subscription_item_details": {"subscription": "sub_1"},
                        }
                    }
                ]
            }
        },
    ],
)
def test_the_subscription_of_an_invoice_has_many_places(found: dict[str, Any]) -> None:
    invoice = Fields(found)
    assert shapes.invoice_subscription(invoice, shapes.listed(invoice, "lines")) == "sub_1"


def test_a_manual_invoice_has_no_subscription() -> None:
    assert shapes.invoice_subscription(Fields({"parent": None}), []) is None


@pytest.mark.parametrize(
    ("line", "price"),
    [
        ({"price": "price_1"}, "price_1"),
        ({"price": {"id": "price_1"}}, "price_1"),
        ({"plan": {"id": "plan_1"}}, "plan_1"),
        ({"pricing": {"price_details": {"price": "price_1"}}}, "price_1"),
        ({"pricing": {"price_details": {"price": {"id": "price_1"}}}}, "price_1"),
        ({}, None),
    ],
)
def test_price_of_a_line(line: dict[str, Any], price: str | None) -> None:
    assert shapes.line_price(Fields(line))[0] == price


@pytest.mark.parametrize(
    ("found", "customer"),
    [
        ({"customer": "cus_1"}, "cus_1"),
        ({"customer": {"id": "cus_1"}}, "cus_1"),
        ({"customer": None, "customer_account": "acct_1"}, "acct_1"),
        ({"customer": None}, None),
    ],
)
def test_customer(found: dict[str, Any], customer: str | None) -> None:
    assert shapes.customer_key(Fields(found)) == customer


def test_a_list_that_goes_on_is_noted() -> None:
    assert not any(
        map(shapes.is_cut, ({"data": [1], "has_more": False, "total_count": 1}, [], None))
    )
    assert shapes.is_cut({"data": [1], "has_more": False, "total_count": 2})
    found = Fields({"items": {"data": [], "has_more": True}, "lines": []})
    shapes.refuse_if_cut(found, "items", "Fetch it.")
    shapes.refuse_if_cut(found, "lines", "Fetch it.")
    assert [(each.path, each.hint) for each in found.problems] == [("items", "Fetch it.")]


@pytest.mark.parametrize("key", ["total_taxes", "total_tax_amounts"])
def test_tax_amounts(key: str) -> None:
    (tax,) = shapes.invoice_tax(Fields({key: [{"amount": 190}]}))
    assert tax.integer("amount") == 190
