"""Fixed charges: what a plan charges for seats and the like beside its flat fee, used or not.

How many are charged for is the latest that was said (`fixed_charge_events`) of those that have
begun by then; before any was, it is the subscription's own number, or the charge's.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Text,
    Uuid,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.connectors.amounts import minor_units
from tidemill.connectors.keys import instant
from tidemill.connectors.schema import Schema

__all__ = ["boundaries", "fixed_charges"]

_INSTANT: Final = DateTime(timezone=True)
# plans.interval of those whose fixed charges may be billed by the month all the same.
_LONG: Final = (2, 4)
# A plan, its charges, and what a subscription begins with are saved one after the other: what comes
# later was added or changed.
_MAKING_S: Final = 60


def fixed_charges(schema: Schema, period: CTE) -> CTE:
    """Every fixed charge of every plan period, in pieces of one number of units.

    Shape: row_id (the plan period's), charge_id, item, from_at, until_at (null: open), quantity,
           unit_amount (minor units, of an interval), interval, interval_count; told_by and told_in,
           the row that says so and its table.
    """
    said = _said(schema, period)
    order = (said.c.at, said.c.is_event, said.c.began, said.c.written)
    until = func.lead(said.c.at, type_=_INSTANT).over(
        partition_by=(said.c.row_id, said.c.charge_id), order_by=order
    )
    piece = select(
        said, func.least(until, said.c.ends_at, type_=_INSTANT).label("until_at")
    ).subquery("lago_units")
    is_standard = piece.c.charge_model == "standard"
    each = cast(piece.c.properties["amount"].astext, Numeric)
    amount = case((is_standard, each), else_=_tiered(piece))
    return (
        select(
            piece.c.row_id,
            piece.c.charge_id,
            piece.c.item,
            piece.c.at.label("from_at"),
            piece.c.until_at,
            case((is_standard, piece.c.units), else_=1).label("quantity"),
            minor_units(func.coalesce(amount, 0), piece.c.currency).label("unit_amount"),
            piece.c.interval,
            piece.c.interval_count,
            piece.c.told_by,
            piece.c.told_in,
        )
        .where(or_(piece.c.until_at.is_(None), piece.c.until_at > piece.c.at))
        .cte("lago_fixed_charge")
    )


def boundaries(charge: CTE, period: CTE) -> FromClause:
    """When within a plan period something about its fixed charges changes: row_id, at, told_*."""
    ends = select(
        charge.c.row_id,
        charge.c.until_at.label("at"),
        charge.c.charge_id.label("told_by"),
        literal("fixed_charges", Text).label("told_in"),
    ).where(charge.c.until_at.is_not(None))
    told = (charge.c.told_by, charge.c.told_in)
    begins = select(charge.c.row_id, charge.c.from_at.label("at"), *told)
    every = union_all(begins, ends).subquery("lago_charge_edge")
    return (
        select(every)
        .ext(distinct_on(every.c.row_id, every.c.at))
        .join(period, period.c.row_id == every.c.row_id)
        .where(
            every.c.at > period.c.began_at,
            every.c.at != period.c.paid_from,
            or_(period.c.ended_at.is_(None), every.c.at < period.c.ended_at),
        )
        .order_by(every.c.row_id, every.c.at, every.c.told_in, every.c.told_by)
        .subquery("lago_charge_boundary")
    )


def _making() -> ColumnElement[Any]:
    made: ColumnElement[Any] = func.make_interval(0, 0, 0, 0, 0, 0, _MAKING_S)
    return made


def _charged(schema: Schema, period: CTE) -> FromClause:
    """Each plan period with the fixed charges of its plan, and how many units without any event."""
    charge, plan = schema.table("fixed_charges"), schema.table("plans")
    own = schema.table("subscription_fixed_charge_units_overrides")
    made_at = plan.c.created_at + _making()
    added_at = case((charge.c.created_at > made_at, instant(charge.c.created_at)))
    by_month = and_(plan.c.bill_fixed_charges_monthly, plan.c.interval.in_(_LONG))
    lineage = func.coalesce(charge.c.parent_id, charge.c.id, type_=Uuid)
    is_own = and_(
        own.c.subscription_id == period.c.row_id,
        own.c.fixed_charge_id.in_((charge.c.id, charge.c.parent_id)),
        own.c.deleted_at.is_(None),
    )
    ends_at = instant(charge.c.deleted_at)
    return (
        select(
            period.c.row_id,
            period.c.currency,
            charge.c.id.label("charge_id"),
            charge.c.parent_id,
            func.concat("fixed ", func.coalesce(charge.c.code, cast(lineage, Text))).label("item"),
            cast(charge.c.charge_model, Text).label("charge_model"),
            charge.c.properties,
            func.coalesce(own.c.units, charge.c.units).label("units"),
            case((by_month, "month"), else_=period.c.interval).label("interval"),
            case((by_month, 1), else_=period.c.interval_count).label("interval_count"),
            func.greatest(period.c.began_at, added_at, type_=_INSTANT).label("starts_at"),
            func.least(period.c.ended_at, ends_at, type_=_INSTANT).label("ends_at"),
        )
        .join_from(period, charge, charge.c.plan_id == period.c.plan_id)
        .join(plan, plan.c.id == charge.c.plan_id)
        .outerjoin(own, is_own)
        .where(or_(ends_at.is_(None), ends_at > period.c.began_at))
        .cte("lago_charged")
    )


def _said(schema: Schema, period: CTE) -> FromClause:
    """How many units each charge is for, from when: once from its start, and by every event.

    Of two events the one written later counts, once it has begun.
    """
    charged = _charged(schema, period)
    event = schema.table("fixed_charge_events")
    began = instant(func.coalesce(event.c.timestamp, event.c.created_at))
    newest = func.max(event.c.created_at).over(
        partition_by=(charged.c.row_id, charged.c.charge_id),
        order_by=(began, event.c.created_at),
    )
    told = (
        select(
            charged,
            event.c.units.label("event_units"),
            event.c.id.label("event_id"),
            began.label("began"),
            event.c.created_at.label("written"),
            newest.label("newest"),
        )
        .join(
            event,
            and_(
                event.c.subscription_id == charged.c.row_id,
                event.c.fixed_charge_id.in_((charged.c.charge_id, charged.c.parent_id)),
            ),
        )
        .where(event.c.deleted_at.is_(None))
        .subquery("lago_units_event")
    )
    kept = ("row_id", "charge_id", "item", "currency", "charge_model", "properties")
    spans = ("interval", "interval_count", "ends_at")
    first = select(
        *(charged.c[name] for name in (*kept, *spans)),
        charged.c.units,
        charged.c.starts_at.label("at"),
        literal(0, Integer).label("is_event"),
        charged.c.starts_at.label("began"),
        cast(null(), DateTime).label("written"),
        charged.c.charge_id.label("told_by"),
        literal("fixed_charges", Text).label("told_in"),
    )
    later = select(
        *(told.c[name] for name in (*kept, *spans)),
        told.c.event_units,
        case((told.c.began <= told.c.starts_at + _making(), told.c.starts_at), else_=told.c.began),
        literal(1, Integer),
        told.c.began,
        told.c.written,
        told.c.event_id,
        literal("fixed_charge_events", Text),
    ).where(
        told.c.written == told.c.newest,
        or_(told.c.ends_at.is_(None), told.c.began < told.c.ends_at),
    )
    return union_all(first, later).subquery("lago_units_said")


def _tiered(piece: FromClause) -> ColumnElement[Any]:
    """What all units cost together: each in its range, or all in that of their number."""
    graduated = _ranges(piece, "graduated_ranges")
    rows = graduated.c
    reached = _is_reached(rows.from_value, piece.c.units)
    within = func.least(piece.c.units, func.coalesce(rows.to_value, piece.c.units))
    before = func.greatest(rows.from_value - 1, 0)
    each = rows.flat_amount + func.greatest(within - before, 0) * rows.per_unit_amount
    volume = _ranges(piece, "volume_ranges")
    of = volume.c
    holds = and_(
        _is_reached(of.from_value, piece.c.units),
        or_(of.to_value.is_(None), of.to_value >= piece.c.units),
    )
    whole = of.flat_amount + piece.c.units * of.per_unit_amount
    return case(
        (
            piece.c.charge_model == "graduated",
            select(func.sum(each)).where(reached).scalar_subquery(),
        ),
        (
            piece.c.charge_model == "volume",
            select(func.max(whole)).where(holds).scalar_subquery(),
        ),
    )


def _is_reached(from_value: ColumnElement[Any], units: ColumnElement[Any]) -> ColumnElement[bool]:
    """The first range is, even by no units; a fraction of a unit is of the range it begins."""
    return or_(from_value == 0, units > from_value - 1)


def _ranges(piece: FromClause, name: str) -> Any:
    """The ranges of a price; amounts are decimals as text."""
    told = func.jsonb_to_recordset(piece.c.properties[name]).table_valued(
        column("from_value", Numeric),
        column("to_value", Numeric),
        column("flat_amount", Numeric),
        column("per_unit_amount", Numeric),
        name=name,
    )
    return told.render_derived(with_types=True)
