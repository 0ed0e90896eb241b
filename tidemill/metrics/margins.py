"""The gross margin that a value is multiplied by: given as a share, or from recorded costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Numeric, cast, literal

from tidemill.errors import InvalidQuery
from tidemill.metrics.base import Check
from tidemill.metrics.query import Query
from tidemill.metrics.recurring import recurring_revenue
from tidemill.metrics.shares import share_of
from tidemill.metrics.spending import DELIVERY, Spending
from tidemill.metrics.windows import Part, Rate, Windows
from tidemill.problems import Issue

__all__ = ["FROM_COSTS", "Margin", "margin_in"]

FROM_COSTS: Final = "cogs"
"""Written for a margin, it asks for that of the recorded costs of delivering the service."""


@dataclass(frozen=True)
class Margin:
    """A gross margin: its share in each window, null where it is not known."""

    share: ColumnElement[Any]
    parts: tuple[Part, ...] = ()
    costs: Spending | None = None

    def checks(self, name: str, of: str) -> tuple[Check, ...]:
        """Refuses an answer in which `name` is null wherever there is something of `of`."""
        return () if self.costs is None else (self.costs.known(name, of=of),)


def margin_in(q: Query, windows: Windows, written: str) -> Margin:
    """The margin of every window, as written: a share, or ``cogs``.

    Formula: (recurring revenue - recorded cogs) / recurring revenue, for ``cogs``.
    Raises:  InvalidQuery for no share, and for ``cogs`` where the question is cut.
    """
    if written != FROM_COSTS:
        return Margin(cast(literal(share_of("margin", written)), Numeric))
    if q.groups or q.bound.conditions or q.bound.members is not None:
        problem = "the costs of a part of the customers are not known"
        raise InvalidQuery([Issue("margin", problem, "Write a share such as 0.8.")])
    costs, revenue = Spending(q, windows, among=DELIVERY), recurring_revenue(q, windows)
    # A rate that is missing would look like costs that are not known.
    needs = tuple(replace(each, eager=True) for each in revenue.needs)
    earned = Part(revenue.rows, needs)
    left = Rate(earned.of("revenue") - costs.of(DELIVERY), earned.of("revenue"), ())
    return Margin(left.value, (earned, costs.part), costs)
