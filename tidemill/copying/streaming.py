"""Rows from one database into another, as they come: nothing is held here, or looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Copy, sql
from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects.postgresql.base import PGDialect

from tidemill.database import Database

__all__ = ["End", "as_text", "stream"]

End = tuple[Database, Connection]
"""A database, and a connection to it that is in a transaction."""


def stream(source: End, store: End, query: Select[Any], table: Table) -> int:
    """Copy what a query of the one gives into a table of the other; how many rows they are.

    source, store: each database, with the connection to it.
    query:         its columns are those of the table, in any order.
    Raises: as `Database.translated` of whichever has trouble.
    """
    (theirs, reading), (ours, writing) = source, store
    names = query.selected_columns.keys()
    out = reading.connection.cursor()
    into = writing.connection.cursor()
    try:
        # COPY takes no parameters.
        command = b"COPY (" + as_text(query).encode() + b") TO STDOUT"
        with (
            theirs.translated(),
            out.copy(command) as rows,
            ours.translated(),
            into.copy(_into(table, names)) as copy,
        ):
            for block in _blocks(theirs, rows):
                copy.write(block)
        return int(into.rowcount)
    finally:
        out.close()
        into.close()


def as_text(query: Select[Any]) -> str:
    """The statement as PostgreSQL takes it without parameters."""
    # Named parameters, of which none is left, so that no sign in a text is doubled for them.
    # SQLAlchemy leaves its dialects without types.
    dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _blocks(source: Database, rows: Copy) -> Iterator[bytes]:
    """What is read; trouble there is named here, and not as trouble of where it goes."""
    while True:
        with source.translated():
            block = rows.read()
        if not block:
            return
        yield bytes(block)


def _into(table: Table, names: Sequence[str]) -> sql.Composed:
    target = sql.Identifier(*(part for part in (table.schema, table.name) if part))
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(target, columns)
