"""What a question reads beside the history is as known then, too: rates, names, the catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.happenings import at, known_as, merged, priced, rated, state
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.ingest import ingest
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy
from tidemill.state import Books

BEFORE, AFTER = at(15), at(25)
LATER = at(60)
ITEM = {"id": "si", "plan": "p", "quantity": 1, "unit_amount": "1000", "interval": "month"}


def _asked(database: Database, *events: Any) -> MetricsEngine:
    euros = state("a", at(2), data={"currency": "eur", "items": [ITEM]})
    ingest(database, PostgresBus(database), [euros, *events], Books())
    return MetricsEngine(database, base_currency="USD", as_of=LATER)


def _groups(engine: MetricsEngine, by: str, known_at: Any) -> dict[str | None, int]:
    rows = engine.mrr.current(at="2025-01-14", spec=QuerySpec([by]), known_at=known_at).rows
    return {row[by]: int(row["mrr"]) for row in rows}


def _rate(rate: str, told: int, **more: Any) -> Any:
    return rated("2025-01-01", rate, at(told), **more)


@pytest.mark.parametrize("policy", [None, "fx=constant", "fx=at_movement", "fx=at_renewal"])
def test_a_corrected_rate_restates_nothing_known_before(
    database: Database, policy: str | None
) -> None:
    engine = _asked(database, _rate("1.1", 1), _rate("1.5", 20))
    under = Policy.parse(f"default;{policy}") if policy else None
    told = [
        engine.mrr.current(at="2025-01-14", known_at=known_at, policy=under).value
        for known_at in (BEFORE, AFTER, LATER)
    ]
    assert told == [1100, 1500, 1500]


def test_a_rate_published_late_counts_by_when_it_was_so(database: Database) -> None:
    """The correction of the 5th was heard of before the one of the 1st: the later one counts."""
    one = _rate("1.1", 1, recorded_at=at(20))
    engine = _asked(database, one, _rate("1.5", 5))
    assert [engine.mrr.current(at="2025-01-14", known_at=k).value for k in (BEFORE, AFTER)] == [
        1500,
        1500,
    ]


def test_what_customers_were_called_and_where(database: Database) -> None:
    first = known_as("a", at(1), "Old", data={"country": "cz"})
    second = known_as("a", at(20), "New", data={"country": "fr"})
    engine = _asked(database, _rate("1.1", 1), first, second)
    assert _groups(engine, "customer_name", BEFORE) == {"Old": 1100}
    assert _groups(engine, "customer_name", AFTER) == {"New": 1100}
    assert _groups(engine, "country", BEFORE) == {"CZ": 1100}
    assert _groups(engine, "country", AFTER) == {"FR": 1100}


def test_what_was_sold(database: Database) -> None:
    first = priced("p", at(1), data={"name": "Old plan", "product": "old"})
    second = priced("p", at(20), data={"name": "New plan", "product": "new"})
    engine = _asked(database, _rate("1.1", 1), first, second)
    assert _groups(engine, "plan_name", BEFORE) == {"Old plan": 1100}
    assert _groups(engine, "plan_name", AFTER) == {"New plan": 1100}
    assert _groups(engine, "product", BEFORE) == {"old": 1100}
    assert _groups(engine, "product", AFTER) == {"new": 1100}


def test_a_merge_into_a_customer_not_heard_of_yet(database: Database) -> None:
    merges = [merged(name, "c", at(3)) for name in ("a", "b")]
    engine = _asked(
        database, _rate("1.1", 1), state("b", at(2)), *merges, known_as("c", at(20), "Company")
    )
    told = [
        engine.customers.current(at="2025-01-14", known_at=k).value for k in (BEFORE, AFTER, LATER)
    ]
    assert told == [2, 1, 1]
