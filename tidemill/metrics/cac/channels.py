"""Acquisition cost by channel, and in the three ways in which it is told.

A cost names its channel itself. Which channel won a customer is for the business to say: it is the
value of an attribute of the customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Numeric,
    Select,
    and_,
    case,
    cast,
    collate,
    exists,
    func,
    literal,
    select,
    union_all,
)

from tidemill.metrics.base import Behind, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cube import UNKNOWN
from tidemill.metrics.presence import Presence
from tidemill.metrics.query import Query
from tidemill.metrics.spending import FULLY_LOADED, PROGRAMME, Spending
from tidemill.metrics.windows import Windows

__all__ = ["channel_table", "way_table"]


def channel_table(q: Query, calendar: Calendar, attribute: str) -> Table:
    """One row a channel: channel, cac with both sides.

    Formula: programme spend of the channel / new customers whose `attribute` is its name.
    """
    won = _Won(q, Windows(calendar, rolling=False), attribute, PROGRAMME)
    rows = won.channels
    statement = select(rows.c.channel, *_sides(rows.c.spend, rows.c.joined)).order_by(
        rows.c.channel == UNKNOWN, collate(rows.c.channel, "C")
    )
    return _table(won, statement)


def way_table(q: Query, calendar: Calendar, attribute: str) -> Table:
    """Three rows: way (simple, blended, fully_loaded), cac with both sides.

    Formula: simple, programme spend of channels that are named / new customers from these;
             blended, all programme spend / all new customers; fully_loaded, all of sales and
             marketing / all new customers.
    """
    won = _Won(q, Windows(calendar, rolling=False), attribute, FULLY_LOADED)
    channel, spent, window = won.channels, won.spending, won.windows.asked
    paid = and_(channel.c.spend > 0, channel.c.channel != UNKNOWN)
    simple = select(func.sum(channel.c.spend), func.sum(channel.c.joined)).where(paid)
    joined = select(func.coalesce(func.sum(channel.c.joined), 0)).scalar_subquery()
    same = spent.part.rows.c.place == window.c.place
    known = window.outerjoin(spent.part.rows, same)
    ways = union_all(
        _way(1, "simple", simple),
        *(
            _way(place, name, select(spent.of(scope), joined).select_from(known))
            for place, name, scope in ((2, "blended", PROGRAMME), (3, FULLY_LOADED, FULLY_LOADED))
        ),
    ).subquery("way_row")
    statement = select(ways.c.way, *_sides(ways.c.spend, ways.c.joined)).order_by(ways.c.place)
    return _table(won, statement)


def _way(place: int, name: str, sides: Select[Any]) -> Select[Any]:
    spend, joined = sides.subquery(f"{name}_sides").c
    return select(
        literal(place).label("place"),
        literal(name).label("way"),
        spend.label("spend"),
        func.coalesce(joined, 0).label("joined"),
    )


def _sides(spend: Any, joined: Any) -> list[Any]:
    return [
        (cast(spend, Numeric) / func.nullif(joined, 0)).label("cac"),
        spend.label("cac_numerator"),
        cast(joined, BigInteger).label("cac_denominator"),
    ]


def _table(won: _Won, statement: Select[Any]) -> Table:
    calendar, spending = won.windows.calendar, won.spending
    return won.q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(calendar.start, calendar.end),
        needs=spending.part.needs,
        warnings=spending.warnings,
        checks=(spending.known("cac_numerator"),),
    )


@dataclass(frozen=True)
class _Won:
    """Spend and new customers of one window, channel by channel."""

    q: Query
    windows: Windows
    attribute: str
    among: str

    @cached_property
    def spending(self) -> Spending:
        """The costs, as many months before as the knob `cac_lag_months` says."""
        return Spending(self.q, self.windows, self.q.policy.cac_lag_months, self.among)

    @cached_property
    def channels(self) -> CTE:
        """Every channel that has either: channel, spend, joined.

        Without costs of its own a channel cost nothing, unless no costs are known at all.
        """
        spent, came = self.spending.channels, self._joined
        both = spent.join(came, spent.c.channel == came.c.channel, full=True)
        nothing = case((exists().select_from(self.spending.part.rows), 0))
        spend = case((spent.c.channel.is_(None), nothing), else_=spent.c.spend)
        return (
            select(
                func.coalesce(spent.c.channel, came.c.channel).label("channel"),
                spend.label("spend"),
                func.coalesce(came.c.joined, 0).label("joined"),
            )
            .select_from(both)
            .cte("channel_won")
        )

    @cached_property
    def _joined(self) -> CTE:
        """New customers by channel: channel, joined."""
        visit = Presence(self.q, self.windows).visits
        said = self.q.relations.customer_attributes.alias("won_by")
        of = and_(said.c.customer_id == visit.c.customer_id, said.c.attribute == self.attribute)
        channel = func.coalesce(func.nullif(said.c.text, ""), UNKNOWN).label("channel")
        joined = func.sum(visit.c.new_count)
        return (
            select(channel, joined.label("joined"))
            .select_from(visit.outerjoin(said, of))
            .group_by(channel)
            .having(joined > 0)
            .cte("channel_joined")
        )
