"""The knob `fx = at_renewal`: a level keeps the rate of its last renewal, until the next one.

Renewals follow from the billing period: it repeats by the interval of the subscription's first
item. They are numbered from the beginning of the version's period, which is 0, and end with the
first one after the last published rate, because no later one could bring another. At a renewal
nothing changes but the rate, so it cuts no segment: there are many times more renewals than
changes, and they are made only where a level is worth something and lasts beyond one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    CTE,
    Date,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.fx import rate_day, rates_by_day
from tidemill.ledger.changes import LINE
from tidemill.ledger.matching import matching, where
from tidemill.ledger.timers import Timer, after_intervals, timer
from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import ColumnElement, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["in_base", "renewal_timers", "renewing"]

_INSTANT: Final = DateTime(timezone=True)
_DAY_S: Final = 86_400
# Before any renewal; where no rate was ever published none could bring one.
_BEFORE_ALL: Final = datetime(1, 1, 2, tzinfo=UTC)
# What tells when a version renews, and in which currency.
_RENEWING: Final = ("version_id", "currency", "anchor", "interval", "interval_count")


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
    last = _last(renews, renews.c.valid_to, relations)
    number = _numbers(_number(renews, renews.c.valid_from) + 1, last)
    spans = (
        select(
            renews.c.version_id,
            renews.c.valid_from,
            renews.c.valid_to,
            _renewal(renews, number.c.number).label("at"),
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
) -> tuple[FromClause, FromClause | None]:
    """The levels in base currency, and the changes that renewals make while they last.

    steps:   the segments of the levels, how their versions renew, and what usage is worth.
    Returns: the levels with amount_base_minor, their value at the rate of the last renewal before
             they begin, and ending_base_minor, at that of the last one before they end; then what
             `_revaluations` gives. Values are null where a rate is missing.
    Levels are unchanged, and there are no such changes, when the policy does not ask.
    """
    segments, renews, usage = steps
    if renews is None:
        return levels, None
    held = _held(segments, renews, relations)
    wanted = _wanted(segments, held, usage, policy)
    rates = rates_by_day(relations.fx_rates, relations.base_currency, wanted)
    begun, ended = rates.alias("rate_begun"), rates.alias("rate_ended")
    of_segment = and_(
        held.c.version_id == levels.c.version_id, held.c.seg_from == levels.c.seg_from
    )
    # A subscription in base currency never renews in another, though its usage may be in one.
    is_base = levels.c.currency == relations.base_currency
    begun_at, ended_at = (
        case((not_(is_base), func.coalesce(at, levels.c.seg_from)))
        for at in (held.c.begun_at, held.c.ended_at)
    )
    source: FromClause = levels.outerjoin(held, of_segment)
    for rate, at in ((begun, begun_at), (ended, ended_at)):
        source = _rated(source, (rates, rate), levels, at, policy)
    own = levels.c.amount_minor
    valued = (
        select(
            levels,
            case((is_base, own), else_=own * begun.c.factor).label("amount_base_minor"),
            case((is_base, own), else_=own * ended.c.factor).label("ending_base_minor"),
        )
        .select_from(source)
        .where(where(levels.c.version_id.is_not(None)))
        .cte("valued_level")
    )
    return valued, _revaluations(valued, rates, held, relations, policy)


def _wanted(segments: CTE, held: CTE, usage: CTE | None, policy: Policy) -> Select[Any]:
    """Between which days rates are wanted, a row each: currency, first and last."""
    begun, ended = _day(held.c.begun_at, policy), _day(held.c.ended_at, policy)
    wanted = select(held.c.currency, begun.label("first"), ended.label("last"))
    if usage is None:
        return wanted
    # Usage has the days of its segments, and may be in any currency.
    day = _day(segments.c.seg_from, policy)
    ends = select(func.min(day), func.max(day)).subquery("ends_of_segments")
    used = select(usage.c.currency).distinct().subquery("used_currency")
    return union_all(wanted, select(used, *ends.c).join(ends, true()))  # type: ignore[return-value]  # a union is read as a select


def _held(segments: CTE, renews: CTE, relations: Relations) -> CTE:
    """Whose rates segments have at their two ends, where they are worth or keep something.

    Shape: version_id, seg_from, currency; begun and ended, the numbers of the last renewals before
           a segment begins and ends, begun_at and ended_at, when they were; anchor, interval and
           interval_count.
    """
    piece = (
        select(
            segments.c.seg_from,
            segments.c.seg_to,
            func.least(segments.c.seg_to, _after_rates(relations)).label("until"),
            *(renews.c[name] for name in _RENEWING),
        )
        .join(renews, renews.c.version_id == segments.c.version_id)
        .where(or_(segments.c.counts, segments.c.present))
        .subquery("renewing_piece")
    )
    guessed = _kept(
        piece, begun=_guess(piece, piece.c.seg_from), ended=_guess(piece, piece.c.until)
    )
    settled = _kept(
        guessed,
        first=_settled(guessed, guessed.c.begun, guessed.c.seg_from),
        last=_settled(guessed, guessed.c.ended, guessed.c.until, before=True),
    )
    last = _with_last_rate(settled, settled.c.last, settled.c.seg_to)
    numbered = _kept(settled, ending=func.greatest(settled.c.first, last))
    return select(
        *(numbered.c[name] for name in ("seg_from", *_RENEWING)),
        numbered.c.first.label("begun"),
        numbered.c.ending.label("ended"),
        _renewal(numbered, numbered.c.first).label("begun_at"),
        _renewal(numbered, numbered.c.ending).label("ended_at"),
    ).cte("renewal_held")


def _kept(rows: FromClause, **more: ColumnElement[Any]) -> FromClause:
    """Rows with more columns, each worked out once: finding numbers takes longer than keeping."""
    added = (column.label(name) for name, column in more.items())
    return select(rows, *added).offset(0).subquery()


def _revaluations(
    levels: CTE, rates: CTE, held: CTE, relations: Relations, policy: Policy
) -> FromClause:
    """The renewals inside a level that bring it another rate.

    Shape: that of `changes.changes`: a change of the value in base currency, and of nothing else.
    """
    is_worth = and_(levels.c.currency != relations.base_currency, levels.c.amount_minor != 0)
    of_segment = and_(
        held.c.version_id == levels.c.version_id, held.c.seg_from == levels.c.seg_from
    )
    number = _numbers(held.c.begun + 1, held.c.ended)
    renewal = (
        select(
            *(levels.c[name] for name in (*LINE, "version_id", "reason", "amount_minor")),
            _renewal(held, number.c.number).label("occurred_at"),
            _renewal(held, number.c.number - 1).label("before_at"),
        )
        .select_from(levels.join(held, of_segment).join(number, true()))
        .where(is_worth)
        # Dates are dear to find: once for each renewal, and not wherever they are read.
        .offset(0)
        .subquery("level_renewal")
    )
    after, before = rates.alias("rate_after"), rates.alias("rate_before")
    source: FromClause = renewal
    for rate, at in ((after, renewal.c.occurred_at), (before, renewal.c.before_at)):
        source = _rated(source, (rates, rate), renewal, at, policy)
    change = func.coalesce(after.c.factor, 0) - func.coalesce(before.c.factor, 0)
    return (
        select(
            *(renewal.c[name] for name in LINE),
            renewal.c.occurred_at,
            cast(literal(Cause.REVALUED.value), Text).label("cause"),
            renewal.c.version_id.label("event_position"),
            renewal.c.reason,
            cast(literal(0), Numeric).label("amount_minor"),
            (renewal.c.amount_minor * change).label("amount_base_minor"),
            cast(literal(0), SmallInteger).label("present"),
        )
        .select_from(source)
        .where(where(renewal.c.version_id.is_not(None), change != 0))
        .subquery("revaluation")
    )


def _rated(
    source: FromClause,
    rates: tuple[CTE, FromClause],
    levels: FromClause,
    at: ColumnElement[datetime],
    policy: Policy,
) -> FromClause:
    """What `levels` are part of, with the rate of their currency on the day of an instant.

    rates: all, and the name by which they are joined.
    """
    known, rate = rates
    day = rate_day(known, _day(at, policy))
    return matching(source, rate, currency=levels.c.currency, day=day)


def _day(at: ColumnElement[datetime], policy: Policy) -> ColumnElement[date]:
    return cast(func.timezone(policy.tz, at), Date)


def _numbers(first: ColumnElement[int], last: ColumnElement[int]) -> FromClause:
    return func.generate_series(first, last).table_valued("number").render_derived()


def _renewal(renews: FromClause, number: ColumnElement[int]) -> ColumnElement[datetime]:
    """When the renewal of a number is due."""
    return after_intervals(renews.c.anchor, renews.c.interval, renews.c.interval_count * number)


def _number(
    renews: FromClause, at: ColumnElement[datetime], *, before: bool = False
) -> ColumnElement[int]:
    """The number of the last renewal at an instant or before it; with `before`, before it only.

    A period written down ahead of its time had others before it: they count down from it.
    """
    return _settled(renews, _guess(renews, at), at, before=before)


def _guess(renews: FromClause, at: ColumnElement[datetime]) -> ColumnElement[int]:
    """The number that `_number` gives, or the next one."""
    start, end = (func.timezone("UTC", each, type_=DateTime()) for each in (renews.c.anchor, at))

    def part(name: str, of: ColumnElement[Any]) -> ColumnElement[float]:
        return func.date_part(name, of)

    # The calendar month of `at` has a renewal or follows one that is not after it.
    months = (part("year", end) - part("year", start)) * 12 + part("month", end)
    months -= part("month", start)
    by_month = months / case((renews.c.interval == "year", 12), else_=1)
    days = part("epoch", end - start) / _DAY_S
    by_day = days / case((renews.c.interval == "week", 7), else_=1)
    passed = case((renews.c.interval.in_(("year", "month")), by_month), else_=by_day)
    return cast(func.floor(passed / renews.c.interval_count), Integer)


def _settled(
    renews: FromClause,
    guess: ColumnElement[int],
    at: ColumnElement[datetime],
    *,
    before: bool = False,
) -> ColumnElement[int]:
    due = _renewal(renews, guess)
    is_ahead = due >= at if before else due > at
    return case((is_ahead, guess - 1), else_=guess)


def _last(
    renews: FromClause, end: ColumnElement[datetime], relations: Relations
) -> ColumnElement[int]:
    """The number of the last renewal before an instant that can bring a rate."""
    until = func.least(end, _after_rates(relations))
    return _with_last_rate(renews, _number(renews, until, before=True), end)


def _after_rates(relations: Relations) -> ColumnElement[datetime]:
    rates = relations.fx_rates
    day_after = func.timezone("UTC", cast(func.max(rates.c.day) + 1, DateTime), type_=_INSTANT)
    at = func.coalesce(day_after, literal(_BEFORE_ALL, _INSTANT)).label("at")
    # Made once, because the planner works out each use of a subquery by itself.
    once = select(at).cte("after_rates").prefix_with("MATERIALIZED")
    return select(once.c.at).scalar_subquery()


def _with_last_rate(
    renews: FromClause, number: ColumnElement[int], end: ColumnElement[datetime]
) -> ColumnElement[int]:
    """The first renewal after the last rate still takes that rate on."""
    return case((_renewal(renews, number + 1) < end, number + 1), else_=number)
