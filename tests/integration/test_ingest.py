"""Importing: every piece of input is accounted for, in chunks that fit, beside other workers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any, Final

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from tests.conftest import NewDatabase
from tests.support.happenings import at, known_as, merged, poisoned, rated, state
from tests.support.tables import exact_tables, named_tables
from tidemill import ingest as importing
from tidemill import models, quarantine
from tidemill.bus import PostgresBus
from tidemill.connectors.base import Item
from tidemill.database import Database
from tidemill.errors import Problem
from tidemill.events import Event
from tidemill.ingest import Ingested, ingest
from tidemill.intake import Ignored, Rejected
from tidemill.ledger import Fact, derive
from tidemill.rebuilding import rebuild, rebuild_facts
from tidemill.state import Books, apply, touched
from tidemill.state.rollups import Cells
from tidemill.worker import CONSUMER, Applier, Drained, Pace, drain

BOOKS: Final = Books(facts=(Fact(models.metric_mrr_movement, derive),))
BAD: Final = Rejected("f:1", "stripe", "events", "{", (Problem("", "is not JSON"),))
OTHER: Final = Ignored("f:2", "radar.alert", "is not about subscriptions")


def _life(customer: str, length: int = 5) -> list[Event]:
    return [state(customer, at(1 + day), "active", 100 + day) for day in range(length)]


def test_everything_read_is_accounted_for(database: Database) -> None:
    items: list[Item] = [
        *_life("a"),
        BAD,
        OTHER,
        *_life("a", 3),
        poisoned("b", at(1)),
        *_life("c"),
        BAD,
    ]
    seen: list[Ingested] = []
    done = ingest(database, PostgresBus(database), items, BOOKS, progress=seen.append)
    assert done == Ingested(read=17, applied=10, duplicate=3, quarantined=3, ignored=1)
    assert done.read == done.applied + done.duplicate + done.quarantined + done.ignored
    assert done.document()["read"] == 17
    assert seen[-1] == done
    assert all(one.read <= two.read and one.applied <= two.applied for one, two in pairwise(seen))
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 2  # the same bad line twice is kept once


def test_again_everything_is_a_duplicate(database: Database) -> None:
    bus = PostgresBus(database)
    ingest(database, bus, _life("a"), BOOKS)
    with database.connect() as connection:
        expected = exact_tables(connection)
    assert ingest(database, bus, _life("a"), BOOKS) == Ingested(read=5, duplicate=5)
    with database.connect() as connection:
        assert exact_tables(connection) == expected


def test_nothing_to_import(database: Database) -> None:
    assert ingest(database, PostgresBus(database), [], BOOKS) == Ingested()


def test_an_event_the_log_cannot_hold_is_quarantined(database: Database) -> None:
    good = _life("a", 2)
    known = {name: getattr(good[1], name) for name in good[1].__struct_fields__}
    bad = Event(**known | {"data": b'{"id": "\\u0000"}'})
    done = ingest(database, PostgresBus(database), [good[0], bad], BOOKS)
    assert done == Ingested(read=2, applied=1, quarantined=1)
    with database.connect() as connection:
        (kept,) = quarantine.listed(connection)
    assert kept.origin == f"event:{bad.id}"


def test_chunks_bound_memory_by_number_and_by_size(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more input is read ahead than one chunk may hold."""
    monkeypatch.setattr(importing, "_CHUNK_EVENTS_MAX", 4)
    monkeypatch.setattr(importing, "_BACKLOG_MIN", 1)
    taken = 0
    log = models.event_log

    def items() -> Iterator[Event]:
        nonlocal taken
        for number in range(20):
            with database.connect() as connection:
                stored = connection.execute(select(func.count()).select_from(log)).scalar_one()
            assert number - stored <= 4
            taken += 1
            yield state("a", at(1 + number))

    assert ingest(database, PostgresBus(database), items(), BOOKS).applied == 20
    assert taken == 20


def test_large_lines_make_small_chunks() -> None:
    large = Rejected("f:1", "s", "events", "x" * 10_000_000, (Problem("", "too long"),))
    assert [len(chunk) for chunk in importing._chunks([large] * 5)] == [2, 2, 1]


def test_a_live_worker_beside_the_import(database: Database) -> None:
    """Whoever applies it, the import ends when all is applied, and counts it once."""
    events = [event for number in range(40) for event in _life(f"c{number}")]
    with ThreadPoolExecutor(2) as pool:
        workers = [
            pool.submit(lambda: [drain(PostgresBus(database), BOOKS) for _ in range(10)])
            for _ in range(2)
        ]
        done = ingest(database, PostgresBus(database), events, BOOKS)
        with database.connect() as connection:
            versions = select(func.count()).select_from(models.subscription_version)
            assert connection.execute(versions).scalar_one() == 200
        for worker in workers:
            worker.result(timeout=60)
    assert done == Ingested(read=200, applied=200)


def test_workers_at_once_leave_the_facts_of_merged_customers_whole(
    database: Database, new_database: NewDatabase
) -> None:
    """Members of a company travel in several partitions, and are derived together."""
    events = [event for number in range(24) for event in _life(f"c{number}", 4)]
    events += [merged(f"c{number}", "c0", at(9)) for number in range(1, 24)]
    random.Random(1).shuffle(events)

    def work(part: list[Event]) -> None:
        bus = PostgresBus(database)
        for event in part:
            bus.append([event])
            with bus.claim("state", 3, partitions=2) as delivery:
                if delivery is not None:
                    apply(delivery.connection, delivery.rows, BOOKS)

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work, events[part::3]) for part in range(3)]:
            try:
                future.result(timeout=120)
            except DBAPIError as error:  # a deadlock's victim; `drain` would try again
                assert getattr(error.orig, "sqlstate", "").startswith("40")  # noqa: PT017 - what fails is one of several at once
    ingest(database, PostgresBus(database), events, BOOKS)
    with new_database() as other:
        ingest(other, PostgresBus(other), events, BOOKS)
        with database.connect() as one, other.connect() as two:
            assert named_tables(one) == named_tables(two)


def test_two_batches_that_must_each_derive_alone_take_turns(
    database: Database, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finds that a subscription moved while both may derive; the database gives one up."""
    first = [state(f"c{number}", at(1), subscription=f"s{number}") for number in range(24)]
    moves = [state(f"d{number}", at(2), subscription=f"s{number}") for number in range(24)]
    bus = PostgresBus(database)
    ingest(database, bus, first, BOOKS)
    bus.append(moves)
    both, looks = Barrier(2), iter([True, True])

    def subscribed_too() -> Any:
        if next(looks, False):
            both.wait(timeout=30)
        return looked()

    looked = touched._subscribed_too
    monkeypatch.setattr(touched, "_subscribed_too", subscribed_too)
    runs = [Applier(PostgresBus(database), BOOKS, partitions=8) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(run.step, wait=False) for run in runs]:
            assert future.result(timeout=60)
    with database.connect() as connection:
        assert not bus.pending(connection, CONSUMER)
    with new_database() as other:
        ingest(other, PostgresBus(other), [*first, *moves], BOOKS)
        with database.connect() as one, other.connect() as two:
            assert named_tables(one) == named_tables(two)


def test_batches_of_different_customers_wait_for_each_other_only_with_their_sums(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all customers share, such as the kind of an attribute, is not held while one works."""

    def told(day: int) -> Iterator[Event]:
        for number in range(24):
            attributes = {"team": f"t{number}", "seats": day}
            yield known_as(f"c{number}", at(day), data={"attributes": attributes})
            yield state(f"c{number}", at(day), amount=100 + day)

    bus = PostgresBus(database)
    ingest(database, bus, told(1), BOOKS)
    bus.append(told(2))
    monkeypatch.setattr(Cells, "settle", lambda _: None)
    events = []
    with bus.claim(CONSUMER, 100, partitions=8) as one:
        assert one is not None
        events.append(apply(one.connection, one.rows, BOOKS).events)
        with bus.claim(CONSUMER, 100, partitions=8) as other:
            assert other is not None
            other.connection.execute(select(func.set_config("lock_timeout", "2s", True)))
            events.append(apply(other.connection, other.rows, BOOKS).events)
    assert sum(events) == 48
    assert min(events) > 0


def test_facts_can_be_derived_again_alone(database: Database) -> None:
    bus = PostgresBus(database)
    ingest(database, bus, _life("a"), Books())
    with database.connect() as connection:
        assert exact_tables(connection)["metric_mrr_movement"] == []
    rebuild_facts(database, bus, BOOKS)
    with database.connect() as connection:
        rows = exact_tables(connection)
    assert len(rows["metric_mrr_movement"]) == 5
    rebuild(database, bus, BOOKS)
    with database.connect() as connection:
        assert exact_tables(connection) == rows


def test_a_rebuild_keeps_every_published_rate(database: Database) -> None:
    bus = PostgresBus(database)
    again = [rated("2025-01-02", rate, at(day)) for day, rate in ((2, "1.2"), (3, "1.3"))]
    ingest(database, bus, again, BOOKS)
    with database.connect() as connection:
        kept = exact_tables(connection)["fx_rate"]
    assert len(kept) == 2
    rebuild(database, bus, BOOKS)
    with database.connect() as connection:
        assert exact_tables(connection)["fx_rate"] == kept


def test_progress_of_a_drain_counts_up(database: Database) -> None:
    bus = PostgresBus(database)
    bus.append(_life("a"))
    seen: list[Drained] = []
    assert drain(bus, BOOKS, progress=seen.append) == seen[-1] == Drained(5, 0, 1)


@pytest.mark.parametrize(
    ("count", "elapsed_s", "limit"),
    [
        (9_999, 0.001, 10_000),  # not full: says nothing
        (10_000, 2.0, 15_000),
        (10_000, 0.001, 40_000),  # at most four times as many
        (10_000, 15.0, 2_000),
        (10_000, 1000.0, 500),  # never fewer
    ],
)
def test_the_pace_follows_the_last_full_batch(count: int, elapsed_s: float, limit: int) -> None:
    pace = Pace()
    pace.learn(count, elapsed_s)
    assert pace.limit == limit
