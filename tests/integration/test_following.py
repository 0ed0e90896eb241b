"""Workers: they share the log, outlive what passes, and end in good order when they are told to."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, NoReturn

import pytest
from sqlalchemy import Connection, Text, column, func, select, table, update

from tests.conftest import NewDatabase
from tests.support.books import random_book
from tests.support.happenings import at, poisoned, state
from tests.support.tables import named_tables
from tidemill import models, quarantine
from tidemill.bus import PARTITIONS, Delivery, PostgresBus
from tidemill.database import Database
from tidemill.errors import BrokerUnreachable, SchemaTooOld, TidemillError
from tidemill.events import Event, parse_event
from tidemill.following import SHARE, follow
from tidemill.heartbeat import SILENT_S, Heard, Heart, heard
from tidemill.ledger import Fact, derive
from tidemill.state import Books
from tidemill.worker import CONSUMER, Drained, drain

BOOKS: Final = Books(facts=(Fact(models.metric_mrr_movement, derive),))
PATIENCE_S: Final = 60


def _book(seed: int, customers: int) -> list[Event]:
    events = random_book(seed, customers=customers)
    return [parse_event({k: v for k, v in each.items() if v is not None}) for each in events]


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def _pending(database: Database) -> int:
    with database.connect() as connection:
        return PostgresBus(database).pending(connection, CONSUMER)


@contextmanager
def _following(bus: PostgresBus, **how: Any) -> Iterator[list[Exception]]:
    """A worker in a thread; what troubled it."""
    stop, troubles = threading.Event(), list[Exception]()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            follow, bus, BOOKS, stop, troubled=lambda error, _: troubles.append(error), **how
        )
        try:
            yield troubles
        finally:
            stop.set()
            running.result(timeout=PATIENCE_S)


def test_workers_share_what_comes_and_make_the_same_tables(
    database: Database, new_database: NewDatabase
) -> None:
    events = _book(5, customers=20)
    random.Random(5).shuffle(events)
    bus = PostgresBus(database)
    with _following(PostgresBus(database)), _following(PostgresBus(database)):
        for start in range(0, len(events), 40):
            bus.append(events[start : start + 40])
        _wait(lambda: _pending(database) == 0)
    with new_database() as alone:
        PostgresBus(alone).append(events)
        drain(PostgresBus(alone), BOOKS)
        with database.connect() as one, alone.connect() as other:
            assert named_tables(one) == named_tables(other)


def test_a_worker_leaves_partitions_to_others(database: Database) -> None:
    bus = PostgresBus(database)
    bus.append([state(f"cus_{number}", at(1)) for number in range(200)])
    with bus.claim(CONSUMER, 1000, partitions=SHARE) as first:
        assert first is not None
        held = _partitions(first)
        with bus.claim(CONSUMER, 1000, partitions=SHARE) as second:
            assert second is not None
            assert len(held) == len(_partitions(second)) == SHARE < PARTITIONS
            assert not held & _partitions(second)


def _partitions(delivery: Delivery) -> set[int]:
    return set(delivery.connection.scalars(select(delivery.rows.c.partition)))


def test_a_share_is_of_what_has_something_to_read(database: Database) -> None:
    """Partitions in which nothing happens must not be all that a worker ever looks at."""
    bus = PostgresBus(database)
    bus.append([state(f"cus_{number}", at(1)) for number in range(200)])
    drain(bus, BOOKS)
    bus.append([state("busy", at(day)) for day in range(1, 10)])
    with bus.claim(CONSUMER, 1000, partitions=1) as delivery:
        assert delivery is not None
        assert delivery.count == 9


def test_poison_never_stops_a_worker(database: Database) -> None:
    bus = PostgresBus(database)
    with _following(PostgresBus(database)) as troubles:
        for number in range(5):
            bus.append([poisoned(f"cus_{number}", at(1)), state(f"cus_{number}", at(2))])
        _wait(lambda: _pending(database) == 0)
    assert troubles == []
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 5
        versions = select(func.count()).select_from(models.subscription_version)
        assert connection.execute(versions).scalar_one() == 5


_ACTIVITY = table("pg_stat_activity", column("pid"), column("datname", Text), column("state", Text))
_OTHERS = (
    select(func.pg_terminate_backend(_ACTIVITY.c.pid))
    .where(_ACTIVITY.c.datname == func.current_database())
    .where(_ACTIVITY.c.pid != func.pg_backend_pid())
)


def _at_work(database: Database) -> bool:
    """Whether somebody else is in the middle of a transaction."""
    with database.connect() as connection:
        busy = select(_ACTIVITY.c.pid).where(
            _ACTIVITY.c.datname == func.current_database(),
            _ACTIVITY.c.pid != func.pg_backend_pid(),
            _ACTIVITY.c.state.in_(("active", "idle in transaction")),
        )
        return connection.execute(busy).first() is not None


def test_a_worker_outlives_its_connections(
    database: Database, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.following._BACKOFF_S", 0.01)
    monkeypatch.setattr("tidemill.following._BACKOFF_MAX_S", 0.05)
    events = _book(6, customers=15)
    bus = PostgresBus(database)
    with _following(PostgresBus(database)) as troubles:
        for start in range(0, len(events), 30):
            bus.append(events[start : start + 30])
            _wait(lambda: _at_work(database) or _pending(database) == 0)
            with database.begin() as connection:
                connection.execute(_OTHERS)
        _wait(lambda: _pending(database) == 0)
    assert troubles, "no connection was ended in the middle of something"
    with new_database() as calm:
        PostgresBus(calm).append(events)
        drain(PostgresBus(calm), BOOKS)
        with database.connect() as one, calm.connect() as other:
            assert named_tables(one) == named_tables(other)


class _Failing(PostgresBus):
    """A bus that fails a few times before it works."""

    def __init__(self, database: Database, *errors: TidemillError) -> None:
        super().__init__(database)
        self._errors = list(errors)

    def claim(self, *given: Any, **how: Any) -> Any:
        if self._errors:
            raise self._errors.pop()
        return super().claim(*given, **how)


def test_trouble_that_may_pass_is_waited_out_longer_each_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.following._BACKOFF_S", 0.01)
    bus = _Failing(database, *[BrokerUnreachable("one:9092", "it is restarting.")] * 3)
    bus.append([state("a", at(1))])
    delays: list[float] = []
    stop = threading.Event()

    def told(_: object) -> None:
        stop.set()

    done = follow(bus, BOOKS, stop, told=told, troubled=lambda _, delay: delays.append(delay))
    assert delays == [0.01, 0.02, 0.04]
    assert done.applied == 1


def test_trouble_that_will_not_pass_ends_a_worker(database: Database) -> None:
    bus = _Failing(database, SchemaTooOld("0001", "0002"))
    with pytest.raises(SchemaTooOld):
        follow(bus, BOOKS, threading.Event())


def _worker(database: Database) -> subprocess.Popen[str]:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL")}
    return subprocess.Popen(
        [sys.executable, "-m", "tidemill", "worker"],
        env=clean | {"TIDEMILL_DATABASE_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_batch_that_takes_too_long_is_given_up_by_a_worker_told_to_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = PostgresBus(database)
    bus.append([state("a", at(1))])
    began, stop = threading.Event(), threading.Event()

    def endless(connection: Connection, *_: object) -> NoReturn:
        began.set()
        connection.execute(select(func.pg_sleep(PATIENCE_S)))
        pytest.fail("it was not given up")

    monkeypatch.setattr("tidemill.worker.apply", endless)
    monkeypatch.setattr("tidemill.following._ENDING_S", 0.1)
    troubles = list[Exception]()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            follow, bus, BOOKS, stop, troubled=lambda error, _: troubles.append(error)
        )
        assert began.wait(PATIENCE_S)
        stop.set()
        assert running.result(timeout=10).applied == 0
    assert troubles == []
    assert _pending(database) == 1


def _heard(database: Database) -> list[Heard]:
    with database.connect() as connection:
        return heard(connection)


def test_workers_are_heard_of_and_share_by_how_many_they_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.heartbeat.BEAT_S", 0.01)
    shares = list[int]()
    claim = PostgresBus.claim

    def seen(*given: Any, partitions: int, **how: Any) -> Any:
        shares.append(partitions)
        return claim(*given, partitions=partitions, **how)

    monkeypatch.setattr(PostgresBus, "claim", seen)
    bus = PostgresBus(database)
    bus.append([state("a", at(1)), poisoned("b", at(1))])
    with _following(bus, heart=Heart(database, "one")):
        _wait(lambda: [(each.applied, each.quarantined) for each in _heard(database)] == [(1, 1)])
        assert set(shares) == {PARTITIONS}
        other = Heart(database, "another")
        assert other.beat(Drained()) == 2
        _wait(lambda: shares[-1] == PARTITIONS // 2)
        [another, one] = _heard(database)
        assert (another.name, one.name) == ("another", "one")
        assert not one.silent
        assert one.memory_peak_bytes > 1_000_000
        # Whoever is killed falls silent, and no longer counts.
        old = func.clock_timestamp() - timedelta(seconds=SILENT_S + 1)
        with database.begin() as connection:
            mine = update(models.worker).where(models.worker.c.name == "another")
            connection.execute(mine.values(heard_at=old))
        _wait(lambda: shares[-1] == PARTITIONS)
        assert [each.silent for each in _heard(database)] == [True, False]
    assert [each.name for each in _heard(database)] == ["another"], "who ends well leaves"


def test_trouble_is_heard_of_until_it_is_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.heartbeat.BEAT_S", 0)
    monkeypatch.setattr("tidemill.following._BACKOFF_S", 0.01)
    bus = _Failing(database, *[BrokerUnreachable("one:9092", "it is restarting.")] * 2)
    stop, told = threading.Event(), list[str | None]()

    def note(*_: object) -> None:
        told.append(_heard(database)[0].trouble)
        if len(told) == 4:
            stop.set()

    follow(bus, BOOKS, stop, heart=Heart(database), told=note, troubled=note)
    assert told[0] is None
    assert "restarting" in str(told[1])
    assert told[-1] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_finishes_its_batch(database: Database, number: int) -> None:
    events = _book(7, customers=10)
    bus = PostgresBus(database)
    bus.append(events)
    process = _worker(database)
    _wait(lambda: _pending(database) < len(events))
    told = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert time.monotonic() - told < 10
    assert "Ended in good order." in said
    drain(bus, BOOKS)
    assert _pending(database) == 0
