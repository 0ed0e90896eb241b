"""Segments: versions cut at the instants that matter; does the subscription count in each?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import (
    CTE,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)

from tidemill.ledger.endings import ending_timers, prolonged, without_refunded
from tidemill.ledger.rules import counts, is_cancelled, is_given_up, is_paused, rules
from tidemill.ledger.timers import Timer, boundaries, timer
from tidemill.ledger.versions import forever
from tidemill.vocabulary import Cause, ChurnReason, Standing

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Told", "segments"]

Told = Literal["spans", "causes", "standings"]
"""What is told of pieces: when each counts; why it begins and ends, too; why it counts, too."""

# What the later steps need of a piece; the rest of the state has been judged by then.
_CARRIED: Final = (
    "version_id",
    "subscription_id",
    "customer_id",
    "source_id",
    "currency",
    "seg_from",
)
_CAUSE: Final = ("cause", "event_position")
# What a piece says of its end, by where the next one says it of its beginning.
_OF_NEXT: Final = {
    "cause": "next_cause",
    "event_position": "next_position",
    "reason": "next_reason",
}


def segments(
    relations: Relations,
    policy: Policy,
    versions: CTE,
    discounts: CTE,
    more: list[Timer],
    told: Told = "causes",
) -> CTE:
    """The timeline of every subscription in pieces within which nothing changes.

    more: timers from outside the versions: usage invoices, renewals.
    told: the less, the sooner; only a timeline asks for standings.
    Shape: version_id, subscription_id, customer_id, source_id, currency; term_start, when the
           billing period began; seg_from, seg_to (half-open, UTC); counts: is it worth its value;
           present: may it keep its customer active at no value. With causes: cause, event_position
           and reason of the segment's beginning, next_cause, next_position and next_reason of its
           end. With standings: standing, why it counts or does not.
    """
    timers = _own_timers(versions, policy)
    timers += [
        timer(discounts, discounts.c.starts_at, Cause.DISCOUNT_STARTED),
        timer(discounts, discounts.c.ends_at, Cause.DISCOUNT_ENDED),
        *ending_timers(relations, policy, versions),
        *more,
    ]
    boundary = boundaries(timers)
    cut = _spans(versions, boundary) if told == "spans" else _cut(versions, boundary)
    judged = _judged(_with_past(cut, policy), policy, explained=told == "standings")
    judged = without_refunded(relations, policy, prolonged(relations, policy, judged))
    if told == "spans":
        return select(*_carried(judged, policy), judged.c.seg_to).cte("segment")
    return _with_ends(judged, policy)


def _own_timers(versions: CTE, policy: Policy) -> list[Timer]:
    """The instants at which rules change their verdict. Few versions have any: found at one go."""
    due = [at for rule in rules(versions, policy) for at, _ in rule.timers]
    has_any = or_(*(and_(at > versions.c.valid_from, at < versions.c.valid_to) for at in due))
    timed = select(versions).where(has_any).cte("timed_version")
    return [timer(timed, at, cause) for rule in rules(timed, policy) for at, cause in rule.timers]


def _spans(versions: CTE, boundary: FromClause) -> FromClause:
    """The pieces that `_cut` gives, with seg_to and without a cause.

    A piece that nothing cuts ends with its version: few have to be put in order.
    """
    until = func.lead(boundary.c.at).over(
        partition_by=boundary.c.version_id, order_by=boundary.c.at
    )
    edge = select(boundary.c.version_id, boundary.c.at, until.label("until")).cte("edge")
    first = select(edge.c.version_id, null(), func.min(edge.c.at)).group_by(edge.c.version_id)
    part = union_all(select(edge), first).subquery("part")
    return (
        select(
            versions,
            func.coalesce(part.c.at, versions.c.valid_from).label("seg_from"),
            func.coalesce(part.c.until, versions.c.valid_to).label("seg_to"),
        )
        .outerjoin(part, part.c.version_id == versions.c.version_id)
        .subquery("piece")
    )


def _cut(versions: CTE, boundary: FromClause) -> FromClause:
    """The versions, and once more from each boundary inside them on."""
    begun = select(
        versions,
        versions.c.valid_from.label("seg_from"),
        cast(literal(Cause.EVENT.value), Text).label("cause"),
        versions.c.version_id.label("event_position"),
    )
    cut = select(versions, boundary.c.at, boundary.c.cause, boundary.c.event_position).join(
        boundary, boundary.c.version_id == versions.c.version_id
    )
    return union_all(begun, cut).subquery("piece")


def _with_past(pieces: FromClause, policy: Policy) -> FromClause:
    """The pieces with been_live: was the subscription active or past due at any time before?

    Only a policy that lets paused subscriptions stay has to know.
    """
    if policy.paused == "churn":
        return select(pieces, false().label("been_live")).subquery("remembered")
    live = pieces.c.status.in_(("active", "past_due"))
    before = func.bool_or(live).over(
        partition_by=pieces.c.subscription_id, order_by=pieces.c.seg_from, rows=(None, -1)
    )
    return select(pieces, func.coalesce(before, false()).label("been_live")).subquery("remembered")


def _judged(pieces: FromClause, policy: Policy, *, explained: bool) -> FromClause:
    """The pieces with `countable`: what all rules say, a pause left aside.

    explained: with `objection` too, what the first rule says that does not hold.
    """
    held = [(rule.holds(pieces.c.seg_from), rule.otherwise) for rule in rules(pieces, policy)]
    judged = select(pieces, and_(*(holds for holds, _ in held)).label("countable"))
    if explained:
        objection = case(*((not_(holds), otherwise.value) for holds, otherwise in held))
        judged = judged.add_columns(cast(objection, Text).label("objection"))
    return judged.subquery("judged")


def _carried(judged: FromClause, policy: Policy) -> list[ColumnElement[Any]]:
    """What is told of every piece."""
    term_start = func.coalesce(judged.c.current_period_start, judged.c.valid_from)
    return [
        *(judged.c[name] for name in _CARRIED),
        term_start.label("term_start"),
        counts(judged, policy).label("counts"),
        _present(judged, policy).label("present"),
    ]


def _with_ends(judged: FromClause, policy: Policy) -> CTE:
    """Each piece with where it ends and why: the beginning of the subscription's next one."""
    why = [*(judged.c[name] for name in _CAUSE), _churn_reason(judged, policy).label("reason")]
    if "objection" in judged.c:
        why.append(_standing(judged, policy).label("standing"))
    # Judged here, once: a window would take all of a state along to judge it twice.
    piece = select(*_carried(judged, policy), *why).offset(0).subquery("judged_piece")

    def following(name: str) -> ColumnElement[Any]:
        return func.lead(piece.c[name]).over(
            partition_by=piece.c.subscription_id, order_by=piece.c.seg_from
        )

    return select(
        piece,
        func.coalesce(following("seg_from"), forever()).label("seg_to"),
        *(following(name).label(label) for name, label in _OF_NEXT.items()),
    ).cte("segment")


def _standing(judged: FromClause, policy: Policy) -> ColumnElement[str]:
    """Why a piece counts, or does not: the rules' objection, and what overruled them."""
    objected = judged.c.objection.is_not(None)
    by_status = and_(judged.c.objection == Standing.STATUS.value, judged.c.status == "paused")
    return case(
        (and_(judged.c.countable, objected), Standing.PAID_UP.value),
        (by_status, Standing.PAUSED.value),
        (objected, judged.c.objection),
        (not_(judged.c.countable), Standing.REFUNDED.value),
        (not_(counts(judged, policy)), Standing.PAUSED.value),
        else_=Standing.COUNTS.value,
    )


def _present(judged: FromClause, policy: Policy) -> ColumnElement[bool]:
    """May it keep its customer active at no value? `free_plans`, and `paused = contraction`."""
    kept: list[ColumnElement[bool]] = []
    if policy.free_plans != "never":
        kept.append(counts(judged, policy))
    if policy.paused == "contraction":
        kept.append(and_(judged.c.countable, is_paused(judged)))
    return or_(false(), *kept)


def _churn_reason(pieces: FromClause, policy: Policy) -> ColumnElement[str]:
    """Who ended it, should this piece begin a churn. Unknown is a class of its own.

    What counts has not ended: if it is worth nothing any more, that was its price.
    """
    # In this order, because most pieces count.
    return case(
        (counts(pieces, policy), ChurnReason.UNKNOWN.value),
        (is_given_up(pieces, policy), ChurnReason.INVOLUNTARY.value),
        (not_(is_cancelled(pieces, policy)), ChurnReason.UNKNOWN.value),
        (pieces.c.voluntary.is_(True), ChurnReason.VOLUNTARY.value),
        (pieces.c.voluntary.is_(False), ChurnReason.INVOLUNTARY.value),
        else_=ChurnReason.UNKNOWN.value,
    )
