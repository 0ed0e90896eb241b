"""The Kafka bus keeps the promises of the bus, on a real broker."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from psycopg import sql
from sqlalchemy import Connection, Select, func, insert, select, update

from tests.contract.bus_contract import Broken, BusContract, read, story, strangers, subjects
from tests.support.broker import Broker, broker_or_skip
from tests.support.happenings import at, state
from tidemill import models, quarantine
from tidemill.bus.kafka import KafkaBus, create_topics, dead_letters
from tidemill.bus.kafka.messages import Outgoing
from tidemill.bus.kafka.reading import waiting
from tidemill.bus.kafka.sending import Sender
from tidemill.bus.kafka.topics import client_settings
from tidemill.database import Database
from tidemill.errors import (
    BrokerMisconfigured,
    BrokerUnreachable,
    DatabaseUnreachable,
    PositionsLost,
    Transient,
)
from tidemill.events import event_line

MakeBus = Callable[..., KafkaBus]


@pytest.fixture(scope="module")
def running() -> Iterator[Broker]:
    with broker_or_skip() as started:
        yield started


@pytest.fixture
def topic(running: Broker) -> str:
    """A topic of its own on the broker, empty."""
    name = f"events.{uuid4()}"
    create_topics(running.servers, name)
    return name


@pytest.fixture
def make_bus(database: Database, running: Broker, topic: str) -> Iterator[MakeBus]:
    """Makes buses on the topic, each a worker of its own; they leave when the test ends."""
    made: list[KafkaBus] = []

    def make(member: str | None = None) -> KafkaBus:
        bus = KafkaBus(database, running.servers, quarantine.set_aside, topic=topic, member=member)
        made.append(bus)
        return bus

    yield make
    for each in made:
        each.close()


@pytest.fixture
def bus(make_bus: MakeBus) -> KafkaBus:
    return make_bus()


class TestKafkaBus(BusContract):
    counts_duplicates = False

    @pytest.fixture
    def bus(self, make_bus: MakeBus) -> KafkaBus:
        return make_bus()


def _send(servers: str, topic: str, *values: bytes, partition: int = 0) -> None:
    """Put bytes on a topic as a program of somebody else would."""
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    for value in values:
        producer.produce(topic, value, b"stripe\0a", partition)
    assert producer.flush(30) == 0


def _letters(servers: str, topic: str, count: int) -> list[bytes]:
    """The first messages of the topic of dead letters."""
    settings = {"bootstrap.servers": servers, "group.id": "test", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe([dead_letters(topic)])
    found: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += [value for each in consumer.consume(count, 1) if (value := each.value())]
    consumer.close()
    return found


def test_what_is_no_event_is_quarantined_and_mirrored(
    database: Database, running: Broker, topic: str, bus: KafkaBus
) -> None:
    good, poison = story("a", 2), b'{"type": "subscription.created", "source": "stripe"}'
    _send(running.servers, topic, event_line(good[0]), poison, b"\xff\0", event_line(good[1]))
    assert read(bus) == [("a", 0), ("a", 1)]
    with database.connect() as connection:
        kept = quarantine.listed(connection)
    assert [each.origin for each in kept] == [f"{topic}/0/1", f"{topic}/0/2"]
    assert kept[0].body.encode() == poison
    assert {problem.path for problem in kept[0].problems} >= {"occurred_at", "data"}
    letters = _letters(running.servers, topic, 2)
    assert letters[0] == poison
    assert len(letters) == 2


def test_an_event_is_learned_when_the_brokers_took_it(
    database: Database, running: Broker, topic: str, bus: KafkaBus
) -> None:
    told = state("a", at(1), recorded_at=at(9))
    untold = state("a", at(1), sequence=1, recorded_at=None)
    before = datetime.now(UTC) - timedelta(seconds=1)
    bus.append([told, untold])
    assert len(read(bus)) == 2
    log = models.event_log
    with database.connect() as connection:
        first, second = connection.scalars(select(log.c.recorded_at).order_by(log.c.position))
    assert first == at(9)
    assert before < second < datetime.now(UTC) + timedelta(seconds=1)


def test_a_source_is_of_the_kind_its_producer_says(database: Database, bus: KafkaBus) -> None:
    bus.append(story("a", 1), source_kind="stripe")
    assert len(read(bus)) == 1
    with database.connect() as connection:
        assert connection.scalars(select(models.source.c.kind)).all() == ["stripe"]


def test_what_cannot_be_written_is_read_again(
    running: Broker, topic: str, database: Database
) -> None:
    """Neither log, quarantine nor offsets move, and the next attempt finds everything."""
    failing = True

    def set_aside(*given: Any) -> None:
        quarantine.set_aside(*given)
        if failing:
            raise Broken

    bus = KafkaBus(database, running.servers, set_aside, topic=topic)
    bus.append(story("a", 3))
    _send(running.servers, topic, b"poison")
    for _ in range(2):
        with pytest.raises(Broken):
            read(bus)
    failing = False
    assert read(bus) == [("a", 0), ("a", 1), ("a", 2)]
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 1
        assert bus.pending(connection, "reader") == 0
    bus.close()


def test_messages_are_moved_while_others_are_applied(database: Database, bus: KafkaBus) -> None:
    logged = select(func.count()).select_from(models.event_log)
    with bus.ahead(), database.connect() as watching:
        bus.append(story("a", 2))
        _until(lambda: _found(watching, logged) == 2)
        with bus.claim("reader", 100) as delivery:
            assert delivery is not None
            bus.append(story("b", 3))
            _until(lambda: _found(watching, logged) == 5)
            assert subjects(delivery) == [("a", 0), ("a", 1)]
        assert read(bus) == [("b", 0), ("b", 1), ("b", 2)]
    bus.append(story("c", 1))
    assert read(bus) == [("c", 0)], "without the thread, a claim moves what it gives"


def test_what_goes_wrong_ahead_is_told_to_the_next_claim(
    running: Broker, topic: str, database: Database
) -> None:
    failing = True

    def set_aside(*given: Any) -> None:
        quarantine.set_aside(*given)
        if failing:
            raise Broken

    bus = KafkaBus(database, running.servers, set_aside, topic=topic)
    bus.append(story("a", 2))

    found: list[tuple[str, int]] = []

    def fails() -> bool:
        try:
            found.extend(read(bus))
        except Broken:
            return True
        return False

    with bus.ahead():
        _until(fails)
        _until(fails)
        assert not found
        failing = False
        _until(lambda: not fails() and bool(found))
        assert found == [("a", 0), ("a", 1)]
    bus.close()


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def _found(watching: Connection, query: Select[int]) -> int:
    count = watching.execute(query).scalar_one()
    watching.rollback()
    return count


def test_messages_are_held_in_bounds(
    database: Database, bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait, and however large they are."""
    bus.append(story("a", 9))
    monkeypatch.setattr("tidemill.bus.kafka.reading._READ", 2)
    monkeypatch.setattr("tidemill.bus.kafka.reading._HELD_BYTES_MAX", 1)
    with bus.claim("reader", 100) as delivery:
        assert delivery is not None
        assert delivery.count <= 2
    monkeypatch.setattr("tidemill.bus.kafka.reading._HELD_BYTES_MAX", 1_000_000)
    assert len(read(bus)) + delivery.count == 9


def test_pending_counts_messages_too(database: Database, bus: KafkaBus) -> None:
    bus.append([event for name in strangers(5) for event in story(name, 4)])
    with database.connect() as connection:
        assert bus.pending(connection, "reader") == 20
    with bus.claim("reader", 7) as delivery:
        assert delivery is not None
    with database.connect() as connection:
        assert bus.pending(connection, "reader") == 13


def test_workers_come_and_go_and_every_event_has_its_effect_once(
    database: Database, make_bus: MakeBus
) -> None:
    """Three workers share the partitions; one leaves in good order, one without a word."""
    names = [f"cus_{number}" for number in range(24)]
    turns = 40
    done = threading.Event()

    def follow(leaves_after: float | None) -> None:
        mine, began = make_bus(), time.monotonic()
        while not done.is_set():
            with mine.claim("reader", 25, partitions=4) as delivery:
                if delivery is not None:
                    # What a worker does with events, in the transaction that moves the positions.
                    rows = {"hash": str(uuid4()), "document": subjects(delivery)}
                    delivery.connection.execute(insert(models.policy_in_use).values(rows))
            if leaves_after is not None and time.monotonic() - began > leaves_after:
                mine.close()
                return

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(follow, after) for after in (1.0, None, None)]
        writer = make_bus()
        for turn in range(turns):
            writer.append([state(name, at(1), sequence=turn) for name in names])
            time.sleep(0.05)
        _wait_until_applied(database, writer)
        done.set()
        for each in workers:
            each.result(timeout=60)
    with database.connect() as connection:
        documents = connection.scalars(select(models.policy_in_use.c.document)).all()
    effects = Counter((name, number) for each in documents for name, number in each)
    assert effects == Counter((name, number) for name in names for number in range(turns))


def _wait_until_applied(database: Database, bus: KafkaBus) -> None:
    def applied() -> bool:
        with database.connect() as connection:
            return not bus.pending(connection, "reader")

    _until(applied)


def test_a_topic_that_forgot_messages_is_refused_until_somebody_accepts_it(
    database: Database, bus: KafkaBus
) -> None:
    bus.append(story("a", 3))
    assert len(read(bus)) == 3
    offsets = models.consumer_position
    with database.begin() as connection:
        ahead = update(offsets).where(offsets.c.consumer.startswith("kafka:")).values(position=99)
        connection.execute(ahead)
    bus.close()
    with pytest.raises(PositionsLost, match="99 comes next"):
        read(bus)
    assert {new for _, new in bus.skip_missing().values()} == {0}
    bus.append(story("a", 4))
    assert read(bus) == [("a", 3)]


def test_what_was_read_when_the_database_went_away_is_read_again(
    database: Database, postgres_url: str, bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect() as connection:
        name = connection.execute(select(func.current_database())).scalar_one()

    def let_in(*, allowed: bool) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            admin.execute(statement.format(sql.Identifier(name), sql.Literal(allowed)))
            if not allowed:
                gone = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                admin.execute(f"{gone} WHERE datname = %s", [name])

    def and_then_it_goes_away(consumer: Consumer, limit: int) -> list[Message]:
        if found := waiting(consumer, limit):
            let_in(allowed=False)
        return found

    bus.append(story("a", 5))
    with monkeypatch.context() as patched:
        patched.setattr("tidemill.bus.kafka.reading.waiting", and_then_it_goes_away)
        for _ in range(2):
            with pytest.raises(DatabaseUnreachable):
                read(bus)
    let_in(allowed=True)
    bus.append(story("a", 6)[5:])
    assert read(bus) == [("a", number) for number in range(6)]


def test_a_topic_that_was_there_is_expected_to_come_again(
    running: Broker, topic: str, bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.bus.kafka.reading._ANSWER_S", 2.0)
    bus.append(story("a", 1))
    assert len(read(bus)) == 1
    admin = AdminClient(client_settings(running.servers))
    [gone] = admin.delete_topics([topic]).values()
    gone.result(timeout=30)
    with pytest.raises(BrokerUnreachable), bus.claim("reader", 10, wait=True):
        pass


def test_a_topic_with_other_partitions_is_refused(running: Broker) -> None:
    name = f"events.{uuid4()}"
    admin = AdminClient(client_settings(running.servers))
    [made] = admin.create_topics([NewTopic(name, 3, 1)]).values()
    made.result(timeout=30)
    deadline = time.monotonic() + 30
    while name not in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
    with pytest.raises(BrokerMisconfigured, match="has 3 partitions"):
        create_topics(running.servers, name)


def test_a_topic_that_is_not_there_is_refused(database: Database, running: Broker) -> None:
    bus = KafkaBus(database, running.servers, quarantine.set_aside, topic=f"none.{uuid4()}")
    with pytest.raises(BrokerMisconfigured, match="migrate"):
        bus.append(story("a", 1))


def test_a_broker_that_is_not_there_is_an_error_that_may_pass() -> None:
    sender = Sender("127.0.0.1:1", patience_s=1)
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1"):
        sender.send("events", [Outgoing(0, b"{}", b"key")])
    assert issubclass(BrokerUnreachable, Transient)


def test_topics_are_made_once(running: Broker, topic: str) -> None:
    assert create_topics(running.servers, topic) == ()
