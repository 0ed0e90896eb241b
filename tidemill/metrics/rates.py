"""From native amounts to the base currency: rates of the day, and never one that is not there.

A sum in SQL leaves nulls out. Here that would turn a missing rate into a smaller number, so every
sum over converted amounts (`whole_sum`) is null as soon as one of its rates is missing. The engine
then lists the missing ones (`RateNeed`) and refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    FromClause,
    Select,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from tidemill.fx import daily_rates, in_force
from tidemill.relations import Relations

__all__ = ["customer_levels", "missing", "rates_by_day", "rates_on", "whole_sum"]


def whole_sum(native: ColumnElement[Any], factor: ColumnElement[Any]) -> ColumnElement[Any]:
    """The sum of native amounts in base currency; null when the rate of one of them is missing.

    Nothing to add up gives 0, and 0 of any currency needs no rate.
    """
    known = or_(native == 0, factor.is_not(None))
    total = func.coalesce(func.sum(native * factor), 0)
    return case((func.bool_and(known).is_(False), None), else_=total)


def rates_on(relations: Relations, day: date, name: str = "rate") -> CTE:
    """The rates in force on one day: currency, factor."""
    rates = daily_rates(relations.fx_rates, relations.base_currency)
    return (
        select(rates.c.currency, rates.c.factor)
        .where(rates.c.valid_from <= day, day < rates.c.valid_to_exclusive)
        .cte(name)
    )


def rates_by_day(
    relations: Relations, wanted: FromClause, columns: Sequence[str], name: str
) -> CTE:
    """The rates of the (currency, day) pairs that occur in the two columns of `wanted`.

    Shape: currency, day, factor; pairs without a rate have no row.
    """
    currency, day = (wanted.c[each] for each in columns)
    pairs = select(currency.label("currency"), day.label("day")).distinct().subquery("wanted")
    rates = daily_rates(relations.fx_rates, relations.base_currency)
    return (
        select(pairs.c.currency, pairs.c.day, rates.c.factor)
        .join_from(pairs, rates, in_force(rates, pairs.c.currency, pairs.c.day))
        .cte(name)
    )


def customer_levels(rows: FromClause, relations: Relations, at: date) -> Select[Any]:
    """Every customer's MRR at the close of a day: customer_id, level_minor (base currency)."""
    level = _native_levels(rows, at)
    rate = rates_on(relations, at, "customer_rate")
    return (
        select(
            level.c.customer_id, whole_sum(level.c.native_minor, rate.c.factor).label("level_minor")
        )
        .outerjoin_from(level, rate, rate.c.currency == level.c.currency)
        .group_by(level.c.customer_id)
    )


def missing(rows: FromClause, relations: Relations, at: date) -> Select[Any]:
    """The currencies in which anyone has MRR at the close of a day, without a rate for it."""
    level = _native_levels(rows, at)
    rate = rates_on(relations, at, "customer_rate")
    day = cast(literal(at), Date)
    return (
        select(level.c.currency, day.label("day"))
        .outerjoin_from(level, rate, rate.c.currency == level.c.currency)
        .where(rate.c.factor.is_(None))
        .distinct()
    )


def _native_levels(rows: FromClause, at: date) -> CTE:
    total = func.sum(rows.c.amount_minor)
    return (
        select(rows.c.customer_id, rows.c.currency, total.label("native_minor"))
        .where(rows.c.day <= at)
        .group_by(rows.c.customer_id, rows.c.currency)
        .having(total != 0)
        .cte("customer_level")
    )
