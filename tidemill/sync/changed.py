"""Whether what was read of a customer, product or price is news to the books.

Stripe does not say when these last changed. Read for the first time, an object is dated by its
creation. Read again in another state than the books have it in, it is dated by the reading; in the
same state it tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, select

from tidemill.connectors.base import Item
from tidemill.connectors.stripe.backfill import Staged
from tidemill.events import Event
from tidemill.models import customer, plan, product, source

__all__ = ["as_of_dates"]

_TABLES: Final[dict[str, tuple[Table, tuple[str, ...]]]] = {
    "customer": (customer, ("name", "email", "country", "currency", "created_at", "attributes")),
    "product": (product, ("name", "active")),
    "price": (
        plan,
        (
            *("product", "name", "currency", "interval", "interval_count"),
            *("unit_amount", "pricing_model", "usage_type", "active"),
        ),
    ),
}
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


def as_of_dates(
    connection: Connection, name: str, read: Sequence[tuple[Staged, Sequence[Item]]], read_at: int
) -> dict[tuple[str, str], int | None]:
    """How to date each object: by the reading, or (0) by its creation; None where it is no news.

    read:    the objects, with what each of them tells when dated by its creation.
    read_at: when they were read, in Unix seconds.
    """
    dates: dict[tuple[str, str], int | None] = {}
    for kind, (table, columns) in _TABLES.items():
        told = {
            each.id: event
            for each, items in read
            if each.kind == kind
            for event in items
            if isinstance(event, Event)
        }
        held = _held(connection, name, table, list(told))
        for key, row in held.items():
            said = _DECODER.decode(told[key].data)
            same = all(_plain(said.get(each)) == _plain(row[each]) for each in columns)
            newer = row["state_at"] > datetime.fromtimestamp(read_at, UTC)
            dates[kind, key] = None if same or newer else read_at
    return dates


def _held(
    connection: Connection, name: str, table: Table, keys: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """The rows the books have, by the vendor's id; not those that were only mentioned."""
    if not keys:
        return {}
    rows = connection.execute(
        select(table)
        .join(source, source.c.id == table.c.source_id)
        .where(source.c.name == name, table.c.external_id.in_(keys), table.c.state_at.is_not(None))
    )
    return {each["external_id"]: dict(each) for each in rows.mappings()}


def _plain(value: object) -> object:
    """A value of an event or of a row, so that the two compare: instants, numbers, currencies."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            return value
    return value or None if isinstance(value, dict) else value
