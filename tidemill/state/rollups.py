"""Keeping roll-ups: sums of rows, changed by what a batch changes and by nothing else.

What the touched customers add to each cell is added up before their rows are derived again, and
after; the difference goes into the cells. So it is with the payments that a batch tells of, whose
sums rest on the core table. The cost follows the batch and not the books.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Insert,
    Integer,
    Select,
    Table,
    Text,
    and_,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql

from tidemill.bus.staging import Analyze, empty_staging, staging_table
from tidemill.ledger.facts import Fact, RollUp
from tidemill.relations import core_relations
from tidemill.state.in_force import Books, in_force
from tidemill.state.rows import about
from tidemill.state.touched import TOUCHED

__all__ = ["roll_up", "rolling", "rolling_payments", "sums_of"]


def sums_of(rollup: RollUp, rows: FromClause) -> Select[Any]:
    """What a roll-up should hold: its columns, summed over rows of its fact."""
    keys, sums = _columns(rollup.table)
    rows = rollup.rows(rows)
    return select(*(rows.c[name] for name in keys), *(_sum(rows, each) for each in sums)).group_by(
        *(rows.c[name] for name in keys)
    )


def roll_up(connection: Connection, fact: Fact) -> None:
    """Fill the empty roll-ups of a fact from its table."""
    for each in fact.rollups:
        connection.execute(_inserted(each.table, sums_of(each, fact.table)))


@contextmanager
def rolling(connection: Connection, fact: Fact) -> Iterator[None]:
    """Take over into the roll-ups of a fact what the block makes of the touched customers' rows."""
    for each in fact.rollups:
        empty_staging(connection, _staged(each.table))
        connection.execute(_contribution(each, fact.table, sign=-1))
    yield
    for each in fact.rollups:
        connection.execute(_contribution(each, fact.table, sign=1))
        connection.execute(_addition(each.table))
        connection.execute(_removal(each.table))


@contextmanager
def rolling_payments(
    connection: Connection, rows: FromClause, subjects: AbstractSet[str], books: Books
) -> Iterator[None]:
    """Take over into sums of payments what the block makes of the payments of a batch.

    rows, subjects: the batch, and what its events are about.
    """
    facts = [fact for fact in books.facts if fact.of_payments and "payment" in subjects]
    if not facts:
        yield
        return
    ours = in_force(connection, books)
    empty_staging(connection, _named)
    named = select(rows.c.source_id, rows.c.subject).where(about(rows, "payment")).distinct()
    connection.execute(insert(_named).from_select(["source_id", "external_id"], named))
    connection.execute(Analyze(_named))
    for fact in facts:
        empty_staging(connection, _staged(fact.table))
        connection.execute(_payments(fact, ours, sign=-1))
    yield
    for fact in facts:
        connection.execute(_payments(fact, ours, sign=1))
        connection.execute(_addition(fact.table))
        connection.execute(_removal(fact.table))


_named: Final = staging_table(
    "named_payment",
    Column("source_id", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
)
"""The payments that a batch tells of."""


@lru_cache(maxsize=16)
def _payments(fact: Fact, books: Books, *, sign: int) -> Insert:
    """What the named payments are in the cells, or with the other sign."""
    relations = core_relations(base_currency=books.base_currency)
    paid = relations.payments
    is_named = tuple_(paid.c.source_id, paid.c.payment).in_(
        select(_named.c.source_id, _named.c.external_id)
    )
    own = replace(relations, payments=select(paid).where(is_named).subquery("named_payment_row"))
    return _signed(fact.table, fact.derive(own, books.policy), sign)


@lru_cache(maxsize=16)
def _contribution(rollup: RollUp, rows: Table, *, sign: int) -> Insert:
    """What the rows of the touched customers are in the cells, or with the other sign."""
    theirs = select(rows).where(rows.c.customer_id.in_(TOUCHED)).subquery("touched_row")
    return _signed(rollup.table, sums_of(rollup, theirs), sign)


def _signed(table: Table, found: Select[Any], sign: int) -> Insert:
    own = found.subquery("own")
    keys, sums = _columns(table)
    values = [*(own.c[name] for name in keys), *(own.c[each.name] * sign for each in sums)]
    return _inserted(_staged(table), select(*values))


@lru_cache(maxsize=16)
def _addition(table: Table) -> Insert:
    """The differences into the cells.

    In the order of their keys: of two workers that change the same cells one waits for the other,
    and never each for each.
    """
    staged = _staged(table)
    keys, sums = _columns(table)
    totals = [func.sum(staged.c[each.name]) for each in sums]
    own = [staged.c[name] for name in keys]
    changed = (
        select(*own, *(total.label(each.name) for total, each in zip(totals, sums, strict=True)))
        .group_by(*own)
        .having(or_(*(total != 0 for total in totals)))
        .order_by(*own)
    )
    added = postgresql.insert(table).from_select([*keys, *(each.name for each in sums)], changed)
    return added.on_conflict_do_update(
        index_elements=list(keys),
        set_={each.name: table.c[each.name] + added.excluded[each.name] for each in sums},
    )


@lru_cache(maxsize=16)
def _removal(table: Table) -> Delete:
    """The cells of which no row is left."""
    staged = _staged(table)
    same = and_(*(table.c[name] == staged.c[name] for name in _columns(table)[0]))
    return delete(table).where(same, table.c.row_count == 0)


@lru_cache(maxsize=16)
def _staged(table: Table) -> Table:
    columns = (Column(each.name, each.type) for each in table.columns)
    return staging_table(f"staged_{table.name}", *columns)


def _columns(table: Table) -> tuple[tuple[str, ...], tuple[Column[Any], ...]]:
    """The names of a roll-up's keys, and the columns that are sums."""
    keys = tuple(column.name for column in table.primary_key)
    return keys, tuple(each for each in table.columns if each.name not in keys)


def _sum(rows: FromClause, column: Column[Any]) -> ColumnElement[Any]:
    if column.name == "row_count":
        return func.count().label(column.name)
    total = func.coalesce(func.sum(rows.c[column.name]), 0)
    # Sums of whole numbers may be decimals in PostgreSQL.
    return cast(total, column.type).label(column.name)


def _inserted(table: Table, found: Select[Any]) -> Insert:
    keys, sums = _columns(table)
    return insert(table).from_select([*keys, *(each.name for each in sums)], found)
