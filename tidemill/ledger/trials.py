"""From versions to trials: when each began and ended, and what became of it.

A trial begins with the version that says so and ends with the next that does not. It has converted
when the subscription is active (or past due) before anything ends it, and has expired when it is
the other way round; until then it is pending. A pause, or a first payment that is awaited, decides
nothing. Later versions decide earlier trials, so their figures are restated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Date, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.ledger.versions import versions_in_force
from tidemill.vocabulary import SubscriptionStatus

if TYPE_CHECKING:
    from sqlalchemy import CTE, FromClause, Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["trials"]

_TRIALING: Final = SubscriptionStatus.TRIALING.value
_WON: Final = (SubscriptionStatus.ACTIVE.value, SubscriptionStatus.PAST_DUE.value)
_LOST: Final = (SubscriptionStatus.CANCELED.value, SubscriptionStatus.UNPAID.value)
_OF_ITEM: Final = ("plan", "product", "interval", "interval_count")


def trials(relations: Relations, policy: Policy) -> Select[tuple[object, ...]]:
    """Every trial of every subscription.

    Shape: the columns of `models.metric_trial`; days are of the policy's time zone. What the trial
           was of is its first item, as it began.
    """
    begun = _begun(versions_in_force(relations, policy))
    item = _first_items(relations, begun)
    day = {
        name: cast(func.timezone(policy.tz, begun.c[f"{name}_at"]), Date)
        for name in ("started", "ended", "converted", "expired")
    }
    return select(
        begun.c.customer_id,
        begun.c.subscription_id,
        begun.c.source_id,
        *(item.c[name] for name in _OF_ITEM),
        begun.c.currency,
        begun.c.version_id.label("event_position"),
        day["started"].label("day"),
        begun.c.started_at.label("occurred_at"),
        begun.c.ended_at,
        day["ended"].label("ended_on"),
        begun.c.converted_at,
        day["converted"].label("converted_on"),
        day["expired"].label("expired_on"),
    ).outerjoin_from(begun, item, item.c.version_id == begun.c.version_id)


def _begun(version: CTE) -> CTE:
    """The versions that begin a trial, with the instants at which it ended, won or lost."""
    subscription, begins = version.c.subscription_id, version.c.valid_from

    def next_with(condition: ColumnElement[bool]) -> ColumnElement[Any]:
        first = func.min(begins).filter(condition)
        return first.over(partition_by=subscription, order_by=begins, rows=(0, None))

    before = func.lag(version.c.status).over(partition_by=subscription, order_by=begins)
    seen = select(
        version.c.version_id,
        version.c.customer_id,
        version.c.subscription_id,
        version.c.source_id,
        version.c.currency,
        version.c.status,
        version.c.valid_from.label("started_at"),
        before.label("status_before"),
        next_with(version.c.status != _TRIALING).label("ended_at"),
        next_with(version.c.status.in_(_WON)).label("won_at"),
        next_with(version.c.status.in_(_LOST)).label("lost_at"),
    ).subquery("seen")
    won_first = or_(seen.c.lost_at.is_(None), seen.c.won_at < seen.c.lost_at)
    lost_first = or_(seen.c.won_at.is_(None), seen.c.lost_at < seen.c.won_at)
    kept = [column for column in seen.c if column.name not in ("status_before", "lost_at")]
    return (
        select(
            *kept,
            case((won_first, seen.c.won_at)).label("converted_at"),
            case((lost_first, seen.c.lost_at)).label("expired_at"),
        )
        .where(seen.c.status == _TRIALING, seen.c.status_before.is_distinct_from(_TRIALING))
        .cte("trial")
    )


def _first_items(relations: Relations, begun: FromClause) -> FromClause:
    """The first item of each version that begins a trial."""
    item = relations.version_items
    return (
        select(
            item.c.version_id, item.c.plan, item.c.product, item.c.interval, item.c.interval_count
        )
        .ext(distinct_on(item.c.version_id))
        .where(item.c.version_id.in_(select(begun.c.version_id)))
        .order_by(item.c.version_id, item.c.ordinal)
        .subquery("first_item")
    )
