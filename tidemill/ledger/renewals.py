"""The knob `fx = at_renewal`: a level keeps the rate of its last renewal, until the next one.

Renewals follow from the billing period: it repeats by the interval of the subscription's first
item. Each is a boundary of its version, at which nothing changes but the rate. They end with the
first one after the last published rate, because no later one could bring another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import CTE, Date, DateTime, Integer, and_, case, cast, func, select, true
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.fx import rate_day, rates_by_day
from tidemill.ledger.timers import Timer, after_intervals, timer
from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["in_base", "renewal_timers", "renewals"]

_INSTANT: Final = DateTime(timezone=True)

# Fewer days than any such interval has, to find how many fit into a span.
_DAYS: Final = {"year": 365, "month": 28, "week": 7}


def renewals(relations: Relations, policy: Policy, versions: CTE) -> CTE | None:
    """The renewals of versions in foreign currency; None when the policy does not ask for them.

    Shape: version_id, valid_from, valid_to, at, until (of the renewal's rate; half-open). The last
           renewal before a version began is among them, because its rate still holds.
    """
    if policy.fx != "at_renewal":
        return None
    item, rates = relations.version_items, relations.fx_rates
    first = (
        select(item.c.version_id, item.c.interval, item.c.interval_count)
        .ext(distinct_on(item.c.version_id))
        .order_by(item.c.version_id, item.c.ordinal)
        .subquery("first_item")
    )
    anchor = func.coalesce(versions.c.current_period_start, versions.c.valid_from)
    after_rates = select(
        func.timezone("UTC", cast(func.max(rates.c.day) + 1, DateTime), type_=_INSTANT)
    ).scalar_subquery()
    # The first renewal after the last rate still takes that rate on.
    end = func.least(versions.c.valid_to, after_rates)
    days = case(_DAYS, value=first.c.interval, else_=1) * first.c.interval_count

    def intervals(span: ColumnElement[Any]) -> ColumnElement[int]:
        return cast(func.extract("day", span) / days, Integer)

    # A period written down ahead of its time had others before it: they count down from it.
    first_number = func.least(0, intervals(versions.c.valid_from - anchor) - 1)
    number = (
        func.generate_series(first_number, intervals(end - anchor) + 2)
        .table_valued("number")
        .render_derived()
    )

    def renewal(place: ColumnElement[int]) -> ColumnElement[datetime]:
        return after_intervals(anchor, first.c.interval, first.c.interval_count * place)

    at, until = renewal(number.c.number), renewal(number.c.number + 1)
    return (
        select(
            versions.c.version_id,
            versions.c.valid_from,
            versions.c.valid_to,
            at.label("at"),
            until.label("until"),
        )
        .select_from(versions)
        .join(first, first.c.version_id == versions.c.version_id)
        .join(number, true())
        .where(
            versions.c.currency != relations.base_currency,
            until > versions.c.valid_from,
            at < versions.c.valid_to,
            renewal(number.c.number - 1) < after_rates,
        )
        .cte("renewal")
    )


def renewal_timers(renewed: CTE | None) -> list[Timer]:
    """Every renewal is a boundary: from it on another rate holds."""
    return [] if renewed is None else [timer(renewed, renewed.c.at, Cause.REVALUED)]


def in_base(
    levels: FromClause, relations: Relations, policy: Policy, renewed: CTE | None
) -> FromClause:
    """The levels with amount_base_minor, their value at the rate of the last renewal.

    Null where a rate is missing; unchanged when the policy does not ask.
    """
    if renewed is None:
        return levels
    rates = rates_by_day(relations.fx_rates, relations.base_currency)
    rated_at = func.coalesce(renewed.c.at, levels.c.seg_from)
    day = cast(func.timezone(policy.tz, rated_at), Date)
    holds = and_(
        renewed.c.version_id == levels.c.version_id,
        renewed.c.at <= levels.c.seg_from,
        levels.c.seg_from < renewed.c.until,
    )
    of_day = and_(
        rates.c.currency == levels.c.currency,
        rates.c.day == rate_day(relations.fx_rates, day),
    )
    is_base = levels.c.currency == relations.base_currency
    amount = case((is_base, levels.c.amount_minor), else_=levels.c.amount_minor * rates.c.factor)
    return (
        select(levels, amount.label("amount_base_minor"))
        .select_from(levels.outerjoin(renewed, holds).outerjoin(rates, of_day))
        .subquery("valued_level")
    )
