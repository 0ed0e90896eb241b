"""The derivation step by step, so that each of its steps can be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import CTE, FromClause, and_, func, select

from tidemill.ledger.activation import activated
from tidemill.ledger.discounts import counted_discounts
from tidemill.ledger.levels import Measure, item_levels
from tidemill.ledger.renewals import renewal_timers, renewing
from tidemill.ledger.segments import Told, segments
from tidemill.ledger.usage import usage_spans, usage_timers
from tidemill.ledger.versions import forever, held_at, versions_in_force

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Select

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Steps", "segment_levels", "steps"]


@dataclass(frozen=True, slots=True)
class Steps:
    """What the ledger makes of a history before it looks for changes; shapes as each step says."""

    versions: CTE
    segments: CTE
    levels: FromClause
    renewing: CTE | None
    usage: CTE | None


def steps(
    relations: Relations,
    policy: Policy,
    measure: Measure = "mrr",
    *,
    told: Told = "causes",
    end: datetime | None = None,
) -> Steps:
    """The steps up to the levels.

    told:   of segments; where they say why they count or not, renewals cut them too.
    end:    only what holds right before this instant.
    Raises: KnobNotSupported when the policy asks for what the ledger does not do yet.
    """
    versions = activated(relations, policy, versions_in_force(relations, policy))
    if end is not None:
        versions = held_at(versions, policy, end)
    discounts = counted_discounts(relations, policy, versions)
    usage = usage_spans(relations, policy)
    renews = renewing(relations, policy, versions)
    timers = usage_timers(usage, versions)
    if told == "standings":
        timers += renewal_timers(renews, relations)
    pieces = segments(relations, policy, versions, discounts, timers, told)
    if end is not None:
        held = and_(pieces.c.seg_from < end, pieces.c.seg_to >= end)
        pieces = select(pieces).where(held).cte("standing_segment")
    levels = item_levels(relations, policy, pieces, discounts, usage, measure)
    return Steps(versions, pieces, levels, renews, usage)


def segment_levels(relations: Relations, policy: Policy) -> Select[tuple[object, ...]]:
    """Every segment with why it counts or not, and what its items are worth a month.

    Shape:  version_id, subscription_id, customer_id, currency, valid_from and valid_to of the
            version, seg_from, seg_to, cause, event_position, counts, present, standing; item, plan
            and amount_minor of each item, null where there is none. Ends that are open are null.
            Ordered by subscription, seg_from and item.
    Raises: KnobNotSupported.
    """
    made = steps(relations, policy, told="standings")
    piece, version, level = made.segments, made.versions, made.levels
    of_segment = and_(
        level.c.version_id == piece.c.version_id, level.c.seg_from == piece.c.seg_from
    )
    told = ("version_id", "subscription_id", "customer_id", "currency", "seg_from")
    more = ("cause", "event_position", "counts", "present", "standing")
    return (
        select(
            *(piece.c[name] for name in (*told, *more)),
            func.nullif(piece.c.seg_to, forever()).label("seg_to"),
            version.c.valid_from,
            func.nullif(version.c.valid_to, forever()).label("valid_to"),
            level.c.item,
            level.c.plan,
            level.c.amount_minor,
        )
        .select_from(piece)
        .join(version, version.c.version_id == piece.c.version_id)
        .outerjoin(level, of_segment)
        .order_by(piece.c.subscription_id, piece.c.seg_from, level.c.item)
    )
