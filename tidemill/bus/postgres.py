"""The bus as a PostgreSQL table: `event_log`, with `consumer_position` beside it.

How events get into the log, and why readers miss none of them, is in `appending`.

*Readers follow partitions, not the log.* Each partition has its own position, and a delivery takes
the partitions one after the other, whichever was read least far first. A big backlog is so read a
partition at a time, which brings the whole history of a customer into one or two deliveries instead
of a little into each: what is derived per touched customer is then derived once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ScalarSelect,
    SmallInteger,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql

from tidemill import models
from tidemill.bus.appending import append, written
from tidemill.bus.log import PARTITIONS, Appended, Delivery
from tidemill.bus.staging import Analyze, empty_staging, roomy, staging_table
from tidemill.database import Database
from tidemill.events import Event

__all__ = ["PostgresBus"]

_log = models.event_log
_position = models.consumer_position

# What a delivery holds: whole rows of the log, because a partition's rows lie scattered over it and
# every statement of a batch would have to collect them again.
_delivered = staging_table(
    "delivered", *(Column(each.name, each.type, nullable=False) for each in _log.columns)
)


class PostgresBus:
    """The log in the database that also holds everything made from it."""

    def __init__(self, database: Database) -> None:
        """Use the tables of `database`; nothing is read or written yet."""
        self._database = database
        self._introduced: set[str] = set()

    def append(
        self,
        events: Iterable[Event],
        *,
        source_kind: str = "files",
        connection: Connection | None = None,
    ) -> Appended:
        """Put events in the log, in the order given; durable when this returns.

        A caller that gives its own `connection` makes them durable by committing, and appends once
        a transaction: a second append could take partition locks out of order. See `Bus.append`.
        """
        batch = list(events)
        if not batch:
            return Appended(0, 0)
        if connection is not None:
            return append(connection, batch, source_kind)
        with self._database.begin() as own:
            return append(own, batch, source_kind)

    @contextmanager
    def claim(
        self, consumer: str, limit: int, *, partitions: int = PARTITIONS, wait: bool = False
    ) -> Iterator[Delivery | None]:
        """The next events for a reader, in a transaction of its own. See `Bus.claim`."""
        self._introduce(consumer)
        with self._database.begin() as connection:
            yield self.deliver(connection, consumer, limit, partitions=partitions, wait=wait)

    def ahead(self) -> AbstractContextManager[None]:
        """Nothing has to be brought: what was appended is here."""
        return nullcontext()

    def deliver(
        self,
        connection: Connection,
        consumer: str,
        limit: int,
        *,
        partitions: int = PARTITIONS,
        wait: bool = False,
    ) -> Delivery | None:
        """The next events for a reader, in a transaction of the caller; positions move with it."""
        free = _lock_positions(connection, consumer, partitions, wait=wait)
        if not free:
            return None
        roomy(connection)
        empty_staging(connection, _delivered)
        count = written(connection, _take(free, limit))
        if not count:
            return None
        connection.execute(
            Analyze(_delivered, *(_delivered.c[name] for name in ("type", "customer", "subject")))
        )
        connection.execute(_move(consumer))
        return Delivery(connection, _delivered, count)

    def skip_missing(self) -> dict[int, tuple[int, int]]:
        """Go on wherever what comes next was lost: partition → from where, to where.

        A table loses nothing, so there is nothing to skip.
        """
        return {}

    def close(self) -> None:
        """Let go of what the bus holds beside the database; here that is nothing."""

    def hold(self, connection: Connection, consumer: str) -> None:
        """Wait until nobody reads for `consumer`, and let nobody until the transaction ends."""
        self._introduce(consumer)
        _lock_positions(connection, consumer, PARTITIONS, wait=True)

    def rewind(self, connection: Connection, consumer: str) -> None:
        """Let a reader start again at the beginning, once nobody else reads for it."""
        # Somebody may have removed its positions since this process last saw them.
        self._introduced.discard(consumer)
        self.hold(connection, consumer)
        connection.execute(
            update(_position).where(_position.c.consumer == consumer).values(position=0)
        )

    def forget(self, connection: Connection, consumer: str) -> None:
        """Remove the positions of a reader that will not come back."""
        self._introduced.discard(consumer)
        connection.execute(delete(_position).where(_position.c.consumer == consumer))

    def go_on(self, connection: Connection, consumer: str, where: str) -> None:
        """Let a reader go on where another one is; both stay held until the transaction ends."""
        self.hold(connection, consumer)
        reached = _position.alias("reached")
        connection.execute(
            update(_position)
            .where(
                _position.c.consumer == consumer,
                reached.c.consumer == where,
                _position.c.partition == reached.c.partition,
            )
            .values(position=reached.c.position)
        )

    def is_as_far(self, connection: Connection, consumer: str, other: str) -> bool:
        """Whether a reader has read all that another one has."""
        mine, others = _position.alias("mine"), _position.alias("others")
        lacking = (
            select(others.c.partition)
            .select_from(
                others.outerjoin(
                    mine, and_(mine.c.consumer == consumer, mine.c.partition == others.c.partition)
                )
            )
            .where(
                others.c.consumer == other,
                others.c.position > func.coalesce(mine.c.position, 0),
            )
        )
        return not connection.execute(select(exists(lacking))).scalar_one()

    def pending(self, connection: Connection, consumer: str) -> int:
        """How many events of the log a reader has not applied yet."""
        counted = select(func.count()).select_from(_log)
        reached = select(_position).where(_position.c.consumer == consumer).subquery()
        ahead = (
            counted.where(
                _log.c.partition == reached.c.partition, _log.c.position > reached.c.position
            )
            .correlate(reached)
            .scalar_subquery()
        )
        known = connection.execute(select(func.sum(ahead)).select_from(reached)).scalar()
        if known is None:
            return connection.execute(counted).scalar_one()
        return int(known)

    def oldest(self, consumer: str) -> ScalarSelect[datetime]:
        """When the oldest event was recorded that a reader has not applied; null without one.

        Of each partition only the next event is looked at.
        """
        following = (
            select(_log.c.recorded_at)
            .where(
                _log.c.partition == _position.c.partition,
                _log.c.position > _position.c.position,
            )
            .order_by(_log.c.position)
            .limit(1)
            .lateral("following")
        )
        behind = _position.join(following, true())
        return (
            select(func.min(following.c.recorded_at))
            .select_from(behind)
            .where(_position.c.consumer == consumer)
            .scalar_subquery()
        )

    def _introduce(self, consumer: str) -> None:
        """Give a reader its positions, at the beginning of every partition, when it has none.

        In a transaction of its own: another worker would otherwise wait for a whole batch.
        """
        if consumer in self._introduced:
            return
        with self._database.begin() as connection:
            known = select(func.count()).where(_position.c.consumer == consumer)
            if connection.execute(known).scalar_one() < PARTITIONS:
                rows = [
                    {"consumer": consumer, "partition": each, "position": 0}
                    for each in range(PARTITIONS)
                ]
                connection.execute(
                    postgresql.insert(_position).values(rows).on_conflict_do_nothing()
                )
        self._introduced.add(consumer)


# --- reading -----------------------------------------------------------------------------------


def _lock_positions(
    connection: Connection, consumer: str, limit: int, *, wait: bool
) -> list[tuple[int, int]]:
    """Hold free partitions of a reader: (partition, position), the least far first."""
    held = select(_position.c.partition, _position.c.position).where(
        _position.c.consumer == consumer
    )
    if wait:
        # All who wait do so in the same order, and none of them holds what another waits for.
        held = held.order_by(_position.c.partition).with_for_update()
    else:
        # Of those that have something to read: quiet partitions would stay the least far forever.
        ahead = exists().where(
            _log.c.partition == _position.c.partition, _log.c.position > _position.c.position
        )
        held = held.where(ahead).order_by(_position.c.position).limit(limit)
        held = held.with_for_update(skip_locked=True)
    rows = [(row.partition, row.position) for row in connection.execute(held)]
    return sorted(rows, key=lambda row: row[1])


def _take(free: list[tuple[int, int]], limit: int) -> Any:
    """Stage the next events of the partitions held.

    The inner query reads a partition in order, so whatever the outer limit leaves out of it lies
    behind everything that was taken.
    """
    reached = (
        func.unnest(
            cast([partition for partition, _ in free], postgresql.ARRAY(SmallInteger)),
            cast([position for _, position in free], postgresql.ARRAY(BigInteger)),
        )
        .table_valued("partition", "position")
        .render_derived("reached")
    )
    following = (
        select(_log)
        .where(_log.c.partition == reached.c.partition, _log.c.position > reached.c.position)
        .order_by(_log.c.position)
        .limit(limit)
        .lateral("following")
    )
    taken = select(following).select_from(reached.join(following, true())).limit(limit)
    return insert(_delivered).from_select([each.name for each in _log.columns], taken)


def _move(consumer: str) -> Any:
    """Move the positions to the last event taken of each partition."""
    last = (
        select(_delivered.c.partition, func.max(_delivered.c.position).label("position"))
        .group_by(_delivered.c.partition)
        .subquery("last")
    )
    return (
        update(_position)
        .where(_position.c.consumer == consumer, _position.c.partition == last.c.partition)
        .values(position=last.c.position)
    )
