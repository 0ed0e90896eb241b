"""Wrong numbers that other systems made of Stripe events, each with the right one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from tests.support.ledger import Row, derived_rows, native_level
from tests.support.stripe import event, fixture, subscription
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.connector import Stripe
from tidemill.database import Database
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.state import Books

Told = Callable[..., list[Row]]

UPDATED = "customer.subscription.updated"
APRIL = 1_775_001_600
DAY = 86_400


def at(day: int, second: int = 0) -> int:
    """Noon of a day of April 2026, in Unix seconds."""
    return APRIL + (day - 1) * DAY + DAY // 2 + second


def priced(amount: int, quantity: int = 1) -> dict[str, Any]:
    """The items of a subscription at a price a month."""
    item = fixture("subscription.new_shape")["items"]["data"][0]
    price = {**item["price"], "unit_amount": amount, "unit_amount_decimal": str(amount)}
    return {"object": "list", "data": [{**item, "price": price, "quantity": quantity}]}


def change(key: str, when: int, *, previous: Any = None, **changes: Any) -> dict[str, Any]:
    extra = {} if previous is None else {"previous": previous}
    found = subscription(**{"discounts": [], "items": priced(10_000), **changes})
    return event(changes.pop("kind", UPDATED), found, id=key, created=when, **extra)


@pytest.fixture
def told(database: Database) -> Told:
    """Takes events in, one after the other, and gives the ledger."""

    def take_in(*events: dict[str, Any], **knobs: str) -> list[Row]:
        bus, books = PostgresBus(database), Books(base_currency="USD")
        for translation in Stripe().translate_many(events, source="stripe"):
            assert not translation.problems
            ingest(database, bus, translation.events, books)
        with database.connect() as connection:
            return derived_rows(connection, Policy.of("default", knobs))

    return take_in


def level(rows: list[Row], day: int) -> int:
    return int(native_level(rows, date(2026, 4, day)).get("USD", 0))


def test_t13_paused_collection_moves_both_ways_or_not_at_all(told: Told) -> None:
    paused = {"behavior": "void", "resumes_at": None}
    events = [
        change("evt_1", at(1)),
        change("evt_2", at(5), pause_collection=paused, previous={"pause_collection": None}),
        change("evt_3", at(9), previous={"pause_collection": paused}),
    ]
    rows = told(*events)
    assert [(row.type, int(row.amount)) for row in rows] == [
        ("new", 10_000),
        ("churn", -10_000),
        ("reactivation", 10_000),
    ]
    rows = told(paused="active")
    assert [(row.type, int(row.amount)) for row in rows] == [("new", 10_000)]


def test_t15_prices_are_resolved_and_no_quantity_is_not_one(told: Told) -> None:
    def item(key: str, quantity: int) -> dict[str, Any]:
        return {"id": f"si_{key}", "quantity": quantity, "price": fixture("prices")[key]}

    for number, (key, quantity, amount) in enumerate(
        [("graduated", 25, 27_000), ("decimal", 100_000, 35_000), ("seat_usd_month", 0, 0)]
    ):
        items = {"data": [item(key, quantity)]}
        rows = told(change(f"evt_{number}", at(1 + number), items=items))
        assert level(rows, 1 + number) == amount


def test_t16_a_second_recovery_is_not_the_first(told: Told) -> None:
    events = [change("evt_0", at(1))]
    for turn in range(2):
        gone = {"status": "unpaid", "previous": {"status": "active"}}
        events.append(change(f"evt_{turn}_gone", at(5 + 10 * turn), **gone))
        events.append(change(f"evt_{turn}_back", at(8 + 10 * turn), previous={"status": "unpaid"}))
    rows = told(*events)
    assert [level(rows, day) for day in (1, 5, 8, 15, 18)] == [10_000, 0, 10_000, 0, 10_000]


def test_t17_two_changes_in_one_second_are_two(told: Told) -> None:
    # The ids are against the order, and so is the order of arrival.
    events = [
        change("evt_c", at(1), items=priced(10_000)),
        change("evt_b", at(2), items=priced(20_000), previous={"items": priced(10_000)}),
        change("evt_a", at(2), items=priced(50_000), previous={"items": priced(20_000)}),
    ]
    rows = told(*reversed(events))
    assert level(rows, 2) == 50_000
    assert sum(int(row.amount) for row in rows) == 50_000


@pytest.mark.parametrize(("status", "amount"), [("incomplete", 0), ("past_due", 10_000)])
def test_t18_created_in_any_status(told: Told, status: str, amount: int) -> None:
    raw = change("evt_1", at(1), status=status)
    assert level(told({**raw, "type": "customer.subscription.created"}), 1) == amount


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (3, 0, 2, 1)])
def test_t34_a_burst_with_equal_timestamps_ends_in_the_end(
    told: Told, order: tuple[int, ...]
) -> None:
    ended = {"status": "canceled", "ended_at": at(1), "canceled_at": at(1)}
    burst = [
        {**change("evt_4", at(1), status="incomplete"), "type": "customer.subscription.created"},
        change("evt_3", at(1), previous={"status": "incomplete"}),
        change("evt_2", at(1), items=priced(20_000), previous={"items": priced(10_000)}),
        {**change("evt_1", at(1), **ended), "type": "customer.subscription.deleted"},
    ]
    assert level(told(*(burst[place] for place in order)), 1) == 0


def test_t36_a_price_raised_twice_moves_on_the_days_it_was_raised(told: Told) -> None:
    rows = told(
        change("evt_1", at(1)),
        change("evt_2", at(10), items=priced(12_000), previous={"items": priced(10_000)}),
        change("evt_3", at(20), items=priced(15_000), previous={"items": priced(12_000)}),
    )
    assert [(row.day.day, int(row.amount)) for row in rows] == [
        (1, 10_000),
        (10, 2_000),
        (20, 3_000),
    ]


def test_t39_a_deleted_customer_keeps_its_history(told: Told) -> None:
    stub = event("customer.deleted", {"id": "cus_T", "deleted": True}, id="evt_9", created=at(9))
    rows = told(change("evt_1", at(1)), stub)
    assert level(rows, 9) == 10_000
