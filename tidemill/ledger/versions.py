"""From the event history to versions in force: who holds which state, from when until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import CTE, DateTime, Text, case, cast, func, literal, select

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause

    from tidemill.relations import Relations

__all__ = ["forever", "versions_in_force"]

# What orders a history is spent once the spans are known.
_ORDERING: Final = frozenset({"event_id", "occurred_at", "sequence", "recorded_at", "confidence"})


def forever() -> ColumnElement[datetime]:
    """The end of what has not ended yet; later than any instant."""
    return cast(literal("infinity", Text), DateTime(timezone=True))


def versions_in_force(relations: Relations) -> CTE:
    """Every version with the half-open span [valid_from, valid_to) in which it was the latest.

    Shape: version_id, the state columns of `subscription_versions`, valid_from and valid_to (UTC
           instants; valid_to is 'infinity' for the newest). `customer_id` is whose books it is in.
    Versions that were never in force (overtaken within the same instant) are left out.
    """
    history = relations.subscription_versions
    following = func.lead(history.c.occurred_at).over(
        partition_by=history.c.subscription_id, order_by=_order(history)
    )
    spans = select(
        history,
        history.c.occurred_at.label("valid_from"),
        func.coalesce(following, forever()).label("valid_to"),
    ).subquery()
    owner, source = _books(relations, spans)
    columns = [column for column in spans.c if column.name not in {*_ORDERING, "customer_id"}]
    return (
        select(*columns, owner.label("customer_id"))
        .select_from(source)
        .where(spans.c.valid_from < spans.c.valid_to)
        .cte("version")
    )


def _order(versions: FromClause) -> tuple[ColumnElement[object], ...]:
    """The order of one subscription's events: a terminal state is last within its instant."""
    terminal = case((versions.c.status == "canceled", 1), else_=0)
    return (
        versions.c.occurred_at,
        versions.c.sequence,
        terminal,
        versions.c.recorded_at,
        versions.c.event_id,
    )


def _books(relations: Relations, versions: FromClause) -> tuple[ColumnElement[int], FromClause]:
    """Whose books a version belongs to: merged customers are one company."""
    identities = relations.identities
    joined = versions.outerjoin(identities, identities.c.customer_id == versions.c.customer_id)
    return func.coalesce(identities.c.canonical_id, versions.c.customer_id), joined
