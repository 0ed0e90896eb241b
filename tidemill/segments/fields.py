"""What conditions can speak of: customers, what they pay for, attributes, and figures.

A customer's field has one value. A field of what the customer pays for (`many`) may have several,
and a condition on it holds when it holds for one of them. Fields are named as the dimensions of
questions are, where there is such a dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tidemill.attributes import PREFIX, AttributeInfo
from tidemill.vocabulary import AttributeKind, SubscriptionStatus

__all__ = ["OPERATORS", "Field", "Kind", "Place", "fields_of"]

Kind = Literal["string", "number", "bool", "day"]

Place = Literal["customer", "attribute", "figure", "item", "standing"]
"""Where a field's values are found: see `members`."""

_EMPTY: Final = ("is_empty", "is_not_empty")
_ORDERED: Final = ("=", "!=", ">", ">=", "<", "<=", "in", "not_in", "between", *_EMPTY)

OPERATORS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "string": (
        *("=", "!=", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with"),
        *_EMPTY,
    ),
    "number": _ORDERED,
    "day": _ORDERED,
    "bool": ("=", "!=", *_EMPTY),
}
"""Kind of a field → the operators that conditions on it can have."""


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a condition can be about."""

    name: str
    kind: Kind
    place: Place
    doc: str
    #: The column of its place; an attribute's name.
    column: str
    #: All values there are, where that is known beforehand.
    values: tuple[str, ...] = ()
    #: Its values are written in capital letters, and so are those of conditions.
    upper: bool = False

    @property
    def many(self) -> bool:
        """Whether a customer may have several values."""
        return self.place in {"item", "standing"}

    def document(self) -> dict[str, Any]:
        """The field as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "doc": self.doc,
            "operators": list(OPERATORS[self.kind]),
            "values": list(self.values),
            "many": self.many,
        }


def _own(name: str, column: str, doc: str, *, upper: bool = False) -> Field:
    return Field(name, "string", "customer", doc, column, upper=upper)


def _item(name: str, doc: str, *, upper: bool = False) -> Field:
    return Field(name, "string", "item", doc, name, upper=upper)


def _figure(name: str, kind: Kind, doc: str) -> Field:
    return Field(name, kind, "figure", doc, name)


_FIXED: Final = (
    _own("customer", "external_id", "The customer's id in the billing system."),
    _own("customer_name", "name", "The customer's name."),
    _own("email", "email", "The customer's e-mail."),
    _own("country", "country", "The customer's country, ISO 3166-1 alpha-2.", upper=True),
    _own("source", "source", "The connected source the customer comes from."),
    _item("plan", "A plan the customer pays for, by its id."),
    _item("plan_name", "The name of a plan the customer pays for."),
    _item("product", "A product the customer pays for, by its id."),
    _item("product_name", "The name of a product the customer pays for."),
    _item("interval", "A billing interval the customer pays in: month, year, 3 months."),
    _item("currency", "A currency the customer pays in.", upper=True),
    _item("subscription", "A subscription the customer pays for, by its id."),
    Field(
        "subscription_status",
        "string",
        "standing",
        "What the billing system says one of the customer's subscriptions is.",
        "status",
        values=tuple(each.value for each in SubscriptionStatus),
    ),
    _figure("mrr", "number", "What the customer pays a month, in major base currency units."),
    _figure("active", "bool", "Whether the customer is an active one."),
    _figure("cohort_month", "day", "The month of the customer's first movement, its first day."),
    _figure("tenure_months", "number", "How many months ago that was, in whole calendar months."),
    _figure("subscriptions", "number", "For how many subscriptions the customer pays."),
)

_ATTRIBUTE_KINDS: Final[Mapping[AttributeKind, Kind]] = {
    AttributeKind.STRING: "string",
    AttributeKind.NUMBER: "number",
    AttributeKind.BOOL: "bool",
    AttributeKind.INSTANT: "day",
}


def fields_of(attributes: Mapping[str, AttributeInfo]) -> dict[str, Field]:
    """Every field by name: those that are always there, and the attributes there are now."""
    own = (
        Field(
            f"{PREFIX}{each.name}",
            _ATTRIBUTE_KINDS[each.kind],
            "attribute",
            f"The customer's {each.name}.",
            each.name,
        )
        for each in attributes.values()
    )
    return {each.name: each for each in (*_FIXED, *own)}
