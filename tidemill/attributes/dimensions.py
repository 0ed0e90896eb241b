"""Attributes as dimensions: ``attribute.plan_tier`` groups and filters as ``country`` does.

Each is a look-up of at most one row a customer. What a customer has no value for, or none that can
be read as the attribute's kind, is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sqlalchemy import literal

from tidemill.attributes.kinds import AttributeInfo, shown_value
from tidemill.errors import InvalidDay
from tidemill.metrics.cube import UNKNOWN, Cube, Dimension, Expression, Join
from tidemill.metrics.spec import QuerySpec
from tidemill.periods import parse_day
from tidemill.vocabulary import AttributeKind

__all__ = ["PREFIX", "attribute_names", "with_attributes"]

PREFIX: Final = "attribute."


def attribute_names(spec: QuerySpec) -> list[str]:
    """The attributes that a spec names as dimensions or in filters, known or not."""
    named = [*spec.dimensions, *(str(each) for each in spec.filters)]
    return [each.removeprefix(PREFIX) for each in named if each.startswith(PREFIX)]


def with_attributes(cube: Cube, known: Mapping[str, AttributeInfo], tz: str) -> Cube:
    """The cube with a dimension for each attribute; as it is where it knows no customers.

    tz: the zone in which instants become days.
    """
    customer = next((each for each in cube.joins.values() if each.relation == "customers"), None)
    if customer is None:
        return cube
    on = customer.on["customer_id"]
    joins = {
        f"{PREFIX}{each.name}": _join(each.name, on, customer.after) for each in known.values()
    }
    return replace(
        cube,
        dimensions=(*cube.dimensions, *(_dimension(each, tz) for each in known.values())),
        joins={**cube.joins, **joins},
    )


def _join(name: str, customer: Expression, after: Iterable[str]) -> Join:
    on = {"customer_id": customer, "attribute": lambda _: literal(name)}
    return Join("customer_attributes", on, after=tuple(after))


def _dimension(info: AttributeInfo, tz: str) -> Dimension:
    place = f"{PREFIX}{info.name}"

    def value(scope: Any) -> Any:
        return shown_value(scope[place], info.kind, tz)

    def order(scope: Any) -> Any:
        return scope[place].c.number

    return Dimension(
        place,
        f"The customer's {info.name} ({info.kind}).",
        "customer",
        value,
        joins=(place,),
        read=_READ[info.kind],
        order=order if info.kind is AttributeKind.NUMBER else None,
    )


def _text(written: str) -> str:
    return written


def _number(written: str) -> str:
    """As `shown_value` writes it."""
    if written == UNKNOWN:
        return written
    try:
        number = Decimal(written)
    except InvalidOperation as error:
        message = "Write a number."
        raise ValueError(message) from error
    if not number.is_finite():
        message = "Write a number."
        raise ValueError(message)
    plain = f"{number:f}"
    return (plain.rstrip("0").rstrip(".") if "." in plain else plain) or "0"


def _flag(written: str) -> str:
    if written.lower() not in {"true", "false", UNKNOWN}:
        message = "Write true or false."
        raise ValueError(message)
    return written.lower()


def _day(written: str) -> str:
    if written == UNKNOWN:
        return written
    try:
        return parse_day(written).isoformat()
    except InvalidDay as error:
        message = "Write YYYY-MM-DD."
        raise ValueError(message) from error


_READ: Final = {
    AttributeKind.STRING: _text,
    AttributeKind.NUMBER: _number,
    AttributeKind.BOOL: _flag,
    AttributeKind.INSTANT: _day,
}
