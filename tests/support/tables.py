"""Everything the tables hold, to compare two databases row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from tidemill import models
from tidemill.ledger.months import EVERYBODY

__all__ = ["BELOW_THE_LOG", "Rows", "exact_tables", "named_tables", "undated_tables"]

# The log itself, and what is neither in it nor made from it.
_BESIDE: Final = {
    *("source", "event_log", "consumer_position", "quarantine", "policy_in_use"),
    *("sync_run", "sync_object", "reconciliation", "delivery", "vendor_object", "segment"),
    "worker",
}
# Every table that is made from the log.
BELOW_THE_LOG: Final = tuple(
    table for table in models.metadata.sorted_tables if table.name not in _BESIDE
)

Rows = dict[str, list[tuple[Any, ...]]]
"""Table → its rows, sorted; JSON stands there as text, so that rows can be counted."""


def exact_tables(connection: Connection) -> Rows:
    """All rows below the log as they stand, keys included, in a fixed order."""
    return {
        table.name: sorted(map(_plain, connection.execute(select(table))), key=repr)
        for table in BELOW_THE_LOG
    }


def named_tables(connection: Connection) -> Rows:
    """All rows below the log with every key replaced by what it stands for.

    Keys are log positions, so they depend on the order of arrival; nothing else may.
    """
    return _tables(connection, ("id",))


def undated_tables(connection: Connection) -> Rows:
    """As `named_tables`, also without the time of recording: for events that bring none."""
    return _tables(connection, ("id", "recorded_at"))


def _tables(connection: Connection, left_out: tuple[str, ...]) -> Rows:
    names = _names(connection)
    return {
        table.name: sorted(
            (
                tuple(
                    names[column][value] if column in names and value is not None else value
                    for column, value in zip(row._fields, _plain(row), strict=True)
                    if column != "id" and not column.endswith(left_out[1:])
                )
                for row in connection.execute(select(table))
            ),
            key=repr,
        )
        for table in BELOW_THE_LOG
    }


def _plain(row: Row[Any]) -> tuple[Any, ...]:
    return tuple(repr(value) if isinstance(value, dict) else value for value in row)


def _names(connection: Connection) -> Mapping[str, dict[int, Any]]:
    """What the keys stand for, by the name of the column that holds them."""
    source, log = models.source, models.event_log
    sources = {row.id: row.name for row in connection.execute(select(source))}
    events = {
        row.position: str(row.id) for row in connection.execute(select(log.c.position, log.c.id))
    }
    customers, subscriptions = (
        {
            row.id: (sources[row.source_id], row.external_id)
            for row in connection.execute(select(table))
        }
        for table in (models.customer, models.subscription)
    )
    return {
        "source_id": sources,
        # Sums over customers stand in the place of one.
        "customer_id": {**customers, EVERYBODY: "everybody"},
        "subscription_id": subscriptions,
        "version_id": events,
        "event_position": events,
    }
