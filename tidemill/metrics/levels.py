"""Levels: what movements sum to at the close of a day, or of every period.

A level is the sum of all movements up to a day, never a stored row. Amounts are added up natively
first and valued at the rate of the day they stand on; `along` names what must be kept apart for
that (the currency), or for counting (the customer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy import Date as SqlDate

from tidemill.errors import KnobNotSupported
from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import BEFORE, Calendar
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day, rates_on, whole_sum
from tidemill.periods import Grain

__all__ = [
    "Sum",
    "customers_at",
    "customers_by_period",
    "money_at",
    "money_by_period",
    "money_of",
    "overlap",
    "require_levels_tell",
    "running",
    "valued",
]


_WHOLE_MONTHS: Final = frozenset({"month", "quarter", "year"})


@dataclass(frozen=True)
class Sum:
    """What to add up, and what to keep apart meanwhile (label → column)."""

    moved: ColumnElement[Any]
    along: Mapping[str, ColumnElement[Any]]


def money_of(q: Query) -> Sum:
    """MRR, kept apart by the currency it is in."""
    return Sum(q.worth.amount, {"native_currency": q.worth.currency})


def _customers(q: Query) -> Sum:
    """Customers come and go with rows of their own; cut by items, they are where they pay.

    Raises: KnobNotSupported when the policy has customers who pay nothing, and items cut them.
    """
    if not q.cuts_by("item"):
        return Sum(q.rows.c.customer_delta, {})
    require_levels_tell(q)
    return Sum(q.rows.c.amount_minor, {"counted_customer": q.rows.c.customer_id})


def require_levels_tell(q: Query) -> None:
    """Refuse policies under which a level does not say who is a customer.

    Raises: KnobNotSupported when customers who pay nothing can be active.
    """
    # No row says in which group of items such a customer is.
    if q.policy.free_plans != "never":
        raise KnobNotSupported("free_plans", q.policy.free_plans, ["never"])
    if q.policy.paused == "contraction":
        raise KnobNotSupported("paused", q.policy.paused, ["churn", "active"])


# --- at the close of a day -----------------------------------------------------------------------


def money_at(q: Query, at: date, name: str, *, times: int = 1) -> Table:
    """MRR at the close of a day, `times` over, as the column `name`."""
    summed = q.for_levels(at)
    level = _standing(summed, at, money_of(summed))
    rate = rates_on(q.rates, at)
    total = _times(whole_sum(level.c.level, rate.c.factor), times)
    statement = (
        select(*q.shown_groups(level), total.label(name))
        .outerjoin_from(level, rate, rate.c.currency == level.c.native_currency)
        .group_by(*q.group_columns(level))
        .order_by(*q.group_order(level))
    )
    lacking = (
        select(level.c.native_currency, cast(literal(at), SqlDate))
        .outerjoin_from(level, rate, rate.c.currency == level.c.native_currency)
        .where(rate.c.factor.is_(None))
    )
    return _at(q, at, statement, needs=(RateNeed(lacking),))


def customers_at(q: Query, at: date) -> Table:
    """How many customers are active at the close of a day."""
    counted = q if q.cuts_by("item") else q.summed
    level = _standing(counted, at, _customers(counted))
    statement = (
        select(*q.shown_groups(level), _number(level).label("customers"))
        .group_by(*q.group_columns(level))
        .order_by(*q.group_order(level))
    )
    return _at(q, at, statement, warnings=overlap(q))


def _number(level: CTE) -> ColumnElement[int]:
    """Customers of a group: those with a level, or the sum of who came and went."""
    if "counted_customer" in level.c:
        return func.count().filter(level.c.level > 0)
    # A sum of sums is a decimal in PostgreSQL; customers are counted in whole numbers.
    return cast(func.coalesce(func.sum(level.c.level), 0), BigInteger)


def _standing(q: Query, at: date, added: Sum) -> CTE:
    """Levels at the close of a day that are not zero: group columns, `along`, level."""
    moved = q.select(
        at,
        lambda _: [
            *(column.label(label) for label, column in added.along.items()),
            added.moved.label("moved"),
        ],
    ).subquery("movement")
    keys = [*q.group_columns(moved), *(moved.c[label] for label in added.along)]
    total = func.sum(moved.c.moved)
    return select(*keys, total.label("level")).group_by(*keys).having(total != 0).cte("level")


def _at(
    q: Query,
    at: date,
    statement: Select[tuple[object, ...]],
    *,
    needs: tuple[RateNeed, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Table:
    day = Calendar.of(at, at, "day", q.policy.tz)
    return q.table(
        statement, periods=day.periods, behind=Behind(None, at), needs=needs, warnings=warnings
    )


# --- at the close of every period ----------------------------------------------------------------


def money_by_period(
    q: Query, start: date, end: date, grain: Grain, name: str, *, times: int = 1
) -> Table:
    """MRR at the close of every period, `times` over: period, `name`."""
    calendar = Calendar.of(start, end, grain, q.policy.tz)
    period = calendar.cte()
    # Levels at the close of months can be made of whole months.
    summed = q.for_levels(end) if grain in _WHOLE_MONTHS else q.summed
    level = valued(q, running(summed, calendar, period, money_of(summed)))
    total = _times(whole_sum(level.c.level, level.c.factor), times)
    statement = (
        _each_period(q, period, level)
        .add_columns(period.c.key.label("period"), total.label(name))
        .group_by(*q.group_columns(level), period.c.place, period.c.key)
        .order_by(*q.group_order(level), period.c.place)
    )
    lacking = _lacking(level).where(level.c.place > 0)
    return q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(None, end),
        needs=(RateNeed(lacking),),
    )


def customers_by_period(q: Query, start: date, end: date, grain: Grain) -> Table:
    """How many customers are active at the close of every period: period, customers."""
    calendar = Calendar.of(start, end, grain, q.policy.tz)
    period = calendar.cte()
    counted = q if q.cuts_by("item") else q.summed
    added = _customers(counted)
    moved = _moved(counted, calendar, added)
    level = _run(q, _comings_and_goings(q, moved, added) if added.along else moved, period, ())
    statement = (
        _each_period(q, period, level)
        .add_columns(period.c.key.label("period"), _number(level).label("customers"))
        .group_by(*q.group_columns(level), period.c.place, period.c.key)
        .order_by(*q.group_order(level), period.c.place)
    )
    return q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(None, end),
        warnings=overlap(q),
    )


def running(q: Query, calendar: Calendar, period: CTE, added: Sum) -> CTE:
    """Levels at the close of every period, and of the time before the first.

    Shape: group columns, `along`, place, key, closes_on, moved (within the period), level. Every
           line that is not empty has every period.
    """
    return _run(q, _moved(q, calendar, added), period, tuple(added.along))


def _moved(q: Query, calendar: Calendar, added: Sum) -> FromClause:
    """The base rows with the key of their period: group columns, `along`, key, moved."""
    return q.select(
        calendar.end,
        lambda _: [
            *(column.label(label) for label, column in added.along.items()),
            calendar.key_of(q.rows.c.day).label("key"),
            added.moved.label("moved"),
        ],
    ).subquery("movement")


def _comings_and_goings(q: Query, moved: FromClause, added: Sum) -> FromClause:
    """Levels of customers in groups as +1 where they became positive, -1 where they ceased to be.

    That costs what changes, and not customers times periods.
    """
    line = [*q.group_columns(moved), *(moved.c[label] for label in added.along)]
    net = (
        select(*line, moved.c.key, func.sum(moved.c.moved).label("moved"))
        .group_by(*line, moved.c.key)
        .subquery("net")
    )
    keys = [net.c[column.name] for column in line]
    level = func.sum(net.c.moved).over(partition_by=keys, order_by=net.c.key)
    stands = select(net, cast(level > 0, Integer).label("there")).subquery("stands")
    keys = [stands.c[column.name] for column in line]
    before = func.lag(stands.c.there, 1, 0).over(partition_by=keys, order_by=stands.c.key)
    groups = q.group_columns(stands)
    return select(*groups, stands.c.key, (stands.c.there - before).label("moved")).subquery("came")


def _run(q: Query, moved: FromClause, period: CTE, along: tuple[str, ...]) -> CTE:
    """Movements that know their period's key, summed into levels; see `running`."""
    lines = (*q.groups, *along)
    total = func.sum(moved.c.moved)
    flow = (
        select(*(moved.c[name] for name in lines), moved.c.key, total.label("moved"))
        .group_by(*(moved.c[name] for name in lines), moved.c.key)
        # What came and went before the range leaves nothing that would need a line.
        .having(or_(total != 0, moved.c.key > BEFORE))
        .cte("flow")
    )
    if lines:
        line = select(*(flow.c[name] for name in lines)).distinct().subquery("line")
        same = and_(flow.c.key == period.c.key, *(flow.c[name] == line.c[name] for name in lines))
        source = line.join(period, literal(True)).outerjoin(flow, same)
        keys = [line.c[name] for name in lines]
    else:
        source = period.outerjoin(flow, flow.c.key == period.c.key)
        keys = []
    change = func.coalesce(flow.c.moved, 0)
    level = func.sum(change).over(partition_by=keys or None, order_by=period.c.place)
    return (
        select(
            *keys,
            period.c.place,
            period.c.key,
            period.c.closes_on,
            change.label("moved"),
            level.label("level"),
        )
        .select_from(source)
        .cte("running")
    )


def valued(q: Query, level: CTE) -> CTE:
    """Running native levels with the rate of the day each stands on, or null: adds factor."""
    rate = rates_by_day(q.rates, level, ("native_currency", "closes_on"), "closing_rate")
    return (
        select(level, rate.c.factor)
        .outerjoin_from(
            level,
            rate,
            and_(rate.c.currency == level.c.native_currency, rate.c.day == level.c.closes_on),
        )
        .cte("valued")
    )


def _times(total: ColumnElement[Any], times: int) -> ColumnElement[Any]:
    return total if times == 1 else total * times


def _lacking(level: CTE) -> Select[tuple[object, ...]]:
    return (
        select(level.c.native_currency, level.c.closes_on)
        .where(level.c.level != 0, level.c.factor.is_(None))
        .distinct()
    )


def _each_period(q: Query, period: CTE, level: CTE) -> Select[tuple[object, ...]]:
    """From every period; without groups also when nothing ever moved."""
    same = level.c.place == period.c.place
    if q.groups:
        return (
            select(*q.shown_groups(level)).join_from(period, level, same).where(period.c.place > 0)
        )
    return select().select_from(period.outerjoin(level, same)).where(period.c.place > 0)


def overlap(q: Query) -> tuple[str, ...]:
    """A warning when one customer may be counted in several groups."""
    several = [each.name for each in q.bound.dimensions if each.kind == "item"]
    warning = (
        f"A customer is counted once in every {' and '.join(several)} they pay for, "
        "so the groups may add up to more than the total."
    )
    return (warning,) if several else ()
