"""Daily exchange rates as a relation: what one native minor unit is worth in the base currency.

A rate is in force from its day until the next published one. There is no rate before the first: a
question that needs one is refused (`MissingRate`), it is never taken to be 1.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CTE,
    Date,
    DateTime,
    Numeric,
    Text,
    and_,
    any_,
    case,
    cast,
    func,
    literal,
    select,
    true,
    union_all,
)

from tidemill.money import EXPONENTS, exponent

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select

__all__ = ["daily_rates", "in_force", "rate_day", "rates_by_day"]

# PostgreSQL dates have no end we could reach; these two days bound every book.
_FIRST_DAY: Final = date(1, 1, 1)
_LAST_DAY: Final = date(9999, 12, 31)

_USUAL_EXPONENT: Final = 2


def daily_rates(
    fx_rates: FromClause, base: str, currencies: Select[Any] | None = None
) -> FromClause:
    """Factors into the base currency, one row a currency and span of days.

    currencies: which ones, beside the base currency; all when None.

    Formula: base minor units = native minor units x factor;
             factor = rate x 10 ** (exponent(base) - exponent(currency)).
    Shape:   currency, valid_from (day), valid_to_exclusive (day), factor (numeric).
             The base currency itself has one row with factor 1. A pair published only the other way
             round (base quoted in the currency) is inverted.
    Raises:  UnknownCurrency when `base` is no ISO 4217 code.
    """
    direct = select(fx_rates.c.quote.label("currency"), fx_rates.c.day, fx_rates.c.rate).where(
        fx_rates.c.base == base, fx_rates.c.quote != base
    )
    # As a list, which tells an index what to read.
    listed = None if currencies is None else any_(func.array(currencies.scalar_subquery()))
    if listed is not None:
        direct = direct.where(fx_rates.c.quote == listed)
    published = direct.subquery("published")
    inverse = select(
        fx_rates.c.base.label("currency"), fx_rates.c.day, (1 / fx_rates.c.rate).label("rate")
    ).where(
        fx_rates.c.quote == base,
        fx_rates.c.base != base,
        fx_rates.c.base.not_in(select(published.c.currency)),
        *([] if listed is None else [fx_rates.c.base == listed]),
    )
    rates = union_all(direct, inverse).subquery("rates")
    until = func.lead(rates.c.day).over(partition_by=rates.c.currency, order_by=rates.c.day)
    spans = select(
        rates.c.currency,
        rates.c.day.label("valid_from"),
        func.coalesce(until, _LAST_DAY).label("valid_to_exclusive"),
        (rates.c.rate * _scale(rates.c.currency, base)).label("factor"),
    )
    own = select(
        cast(literal(base), Text),
        cast(literal(_FIRST_DAY), Date),
        cast(literal(_LAST_DAY), Date),
        cast(literal(1), Numeric),
    )
    return union_all(spans, own).subquery("daily_rates")


def rates_by_day(fx_rates: FromClause, base: str, wanted: Select[Any]) -> CTE:
    """The same factors with a row for every day, to be joined by equality (`rate_day`).

    wanted: currency, first and last (days), in any number of rows: which currencies' rates are
            wanted, and between which days, of which the widest hold for all. Others are left out:
            of one customer that is next to all.
    Shape:  currency, day, factor; no row before a currency's first published day. Days after the
            last one published at all have the rate of that day, and no row of their own.
    """
    need = _needed(wanted)
    span = select(daily_rates(fx_rates, base, select(need.c.currency))).cte("rate_span")
    last = select(func.max(span.c.valid_from)).where(span.c.currency != base).scalar_subquery()
    days = select(func.min(need.c.first).label("first"), func.max(need.c.last).label("last"))
    ends = days.subquery("rate_ends")
    since = func.greatest(span.c.valid_from, func.least(ends.c.first, last))
    until = func.least(span.c.valid_to_exclusive - 1, ends.c.last, last)
    day = (
        func.generate_series(
            cast(since, DateTime),
            cast(until, DateTime),
            func.make_interval(0, 0, 0, 1),
        )
        .table_valued("at")
        .render_derived()
    )
    on = cast(day.c.at, Date)
    return (
        select(span.c.currency, on.label("day"), func.min(span.c.factor).label("factor"))
        .select_from(span.join(ends, true()).join(day, true()))
        .where(span.c.currency != base)
        # Each pair is there once. Said so, because the planner expects a thousand days a span, and
        # would rather sort what asks for rates than look up each in so many.
        .group_by(span.c.currency, on)
        .having(func.count() == 1)
        .cte("rate_by_day")
    )


def rate_day(rates: CTE, day: ColumnElement[date]) -> ColumnElement[date]:
    """The day in `rates_by_day` that holds the rate of a day that was wanted."""
    return func.least(day, select(func.max(rates.c.day)).scalar_subquery())


def _needed(wanted: Select[Any]) -> CTE:
    each = wanted.subquery("rate_wanted")
    first, last = func.min(each.c.first), func.max(each.c.last)
    return (
        select(each.c.currency, first.label("first"), last.label("last"))
        .group_by(each.c.currency)
        .cte("rate_needed")
    )


def in_force(
    rates: FromClause, currency: ColumnElement[str], day: ColumnElement[date]
) -> ColumnElement[bool]:
    """The join condition that finds the rate of a currency on a day in `daily_rates`."""
    return and_(
        rates.c.currency == currency, rates.c.valid_from <= day, day < rates.c.valid_to_exclusive
    )


def _scale(currency: ColumnElement[str], base: str) -> ColumnElement[Decimal]:
    """10 ** (exponent(base) - exponent(currency)), e.g. 100 for JPY into USD, 0.1 for KWD."""
    by_exponent: dict[int, list[str]] = {}
    for code, digits in EXPONENTS.items():
        by_exponent.setdefault(digits, []).append(code)
    target = exponent(base)
    return case(
        *(
            (currency.in_(codes), Decimal(10) ** (target - digits))
            for digits, codes in by_exponent.items()
            if digits != _USUAL_EXPONENT
        ),
        else_=Decimal(10) ** (target - _USUAL_EXPONENT),
    )
