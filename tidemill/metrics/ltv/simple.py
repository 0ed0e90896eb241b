"""ARPA over churn: what a customer brings in if nothing changes.

One over a churn rate is how many windows a customer stays, on average, where everybody is as likely
to leave at any age. The knob `ltv_churn` takes the churn of the window itself, or the mean of the
months before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    select,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tidemill.errors import InvalidQuery, Issue
from tidemill.knobs import parameter
from tidemill.metrics.base import Behind, Table
from tidemill.metrics.margins import FROM_COSTS, margin_in
from tidemill.metrics.paying import Paying
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.shares import share_of
from tidemill.metrics.windows import Part, Rate, Windows, whole_value, window_table
from tidemill.periods import add_months, period_start

__all__ = ["ChurnKind", "LifetimeValue", "lifetime_value", "margin_of", "simple_table"]

ChurnKind = Literal["logo", "gross_mrr", "net_mrr"]
"""Which churn a lifetime is made of: of customers, of MRR, or of MRR less growth."""

_DAY = timedelta(days=1)
_ROLLING = timedelta(days=30)
_INTEGERS = ARRAY(Integer)


def simple_table(q: Query, windows: Windows, churn: ChurnKind, margin: str) -> Table:
    """One row a group and window: ltv, arpa with both sides, margin, churn."""
    worth = LifetimeValue(q, windows, churn, margin)
    columns = [
        worth.value.label("ltv"),
        *worth.arpa.columns("arpa", worth.arpa.value),
        worth.margin.share.label("margin"),
        worth.churn.label("churn"),
    ]
    table = window_table(
        q, worth.windows, columns, worth.parts, behind=worth.behind, warnings=worth.warnings
    )
    return replace(table, checks=worth.margin.checks("margin", of="arpa_denominator"))


class LifetimeValue:
    """ARPA times margin over churn, of every window."""

    def __init__(self, q: Query, windows: Windows, churn: ChurnKind, margin: str) -> None:
        """Take what it is made of.

        margin: a share, or ``cogs``; all of ARPA when empty, and the knob `ltv_numerator` says so.
        Raises: InvalidQuery.
        """
        lifetimes = _Lifetimes(q, windows, churn)
        self.windows, self.retained = lifetimes.windows, lifetimes.retained
        if not margin:
            margin = "1" if q.policy.ltv_numerator == "arpa" else FROM_COSTS
        self.margin = margin_in(q, self.windows, margin)
        paying = Paying(q, self.windows)
        self.arpa = paying.arpa()
        self.churn, parts, said = lifetimes.churn
        self.parts = (*self.arpa.parts, *parts, *self.margin.parts)
        self.warnings = (*said, *paying.warnings)
        self.behind = Behind(None, self.windows.end)

    @property
    def value(self) -> ColumnElement[Any]:
        """The value of a customer; null where nothing is lost: a lifetime without an end."""
        return lifetime_value(self.arpa.value, self.margin.share, self.churn)


def lifetime_value(
    arpa: ColumnElement[Any], margin: ColumnElement[Any], churn: ColumnElement[Any]
) -> ColumnElement[Any]:
    """ARPA times margin over churn; null where nothing is lost."""
    return arpa * margin / case((churn > 0, churn))


def margin_of(q: Query, margin: str) -> Decimal:
    """The gross margin that ARPA is multiplied by: 1 where the knob `ltv_numerator` says ARPA.

    Raises: InvalidQuery when it is needed and not given, or no share.
    """
    hint = "Write a share such as 0.8."
    if not margin:
        if q.policy.ltv_numerator == "arpa":
            return Decimal(1)
        problem = "is required: ltv_numerator = arpa_x_margin, and costs are not known"
        raise InvalidQuery([Issue("margin", problem, hint)])
    return share_of("margin", margin)


@dataclass(frozen=True)
class _Lifetimes:
    """The churn of every window, by the knob `ltv_churn`."""

    q: Query
    asked: Windows
    kind: ChurnKind

    @property
    def months(self) -> int | None:
        """How many months before its own a window looks at; None for itself."""
        return parameter(self.q.policy.ltv_churn)[1]

    @cached_property
    def windows(self) -> Windows:
        """The asked windows, and the months before them where these are looked at."""
        if self.months is None:
            return self.asked
        said = f"By ltv_churn the churn is the mean of the {self.months} months before."
        months = tuple(sorted(set(self._months.values())))
        return replace(self.asked, further=months, further_said=said)

    @cached_property
    def retained(self) -> Retained:
        """What stayed, through all windows."""
        return Retained(self.q, self.windows)

    @cached_property
    def churn(self) -> tuple[ColumnElement[Any], tuple[Part, ...], tuple[str, ...]]:
        """The churn rate, null where there is none, the parts it is made of, and what to say."""
        rate = self.retained.churn(self.kind)
        if self.months is None:
            value, said = whole_value(self.q, self.windows, rate)
            return value, rate.parts, said
        needs = tuple(need for part in rate.parts for need in part.needs)
        mean = Part(self._mean(self._each(rate)), needs)
        return mean.rows.c.churn, (mean,), ()

    @cached_property
    def _months(self) -> dict[tuple[int, int], tuple[date, date]]:
        """(place of a window, how many months before) → that month, as eve and last day."""
        found = {}
        for place, period in enumerate(self.asked.calendar.periods, start=1):
            own = period_start(period.end, "month")
            for back in range(1, (self.months or 0) + 1):
                first = add_months(own, -back)
                last = add_months(first, 1) - _DAY
                eve = last - _ROLLING if self.asked.rolling else first - _DAY
                found[place, back] = (eve, last)
        return found

    def _mean(self, each: CTE) -> CTE:
        """The mean of the months that have a rate: group columns, place, churn."""
        further = {
            window: place
            for place, window in enumerate(
                self.windows.further, start=len(self.asked.calendar.periods) + 1
            )
        }
        links = [(place, further[month]) for (place, _), month in self._months.items()]
        lists = (
            cast(literal(list(part), _INTEGERS), _INTEGERS) for part in zip(*links, strict=True)
        )
        names = (column(name, Integer) for name in ("place", "window"))
        link = func.unnest(*lists).table_valued(*names, name="month_before").render_derived()
        line = [*self.q.group_columns(each), link.c.place]
        return (
            select(*line, func.avg(each.c.rate).label("churn"))
            .join_from(each, link, link.c.window == each.c.place)
            .group_by(*line)
            .cte("mean_churn")
        )

    def _each(self, rate: Rate) -> CTE:
        """The rate of every window: group columns, place, rate."""
        q = self.q
        keys = union(
            *(select(*q.group_columns(part.rows), part.rows.c.place) for part in rate.parts)
        ).subquery("rate_key")
        source: FromClause = keys
        for part in rate.parts:
            same = and_(part.rows.c.place == keys.c.place, q.same_group(part.rows, keys))
            source = source.outerjoin(part.rows, same)
        return select(keys, rate.value.label("rate")).select_from(source).cte("each_rate")
