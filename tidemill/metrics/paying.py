"""Paying customers: how many there are at each window's close, and the MRR they pay.

Both are sums of the same rows, so the facts are read once. Amounts are added up natively and valued
at the rate of the closing day, as the metric `mrr` does; customers cut by items are where they pay,
as the metric `customers` counts them.
"""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import (
    CTE,
    BigInteger,
    FromClause,
    Integer,
    Text,
    and_,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from tidemill.metrics.base import RateNeed
from tidemill.metrics.levels import overlap, require_levels_tell
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day, whole_sum
from tidemill.metrics.windows import Part, Rate, Windows

__all__ = ["Paying"]


class Paying:
    """The customers of a query's groups and their MRR at the close of its windows."""

    def __init__(self, q: Query, windows: Windows) -> None:
        """Prepare to look; nothing is built before it is asked for."""
        self.q = q
        self.windows = windows

    def arpa(self) -> Rate:
        """MRR over customers, at each window's close."""
        part = self.standing
        return Rate(part.of("mrr"), part.of("customers"), (part,))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of counts in groups that share customers."""
        return overlap(self.q)

    @cached_property
    def standing(self) -> Part:
        """Levels at the closes: group columns, place, mrr, customers."""
        q, window, flow = self.q, self.windows.asked, self._flow
        keys = [*q.group_columns(flow), window.c.place, window.c.last, flow.c.native_currency]
        level, active = func.sum(flow.c.moved), func.sum(flow.c.came)
        stands = (
            select(*keys, level.label("level"), active.label("active"))
            .join_from(flow, window, window.c.place > flow.c.closed)
            .group_by(*keys)
            .having(or_(level != 0, active != 0))
            .cte("standing_level")
        )
        rate = rates_by_day(q.rates, stands, ("native_currency", "last"), "standing_rate")
        on_day = and_(rate.c.currency == stands.c.native_currency, rate.c.day == stands.c.last)
        line = [*q.group_columns(stands), stands.c.place]
        rows = (
            select(
                *line,
                whole_sum(stands.c.level, rate.c.factor).label("mrr"),
                cast(func.sum(stands.c.active), BigInteger).label("customers"),
            )
            .select_from(stands.outerjoin(rate, on_day))
            .group_by(*line)
            .cte("standing")
        )
        lacking = select(stands.c.native_currency, stands.c.last).outerjoin_from(
            stands, rate, on_day
        )
        lost = lacking.where(stands.c.level != 0, rate.c.factor.is_(None)).distinct()
        return Part(rows, (RateNeed(lost),))

    @cached_property
    def _flow(self) -> FromClause:
        """Rows added up between the closes.

        Shape: group columns, native_currency, closed (how many windows were over when the rows'
               days began), moved, came (customers, net).
        """
        by_item = self.q.cuts_by("item")
        q = self.q if by_item else self.q.summed
        rows = q.rows.c
        told = q.select(
            self.windows.end,
            lambda _: [
                *([rows.customer_id.label("customer_id")] if by_item else []),
                q.worth.currency.label("native_currency"),
                self.windows.closed_before(rows.day).label("closed"),
                q.worth.amount.label("moved"),
                (rows.amount_minor if by_item else rows.customer_delta).label("came"),
            ],
        )
        if by_item:
            require_levels_tell(q)
            return self._item_flow(told.cte("paying_row"))
        row = told.subquery("paying_row")
        keys = [*q.group_columns(row), row.c.native_currency, row.c.closed]
        sums = (func.sum(row.c.moved).label("moved"), func.sum(row.c.came).label("came"))
        return select(*keys, *sums).group_by(*keys).cte("paying_flow")

    def _item_flow(self, row: CTE) -> FromClause:
        """As `_flow`: money by currency, and customers as their level leaves zero or comes back."""
        q = self.q
        keys = [*q.group_columns(row), row.c.native_currency, row.c.closed]
        money = select(*keys, func.sum(row.c.moved).label("moved"), literal(0).label("came"))
        line = [*q.group_columns(row), row.c.customer_id]
        net = (
            select(*line, row.c.closed, func.sum(row.c.came).label("native"))
            .group_by(*line, row.c.closed)
            .subquery("customer_net")
        )
        keys_of = [*q.group_columns(net), net.c.customer_id]
        level = func.sum(net.c.native).over(partition_by=keys_of, order_by=net.c.closed)
        there = select(*keys_of, net.c.closed, cast(level > 0, Integer).label("there"))
        stands = there.subquery("customer_there")
        keys_of = [*q.group_columns(stands), stands.c.customer_id]
        before = func.lag(stands.c.there, 1, 0).over(partition_by=keys_of, order_by=stands.c.closed)
        turn = select(
            *q.group_columns(stands), stands.c.closed, (stands.c.there - before).label("came")
        ).subquery("customer_turn")
        groups = q.group_columns(turn)
        counted = (
            select(
                *groups,
                cast(null(), Text).label("native_currency"),
                turn.c.closed,
                literal(0).label("moved"),
                func.sum(turn.c.came).label("came"),
            )
            .where(turn.c.came != 0)
            .group_by(*groups, turn.c.closed)
        )
        return union_all(money.group_by(*keys), counted).cte("paying_flow")
