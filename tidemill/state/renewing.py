"""Renewing facts: of what is derived again, only what has become another row is written.

Most of what arrives tells of a customer what was known: a period goes on, an invoice was paid. The
derivation then gives the rows that are there, and neither they, nor their indexes, nor the sums
over them have anything to learn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Delete,
    Insert,
    Integer,
    Select,
    Table,
    case,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

from tidemill.bus.staging import Analyze, empty_staging, staging_table
from tidemill.ledger.facts import Fact
from tidemill.state.rollups import Cells, rolling
from tidemill.state.touched import TOUCHED

__all__ = ["derived_into", "renew"]


class _Place(UserDefinedType[str]):
    """Where a row stands in its table, until the transaction ends (PostgreSQL's `ctid`)."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "tid"


_PLACE: Final = "place"
_SIGN: Final = "sign"


def renew(cells: Cells, connection: Connection, fact: Fact, derived: Insert) -> None:
    """Bring the rows of the touched customers to what their history gives.

    cells:   gather what that changes in sums.
    derived: puts what it gives into `derived_into(fact)`.
    """
    empty_staging(connection, derived_into(fact.table))
    connection.execute(derived)
    differing = _differing(fact.table)
    empty_staging(connection, differing)
    found = connection.execute(
        _find(fact.table), execution_options={"preserve_rowcount": True}
    ).rowcount
    if not found:
        return
    # Few are looked up by their places; the planner would expect many, and read the whole table.
    connection.execute(Analyze(differing, differing.c.customer_id))
    with rolling(cells, fact, differing):
        connection.execute(_remove(fact.table))
        connection.execute(_add(fact.table))


@lru_cache(maxsize=16)
def derived_into(table: Table) -> Table:
    """Where the derivation of a fact puts its rows before they are compared with those it has."""
    return staging_table(f"derived_{table.name}", *_columns(table))


@lru_cache(maxsize=16)
def _differing(table: Table) -> Table:
    """Rows to remove, with their `place`, and rows to add, without one."""
    return staging_table(f"differing_{table.name}", *_columns(table), Column(_PLACE, _Place))


def _columns(table: Table) -> list[Column[Any]]:
    return [Column(each.name, each.type) for each in table.columns]


@lru_cache(maxsize=16)
def _find(table: Table) -> Insert:
    """The rows that one side has more often than the other, as often as it has them more."""
    names = table.columns.keys()
    derived, place = derived_into(table), _place(table)
    both = union_all(
        select(*derived.c, literal(1).label(_SIGN), cast(null(), _Place).label(_PLACE)),
        select(*table.c, literal(-1), place).where(table.c.customer_id.in_(TOUCHED)),
    ).subquery("both")
    row = [both.c[name] for name in names]
    surplus = func.sum(both.c[_SIGN], type_=Integer)
    places = func.array_agg(both.c[_PLACE], type_=postgresql.ARRAY(_Place))
    uneven = (
        select(
            *row,
            surplus.label("surplus"),
            places.filter(both.c[_SIGN] < 0).label("places"),
        )
        .group_by(*row)
        .having(surplus != 0)
        .subquery("uneven")
    )
    times = func.generate_series(1, func.abs(uneven.c.surplus))
    number = times.column_valued("number")
    gone = case((uneven.c.surplus < 0, uneven.c.places[number]))
    rows: Select[Any] = select(*(uneven.c[name] for name in names), gone).select_from(
        uneven.join(number.scalar_alias, true())
    )
    return insert(_differing(table)).from_select([*names, _PLACE], rows)


@lru_cache(maxsize=16)
def _remove(table: Table) -> Delete:
    return delete(table).where(_place(table) == _differing(table).c[_PLACE])


@lru_cache(maxsize=16)
def _add(table: Table) -> Insert:
    differing, names = _differing(table), table.columns.keys()
    new = select(*(differing.c[name] for name in names)).where(differing.c[_PLACE].is_(None))
    return insert(table).from_select(names, new)


def _place(table: Table) -> Any:
    return column("ctid", _Place, _selectable=table)
