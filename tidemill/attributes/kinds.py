"""Which attributes there are, of which kind, and what values they have.

An attribute is of the kind that somebody pinned, or else of the kind of its first value. The kind
is a definition and no fact: the one of today also reads what was known at an earlier date.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    case,
    cast,
    collate,
    func,
    select,
)

from tidemill.attribute_rows import KIND_COLUMNS
from tidemill.models import attribute, attribute_pin
from tidemill.vocabulary import AttributeKind

__all__ = [
    "AttributeInfo",
    "AttributeValue",
    "known_attributes",
    "listed_attributes",
    "shown_value",
    "values_of",
]


@dataclass(frozen=True, slots=True)
class AttributeInfo:
    """An attribute: its kind, whether that was pinned, and the kind of its first value.

    customers: how many have a value; misfits: of how many it cannot be read as the kind, so that it
    is unknown; values: how many different ones there are. None where nobody counted.
    """

    name: str
    kind: AttributeKind
    pinned: bool = False
    first_kind: AttributeKind | None = None
    customers: int | None = None
    misfits: int | None = None
    values: int | None = None

    def document(self) -> dict[str, Any]:
        """The attribute as JSON."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "pinned": self.pinned,
            "first_kind": self.first_kind and self.first_kind.value,
            "customers": self.customers,
            "misfits": self.misfits,
            "values": self.values,
        }


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """A value of an attribute, and how many customers have it."""

    value: str
    customers: int

    def document(self) -> dict[str, Any]:
        """The value as JSON."""
        return {"value": self.value, "customers": self.customers}


def known_attributes(connection: Connection) -> dict[str, AttributeInfo]:
    """Every attribute that ever had a value, or was pinned, by name in alphabetical order."""
    return {row.name: _info(row) for row in connection.execute(_kinds())}


def listed_attributes(connection: Connection, rows: FromClause) -> dict[str, AttributeInfo]:
    """The same, with how many customers have values.

    rows: the relation `customer_attributes`.
    """
    counted = (
        select(
            rows.c.attribute,
            func.count().label("customers"),
            func.count(rows.c.text.distinct()).label("texts"),
            *(func.count(rows.c[name]).label(name) for name in KIND_COLUMNS.values()),
        )
        .group_by(rows.c.attribute)
        .subquery("counted")
    )
    kind = _kinds().subquery("kind")
    found = connection.execute(
        select(kind, counted)
        .outerjoin_from(kind, counted, counted.c.attribute == kind.c.name)
        .order_by(collate(kind.c.name, "C"))
    )
    listed = {}
    for row in found:
        info = _info(row)
        customers = row.customers or 0
        fitting = getattr(row, KIND_COLUMNS[info.kind]) or 0
        listed[row.name] = AttributeInfo(
            name=info.name,
            kind=info.kind,
            pinned=info.pinned,
            first_kind=info.first_kind,
            customers=customers,
            misfits=customers - fitting,
            values=row.texts or 0,
        )
    return listed


def values_of(
    connection: Connection, rows: FromClause, info: AttributeInfo, *, like: str, values_max: int
) -> list[AttributeValue]:
    """The values of an attribute that contain a text, in any case; the most frequent first."""
    value = shown_value(rows, info.kind)
    count = func.count()
    wanted: Select[Any] = (
        select(value.label("value"), count.label("customers"))
        .where(rows.c.attribute == info.name, value.is_not(None))
        .group_by(value)
        .order_by(count.desc(), collate(value, "C"))
        .limit(values_max)
    )
    if like:
        wanted = wanted.where(value.icontains(like, autoescape=True))
    return [AttributeValue(row.value, row.customers) for row in connection.execute(wanted)]


def shown_value(rows: FromClause, kind: AttributeKind, tz: str = "UTC") -> ColumnElement[Any]:
    """A value as people read it: numbers without needless zeros, instants as days in a zone."""
    match kind:
        case AttributeKind.STRING:
            return rows.c.text
        case AttributeKind.NUMBER:
            return cast(func.trim_scale(rows.c.number), Text)
        case AttributeKind.BOOL:
            return case((rows.c.flag, "true"), (~rows.c.flag, "false"))
        case AttributeKind.INSTANT:
            return func.to_char(func.timezone(tz, rows.c.moment), "YYYY-MM-DD")


def _kinds() -> Select[Any]:
    name = func.coalesce(attribute.c.name, attribute_pin.c.name)
    both = attribute.join(attribute_pin, attribute.c.name == attribute_pin.c.name, full=True)
    return (
        select(
            name.label("name"),
            attribute.c.kind.label("first_kind"),
            attribute_pin.c.kind.label("pinned_kind"),
        )
        .select_from(both)
        .where(func.coalesce(attribute.c.kind, attribute_pin.c.kind).is_not(None))
        .order_by(collate(name, "C"))
    )


def _info(row: Any) -> AttributeInfo:
    return AttributeInfo(
        name=row.name,
        kind=AttributeKind(row.pinned_kind or row.first_kind),
        pinned=row.pinned_kind is not None,
        first_kind=row.first_kind and AttributeKind(row.first_kind),
    )
