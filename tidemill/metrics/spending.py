"""What was spent, window by window, in base currency at each day's rate.

Costs belong to nobody's books: they are cut by no dimension and no segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    FromClause,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.errors import CostDataMissing
from tidemill.metrics.base import Check, RateNeed
from tidemill.metrics.cube import UNKNOWN
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day, whole_sum
from tidemill.metrics.windows import Part, Windows
from tidemill.periods import add_months
from tidemill.vocabulary import ExpenseCategory

__all__ = ["ALL_COSTS", "DELIVERY", "FULLY_LOADED", "PROGRAMME", "Spending"]

PROGRAMME: Final = "programme"
"""Advertising, events, sponsorship: what is spent on winning customers but for people and tools."""
FULLY_LOADED: Final = "fully_loaded"
"""All of sales and marketing: neither the cost of delivering the service nor anything else."""
DELIVERY: Final = "delivery"
"""What it costs to deliver the service."""
ALL_COSTS: Final = "all_costs"
"""Every cost that was recorded."""

_SCOPES: Final[Mapping[str, tuple[ExpenseCategory, ...]]] = {
    PROGRAMME: (ExpenseCategory.PROGRAM,),
    FULLY_LOADED: tuple(
        each
        for each in ExpenseCategory
        if each not in (ExpenseCategory.COGS, ExpenseCategory.OTHER)
    ),
    DELIVERY: (ExpenseCategory.COGS,),
    ALL_COSTS: tuple(ExpenseCategory),
}
_SAID: Final = {
    PROGRAMME: "costs of programmes (program)",
    FULLY_LOADED: "costs of sales and marketing",
    DELIVERY: "costs of delivering the service (cogs)",
    ALL_COSTS: "costs",
}
_DAY: Final = timedelta(days=1)
_DATES: Final = ARRAY(Date)


@dataclass(frozen=True)
class Spending:
    """The costs of a query's windows.

    lag:    by how many months spend comes before the window it is counted in.
    among:  the costs looked at; a window's spend is known when one of them is.
    """

    q: Query
    windows: Windows
    lag: int = 0
    among: str = FULLY_LOADED

    @property
    def warnings(self) -> tuple[str, ...]:
        """Says so where the days of the spend are not those of the customers."""
        if not self.lag:
            return ()
        months = "month" if self.lag == 1 else "months"
        return (f"By cac_lag_months the spend is that of {self.lag} {months} before.",)

    @cached_property
    def part(self) -> Part:
        """Spend by window: place, a column a scope (exact minor units).

        A window has a row when any of the costs looked at is known for it.
        """
        cost, rate, priced = self._priced
        sums = (self._sum(scope).label(scope) for scope in _SCOPES)
        rows = select(cost.c.place, *sums).select_from(priced).group_by(cost.c.place)
        lacking = (
            select(cost.c.native_currency, cost.c.spent_on)
            .select_from(priced)
            .where(cost.c.amount != 0, rate.c.factor.is_(None))
            .distinct()
        )
        # Eager: a null spend says that no cost is known, never that a rate is not.
        return Part(rows.cte(f"{self.among}_spending"), (RateNeed(lacking, eager=True),))

    @cached_property
    def channels(self) -> CTE:
        """Programme spend by channel, of all windows together: channel, spend."""
        cost, _, priced = self._priced
        named = func.coalesce(func.nullif(cost.c.channel, ""), UNKNOWN).label("channel")
        of_programme = cost.c.category.in_(_SCOPES[PROGRAMME])
        return (
            select(named, self._sum(PROGRAMME).label("spend"))
            .select_from(priced)
            .where(of_programme)
            .group_by(named)
            .cte("channel_spending")
        )

    def _sum(self, scope: str) -> ColumnElement[Any]:
        cost, rate, _ = self._priced
        return whole_sum(
            case((cost.c.category.in_(_SCOPES[scope]), cost.c.amount), else_=0), rate.c.factor
        )

    @cached_property
    def _priced(self) -> tuple[CTE, CTE, FromClause]:
        """The costs with their windows, the rates of their days, and the join of both."""
        cost, place, spent_in = self.q.relations.expenses.alias("cost"), *self._spans
        wanted = and_(spent_in(cost.c.day), cost.c.category.in_(_SCOPES[self.among]))
        placed = (
            select(
                place.c.place,
                cost.c.currency.label("native_currency"),
                cost.c.day.label("spent_on"),
                cost.c.category,
                cost.c.channel,
                cost.c.amount,
            )
            .join_from(cost, place, wanted)
            .cte(f"{self.among}_placed_cost")
        )
        rate = rates_by_day(
            self.q.rates_of_days,
            placed,
            ("native_currency", "spent_on"),
            f"{self.among}_cost_rate",
        )
        on_day = and_(rate.c.currency == placed.c.native_currency, rate.c.day == placed.c.spent_on)
        return placed, rate, placed.outerjoin(rate, on_day)

    def of(self, scope: str) -> ColumnElement[Any]:
        """The spend of a scope; null in a window for which no cost at all is known."""
        return self.part.rows.c[scope]

    def known(self, name: str, of: str = "") -> Check:
        """Refuses an answer in which `name`, made of spend, is known in no row.

        of: a column; only the rows that have something of it count.
        Raises (when it checks): CostDataMissing.
        """
        first, last = self._days[0][0], self._days[-1][1] - _DAY

        def check(rows: list[dict[str, Any]]) -> None:
            having = [row for row in rows if not of or row[of]]
            if (having or not of) and all(row[name] is None for row in having):
                raise CostDataMissing(_SAID[self.among], first, last)

        return check

    @cached_property
    def _days(self) -> list[tuple[date, date]]:
        """For every window, the first day of its spend and the day after the last."""
        windows = zip(self.windows.eves, self.windows.calendar.periods, strict=True)
        return [
            (add_months(eve + _DAY, -self.lag), add_months(period.end + _DAY, -self.lag))
            for eve, period in windows
        ]

    @property
    def _spans(self) -> tuple[FromClause, Any]:
        """One row a window with its place, and what says that a day's spend is the window's."""
        lists = (
            cast(literal(list(days), _DATES), _DATES) for days in zip(*self._days, strict=True)
        )
        span = (
            func.unnest(*lists)
            .table_valued(
                column("first", Date),
                column("after", Date),
                with_ordinality="place",
                name=f"{self.among}_spend_span",
            )
            .render_derived()
        )
        return span, lambda day: and_(day >= span.c.first, day < span.c.after)
