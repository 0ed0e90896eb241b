"""Money is told once: by the charge, and what is given back by whatever names the customer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe import data, fixture, only

ENDIVE, BASIL = "2026-10-28.endive", "2025-08-27.basil"


def charge(**changes: Any) -> dict[str, Any]:
    return {**fixture("charge"), **changes}


def refund(**changes: Any) -> dict[str, Any]:
    return {**fixture("refund"), "customer": "cus_T", **changes}


def test_a_charge_that_worked() -> None:
    details = {"type": "card", "card": {"brand": "visa", "wallet": None}}
    translation = only("charge.succeeded", charge(payment_method_details=details))
    assert translation.events[0].type == "payment.succeeded"
    assert translation.events[0].customer == "cus_T"
    assert data(translation) == {
        "id": "ch_T2",
        "amount": 6000,
        "currency": "USD",
        "method": "card",
    }


def test_a_charge_that_failed() -> None:
    found = charge(status="failed", failure_code="card_declined", amount_captured=0)
    translation = only("charge.failed", found)
    assert translation.events[0].type == "payment.failed"
    assert data(translation)["failure_reason"] == "card_declined"


def test_old_charges_name_their_invoice() -> None:
    assert data(only("charge.succeeded", charge(invoice="in_1")))["invoice"] == "in_1"


def test_what_is_only_reserved_is_not_paid() -> None:
    assert only("charge.succeeded", charge(captured=False)).ignored
    found = only("charge.captured", charge(amount_captured=4000))
    assert (found.events[0].type, data(found)["amount"]) == ("payment.succeeded", 4000)


@pytest.mark.parametrize(
    ("details", "method"),
    [
        ({"type": "sepa_debit"}, "direct_debit"),
        ({"type": "customer_balance"}, "bank_transfer"),
        ({"type": "card", "card": {"wallet": {"type": "apple_pay"}}}, "wallet"),
        ({"type": "link"}, "wallet"),
        ({"type": "paypal"}, "paypal"),
        ({"type": "seashells"}, "other"),
        (None, None),
    ],
)
def test_methods(details: Any, method: str | None) -> None:
    found = data(only("charge.succeeded", charge(payment_method_details=details)))
    assert found.get("method") == method


def test_the_fee_in_the_charges_own_currency() -> None:
    shown = {"id": "txn_1", "fee": 204, "currency": "usd"}
    assert data(only("charge.succeeded", charge(balance_transaction=shown)))["fee"] == 204
    other = {**shown, "currency": "eur"}
    assert "fee" not in data(only("charge.succeeded", charge(balance_transaction=other)))


@pytest.mark.parametrize("kind", ["charge.succeeded", "charge.failed"])
def test_one_off_payments_are_not_about_subscriptions(kind: str) -> None:
    assert only(kind, charge(customer=None)).ignored


def test_a_refund_is_told_once_whatever_the_version() -> None:
    before = {"amount_refunded": 0}
    by_refund = only("refund.created", refund(), api_version=ENDIVE)
    assert data(by_refund) == {"id": "re_T", "amount": 1500, "currency": "USD"}
    assert only("charge.refunded", charge(), api_version=ENDIVE, previous=before).ignored

    by_charge = only("charge.refunded", charge(), api_version=BASIL, previous=before)
    assert data(by_charge)["amount"] == 1500
    assert by_charge.events[0].type == by_refund.events[0].type == "payment.refunded"
    assert only("refund.created", refund(), api_version=BASIL).ignored
    assert only("refund.created", refund(), api_version=None).ignored


def test_partial_refunds_are_differences_and_two_payments() -> None:
    first = only(
        "charge.refunded",
        charge(amount_refunded=1000),
        api_version=BASIL,
        previous={"amount_refunded": 0},
    )
    second = only(
        "charge.refunded",
        charge(amount_refunded=1500),
        api_version=BASIL,
        previous={"amount_refunded": 1000},
    )
    assert (data(first)["amount"], data(second)["amount"]) == (1000, 500)
    assert first.events[0].subject != second.events[0].subject


def test_a_dispute_needs_to_know_whose_payment_it_was() -> None:
    dispute = fixture("dispute")
    (problem,) = only("charge.dispute.created", dispute).problems
    assert problem.path == "data.object.charge"
    translation = only("charge.dispute.created", {**dispute, "charge": charge(invoice="in_1")})
    assert translation.events[0].customer == "cus_T"
    assert data(translation) == {
        "id": "du_T",
        "amount": 6000,
        "currency": "USD",
        "failure_reason": "fraudulent",
        "invoice": "in_1",
    }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"amount": None, "amount_captured": None}, "amount"),
        ({"amount": "ten", "amount_captured": None}, "amount"),
        ({"currency": None}, "currency"),
        ({"id": None}, "id"),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], path: str) -> None:
    problems = only("charge.succeeded", charge(**changes)).problems
    assert [each.path for each in problems] == [f"data.object.{path}"]
