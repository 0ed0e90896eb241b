"""From the event history to versions in force: who holds which state, from when until when.

Two steps, three knobs: the clock (`event_time`, `late_events`) says when a version begins, the
books (`identity`) say whose it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import CTE, DateTime, Interval, Text, case, cast, func, literal, select

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["books", "forever", "held_at", "looks_back", "versions_in_force"]

# What orders a history is spent once the spans are known; words about a state move no level.
_UNREAD: Final = frozenset(
    {"event_id", "occurred_at", "sequence", "recorded_at", "confidence"}
    | {"trial_end", "cancel_reason", "cancel_feedback"}
)


def forever() -> ColumnElement[datetime]:
    """The end of what has not ended yet; later than any instant."""
    return cast(literal("infinity", Text), DateTime(timezone=True))


def versions_in_force(relations: Relations, policy: Policy) -> CTE:
    """Every version with the half-open span [valid_from, valid_to) in which it was the latest.

    Shape: version_id, the state columns of `subscription_versions`, valid_from and valid_to (UTC
           instants; valid_to is 'infinity' for the newest). `customer_id` is whose books it is in.
    Versions that were never in force (overtaken within the same instant) are left out.
    """
    # Whose they are comes first, so that versions stay in the order in which spans are found.
    owner, source = books(relations, policy, relations.subscription_versions)
    told = [each for each in relations.subscription_versions.c if each.name != "customer_id"]
    owned = select(*told, owner.label("customer_id")).select_from(source).subquery("owned")
    clocked = _clocked(owned, policy)
    following = func.lead(clocked.c.valid_from).over(
        partition_by=clocked.c.subscription_id,
        order_by=(clocked.c.valid_from, *_order(clocked)),
    )
    state = [column for column in clocked.c if column.name not in _UNREAD]
    spans = select(*state, func.coalesce(following, forever()).label("valid_to")).subquery("span")
    return select(spans).where(spans.c.valid_from < spans.c.valid_to).cte("version")


def looks_back(policy: Policy) -> bool:
    """Whether what holds at an instant depends on how it was before.

    Was a paused subscription ever active, did a cancelled one count until then?
    """
    return policy.paused != "churn" or policy.churn_recognition == "at_period_end"


def held_at(versions: CTE, policy: Policy, end: datetime) -> CTE:
    """The versions that say what holds right before an instant.

    Where a knob asks how it was before all versions up to there do, else the one in force.
    """
    kept = select(versions).where(versions.c.valid_from < end)
    if not looks_back(policy):
        kept = kept.where(versions.c.valid_to >= end)
    return kept.cte("held_version")


def _order(versions: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The order of one subscription's events: a terminal state is last within its instant."""
    terminal = case((versions.c.status == "canceled", 1), else_=0)
    return (
        versions.c.occurred_at,
        versions.c.sequence,
        terminal,
        versions.c.recorded_at,
        versions.c.event_id,
    )


def _clocked(versions: FromClause, policy: Policy) -> FromClause:
    """The versions with `valid_from`, the instant at which the policy's clock lets them begin.

    A clock that waits for the news can deliver a state that a newer one has overtaken by then: the
    older one never comes into force.
    """
    begins = _begins(versions, policy)
    timed = select(versions, begins.label("valid_from"))
    if begins is versions.c.occurred_at:
        return timed.subquery("clocked")
    place = func.row_number().over(
        partition_by=versions.c.subscription_id, order_by=_order(versions)
    )
    ordered = timed.add_columns(place.label("place")).subquery("ordered")
    newest = func.max(ordered.c.place).over(
        partition_by=ordered.c.subscription_id, order_by=(ordered.c.valid_from, ordered.c.place)
    )
    seen = select(ordered, newest.label("newest")).subquery("seen")
    kept = [column for column in seen.c if column.name not in ("place", "newest")]
    return select(*kept).where(seen.c.place == seen.c.newest).subquery("clocked")


def _begins(versions: FromClause, policy: Policy) -> ColumnElement[datetime]:
    """`event_time` and `late_events`: what was known ahead of time still waits for its time."""
    occurred_at, recorded_at = versions.c.occurred_at, versions.c.recorded_at
    if policy.event_time == "recorded":
        return func.greatest(occurred_at, recorded_at)
    if policy.late_events == "restate":
        return occurred_at
    month = func.date_trunc("month", func.timezone(policy.tz, occurred_at))
    lag = func.make_interval(0, 1, 0, policy.close_lag_days)
    closes_at = func.timezone(policy.tz, month + cast(lag, Interval))
    return case((recorded_at > closes_at, recorded_at), else_=occurred_at)


def books(
    relations: Relations, policy: Policy, versions: FromClause
) -> tuple[ColumnElement[int], FromClause]:
    """Whose books a version belongs to: `identity = merged` makes merged customers one company."""
    if policy.identity == "per_source" or not relations.merges:
        return versions.c.customer_id, versions
    identities = relations.identities
    joined = versions.outerjoin(identities, identities.c.customer_id == versions.c.customer_id)
    return func.coalesce(identities.c.canonical_id, versions.c.customer_id), joined
