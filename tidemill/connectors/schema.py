"""A billing system's own tables: what must be there, what may be, and what was found.

A connector lists the columns it reads. The catalogue of the database says which of them exist and
may be read by this role; a column that is optional and missing reads as null, a table that is
optional and missing as empty, so that the connector's statements are the same for every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    Connection,
    FromClause,
    Text,
    cast,
    column,
    false,
    null,
    select,
    table,
)
from sqlalchemy.types import TypeEngine

from tidemill.errors import SchemaNotUnderstood
from tidemill.problems import Problem

__all__ = ["Schema", "WantedTable", "probe"]

_Types = Mapping[str, type[TypeEngine[Any]] | TypeEngine[Any]]

_CATALOGUE: Final = table(
    "columns",
    column("table_schema", Text),
    column("table_name", Text),
    column("column_name", Text),
    schema="information_schema",
)


@dataclass(frozen=True, slots=True)
class WantedTable:
    """The columns of a table that a connector reads, with their types."""

    columns: _Types
    #: Columns that not every supported version has.
    optional: _Types = field(default_factory=dict)
    #: Whether the whole table is not in every supported version.
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """The wanted tables as they are in one database."""

    name: str
    wanted: Mapping[str, WantedTable]
    found: Mapping[str, frozenset[str]]

    def has(self, name: str) -> bool:
        """Whether the table is there."""
        return name in self.found

    def table(self, name: str, alias: str | None = None) -> FromClause:
        """A table with all wanted columns; those that are missing are null."""
        wanted = self.wanted[name]
        types = {**wanted.columns, **wanted.optional}
        present = self.found.get(name, frozenset())
        base = table(
            name,
            *(column(each, types[each]) for each in types if each in present),
            schema=self.name,
        )
        columns = [
            base.c[each] if each in present else cast(null(), kind).label(each)
            for each, kind in types.items()
        ]
        query = select(*columns)
        if not present:
            return query.where(false()).subquery(alias or name)
        return query.select_from(base).subquery(alias or name)


def probe(
    connection: Connection, title: str, schema: str, wanted: Mapping[str, WantedTable]
) -> Schema:
    """Read the catalogue; one statement.

    title: the billing system's name, for the error.
    Raises: SchemaNotUnderstood with every table and column that is missing or may not be read.
    """
    rows = connection.execute(
        select(_CATALOGUE.c.table_name, _CATALOGUE.c.column_name).where(
            _CATALOGUE.c.table_schema == schema, _CATALOGUE.c.table_name.in_(list(wanted))
        )
    )
    found: dict[str, set[str]] = {}
    for name, each in rows:
        found.setdefault(name, set()).add(each)
    problems = []
    for name, asked in wanted.items():
        if name not in found:
            if not asked.is_optional:
                problems.append(Problem(f"{schema}.{name}", "is not there, or may not be read"))
            continue
        problems += [
            Problem(f"{schema}.{name}.{each}", "is not there, or may not be read")
            for each in asked.columns
            if each not in found[name]
        ]
    if problems:
        raise SchemaNotUnderstood(title, problems)
    return Schema(schema, wanted, {name: frozenset(each) for name, each in found.items()})
