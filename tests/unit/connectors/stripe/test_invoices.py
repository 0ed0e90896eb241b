"""Invoices of the old and the new shape come to the same canonical state."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe import data, event, fixture, known, only


def invoice(**changes: Any) -> dict[str, Any]:
    return {**fixture("invoice.new_shape"), **changes}


def line(**changes: Any) -> dict[str, Any]:
    return {**fixture("invoice.new_shape")["lines"]["data"][2], **changes}


def lines(*each: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(each), "has_more": False}


def paths(**changes: Any) -> list[str]:
    found = only("invoice.updated", invoice(**changes))
    assert not found.events
    return [each.path.removeprefix("data.object.") for each in found.problems]


def kinds(*each: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in data(only("invoice.paid", invoice(lines=lines(*each))))["lines"]]


@pytest.mark.parametrize("shape", ["invoice.new_shape", "invoice.pre_basil"])
def test_both_shapes_are_one_state(shape: str) -> None:
    found = data(only("invoice.paid", fixture(shape)))
    # Old lines name the item of a proration, new ones the invoice item instead.
    for each in found["lines"][:2]:
        each.pop("item", None)
    half = {"period_start": "2026-04-16T00:00:00Z", "period_end": "2026-05-01T00:00:00Z"}
    common = {"subscription": "sub_T", "plan": "price_seat_usd_month"}
    assert found == {
        "id": "in_T2",
        "subscription": "sub_T",
        "status": "paid",
        "currency": "USD",
        "subtotal": 6000,
        "tax": 0,
        "total": 6000,
        "amount_paid": 6000,
        "period_start": "2026-05-01T00:00:00Z",
        "period_end": "2026-06-01T00:00:00Z",
        "issued_at": "2026-05-01T01:00:00Z",
        "paid_at": "2026-05-01T01:00:05Z",
        "lines": [
            {
                "id": "il_credit",
                "kind": "proration",
                "amount": -750,
                "quantity": "1",
                **common,
                **half,
            },
            {
                "id": "il_debit",
                "kind": "proration",
                "amount": 2250,
                "quantity": "3",
                **common,
                **half,
            },
            {
                "id": "il_cycle",
                "kind": "subscription",
                "item": "si_1",
                "amount": 4500,
                "quantity": "3",
                "period_start": "2026-05-01T00:00:00Z",
                "period_end": "2026-06-01T00:00:00Z",
                **common,
            },
        ],
    }


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ("created", "created"),
        ("updated", "updated"),
        ("finalized", "finalized"),
        ("paid", "paid"),
        ("voided", "voided"),
        ("marked_uncollectible", "uncollectible"),
    ],
)
def test_types(kind: str, verb: str) -> None:
    made, *_ = only(f"invoice.{kind}", invoice()).events
    assert (made.type, made.customer, made.subject) == (f"invoice.{verb}", "cus_T", "in_T2")


@pytest.mark.parametrize(
    "kind", ["payment_succeeded", "payment_failed", "upcoming", "finalization_failed", "overdue"]
)
def test_types_that_tell_nothing_new(kind: str) -> None:
    found = only(f"invoice.{kind}", invoice())
    assert found.ignored
    assert not found.events


def test_a_deleted_draft_is_void() -> None:
    translation = only("invoice.deleted", invoice(status="draft"))
    assert data(translation)["status"] == "void"
    assert translation.events[0].type == "invoice.voided"


def test_a_metered_line_is_usage_when_its_price_says_so() -> None:
    price = fixture("prices")["metered"]
    pricing = {"type": "price_details", "price_details": {"price": "price_metered"}}
    assert kinds(line(pricing=pricing)) == ["subscription"]
    assert kinds(line(price=price)) == ["usage"]
    more = known(event("price.created", price))
    found = only("invoice.paid", invoice(lines=lines(line(pricing=pricing))), more=more)
    assert data(found)["lines"][0]["kind"] == "usage"


def test_manual_lines() -> None:
    details = {"invoice_item": "ii_1", "proration": False}
    manual = {"type": "invoice_item_details", "invoice_item_details": details}
    charge, credit = line(parent=manual, amount=500), line(parent=manual, amount=-500)
    assert kinds(charge, credit) == ["addon", "credit"]
    old = {"type": "invoiceitem", "proration": False, "parent": None}
    assert kinds(line(**old, amount=500)) == ["addon"]


def test_tax() -> None:
    assert data(only("invoice.paid", invoice(total_taxes=[{"amount": 190}])))["tax"] == 190
    assert data(only("invoice.paid", invoice(total_taxes=None, tax=19)))["tax"] == 19


def test_amounts_are_iso_minor_units() -> None:
    money = {"subtotal": 150_000, "total": 150_000, "amount_paid": 150_000}
    one = line(amount=150_000)
    found = data(only("invoice.paid", invoice(currency="isk", lines=lines(one), **money)))
    assert (found["total"], found["amount_paid"], found["lines"][0]["amount"]) == (1500, 1500, 1500)
    assert paths(currency="isk", lines=lines(), **{**money, "total": 150_050}) == ["total"]


def test_an_invoice_outside_any_subscription() -> None:
    manual = {"type": "invoice_item_details", "invoice_item_details": {"invoice_item": "ii_1"}}
    one = line(parent=manual, subscription=None)
    found = data(only("invoice.created", invoice(parent=None, lines=lines(one))))
    assert "subscription" not in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "lost"}, ["status"]),
        ({"total": None}, ["total"]),
        ({"total": 1.5}, ["total"]),
        ({"currency": "zzz"}, ["currency"]),
        ({"customer": None}, ["customer"]),
        ({"lines": {"data": [], "has_more": True}}, ["lines"]),
        ({"lines": {"data": [{"id": "il_1"}]}}, ["lines.data[0].amount"]),
        ({"lines": 5}, ["lines"]),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], expected: list[str]) -> None:
    assert paths(**changes) == expected
