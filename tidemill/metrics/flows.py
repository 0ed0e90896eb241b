"""Flows: the movements of every period in base currency, and the waterfall they make.

Movements are valued at the rate of their own day, levels at the rate of the day they stand on. What
lies between is the effect of exchange rates, a line of its own: what was there before, revalued,
and what moved, from its own day's rate to the closing one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Select, and_, case, func, literal, select, union

from tidemill.errors import BooksDoNotClose
from tidemill.ledger.movements import FX_TYPE
from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.cube import Scope
from tidemill.metrics.levels import money_of, running, valued
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day
from tidemill.vocabulary import MovementType

__all__ = ["WATERFALL", "Columns", "Flow", "check_waterfall", "flow_table", "waterfall"]

WATERFALL: Final = (
    MovementType.NEW,
    MovementType.EXPANSION,
    MovementType.REACTIVATION,
    MovementType.CONTRACTION,
    MovementType.CHURN,
)
"""The movement types in the order a waterfall shows them, between opening and fx."""

# Wide enough for any NUMERIC; the default context's 28 digits would round.
_EXACT: Final = Context(prec=400)


@dataclass(frozen=True, slots=True)
class Flow:
    """One period's movements in base currency, to make columns from."""

    moves: CTE

    def of(self, *types: MovementType) -> ColumnElement[Any]:
        """The sum of these types' movements (without any: all); null when a rate is missing."""
        names = [each.value for each in types] or ["total"]
        total: ColumnElement[Any] = func.coalesce(self.moves.c[names[0]], 0)
        for name in names[1:]:
            total = total + func.coalesce(self.moves.c[name], 0)
        return case((self.moves.c.whole.is_(False), None), else_=total)


Columns = Callable[[CTE, Flow], list[ColumnElement[Any]]]


def flow_table(q: Query, calendar: Calendar, columns: Columns) -> Table:
    """One row a group and period, with `columns` made of the period (`key`) and its movements."""
    moves, need = _moves(q, _daily(q.summed, calendar))
    period = calendar.cte()
    on_key = moves.c.key == period.c.key
    if q.groups:
        line = select(*q.group_columns(moves)).distinct().subquery("line")
        same = and_(on_key, q.same_group(moves, line))
        source = line.join(period, literal(True)).outerjoin(moves, same)
        shown, order = q.shown_groups(line), q.group_order(line)
    else:
        source, shown, order = period.outerjoin(moves, on_key), [], []
    statement = (
        select(*shown, *columns(period, Flow(moves)))
        .select_from(source)
        .where(period.c.place > 0)
        .order_by(*order, period.c.place)
    )
    return q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(calendar.start, calendar.end),
        needs=(RateNeed(need),),
    )


def waterfall(q: Query, calendar: Calendar) -> tuple[Select[Any], RateNeed]:
    """From opening to closing, period by period.

    Formula: closing = opening + new + expansion + reactivation + contraction + churn + fx, where
             opening and closing are levels at the rate of their day, each movement counts at the
             rate of its own day, and, natively with r for rates,
             fx = opening x (r_close - r_open) + sum of movements x (r_close - r_day).
             Where levels carry rates of their own, fx is what is left between both.
    Shape:   group columns (hidden ones too), place, period, opening, the types, fx, closing; one
             row a group and period. Losses are negative.
    """
    moves, lacking_moves = _moves(q, _daily(q.summed, calendar))
    period = calendar.cte()
    level = valued(q, running(q.summed, calendar, period, money_of(q.summed)))
    balance = _balance(q, period, level)
    flow = Flow(moves)
    same = and_(balance.c.key == moves.c.key, q.same_group(balance, moves))
    statement = (
        select(
            *q.group_columns(balance),
            balance.c.place,
            balance.c.key.label("period"),
            balance.c.opening,
            *(flow.of(each).label(each.value) for each in WATERFALL),
            (balance.c.revalued - flow.of()).label("fx"),
            balance.c.closing,
        )
        .outerjoin_from(balance, moves, same)
        .where(balance.c.place > 0)
    )
    lacking_levels = select(level.c.native_currency, level.c.closes_on).where(
        level.c.level != 0, level.c.factor.is_(None)
    )
    return statement, RateNeed(select(union(lacking_moves, lacking_levels).subquery("lacking")))


def check_waterfall(rows: list[dict[str, Any]]) -> None:
    """Refuse a waterfall that does not add up, or does not go on where it stopped.

    rows: as `waterfall` gives them, group by group in the order of time.
    Raises: BooksDoNotClose.
    """
    previous: Mapping[str, Any] | None = None
    for row in rows:
        first = previous is None or row["period"] <= previous["period"]
        total = row["opening"]
        for part in (*(each.value for each in WATERFALL), "fx"):
            total = _EXACT.add(total, row[part])
        gaps = [_EXACT.subtract(row["closing"], total)]
        if previous is not None and not first:
            gaps.append(_EXACT.subtract(row["opening"], previous["closing"]))
        for gap in gaps:
            if gap != 0:
                raise BooksDoNotClose(str(row["period"]), gap)
        previous = row


def _balance(q: Query, period: CTE, level: CTE) -> Any:
    """Opening and closing of every group and period, and what lies between at closing rates."""
    line = (*q.groups, "native_currency")
    before = func.lag(level.c.factor).over(
        partition_by=[level.c[name] for name in line], order_by=level.c.place
    )
    book = select(level, before.label("factor_before")).subquery("book")
    prior = book.c.level - book.c.moved
    known = func.bool_and((book.c.level == 0) | book.c.factor.is_not(None))
    closing = case(
        (known.is_(False), None), else_=func.coalesce(func.sum(book.c.level * book.c.factor), 0)
    )
    kept = case((prior != 0, prior * (book.c.factor - book.c.factor_before)), else_=0)
    came = case((book.c.moved != 0, book.c.moved * book.c.factor), else_=0)
    same = book.c.place == period.c.place
    source = period.join(book, same) if q.groups else period.outerjoin(book, same)
    closed = (
        select(
            *q.group_columns(book),
            period.c.place,
            period.c.key,
            closing.label("closing"),
            func.coalesce(func.sum(kept + came), 0).label("revalued"),
        )
        .select_from(source)
        .group_by(*q.group_columns(book), period.c.place, period.c.key)
        .subquery("closed")
    )
    opening = func.lag(closed.c.closing).over(
        partition_by=q.group_columns(closed) or None, order_by=closed.c.place
    )
    return select(closed, opening.label("opening")).subquery("balance")


def _daily(q: Query, calendar: Calendar) -> CTE:
    """The range's native movements added up per group, currency, day and type.

    Shape: group columns, native_currency, key, day, movement_type, moved.
    """

    def columns(scope: Scope) -> list[ColumnElement[Any]]:
        return [
            q.moved.currency.label("native_currency"),
            calendar.key_of(scope.rows.c.day).label("key"),
            scope.rows.c.day.label("day"),
            scope.rows.c.type.label("movement_type"),
            q.moved.amount.label("moved"),
        ]

    chosen = q.select(calendar.end, columns).where(
        q.rows.c.day >= calendar.start,
        # A level at another rate has not moved: that is the fx line's.
        q.rows.c.type != FX_TYPE,
    )
    moved = chosen.subquery("movement")
    keys = [column for column in moved.c if column.name != "moved"]
    total = func.sum(moved.c.moved)
    return (
        select(*keys, total.label("moved")).group_by(*keys).having(total != 0).cte("daily_movement")
    )


def _moves(q: Query, daily: CTE) -> tuple[CTE, Select[Any]]:
    """Movements of every group and period in base currency, a column a type; and what lacks a rate.

    Shape: group columns, key, one column a type, total, whole (no rate was missing).
    """
    rate = rates_by_day(q.rates, daily, ("native_currency", "day"), "movement_rate")
    priced = (
        select(daily, (daily.c.moved * rate.c.factor).label("value"))
        .outerjoin_from(
            daily,
            rate,
            and_(rate.c.currency == daily.c.native_currency, rate.c.day == daily.c.day),
        )
        .cte("priced_movement")
    )
    total = func.sum(priced.c.value)
    moves = (
        select(
            *q.group_columns(priced),
            priced.c.key,
            *(
                total.filter(priced.c.movement_type == each.value).label(each.value)
                for each in WATERFALL
            ),
            total.label("total"),
            func.bool_and(priced.c.value.is_not(None)).label("whole"),
        )
        .group_by(*q.group_columns(priced), priced.c.key)
        .cte("period_movement")
    )
    lacking = select(priced.c.native_currency, priced.c.day).where(priced.c.value.is_(None))
    return moves, lacking.distinct()
