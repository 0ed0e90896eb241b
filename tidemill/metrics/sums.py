"""Sums of dated amounts in base currency, each at the rate of its own day.

For metrics whose base rows are amounts and not levels: payments, invoiced usage, costs. A base row
has day, currency, kind and amount_minor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from tidemill.metrics.base import Behind, RateNeed, Table
from tidemill.metrics.calendar import Calendar
from tidemill.metrics.query import Query
from tidemill.metrics.rates import rates_by_day

__all__ = ["Sums", "sum_table"]


@dataclass(frozen=True, slots=True)
class Sums:
    """What base rows add up to in each group and period; `rows`: group columns, key, `columns`."""

    rows: CTE
    need: RateNeed


def sum_table(
    q: Query,
    calendar: Calendar,
    amounts: Mapping[str, tuple[str, ...]],
    counts: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ratios: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Table:
    """One row a group, and a period where the calendar has a grain, with sums and counts of kinds.

    amounts: column → the kinds of rows whose amounts it sums.
    counts:  column → the kinds it counts.
    ratios:  ratio → the counts that are its numerator and its denominator.
    """
    summed = _sums(q, calendar, amounts, counts)
    period, rows = calendar.cte(), summed.rows
    on_key = rows.c.key == period.c.key
    if q.groups:
        line = select(*q.group_columns(rows)).distinct().subquery("line")
        same = and_(on_key, q.same_group(rows, line))
        source = line.join(period, literal(True)).outerjoin(rows, same)
        shown, order = q.shown_groups(line), q.group_order(line)
    else:
        source, shown, order = period.outerjoin(rows, on_key), [], []
    known = or_(rows.c.whole.is_(None), rows.c.whole)
    values = [
        *(case((known, func.coalesce(rows.c[each], 0))).label(each) for each in amounts),
        *(func.coalesce(rows.c[each], 0).label(each) for each in counts),
    ]
    names = [each.name for each in q.question.columns]
    by_name = {"period": period.c.key.label("period")} | {each.name: each for each in values}
    for ratio, (top, bottom) in ratios.items():
        over, under = by_name[top].element, by_name[bottom].element
        value = cast(over, Numeric) / func.nullif(under, 0)
        by_name |= {
            ratio: value.label(ratio),
            f"{ratio}_numerator": over.label(f"{ratio}_numerator"),
            f"{ratio}_denominator": under.label(f"{ratio}_denominator"),
        }
    statement: Select[Any] = (
        select(*shown, *(by_name[name] for name in names))
        .select_from(source)
        .where(period.c.place > 0)
        .order_by(*order, period.c.place)
    )
    return q.table(
        statement,
        periods=calendar.periods,
        behind=Behind(calendar.start, calendar.end),
        needs=(summed.need,),
    )


def _sums(
    q: Query,
    calendar: Calendar,
    amounts: Mapping[str, tuple[str, ...]],
    counts: Mapping[str, tuple[str, ...]],
) -> Sums:
    q = q.summed
    rows = q.rows.c
    # A row, or a sum of so many.
    number = rows.row_count if "row_count" in rows else literal(1)
    chosen = q.select(
        calendar.end,
        lambda _: [
            rows.currency.label("native_currency"),
            calendar.key_of(rows.day).label("key"),
            rows.day.label("on_day"),
            rows.kind.label("row_kind"),
            rows.amount_minor.label("native_minor"),
            number.label("n"),
        ],
        since=calendar.start,
    )
    row = chosen.subquery("dated_row")
    keys = [column for column in row.c if column.name not in ("native_minor", "n")]
    sums = [func.sum(row.c[name]).label(name) for name in ("native_minor", "n")]
    daily = select(*keys, *sums).group_by(*keys).cte("daily_sum")
    rate = rates_by_day(q.rates_of_days, daily, ("native_currency", "on_day"), "sum_rate")
    on_day = and_(rate.c.currency == daily.c.native_currency, rate.c.day == daily.c.on_day)
    # Nothing of any currency needs no rate.
    value = case((daily.c.native_minor == 0, 0), else_=daily.c.native_minor * rate.c.factor)
    priced = select(daily, value.label("value")).outerjoin_from(daily, rate, on_day)
    priced_row = priced.cte("priced_row")
    line = [*q.group_columns(priced_row), priced_row.c.key]
    kind = priced_row.c.row_kind
    wanted = sorted({each for kinds in amounts.values() for each in kinds})
    total = (
        select(
            *line,
            *(
                func.sum(priced_row.c.value).filter(kind.in_(kinds)).label(name)
                for name, kinds in amounts.items()
            ),
            *(
                cast(func.sum(priced_row.c.n).filter(kind.in_(kinds)), BigInteger).label(name)
                for name, kinds in counts.items()
            ),
            func.bool_and(priced_row.c.value.is_not(None)).filter(kind.in_(wanted)).label("whole"),
        )
        .group_by(*line)
        .cte("period_sum")
    )
    lacking = select(priced_row.c.native_currency, priced_row.c.on_day).where(
        priced_row.c.value.is_(None), kind.in_(wanted)
    )
    return Sums(total, RateNeed(lacking.distinct()))
