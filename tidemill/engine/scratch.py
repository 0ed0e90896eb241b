"""Derived ledgers kept for the length of a snapshot: each is derived once, however often asked.

A comparison asks the same ledger several times: for the answer, the answer by customer and the
movements behind. They are kept in temporary tables, which only this transaction sees and which go
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, FromClause, MetaData, Select, Table
from sqlalchemy.exc import DBAPIError

from tidemill.database import Database
from tidemill.models import metric_mrr_movement

__all__ = ["Scratch", "scratch_snapshot"]


@dataclass
class Scratch:
    """Temporary tables: those still free, and those that hold a ledger."""

    connection: Connection
    free: list[Table]
    kept: dict[Hashable, Table] = field(default_factory=dict)

    @property
    def keeps(self) -> bool:
        """Whether there are tables to keep ledgers in."""
        return bool(self.free or self.kept)

    def rows(self, ledger: Hashable, derive: Callable[[], Select[Any]]) -> FromClause:
        """The rows of a ledger; derived when it is asked for the first time.

        ledger: what tells it from all others. When no table is free it is derived in place.
        """
        if ledger not in self.kept:
            derivation = derive()
            if not self.free:
                return derivation.cte("derived_movement")
            table = self.free.pop()
            names = [each.name for each in derivation.selected_columns]
            self.connection.execute(table.insert().from_select(names, derivation))
            # The planner would take a table without statistics for a small one.
            # Few questions keep rows, and the room of the bus takes its time to load.
            from tidemill.bus.staging import Analyze

            self.connection.execute(Analyze(table))
            self.kept[ledger] = table
        return self.kept[ledger]


@contextmanager
def scratch_snapshot(
    database: Database, ledgers: Iterable[Hashable], *, in_place: bool = False
) -> Iterator[Scratch]:
    """A snapshot with a free table for each of these ledgers; nothing else can be written in it.

    Where temporary tables are refused (on a standby, or to a user without the right) there are
    none, and ledgers are derived each time they are asked.

    in_place: it is a billing system's database, where not even those are made.
    """
    tables = [_table(number) for number, _ in enumerate(set(ledgers), start=1)]
    if in_place or (tables and not _possible(database)):
        tables = []
    with database.snapshot(scratch=tables) as connection:
        yield Scratch(connection, list(tables))


def _possible(database: Database) -> bool:
    try:
        with database.snapshot(scratch=[_table(0)]):
            return True
    except DBAPIError:
        return False


def _table(number: int) -> Table:
    """A temporary table with the columns of a ledger."""
    columns = (
        Column(each.name, each.type, nullable=each.nullable) for each in metric_mrr_movement.c
    )
    return Table(
        f"scratch_movement_{number}",
        MetaData(),
        *columns,
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
