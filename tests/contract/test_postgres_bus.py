"""The PostgreSQL log keeps the promises of the bus, and those that only a database can make."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import Boolean, Text, column, func, insert, select, table

from tests.contract.bus_contract import Broken, BusContract, read, story, strangers, subjects
from tests.support.happenings import at, poisoned, state
from tidemill import models
from tidemill.bus import PostgresBus, partition_of
from tidemill.database import Database
from tidemill.events import Event


class TestPostgresBus(BusContract):
    @pytest.fixture
    def bus(self, database: Database) -> PostgresBus:
        return PostgresBus(database)


@pytest.fixture
def bus(database: Database) -> PostgresBus:
    return PostgresBus(database)


LOCKS = table("pg_locks", column("locktype", Text), column("granted", Boolean))


def _wait_for_a_waiter(database: Database) -> None:
    """Go on when some session waits for a partition."""
    query = select(func.count()).where(LOCKS.c.locktype == "advisory", ~LOCKS.c.granted)
    deadline = time.monotonic() + 30
    with database.connect() as connection:
        while not connection.execute(query).scalar_one():
            assert time.monotonic() < deadline, "nobody waits"
            connection.rollback()


def test_a_transaction_that_commits_late_is_not_skipped(
    database: Database, bus: PostgresBus
) -> None:
    """Position order is not commit order: what was drawn first here commits last.

    Of the same partition, a later writer has to wait; other partitions go on.
    """
    early, elsewhere = strangers(2)
    same = next(
        name
        for name in (f"other_{number}" for number in range(1000))
        if partition_of("stripe", name) == partition_of("stripe", early)
    )
    bus.append(story("first", 1))  # makes the source, which is waited for only the first time
    assert read(bus) == [("first", 0)]
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as slow:
            bus.append(story(early, 2), connection=slow)
            late = pool.submit(bus.append, story(same, 1))
            _wait_for_a_waiter(database)
            bus.append(story(elsewhere, 1))
            assert read(bus) == [(elsewhere, 0)]
        late.result(timeout=30)
    assert read(bus) == [(early, 0), (early, 1), (same, 0)]


def test_writers_of_the_same_partitions_never_deadlock(bus: PostgresBus) -> None:
    names = strangers(6)

    def write(turn: int) -> int:
        order = names if turn % 2 else names[::-1]
        return bus.append([state(name, at(1), sequence=turn) for name in order]).stored

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write, range(24))) == [6] * 24


def test_an_append_that_is_rolled_back_leaves_nothing(database: Database, bus: PostgresBus) -> None:
    def fail() -> None:
        with database.begin() as connection:
            bus.append(story("a", 2), connection=connection)
            raise Broken

    with pytest.raises(Broken):
        fail()
    assert read(bus) == []
    assert bus.append(story("a", 2)).stored == 2


def test_effects_and_positions_commit_together(database: Database, bus: PostgresBus) -> None:
    """The effect of a batch that was undone is undone with it, and happens once in the end."""
    bus.append(story("a", 3))

    def effect(*, fail: bool) -> None:
        with bus.claim("reader", 10) as delivery:
            assert delivery is not None
            row = {"hash": "x", "document": subjects(delivery)}
            delivery.connection.execute(insert(models.policy_in_use).values(row))
            if fail:
                raise Broken

    with pytest.raises(Broken):
        effect(fail=True)
    effect(fail=False)
    with database.connect() as connection:
        documents = connection.scalars(select(models.policy_in_use.c.document)).all()
    assert documents == [[["a", 0], ["a", 1], ["a", 2]]]
    assert read(bus) == []


def test_rewinding_delivers_everything_again(database: Database, bus: PostgresBus) -> None:
    bus.append(story("a", 3))
    assert len(read(bus)) == 3
    with database.begin() as connection:
        bus.rewind(connection, "reader")
        assert bus.pending(connection, "reader") == 3
    assert len(read(bus)) == 3


def test_pending_counts_what_a_reader_has_not_had(database: Database, bus: PostgresBus) -> None:
    bus.append([event for name in strangers(5) for event in story(name, 4)])
    with database.connect() as connection:
        assert bus.pending(connection, "reader") == 20
    with bus.claim("reader", 7) as delivery:
        assert delivery is not None
    with database.connect() as connection:
        assert bus.pending(connection, "reader") == 13


def test_recorded_at_is_the_files_or_else_the_logs(database: Database, bus: PostgresBus) -> None:
    told = state("a", at(1), recorded_at=at(9))
    untold = [state("a", at(1), sequence=number, recorded_at=None) for number in (1, 2)]
    with database.connect() as connection:
        before = connection.execute(select(func.clock_timestamp())).scalar_one()
    bus.append([told, *untold])
    log = models.event_log
    with database.connect() as connection:
        found = connection.execute(select(log.c.recorded_at).order_by(log.c.position)).scalars()
        first, second, third = found
    assert first == at(9)
    assert before < second <= third


def _with_data(event: Event, data: bytes, number: int) -> Event:
    known = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**known | {"data": data, "id": UUID(int=number)})


@pytest.mark.parametrize(
    "data",
    [
        b'{"id": "x", "note": "\\u0000"}',
        b'{"id": "x", "note": "\\ud800"}',
        b'{"id": "x", "note": 1e999999}',
        b'{"id": "x"',
        b'{"id": "\xff"}',
        b'{"id": "\x00"}',
        b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_the_log_cannot_hold_is_refused_and_the_rest_goes_on(
    bus: PostgresBus, data: bytes
) -> None:
    good = story("a", 9)
    bad = _with_data(good[0], data, number=1)
    appended = bus.append([*good[:4], bad, *good[4:]])
    assert appended.stored == 9
    assert [each.event.id for each in appended.refused] == [bad.id]
    assert appended.refused[0].problem.problem
    assert read(bus) == [("a", number) for number in range(9)]


@pytest.mark.parametrize("field", ["customer", "subject", "type"])
def test_a_text_with_a_nul_is_refused(bus: PostgresBus, field: str) -> None:
    good = story("a", 3)
    known = {name: getattr(good[1], name) for name in good[1].__struct_fields__}
    appended = bus.append([good[0], Event(**known | {field: "x\0y"}), good[2]])
    assert appended.stored == 2
    assert len(appended.refused) == 1


def test_a_source_is_made_once(database: Database, bus: PostgresBus) -> None:
    bus.append(story("a", 1), source_kind="stripe")
    bus.append(story("b", 1), source_kind="files")
    bus.append([state("a", at(1), source="books")])
    with database.connect() as connection:
        found = connection.execute(select(models.source.c.name, models.source.c.kind))
        assert sorted(map(tuple, found)) == [("books", "files"), ("stripe", "stripe")]


def test_poison_is_for_the_state_to_find(bus: PostgresBus) -> None:
    assert bus.append([poisoned("a", at(1))]).stored == 1
