"""Cubes: what can be summed, what it can be cut by, and the joins that takes.

A cube stands on rows of one relation (its *base*). A dimension is a value of a base row, or of
another relation found by a *join*. Every join looks up at most one row for each base row; a join
that could multiply base rows, and with them every sum, cannot be declared at all: `Join` demands
that it pins down a whole key of the relation it reaches (`KEYS`). Joins are outer joins, so a base
row without a match stays and is shown as `UNKNOWN`: groups always sum to the total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, FromClause, Table, Text, and_, cast, func

from tidemill.errors import DefinitionError

__all__ = [
    "KEYS",
    "UNKNOWN",
    "Cube",
    "Dimension",
    "DimensionKind",
    "Expression",
    "Join",
    "Measure",
    "Rollup",
    "Scope",
    "sql_name",
]

# PostgreSQL cuts names off after 63 bytes; the longest ending that is put behind one is `_order`.
_NAME_BYTES_MAX: Final = 57

UNKNOWN: Final = "unknown"
"""The group of rows whose value is not known."""

KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "customers": (("customer_id",),),
    "customer_attributes": (("customer_id", "attribute"),),
    "sources": (("source_id",),),
    "plans": (("source_id", "plan"),),
    "products": (("source_id", "product"),),
    "subscriptions": (("subscription_id",),),
    "subscription_versions": (("version_id",),),
    "events": (("position",),),
    "customer_levels": (("customer_id",),),
}
"""Relation → its keys: sets of columns that at most one row of it shares. No key, no join."""


def sql_name(name: str) -> str:
    """A name for use inside statements: another one, of its own, where PostgreSQL would cut it.

    >>> sql_name("plan"), sql_name("attribute." + "a" * 99)
    ('plan', 'name_566f068b936c5a01822ac77e')
    """
    if len(name.encode()) <= _NAME_BYTES_MAX:
        return name
    return f"name_{blake2b(name.encode(), digest_size=12).hexdigest()}"


DimensionKind = Literal["customer", "item", "movement"]
"""What a dimension is a property of: the customer, one item of a subscription, or one movement.

A customer has one value of a customer's dimension, perhaps several of an item's. A movement's
dimension (its type, its cause) says nothing about a level.
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """The base rows of a query with the relations joined to them."""

    rows: FromClause
    joined: Mapping[str, FromClause]
    base_currency: str

    def __getitem__(self, join: str) -> FromClause:
        """The relation that a join has brought in."""
        return self.joined[join]


Expression = Callable[[Scope], ColumnElement[Any]]


@dataclass(frozen=True)
class Join:
    """A look-up of at most one row of a relation for each base row.

    ``on`` says what each key column of the relation must equal. Joins it builds on come first in
    ``after``.
    """

    relation: str
    on: Mapping[str, Expression] = field(hash=False)
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a join that could find more than one row.

        Raises: DefinitionError.
        """
        keys = KEYS.get(self.relation, ())
        if not any(set(key) <= set(self.on) for key in keys):
            known = " or ".join(f"({', '.join(key)})" for key in keys)
            raise DefinitionError(
                f"A join to {self.relation!r} on ({', '.join(self.on)}) could multiply rows.",
                hint=f"Join on a whole key: {known}."
                if known
                else "The relation has no known key.",
                relation=self.relation,
            )

    def condition(self, scope: Scope, target: FromClause) -> ColumnElement[bool]:
        """What the ON clause says."""
        return and_(*(target.c[name] == value(scope) for name, value in self.on.items()))


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the base rows whose sum means something.

    Summed over days up to a day it is a level at that day's close.
    """

    name: str
    doc: str
    column: str


def _as_written(value: str) -> Any:
    return value


@dataclass(frozen=True)
class Dimension:
    """One way to cut a cube."""

    name: str
    doc: str
    kind: DimensionKind
    value: Expression = field(compare=False)
    #: Names of the joins its value needs.
    joins: tuple[str, ...] = ()
    unit: Literal["text", "day"] = "text"
    #: All values there are, when that is known beforehand.
    values: tuple[str, ...] = ()
    #: Reads a value of a filter; raises ValueError with a hint about what to write.
    read: Callable[[str], Any] = field(default=_as_written, compare=False)
    #: What tells groups with the same value apart (two customers of one name).
    key: Expression | None = field(default=None, compare=False)
    #: What groups are sorted by, when their value is not it.
    order: Expression | None = field(default=None, compare=False)
    #: Whether only movements tell it: what stands on a day does not know how it came there.
    of_history: bool = False

    def shown(self, scope: Scope) -> ColumnElement[Any]:
        """The value as results show it: never null for a text."""
        value = self.value(scope)
        if self.unit != "text":
            return value
        return func.coalesce(func.nullif(cast(value, Text), ""), UNKNOWN)

    @property
    def label(self) -> str:
        """What its column is called inside statements: its name, unless PostgreSQL would cut it."""
        return sql_name(self.name)

    def columns(self, scope: Scope) -> Iterator[ColumnElement[Any]]:
        """The labelled columns a query groups by: the value, then its hidden key and order."""
        yield self.shown(scope).label(self.label)
        if self.key is not None:
            yield self.key(scope).label(f"{self.label}_key")
        if self.order is not None:
            yield self.order(scope).label(f"{self.label}_order")

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the columns that group and sort, but are not shown."""
        key = (f"{self.label}_key",) if self.key is not None else ()
        return key + ((f"{self.label}_order",) if self.order is not None else ())

    def document(self) -> dict[str, Any]:
        """The dimension as the catalogue shows it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "kind": self.kind,
            "doc": self.doc,
            "values": list(self.values),
        }


@dataclass(frozen=True)
class Rollup:
    """A table of sums over the rows of another, and the dimensions by which it tells them apart.

    of: the other table; None for rows that are kept nowhere.
    by_month: whether it sums whole months, so that only levels can be made of it.
    """

    table: Table
    of: Table | None
    dimensions: tuple[str, ...]
    by_month: bool = False


@dataclass(frozen=True)
class Cube:
    """Base rows with what can be summed and what they can be cut by.

    Raises: DefinitionError when two dimensions share a name or a join is missing.
    """

    name: str
    measures: tuple[Measure, ...]
    dimensions: tuple[Dimension, ...]
    joins: Mapping[str, Join] = field(hash=False)
    #: What is kept of its sums, the smallest first.
    rollups: tuple[Rollup, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could only fail later, in somebody's query."""
        names = [each.name for each in self.dimensions]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise DefinitionError(f"The cube {self.name!r} defines {sorted(twice)} twice.")
        for dimension in self.dimensions:
            if lost := set(dimension.joins) - set(self.joins):
                raise DefinitionError(
                    f"The dimension {dimension.name!r} of {self.name!r} needs {sorted(lost)}, "
                    "which the cube does not join."
                )

    def dimension(self, name: str) -> Dimension | None:
        """The dimension of this name, if there is one."""
        return next((each for each in self.dimensions if each.name == name), None)

    def joins_for(self, dimensions: tuple[Dimension, ...]) -> tuple[str, ...]:
        """The joins these dimensions need, each after those it builds on."""
        ordered: dict[str, None] = {}

        def add(name: str) -> None:
            for earlier in self.joins[name].after:
                add(earlier)
            ordered.setdefault(name)

        for dimension in dimensions:
            for name in dimension.joins:
                add(name)
        return tuple(ordered)
