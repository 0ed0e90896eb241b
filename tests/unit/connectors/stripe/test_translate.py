"""The envelope: identity, test mode, what is ignored and why, and what is kept aside."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe import AT, data, event, fixture, known, only, subscription
from tidemill.connectors.of_events import CONNECTORS
from tidemill.connectors.stripe.connector import Stripe
from tidemill.connectors.stripe.translate import Setting, translate

UPDATED = "customer.subscription.updated"


def made(raw: dict[str, Any], *, source: str = "stripe", test_mode: bool = False) -> Any:
    translation = Stripe().translate(raw, source=source, test_mode=test_mode)
    (one,) = translation.events
    return one


def test_the_connector_is_listed() -> None:
    assert [each.name for each in CONNECTORS] == ["stripe"]


def test_envelope() -> None:
    one = made(event(UPDATED, subscription()), source="eu")
    assert one.source == "eu"
    assert one.customer == "cus_T"
    assert one.subject == "sub_T"
    assert one.occurred_at.timestamp() == AT
    assert one.recorded_at is None


def test_identity_is_of_source_account_and_event() -> None:
    raw = event(UPDATED, subscription())
    same = made(raw)
    assert made(raw).id == same.id
    others = [
        made(raw, source="other"),
        made({**raw, "id": "evt_2"}),
        made({**raw, "account": "acct_1"}),
    ]
    assert len({same.id, *(one.id for one in others)}) == 4


def test_identity_does_not_depend_on_what_is_read_with_it() -> None:
    """A webhook and a file that holds its neighbours too must agree that it is the same event."""
    first, second = (event(UPDATED, subscription(), id=key) for key in ("evt_1", "evt_2"))
    alone = {made(first).id, made(second).id}
    found = Stripe().translate_many([first, second], source="stripe")
    assert {one.id for each in found for one in each.events} == alone


def test_the_same_change_twice_is_two_events() -> None:
    """A second recovery is not the first (T16, T35)."""
    back = {"previous": {"status": "past_due"}}
    first = made(event(UPDATED, subscription(), id="evt_1", **back))
    second = made(event(UPDATED, subscription(), id="evt_2", created=AT + 60, **back))
    assert first.type == second.type == "subscription.recovered"
    assert first.id != second.id


@pytest.mark.parametrize("test_mode", [False, True])
def test_test_mode_is_kept_apart_unless_it_is_the_books(test_mode: bool) -> None:  # noqa: FBT001 - a parameter of the case
    live = event(UPDATED, subscription())
    test = {**live, "livemode": False}
    simulated = event(UPDATED, subscription(test_clock="clock_1"))
    assert made(live, test_mode=test_mode).livemode is True
    assert made(test, test_mode=test_mode).livemode is test_mode
    assert made(simulated, test_mode=test_mode).livemode is test_mode


def test_taken_for_the_books_it_is_another_event_than_kept_apart() -> None:
    """So that importing a sandbox again with --test-mode is not mistaken for a copy."""
    test = {**event(UPDATED, subscription()), "livemode": False}
    assert made(test).id != made(test, test_mode=True).id


def test_livemode_of_the_object_when_the_event_does_not_say() -> None:
    raw = event(UPDATED, subscription(livemode=False))
    del raw["livemode"]
    assert made(raw).livemode is False


def test_thin_events_are_recognised() -> None:
    for raw in fixture("event.thin_v1_subscription_updated").values():
        translation = Stripe().translate(raw, source="stripe")
        assert "thin event" in str(translation.ignored)
        assert not translation.problems


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("account.updated", "not about subscriptions"),
        ("a.type.nobody.knows", "not about subscriptions"),
        ("customer.subscription.trial_will_end", "announcement"),
        ("customer.discount.created", "told by the subscription"),
        ("subscription_schedule.expiring", "announcement"),
        ("credit_note.updated", "only what is written on it can change"),
        ("refund.updated", "under way, or has arrived"),
        ("charge.dispute.closed", "brought nothing back"),
        ("charge.dispute.updated", "an answer to the bank"),
    ],
)
def test_what_is_not_read_says_why(kind: str, reason: str) -> None:
    translation = only(kind, {"id": "x"})
    assert reason in str(translation.ignored)
    assert not translation.events
    assert not translation.problems


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"id": None}, "id"),
        ({"created": None}, "created"),
        ({"created": "now"}, "created"),
        ({"created": 12}, "created"),
        ({"type": None}, "type"),
        ({"data": None}, "data.object"),
        ({"data": {"object": None}}, "data.object"),
        ({"data": {"object": 5}}, "data.object"),
        ({"livemode": "yes"}, "livemode"),
    ],
)
def test_an_envelope_that_cannot_be(changes: dict[str, Any], path: str) -> None:
    raw = {**event(UPDATED, subscription()), **changes}
    translation = Stripe().translate(raw, source="stripe")
    assert path in [each.path for each in translation.problems]
    assert not translation.events


def test_what_the_contract_refuses_is_a_problem_too() -> None:
    translation = only(UPDATED, subscription(id="s" * 300))
    assert [each.path for each in translation.problems] == ["data.id"]


def test_customers() -> None:
    found = {
        "id": "cus_1",
        "name": "Acme",
        "email": "a@example.org",
        "created": AT,
        "currency": "eur",
        "address": {"country": "de"},
        "metadata": {"channel": "partner", "": "x"},
    }
    translation = only("customer.created", found)
    assert translation.events[0].customer == "cus_1"
    assert data(translation) == {
        "id": "cus_1",
        "name": "Acme",
        "email": "a@example.org",
        "country": "DE",
        "currency": "EUR",
        "created_at": "2026-04-20T00:00:00Z",
        "attributes": {"channel": "partner"},
    }


@pytest.mark.parametrize(
    ("found", "country"),
    [
        ({"address": {"country": "Germany"}}, None),
        ({"address": None, "shipping": {"address": {"country": "FR"}}}, "FR"),
        ({}, None),
    ],
)
def test_country(found: dict[str, Any], country: str | None) -> None:
    assert data(only("customer.updated", {"id": "cus_1", **found})).get("country") == country


def test_a_deleted_customer_may_be_a_stub() -> None:
    stub = {"id": "cus_1", "object": "customer", "deleted": True}
    translation = only("customer.deleted", stub)
    assert (translation.events[0].type, data(translation)) == ("customer.deleted", {"id": "cus_1"})


def test_products() -> None:
    translation = only("product.updated", {"id": "prod_1", "name": "Team", "active": False})
    assert translation.events[0].customer == ""
    assert data(translation) == {"id": "prod_1", "name": "Team", "active": False}


@pytest.mark.parametrize(
    ("name", "model", "unit"),
    [
        ("seat_usd_month", "flat", "1500"),
        ("graduated", "tiered", "1000"),
        ("volume", "volume", "1000"),
        ("package_up", "package", "5000"),
        ("metered", "usage", "10"),
        ("graduated_unexpanded", "tiered", "0"),
        ("isk", "flat", "1500"),
    ],
)
def test_prices_become_plans(name: str, model: str, unit: str) -> None:
    translation = only("price.created", fixture("prices")[name])
    plan = data(translation)
    assert translation.events[0].type == "plan.created"
    assert (plan["pricing_model"], plan["unit_amount"]) == (model, unit)


def test_prices_that_do_not_recur_are_no_plans() -> None:
    once = {**fixture("prices")["free"], "type": "one_time", "recurring": None}
    assert only("price.created", once).ignored


def test_the_old_plan_event() -> None:
    plan = data(only("plan.created", fixture("subscription.pre_basil")["plan"]))
    assert (plan["id"], plan["unit_amount"], plan["interval"]) == (
        "price_seat_usd_month",
        "1500",
        "month",
    )


def test_what_is_known_never_raises() -> None:
    strange: list[dict[str, Any]] = [
        {},
        {"type": 5},
        {"type": "coupon.created"},
        {"type": "coupon.created", "data": 5},
        {"type": "coupon.created", "data": {"object": {"id": 5}}},
        {"type": "price.created", "data": {"object": {"id": "p"}}, "created": "x"},
    ]
    assert known(*strange).prices == {"p": {"id": "p"}}


def test_a_status_nobody_knows_is_kept_aside_with_its_word() -> None:
    translation = only(UPDATED, subscription(status="hibernating"))
    assert not translation.events
    assert [each.path for each in translation.problems] == ["data.object.status"]
    assert "hibernating" in translation.problems[0].problem


def test_read_from_a_connected_account_it_is_the_same_event() -> None:
    """A webhook names the account; what is read from the account's own lists does not."""
    found = fixture("charge")
    (delivered,) = only("charge.succeeded", found, account="acct_1").events
    (read,) = translate(event("charge.succeeded", found), Setting("stripe:acct_1")).events
    assert read == delivered
    assert read.source == "stripe:acct_1"
