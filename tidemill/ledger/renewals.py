"""The knob `fx = at_renewal`: a level keeps the rate of its last renewal, until the next one.

Renewals follow from the billing period: it repeats by the interval of the subscription's first
item. They are numbered from the beginning of the version's period, which is 0, and end with the
first one after the last published rate, because no later one could bring another. At a renewal
nothing changes but the rate, so it cuts no segment: there are many times more renewals than
changes, and they are made only where a level is worth something and lasts beyond one.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import (
    CTE,
    Date,
    Numeric,
    SmallInteger,
    Text,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.fx import rate_day, rates_by_day
from tidemill.ledger.buckets import unit_of
from tidemill.ledger.changes import LINE
from tidemill.ledger.matching import matching, where
from tidemill.ledger.renewal_numbers import (
    after_rates,
    due_at,
    guessed_number,
    last_number,
    number_at,
    numbers_between,
    or_last_rate,
    settled_number,
)
from tidemill.ledger.timers import Timer, timer
from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Revaluations", "in_base", "renewal_timers", "renewing", "revalued"]

# Whose a segment is.
_OWNED: Final = ("version_id", "seg_from", "subscription_id", "customer_id")
# What tells when a version renews, and in which currency.
_RENEWING: Final = ("currency", "anchor", "interval", "interval_count")


class Revaluations(NamedTuple):
    """The changes that renewals make, of which `revalued` makes rows.

    levels:   those that are renewed, among others.
    renewals: as `in_base` gives them.
    """

    levels: CTE
    renewals: CTE


def renewing(relations: Relations, policy: Policy, versions: CTE) -> CTE | None:
    """How versions in foreign currency renew; None when the policy does not ask.

    Shape: version_id, currency, valid_from, valid_to, anchor (renewal 0), interval and
           interval_count.
    """
    if policy.fx != "at_renewal":
        return None
    item = relations.version_items
    foreign = (
        select(
            versions.c.version_id,
            versions.c.currency,
            versions.c.valid_from,
            versions.c.valid_to,
            func.coalesce(versions.c.current_period_start, versions.c.valid_from).label("anchor"),
        )
        .where(versions.c.currency != relations.base_currency)
        .subquery("foreign_version")
    )
    return (
        select(foreign, item.c.interval, item.c.interval_count)
        .ext(distinct_on(foreign.c.version_id))
        .join(item, item.c.version_id == foreign.c.version_id)
        .order_by(foreign.c.version_id, item.c.ordinal)
        .cte("renewing")
    )


def renewal_timers(renews: CTE | None, relations: Relations) -> list[Timer]:
    """Every renewal as a boundary of its version; only a timeline shows them."""
    if renews is None:
        return []
    last = last_number(renews, renews.c.valid_to, relations)
    number = numbers_between(number_at(renews, renews.c.valid_from) + 1, last)
    spans = (
        select(
            renews.c.version_id,
            renews.c.valid_from,
            renews.c.valid_to,
            due_at(renews, number.c.number).label("at"),
        )
        .join(number, true())
        .subquery("renewal")
    )
    return [timer(spans, spans.c.at, Cause.REVALUED)]


def in_base(
    levels: FromClause,
    relations: Relations,
    policy: Policy,
    steps: tuple[CTE, CTE | None, CTE | None],
) -> tuple[FromClause, CTE | None]:
    """The levels in base currency, and the renewals that bring them another rate while they last.

    steps:   the segments of the levels, how their versions renew, and what usage is worth.
    Returns: the levels with amount_base_minor, their value at the rate of the last renewal before
             they begin, ending_base_minor, at that of the last one before they end, and is_renewed,
             whether there may be others between; values are null where a rate is missing. Then what
             `_revaluing` gives.
    Levels are unchanged, and there are no such renewals, when the policy does not ask.

    Rates are looked up for the narrow rows of segments and renewals: levels are wide.
    """
    segments, renews, usage = steps
    if renews is None:
        return levels, None
    held: CTE = _held(segments, renews, relations)
    if usage is not None:
        used = _held_by_usage(usage, segments, held, relations)
        held = union_all(select(held), used).cte("rate_held")
    rates = rates_by_day(relations.fx_rates, relations.base_currency, _wanted(held, policy))
    # So of all; said for the planner, which would expect more of them than levels, and hash those.
    some = select(held).where(func.least(held.c.begun, held.c.ended) == held.c.begun).subquery()
    ends = _with_two_rates(some, rates, (some.c.begun_at, some.c.ended_at), policy)
    own, is_base = levels.c.amount_minor, levels.c.currency == relations.base_currency
    valued = (
        select(
            levels,
            case((is_base, own), else_=own * ends.c.first_factor).label("amount_base_minor"),
            case((is_base, own), else_=own * ends.c.second_factor).label("ending_base_minor"),
            case((own != 0, ends.c.begun < ends.c.ended), else_=false()).label("is_renewed"),
        )
        .select_from(_of_segment(levels, ends))
        .where(where(levels.c.version_id.is_not(None)))
        .subquery("valued_level")
    )
    return valued, _revaluing(held, rates, policy)


def revalued(levels: CTE, renewals: FromClause) -> FromClause:
    """Changes of the value in base currency, and of nothing else.

    levels, renewals: of `Revaluations`; some renewals or all.
    Shape:            that of `changes.changes`.
    """
    worth = select(levels).where(levels.c.is_renewed).subquery("renewed_level")
    return (
        select(
            *(worth.c[name] for name in LINE),
            renewals.c.occurred_at,
            cast(literal(Cause.REVALUED.value), Text).label("cause"),
            worth.c.version_id.label("event_position"),
            worth.c.reason,
            cast(literal(0), Numeric).label("amount_minor"),
            (worth.c.amount_minor * renewals.c.change).label("amount_base_minor"),
            cast(literal(0), SmallInteger).label("present"),
        )
        .select_from(_of_segment(worth, renewals))
        .where(where(worth.c.version_id.is_not(None), renewals.c.version_id.is_not(None)))
        .subquery("revaluation")
    )


def _of_segment(levels: FromClause, rated: FromClause) -> FromClause:
    """Levels joined with what was found for their segment and currency."""
    names = ("version_id", "seg_from", "currency")
    return matching(levels, rated, **{name: levels.c[name] for name in names})


def _wanted(held: CTE, policy: Policy) -> Select[Any]:
    """Between which days rates are wanted, a row each: currency, first and last."""
    begun, ended = _day(held.c.begun_at, policy), _day(held.c.ended_at, policy)
    return select(held.c.currency, begun.label("first"), ended.label("last"))


def _held(segments: CTE, renews: CTE, relations: Relations) -> CTE:
    """Whose rates segments have at their two ends, where they are worth or keep something.

    Shape: version_id, seg_from, subscription_id, customer_id, currency; anchor, interval and
           interval_count; begun and ended, the numbers of the last renewals before a segment begins
           and ends, begun_at and ended_at, when they were.
    """
    piece = (
        select(
            *(segments.c[name] for name in _OWNED),
            segments.c.seg_to,
            func.least(segments.c.seg_to, after_rates(relations)).label("until"),
            *(renews.c[name] for name in _RENEWING),
        )
        .join(renews, renews.c.version_id == segments.c.version_id)
        .where(or_(segments.c.counts, segments.c.present))
        .subquery("renewing_piece")
    )
    guessed = _kept(
        piece,
        begun=guessed_number(piece, piece.c.seg_from),
        ended=guessed_number(piece, piece.c.until),
    )
    settled = _kept(
        guessed,
        first=settled_number(guessed, guessed.c.begun, guessed.c.seg_from),
        last=settled_number(guessed, guessed.c.ended, guessed.c.until, before=True),
    )
    last = or_last_rate(settled, settled.c.last, settled.c.seg_to)
    numbered = _kept(settled, ending=func.greatest(settled.c.first, last))
    return select(
        *(numbered.c[name] for name in (*_OWNED, *_RENEWING)),
        numbered.c.first.label("begun"),
        numbered.c.ending.label("ended"),
        due_at(numbered, numbered.c.first).label("begun_at"),
        due_at(numbered, numbered.c.ending).label("ended_at"),
    ).cte("renewal_held")


def _held_by_usage(
    usage: CTE, segments: CTE, held: FromClause, relations: Relations
) -> Select[Any]:
    """The same of usage that is in another currency than its version, which may be any.

    A subscription in base currency never renews in another: its usage has the rate of the instant
    at which its segment begins, as if that were its only renewal.
    """
    used = select(usage.c.subscription_id, usage.c.currency).distinct().subquery("used_currency")
    piece = (
        select(*(segments.c[name] for name in _OWNED), used.c.currency)
        .join(used, used.c.subscription_id == segments.c.subscription_id)
        .where(
            segments.c.counts,
            used.c.currency != relations.base_currency,
            # Differs; said like this for the planner, which should expect few, as there are.
            func.nullif(used.c.currency, segments.c.currency) == used.c.currency,
        )
        .subquery("used_piece")
    )
    only: dict[str, Any] = {"anchor": piece.c.seg_from, "interval": "month", "interval_count": 1}
    only |= {"begun": 0, "ended": 0, "begun_at": piece.c.seg_from, "ended_at": piece.c.seg_from}
    of_segment = {"version_id": piece.c.version_id, "seg_from": piece.c.seg_from}
    return (
        select(
            *(piece.c[name] for name in _OWNED),
            piece.c.currency,
            *(func.coalesce(held.c[name], value) for name, value in only.items()),
        )
        .select_from(matching(piece, held, **of_segment))
        .where(where(piece.c.version_id.is_not(None)))
    )


def _kept(rows: FromClause, **more: ColumnElement[Any]) -> FromClause:
    """Rows with more columns, each worked out once: finding numbers takes longer than keeping."""
    added = (column.label(name) for name, column in more.items())
    return select(rows, *added).offset(0).subquery()


def _revaluing(held: CTE, rates: CTE, policy: Policy) -> CTE:
    """The renewals while a segment lasts that bring another rate.

    Shape: version_id, seg_from, currency; unit, whose level it is part of; occurred_at; change, of
           the rate, which counts as nothing where it is missing.
    """
    number = numbers_between(held.c.begun + 1, held.c.ended)
    renewal = (
        select(
            *(held.c[name] for name in ("version_id", "seg_from", "currency")),
            unit_of(held, policy).label("unit"),
            due_at(held, number.c.number).label("occurred_at"),
            due_at(held, number.c.number - 1).label("before_at"),
        )
        .join(number, true())
        # Always so, and said for the planner: it would expect a thousand renewals a segment.
        .where(func.least(number.c.number, held.c.ended) == number.c.number)
        # Dates are dear to find: once for each renewal, and not wherever they are read.
        .offset(0)
        .subquery("renewal_due")
    )
    rated = _with_two_rates(renewal, rates, (renewal.c.before_at, renewal.c.occurred_at), policy)
    before, after = rated.c.first_factor, rated.c.second_factor
    change = func.coalesce(after, 0) - func.coalesce(before, 0)
    names = ("version_id", "seg_from", "currency", "unit", "occurred_at")
    return (
        select(*(rated.c[name] for name in names), change.label("change"))
        .where(change != 0)
        .cte("revaluing")
    )


def _with_two_rates(
    rows: FromClause,
    rates: CTE,
    instants: tuple[ColumnElement[datetime], ColumnElement[datetime]],
    policy: Policy,
) -> FromClause:
    """Rows with the rates of their currency on the days of two instants of each."""
    first, second = rates.alias(), rates.alias()
    source: FromClause = rows
    for rate, at in zip((first, second), instants, strict=True):
        day = rate_day(rates, _day(at, policy))
        source = matching(source, rate, currency=rows.c.currency, day=day)
    factors = (first.c.factor.label("first_factor"), second.c.factor.label("second_factor"))
    return (
        select(rows, *factors)
        .select_from(source)
        .where(where(rows.c.version_id.is_not(None)))
        .subquery("rated")
    )


def _day(at: ColumnElement[datetime], policy: Policy) -> ColumnElement[date]:
    return cast(func.timezone(policy.tz, at), Date)
