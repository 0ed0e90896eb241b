"""The worker: takes what the log holds and brings the tables up to it, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tidemill.bus import PARTITIONS, Bus
from tidemill.state import Books, apply, keep_statistics

__all__ = ["CONSUMER", "Applier", "Drained", "Pace", "drain", "let_through"]

_Done = TypeVar("_Done")

CONSUMER: Final = "state"
"""Under which name the worker reads the log."""

# How often a batch is tried again that the database gave up on to let another one through.
_RETRIES_MAX: Final = 5
# So many events make it worth asking whether the planner still knows the tables.
_MANY: Final = 5_000


@dataclass(frozen=True, slots=True)
class Drained:
    """What was taken from the log so far: events applied, events quarantined, batches."""

    applied: int = 0
    quarantined: int = 0
    batches: int = 0

    def __add__(self, other: Drained) -> Drained:
        """Both together."""
        return Drained(
            self.applied + other.applied,
            self.quarantined + other.quarantined,
            self.batches + other.batches,
        )


@dataclass(slots=True)
class Pace:
    """How many events the next batch takes, so that each takes about `target_s`.

    Larger batches cost less for each event: what a customer's events have in common is done once.
    Shorter ones keep other workers from fewer partitions, and lose less work when stopped. Three
    seconds made an import twice as fast as one, and longer ones no faster.
    """

    limit: int = 10_000
    target_s: float = 3.0
    smallest: int = 500
    largest: int = 50_000

    def learn(self, count: int, elapsed_s: float) -> None:
        """Take the measure of a batch; at most four times as many events in the next one."""
        # A batch that was not full says nothing about a full one: it mostly paid for the overhead.
        if count < self.limit:
            return
        fitting = int(count * self.target_s / max(elapsed_s, 1e-6))
        self.limit = max(self.smallest, min(fitting, 4 * self.limit, self.largest))


def drain(
    bus: Bus,
    books: Books,
    *,
    consumer: str = CONSUMER,
    progress: Callable[[Drained], None] | None = None,
) -> Drained:
    """Apply events until everything that was in the log when this was called has been applied.

    Other workers may do part of it; this waits for them. Stopping it at any moment loses nothing:
    a batch is applied as a whole or not at all, and the next call goes on after the last one.

    progress: called after each batch with the totals so far.
    """
    run = Applier(bus, books, consumer)
    # First what is free, then, waiting for the other workers, whatever may be left.
    for wait in (False, True):
        while run.step(wait=wait):
            if progress is not None:
                progress(run.total)
            if not (wait or run.full):
                break
    return run.total


def let_through(batch: Callable[[], _Done]) -> _Done:
    """Run a batch, again when the database chose it as the victim of a deadlock."""
    for _ in range(_RETRIES_MAX):
        try:
            return batch()
        except DBAPIError as error:
            if not (getattr(error.orig, "sqlstate", None) or "").startswith("40"):
                raise
    return batch()


class Applier:
    """Takes one batch after the other from the log; knows its pace and what it has done."""

    def __init__(
        self, bus: Bus, books: Books, consumer: str = CONSUMER, *, partitions: int = PARTITIONS
    ) -> None:
        """partitions: how many of them a batch holds at most."""
        self._bus = bus
        self._books = books
        self._consumer = consumer
        self.partitions = partitions
        self._pace = Pace()
        self._added = 0
        self.total = Drained()
        # Whether the last batch left something behind, as far as it could see.
        self.full = False
        self._at_work: Connection | None = None

    def give_up(self) -> None:
        """Cancel what the batch at hand is waiting for; it is undone. From another thread."""
        at_work = self._at_work
        if at_work is not None:
            driver = at_work.connection.driver_connection
            assert driver is not None
            driver.cancel_safe(timeout=1.0)

    def step(self, *, wait: bool) -> bool:
        """Apply one batch, again when the database chose it as the victim of a deadlock.

        wait: for partitions that other workers hold.
        Returns whether there was anything to apply.
        """
        return let_through(lambda: self._batch(wait=wait))

    def _batch(self, *, wait: bool) -> bool:
        started = time.monotonic()
        with self._bus.claim(
            self._consumer, self._pace.limit, partitions=self.partitions, wait=wait
        ) as delivery:
            if delivery is None:
                return False
            self._at_work = delivery.connection
            try:
                applied = apply(delivery.connection, delivery.rows, self._books)
                added = self._added + applied.events
                if added >= _MANY and keep_statistics(delivery.connection, self._books, added):
                    added = 0
            finally:
                self._at_work = None
        self._added = added
        self.full = delivery.count == self._pace.limit
        self._pace.learn(delivery.count, time.monotonic() - started)
        self.total += Drained(applied.events, applied.quarantined, 1)
        return True
