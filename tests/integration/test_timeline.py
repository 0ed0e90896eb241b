"""A customer's timeline: what was said, what policies make of it and why, to the event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.support.cli import Inside
from tests.support.happenings import at, merged, state
from tests.support.http import serving
from tidemill.bus import PostgresBus
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine, Tidemill, Timeline
from tidemill.errors import UnknownCustomer
from tidemill.events import Event
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.state import Books

PAUSE_KEEPS = Policy.parse("default;paused=contraction")
PATIENT = Policy.parse("default;past_due=after:10;churn_recognition=at_period_end")
HALF = {
    "id": "di", "coupon": "half", "percent_off": "50", "duration": "repeating",
    "starts_at": "2025-01-02T00:00:00Z", "ends_at": "2025-02-02T00:00:00Z",
}  # fmt: skip


def _engine(database: Database, *events: Event) -> MetricsEngine:
    ingest(database, PostgresBus(database), events, Books())
    return MetricsEngine(database, base_currency="USD", as_of=at(200))


def _told(found: Timeline, place: int = 0) -> list[tuple[Any, ...]]:
    """Segments as: start's day of the year, worth, standing, cause."""
    return [
        ((each.starts_at - at(1)).days + 1, int(each.amount_minor), each.standing, each.cause)
        for each in found.lives[place].segments
    ]


def test_a_life_with_its_reasons(database: Database) -> None:
    events = [
        state("a", at(2), data={"discounts": [HALF], "started_at": "2025-01-02T00:00:00Z"}),
        state("a", at(50), "past_due", data={"past_due_since": "2025-02-19T00:00:00Z"}),
        state("a", at(70), "paused"),
        state("a", at(80), "canceled", data={"current_period_end": "2025-04-10T00:00:00Z"}),
    ]
    found = _engine(database, *events).timeline("a", {"default": Policy.of(), "late": PATIENT})
    assert [each.event_id for each in found.versions] == [str(each.id) for each in events]
    assert found.versions[0].discounts[0].percent_off == 50
    assert found.versions[0].items[0].unit_amount == 10_000
    assert _told(found) == [
        (2, 5_000, "counts", "event"),
        (33, 10_000, "counts", "discount_ended"),
        (50, 10_000, "counts", "event"),
        (70, 0, "paused", "event"),
        (80, 0, "status", "event"),
    ]
    assert _told(found, 1)[2:4] == [
        (50, 10_000, "counts", "event"),
        (60, 0, "past_due_timeout", "past_due_timeout"),
    ]
    ends = [each.cause_event_id for each in found.lives[0].segments]
    assert ends == [str(events[number].id) for number in (0, 0, 1, 2, 3)]
    moved = [(each.type, int(each.amount_minor), each.cause) for each in found.lives[0].movements]
    assert moved == [
        ("new", 5_000, "event"),
        ("expansion", 5_000, "discount_ended"),
        ("churn", -10_000, "event"),
    ]


def test_other_reasons(database: Database) -> None:
    """Not begun, ended by its date, paid up after a cancellation, kept while paused."""
    scheduled = {"started_at": "2025-01-10T00:00:00Z", "cancel_at": "2025-03-01T00:00:00Z"}
    paid = {"current_period_end": "2025-02-10T00:00:00Z"}
    engine = _engine(
        database,
        state("a", at(2), data=scheduled),
        state("b", at(2), data=paid),
        state("b", at(20), "canceled", data=paid),
        state("c", at(2)),
        state("c", at(20), "paused"),
    )
    assert _told(engine.timeline("a")) == [
        (2, 0, "not_started", "event"),
        (10, 10_000, "counts", "started"),
        (60, 0, "ended", "cancel_at_reached"),
    ]
    assert _told(engine.timeline("b", {"late": PATIENT}))[1:] == [
        (20, 10_000, "paid_up", "event"),
        (41, 0, "status", "paid_up_date"),
    ]
    kept = engine.timeline("c", {"kept": PAUSE_KEEPS}).lives[0].segments[-1]
    assert (kept.standing, kept.is_kept, kept.amount_minor) == ("paused", True, Decimal(0))


def test_a_company_is_told_whole_and_a_customer_alone(database: Database) -> None:
    engine = _engine(
        database, state("a", at(2)), state("b", at(20)), merged("b", "a", at(40)), state("c", at(3))
    )
    both = {"default": Policy.of(), "apart": Policy.parse("default;identity=per_source")}
    for name in ("a", "b"):
        found = engine.timeline(name, both)
        assert found.customers == ("a", "b")
        assert {each.subscription for each in found.versions} == {"sub_a", "sub_b"}
        assert [each.type for each in found.lives[0].movements] == ["new", "expansion"]
        assert [(each.type, each.subscription) for each in found.lives[1].movements] == [
            ("new", f"sub_{name}")
        ]


def test_a_subscription_that_moved_ends_where_the_other_has_it(database: Database) -> None:
    mine, theirs = (state(name, at(day), subscription="sub") for name, day in (("a", 2), ("b", 20)))
    engine = _engine(database, mine, theirs)
    [segment] = engine.timeline("a").lives[0].segments
    assert segment.ends_at == at(20)
    assert [each.type for each in engine.timeline("a").lives[0].movements] == ["new", "churn"]
    assert [each.customer for each in engine.timeline("b").versions] == ["b"]


def test_as_it_was_known(database: Database) -> None:
    late = state("a", at(20), amount=15_000, recorded_at=at(60))
    engine = _engine(database, state("a", at(2)), late)
    assert len(engine.timeline("a").versions) == 2
    early = engine.timeline("a", known_at=at(30))
    assert len(early.versions) == 1
    assert early.to_dict()["known_at"] == "2025-01-30T00:00:00Z"
    with pytest.raises(UnknownCustomer):
        engine.timeline("nobody")


def test_one_document_everywhere(known: Inside) -> None:
    asked = ("--preset", "default", "--preset", "chartmogul")
    document = known.json("explain", "customer", "bert", *asked)
    assert [each["label"] for each in document["policies"]] == ["default", "chartmogul"]
    params = {"preset": ["default", "chartmogul"]}
    with connect(known.url, read_only=True) as store:
        engine = MetricsEngine(store, base_currency="USD")
        with serving(Tidemill(store, engine)) as client:
            got = client.get("/api/explain/customer/bert", params=params)
            wrong = client.get("/api/explain/customer/bert", params={"at": "2025-01-01"})
            absent = client.get("/api/explain/customer/nobody")
    assert got.json() == document
    assert (wrong.status_code, absent.status_code) == (400, 400)


def test_a_page(known: Inside) -> None:
    page = known.text("explain", "customer", "ada", "--preset", "default", "--preset", "stripe")
    assert page.startswith("Customer ada, under default, stripe: what was said\n")
    assert "pro at $100.00 a month" in page
    [row] = [line.split() for line in page.splitlines() if line.startswith("2025-01-10")]
    assert row[:6] == ["2025-01-10", "sub_ada", "basic", "new", "$50.00", "$50.00"]
    done = known.run("explain", "customer", "nobody")
    assert done.returncode == 2
    assert "unknown_customer" in done.stderr
