"""Segments: versions cut at the instants that matter, and whether the subscription counts in each.

Every knob of the state layer that decides *whether* a subscription counts is one function here. It
gives a `Rule`: the instants at which it changes its mind, and its verdict on an instant. A segment
counts when all rules say so at its beginning; none can change its mind inside a segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    CTE,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)

from tidemill.ledger.timers import boundaries, discount_timers, version_timers
from tidemill.ledger.versions import forever
from tidemill.vocabulary import Cause, ChurnReason

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause

__all__ = ["segments"]

# What the later steps need of a piece; the rest of the state has been judged by then.
_CARRIED = (
    "version_id",
    "subscription_id",
    "customer_id",
    "source_id",
    "currency",
    "seg_from",
    "counts",
    "cause",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition for counting: when its answer may change inside a version, and the answer."""

    holds: Callable[[ColumnElement[datetime]], ColumnElement[bool]]
    timers: tuple[tuple[ColumnElement[datetime], Cause], ...] = ()


def segments(versions: CTE, discounts: CTE) -> CTE:
    """The timeline of every subscription in pieces within which nothing changes.

    Shape: version_id, subscription_id, customer_id, source_id, currency; seg_from, seg_to
           (half-open, UTC); counts (bool); cause, event_position and reason of the segment's
           beginning, and next_cause, next_position and next_reason of its end. A version's key is
           the log position of its event.
    """
    rules = _rules(versions)
    timers = version_timers(versions, [timer for rule in rules for timer in rule.timers])
    boundary = boundaries(timers + discount_timers(discounts))
    begun = select(
        versions,
        versions.c.valid_from.label("seg_from"),
        cast(literal(Cause.EVENT.value), Text).label("cause"),
    )
    cut = select(versions, boundary.c.at, boundary.c.cause).join(
        boundary, boundary.c.version_id == versions.c.version_id
    )
    pieces = union_all(begun, cut).subquery("piece")
    counts = and_(*(rule.holds(pieces.c.seg_from) for rule in _rules(pieces)))
    judged = select(
        pieces,
        counts.label("counts"),
        _churn_reason(pieces).label("reason"),
    ).subquery("judged")
    return _with_ends(judged)


def _with_ends(judged: FromClause) -> CTE:
    """Each piece with where it ends and why: the beginning of the subscription's next one."""

    def following(column: ColumnElement[object]) -> ColumnElement[object]:
        return func.lead(column).over(
            partition_by=judged.c.subscription_id, order_by=judged.c.seg_from
        )

    return select(
        *(judged.c[name] for name in _CARRIED),
        judged.c.version_id.label("event_position"),
        func.coalesce(following(judged.c.seg_from), forever()).label("seg_to"),
        following(judged.c.cause).label("next_cause"),
        following(judged.c.version_id).label("next_position"),
        following(judged.c.reason).label("next_reason"),
    ).cte("segment")


def _rules(versions: FromClause) -> tuple[Rule, ...]:
    return (_has_started(versions), _is_billed(versions), _has_not_ended(versions))


def _has_started(versions: FromClause) -> Rule:
    """A subscription written down before it begins counts from its beginning (E37)."""
    started_at = versions.c.started_at
    return Rule(
        lambda at: or_(started_at.is_(None), started_at <= at),
        timers=((started_at, Cause.STARTED),),
    )


def _is_billed(versions: FromClause) -> Rule:
    """The status is one that counts, and collection is not paused."""
    counted = versions.c.status.in_(("active", "past_due"))
    return Rule(lambda _: and_(counted, versions.c.paused_at.is_(None)))


def _has_not_ended(versions: FromClause) -> Rule:
    """`churn_recognition`: at_cancellation counts until the cancellation takes effect."""
    ends_at = scheduled_end(versions)
    by_period = versions.c.cancel_at_period_end
    return Rule(
        lambda at: or_(ends_at.is_(None), at < ends_at),
        timers=(
            (case((by_period, ends_at)), Cause.PERIOD_ENDED),
            (case((not_(by_period), ends_at)), Cause.CANCEL_AT_REACHED),
        ),
    )


def scheduled_end(versions: FromClause) -> ColumnElement[datetime]:
    """When a subscription that is cancelled ahead of time will end; null when it is not."""
    return func.coalesce(
        versions.c.cancel_at,
        case((versions.c.cancel_at_period_end, versions.c.current_period_end)),
    )


def _churn_reason(pieces: FromClause) -> ColumnElement[str]:
    """Who ended it, should this piece begin a churn. Unknown is a class of its own."""
    return case(
        (pieces.c.status.in_(("unpaid", "past_due")), ChurnReason.INVOLUNTARY.value),
        (pieces.c.voluntary.is_(True), ChurnReason.VOLUNTARY.value),
        (pieces.c.voluntary.is_(False), ChurnReason.INVOLUNTARY.value),
        else_=ChurnReason.UNKNOWN.value,
    )
