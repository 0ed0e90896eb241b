"""What was restated between two knowledge dates, by how much, and because of which late events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.support.happenings import at, known_as, merged, rated, state
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Restatement
from tidemill.errors import InvalidQuery, UnknownMetric
from tidemill.events import Event
from tidemill.ingest import ingest
from tidemill.metrics.spec import QuerySpec
from tidemill.state import Books

BETWEEN = ("2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z")
LATE = at(75)  # 16 March
YEAR = {"start": "2025-01-01", "end": "2025-02-28"}


def _engine(database: Database, *events: Event) -> MetricsEngine:
    ingest(database, PostgresBus(database), events, Books())
    return MetricsEngine(database, base_currency="USD", as_of=at(100))


def _diff(engine: MetricsEngine, question: str = "waterfall", **more: Any) -> Restatement:
    days: dict[str, Any] = {"at": "2025-02-28"} if question == "current" else dict(YEAR)
    return engine.diff("mrr", question, known_at=BETWEEN, **days, **more)


def _figures(found: Restatement) -> list[tuple[Any, ...]]:
    return [
        (*(str(value) for value in each.key.values()), each.column.name, each.change)
        for each in found.figures
    ]


def test_a_late_upgrade_restates_its_month(database: Database) -> None:
    late = state("a", at(40), amount=15_000, recorded_at=LATE)
    engine = _engine(database, state("a", at(2)), state("b", at(3)), late)
    found = _diff(engine)
    assert _figures(found) == [
        ("2025-02-01", "expansion", 5_000),
        ("2025-02-01", "closing", 5_000),
    ]
    [movement] = found.movements
    assert (movement.what, movement.row["type"]) == ("added", "expansion")
    assert movement.because == str(late.id)
    [event] = found.events
    assert (event.id, event.customer, event.amount) == (str(late.id), "a", Decimal(5_000))
    assert (event.occurred_at, event.recorded_at) == (at(40), LATE)


def test_a_late_event_answers_for_what_it_does_to_others(database: Database) -> None:
    """The upgrade to 150 was one by 50; after the late one to 120 it is one by 30."""
    late = state("a", at(40), amount=12_000, recorded_at=LATE)
    engine = _engine(database, state("a", at(2)), state("a", at(50), amount=15_000), late)
    found = _diff(engine, "net_new", spec=QuerySpec(["customer"]))
    assert found.figures == ()  # 20 + 30 in the same month
    assert [(each.what, each.row["amount"]) for each in found.movements] == [
        ("added", 2_000),
        ("added", 3_000),
        ("removed", 5_000),
    ]
    assert {each.because for each in found.movements} == {str(late.id)}
    assert [each.amount for each in found.events] == [0]


def test_what_was_recorded_before_or_after_is_no_news(database: Database) -> None:
    events = [state(name, at(2), recorded_at=at(day)) for name, day in (("a", 2), ("b", 95))]
    found = _diff(_engine(database, *events))
    assert (found.figures, found.movements, found.events) == ((), (), ())


def test_a_corrected_rate(database: Database) -> None:
    again = rated("2025-02-01", "1.5", at(32), recorded_at=LATE, nickname="again")
    unused = rated("2025-03-05", "1.7", at(64), recorded_at=LATE)
    euros = state("a", at(2), data={"currency": "eur"})
    rates = [rated("2025-01-01", "1.1", at(1)), rated("2025-02-01", "1.2", at(32))]
    found = _diff(_engine(database, euros, *rates, again, unused))
    assert _figures(found) == [("2025-02-01", "fx", 3_000), ("2025-02-01", "closing", 3_000)]
    assert found.movements == ()
    assert [(each.id, each.amount) for each in found.events] == [(str(again.id), None)]


def test_a_late_merge(database: Database) -> None:
    """Two new customers were one that expanded."""
    late = merged("b", "a", at(40), recorded_at=LATE)
    engine = _engine(database, state("a", at(2)), state("b", at(20)), late)
    found = _diff(engine)
    assert _figures(found) == [
        ("2025-01-01", "new", -10_000),
        ("2025-01-01", "expansion", 10_000),
    ]
    assert {each.because for each in found.movements} == {str(late.id)}


def test_groups_that_one_date_does_not_know(database: Database) -> None:
    late = state("b", at(10), recorded_at=LATE)
    named = known_as("b", at(10), "Bee", recorded_at=LATE)
    engine = _engine(database, state("a", at(2)), late, named)
    found = _diff(engine, "current", spec=QuerySpec(["customer"]))
    [figure] = found.figures
    assert (figure.key, figure.before, figure.after) == ({"customer": "b"}, None, 10_000)
    assert figure.change == Decimal(10_000)
    assert [each.id for each in found.events] == [str(late.id)]


def test_the_document(database: Database) -> None:
    late = state("a", at(40), amount=15_000, recorded_at=LATE)
    document = _diff(_engine(database, state("a", at(2)), late)).to_dict()
    assert document["known_at"] == list(BETWEEN)
    assert document["restated"][0] == {
        "key": {"period": "2025-02-01"},
        "column": "expansion",
        "before": "0.000000",
        "after": "5000.000000",
        "change": "5000.000000",
    }
    assert document["events"][0]["amount"] == "5000.000000"
    assert document["movements"][0]["because"] == str(late.id)
    assert document["before"]["known_at"] == BETWEEN[0]


def test_what_cannot_be_asked(database: Database) -> None:
    engine = _engine(database)
    with pytest.raises(InvalidQuery, match="known_at"):
        engine.diff("mrr", known_at=[BETWEEN[0], BETWEEN[0]])
    with pytest.raises(InvalidQuery, match="known_at"):
        engine.diff("mrr", known_at=[])
    with pytest.raises(UnknownMetric):
        engine.diff("mmr", known_at=BETWEEN)
    assert engine.diff("mrr", known_at=BETWEEN[:1]).after.known_at == at(100)
