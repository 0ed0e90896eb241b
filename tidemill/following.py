"""Following the log: a worker's life, from its first batch to the signal that ends it.

A batch is applied as a whole or not at all, so a worker may be ended at any moment and loses
nothing. In good order it finishes the batch at hand, leaves its place among the readers, and is
gone within seconds. Trouble that may pass (a database or broker that does not answer) makes it wait
longer and longer and try again; trouble that will not, ends it with the error.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from tidemill.bus import PARTITIONS, Bus
from tidemill.errors import TidemillError, Transient
from tidemill.state import Books
from tidemill.worker import CONSUMER, Applier, Drained

__all__ = ["SHARE", "follow", "may_pass"]

SHARE: Final = PARTITIONS // 4
"""How many partitions a batch holds at most, so that several workers find some that are free."""

# How long a worker waits when there is nothing to do, and at first and at most after trouble.
_IDLE_S: Final = 0.25
_BACKOFF_S: Final = 0.5
_BACKOFF_MAX_S: Final = 30.0


def follow(
    bus: Bus,
    books: Books,
    stop: Event,
    *,
    consumer: str = CONSUMER,
    told: Callable[[Drained], None] | None = None,
    troubled: Callable[[Exception, float], None] | None = None,
) -> Drained:
    """Apply what is in the log and what comes, until `stop` is set; the totals.

    told:     called after each batch, and when there was nothing to do, with the totals so far.
    troubled: called with trouble that may pass, and the seconds until the next attempt.
    """
    run = Applier(bus, books, consumer, partitions=SHARE)
    delay = _BACKOFF_S
    while not stop.is_set():
        try:
            busy = run.step(wait=False)
        except (TidemillError, DBAPIError, psycopg.Error) as error:
            if not may_pass(error):
                raise
            if troubled is not None:
                troubled(error, delay)
            stop.wait(delay)
            delay = min(2 * delay, _BACKOFF_MAX_S)
            continue
        delay = _BACKOFF_S
        if told is not None:
            told(run.total)
        if not busy:
            stop.wait(_IDLE_S)
    return run.total


def may_pass(error: Exception) -> bool:
    """Whether trying the same again can help: a lost connection, a server that starts again.

    A statement that is refused for what it says is a defect, and stays one.
    """
    origin = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(origin, psycopg.Error):
        return isinstance(error, Transient)
    if origin.sqlstate is None:
        # Not the server's word but the driver's: only a connection that broke is worth a retry.
        return isinstance(origin, psycopg.OperationalError)
    # 08 connections, 40 conflicts, 53 resources, 55 locks, 57 an operator's doing.
    return origin.sqlstate.startswith(("08", "40", "53", "55", "57"))
