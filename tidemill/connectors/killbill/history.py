"""Kill Bill's subscriptions as versions: whole states, each with the instant it began.

Within the terms of an event billing may be paused, and an end may come to be planned: each of these
is a version of its own.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.terms import over, within
from tidemill.connectors.schema import Schema
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["versions"]

# Kill Bill ignores shorter pauses.
_DAY_S: Final = 86_400
# A key is an event's number and, below it, which version of that event's state it is: first come
# its terms, then what happens within them.
_VERSIONS_OF_AN_EVENT: Final = 1 << 20
_TERMS_OF_AN_EVENT: Final = 1 << 10
_INSTANT: Final = DateTime(timezone=True)
# What is told of a version. Versions are read several times, and kept meanwhile: the narrower the
# sooner.
_KEPT: Final = (
    *("subscription_id", "customer_id", "currency", "started_at", "created_at", "until_at"),
    *("plan", "product", "quantity", "unit_amount", "interval", "interval_count"),
    *("occurred_at", "row_table", "is_billed"),
)


def _pauses(schema: Schema, tenant: int, subscription: CTE) -> CTE:
    """When billing was off, under any of a subscription's ids and services.

    Shape: subscription_id, starts_at, ends_at (null: still), and the rows that say so.
    """
    row = schema.table("blocking_states")
    key, order = (row.c.blockable_id, row.c.service), (row.c.effective_date, row.c.record_id)
    before = func.lag(row.c.block_billing, type_=Boolean).over(partition_by=key, order_by=order)
    told = (
        select(row, func.coalesce(before, false()).label("was_off"))
        .where(row.c.tenant_record_id == tenant, row.c.is_active.is_(true()))
        .subquery("killbill_blocking")
    )
    of = (told.c.blockable_id, told.c.service)
    by = (told.c.effective_date, told.c.record_id)
    switch = (
        select(
            told.c.blockable_id,
            told.c.block_billing.label("is_off"),
            instant(told.c.effective_date).label("at"),
            told.c.id.label("row_uuid"),
            instant(func.lead(told.c.effective_date).over(partition_by=of, order_by=by)).label(
                "ends_at"
            ),
            func.lead(told.c.id, type_=Text).over(partition_by=of, order_by=by).label("end_uuid"),
        )
        .where(told.c.block_billing != told.c.was_off)
        .subquery("killbill_switch")
    )
    off = (
        select(switch)
        .where(
            switch.c.is_off,
            or_(
                switch.c.ends_at.is_(None),
                switch.c.ends_at >= switch.c.at + func.make_interval(0, 0, 0, 0, 0, 0, _DAY_S),
            ),
        )
        .cte("killbill_off")
    )
    names = ("subscription_uuid", "bundle_uuid", "account_uuid")
    each = union_all(
        *(
            select(
                subscription.c.subscription_id, off.c.at, off.c.ends_at, off.c.row_uuid,
                off.c.end_uuid,
            ).join(off, off.c.blockable_id == subscription.c[name])
            for name in names
        )
    ).cte("killbill_off_of")  # fmt: skip
    return _merged(each)


def _merged(each: CTE) -> CTE:
    """Pauses under several ids that overlap or touch are one."""
    edge = union_all(
        select(each.c.subscription_id, each.c.at, each.c.row_uuid, literal(1).label("step")),
        select(each.c.subscription_id, each.c.ends_at, each.c.end_uuid, literal(-1)).where(
            each.c.ends_at.is_not(None)
        ),
    ).subquery("killbill_edge")
    order = (edge.c.at, edge.c.step.desc(), edge.c.row_uuid)
    depth = over(func.sum(edge.c.step), edge.c.subscription_id, order)
    run = select(edge, depth.label("depth")).subquery("killbill_depth")
    turn = (
        select(run)
        .where(or_(run.c.depth == 0, and_(run.c.depth == 1, run.c.step == 1)))
        .subquery("killbill_turn")
    )
    of, by = turn.c.subscription_id, (turn.c.at, turn.c.step.desc())
    pause = select(
        turn.c.subscription_id,
        turn.c.depth,
        turn.c.at.label("starts_at"),
        turn.c.row_uuid.label("start_uuid"),
        func.lead(turn.c.at, type_=_INSTANT).over(partition_by=of, order_by=by).label("ends_at"),
        func.lead(turn.c.row_uuid, type_=Text).over(partition_by=of, order_by=by).label("end_uuid"),
    ).subquery("killbill_turns")
    return select(pause).where(pause.c.depth > 0).cte("killbill_pause")


def versions(schema: Schema, tenant: int, subscription: CTE, term: CTE) -> CTE:
    """The whole state of a subscription from an instant on.

    Shape: version_id, row_uuid and row_table (the row behind it), what of `terms` is told of it,
           occurred_at, status, paused_at, cancel_at.
    """
    pause = _pauses(schema, tenant, subscription)
    piece = _pieces(term, pause)
    status = case(
        (piece.c.is_over, SubscriptionStatus.CANCELED.value),
        (pause.c.starts_at.is_not(None), SubscriptionStatus.PAUSED.value),
        (piece.c.phase_type == "TRIAL", SubscriptionStatus.TRIALING.value),
        else_=SubscriptionStatus.ACTIVE.value,
    )
    in_pause = and_(
        pause.c.subscription_id == piece.c.subscription_id,
        within(piece.c.occurred_at, pause.c.starts_at, pause.c.ends_at),
    )
    in_notice = and_(
        ~piece.c.is_over,
        piece.c.asked_at <= piece.c.occurred_at,
        piece.c.ends_at > piece.c.occurred_at,
    )
    return (
        select(
            (piece.c.event_id * _VERSIONS_OF_AN_EVENT + piece.c.place).label("version_id"),
            *(piece.c[name] for name in _KEPT),
            # Half as long as its text, and turned into it once.
            cast(piece.c.row_uuid, Uuid).label("row_uuid"),
            cast(status, Text).label("status"),
            case((~piece.c.is_over, pause.c.starts_at)).label("paused_at"),
            case((in_notice, piece.c.ends_at)).label("cancel_at"),
        )
        .select_from(piece.outerjoin(pause, in_pause))
        .cte("killbill_version")
    )


def _pieces(term: CTE, pause: CTE) -> FromClause:
    """Where a version begins: with its terms, and within them with what happens to them.

    Shape: the columns of `terms`, occurred_at, row_uuid, row_table; place: which it is among the
           versions of its event.
    """

    def piece(at: ColumnElement[Any], row: ColumnElement[Any], of: Any) -> Select[Any]:
        told = (at.label("occurred_at"), row.label("row_uuid"), cast(of, Text).label("row_table"))
        return select(term, *told)

    switch = union_all(
        select(pause.c.subscription_id, pause.c.starts_at.label("at"), pause.c.start_uuid),
        select(pause.c.subscription_id, pause.c.ends_at, pause.c.end_uuid),
    ).subquery("killbill_pause_switch")
    is_inside = and_(
        switch.c.subscription_id == term.c.subscription_id,
        ~term.c.is_over,
        switch.c.at > term.c.from_at,
        or_(term.c.to_at.is_(None), switch.c.at < term.c.to_at),
    )
    inside = union_all(
        piece(switch.c.at, switch.c.start_uuid, literal("blocking_states")).join(switch, is_inside),
        piece(term.c.asked_at, term.c.asked_uuid, literal("subscription_events")).where(
            term.c.asked_uuid.is_not(None)
        ),
    ).subquery("killbill_inside")
    place = func.row_number().over(
        partition_by=inside.c.event_id, order_by=(inside.c.occurred_at, inside.c.row_uuid)
    )
    of_item = case((term.c.item_uuid.is_(None), "subscription_events"), else_="invoice_items")
    row = func.coalesce(term.c.item_uuid, term.c.event_uuid)
    return union_all(
        piece(term.c.from_at, row, of_item).add_columns(
            cast(term.c.span, BigInteger).label("place")
        ),
        select(inside, (place + _TERMS_OF_AN_EVENT).label("place")),
    ).subquery("killbill_piece")
