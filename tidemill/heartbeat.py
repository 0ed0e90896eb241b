"""Heartbeats: which workers there are, when each was last heard of, and what troubles it.

A worker beats between two batches, so a worker that hangs falls silent. Instants are those of the
database server: what the clocks of the workers' machines say, or do, makes no difference. From the
beats each worker also knows how many share the log, and takes its share of the partitions.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, select
from sqlalchemy.dialects import postgresql

from tidemill.bus import PARTITIONS
from tidemill.database import Database
from tidemill.models import worker
from tidemill.worker import Drained

__all__ = ["BEAT_S", "SILENT_S", "Heard", "Heart", "heard", "memory_peak_bytes", "share"]

BEAT_S: Final = 5.0
"""How often a worker beats, unless a batch takes longer."""

SILENT_S: Final = 30.0
"""A worker that was not heard of for so long does not count as one that is at work."""

# Whoever was killed is shown as silent for so long, and then forgotten.
_FORGOTTEN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a worker; instants are UTC, ages seconds by the server's clock.

    applied, quarantined, batches: since it started.
    trouble: what keeps it from working; None when nothing does.
    """

    name: str
    started_at: datetime
    heard_at: datetime
    age_s: float
    applied: int
    quarantined: int
    batches: int
    memory_peak_bytes: int
    trouble: str | None

    @property
    def silent(self) -> bool:
        """Whether it ended without a word, or hangs."""
        return self.age_s > SILENT_S


class Heart:
    """The heartbeat of one worker; for one thread."""

    def __init__(self, database: Database, name: str | None = None) -> None:
        """name: by default of the machine and the process, so that no two are alike."""
        self._database = database
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.trouble: str | None = None
        self._beat_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether it is time for the next beat."""
        return self._beat_at is None or time.monotonic() - self._beat_at >= BEAT_S

    def beat(self, total: Drained) -> int:
        """Tell that the worker is there, and what it has done; how many are, itself included."""
        first = self._beat_at is None
        values: dict[str, Any] = {
            "applied": total.applied,
            "quarantined": total.quarantined,
            "batches": total.batches,
            "memory_peak_bytes": memory_peak_bytes(),
            "trouble": self.trouble,
        }
        now = func.clock_timestamp()
        values = {"heard_at": now, **values}
        mine = postgresql.insert(worker).values(name=self.name, started_at=now, **values)
        # One that starts again under its old name starts to count anew.
        again = values | ({"started_at": now} if first else {})
        with self._database.begin() as connection:
            connection.execute(mine.on_conflict_do_update(index_elements=["name"], set_=again))
            connection.execute(delete(worker).where(_age() > _FORGOTTEN))
            alive = select(func.count()).where(_age() <= timedelta(seconds=SILENT_S))
            count: int = connection.execute(alive.select_from(worker)).scalar_one()
        self._beat_at = time.monotonic()
        return count

    def stop(self) -> None:
        """Leave, in good order."""
        with self._database.begin() as connection:
            connection.execute(delete(worker).where(worker.c.name == self.name))


def heard(connection: Connection) -> list[Heard]:
    """Every worker that is at work, or fell silent in the last hour; by name."""
    age_s = func.extract("epoch", _age()).label("age_s")
    found = connection.execute(select(worker, age_s).order_by(worker.c.name))
    return [
        Heard(
            row.name,
            row.started_at,
            row.heard_at,
            max(0.0, float(row.age_s)),
            row.applied,
            row.quarantined,
            row.batches,
            row.memory_peak_bytes,
            row.trouble,
        )
        for row in found
    ]


def share(workers: int) -> int:
    """How many partitions a worker takes at once when so many share the log.

    >>> [share(workers) for workers in (1, 2, 3, 16, 40)]
    [16, 8, 6, 1, 1]
    """
    return max(1, -(-PARTITIONS // max(1, workers)))


def memory_peak_bytes() -> int:
    """The most memory that this process ever had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In kilobytes, but for macOS.
    return peak if sys.platform == "darwin" else peak * 1024


def _age() -> ColumnElement[timedelta]:
    return func.clock_timestamp() - worker.c.heard_at
