"""What was read of a billing database, beside the copy: who differs, and putting it in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Integer,
    Select,
    Table,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql

from tidemill import models
from tidemill.bus.staging import Analyze, empty_staging, staging_table
from tidemill.copying.holding import COPIED

__all__ = [
    "CHANGED",
    "SCOPE",
    "STAGED",
    "analyze",
    "empty",
    "find_changed",
    "replace",
    "replace_catalogue",
    "scope",
    "staged_rows",
]

# Relations that do not say whose a row is → the column that names the version it is of.
_OF_VERSION: Final = {
    "events": "position",
    "version_items": "version_id",
    "discounts": "version_id",
}
_OF_SUBSCRIPTION: Final = "subscriptions"
_CATALOGUE: Final[Mapping[str, Table]] = {
    "plans": models.copied_plan,
    "products": models.copied_product,
}

scope: Final = staging_table("copy_scope", Column("customer_id", BigInteger, primary_key=True))
_changed: Final = staging_table("copy_changed", Column("customer_id", BigInteger, primary_key=True))

SCOPE: Final = select(scope.c.customer_id)
"""The customers that were read again, where not everybody was."""

CHANGED: Final = select(_changed.c.customer_id)
"""The customers whose rows are not those of the copy."""


def _staged(relation: str, table: Table) -> Table:
    own = (*_OF_VERSION, _OF_SUBSCRIPTION)
    columns = (
        Column(each.name, each.type)
        for each in table.columns
        if not (relation in own and each.name == "customer_id")
    )
    return staging_table(f"read_{table.name}", *columns)


STAGED: Final = {name: _staged(name, table) for name, table in {**COPIED, **_CATALOGUE}.items()}
"""Relation → the rows that were read of it."""


def empty(connection: Connection) -> None:
    """Make room for what will be read."""
    for each in (*STAGED.values(), scope, _changed):
        empty_staging(connection, each)


def analyze(connection: Connection) -> None:
    """Let the planner know what was read."""
    for each in (*STAGED.values(), scope):
        connection.execute(Analyze(each))


def staged_rows(relation: str) -> FromClause:
    """The rows that were read of a relation, in the columns of the copy."""
    row, version = STAGED[relation], STAGED["subscription_versions"]
    names = [each.name for each in COPIED[relation].columns if each.name != "customer_id"]
    if relation in _OF_VERSION:
        of = row.join(version, version.c.version_id == row.c[_OF_VERSION[relation]])
        found = select(version.c.customer_id, *(row.c[name] for name in names)).select_from(of)
        return found.subquery(f"found_{relation}")
    if relation == _OF_SUBSCRIPTION:
        owner = (
            select(version.c.customer_id, version.c.subscription_id).distinct().subquery("owner")
        )
        of = row.join(owner, owner.c.subscription_id == row.c.subscription_id)
        found = select(owner.c.customer_id, *(row.c[name] for name in names)).select_from(of)
        return found.subquery(f"found_{relation}")
    return row


def find_changed(connection: Connection, *, everybody: bool, first: bool) -> int:
    """Fill `CHANGED` with the customers whose rows differ, of those read; how many they are.

    everybody: whether all were read; who was not read then is gone.
    first:     whether nothing was copied before, so that there is nothing to compare with.
    """
    parts: list[Select[Any]] = []
    for number, (relation, table) in enumerate(COPIED.items()):
        names = [each.name for each in table.columns]
        if first:
            parts.append(select(staged_rows(relation).c.customer_id))
            continue
        kept = select(table) if everybody else select(table).where(table.c.customer_id.in_(SCOPE))
        parts.append(_digest(staged_rows(relation), names, number, 1))
        parts.append(_digest(kept.subquery(f"kept_{relation}"), names, number, -1))
    every = union_all(*parts).subquery("digest")
    differing: Select[Any] = select(every.c.customer_id).distinct()
    if not first:
        sums = (func.sum(every.c.rows) != 0, func.sum(every.c.hash) != 0)
        per_table = (
            select(every.c.customer_id)
            .group_by(every.c.customer_id, every.c.relation)
            .having(or_(*sums))
            .subquery("differing")
        )
        differing = select(per_table.c.customer_id).distinct()
    connection.execute(insert(_changed).from_select(["customer_id"], differing))
    connection.execute(Analyze(_changed))
    count: int = connection.execute(select(func.count()).select_from(_changed)).scalar_one()
    return count


def replace(connection: Connection, *, first: bool) -> int:
    """Put the rows of the changed customers in place; how many they are now."""
    count = 0
    for relation, table in COPIED.items():
        names = [each.name for each in table.columns]
        if not first:
            connection.execute(delete(table).where(table.c.customer_id.in_(CHANGED)))
        found = staged_rows(relation)
        rows = select(*(found.c[name] for name in names))
        if not first:
            rows = rows.where(found.c.customer_id.in_(CHANGED))
        count += _count(connection, insert(table).from_select(names, rows))
    return count


def replace_catalogue(connection: Connection) -> None:
    """Put what is sold in place, all of it, where anything of it has changed."""
    for relation, table in _CATALOGUE.items():
        staged = STAGED[relation]
        names = [each.name for each in table.columns]
        read, kept = select(*(staged.c[name] for name in names)), select(table)
        differs = union_all(_only(read, kept), _only(kept, read)).limit(1)
        if connection.execute(differs).first() is not None:
            connection.execute(delete(table))
            connection.execute(insert(table).from_select(names, read))


def _only(one: Select[Any], other: Select[Any]) -> Select[Any]:
    """The rows of one that the other has not."""
    return select(one.except_(other).subquery())


def _digest(rows: FromClause, names: list[str], relation: int, sign: int) -> Select[Any]:
    """What tells the rows of each customer from others, however they are ordered."""
    # Equal values have equal hashes, also numbers with more or fewer digits behind the point.
    whole = func.hash_record_extended(func.row(*(rows.c[name] for name in names)), _bigint(0))
    hashed: ColumnElement[Any] = func.sum(whole, type_=postgresql.NUMERIC)
    return select(
        rows.c.customer_id,
        cast(literal(relation), Integer).label("relation"),
        (func.count() * sign).label("rows"),
        (hashed * sign).label("hash"),
    ).group_by(rows.c.customer_id)


def _bigint(number: int) -> ColumnElement[int]:
    return cast(literal(number), BigInteger)


def _count(connection: Connection, statement: Insert) -> int:
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
