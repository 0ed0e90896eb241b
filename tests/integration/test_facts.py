"""Facts are kept for whoever a batch concerns, also where one customer's event moves another's."""

from __future__ import annotations

from itertools import permutations
from typing import Any, Final

from sqlalchemy import select

from tests.support.happenings import at, known_as, merged, state
from tests.support.ledger import derived_rows
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event
from tidemill.ledger import Fact, derive
from tidemill.models import customer, metric_mrr_movement
from tidemill.policy import Policy
from tidemill.state import Books
from tidemill.worker import drain

BOOKS: Final = Books(facts=(Fact(metric_mrr_movement, derive),))


def _take_in(database: Database, *events: Event) -> None:
    bus = PostgresBus(database)
    for event in events:
        bus.append([event])
        drain(bus, BOOKS)


def _kept(database: Database) -> list[tuple[Any, ...]]:
    """(customer, day, type, amount) of the facts in the table."""
    fact = metric_mrr_movement
    query = (
        select(customer.c.external_id, fact.c.day, fact.c.type, fact.c.amount_minor)
        .join(customer, customer.c.id == fact.c.customer_id)
        .order_by(fact.c.day, customer.c.external_id)
    )
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def _derived(database: Database) -> list[tuple[Any, ...]]:
    """The same, derived from scratch."""
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of())
    told = [(row.customer.rpartition(":")[2], row.day, row.type, row.amount) for row in rows]
    return sorted(told, key=lambda row: (row[1], row[0]))


def test_a_subscription_that_moves_to_another_customer(database: Database) -> None:
    """The customer it leaves churns, although no event names that customer any more."""
    _take_in(
        database,
        state("a", at(1), subscription="sub_1"),
        state("b", at(5), subscription="sub_1"),
    )
    assert [(name, kind) for name, _, kind, _ in _kept(database)] == [
        ("a", "new"),
        ("a", "churn"),
        ("b", "new"),
    ]
    assert _kept(database) == _derived(database)


def test_a_merge_moves_the_facts_of_both(database: Database) -> None:
    for number, order in enumerate(permutations(range(3))):
        one, into = f"one{number}", f"into{number}"
        events = [state(one, at(3)), state(into, at(1)), merged(one, into, at(9))]
        _take_in(database, *(events[place] for place in order))
        kept = [(name, kind) for name, _, kind, _ in _kept(database) if name in (one, into)]
        assert kept == [(into, "new"), (into, "expansion")], order
    assert _kept(database) == _derived(database)


def test_a_merge_into_a_customer_heard_of_later(database: Database) -> None:
    _take_in(database, state("one", at(1)), merged("one", "into", at(2)))
    assert [name for name, *_ in _kept(database)] == ["one"]
    _take_in(database, known_as("into", at(3), "Ada"))
    assert [name for name, *_ in _kept(database)] == ["into"]


def test_a_merge_that_is_corrected_leaves_nothing_behind(database: Database) -> None:
    _take_in(
        database,
        state("one", at(3)),
        state("wrong", at(1)),
        state("right", at(2)),
        merged("one", "wrong", at(4)),
        merged("one", "right", at(5)),
    )
    assert [(name, kind) for name, _, kind, _ in _kept(database)] == [
        ("wrong", "new"),
        ("right", "new"),
        ("right", "expansion"),
    ]
    assert _kept(database) == _derived(database)
