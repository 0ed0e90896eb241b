"""Reading a batch of events in SQL: by type, by the later one, and into the payload's fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    TableValuedAlias,
    case,
    column,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.types import TypeEngine

__all__ = [
    "STATE_KEY",
    "Columns",
    "about",
    "elements",
    "fields",
    "latest",
    "put_latest",
    "state_key",
]

Columns = ReadOnlyColumnCollection[str, Any]
"""The columns of something one can select from, by name."""

# Where a current row keeps the order key of the event it comes from, beside the event's columns.
STATE_KEY = {
    "state_at": "occurred_at",
    "state_sequence": "sequence",
    "state_recorded_at": "recorded_at",
    "state_event_id": "id",
}


def about(rows: FromClause, subject: str) -> ColumnElement[bool]:
    """The events about one kind of subject: ``subscription`` means ``subscription.*``."""
    return rows.c.type.like(f"{subject}.%")


def fields(data: ColumnElement[Any], **types: TypeEngine[Any]) -> TableValuedAlias:
    """Keys of a JSON object as typed columns, one row; what is absent or null is null.

    One function per object instead of one operator per key: a long payload is unpacked once.
    """
    columns = [column(name, type_) for name, type_ in types.items()]
    record = func.jsonb_to_record(data).table_valued(*columns)
    return record.render_derived(with_types=True)


def elements(data: ColumnElement[Any], key: str) -> TableValuedAlias:
    """The members of an array in a JSON object, `value` and `ordinal` from 1; none without one."""
    array = case((func.jsonb_typeof(data[key]) == "array", data[key]))
    unpacked = func.jsonb_array_elements(array).table_valued(
        column("value", JSONB), with_ordinality="ordinal"
    )
    return unpacked.render_derived()


def latest(
    rows: FromClause,
    by: Sequence[ColumnElement[Any]],
    of: ColumnElement[bool],
    terminal: ColumnElement[Any] | None = None,
) -> Select[Any]:
    """The last event of each subject in the batch.

    Order: `occurred_at`, `sequence`, terminal last, `recorded_at`, `id`; everywhere the same.
    """
    order: list[ColumnElement[Any]] = [
        rows.c.occurred_at,
        rows.c.sequence,
        rows.c.recorded_at,
        rows.c.id,
    ]
    if terminal is not None:
        order.insert(2, terminal)
    return (
        select(rows)
        .ext(postgresql.distinct_on(*by))
        .where(of)
        .order_by(*by, *(each.desc() for each in order))
    )


def state_key(event: FromClause) -> list[ColumnElement[Any]]:
    """The order key of an event, named as the current rows keep it."""
    return [event.c[theirs].label(ours) for ours, theirs in STATE_KEY.items()]


def put_latest(
    table: Table,
    found: Select[Any],
    key: Sequence[str],
    terminal: Callable[[Columns], ColumnElement[bool]] | None = None,
) -> postgresql.Insert:
    """Write the current rows of subjects, unless a row there comes from a later event.

    found:    one row a subject with the columns to write, `STATE_KEY` among them.
    key:      the columns that identify a subject.
    terminal: from the columns of a row, whether its state is terminal.
    """
    names = [each.name for each in found.selected_columns]
    new = postgresql.insert(table).from_select(names, found)

    def order(columns: Columns) -> list[ColumnElement[Any]]:
        parts = [columns[name] for name in STATE_KEY]
        return parts if terminal is None else [*parts[:2], terminal(columns), *parts[2:]]

    return new.on_conflict_do_update(
        index_elements=list(key),
        set_={name: new.excluded[name] for name in names if name not in key},
        where=tuple_(*order(new.excluded)) > tuple_(*order(table.c)),
    )
