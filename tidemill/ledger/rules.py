"""Whether a subscription counts at an instant: one function a knob of the state layer.

Each gives a `Rule`: its verdict on an instant, and the instants at which the verdict changes while
nothing else happens. A subscription is *countable* when all rules agree. Pauses stand beside them,
because a paused subscription may keep its customer although it is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, false, func, not_, or_, true

from tidemill.knobs import parameter
from tidemill.vocabulary import Cause, Standing

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy

__all__ = ["Rule", "counts", "is_cancelled", "is_given_up", "is_paused", "rules"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition for counting: its verdict on an instant, and when that changes by itself."""

    holds: Callable[[ColumnElement[datetime]], ColumnElement[bool]]
    #: What a subscription is when it does not hold.
    otherwise: Standing
    timers: tuple[tuple[ColumnElement[datetime], Cause], ...] = ()


def rules(versions: FromClause, policy: Policy) -> tuple[Rule, ...]:
    """All conditions of the policy, over the columns of versions or of pieces of them."""
    return (
        _has_started(versions),
        _is_activated(versions, policy),
        _has_counted_status(versions, policy),
        _is_within_grace(versions, policy),
        _has_not_ended(versions, policy),
    )


def _has_started(versions: FromClause) -> Rule:
    """A subscription written down before it begins counts from its beginning."""
    started_at = versions.c.started_at
    return Rule(
        lambda at: or_(started_at.is_(None), started_at <= at),
        Standing.NOT_STARTED,
        timers=((started_at, Cause.STARTED),),
    )


def _is_activated(versions: FromClause, policy: Policy) -> Rule:
    """`activation`: unless the status is enough, wait for `activated_at` (`activation.py`)."""
    if policy.activation == "status_active":
        return Rule(lambda _: true(), Standing.NOT_ACTIVATED)
    activated_at = versions.c.activated_at
    return Rule(
        lambda at: or_(activated_at.is_(None), activated_at <= at),
        Standing.NOT_ACTIVATED,
        timers=((activated_at, Cause.INVOICE_PAID),),
    )


def _has_counted_status(versions: FromClause, policy: Policy) -> Rule:
    """`trials_in_mrr` and `past_due` choose the statuses; a pause rests what was active before.

    A trial that ends in a pause was never paid for, so it cannot go on counting through it.
    """
    counted = ["active"]
    if policy.past_due != "exclude":
        counted.append("past_due")
    if policy.trials_in_mrr == "include":
        counted.append("trialing")
    return Rule(
        lambda _: or_(
            versions.c.status.in_(counted),
            and_(versions.c.status == "paused", versions.c.been_live),
        ),
        Standing.STATUS,
    )


def _is_within_grace(versions: FromClause, policy: Policy) -> Rule:
    """`past_due = after:N`: N times 24 hours of patience, then an involuntary churn."""
    word, days = parameter(policy.past_due)
    if word != "after":
        return Rule(lambda _: true(), Standing.PAST_DUE_TIMEOUT)
    timeout = _timeout(versions, days or 0)
    is_past_due = versions.c.status == "past_due"
    return Rule(
        lambda at: or_(not_(is_past_due), at < timeout),
        Standing.PAST_DUE_TIMEOUT,
        timers=((case((is_past_due, timeout)), Cause.PAST_DUE_TIMEOUT),),
    )


def _timeout(versions: FromClause, days: int) -> ColumnElement[datetime]:
    since = func.coalesce(versions.c.past_due_since, versions.c.valid_from)
    return since + func.make_interval(0, 0, 0, 0, 24 * days)


def _has_not_ended(versions: FromClause, policy: Policy) -> Rule:
    """`churn_recognition` of a cancellation ahead: at its date, its paid-up date, or at once."""
    if policy.churn_recognition == "when_scheduled":
        return Rule(lambda _: _scheduled(versions).is_(None), Standing.ENDED)
    ends_at = _ends_at(versions, policy)
    by_period = versions.c.cancel_at_period_end
    return Rule(
        lambda at: or_(ends_at.is_(None), at < ends_at),
        Standing.ENDED,
        timers=(
            (case((by_period, ends_at)), Cause.PERIOD_ENDED),
            (case((not_(by_period), ends_at)), Cause.CANCEL_AT_REACHED),
        ),
    )


def _scheduled(versions: FromClause) -> ColumnElement[datetime]:
    return func.coalesce(
        versions.c.cancel_at,
        case((versions.c.cancel_at_period_end, versions.c.current_period_end)),
    )


def _ends_at(versions: FromClause, policy: Policy) -> ColumnElement[datetime]:
    """When a cancellation ahead takes effect; null where there is none."""
    scheduled = _scheduled(versions)
    is_scheduled = scheduled.is_not(None)
    if policy.churn_recognition == "when_scheduled":
        return case((is_scheduled, versions.c.valid_from))
    if policy.churn_recognition == "at_period_end":
        return case((is_scheduled, func.greatest(scheduled, versions.c.current_period_end)))
    return scheduled


def is_given_up(pieces: FromClause, policy: Policy) -> ColumnElement[bool]:
    """Did dunning end it: is it unpaid, or past due for longer than the policy has patience?

    Not where a cancellation took effect before that.
    """
    begun, (word, days) = pieces.c.valid_from, parameter(policy.past_due)
    ends: list[tuple[ColumnElement[bool], ColumnElement[datetime]]] = [
        (pieces.c.status == "unpaid", begun)
    ]
    if word != "active":
        until = _timeout(pieces, days or 0) if word == "after" else begun
        ends.append((pieces.c.status == "past_due", until))
    given_up_at, left_at = case(*ends), _ends_at(pieces, policy)
    is_first = or_(left_at.is_(None), left_at >= given_up_at)
    return func.coalesce(and_(given_up_at <= pieces.c.seg_from, is_first), false())


def is_cancelled(pieces: FromClause, policy: Policy) -> ColumnElement[bool]:
    """Did a cancellation end it, at once or when its date came?"""
    has_come = func.coalesce(_ends_at(pieces, policy) <= pieces.c.seg_from, false())
    return or_(pieces.c.status == "canceled", has_come)


def is_paused(versions: FromClause) -> ColumnElement[bool]:
    """Paused by status, or with collection paused under any other status."""
    return or_(versions.c.status == "paused", versions.c.paused_at.is_not(None))


def counts(judged: FromClause, policy: Policy) -> ColumnElement[bool]:
    """Is a judged piece worth its value? `paused` decides whether a pause takes it away."""
    if policy.paused == "active":
        return judged.c.countable
    return and_(judged.c.countable, not_(is_paused(judged)))
