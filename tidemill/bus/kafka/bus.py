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

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, SmallInteger, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill import models
from tidemill.bus.kafka.ahead import Ahead
from tidemill.bus.kafka.messages import (
    Incoming,
    Outgoing,
    event_of,
    outgoing,
    rejected,
)
from tidemill.bus.kafka.reading import Reader
from tidemill.bus.kafka.sending import Sender
from tidemill.bus.kafka.topics import TOPIC, dead_letters, ends_of
from tidemill.bus.log import PARTITIONS, Appended, Delivery, Refused
from tidemill.bus.postgres import PostgresBus
from tidemill.database import Database
from tidemill.errors import InvalidEvent
from tidemill.events import Event
from tidemill.intake import Rejected

__all__ = ["KafkaBus"]

_position = models.consumer_position
# How many are moved at once by a thread that does nothing else.
_AHEAD: Final = 10_000


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
        # Under which name the offsets stand among the positions: the next one to be moved.
        self._offsets = f"kafka:{topic}"
        self._reader = Reader(servers, topic, self._stored, member=member)
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
        with self._database.begin() as connection:
            taken = self._taken(connection, range(PARTITIONS))
            moved = {}
            for part, offset in taken.items():
                first, end = self._reader.bounds(part)
                if not first <= offset <= end:
                    moved[part] = (offset, first)
            connection.execute(self._move_offsets({part: to for part, (_, to) in moved.items()}))
        return moved

    def close(self) -> None:
        """Leave the group at once, so that others take the partitions over without waiting."""
        self._reader.close()
        self._sender.close()

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
            self._move_some(self._reader.poll(limit))

    def _move_ahead(self) -> None:
        self._introduce(self._offsets)
        with self._reading:
            self._move_some(self._reader.read(_AHEAD))

    def _move_some(self, messages: Sequence[Incoming]) -> None:
        if not messages:
            return
        with self._database.begin() as connection:
            last = _last_quarantined(connection)
            self._store(connection, messages)
            self._mirror(connection, last)
        self._reader.all_stored()

    def _move_all(self, limit: int) -> None:
        """Move messages, or wait for other workers to, until all that are there now are moved."""
        ends = self._reader.ends()
        while True:
            taken = self._stored()
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

    def _stored(self) -> dict[int, int]:
        """The next offset to be moved of each partition."""
        with self._database.connect() as connection:
            return self._taken(connection)

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
