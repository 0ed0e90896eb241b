"""Money is told once: by the charge, and what is given back by whatever names the customer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.stripe import data, event, fixture, known, only
from tidemill.connectors.base import Translation

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
        "reference": "pi_T2",
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
    told = {"id": "re_T", "amount": 1500, "currency": "USD", "reference": "pi_T2"}
    assert data(by_refund) == told
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


def test_a_refund_given_again_is_another_and_its_twin_is_not() -> None:
    """Up to the same total: what was asked for once is one refund, whenever it is told."""

    def told(request: Any, created: int) -> str:
        said = {"created": created, "request": request, "previous": {"amount_refunded": 0}}
        (made,) = only("charge.refunded", charge(), api_version=BASIL, **said).events
        return made.subject

    first = told({"id": "req_1", "idempotency_key": None}, 1_777_680_000)
    assert told("req_1", 1_777_680_001) == first, "as versions before 2017-05-25 name it"
    assert told({"id": "req_2"}, 1_777_680_000) != first
    alone = told({"id": None}, 1_777_680_000)
    assert told(None, 1_777_680_000) == alone != told(None, 1_777_766_400)


def test_a_credit_note_tells_what_went_back_past_stripe() -> None:
    record = {"payment_record": "pr_1", "refund_group": "rg_1"}
    refunds = [
        {"type": "refund", "refund": "re_T", "amount_refunded": 500},
        {"type": "payment_record_refund", "payment_record_refund": record, "amount_refunded": 300},
    ]
    note = {**fixture("credit_note"), "refunds": refunds, "out_of_band_amount": 200}
    made = only("credit_note.created", note)
    assert made.events[0].type == "payment.refunded"
    assert data(made) == {"id": "cn_T", "amount": 500, "currency": "USD", "invoice": "in_T2"}
    told = only("credit_note.created", {**note, "refunds": refunds[:1], "out_of_band_amount": 0})
    assert told.ignored == "told by its refund, or by an invoice that is paid less"
    voided = only("credit_note.voided", {**note, "status": "void"})
    assert (voided.events[0].type, data(voided)) == ("payment.refund_failed", data(made))


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ({"paid_out_of_band": True}, 6_000),
        ({"paid_out_of_band": False}, None),
        ({"amount_paid_off_stripe": 2_000}, 2_000),
        ({"amount_paid_off_stripe": 0, "paid_out_of_band": True}, None),
        ({}, None),
    ],
)
def test_an_invoice_tells_what_came_past_stripe(said: dict[str, Any], amount: int | None) -> None:
    shown = {**fixture("invoice.new_shape"), "status": "paid", "amount_paid": 6_000, **said}
    made = {each.type: each for each in only("invoice.paid", shown).events}
    assert ("payment.succeeded" in made) is (amount is not None)
    if amount is not None:
        payment = msgspec.json.decode(made["payment.succeeded"].data)
        assert payment["id"] == f"{shown['id']}/paid_otherwise"
        assert (payment["amount"], payment["invoice"]) == (amount, shown["id"])
        assert (payment["method"], payment["currency"]) == ("other", "USD")
    again = only("invoice.updated", shown).events
    assert not [each for each in again if each.type.startswith("payment.")]


def test_a_dispute_needs_to_know_whose_payment_it_was() -> None:
    found = fixture("dispute")
    (problem,) = only("charge.dispute.created", found).problems
    assert problem.path == "data.object.charge"
    translation = only("charge.dispute.created", {**found, "charge": charge(invoice="in_1")})
    assert translation.events[0].customer == "cus_T"
    assert data(translation) == {
        "id": "du_T",
        "amount": 6000,
        "currency": "USD",
        "failure_reason": "fraudulent",
        "invoice": "in_1",
        "reference": "pi_T2",
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


def test_what_belongs_together_shares_the_payment_intent_or_the_charge() -> None:
    before = {"amount_refunded": 0}
    old = {"payment_intent": None}
    for changes, reference in (({}, "pi_T2"), (old, "ch_T2")):
        found = charge(**changes)
        told = [
            only("charge.succeeded", found),
            only("charge.refunded", found, api_version=BASIL, previous=before),
            only("refund.created", {**refund(), **changes}, api_version=ENDIVE),
            only("charge.dispute.created", {**fixture("dispute"), **changes, "charge": found}),
        ]
        assert [data(each)["reference"] for each in told] == [reference] * 4


@pytest.mark.parametrize("kind", ["refund.failed", "refund.updated", "charge.refund.updated"])
@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_came_to_nothing(kind: str, status: str) -> None:
    (made,) = only(kind, refund(status=status), api_version=ENDIVE).events
    assert (made.type, made.customer, made.subject) == ("payment.refund_failed", "cus_T", "re_T")
    assert only(kind, refund(status="pending"), api_version=ENDIVE).ignored
    assert only(kind, refund(status=status, customer=None), api_version=ENDIVE).ignored


def test_an_old_refund_is_of_whoever_paid_the_charge() -> None:
    found = refund(status="failed", customer=None)
    (problem,) = only("charge.refund.updated", found, api_version=BASIL).problems
    assert problem.path == "data.object.charge"
    paid = known(event("charge.succeeded", charge()))
    told = only("charge.refund.updated", found, api_version=BASIL, more=paid)
    assert told.events[0].customer == "cus_T"
    one_off = {**found, "charge": charge(customer=None)}
    assert only("charge.refund.updated", one_off, api_version=BASIL).ignored


def entry(amount: int, fee: int, currency: str = "usd") -> dict[str, Any]:
    return {"object": "balance_transaction", "amount": amount, "fee": fee, "currency": currency}


def dispute(**changes: Any) -> dict[str, Any]:
    return {**fixture("dispute"), "charge": charge(), **changes}


def test_an_inquiry_moves_no_money() -> None:
    for status in ("warning_needs_response", "warning_under_review", "warning_closed", "prevented"):
        assert only("charge.dispute.created", dispute(status=status)).ignored
    (made,) = only("charge.dispute.funds_withdrawn", dispute(status="needs_response")).events
    assert made.type == "payment.disputed"


def test_what_a_dispute_took_and_brought_again() -> None:
    """Its fee, and a part that came again; in another currency only the dispute's amount counts."""
    moved = [entry(-6000, 1500), entry(4000, -1500)]
    taken = data(only("charge.dispute.funds_withdrawn", dispute(balance_transactions=moved)))
    assert (taken["amount"], taken["fee"]) == (6000, 1500)
    back = only("charge.dispute.funds_reinstated", dispute(balance_transactions=moved))
    assert back.events[0].type == "payment.dispute_won"
    assert (data(back)["amount"], data(back)["fee"]) == (4000, -1500)
    foreign = [entry(-5000, 1500, "eur"), entry(5000, 0, "eur")]
    told = data(only("charge.dispute.closed", dispute(status="won", balance_transactions=foreign)))
    assert told["amount"] == 6000
    assert "fee" not in told
    assert only("charge.dispute.closed", dispute(status="lost")).ignored
    assert only("charge.dispute.updated", dispute()).ignored


# --- which invoice it was for ---------------------------------------------------------------------


def links(translation: Translation) -> list[tuple[str, str, str]]:
    """Id, reference and invoice of the allocations among the events."""
    found = [msgspec.json.decode(e.data) for e in translation.events if e.type.startswith("alloc")]
    return [(each["id"], each["reference"], each["invoice"]) for each in found]


def test_an_invoice_payment_says_which_invoice_was_paid_by_what() -> None:
    (found,) = fixture("invoice.new_shape")["payments"]["data"]
    (made,) = only("invoice_payment.paid", found).events
    assert (made.type, made.customer, made.subject) == ("allocation.recorded", "", "inpay_T2")
    told = data(only("invoice_payment.paid", found))
    assert told == {"id": "inpay_T2", "reference": "pi_T2", "invoice": "in_T2"}
    by_charge = {**found, "payment": {"type": "charge", "charge": "ch_1"}}
    assert data(only("invoice_payment.paid", by_charge))["reference"] == "ch_1"
    assert only("invoice_payment.paid", {**found, "payment": None}).ignored


def test_an_invoice_that_shows_its_payments_says_the_same() -> None:
    """Whoever tells it, and however often, it is one event."""
    invoice = fixture("invoice.new_shape")
    (found,) = invoice["payments"]["data"]
    (alone,) = only("invoice_payment.paid", found, livemode=True).events
    for kind, key in (("invoice.paid", "evt_1"), ("invoice.updated", "evt_2")):
        translation = only(kind, invoice, id=key, livemode=True)
        assert links(translation) == [("inpay_T2", "pi_T2", "in_T2")]
        assert translation.events[-1] == alone


def test_an_old_invoice_names_what_paid_it() -> None:
    """Each of its events does; that of its payment is enough."""
    invoice = fixture("invoice.pre_basil")
    key = f"{invoice['id']}/{invoice['payment_intent']}"
    assert links(only("invoice.paid", invoice)) == [(key, invoice["payment_intent"], invoice["id"])]
    assert links(only("invoice.updated", invoice)) == []
    older = {**invoice, "payment_intent": None, "charge": "ch_1"}
    assert links(only("invoice.paid", older)) == [(f"{invoice['id']}/ch_1", "ch_1", invoice["id"])]
