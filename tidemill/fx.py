"""Daily exchange rates as a relation: what one native minor unit is worth in the base currency.

A rate is in force from its day until the next published one. There is no rate before the first: a
question that needs one is refused (`MissingRate`), it is never taken to be 1.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    CTE,
    Date,
    DateTime,
    Numeric,
    Text,
    and_,
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
    from sqlalchemy import ColumnElement, FromClause

__all__ = ["daily_rates", "in_force", "rate_day", "rates_by_day"]

# PostgreSQL dates have no end we could reach; these two days bound every book.
_FIRST_DAY: Final = date(1, 1, 1)
_LAST_DAY: Final = date(9999, 12, 31)

_USUAL_EXPONENT: Final = 2


def daily_rates(fx_rates: FromClause, base: str) -> FromClause:
    """Factors into the base currency, one row a currency and span of days.

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
    published = direct.subquery("published")
    inverse = select(
        fx_rates.c.base.label("currency"), fx_rates.c.day, (1 / fx_rates.c.rate).label("rate")
    ).where(
        fx_rates.c.quote == base,
        fx_rates.c.base != base,
        fx_rates.c.base.not_in(select(published.c.currency)),
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


def rates_by_day(fx_rates: FromClause, base: str, name: str = "rate_by_day") -> CTE:
    """The same factors with a row for every day, to be joined by equality (`rate_day`).

    name:  of the common table expression; a statement that joins it twice needs two.
    Shape: currency, day, factor; from each currency's first published day to the last day published
           at all. Later days have the rates of that last day.
    """
    spans = daily_rates(fx_rates, base)
    last = _last_day(fx_rates)
    day = (
        func.generate_series(
            cast(spans.c.valid_from, DateTime),
            cast(func.least(spans.c.valid_to_exclusive - 1, last), DateTime),
            func.make_interval(0, 0, 0, 1),
        )
        .table_valued("at")
        .render_derived()
    )
    on = cast(day.c.at, Date)
    return (
        select(spans.c.currency, on.label("day"), func.min(spans.c.factor).label("factor"))
        .select_from(spans)
        .join(day, true())
        .where(spans.c.currency != base)
        # Each pair is there once. Said so, because the planner expects a thousand days a span, and
        # would rather sort what asks for rates than look up each in so many.
        .group_by(spans.c.currency, on)
        .having(func.count() == 1)
        .cte(name)
    )


def rate_day(fx_rates: FromClause, day: ColumnElement[date]) -> ColumnElement[date]:
    """The day in `rates_by_day` that holds the rate of a day."""
    return func.least(day, _last_day(fx_rates))


def _last_day(fx_rates: FromClause) -> ColumnElement[date]:
    return select(func.max(fx_rates.c.day)).scalar_subquery()


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
