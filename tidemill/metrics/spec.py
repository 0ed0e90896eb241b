"""What is asked beside the question itself: dimensions, filters, segment, grain.

A `QuerySpec` goes with every question. It only holds names; `binding.bind` checks them against a
metric's cube and reports every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tidemill.errors import InvalidQuery, Issue
from tidemill.periods import Grain

__all__ = ["Filter", "Operator", "Paging", "QuerySpec", "Where"]

Operator = Literal["=", "!=", "~="]
"""Equal to, different from, containing (in any case)."""

_FILTER = re.compile(r"\s*([^=!~]*?)\s*(!=|~=|=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a dimension.

    Filters of one dimension and operator are alternatives (IN); all others must hold together.
    """

    dimension: str
    operator: Operator
    value: str

    @classmethod
    def parse(cls, written: str) -> Filter:
        """A filter from ``DIM=VALUE``, ``DIM!=VALUE`` or ``DIM~=TEXT``.

        >>> Filter.parse("plan=pro")
        Filter(dimension='plan', operator='=', value='pro')
        >>> str(Filter.parse("country != US"))
        'country!=US'

        Raises: InvalidQuery when it is written in no such way.
        """
        found = _FILTER.fullmatch(written)
        if found is None or not found[1]:
            hint = "Write DIM=VALUE, DIM!=VALUE or DIM~=TEXT."
            raise InvalidQuery([Issue("where", f"{written!r} is not a filter", hint)])
        operator: Operator = next(each for each in get_args(Operator) if each == found[2])
        return cls(found[1], operator, found[3].strip())

    def __str__(self) -> str:
        """The filter as one writes it."""
        return f"{self.dimension}{self.operator}{self.value}"


Where = Mapping[str, Any] | Iterable[str | Filter]
"""Filters as people give them: ``{"plan": ["pro", "team"]}`` or ``["plan=pro", "country!=US"]``."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Which rows of a list are wanted.

    limit: how many: a number, or ``all``; 1,000 when left out.
    after: where to go on: the `next` of the page before.
    """

    limit: int | str | None = None
    after: str | None = None

    def given(self) -> tuple[str, ...]:
        """The names of what is said."""
        return tuple(name for name in ("limit", "after") if getattr(self, name) is not None)


@dataclass(frozen=True)
class QuerySpec:
    """How to cut the answer.

    dimensions: what to group by, in this order.
    filters:    conditions as text or `Filter`; unreadable ones are reported when the question is.
    segment:    name of a saved segment.
    compare:    names of saved segments to show side by side.
    grain:      length of the periods, for questions that have periods.
    compare_to: the range to show beside: ``previous``, ``year_ago`` or ``DAY..DAY``.
    page:       how many rows of a list, and from where on.
    """

    dimensions: tuple[str, ...] = ()
    filters: tuple[str | Filter, ...] = ()
    segment: str | None = None
    compare: tuple[str, ...] = ()
    grain: Grain | None = None
    compare_to: str | None = None
    page: Paging = field(default_factory=Paging)

    def __init__(
        self,
        dimensions: Iterable[str] = (),
        filters: Where = (),
        *,
        segment: str | None = None,
        compare: Iterable[str] = (),
        grain: Grain | None = None,
        compare_to: str | None = None,
    ) -> None:
        """Take lists as well as tuples, and filters as a mapping; a lone name is a list of it."""
        object.__setattr__(self, "dimensions", _several(dimensions))
        object.__setattr__(self, "filters", _filters(filters))
        object.__setattr__(self, "segment", segment)
        object.__setattr__(self, "compare", _several(compare))
        object.__setattr__(self, "grain", grain)
        object.__setattr__(self, "compare_to", compare_to)
        object.__setattr__(self, "page", Paging())

    def where(self, *filters: str | Filter) -> QuerySpec:
        """The same spec with further filters."""
        return QuerySpec(
            self.dimensions,
            (*self.filters, *filters),
            segment=self.segment,
            compare=self.compare,
            grain=self.grain,
            compare_to=self.compare_to,
        ).paged(self.page)

    def paged(self, page: Paging) -> QuerySpec:
        """The same spec for these rows of a list."""
        found = copy(self)
        object.__setattr__(found, "page", page)
        return found


def _several(names: Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _filters(where: Where) -> tuple[str | Filter, ...]:
    if isinstance(where, str):
        return (where,)
    if not isinstance(where, Mapping):
        return tuple(where)
    return tuple(
        Filter(name, "=", str(value))
        for name, values in where.items()
        for value in ((values,) if isinstance(values, str) or not _is_list(values) else values)
    )


def _is_list(values: object) -> bool:
    return isinstance(values, list | tuple | set | frozenset)
