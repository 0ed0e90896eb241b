"""Events of one second get the order in which they happened, whatever the order they came in."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise, permutations
from typing import Any

import pytest

from tests.support.stripe import event, fixture, subscription
from tidemill.connectors.stripe.backfill import event_units
from tidemill.connectors.stripe.connector import Stripe
from tidemill.connectors.stripe.meanings import EVENT_TYPES
from tidemill.connectors.stripe.order import chained, rank, ties


def update(key: str, quantity: int, before: int | None) -> dict[str, Any]:
    previous = {} if before is None else {"previous": {"quantity": before}}
    return event(
        "customer.subscription.updated", {"id": "s", "quantity": quantity}, id=key, **previous
    )


def keys(events: list[Any]) -> list[str]:
    return [each["id"] for each in events]


def test_ranks_of_subscription_events() -> None:
    lifecycle = [
        ("created", "incomplete"),
        ("paused", "paused"),
        ("updated", "incomplete"),
        ("updated", "active"),
        ("updated", "canceled"),
        ("deleted", "canceled"),
    ]
    ranks = [rank(f"customer.subscription.{verb}", status) for verb, status in lifecycle]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize("status", ["released", "canceled", "completed"])
def test_a_schedule_is_over_after_all_that_its_second_says(status: str) -> None:
    lifecycle = [("created", "active"), ("updated", "active"), (status, status)]
    ranks = [rank(f"subscription_schedule.{verb}", shown) for verb, shown in lifecycle]
    assert ranks == sorted(set(ranks))


def test_every_type_of_event_that_is_read_is_asked_for() -> None:
    asked = [str(each.params["type"]) for each in event_units(0)]
    missing = [k for k in EVENT_TYPES if not any(fnmatchcase(k, each) for each in asked)]
    assert missing == []


def test_an_invoice_is_where_its_status_says_whatever_the_event() -> None:
    lifecycle = [
        ("created", "draft"),
        ("updated", "draft"),
        ("finalized", "open"),
        ("updated", "open"),
        ("marked_uncollectible", "uncollectible"),
        ("paid", "paid"),
        ("updated", "paid"),
    ]
    ranks = [rank(f"invoice.{verb}", status) for verb, status in lifecycle]
    assert all(one < other for one, other in pairwise(ranks))


@pytest.mark.parametrize("status", [None, 5, [], {}, "?"])
def test_ranks_of_anything(status: object) -> None:
    for kind in ("", "x", "invoice.paid", "customer.subscription.updated"):
        assert rank(kind, status) >= 0


def test_a_chain_is_found_in_any_order() -> None:
    # The ids are against the chain, so that they cannot help.
    events = [update("c", 2, 1), update("b", 3, 2), update("a", 4, 3)]
    for order in permutations(events):
        assert keys(chained(list(order))) == ["c", "b", "a"]


def test_without_a_chain_the_id_decides() -> None:
    events = [update("b", 5, None), update("a", 7, None), update("c", 9, 1)]
    for order in permutations(events):
        assert keys(chained(list(order))) == ["a", "b", "c"]


def test_a_circle_starts_where_the_state_before_says() -> None:
    there, back = update("b", 3, 1), update("a", 1, 3)
    before = event("customer.subscription.created", {"id": "s", "quantity": 1}, id="z")
    for order in permutations([there, back]):
        assert keys(chained(list(order), before)) == ["b", "a"]
        assert keys(chained(list(order))) == ["a", "b"], "nothing tells, so the id does"


def test_nested_attributes_are_compared_where_they_changed() -> None:
    found = {"id": "s", "details": {"reason": "asked", "comment": "x"}}
    first = event(
        "customer.subscription.updated", found, id="b", previous={"details": {"reason": None}}
    )
    second = event(
        "customer.subscription.updated",
        {**found, "details": {"reason": "other", "comment": "x"}},
        id="a",
        previous={"details": {"reason": "asked"}},
    )
    for order in permutations([first, second]):
        assert keys(chained(list(order))) == ["b", "a"]


def test_steps_are_of_one_object_and_second_and_forget_copies() -> None:
    tied = [update("b", 2, 1), update("a", 3, 2)]
    other_second = {**update("x", 4, 3), "created": 1}
    other_account = {**update("y", 4, 3), "account": "acct_1"}
    assert ties([*tied, other_second, other_account, *tied]) == {"a": 1}


STORY = fixture("events.subscription_story")
EVENTS = {each["id"]: each for each in STORY["events"]}


@pytest.mark.parametrize("order", STORY["delivery_orders"])
def test_the_story_comes_out_the_same_in_every_order_of_delivery(order: list[str]) -> None:
    delivered = [EVENTS[key] for key in order]
    found = Stripe().translate_many(delivered, source="stripe")
    made = [one for each in found for one in each.events]
    assert len(made) == len(set(order)), "copies are left out"
    made.sort(key=lambda one: (one.occurred_at, one.sequence))
    expected = Stripe().translate_many(STORY["events"], source="stripe")
    assert made == [one for each in expected for one in each.events]
    assert [one.type.partition(".")[2] for one in made] == [
        "created",
        "activated",
        "changed",
        "canceled",
        "churned",
    ]


def test_a_conversion_in_the_second_of_its_announcement_is_kept() -> None:
    events = fixture("events.trial_same_second")["events"]
    for order in permutations(events):
        found = list(Stripe().translate_many(order, source="stripe"))
        assert sorted(bool(each.ignored) for each in found) == [False, True]
        (made,) = [one for each in found for one in each.events]
        assert made.type == "subscription.trial_converted"


def test_two_updates_in_one_second_both_count_and_in_order() -> None:
    def quantity(key: str, number: int, before: int) -> dict[str, Any]:
        item = fixture("subscription.new_shape")["items"]["data"][0]
        items = {"data": [{**item, "quantity": number}]}
        previous = {"items": {"data": [{**item, "quantity": before}]}}
        found = subscription(items=items)
        return event("customer.subscription.updated", found, id=key, previous=previous)

    events = [quantity("evt_c", 2, 1), quantity("evt_b", 3, 2), quantity("evt_a", 4, 3)]
    results = set()
    for order in permutations(events):
        found = Stripe().translate_many(order, source="stripe")
        made = [one for each in found for one in each.events]
        results.add(tuple(sorted((one.sequence, str(one.id)) for one in made)))
    (result,) = results
    assert [sequence for sequence, _ in result] == [4000, 4001, 4002]
    assert len({key for _, key in result}) == 3
