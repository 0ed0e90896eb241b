"""What happens after a cancellation or a refund: knobs that look back at what was there before.

`churn_recognition = at_period_end` lets a cancelled subscription count until the date it is paid up
to; `annual_refund_churns` takes that back for annual plans that were refunded; `refunds` takes back
the service periods of invoices that were refunded in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, case, func, not_, or_, select, union_all

from tidemill.ledger.rules import counts
from tidemill.ledger.timers import Timer, dated_timer, timer, within
from tidemill.vocabulary import Cause

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import CTE, ColumnElement, FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["ending_timers", "prolonged", "without_refunded"]


def ending_timers(relations: Relations, policy: Policy, versions: CTE) -> list[Timer]:
    """Paid-up dates of what was cancelled and edges of what was refunded, where they matter."""
    timers = []
    if policy.churn_recognition == "at_period_end":
        paid_up = case((versions.c.status == "canceled", versions.c.current_period_end))
        timers.append(timer(versions, paid_up, Cause.PAID_UP_DATE))
    if policy.refunds == "as_if_unpaid":
        period = _refunded_periods(relations)
        edges = union_all(
            select(period.c.owner.label("subscription_id"), period.c.begins_at.label("at")),
            select(period.c.owner, period.c.ends_at),
        ).subquery("refunded_edge")
        timers.append(dated_timer(versions, select(edges), Cause.INVOICE_REFUNDED, "refunded"))
    return timers


def prolonged(relations: Relations, policy: Policy, pieces: FromClause) -> FromClause:
    """Pieces in which a cancelled subscription counts on, if it counted when it was cancelled.

    pieces: with `countable` as the rules see it, false for anything cancelled.
    A cancelled piece looks at the last piece before it that was not: is it the last that counted?
    """
    if policy.churn_recognition != "at_period_end":
        return pieces
    is_alive = pieces.c.status != "canceled"

    def latest(*conditions: ColumnElement[bool]) -> ColumnElement[datetime]:
        at = func.max(pieces.c.seg_from).filter(and_(*conditions))
        return at.over(partition_by=pieces.c.subscription_id, order_by=pieces.c.seg_from)

    judged = select(
        pieces,
        latest(is_alive).label("alive_at"),
        latest(is_alive, counts(pieces, policy)).label("counted_at"),
    ).subquery("cancelled_after")
    is_paid_up = and_(
        judged.c.status == "canceled",
        judged.c.counted_at.is_not(None),
        judged.c.counted_at == judged.c.alive_at,
        judged.c.seg_from < judged.c.current_period_end,
    )
    if policy.annual_refund_churns == "yes":
        is_annual = _is_annual(relations, judged)
        is_paid_up = and_(is_paid_up, not_(and_(judged.c.refunded_at_cancellation, is_annual)))
    return _replaced(judged, or_(judged.c.countable, is_paid_up), pieces)


def without_refunded(relations: Relations, policy: Policy, pieces: FromClause) -> FromClause:
    """`refunds = as_if_unpaid`: a fully refunded invoice takes its service period with it."""
    if policy.refunds == "ignore":
        return pieces
    judged = select(pieces).cte("unrefunded")
    begun = select(judged.c.subscription_id.label("owner"), judged.c.seg_from.label("at"))
    hit = within(begun, select(_refunded_periods(relations)), "unpaid")
    is_hit = and_(hit.c.owner == judged.c.subscription_id, hit.c.at == judged.c.seg_from)
    joined = judged.outerjoin(hit, is_hit)
    return _replaced(judged, and_(judged.c.countable, hit.c.owner.is_(None)), pieces, joined)


def _replaced(
    judged: FromClause,
    countable: ColumnElement[bool],
    pieces: FromClause,
    source: FromClause | None = None,
) -> FromClause:
    """The columns of `pieces`, taken from `judged`, with another verdict."""
    kept = [judged.c[column.name] for column in pieces.c if column.name != "countable"]
    query = select(*kept, countable.label("countable"))
    return query.select_from(judged if source is None else source).subquery()


def _is_annual(relations: Relations, pieces: FromClause) -> ColumnElement[bool]:
    """Is every item of a piece's version billed by the year? Asked of the few that matter only."""
    item = relations.version_items
    of_version = select(item.c.version_id).where(item.c.version_id == pieces.c.version_id)
    return and_(of_version.exists(), not_(of_version.where(item.c.interval != "year").exists()))


def _refunded_periods(relations: Relations) -> FromClause:
    """Service periods of fully refunded invoices: owner (subscription), begins_at, ends_at."""
    invoice = relations.invoices
    return (
        select(
            invoice.c.subscription_id.label("owner"),
            invoice.c.period_start.label("begins_at"),
            invoice.c.period_end.label("ends_at"),
        )
        .where(
            invoice.c.subscription_id.is_not(None),
            invoice.c.total > 0,
            invoice.c.refunded >= invoice.c.total,
            invoice.c.period_start < invoice.c.period_end,
        )
        .subquery("refunded_period")
    )
