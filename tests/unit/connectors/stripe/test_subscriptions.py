"""A subscription's whole state: statuses, trials, pauses, cancellations, and names of changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe import AT, data, fixture, only, subscription

APRIL, MAY = 1_775_001_600, 1_777_593_600
NOW = "2026-04-20T00:00:00Z"


def state(kind: str = "updated", *, previous: Any = None, **changes: Any) -> dict[str, Any]:
    extra = {} if previous is None else {"previous": previous}
    return data(only(f"customer.subscription.{kind}", subscription(**changes), **extra))


def label(kind: str = "updated", *, previous: Any = None, **changes: Any) -> str:
    extra = {} if previous is None else {"previous": previous}
    (made,) = only(f"customer.subscription.{kind}", subscription(**changes), **extra).events
    return made.type.removeprefix("subscription.")


def paths(**changes: Any) -> list[str]:
    found = only("customer.subscription.updated", subscription(**changes))
    assert not found.events
    return [each.path.removeprefix("data.object.") for each in found.problems]


@pytest.mark.parametrize("shape", ["subscription.new_shape", "subscription.pre_basil"])
def test_both_shapes_are_one_state(shape: str) -> None:
    assert data(only("customer.subscription.updated", fixture(shape))) == {
        "id": "sub_T",
        "status": "active",
        "currency": "USD",
        "items": [
            {
                "id": "si_1",
                "plan": "price_seat_usd_month",
                "product": "prod_A",
                "quantity": "1",
                "unit_amount": "1500",
                "interval": "month",
            }
        ],
        "discounts": [
            {
                "id": "di_1",
                "coupon": "P20F",
                "percent_off": "20.0",
                "duration": "forever",
                "starts_at": "2026-04-01T00:00:00Z",
            }
        ],
        "started_at": "2026-04-01T00:00:00Z",
        "current_period_start": "2026-04-01T00:00:00Z",
        "current_period_end": "2026-05-01T00:00:00Z",
        "collection_method": "charge_automatically",
    }


@pytest.mark.parametrize(
    ("status", "canonical"),
    [
        ("incomplete", "incomplete"),
        ("incomplete_expired", "canceled"),
        ("trialing", "trialing"),
        ("active", "active"),
        ("past_due", "past_due"),
        ("unpaid", "unpaid"),
        ("paused", "paused"),
        ("canceled", "canceled"),
    ],
)
def test_every_status(status: str, canonical: str) -> None:
    assert state(status=status)["status"] == canonical


def test_a_status_nobody_knows_keeps_the_event_aside() -> None:
    assert paths(status="hibernating") == ["status"]


def test_many_prices_at_once_and_all_their_problems() -> None:
    found = fixture("subscription.new_shape")["items"]["data"][0]
    broken = [{**found, "quantity": -1}, {**found, "price": {"id": "price_x"}}]
    assert paths(items={"data": broken}, status="?") == [
        "status",
        "items.data[0].quantity",
        "items.data[1].price.interval",
        "items.data[1].price.unit_amount",
    ]


def test_items_beyond_those_shown_keep_the_event_aside() -> None:
    items = {**fixture("subscription.new_shape")["items"], "has_more": True}
    assert paths(items=items) == ["items"]


@pytest.mark.parametrize(("quantity", "expected"), [(None, "1"), (0, "0"), (7, "7")])
def test_a_licensed_quantity_that_is_absent_is_one(quantity: int | None, expected: str) -> None:
    item = {**fixture("subscription.new_shape")["items"]["data"][0], "quantity": quantity}
    assert state(items={"data": [item]})["items"][0]["quantity"] == expected


def test_a_metered_quantity_is_never_one() -> None:
    item = fixture("subscription.new_shape")["items"]["data"][0]
    metered = {"id": "si_2", "price": fixture("prices")["metered"]}
    found = state(items={"data": [item, metered]})["items"][1]
    assert (found["quantity"], found["usage_type"]) == ("0", "metered")


def test_the_currency_of_versions_that_did_not_say() -> None:
    assert state(currency=None)["currency"] == "USD"


def test_accounts_that_act_as_customers() -> None:
    found = subscription(customer=None, customer_account="acct_1")
    (made,) = only("customer.subscription.updated", found).events
    assert made.customer == "acct_1"
    assert paths(customer=None) == ["customer"]


# --- tax --------------------------------------------------------------------------------------


def taxed(**changes: Any) -> dict[str, Any]:
    item = {**fixture("subscription.new_shape")["items"]["data"][0]}
    item["price"] = fixture("prices")["eur_incl"]
    more = {"items": {"data": [item]}, "currency": "eur", "discounts": [], **changes}
    found: dict[str, Any] = state(**more)["items"][0]
    return found


def test_tax_inside_the_price() -> None:
    vat = {"id": "txr_1", "percentage": 19.0, "inclusive": True}
    assert taxed(default_tax_rates=[vat])["tax_inclusive_amount"] == "190"
    uneven = taxed(default_tax_rates=[{**vat, "percentage": 20}])["tax_inclusive_amount"]
    assert uneven == "198.333333333333"


def test_tax_on_top_of_the_price_is_nothing_to_strip() -> None:
    sales_tax = {"id": "txr_1", "percentage": 19.0, "inclusive": False}
    assert "tax_inclusive_amount" not in taxed(default_tax_rates=[sales_tax])
    assert "tax_inclusive_amount" not in taxed()


def test_automatic_tax_is_told_by_the_latest_invoice() -> None:
    detail = {"subscription_item": "si_1", "subscription": "sub_T"}
    parent = {"type": "subscription_item_details", "subscription_item_details": detail}
    taxes = [{"amount": 190, "tax_behavior": "inclusive"}]
    line = {"id": "il_1", "amount": 1190, "parent": parent, "taxes": taxes}
    invoice = {"id": "in_1", "lines": {"data": [line]}}
    found = taxed(automatic_tax={"enabled": True}, latest_invoice=invoice)
    assert found["tax_inclusive_amount"] == "190"


def test_automatic_tax_inside_a_price_is_never_guessed() -> None:
    item = {**fixture("subscription.new_shape")["items"]["data"][0]}
    item["price"] = fixture("prices")["eur_incl"]
    found = paths(
        items={"data": [item]}, currency="eur", discounts=[], automatic_tax={"enabled": True}
    )
    assert found == ["automatic_tax"]


# --- trials, pauses, payment failures -----------------------------------------------------------


def test_trial() -> None:
    found = state("created", status="trialing", trial_start=APRIL, trial_end=MAY)
    assert (found["trial_start"], found["trial_end"]) == (
        "2026-04-01T00:00:00Z",
        "2026-05-01T00:00:00Z",
    )


def test_paused_collection_leaves_the_status_and_dates_the_pause() -> None:
    paused = {"behavior": "void", "resumes_at": None}
    found = state(pause_collection=paused, previous={"pause_collection": None})
    assert (found["status"], found["paused_at"]) == ("active", NOW)
    assert "paused_at" not in state(previous={"pause_collection": paused})


def test_a_paused_subscription_is_dated_by_stripe() -> None:
    paused = {"type": "subscription", "transitioned_at": APRIL}
    found = state(status="paused", status_details={"paused": paused})
    assert (found["status"], found["paused_at"]) == ("paused", "2026-04-01T00:00:00Z")
    assert state(status="paused")["paused_at"] == NOW


def test_past_due_since_the_change_itself() -> None:
    assert state(status="past_due", previous={"status": "active"})["past_due_since"] == NOW


def test_past_due_in_a_later_state_dates_from_the_unpaid_period() -> None:
    found = state(status="past_due", previous={"metadata": {}})
    assert found["past_due_since"] == "2026-04-01T00:00:00Z"
    assert "past_due_since" not in state(status="active", previous={"status": "past_due"})


def test_an_invoice_that_was_sent_is_past_due_from_its_due_day() -> None:
    found = state(status="past_due", days_until_due=10, collection_method="send_invoice")
    assert found["past_due_since"] == "2026-04-11T00:00:00Z"
    found = state(status="past_due", days_until_due=30)
    assert found["past_due_since"] == NOW, "never later than the state that says so"


# --- the end ----------------------------------------------------------------------------------


def test_a_scheduled_cancellation() -> None:
    details = {"reason": "cancellation_requested", "feedback": "unused"}
    found = state(
        cancel_at=MAY, cancel_at_period_end=True, canceled_at=AT, cancellation_details=details
    )
    assert found["cancel_at"] == "2026-05-01T00:00:00Z"
    assert found["cancel_at_period_end"] is True
    assert found["canceled_at"] == NOW
    assert (found["cancel_reason"], found["cancel_feedback"]) == (
        "cancellation_requested",
        "unused",
    )
    assert found["voluntary"] is True
    assert "ended_at" not in found


@pytest.mark.parametrize(
    ("reason", "voluntary"),
    [
        ("cancellation_requested", True),
        ("payment_failed", False),
        ("payment_disputed", False),
        ("canceled_by_retention_policy", None),
        (None, None),
    ],
)
def test_who_ended_it(reason: str | None, voluntary: bool | None) -> None:  # noqa: FBT001 - a parameter of the case
    found = state(
        "deleted", status="canceled", ended_at=AT, cancellation_details={"reason": reason}
    )
    assert found["ended_at"] == NOW
    assert found.get("voluntary") is voluntary


def test_unpaid_is_not_the_customers_wish() -> None:
    assert state(status="unpaid")["voluntary"] is False


# --- labels -----------------------------------------------------------------------------------

VOID = {"behavior": "void"}
ITEMS = fixture("subscription.new_shape")["items"]
FEWER = {"data": [{**ITEMS["data"][0], "quantity": 9}]}


@pytest.mark.parametrize(
    ("expected", "kind", "previous", "changes"),
    [
        ("created", "created", None, {}),
        ("trial_started", "created", None, {"status": "trialing"}),
        ("activated", "updated", {"status": "incomplete"}, {}),
        ("trial_converted", "updated", {"status": "trialing"}, {}),
        ("recovered", "updated", {"status": "past_due"}, {}),
        ("reactivated", "updated", {"status": "unpaid"}, {}),
        ("resumed", "updated", {"status": "paused"}, {}),
        ("past_due", "updated", {"status": "active"}, {"status": "past_due"}),
        ("churned", "updated", {"status": "past_due"}, {"status": "unpaid"}),
        ("churned", "updated", {"status": "incomplete"}, {"status": "incomplete_expired"}),
        ("paused", "updated", {"status": "active"}, {"status": "paused"}),
        (
            "paused",
            "updated",
            {"pause_collection": None},
            {"pause_collection": VOID},
        ),
        ("resumed", "updated", {"pause_collection": VOID}, {}),
        ("paused", "paused", None, {"status": "paused"}),
        ("resumed", "resumed", None, {}),
        ("canceled", "updated", {"cancel_at_period_end": False}, {"cancel_at_period_end": True}),
        ("canceled", "updated", {"cancel_at": None}, {"cancel_at": MAY}),
        ("uncanceled", "updated", {"cancel_at": MAY}, {"cancel_at": None}),
        (
            "trial_extended",
            "updated",
            {"trial_end": APRIL},
            {"status": "trialing", "trial_end": MAY},
        ),
        ("changed", "updated", {"items": FEWER}, {}),
        ("changed", "updated", {"discounts": []}, {}),
        ("updated", "updated", {"items": ITEMS}, {}),
        ("updated", "updated", {"metadata": {"a": "b"}}, {}),
        ("updated", "updated", None, {}),
        ("churned", "deleted", None, {"status": "canceled", "ended_at": AT}),
        (
            "trial_expired",
            "deleted",
            None,
            {"status": "canceled", "ended_at": APRIL, "trial_end": APRIL},
        ),
    ],
)
def test_label(expected: str, kind: str, previous: Any, changes: dict[str, Any]) -> None:
    assert label(kind, previous=previous, **changes) == expected


@pytest.mark.parametrize(
    "previous", [5, [], {"items": 5}, {"items": {"data": [5]}}, {"status": {}}]
)
def test_strange_previous_attributes_refuse_nothing(previous: Any) -> None:
    assert label(previous=previous)
