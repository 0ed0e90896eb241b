"""Messages in, log out.

The topic is how events travel: producers need no database, an event is durable once the brokers in
sync have it, and several workers share the partitions. The log in PostgreSQL is where they stay.
`claim` first moves what has arrived into the log and then delivers from it as `PostgresBus` does,
so replay, rebuild, and every promise of reading are the same with and without Kafka.

Each event is moved once, whatever happens: offsets are kept in PostgreSQL (``consumer_position``),
in the transaction that writes the events they stand for, and are never committed to the brokers. A
worker that lost a partition without knowing waits for the row of that partition, finds it ahead of
what it holds, and drops what somebody else has moved.

What is no event is quarantined in the transaction that moves past it; a copy of all that is
quarantined goes to the topic of dead letters before the transaction commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from sqlalchemy import BigInteger, Connection, SmallInteger, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill import models
from tidemill.bus.kafka.ahead import Ahead
from tidemill.bus.kafka.messages import (
    Incoming,
    Outgoing,
    event_of,
    incoming,
    outgoing,
    rejected,
)
from tidemill.bus.kafka.reading import waiting
from tidemill.bus.kafka.sending import Sender
from tidemill.bus.kafka.topics import (
    NOT_THERE,
    TOPIC,
    as_error,
    client_settings,
    dead_letters,
    ends_of,
)
from tidemill.bus.log import PARTITIONS, Appended, Delivery, Refused
from tidemill.bus.postgres import PostgresBus
from tidemill.database import Database
from tidemill.errors import BrokerUnreachable, ConfigError, InvalidEvent, PositionsLost, Transient
from tidemill.events import Event
from tidemill.intake import Rejected

__all__ = ["KafkaBus"]

_position = models.consumer_position
# How long to wait before a broker is asked again.
_POLL_S: Final = 0.2
_ANSWER_S: Final = 15.0
# How many are moved at once by a thread that does nothing else.
_AHEAD: Final = 10_000
# How long a partition may seem to end before what was read of it: a broker that starts again first
# tells what it had noted, and then what it has.
_SETTLING_S: Final = 5.0
# How long a new reader waits for its share of the partitions.
_JOINING_S: Final = 15.0

_CONSUMER: Final[dict[str, Any]] = {
    # Partitions move one by one when a worker comes or goes; the others read on.
    "partition.assignment.strategy": "cooperative-sticky",
    # Where reading goes on is PostgreSQL's to say.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    # A batch may be slow; only a worker that hangs for minutes loses its partitions.
    "max.poll.interval.ms": 600_000,
    # What is fetched ahead is bounded in bytes, however large the backlog.
    "queued.max.messages.kbytes": 16_384,
    "fetch.max.bytes": 8_388_608,
    "fetch.wait.max.ms": 50,
}


class KafkaBus(PostgresBus):
    """The log in PostgreSQL, with a topic as the way in.

    Any number of threads may append and claim; they take turns at moving messages.
    """

    def __init__(
        self,
        database: Database,
        servers: str,
        set_aside: Callable[[Connection, Sequence[Rejected], Sequence[Refused]], object],
        *,
        topic: str = TOPIC,
        member: str | None = None,
    ) -> None:
        """Use the brokers at `servers` (comma-separated); nothing is connected yet.

        set_aside: quarantines what is no event, and what the log cannot hold, in a transaction.
        member:    a name that stays this worker's own when it starts again: within the session
                   timeout it then finds the partitions it had, and nothing is rebalanced.
        """
        super().__init__(database)
        self._servers = servers
        self._sender = Sender(servers)
        self._set_aside = set_aside
        self._topic = topic
        self._member = member
        # Under which name the offsets stand among the positions: the next one to be moved.
        self._offsets = f"kafka:{topic}"
        self._consumer: Consumer | None = None
        self._trouble: Exception | None = None
        # Whether the brokers ever gave us partitions of the topic.
        self._found = False
        # The next offset to be read of each partition that ever was ours.
        self._next: dict[int, int] = {}
        # Partitions of which something was read that is not stored: read again, unless it will be.
        self._unstored: set[int] = set()
        self._reading = Lock()
        self._mover: Ahead | None = None

    def append(
        self,
        events: Iterable[Event],
        *,
        source_kind: str = "files",
        connection: Connection | None = None,
    ) -> Appended:
        """Put events on the topic, in the order given; on all brokers in sync when this returns.

        Whether an event is a duplicate is seen when it is moved into the log; here all count as
        stored. A caller with a transaction of its own writes into the log directly.

        Raises: BrokerUnreachable; some of the events may have arrived, and sending all again does
                no harm. BrokerMisconfigured.
        """
        if connection is not None:
            return super().append(events, source_kind=source_kind, connection=connection)
        messages = list(outgoing(events, source_kind))
        self._sender.send(self._topic, messages)
        return Appended(len(messages), 0)

    @contextmanager
    def claim(
        self, consumer: str, limit: int, *, partitions: int = PARTITIONS, wait: bool = False
    ) -> Iterator[Delivery | None]:
        """The next events for a reader, after the next messages have been moved into the log."""
        self._introduce(self._offsets)
        if wait:
            self._move_all(limit)
        elif self._mover is not None:
            self._mover.raise_trouble()
        else:
            self._move(limit)
        with super().claim(consumer, limit, partitions=partitions, wait=wait) as delivery:
            if delivery is None:
                yield None
                return
            last = _last_quarantined(delivery.connection)
            yield delivery
            self._mirror(delivery.connection, last)

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Messages are moved in a thread of its own until the block ends. See `Bus.ahead`."""
        mover = self._mover = Ahead(self._move_ahead)
        try:
            with mover:
                yield
        finally:
            self._mover = None

    def pending(self, connection: Connection, consumer: str) -> int:
        """How many events a reader has not applied yet: those in the log, and those to be moved."""
        taken = self._taken(connection)
        ends = ends_of(self._servers, self._topic)
        ahead = sum(max(0, end - taken.get(part, 0)) for part, end in ends.items())
        return super().pending(connection, consumer) + ahead

    def skip_missing(self) -> dict[int, tuple[int, int]]:
        """Go on at the first message that is there wherever what comes next is not.

        Returns: partition → where it stood, and where it goes on.
        """
        self._introduce(self._offsets)
        consumer = self._connected()
        with self._database.begin() as connection:
            taken = self._taken(connection, range(PARTITIONS))
            moved = {}
            for part, offset in taken.items():
                first, end = self._bounds(consumer, TopicPartition(self._topic, part))
                if not first <= offset <= end:
                    moved[part] = (offset, first)
            connection.execute(self._move_offsets({part: to for part, (_, to) in moved.items()}))
        return moved

    def close(self) -> None:
        """Leave the group at once, so that others take the partitions over without waiting."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._next.clear()
            self._unstored.clear()

    def _mirror(self, connection: Connection, last: int) -> None:
        """Copy what this transaction has quarantined to the topic of dead letters."""
        kept = models.quarantine
        new = select(kept.c.source, kept.c.body).where(
            kept.c.id > last, kept.c.quarantined_at == func.now()
        )
        copies = [
            Outgoing(0, row.body.encode(), row.source.encode()) for row in connection.execute(new)
        ]
        if copies:
            self._sender.send(dead_letters(self._topic), copies)

    # --- moving messages into the log -----------------------------------------------------------

    def _move(self, limit: int) -> None:
        """Move at most `limit` messages into the log."""
        with self._reading:
            self._move_some(self._poll(limit))

    def _move_ahead(self) -> None:
        self._introduce(self._offsets)
        with self._reading:
            self._move_some(self._read(_AHEAD))

    def _move_some(self, messages: Sequence[Incoming]) -> None:
        if not messages:
            return
        self._next |= {each.partition: each.offset + 1 for each in messages}
        with self._database.begin() as connection:
            last = _last_quarantined(connection)
            self._store(connection, messages)
            self._mirror(connection, last)
        self._unstored.clear()

    def _move_all(self, limit: int) -> None:
        """Move messages, or wait for other workers to, until all that are there now are moved."""
        ends = self._ends()
        while True:
            with self._database.connect() as connection:
                taken = self._taken(connection)
            if all(taken[part] >= end for part, end in ends.items()):
                return
            self._move(limit)

    def _store(self, connection: Connection, messages: Sequence[Incoming]) -> None:
        """Write what nobody has moved yet into log and quarantine, and move the offsets."""
        reached = {each.partition: each.offset + 1 for each in messages}
        taken = self._taken(connection, sorted(reached))
        events: list[Event] = []
        refused: list[Rejected] = []
        kind = ""
        for each in messages:
            if each.offset < taken[each.partition]:
                continue
            try:
                events.append(event_of(each))
            except InvalidEvent as error:
                refused.append(rejected(each, error))
            else:
                kind = kind or each.kind
        appended = super().append(events, source_kind=kind, connection=connection)
        self._set_aside(connection, refused, appended.refused)
        connection.execute(self._move_offsets(reached))

    # --- consuming ------------------------------------------------------------------------------

    def _poll(self, limit: int) -> list[Incoming]:
        """The next messages of the partitions that are ours, at most `limit`.

        None means that there are none, as far as it can be known: not that the group has still to
        give out its partitions, or that the first answer of a broker is on its way.
        """
        consumer = self._connected()
        deadline = time.monotonic() + _JOINING_S
        while True:
            found = self._read(limit)
            if found or self._caught_up(consumer) or time.monotonic() > deadline:
                return found

    def _read(self, limit: int) -> list[Incoming]:
        """The next messages that there are, at most `limit`; before them those read in vain."""
        self._go_back()
        return self._sound(waiting(self._connected(), limit))

    def _sound(self, read: Sequence[Message]) -> list[Incoming]:
        """The messages; raises what went wrong instead of one, or while partitions came to us."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            self.close()
            raise trouble
        errors = [error for each in read if (error := each.error()) is not None]
        found = [incoming(each) for each in read if each.error() is None]
        self._unstored |= {each.partition for each in found}
        if errors:
            raise self._error(errors[0])
        return found

    def _caught_up(self, consumer: Consumer) -> bool:
        """Whether everything that the brokers told us of has been read."""
        if not self._next:
            return False
        ends = {
            each.partition: consumer.get_watermark_offsets(each, cached=True)[1]
            for each in consumer.assignment()
        }
        return all(0 <= end <= self._next.get(part, 0) for part, end in ends.items())

    def _error(self, error: KafkaError) -> ConfigError:
        """What the reader's client complains of. A topic that was there will be there again."""
        if self._found and error.code() in NOT_THERE:
            return BrokerUnreachable(self._servers, f"{error.str()}.")
        return as_error(error, self._servers)

    def _connected(self) -> Consumer:
        """The reader, which joins the group when it is first needed."""
        if self._consumer is None:
            fixed = {"group.id": self._topic}
            if self._member is not None:
                fixed["group.instance.id"] = self._member
            self._consumer = Consumer(client_settings(self._servers) | _CONSUMER | fixed)
            self._consumer.subscribe([self._topic], on_assign=self._assigned)
        return self._consumer

    def _assigned(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        """Go on in each partition where PostgreSQL says that somebody stopped."""
        self._found = True
        try:
            with self._database.connect() as connection:
                taken = self._taken(connection)
            for each in given:
                self._require_within(consumer, each, taken[each.partition])
                each.offset = taken[each.partition]
            self._next |= {each.partition: each.offset for each in given}
            consumer.incremental_assign(given)
        # An exception in a callback of the client would be lost: `_poll` raises it.
        except Exception as error:  # noqa: BLE001 - kept for `_poll`
            self._trouble = error

    def _go_back(self) -> None:
        """Read from where the positions are what was read and could not be stored.

        Only now, because the database was away then; when it still is, nothing is read.
        """
        if not self._unstored or self._consumer is None:
            return
        with self._database.connect() as connection:
            taken = self._taken(connection)
        ours = {each.partition for each in self._consumer.assignment()}
        for part in self._unstored & ours:
            try:
                self._consumer.seek(TopicPartition(self._topic, part, taken[part]))
            except KafkaException as error:
                raise self._error(error.args[0]) from None
            self._next[part] = taken[part]
        self._unstored.clear()

    def _ends(self) -> dict[int, int]:
        """Where each partition of the topic ends now."""
        consumer = self._connected()
        parts = (TopicPartition(self._topic, part) for part in range(PARTITIONS))
        return {each.partition: self._bounds(consumer, each)[1] for each in parts}

    def _bounds(self, consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
        """The first offset that a partition holds, and the one after its last."""
        deadline = time.monotonic() + _ANSWER_S
        while True:
            try:
                first, end = consumer.get_watermark_offsets(partition, timeout=_ANSWER_S)
            except KafkaException as error:
                told = self._error(error.args[0])
                # Partitions change their leader; that passes.
                if not isinstance(told, Transient) or time.monotonic() > deadline:
                    raise told from None
                time.sleep(_POLL_S)
            else:
                return first, end

    def _require_within(self, consumer: Consumer, partition: TopicPartition, offset: int) -> None:
        """Refuse to read a partition that does not hold what comes next.

        Raises: PositionsLost.
        """
        deadline = time.monotonic() + _SETTLING_S
        while True:
            first, end = self._bounds(consumer, partition)
            if first <= offset <= end:
                return
            if offset < first or time.monotonic() > deadline:
                raise PositionsLost(f"{partition.topic}/{partition.partition}", offset, first, end)
            time.sleep(_POLL_S)

    def _taken(self, connection: Connection, held: Sequence[int] = ()) -> dict[int, int]:
        """The next offset to be moved of each partition; those `held` are locked."""
        query = select(_position.c.partition, _position.c.position).where(
            _position.c.consumer == self._offsets
        )
        if held:
            query = query.where(_position.c.partition.in_(held))
            query = query.order_by(_position.c.partition).with_for_update()
        return {row.partition: row.position for row in connection.execute(query)}

    def _move_offsets(self, reached: dict[int, int]) -> Any:
        to = (
            func.unnest(
                cast(list(reached), ARRAY(SmallInteger)),
                cast(list(reached.values()), ARRAY(BigInteger)),
            )
            .table_valued("partition", "position")
            .render_derived("reached")
        )
        return (
            update(_position)
            .where(_position.c.consumer == self._offsets, _position.c.partition == to.c.partition)
            .values(position=to.c.position)
        )


def _last_quarantined(connection: Connection) -> int:
    newest = select(func.coalesce(func.max(models.quarantine.c.id), 0))
    return int(connection.execute(newest).scalar_one())
