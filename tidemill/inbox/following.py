"""Following the inbox: taking in what comes, and asking the vendor where something is left open."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.errors import TidemillError
from tidemill.following import may_pass
from tidemill.inbox.mending import Readers, mend
from tidemill.inbox.work import Worked, take_in

__all__ = ["follow_inbox"]

# How long to wait when there is nothing to do, and after trouble with the vendor's API or the
# database at first and at most.
_IDLE_S: Final = 0.25
_BACKOFF_S: Final = 1.0
_BACKOFF_MAX_S: Final = 300.0


def follow_inbox(
    database: Database,
    bus: PostgresBus,
    readers: Readers,
    stop: Event,
    *,
    troubled: Callable[[Exception, float], None] | None = None,
) -> Worked:
    """Take in deliveries as they come, until `stop` is set; the totals.

    A vendor that cannot be asked holds up nothing: it is asked again later.

    troubled: called with trouble, and the seconds until what it kept from happening is tried again.
    """
    worked, trouble = Worked(), _Trouble(troubled)
    asking = _Trouble(troubled)
    while not stop.is_set():
        try:
            done = take_in(database, bus)
            worked += done
            trouble.over()
        except (TidemillError, DBAPIError, psycopg.Error) as error:
            if not may_pass(error):
                raise
            stop.wait(trouble.met(error))
            continue
        if not asking.waits():
            _ask(database, readers, asking)
        if not done.total:
            stop.wait(_IDLE_S)
    return worked


def _ask(database: Database, readers: Readers, asking: _Trouble) -> None:
    try:
        mend(database, readers, now=int(time.time()))
        asking.over()
    except (TidemillError, DBAPIError, psycopg.Error) as error:
        asking.met(error)


class _Trouble:
    """Trouble that may pass: how long to leave it alone, longer each time."""

    def __init__(self, told: Callable[[Exception, float], None] | None) -> None:
        self._told = told
        self._delay_s = _BACKOFF_S
        self._until = 0.0

    def met(self, error: Exception) -> float:
        """Note trouble; the seconds until the next attempt."""
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, _BACKOFF_MAX_S)
        self._until = time.monotonic() + delay_s
        if self._told is not None:
            self._told(error, delay_s)
        return delay_s

    def over(self) -> None:
        """It is over."""
        self._delay_s = _BACKOFF_S

    def waits(self) -> bool:
        """Whether it is too early for another attempt."""
        return time.monotonic() < self._until
