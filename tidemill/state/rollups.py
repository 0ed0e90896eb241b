"""Keeping roll-ups: sums of rows, changed by what a batch changes and by nothing else.

What the customers whose rows change add to each cell is added up before that, and after; the
difference goes into the cells. So it is with the payments that a batch tells of, whose sums rest on
the core table. The cost follows the batch and not the books.

Batches change the same cells, and whoever adds to one keeps others from it until it commits. So
differences are gathered while a batch is at work, and added to the cells at its very end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Insert,
    Select,
    Table,
    and_,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql

from tidemill.bus.staging import empty_staging, staging_table
from tidemill.ledger.facts import Fact, RollUp

__all__ = ["Cells", "roll_up", "rolling", "signed", "sums_of"]


class Cells:
    """The cells of roll-ups that one batch changes."""

    def __init__(self, connection: Connection) -> None:
        """Begin with no differences."""
        self._connection = connection
        self._gathered: dict[str, Table] = {}

    def gather(self, table: Table, found: Insert) -> None:
        """Keep a part of the differences for later; it comes from `signed`."""
        if table.name not in self._gathered:
            empty_staging(self._connection, _staged(table))
            self._gathered[table.name] = table
        self._connection.execute(found)

    def settle(self) -> None:
        """Add the differences to the cells; nothing may be gathered afterwards."""
        # In one order everywhere: of two workers one waits for the other, and never each for each.
        for _, table in sorted(self._gathered.items()):
            self._connection.execute(_addition(table))
            self._connection.execute(_removal(table))


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
def rolling(cells: Cells, fact: Fact, customers: Table) -> Iterator[None]:
    """Gather for the roll-ups of a fact what the block makes of the rows of some customers.

    customers: a table with their `customer_id`, more than once or not.
    """
    for each in fact.rollups:
        cells.gather(each.table, _contribution(each, fact.table, customers, sign=-1))
    yield
    for each in fact.rollups:
        cells.gather(each.table, _contribution(each, fact.table, customers, sign=1))


def signed(table: Table, found: Select[Any], sign: int) -> Insert:
    """Keeps for `Cells` what rows add to a roll-up, or with the other sign.

    found: in the columns of the roll-up.
    """
    own = found.subquery("own")
    keys, sums = _columns(table)
    values = [*(own.c[name] for name in keys), *(own.c[each.name] * sign for each in sums)]
    return _inserted(_staged(table), select(*values))


@lru_cache(maxsize=16)
def _contribution(rollup: RollUp, rows: Table, customers: Table, *, sign: int) -> Insert:
    """What the rows of some customers are in the cells, or with the other sign."""
    are_theirs = rows.c.customer_id.in_(select(customers.c.customer_id))
    theirs = select(rows).where(are_theirs).subquery("row_of_theirs")
    return signed(rollup.table, sums_of(rollup, theirs), sign)


@lru_cache(maxsize=16)
def _addition(table: Table) -> Insert:
    """The differences into the cells, in the order of their keys."""
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
