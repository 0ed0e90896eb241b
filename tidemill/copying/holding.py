"""Which copy a store holds: of what, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, func, select

from tidemill import models
from tidemill.errors import CopyOfAnother
from tidemill.models import copied_source, fx_rate

__all__ = ["COPIED", "Asked", "Copy", "copy_in", "rates_position", "require_same"]

COPIED: Final[Mapping[str, Table]] = {
    "customers": models.copied_customer,
    "subscription_versions": models.copied_version,
    "subscriptions": models.copied_subscription,
    "events": models.copied_event,
    "version_items": models.copied_item,
    "discounts": models.copied_discount,
    "invoices": models.copied_invoice,
    "usage_lines": models.copied_usage_line,
    "payments": models.copied_payment,
}
"""Relation → the table with its copied rows, each of which is about one customer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of the books in a billing database, as configured."""

    schema: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """What a store holds a copy of.

    marks:          table of the billing system → latest mark of a change that was seen, as JSON.
    copied_at:      the moment of the billing database that it is a copy of.
    compared_at:    the last one for which every customer was compared.
    rates_position: the latest exchange rate that the facts were derived with; 0 for none.
    """

    source_id: int
    name: str
    title: str
    schema_name: str | None
    tenant: str | None
    fingerprint: str
    marks: Mapping[str, Any]
    copied_at: datetime
    compared_at: datetime
    last_event_at: datetime | None
    left_out: Sequence[tuple[str, int]]
    rates_position: int


def copy_in(connection: Connection) -> Copy | None:
    """The copy that a store holds; None in a store that takes in events."""
    row = connection.execute(select(copied_source)).one_or_none()
    return None if row is None else Copy(**row._asdict())


def require_same(copy: Copy, name: str, asked: Asked) -> None:
    """Refuse to take a copy for one of other books.

    name: the connector's.
    Raises: CopyOfAnother.
    """
    if (copy.name, copy.schema_name, copy.tenant) != (name, asked.schema, asked.tenant):
        raise CopyOfAnother(copy.title, copy.schema_name, copy.tenant)


def rates_position(connection: Connection) -> int:
    """The latest exchange rate in the store; 0 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(fx_rate.c.id), 0))).scalar_one())
