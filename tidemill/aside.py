"""Tables made anew beside the live ones, and brought over when they are whole.

They stand in a schema of their own under the same names. A transaction that puts this schema first
in its search path reads and writes them with the very statements that serve the live tables, so
nothing is written twice. Everything in here survives a crash: whoever comes later goes on.

Bringing over is one transaction that deletes and inserts only rows that differ. Renaming tables
would be quicker, but a report that began before would find the new ones empty, and what people
built on the old ones (views, grants) would go with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.schema import CreateSchema, DropSchema

from tidemill.errors import MigrationRefused

__all__ = ["SCHEMA", "advance", "begin", "bring_over", "discard", "looking", "stage"]

SCHEMA: Final = "tidemill_rebuild"
"""Where the tables stand while they are made."""

_progress: Final = Table(
    "progress",
    MetaData(schema=SCHEMA),
    Column("purpose", JSONB, nullable=False),
    Column("stage", Text, nullable=False),
)


def stage(connection: Connection, purpose: Mapping[str, Any]) -> str | None:
    """How far somebody came who began before with the same purpose; None when nobody did."""
    if connection.execute(select(func.to_regclass(f"{SCHEMA}.progress"))).scalar_one() is None:
        return None
    same = select(_progress.c.stage).where(_progress.c.purpose == purpose)
    return connection.execute(same).scalar()


def advance(connection: Connection, stage: str) -> None:
    """Note how far it has come, in the transaction that got there."""
    connection.execute(update(_progress).values(stage=stage))


def begin(
    connection: Connection, tables: Iterable[Table], purpose: Mapping[str, Any], stage: str
) -> None:
    """Make the tables, empty, with keys and indexes, in place of what others began.

    purpose: what tells one rebuild from another, as a JSON document.
    Raises: MigrationRefused when the role may not make a schema.
    """
    discard(connection)
    try:
        connection.execute(CreateSchema(SCHEMA))
    except ProgrammingError as error:
        said = str(error.orig).splitlines()[0]
        hint = "As the owner of the database: GRANT CREATE ON DATABASE … TO the role of Tidemill."
        raise MigrationRefused(said, hint=hint) from error
    for table in tables:
        _twin(table).create(connection)
    _progress.create(connection)
    connection.execute(insert(_progress).values(purpose=purpose, stage=stage))


def discard(connection: Connection) -> None:
    """Remove what was made."""
    connection.execute(DropSchema(SCHEMA, cascade=True, if_exists=True))


@contextmanager
def looking(connection: Connection) -> Iterator[None]:
    """Let names mean the tables aside, where there are any, until the block ends."""
    path = func.current_setting("search_path")
    before = connection.execute(select(path)).scalar_one()
    _search(connection, f"{SCHEMA}, {before}")
    yield
    # Not in a `finally`: after an error the transaction is undone, and this with it.
    _search(connection, before)


def _search(connection: Connection, path: str) -> None:
    connection.execute(select(func.set_config("search_path", path, True)))


def bring_over(connection: Connection, tables: Sequence[Table]) -> dict[str, int]:
    """Make live tables equal to those aside; how many rows of each were not, by table.

    A row that is there in both and differs counts once, as do one too many and one too few.
    """
    return {table.name: _bring_over(connection, table) for table in tables}


def _bring_over(connection: Connection, table: Table) -> int:
    made = _twin(table).alias("made")
    key = [column.name for column in table.primary_key]
    if not key:
        return _bring_over_groups(connection, table, made, "customer_id")
    same_key = and_(*(table.c[name] == made.c[name] for name in key))
    changed = or_(
        *(table.c[each.name].is_distinct_from(made.c[each.name]) for each in table.columns)
    )
    wrong = or_(
        ~exists(select(1).select_from(made).where(same_key)),
        exists(select(1).select_from(made).where(same_key, changed)),
    )
    gone = _count(connection, delete(table).where(wrong))
    names = [each.name for each in table.columns]
    missing = select(*(made.c[name] for name in names)).where(
        ~exists(select(1).select_from(table).where(same_key))
    )
    added = _count(connection, insert(table).from_select(names, missing))
    return max(gone, added)


def _bring_over_groups(connection: Connection, table: Table, made: FromClause, group: str) -> int:
    """For rows without a key: all rows of the groups in which anything differs."""
    differing = _only(table, made).union_all(_only(made, table)).subquery("differing")
    count = connection.execute(select(func.count()).select_from(differing)).scalar_one()
    if count:
        groups = select(differing.c[group]).distinct()
        found = list(connection.scalars(groups))
        connection.execute(delete(table).where(_among(table.c[group], found)))
        names = [each.name for each in table.columns]
        rows = select(*(made.c[name] for name in names)).where(_among(made.c[group], found))
        connection.execute(insert(table).from_select(names, rows))
    return int(count)


def _among(column: ColumnElement[Any], values: list[Any]) -> ColumnElement[bool]:
    return column == func.any(values)


def _only(one: FromClause, other: FromClause) -> Select[Any]:
    """The rows of one that the other has not, as often as they are too many."""
    names = [each.name for each in one.columns]
    return select(
        select(*(one.c[name] for name in names))
        .except_all(select(*(other.c[name] for name in names)))
        .subquery()
    )


def _twin(table: Table) -> Table:
    """The table of the same shape aside."""
    named = MetaData(naming_convention=table.metadata.naming_convention)
    return table.to_metadata(named, schema=SCHEMA)


def _count(connection: Connection, statement: Any) -> int:
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
