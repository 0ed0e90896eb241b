"""Stripe events through the real path: connector, log, tables, ledger; and what comes out of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from tests.support.ledger import derived_rows, native_level
from tests.support.stripe import event, fixture
from tests.support.stripe_value import expected_value, monthly_value
from tidemill.bus import PostgresBus
from tidemill.connectors.files import read_stripe_events
from tidemill.connectors.stripe.connector import Stripe
from tidemill.database import Database
from tidemill.demo import fx_rates, generate
from tidemill.events import Event
from tidemill.ingest import Ingested, ingest
from tidemill.intake import Ignored, Rejected
from tidemill.policy import Policy
from tidemill.state import Books

APRIL = 1_775_001_600
END = date(2026, 6, 30)
STORY = fixture("events.subscription_story")


def items(raw: Iterable[dict[str, Any]]) -> Iterator[Event | Rejected | Ignored]:
    for each in Stripe().translate_many(raw, source="stripe", test_mode=True):
        yield from each.events
        if each.problems:
            yield Rejected("here", "stripe", "stripe-events", "", each.problems)
        elif each.ignored is not None:
            yield Ignored("here", "", each.ignored)


def take_in(database: Database, raw: Iterable[dict[str, Any]]) -> Ingested:
    return ingest(database, PostgresBus(database), items(raw), Books(base_currency="USD"))


def test_the_39_cases_come_out_of_the_ledger(database: Database) -> None:
    cases = fixture("mrr_cases")
    day = datetime.fromisoformat(cases["config"]["as_of"]).date()
    raw = []
    for number, case in enumerate(cases["cases"]):
        found = {**case["subscription"], "id": f"sub_{number}", "customer": f"cus_{number}"}
        kind = "customer.subscription.updated"
        raw.append(event(kind, found, id=f"evt_{number}", created=APRIL))
    done = take_in(database, raw)
    assert (done.applied, done.quarantined) == (38, 1)

    # The file lets a subscription count whose collection is paused.
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default", {"paused": "active"}))
    level: dict[str, Fraction] = defaultdict(Fraction)
    for row in rows:
        if row.day <= day:
            level[row.subscription] += Fraction(row.amount)
    for number, case in enumerate(cases["cases"]):
        if case["expected"]["mrr_minor_exact"] is not None:
            difference = level[f"sub_{number}"] - expected_value(case)
            assert abs(difference) < Fraction(1, 10**6), case["name"]


@pytest.mark.parametrize("order", STORY["delivery_orders"])
def test_the_story_in_every_order_of_delivery(database: Database, order: list[str]) -> None:
    events = {each["id"]: each for each in STORY["events"]}
    take_in(database, [events[key] for key in order])
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default"))
    levels = [native_level(rows, date(2026, 4, day)).get("USD", 0) for day in (1, 16, 17, 30)]
    assert levels == [1500, 4500, 4500, 4500]
    assert native_level(rows, date(2026, 5, 1)) == {"USD": 0}
    assert [row.type for row in rows] == ["new", "expansion", "churn"]
    assert rows[-1].churn_reason == "voluntary"


def test_one_event_after_the_other_gives_the_same(database: Database) -> None:
    """As webhooks do it: each event is translated and taken in on its own."""
    for each in reversed(STORY["events"]):
        take_in(database, [each])
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default"))
    assert [(row.type, int(row.amount)) for row in rows] == [
        ("new", 1500),
        ("expansion", 3000),
        ("churn", -4500),
    ]


def test_a_conversion_in_the_second_of_its_announcement(database: Database) -> None:
    take_in(database, fixture("events.trial_same_second")["events"])
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default"))
    (row,) = rows
    assert (row.day, row.type, int(row.amount)) == (date(2026, 4, 16), "new", 1500)


def test_the_demo_is_worth_what_its_subscriptions_are(database: Database) -> None:
    """At each month's end: the ledger's level is the sum of what each subscription is worth."""
    raw = list(generate(customers=60, months=12, seed=5, end=END))
    done = take_in(database, raw)
    assert done.quarantined == 0
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default"))
    states = [item for item in items(raw) if isinstance(item, Event)]
    states = [each for each in states if each.type.startswith("subscription.")]
    states.sort(key=lambda each: (each.occurred_at, each.sequence))
    for month in range(1, 7):
        day = date(2026, month + 1, 1) - timedelta(days=1)
        close = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
        now: dict[str, dict[str, Any]] = {}
        for each in states:
            if each.occurred_at < close:
                now[each.subject] = json.loads(each.data)
        level: dict[str, Fraction] = defaultdict(Fraction)
        for state in now.values():
            if "paused_at" not in state:
                level[state["currency"]] += monthly_value(state, close)
        found = native_level(rows, day)
        for currency, amount in level.items():
            assert abs(Fraction(found[currency]) - amount) < Fraction(1, 10**6), (day, currency)


def test_a_file_is_taken_in_twice_without_a_trace(database: Database, tmp_path: Any) -> None:
    path = tmp_path / "events.jsonl"
    raw = list(generate(customers=5, months=3, seed=5, end=END))
    path.write_text("\n".join(json.dumps(each) for each in raw))
    counts = []
    for _ in range(2):
        found = read_stripe_events(path, source="stripe")
        counts.append(ingest(database, PostgresBus(database), found, Books(base_currency="USD")))
    first, second = counts
    assert first.read == second.read == len(raw)
    assert (second.applied, second.duplicate) == (0, first.applied)


def test_rates_of_the_demo_are_enough(database: Database) -> None:
    rates = fx_rates(months=12, seed=5, end=END)
    done = ingest(database, PostgresBus(database), rates, Books(base_currency="USD"))
    assert done.applied == 2 * ((END - date(2025, 6, 30)).days + 1)
