"""The worker: takes what the log holds and brings the tables up to it, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.exc import DBAPIError

from tidemill.bus import Bus
from tidemill.state import Applied, Books, apply

__all__ = ["CONSUMER", "Drained", "Pace", "drain"]

CONSUMER: Final = "state"
"""Under which name the worker reads the log."""

# How often a batch is tried again that the database gave up on to let another one through.
_RETRIES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Drained:
    """What was taken from the log so far: events applied, events quarantined, batches."""

    applied: int = 0
    quarantined: int = 0
    batches: int = 0


@dataclass(slots=True)
class Pace:
    """How many events the next batch takes, so that each holds its locks for about `target_s`.

    Larger batches cost less for each event; shorter ones let others in and lose less when stopped.
    """

    limit: int = 5_000
    target_s: float = 1.0
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
    total = Drained()
    pace = Pace()
    # First what is free, then, waiting for the other workers, whatever may be left.
    for wait in (False, True):
        while (batch := _step(bus, books, consumer, pace, wait=wait)) is not None:
            total = replace(
                total,
                applied=total.applied + batch.events,
                quarantined=total.quarantined + batch.quarantined,
                batches=total.batches + 1,
            )
            if progress is not None:
                progress(total)
    return total


def _step(bus: Bus, books: Books, consumer: str, pace: Pace, *, wait: bool) -> Applied | None:
    """Apply one batch, again when the database chose it as the victim of a deadlock."""
    for _ in range(_RETRIES_MAX):
        try:
            return _batch(bus, books, consumer, pace, wait=wait)
        except DBAPIError as error:
            if not (getattr(error.orig, "sqlstate", None) or "").startswith("40"):
                raise
    return _batch(bus, books, consumer, pace, wait=wait)


def _batch(bus: Bus, books: Books, consumer: str, pace: Pace, *, wait: bool) -> Applied | None:
    started = time.monotonic()
    with bus.claim(consumer, pace.limit, wait=wait) as delivery:
        if delivery is None:
            return None
        applied = apply(delivery.connection, delivery.rows, books)
    pace.learn(delivery.count, time.monotonic() - started)
    return applied
