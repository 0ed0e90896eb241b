"""Following the log: a worker's life, from its first batch to the signal that ends it.

A batch is applied as a whole or not at all, so a worker may be ended at any moment and loses
nothing. In good order it finishes the batch at hand, leaves its place among the readers, and is
gone within seconds; a batch that takes too long for that is given up, and so has no effect. Trouble
that may pass (a database or broker that does not answer) makes it wait
longer and longer and try again; trouble that will not, ends it with the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from tidemill.bus import PARTITIONS, Bus
from tidemill.errors import TidemillError, Transient
from tidemill.heartbeat import Heart, share
from tidemill.state import Books
from tidemill.worker import Applier, Drained

__all__ = ["SHARE", "follow", "may_pass"]

SHARE: Final = PARTITIONS // 4
"""How many partitions a batch holds at most when nobody knows how many workers there are."""

# How long a worker waits when there is nothing to do, and at first and at most after trouble.
_IDLE_S: Final = 0.25
_BACKOFF_S: Final = 0.5
_BACKOFF_MAX_S: Final = 30.0
# How long a worker that was told to end may take for the batch at hand. What stops processes gives
# them ten seconds, often no more.
_ENDING_S: Final = 7.0
_CANCEL_EVERY_S: Final = 0.2


def follow(
    bus: Bus,
    books: Books,
    stop: Event,
    *,
    heart: Heart | None = None,
    told: Callable[[Drained], None] | None = None,
    troubled: Callable[[Exception, float], None] | None = None,
) -> Drained:
    """Apply what is in the log and what comes, until `stop` is set; the totals.

    heart:    tells others of this worker, and it of others, so that they share the partitions.
    told:     called after each batch, and when there was nothing to do, with the totals so far.
    troubled: called with trouble that may pass, and the seconds until the next attempt.
    """
    run = Applier(bus, books, partitions=SHARE)
    delay = _BACKOFF_S
    with bus.ahead(), _ending_in_time(run, stop):
        while not stop.is_set():
            try:
                if heart is not None and heart.due:
                    run.partitions = share(heart.beat(run.total))
                busy = run.step(wait=False)
            except (TidemillError, DBAPIError, psycopg.Error) as error:
                if not may_pass(error):
                    raise
                if stop.is_set():
                    break
                if heart is not None:
                    heart.trouble = str(error).partition("\n")[0]
                if troubled is not None:
                    troubled(error, delay)
                stop.wait(delay)
                delay = min(2 * delay, _BACKOFF_MAX_S)
                continue
            delay = _BACKOFF_S
            if heart is not None:
                heart.trouble = None
            if told is not None:
                told(run.total)
            if not busy:
                stop.wait(_IDLE_S)
    if heart is not None:
        # Whoever cannot say good-bye is found silent.
        with suppress(TidemillError, DBAPIError, psycopg.Error):
            heart.stop()
    return run.total


@contextmanager
def _ending_in_time(run: Applier, stop: Event) -> Iterator[None]:
    """Give the batch at hand up when it takes too long after `stop` was set."""
    over = Event()

    def watch() -> None:
        stop.wait()
        over.wait(_ENDING_S)
        while not over.wait(_CANCEL_EVERY_S):
            run.give_up()

    Thread(target=watch, name="ending", daemon=True).start()
    try:
        yield
    finally:
        over.set()


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
