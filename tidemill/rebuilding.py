"""Making everything again from the log, beside the live tables, while they are read and written.

1. The log is replayed into tables aside (`aside`), two batches at a time, each in a transaction.
2. The facts are derived from those.
3. In one transaction, which keeps workers waiting: what came meanwhile is applied aside, too, and
   the live tables are made equal to those aside.

Whoever is stopped goes on where it was. Whoever asks sees the tables of before or of after. The
outcome says in how many rows they differed: none, if nothing was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, FromClause, Table, func, select

from tidemill import aside, migrations, worker
from tidemill.bus import PARTITIONS, PostgresBus
from tidemill.database import Database
from tidemill.errors import RebuildRunning
from tidemill.in_force import kept_document
from tidemill.ledger import tables_of
from tidemill.replay import MADE
from tidemill.state import (
    PAYMENT_SUBJECTS,
    Applied,
    Books,
    Cells,
    apply,
    fill,
    keep_statistics,
    note,
    refill_payments,
    refresh,
    subjects,
)

__all__ = ["Rebuilt", "put_in_force", "rebuild", "rebuild_facts"]

_BATCH: Final = 50_000
# How many batches are replayed side by side, each of its own share of the partitions: a batch is
# one process of the server's.
_AT_A_TIME: Final = 2
# Under which name the log is read for it.
_READER: Final = "rebuild"
# The first of the two keys of the advisory lock on rebuilding: "redo" in ASCII.
_LOCK: Final = int.from_bytes(b"redo", "big")

_REPLAYING: Final = "replaying"
_DERIVED: Final = "derived"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The outcome.

    applied, quarantined: events of the log, of this run.
    differed: rows that had to change, by table; 0 where the live table was right.
    """

    applied: int
    quarantined: int
    differed: Mapping[str, int]


def rebuild(
    database: Database,
    bus: PostgresBus,
    books: Books,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Rebuilt:
    """Make all tables below the log again from it, and put the policy of the books in force.

    progress: called after each batch with the events replayed, and how many there are.
    Raises:   RebuildRunning, MigrationRefused.
    """
    tables = (*MADE, *tables_of(books.facts))
    with _alone(database):
        stage = _begun(database, bus, tables, _purpose(books, "everything"))
        total = worker.Drained()
        if stage == _REPLAYING:
            total = _replay(database, bus, replace(books, facts=()), progress)
            with database.begin() as connection, aside.looking(connection):
                fill(connection, books)
                aside.advance(connection, _DERIVED)
        with database.begin() as connection:
            bus.hold(connection, worker.CONSUMER)
            note(connection, books)
            for rows in _meanwhile(connection, bus):
                total += _counted(apply(connection, rows, books))
            # Tables of half a log must never replace whole ones, whatever went wrong before. What
            # comes to the log from now on is for whoever applies it next.
            assert bus.is_as_far(connection, _READER, worker.CONSUMER), "half a log was replayed"
            differed = aside.bring_over(connection, tables)
            bus.go_on(connection, worker.CONSUMER, _READER)
            _finish(connection, bus)
    return Rebuilt(total.applied, total.quarantined, differed)


def rebuild_facts(database: Database, bus: PostgresBus, books: Books) -> Mapping[str, int]:
    """Derive all facts again from the core tables, for example under another policy.

    Returns how many rows differed, by table.
    Raises: as `rebuild`.
    """
    with _alone(database):
        return _facts_again(database, bus, books)


def put_in_force(database: Database, bus: PostgresBus, books: Books) -> bool:
    """Make the facts those of the books, as `rebuild_facts`, unless somebody has; whether it did.

    Waits for whoever rebuilds.
    Raises: MigrationRefused.
    """
    with _alone(database, wait=True):
        with database.connect() as connection:
            if kept_document(connection) == books.document():
                return False
        _facts_again(database, bus, books)
    return True


# --- how ------------------------------------------------------------------------------------------


def _facts_again(database: Database, bus: PostgresBus, books: Books) -> Mapping[str, int]:
    tables = tables_of(books.facts)
    if _begun(database, bus, tables, _purpose(books, "facts")) == _REPLAYING:
        with database.begin() as connection:
            # First the positions: an event applied after this is seen again below.
            bus.go_on(connection, _READER, worker.CONSUMER)
            with aside.looking(connection):
                fill(connection, books)
            aside.advance(connection, _DERIVED)
    with database.begin() as connection:
        bus.hold(connection, worker.CONSUMER)
        note(connection, books)
        paid = False
        for rows in _meanwhile(connection, bus):
            about = subjects(connection, rows).keys()
            cells = Cells(connection)
            refresh(cells, connection, rows, about, books)
            cells.settle()
            paid = paid or not PAYMENT_SUBJECTS.isdisjoint(about)
        if paid:
            with aside.looking(connection):
                refill_payments(connection, books)
        differed = aside.bring_over(connection, tables)
        _finish(connection, bus)
    return differed


@contextmanager
def _alone(database: Database, *, wait: bool = False) -> Iterator[None]:
    """Hold the one place of whoever rebuilds.

    Raises: RebuildRunning, unless it is to wait.
    """
    with database.begin() as connection:
        if wait:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK, 0)))
        elif not connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK, 0))).scalar_one():
            raise RebuildRunning
        yield


def _purpose(books: Books, what: str) -> dict[str, Any]:
    """What must be the same for one run to go on where another stopped."""
    return {"what": what, "schema": migrations.head(), "books": books.document()}


def _begun(
    database: Database, bus: PostgresBus, tables: Sequence[Table], purpose: dict[str, Any]
) -> str:
    """How far it is: where an earlier run stopped, or else at the start."""
    with database.begin() as connection:
        stage = aside.stage(connection, purpose)
        if stage is None:
            stage = _REPLAYING
            aside.begin(connection, tables, purpose, stage)
            bus.rewind(connection, _READER)
    return stage


def _replay(
    database: Database,
    bus: PostgresBus,
    books: Books,
    progress: Callable[[int, int], None] | None,
) -> worker.Drained:
    """Apply the log to the tables aside, a batch in a transaction, several of them at a time."""
    with database.connect() as connection:
        waiting = bus.pending(connection, _READER)
    total, added = worker.Drained(), 0
    with ThreadPoolExecutor(_AT_A_TIME, "replay") as pool:

        def next_batch() -> Future[_Replayed | None]:
            batch = partial(_replay_batch, database, bus, books, added)
            return pool.submit(worker.let_through, batch)

        running = {next_batch() for _ in range(_AT_A_TIME)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                replayed = each.result()
                if replayed is None:
                    # Nothing is left but what the others hold, and they go on with that.
                    continue
                total += replayed.events
                added = 0 if replayed.counted_anew else added + replayed.events.applied
                if progress is not None:
                    progress(total.applied, max(waiting, total.applied))
                running.add(next_batch())
    return total


@dataclass(frozen=True, slots=True)
class _Replayed:
    """What a batch brought; whether the tables were counted anew for the planner after it."""

    events: worker.Drained
    counted_anew: bool


def _replay_batch(
    database: Database, bus: PostgresBus, books: Books, added: int
) -> _Replayed | None:
    """Apply what comes next in partitions that no other batch holds; None where nothing does.

    added: events since the tables were counted.
    """
    with database.begin() as connection:
        share = PARTITIONS // _AT_A_TIME
        delivery = bus.deliver(connection, _READER, _BATCH, partitions=share)
        if delivery is None:
            return None
        with aside.looking(connection):
            events = _counted(apply(connection, delivery.rows, books))
            return _Replayed(events, keep_statistics(connection, books, added + events.applied))


def _meanwhile(connection: Connection, bus: PostgresBus) -> Iterator[FromClause]:
    """What came to the log after it was replayed; each batch is to be dealt with aside."""
    while (delivery := bus.deliver(connection, _READER, _BATCH)) is not None:
        with aside.looking(connection):
            yield delivery.rows


def _counted(applied: Applied) -> worker.Drained:
    return worker.Drained(applied.events, applied.quarantined, 1)


def _finish(connection: Connection, bus: PostgresBus) -> None:
    aside.discard(connection)
    bus.forget(connection, _READER)
