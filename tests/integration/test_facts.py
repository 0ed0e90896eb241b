"""Facts are kept for whoever a batch concerns, also where one customer's event moves another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any, Final

from sqlalchemy import Boolean, Text, column, func, insert, select, table

from tests.contract.bus_contract import strangers
from tests.support.happenings import at, known_as, merged, state
from tests.support.ledger import derived_rows
from tidemill.bus import PostgresBus, partition_of
from tidemill.database import Database
from tidemill.events import Event
from tidemill.ledger import Fact, derive
from tidemill.models import consumer_position, customer, metric_mrr_movement
from tidemill.policy import Policy
from tidemill.state import Books, apply
from tidemill.worker import CONSUMER, drain

LOCKS: Final = table("pg_locks", column("locktype", Text), column("granted", Boolean))
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


def test_two_workers_derive_a_company_one_after_the_other(database: Database) -> None:
    """Its customers travel in different partitions; neither worker sees what the other writes."""
    one, into = strangers(2)
    bus = PostgresBus(database)
    drain(bus, BOOKS)
    bus.append([state(one, at(3)), merged(one, into, at(9))])
    place = consumer_position
    theirs = select(place).where(place.c.partition == partition_of("stripe", into))
    waiting = select(func.count()).where(LOCKS.c.locktype == "advisory", ~LOCKS.c.granted)

    def work() -> None:
        with bus.claim(CONSUMER, 10) as delivery:
            assert delivery is not None
            apply(delivery.connection, delivery.rows, BOOKS)

    with ThreadPoolExecutor(1) as pool, database.connect() as watching:
        watching.execute(theirs.with_for_update())
        with bus.claim(CONSUMER, 10) as delivery:
            watching.rollback()
            assert delivery is not None
            apply(delivery.connection, delivery.rows, BOOKS)
            bus.append([state(into, at(1))])
            other = pool.submit(work)
            while not (watching.execute(waiting).scalar_one() or other.done()):
                watching.rollback()
            assert not other.done(), "the other worker did not wait"
        other.result(timeout=30)
    assert [(name, kind) for name, _, kind, _ in _kept(database)] == [
        (into, "new"),
        (into, "expansion"),
    ]
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


def test_only_rows_that_become_others_are_written(database: Database) -> None:
    _take_in(database, state("a", at(1)), state("a", at(2), amount=20_000), state("b", at(1)))
    before = _written(database)
    assert len(before) == 3
    _take_in(database, state("a", at(3), amount=20_000), state("b", at(3)))
    assert _written(database) == before, "nothing moved"
    _take_in(database, state("a", at(4), "canceled"))
    assert len(_written(database)) == 4
    assert before < _written(database), "what moved before is as it was"
    _take_in(database, state("a", at(2, 1), amount=30_000))
    assert len(before & _written(database)) == 3
    assert _kept(database) == _derived(database)


def test_rows_that_are_there_too_often_go(database: Database) -> None:
    """Rows that say the same are told apart by their places alone."""
    _take_in(database, state("a", at(1)), state("b", at(1)))
    right = _kept(database)
    fact = metric_mrr_movement
    with database.begin() as connection:
        for _ in range(2):
            connection.execute(insert(fact).from_select(fact.c.keys(), select(fact)))
    assert len(_kept(database)) == 4 * len(right)
    _take_in(database, state("a", at(2)), state("b", at(2)))
    assert _kept(database) == right


def _written(database: Database) -> set[tuple[str, str]]:
    """Where each row of the facts stands, and by which transaction."""
    where = select(column("ctid", Text), column("xmin", Text)).select_from(metric_mrr_movement)
    with database.connect() as connection:
        return {(str(row.ctid), str(row.xmin)) for row in connection.execute(where)}
