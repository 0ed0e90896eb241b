"""Temporary tables: where a batch stands while whole sets of it are worked on.

A staging table is made once per session and emptied at the end of every transaction, so that a
small batch does not pay for a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import Column, Connection, MetaData, Table, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable, ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

__all__ = ["Analyze", "Truncate", "copy_into", "empty_staging", "roomy", "staging_table"]


class Analyze(ExecutableDDLElement):
    """ANALYZE of some columns, so that the planner knows what was just put into a table."""

    inherit_cache = False

    def __init__(self, table: Table, *columns: Column[Any]) -> None:
        self.table = table
        self.columns = columns


class Truncate(ExecutableDDLElement):
    """TRUNCATE of a table; only for staging tables, other sessions would see through it."""

    inherit_cache = False

    def __init__(self, table: Table) -> None:
        self.table = table


@compiles(Analyze)
def _analyze(element: Analyze, compiler: DDLCompiler, **_: Any) -> str:
    columns = ", ".join(compiler.preparer.format_column(column) for column in element.columns)
    table = compiler.preparer.format_table(element.table)
    return f"ANALYZE {table} ({columns})" if columns else f"ANALYZE {table}"


@compiles(Truncate)
def _truncate(element: Truncate, compiler: DDLCompiler, **_: Any) -> str:
    return f"TRUNCATE {compiler.preparer.format_table(element.table)}"


def staging_table(name: str, *columns: Column[Any]) -> Table:
    """A temporary table that every session has for itself."""
    return Table(
        name,
        MetaData(),
        *columns,
        schema="pg_temp",
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )


def empty_staging(connection: Connection, table: Table) -> None:
    """Make the staging table in this session, or empty it when it is there."""
    connection.execute(CreateTable(table, if_not_exists=True))
    connection.execute(Truncate(table))


def roomy(connection: Connection) -> None:
    """Give the statements of this transaction memory to sort and hash a batch without the disk."""
    connection.execute(
        select(
            func.set_config("work_mem", "64MB", True),
            # A sample of 3,000 rows says enough about a batch, and costs a tenth of the default.
            func.set_config("default_statistics_target", "10", True),
        )
    )


def copy_into(
    connection: Connection, table: Table, types: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """COPY rows into a staging table.

    types: the PostgreSQL type of each column in turn; values go over the wire in binary.
    Raises psycopg's own errors: COPY goes around SQLAlchemy.
    """
    target = sql.Identifier(*(part for part in (table.schema, table.name) if part))
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, names)
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(command) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    finally:
        cursor.close()
