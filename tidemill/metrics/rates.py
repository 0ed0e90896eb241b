"""From native amounts to the base currency: rates of the day, and never one that is not there.

A sum in SQL leaves nulls out. Here that would turn a missing rate into a smaller number, so every
sum over converted amounts (`whole_sum`) is null as soon as one of its rates is missing. The engine
then lists the missing ones (`RateNeed`) and refuses.

Rates have the shape of `fx.daily_rates` everywhere: a factor by currency and span of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    FromClause,
    Numeric,
    Select,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.fx import daily_rates
from tidemill.periods import parse_day
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = [
    "Valued",
    "customer_levels",
    "missing_for_customers",
    "rates_by_day",
    "rates_in",
    "rates_on",
    "whole_sum",
]


def whole_sum(native: ColumnElement[Any], factor: ColumnElement[Any]) -> ColumnElement[Any]:
    """The sum of native amounts in base currency; null when the rate of one of them is missing.

    Nothing to add up gives 0, and 0 of any currency needs no rate.
    """
    known = or_(native == 0, factor.is_not(None))
    total = func.coalesce(func.sum(native * factor), 0)
    return case((func.bool_and(known).is_(False), None), else_=total)


# Bounds of a rate that holds always.
_FIRST_DAY: Final = date(1, 1, 1)
_LAST_DAY: Final = date(9999, 12, 31)


@dataclass(frozen=True, slots=True)
class Valued:
    """Movements with what they are worth: an amount, and the currency it is in.

    Under policies that carry a rate with each movement the amount is in base currency already.
    """

    rows: FromClause
    currency: ColumnElement[Any]
    amount: ColumnElement[Any]


def rates_in(relations: Relations, policy: Policy, name: str = "exchange_rate") -> CTE:
    """All rates into the base currency, once for the whole statement.

    With ``fx = constant`` each currency has one rate for all days: that of the chosen day, or its
    first one when no day is chosen.
    """
    published = relations.fx_rates.alias("published_rate")
    rates = daily_rates(published, relations.base_currency)
    if policy.fx != "constant":
        return select(rates).cte(name)
    always = select(
        rates.c.currency,
        cast(literal(_FIRST_DAY), Date).label("valid_from"),
        cast(literal(_LAST_DAY), Date).label("valid_to_exclusive"),
        rates.c.factor,
    )
    if policy.fx_constant_date:
        day = parse_day(policy.fx_constant_date)
        chosen = always.where(rates.c.valid_from <= day, day < rates.c.valid_to_exclusive)
    else:
        first = distinct_on(rates.c.currency)
        chosen = always.ext(first).order_by(rates.c.currency, rates.c.valid_from)
    return chosen.cte(name)


def rates_on(rates: FromClause, day: date, name: str = "rate_of_day") -> CTE:
    """The rates in force on one day: currency, factor."""
    return (
        select(rates.c.currency, rates.c.factor)
        .where(rates.c.valid_from <= day, day < rates.c.valid_to_exclusive)
        .cte(name)
    )


def rates_by_day(rates: FromClause, wanted: FromClause, columns: Sequence[str], name: str) -> CTE:
    """The rates of the (currency, day) pairs that occur in the two columns of `wanted`.

    Shape: currency, day, factor; factor is null where there is no rate yet.

    Days and rates are laid out in one line of time, where each rate opens a span and the days after
    it belong to that span. Joining days with spans by a range would compare every day with every
    rate of its currency.
    """
    currency, day = (wanted.c[each] for each in columns)
    pairs = select(currency.label("currency"), day.label("day")).distinct().cte(f"{name}_wanted")
    mark = union_all(
        select(
            rates.c.currency,
            rates.c.valid_from.label("day"),
            rates.c.factor,
            false().label("wanted"),
        ).where(rates.c.currency.in_(select(pairs.c.currency))),
        select(pairs.c.currency, pairs.c.day, cast(null(), Numeric), true()),
    ).subquery("mark")
    opened = func.count(mark.c.factor).over(
        partition_by=mark.c.currency,
        # On the same day the rate comes first.
        order_by=(mark.c.day, mark.c.wanted),
    )
    spanned = select(
        mark.c.currency, mark.c.day, mark.c.wanted, mark.c.factor, opened.label("span")
    ).subquery("spanned")
    in_force = func.first_value(spanned.c.factor).over(
        partition_by=(spanned.c.currency, spanned.c.span),
        order_by=(spanned.c.day, spanned.c.wanted),
    )
    known = select(
        spanned.c.currency, spanned.c.day, spanned.c.wanted, in_force.label("factor")
    ).subquery("known")
    # Grouped, although each pair is there once: so the planner knows that it is, and that both tell
    # it apart. Else it would join by currency alone, and compare every day with every other.
    return (
        select(known.c.currency, known.c.day, func.max(known.c.factor).label("factor"))
        .where(known.c.wanted)
        .group_by(known.c.currency, known.c.day)
        .cte(name)
        # Once, and not for every row that looks for its rate.
        .prefix_with("MATERIALIZED")
    )


def customer_levels(valued: Valued, rates: FromClause, at: date, *, number: int = 0) -> Select[Any]:
    """Every customer's MRR at the close of a day: customer_id, level_minor (base currency).

    number: another one for each of several days that one statement looks at.
    """
    level = _native_levels(valued, at).cte(f"customer_level_{number}")
    rate = rates_on(rates, at, f"customer_rate_{number}")
    total = whole_sum(level.c.native_minor, rate.c.factor)
    return (
        select(level.c.customer_id, total.label("level_minor"))
        .outerjoin_from(level, rate, rate.c.currency == level.c.currency)
        .group_by(level.c.customer_id)
    )


def missing_for_customers(valued: Valued, rates: FromClause, at: date) -> Select[Any]:
    """The currencies in which anyone has MRR at the close of a day, without a rate for it."""
    # No level is negative, so a currency's sum is zero only when nobody has any.
    level = _native_levels(valued, at, by_customer=False).cte("customer_level")
    rate = rates_on(rates, at, "customer_rate")
    return (
        select(level.c.currency, cast(literal(at), Date).label("day"))
        .outerjoin_from(level, rate, rate.c.currency == level.c.currency)
        .where(rate.c.factor.is_(None))
    )


def _native_levels(valued: Valued, at: date, *, by_customer: bool = True) -> Select[Any]:
    rows = valued.rows.c
    worth = (
        select(
            rows.customer_id,
            valued.currency.label("currency"),
            valued.amount.label("amount"),
        )
        .where(rows.day <= at)
        .subquery("worth")
    )
    keys = [worth.c.currency, *([worth.c.customer_id] if by_customer else [])]
    total = func.sum(worth.c.amount)
    return select(*keys, total.label("native_minor")).group_by(*keys).having(total != 0)
