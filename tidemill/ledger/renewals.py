"""The knob `fx = at_renewal`: a level keeps the rate of its last renewal, until the next one.

Renewals follow from the billing period: it repeats by the interval of the subscription's first
item. They end with the first one after the last published rate, because no later one could bring
another. At a renewal nothing changes but the rate, so it cuts no segment: there are many times more
renewals than changes, and no step before the levels has to carry them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import CTE, Date, DateTime, Integer, and_, case, cast, func, or_, select, true
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.fx import rate_day, rates_by_day
from tidemill.ledger.changes import LINE
from tidemill.ledger.timers import Timer, after_intervals, timer
from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["in_base", "renewal_timers", "renewals"]

_INSTANT: Final = DateTime(timezone=True)

# Fewer days than any such interval has, to find how many fit into a span.
_DAYS: Final = {"year": 365, "month": 28, "week": 7}


def renewals(relations: Relations, policy: Policy, versions: CTE) -> CTE | None:
    """The renewals of versions in foreign currency; None when the policy does not ask for them.

    Shape: version_id, valid_from, valid_to, at, until (of the renewal's rate; half-open), before
           (the renewal before it). The last renewal before a version began is among them, because
           its rate still holds.
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
            renewal(number.c.number - 1).label("before"),
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
    """Every renewal as a boundary of its version; only a timeline shows them."""
    return [] if renewed is None else [timer(renewed, renewed.c.at, Cause.REVALUED)]


def in_base(
    levels: FromClause, relations: Relations, policy: Policy, steps: tuple[CTE, CTE | None]
) -> tuple[FromClause, Select[Any] | None]:
    """The levels in base currency, and the changes that renewals make while they last.

    steps:   the segments of the levels, and the renewals.
    Returns: the levels with amount_base_minor, their value at the rate of the last renewal before
             they begin, and ending_base_minor, at that of the last one before they end; then what
             `_revaluations` gives. Values are null where a rate is missing.
    Levels are unchanged, and there are no such changes, when the policy does not ask.
    """
    segments, renewed = steps
    if renewed is None:
        return levels, None
    rates = rates_by_day(relations.fx_rates, relations.base_currency)
    begun, ended = rates.alias("rate_begun"), rates.alias("rate_ended")
    held = _renewals_held(segments, renewed)
    of_segment = and_(
        held.c.version_id == levels.c.version_id, held.c.seg_from == levels.c.seg_from
    )
    # A subscription in base currency never renews in another, though its usage may be in one.
    begun_at, ended_at = (
        func.coalesce(at, levels.c.seg_from) for at in (held.c.begun_at, held.c.ended_at)
    )
    is_base = levels.c.currency == relations.base_currency
    own = levels.c.amount_minor
    valued = (
        select(
            levels,
            case((is_base, own), else_=own * begun.c.factor).label("amount_base_minor"),
            case((is_base, own), else_=own * ended.c.factor).label("ending_base_minor"),
        )
        .select_from(
            levels.outerjoin(held, of_segment)
            .outerjoin(begun, _rated(begun, levels, begun_at, relations, policy))
            .outerjoin(ended, _rated(ended, levels, ended_at, relations, policy))
        )
        .cte("valued_level")
    )
    return valued, _revaluations(valued, rates, renewed, relations, policy)


def _renewals_held(segments: CTE, renewed: CTE) -> FromClause:
    """version_id, seg_from, begun_at, ended_at: whose rates segments have at their two ends."""
    at = renewed.c.at
    overlap = and_(
        renewed.c.version_id == segments.c.version_id,
        renewed.c.until > segments.c.seg_from,
        at < segments.c.seg_to,
    )
    return (
        select(
            segments.c.version_id,
            segments.c.seg_from,
            func.max(at).filter(at <= segments.c.seg_from).label("begun_at"),
            func.max(at).label("ended_at"),
        )
        .join(renewed, overlap)
        .where(or_(segments.c.counts, segments.c.present))
        .group_by(segments.c.version_id, segments.c.seg_from)
        .subquery("held")
    )


def _revaluations(
    levels: CTE, rates: CTE, renewed: CTE, relations: Relations, policy: Policy
) -> Select[Any]:
    """The renewals inside a level that bring it another rate.

    Shape: the columns of `levels` that stay the same along it, at, version_id and reason, and
           amount_base_minor, the change.
    """
    after, before = rates.alias("rate_after"), rates.alias("rate_before")
    inside = and_(
        renewed.c.version_id == levels.c.version_id,
        renewed.c.at > levels.c.seg_from,
        renewed.c.at < levels.c.seg_to,
    )
    change = func.coalesce(after.c.factor, 0) - func.coalesce(before.c.factor, 0)
    return (
        select(
            *(levels.c[name] for name in LINE),
            renewed.c.at,
            levels.c.version_id,
            levels.c.reason,
            (levels.c.amount_minor * change).label("amount_base_minor"),
        )
        .select_from(
            levels.join(renewed, inside)
            .outerjoin(after, _rated(after, levels, renewed.c.at, relations, policy))
            .outerjoin(before, _rated(before, levels, renewed.c.before, relations, policy))
        )
        .where(
            levels.c.currency != relations.base_currency, levels.c.amount_minor != 0, change != 0
        )
    )


def _rated(
    rates: FromClause,
    levels: FromClause,
    at: ColumnElement[datetime],
    relations: Relations,
    policy: Policy,
) -> ColumnElement[bool]:
    """The join condition that finds the rate of a level's currency on the day of an instant."""
    day = cast(func.timezone(policy.tz, at), Date)
    return and_(
        rates.c.currency == levels.c.currency,
        rates.c.day == rate_day(relations.fx_rates, day),
    )
