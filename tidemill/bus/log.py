"""The contract of the bus, in words and types: the ordered, durable, replayable log of events.

What every implementation promises (``tests/contract`` holds each of them to it):

- an event whose `append` returned is never lost, whatever happens to the process or the machine;
- the same event (by id) is in the log once, however often it is appended;
- events of one customer are delivered in the order in which they were appended;
- a reader never skips an event because the transaction that brought it committed late;
- positions move in the transaction that holds the effects: after a crash an event may be delivered
  again, its effect happens once;
- a reader that is new, or rewound, starts at the beginning.

The log is cut into `PARTITIONS` partitions by (source, customer). Order is promised within a
partition, never between two: whoever reads must not care which of two customers comes first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, FromClause

from tidemill.errors import Problem
from tidemill.events import Event

__all__ = ["PARTITIONS", "Appended", "Bus", "Delivery", "Refused", "partition_of"]

PARTITIONS: Final = 16
"""How many partitions the log has; changing it means writing the log again."""


def partition_of(source: str, customer: str) -> int:
    """The partition in which the events of a customer travel; the same on every machine, forever.

    >>> partition_of("stripe", "cus_1")
    9
    """
    return zlib.crc32(f"{source}\0{customer}".encode()) % PARTITIONS


@dataclass(frozen=True, slots=True)
class Refused:
    """A well-formed event that the log cannot hold, such as text with a NUL character."""

    event: Event
    problem: Problem


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the events that were handed to the log.

    stored:    new in the log, as far as it can know at once.
    duplicate: already there by their id.
    refused:   not in the log; the caller must keep them elsewhere.
    """

    stored: int
    duplicate: int
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """The next events of the log, in a transaction that also moves the reader's positions.

    connection: the transaction; whatever the events cause is written through it.
    rows:       the events with all columns of ``event_log``, as something to select from. Complete
                up to its last position for every partition it touches.
    count:      how many events there are, at least one.
    """

    connection: Connection
    rows: FromClause
    count: int


class Bus(Protocol):
    """The log as producers and readers see it."""

    def append(
        self,
        events: Iterable[Event],
        *,
        source_kind: str = "files",
        connection: Connection | None = None,
    ) -> Appended:
        """Put events in the log, in the order given; durable when this returns.

        source_kind: the connector's name, kept with a source that is seen for the first time.
        connection:  a transaction of the caller to take part in, where the log lives in the same
                     database: durable then means committed by the caller.
        """
        ...

    def claim(
        self, consumer: str, limit: int, *, partitions: int = PARTITIONS, wait: bool = False
    ) -> AbstractContextManager[Delivery | None]:
        """The next events for a reader: at most `limit`, of at most `partitions` free partitions.

        Leaving the block normally commits positions and effects together; leaving it by an
        exception undoes both. None when there is nothing to read.

        consumer:   name of the reader; its first claim starts at the beginning of the log.
        partitions: less than all lets several workers of one consumer share the log.
        wait:       take all partitions, and wait for those that other workers hold. None then means
                    that everything appended before the call has been applied.
        """
        ...

    def ahead(self) -> AbstractContextManager[None]:
        """Until the block ends, events are brought to where `claim` reads while others are applied.

        For a reader that goes on and on: a `claim` that does not wait then gives what was brought,
        and raises what keeps more from coming.
        """
        ...

    def close(self) -> None:
        """Let go of what the bus holds beside the database, such as a place among its readers."""
        ...
