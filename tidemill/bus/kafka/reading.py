"""Reading a topic, from where PostgreSQL says that somebody stopped.

What was read counts as unstored until it is said to be stored. A reader goes back to it before it
reads on: to wait with that is safe, while the database may be away when storing fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tidemill.bus.kafka.messages import Incoming, incoming
from tidemill.bus.kafka.topics import NOT_THERE, as_error, client_settings
from tidemill.bus.log import PARTITIONS
from tidemill.errors import BrokerUnreachable, ConfigError, PositionsLost, Transient

__all__ = ["Reader", "waiting"]

# How long one look for messages waits when there are none, and how often it looks meanwhile. The
# client would wait by the clock of the day: for an hour, once that is set back by an hour.
_POLL_S: Final = 0.2
_LOOK_S: Final = 0.01
# What is read at once, and how many bytes of messages are held at most, but for the last of them.
_READ: Final = 1_000
_HELD_BYTES_MAX: Final = 33_554_432
# How long to wait before a broker is asked again, and for how long it is asked.
_AGAIN_S: Final = 0.2
_ANSWER_S: Final = 15.0
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


class Reader:
    """A member of the group that shares the partitions of a topic; joins when it is first asked."""

    def __init__(
        self, servers: str, topic: str, stored: Callable[[], dict[int, int]], *, member: str | None
    ) -> None:
        """stored: asks PostgreSQL for the next offset to be stored of each partition.

        member: a name by which brokers know it again when it comes back.
        """
        self._servers = servers
        self._topic = topic
        self._stored = stored
        self._member = member
        self._consumer: Consumer | None = None
        self._trouble: Exception | None = None
        # Whether the brokers ever gave us partitions of the topic.
        self._found = False
        # The next offset to be read of each partition that ever was ours.
        self._next: dict[int, int] = {}
        # Partitions of which something was read that is not stored.
        self._unstored: set[int] = set()

    def poll(self, limit: int) -> list[Incoming]:
        """The next messages of the partitions that are ours, at most `limit`.

        None means that there are none, as far as it can be known: not that the group has still to
        give out its partitions, or that the first answer of a broker is on its way.
        """
        consumer = self._connected()
        deadline = time.monotonic() + _JOINING_S
        while True:
            found = self.read(limit)
            if found or self._caught_up(consumer) or time.monotonic() > deadline:
                return found

    def read(self, limit: int) -> list[Incoming]:
        """The next messages that there are, at most `limit`; before them those read in vain."""
        self._go_back()
        return self._sound(waiting(self._connected(), limit))

    def all_stored(self) -> None:
        """Say that what was read so far is stored."""
        self._unstored.clear()

    def ends(self) -> dict[int, int]:
        """Where each partition of the topic ends now."""
        return {part: self.bounds(part)[1] for part in range(PARTITIONS)}

    def bounds(self, part: int) -> tuple[int, int]:
        """The first offset that a partition holds, and the one after its last."""
        consumer, partition = self._connected(), TopicPartition(self._topic, part)
        deadline = time.monotonic() + _ANSWER_S
        while True:
            try:
                first, end = consumer.get_watermark_offsets(partition, timeout=_ANSWER_S)
            except KafkaException as error:
                told = self._error(error.args[0])
                # Partitions change their leader; that passes.
                if not isinstance(told, Transient) or time.monotonic() > deadline:
                    raise told from None
                time.sleep(_AGAIN_S)
            else:
                return first, end

    def close(self) -> None:
        """Leave the group at once, so that others take the partitions over without waiting."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._next.clear()
            self._unstored.clear()

    def _sound(self, read: Sequence[Message]) -> list[Incoming]:
        """The messages; raises what went wrong instead of one, or while partitions came to us."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            self.close()
            raise trouble
        # Of all, before anything can go wrong with one of them.
        self._unstored |= {part for each in read if (part := each.partition()) is not None}
        errors = [error for each in read if (error := each.error()) is not None]
        if errors:
            raise self._error(errors[0])
        found = [incoming(each) for each in read]
        self._next |= {each.partition: each.offset + 1 for each in found}
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
            stored = self._stored()
            for each in given:
                self._require_within(each.partition, stored[each.partition])
                each.offset = stored[each.partition]
            self._next |= {each.partition: each.offset for each in given}
            consumer.incremental_assign(given)
        # An exception in a callback of the client would be lost: `_sound` raises it.
        except Exception as error:  # noqa: BLE001 - kept for `_sound`
            self._trouble = error

    def _go_back(self) -> None:
        """Read from where the positions are what was read and could not be stored.

        Only now, because the database was away then; when it still is, nothing is read.
        """
        if not self._unstored or self._consumer is None:
            return
        stored = self._stored()
        ours = {each.partition for each in self._consumer.assignment()}
        for part in self._unstored & ours:
            try:
                self._consumer.seek(TopicPartition(self._topic, part, stored[part]))
            except KafkaException as error:
                raise self._error(error.args[0]) from None
            self._next[part] = stored[part]
        self._unstored.clear()

    def _require_within(self, part: int, offset: int) -> None:
        """Refuse to read a partition that does not hold what comes next.

        Raises: PositionsLost.
        """
        first, end = self.bounds(part)
        if not first <= offset <= end:
            raise PositionsLost(f"{self._topic}/{part}", offset, first, end)


def waiting(consumer: Consumer, limit: int) -> list[Message]:
    """The messages that are there, at most `limit`; waits a moment for the first of them."""
    deadline = time.monotonic() + _POLL_S
    found = _there(consumer, limit)
    if not found:
        # Its own threads wait by that clock, too, and would fetch nothing; being asked wakes them.
        consumer.assignment()
    while not found and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        found = _there(consumer, limit)
    return found


def _there(consumer: Consumer, limit: int) -> list[Message]:
    found: list[Message] = []
    size = 0
    while len(found) < limit and size < _HELD_BYTES_MAX:
        wanted = min(_READ, limit - len(found))
        more: list[Message] = consumer.consume(wanted, 0)
        found += more
        size += sum(len(each.value() or b"") for each in more)
        if len(more) < wanted:
            break
    return found
