"""Whatever the order, repetition and grouping of events: the tables come out the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.conftest import NewDatabase
from tests.support.books import Size, books, random_book
from tests.support.happenings import at, deleted, known_as, priced, rated, state
from tests.support.tables import Rows, exact_tables, named_tables
from tests.support.weight import examples, first
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event, parse_event
from tidemill.ledger import Fact, derive
from tidemill.models import metric_mrr_movement
from tidemill.policy import Policy
from tidemill.rebuilding import rebuild
from tidemill.relations import core_relations
from tidemill.state import Books, apply
from tidemill.worker import CONSUMER

BOOKS: Final = Books(facts=(Fact(metric_mrr_movement, derive),))

# Each example makes databases of its own; a few find what there is to find.
_FEW = settings(
    max_examples=examples(5),
    deadline=None,
    # Shrinking would clone databases for minutes; the smallest of them is small enough.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _apply(database: Database, batches: Iterable[list[Event]], limits: Iterable[int]) -> None:
    """Append batch by batch and apply in deliveries of the given sizes, the last one repeated."""
    bus = PostgresBus(database)
    sizes = iter(limits)
    size = next(sizes)
    for batch in batches:
        bus.append(batch)
        while True:
            with bus.claim(CONSUMER, size) as delivery:
                if delivery is None:
                    break
                apply(delivery.connection, delivery.rows, BOOKS)
            size = next(sizes, size)


def _named(database: Database) -> Rows:
    with database.connect() as connection:
        return named_tables(connection)


def _exact(database: Database) -> Rows:
    with database.connect() as connection:
        return exact_tables(connection)


def _differences(found: Rows, wanted: Rows) -> list[str]:
    """Where two sets of tables differ, row by row; a message that fits on a screen."""
    return [
        f"{table}: {'extra' if here is found else 'missing'} {row}"
        for table in wanted
        for here, there in ((found, wanted), (wanted, found))
        for row in (Counter(here[table]) - Counter(there[table])).elements()
    ]


def _whole(new_database: NewDatabase, events: list[Event]) -> Rows:
    """The tables after an undisturbed run: each event once, all in one delivery."""
    with new_database() as database:
        _apply(database, [events], [100_000])
        return _named(database)


def _catalogue() -> st.SearchStrategy[list[Event]]:
    """Events about few subjects at few instants, so that most of them compete."""
    when = st.integers(1, 3).map(at)
    number = st.integers(0, 10_000)
    envelope: dict[str, Any] = {"sequence": st.integers(0, 1), "recorded_at": st.just(at(9)) | when}
    one = st.sampled_from(["one", "two"])
    more = st.fixed_dictionaries(envelope | {"nickname": number})
    a = st.sampled_from
    named = st.builds(
        lambda who, day, word, rest: known_as(who, day, word, **rest), one, when, a("xyz"), more
    )
    gone = st.builds(lambda who, day, rest: deleted(who, day, **rest), one, when, more)
    plan = st.builds(
        lambda which, day, amount, kind, rest: priced(which, day, amount, type=kind, **rest),
        one, when, st.integers(1, 9), a(["plan.created", "plan.updated", "plan.deleted"]), more,
    )  # fmt: skip
    rate = st.builds(
        lambda day, rate, when, source, rest: rated(day, rate, when, source=source, **rest),
        a(["2025-01-01", "2025-01-02"]), a(["1.1", "1.2"]), when, a(["stripe", "lago"]), more,
    )  # fmt: skip
    life = st.builds(
        lambda who, day, status, rest: state(who, day, status, **rest),
        one, when, a(["active", "canceled", "past_due"]), more,
    )  # fmt: skip
    return st.lists(
        named | gone | plan | rate | life, min_size=2, max_size=25, unique_by=lambda event: event.id
    )


@_FEW
@given(book=books(Size(customers_max=4)), seed=st.integers(0, 2**32), limit=st.integers(5, 40))
def test_order_repetition_and_grouping_do_not_show(
    new_database: NewDatabase, book: list[dict[str, Any]], seed: int, limit: int
) -> None:
    events = [parse_event(each) for each in book]
    chance = random.Random(seed)
    shuffled = events + chance.sample(events, len(events) // 2)
    chance.shuffle(shuffled)
    cut = chance.randint(0, len(shuffled))
    with new_database() as database:
        _apply(database, [shuffled[:cut], shuffled[cut:], events], [limit, 1, 2, limit])
        assert _differences(_named(database), _whole(new_database, events)) == []


@_FEW
@given(events=_catalogue(), seed=st.integers(0, 2**32), limit=st.integers(3, 10))
def test_the_later_event_wins_whatever_the_order(
    new_database: NewDatabase, events: list[Event], seed: int, limit: int
) -> None:
    shuffled = events * 2
    random.Random(seed).shuffle(shuffled)
    with new_database() as database:
        _apply(database, [shuffled[::2], shuffled[1::2]], [limit])
        once = list({event.id: event for event in events}.values())
        assert _differences(_named(database), _whole(new_database, once)) == []


def test_any_batch_size_and_a_rebuild_give_the_same_rows_keys_and_all(
    new_database: NewDatabase,
) -> None:
    events = [parse_event(each) for each in random_book(1, customers=5)]
    random.Random(1).shuffle(events)
    with new_database() as database:
        _apply(database, [events], [100_000])
        expected = _exact(database)
        assert rebuild(database, PostgresBus(database), BOOKS).applied == len(events)
        assert _differences(_exact(database), expected) == []
    assert expected["metric_mrr_movement"]
    for limit in (1, 20):
        with new_database() as database:
            _apply(database, [events], [limit])
            assert _differences(_exact(database), expected) == [], f"batches of {limit}"


@pytest.mark.parametrize("seed", first(1, (3, 4, 5)))
def test_kept_facts_are_what_the_derivation_says(new_database: NewDatabase, seed: int) -> None:
    """Facts refreshed customer by customer equal one derivation of everything."""
    events = [parse_event(each) for each in random_book(seed, customers=10)]
    random.Random(seed).shuffle(events)
    with new_database() as database:
        _apply(database, [events[:40], events[40:]], [9, 30])
        with database.connect() as connection:
            kept = sorted(map(tuple, connection.execute(select(metric_mrr_movement))), key=repr)
            query = derive(core_relations(base_currency="USD"), Policy.of())
            names = [column.name for column in metric_mrr_movement.columns]
            derived = [
                tuple(getattr(row, name) for name in names) for row in connection.execute(query)
            ]
    assert kept == sorted(derived, key=repr)
