"""A rebuild gives the tables that the log stands for, while others read and write."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Event as Signal
from typing import Any, Final

import pytest
from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.exc import DBAPIError

from tests.conftest import NewDatabase
from tests.support.books import random_book
from tests.support.happenings import at, poisoned, state
from tests.support.tables import exact_tables
from tidemill import aside, quarantine, rebuilding
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.errors import MigrationRefused, RebuildRunning
from tidemill.events import Event, parse_event
from tidemill.ledger import Fact, derive
from tidemill.models import (
    consumer_position,
    metric_mrr_movement,
    subscription_version,
    version_item,
)
from tidemill.policy import Policy
from tidemill.rebuilding import rebuild, rebuild_facts
from tidemill.state import Books, apply, fill
from tidemill.worker import CONSUMER, Drained, drain

FACTS: Final = (Fact(metric_mrr_movement, derive),)
BOOKS: Final = Books(FACTS)
OTHER: Final = Books(FACTS, Policy.parse("default;discounts=include_all;netting=none"))


class Stopped(BaseException):
    """The process ends here."""


def _book(seed: int, customers: int = 8) -> list[Event]:
    events = random_book(seed, customers=customers)
    return [parse_event({k: v for k, v in each.items() if v is not None}) for each in events]


def _keep(database: Database, events: list[Event], books: Books = BOOKS) -> PostgresBus:
    bus = PostgresBus(database)
    bus.append(events)
    drain(bus, books)
    return bus


def _tables(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.connect() as connection:
        return exact_tables(connection)


def _left_over(database: Database) -> bool:
    with database.connect() as connection:
        schema = connection.execute(select(func.to_regnamespace(aside.SCHEMA))).scalar()
        readers = set(connection.scalars(select(consumer_position.c.consumer)))
    return schema is not None or readers != {CONSUMER}


def test_nothing_differs_where_nothing_was_wrong(database: Database) -> None:
    bus = _keep(database, _book(1))
    before = _tables(database)
    seen: list[tuple[int, int]] = []
    done = rebuild(database, bus, BOOKS, progress=lambda *now: seen.append(now))
    assert set(done.differed.values()) == {0}
    assert _tables(database) == before
    assert done.applied == seen[-1][0] == seen[-1][1]
    assert not _left_over(database)


def _damage(connection: Connection) -> None:
    some = select(version_item.c.version_id).order_by(version_item.c.version_id)
    connection.execute(
        update(version_item)
        .where(version_item.c.version_id == some.limit(1).scalar_subquery())
        .values(unit_amount=Decimal(1))
    )
    some = select(subscription_version.c.id).order_by(subscription_version.c.id.desc())
    connection.execute(
        delete(subscription_version).where(
            subscription_version.c.id == some.limit(1).scalar_subquery()
        )
    )
    rows = metric_mrr_movement
    some = select(rows.c.customer_id).order_by(rows.c.customer_id).limit(1)
    connection.execute(delete(rows).where(rows.c.customer_id == some.scalar_subquery()))


def test_it_mends_what_was_wrong_and_says_how_much(database: Database) -> None:
    bus = _keep(database, _book(2))
    before = _tables(database)
    with database.begin() as connection:
        _damage(connection)
    assert _tables(database) != before
    done = rebuild(database, bus, BOOKS)
    assert _tables(database) == before
    wrong = {name for name, count in done.differed.items() if count}
    assert wrong == {"version_item", "subscription_version", "metric_mrr_movement"}
    assert done.differed["subscription_version"] == 1


class _Deadlock(Exception):
    """What the database says to the one of two that it gives up on."""

    sqlstate = "40P01"


def test_a_batch_that_the_database_gave_up_on_is_replayed_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = _keep(database, _book(4))
    before = _tables(database)
    lost = iter([True, True])

    def unlucky(*given: Any) -> Any:
        applied = apply(*given)
        if next(lost, False):
            raise DBAPIError("UPDATE", None, _Deadlock())
        return applied

    monkeypatch.setattr(rebuilding, "_BATCH", 40)
    monkeypatch.setattr(rebuilding, "apply", unlucky)
    done = rebuild(database, bus, BOOKS)
    assert set(done.differed.values()) == {0}
    assert _tables(database) == before


_STEPS: Final[list[tuple[str, int]]] = [
    ("apply", 1),
    ("apply", 3),
    ("fill", 1),
    ("note", 1),
    ("aside.bring_over", 1),
    ("_finish", 1),
]


def _stop_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """Let the process end when a step is reached for the n-th time, after it has done its work."""
    real: Any = rebuilding
    for part in name.split("."):
        real = getattr(real, part)
    left = call

    def counted(*given: Any, **how: Any) -> Any:
        nonlocal left
        done = real(*given, **how)
        left -= 1
        if not left:
            raise Stopped
        return done

    monkeypatch.setattr(f"tidemill.rebuilding.{name}", counted)


@pytest.mark.parametrize(("name", "call"), _STEPS)
def test_stopped_anywhere_it_goes_on_and_nobody_notices(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    bus = _keep(database, _book(3))
    before = _tables(database)
    monkeypatch.setattr("tidemill.rebuilding._BATCH", 40)
    with monkeypatch.context() as until:
        _stop_at(until, name, call)
        with pytest.raises(Stopped):
            rebuild(database, bus, BOOKS)
    assert _tables(database) == before
    # Life goes on meanwhile.
    bus.append([state("late", at(20)), poisoned("late", at(21))])
    drain(bus, BOOKS)
    after = _tables(database)
    done = rebuild(database, bus, BOOKS)
    assert set(done.differed.values()) == {0}
    assert _tables(database) == after
    assert not _left_over(database)
    with database.connect() as connection:
        assert bus.pending(connection, CONSUMER) == 0
        assert quarantine.waiting(connection) == 1


def test_another_run_than_the_one_begun_begins_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = _keep(database, _book(4))
    with monkeypatch.context() as until:
        _stop_at(until, "fill", 1)
        with pytest.raises(Stopped):
            rebuild(database, bus, BOOKS)
    rebuild(database, bus, OTHER)
    kept = _tables(database)
    rebuild_facts(database, bus, OTHER)
    assert _tables(database) == kept


def test_writers_and_readers_go_on_beside_it(
    database: Database, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customers come while it replays; every report sees one whole state of the books."""
    events = _book(5, customers=20)
    random.Random(5).shuffle(events)
    half = len(events) // 2
    bus = _keep(database, events[:half])
    monkeypatch.setattr("tidemill.rebuilding._BATCH", 30)
    rows = metric_mrr_movement
    whole = select(func.count(rows.c.customer_id.distinct()))
    done = Signal()

    def read() -> list[int]:
        seen = []
        while not done.is_set():
            with database.snapshot() as connection:
                seen.append(connection.execute(whole).scalar_one())
        return seen

    def write() -> None:
        mine = PostgresBus(database)
        for start in range(half, len(events), 10):
            mine.append(events[start : start + 10])
            drain(mine, BOOKS)

    with ThreadPoolExecutor(2) as pool:
        reading, writing = pool.submit(read), pool.submit(write)
        try:
            for _ in range(3):
                rebuild(database, bus, BOOKS)
            writing.result(timeout=60)
        finally:
            done.set()
        seen = reading.result(timeout=30)
    assert set(rebuild(database, bus, BOOKS).differed.values()) == {0}
    assert min(seen) > 0, "a report found half-built tables"
    with new_database() as alone:
        _keep(alone, events[:half])
        _keep(alone, events[half:])
        with database.connect() as one, alone.connect() as other:
            assert exact_tables(one) == exact_tables(other)


class Overtaken(PostgresBus):
    """A bus to whose log somebody appends once all partitions of it had been read."""

    def __init__(self, database: Database, late: Event) -> None:
        super().__init__(database)
        self._other, self._late = PostgresBus(database), late

    def deliver(self, connection: Connection, consumer: str, *args: Any, **how: Any) -> Any:
        delivery = super().deliver(connection, consumer, *args, **how)
        if delivery is None and "partitions" not in how:
            self._other.append([self._late])
        return delivery


def test_what_comes_at_the_last_moment_is_left_to_the_worker(
    database: Database, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event comes between the replay and the end, one after the log was read to its end."""
    events = _book(9)
    bus = _keep(database, events[:-2])

    def late_fill(*given: Any) -> None:
        bus.append(events[-2:-1])
        fill(*given)

    monkeypatch.setattr(rebuilding, "fill", late_fill)
    rebuild(database, Overtaken(database, events[-1]), BOOKS)
    assert not _left_over(database)
    with database.connect() as connection:
        assert bus.pending(connection, CONSUMER) == 1
    drain(bus, BOOKS)
    with new_database() as alone:
        _keep(alone, events)
        with database.connect() as one, alone.connect() as other:
            assert exact_tables(one) == exact_tables(other)


def test_tables_of_half_a_log_do_not_replace_whole_ones(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = _keep(database, _book(10))
    before = _tables(database)
    monkeypatch.setattr(rebuilding, "_meanwhile", lambda *_: iter(()))
    monkeypatch.setattr(rebuilding, "_replay", lambda *_: Drained())
    with pytest.raises(AssertionError, match="half a log"):
        rebuild(database, bus, BOOKS)
    assert _tables(database) == before


def test_facts_of_another_policy_are_those_it_derives(database: Database) -> None:
    bus = _keep(database, _book(6))
    differed = rebuild_facts(database, bus, OTHER)
    assert differed["metric_mrr_movement"] > 0
    names = [each.name for each in metric_mrr_movement.columns]
    with database.connect() as connection:
        kept = sorted(map(str, connection.execute(select(metric_mrr_movement))))
        from tidemill.relations import core_relations

        derived = derive(core_relations(base_currency="USD"), OTHER.policy).subquery()
        fresh = connection.execute(select(*(derived.c[name] for name in names)))
        assert sorted(map(str, fresh)) == kept
    assert set(rebuild_facts(database, bus, OTHER).values()) == {0}
    assert not _left_over(database)


def test_two_at_once_are_one_too_many(database: Database) -> None:
    bus = _keep(database, _book(7, customers=2))
    with rebuilding._alone(database), pytest.raises(RebuildRunning):
        rebuild(database, bus, BOOKS)


def test_a_role_that_may_not_make_schemas_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = _keep(database, _book(8, customers=2))
    monkeypatch.setattr(aside, "SCHEMA", "pg_reserved")
    with pytest.raises(MigrationRefused, match="GRANT CREATE ON DATABASE"):
        rebuild(database, bus, BOOKS)
