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
    case,
    cast,
    func,
    literal,
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
    held: FromClause = _held(segments, renews, relations)
    if usage is not None:
        used = _held_by_usage(usage, segments, held, relations)
        held = union_all(select(held), used).subquery("held")
    rated = _rated(held, relations, policy)
    ending = select(rated).where(rated.c.number == rated.c.ended).subquery("ending_rate")
    own, is_base = levels.c.amount_minor, levels.c.currency == relations.base_currency
    valued = (
        select(
            levels,
            case((is_base, own), else_=own * ending.c.begun_factor).label("amount_base_minor"),
            case((is_base, own), else_=own * ending.c.factor).label("ending_base_minor"),
        )
        .select_from(_with_rates(levels, ending))
        .where(where(levels.c.version_id.is_not(None)))
        .cte("valued_level")
    )
    return valued, _revaluations(valued, rated, relations)


def _held(segments: CTE, renews: CTE, relations: Relations) -> FromClause:
    """Whose rates segments have, where they are worth or keep something.

    Shape: version_id, seg_from, currency; anchor, interval and interval_count; begun and ended, the
           numbers of the last renewals before a segment begins and ends.
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
        select(segments.c.version_id, segments.c.seg_from, used.c.currency)
        .join(used, used.c.subscription_id == segments.c.subscription_id)
        .where(segments.c.counts, used.c.currency != relations.base_currency)
        .subquery("used_piece")
    )
    of_segment = {"version_id": piece.c.version_id, "seg_from": piece.c.seg_from}
    is_other = piece.c.currency.is_distinct_from(held.c.currency)
    only = {"anchor": piece.c.seg_from, "interval": "month", "interval_count": 1}
    only |= {"begun": 0, "ended": 0}
    return (
        select(
            piece.c.seg_from,
            piece.c.version_id,
            piece.c.currency,
            *(func.coalesce(held.c[name], value) for name, value in only.items()),
        )
        .select_from(matching(piece, held, **of_segment))
        .where(where(piece.c.version_id.is_not(None), is_other))
    )


def _kept(rows: FromClause, **more: ColumnElement[Any]) -> FromClause:
    """Rows with more columns, each worked out once: finding numbers takes longer than keeping."""
    added = (column.label(name) for name, column in more.items())
    return select(rows, *added).offset(0).subquery()


def _rated(held: FromClause, relations: Relations, policy: Policy) -> CTE:
    """Every renewal whose rate a segment has, in order.

    Shape: version_id, seg_from, currency, number, begun, ended, occurred_at; factor, the rate of
           its day, null where there is none; factor_before, that of the renewal before it, and
           begun_factor, that of the first.
    Rates are found for these narrow rows, and not for levels and their changes, which are wide.
    """
    number = _numbers(held.c.begun, held.c.ended)
    names = ("version_id", "seg_from", "currency", "begun", "ended")
    due = (
        select(
            *(held.c[name] for name in names),
            number.c.number,
            _renewal(held, number.c.number).label("occurred_at"),
        )
        .join(number, true())
        # Dates are dear to find: once for each renewal, and not wherever they are read.
        .cte("renewal_due")
    )
    day = cast(func.timezone(policy.tz, due.c.occurred_at), Date)
    first, last = func.min(day).label("first"), func.max(day).label("last")
    wanted = select(due.c.currency, first, last).group_by(due.c.currency)
    rates = rates_by_day(relations.fx_rates, relations.base_currency, wanted)
    run: dict[str, Any] = {
        "partition_by": (due.c.version_id, due.c.seg_from, due.c.currency),
        "order_by": due.c.number,
    }
    return (
        select(
            due,
            rates.c.factor,
            func.lag(rates.c.factor).over(**run).label("factor_before"),
            func.first_value(rates.c.factor).over(**run).label("begun_factor"),
        )
        .select_from(matching(due, rates, currency=due.c.currency, day=rate_day(rates, day)))
        .where(where(due.c.version_id.is_not(None)))
        .cte("renewal_rate")
    )


def _with_rates(levels: FromClause, rated: FromClause) -> FromClause:
    """Levels joined with rows of `_rated` that are theirs."""
    names = ("version_id", "seg_from", "currency")
    return matching(levels, rated, **{name: levels.c[name] for name in names})


def _revaluations(levels: CTE, rated: CTE, relations: Relations) -> FromClause:
    """The renewals inside a level that bring it another rate.

    Shape: that of `changes.changes`: a change of the value in base currency, and of nothing else.
    """
    change = func.coalesce(rated.c.factor, 0) - func.coalesce(rated.c.factor_before, 0)
    turns = (
        select(rated, change.label("change"))
        .where(rated.c.number > rated.c.begun, change != 0)
        .subquery("turn_of_rate")
    )
    foreign = (
        select(levels)
        .where(levels.c.currency != relations.base_currency, levels.c.amount_minor != 0)
        .subquery("foreign_level")
    )
    return (
        select(
            *(foreign.c[name] for name in LINE),
            turns.c.occurred_at,
            cast(literal(Cause.REVALUED.value), Text).label("cause"),
            foreign.c.version_id.label("event_position"),
            foreign.c.reason,
            cast(literal(0), Numeric).label("amount_minor"),
            (foreign.c.amount_minor * turns.c.change).label("amount_base_minor"),
            cast(literal(0), SmallInteger).label("present"),
        )
        .select_from(_with_rates(foreign, turns))
        .where(where(foreign.c.version_id.is_not(None), turns.c.number.is_not(None)))
        .subquery("revaluation")
    )


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
