"""What a subscription of Kill Bill's is and costs, from one instant to another.

A subscription is a list of dated events; what it costs is in the catalogue, or else it is told by
what was found in it or billed. An event's state holds until the next event, and within it the price
may change.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    Text,
    and_,
    case,
    func,
    or_,
    select,
    true,
)

from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.phases import override_prices, phases, unpriced
from tidemill.connectors.killbill.tables import CHOICES, ENDS, IGNORED
from tidemill.connectors.killbill.told import told_prices
from tidemill.connectors.schema import Schema

__all__ = ["over", "terms", "within"]

_INSTANT: Final = DateTime(timezone=True)
# More than any quantity is, and than there are names of phases.
_VALUES: Final = 1 << 32
# The first end of a subscription, since when it was known, and the row that says so.
_ASKED: Final = ("ends_at", "asked_at", "asked_uuid")


def _events(schema: Schema, subscription: CTE, phase: CTE) -> CTE:
    """Active events in Kill Bill's order, each with its place among its subscription's."""
    row = schema.table("subscription_events")
    word = case((row.c.event_type == "API_USER", row.c.user_type), else_=row.c.event_type)
    # Found out here, once: else it would be for every column that asks for it.
    active = (
        select(row, word.label("kind"))
        .where(row.c.is_active.is_(true()), word.not_in(IGNORED))
        .offset(0)
        .subquery("killbill_active_event")
    )
    kind, at = active.c.kind, instant(active.c.effective_date)
    is_choice = and_(kind.in_(CHOICES), active.c.plan_name.is_not(None))
    # What is asked of texts is answered here: they are dear to carry along.
    chosen = (
        select(
            *(subscription.c[name] for name in ("subscription_id", "customer_id", "currency")),
            kind.not_in(("CREATE", "TRANSFER")).label("comes_later"),
            active.c.record_id.label("event_id"),
            active.c.id.label("event_uuid"),
            (kind == "CANCEL").label("is_cancel"),
            kind.in_(ENDS).label("is_end"),
            at.label("at"),
            instant(active.c.created_date).label("created_at"),
            case((is_choice, at)).label("chosen_at"),
            phase.c.number.label("phase"),
            case((kind == "QUANTITY_UPDATE", active.c.quantity)).label("quantity"),
        )
        .join(active, active.c.subscription_id == subscription.c.subscription_uuid)
        .outerjoin(phase, phase.c.phase_name == active.c.phase_name)
        .subquery("killbill_chosen_event")
    )
    order = (chosen.c.at, chosen.c.comes_later, chosen.c.event_id)

    # All of one window, of the whole subscription: each further one would be a pass of its own.
    def seen(function: Any) -> ColumnElement[Any]:
        told: ColumnElement[Any] = function.over(
            partition_by=chosen.c.subscription_id, order_by=order, rows=(None, None)
        )
        return told

    def of_end(value: ColumnElement[Any]) -> ColumnElement[Any]:
        """Of the cancellations of its subscription, wherever they are."""
        return seen(func.min(case((chosen.c.is_cancel, value)), type_=value.type))

    return select(
        chosen,
        of_end(chosen.c.at).label("ends_at"),
        of_end(chosen.c.created_at).label("asked_at"),
        of_end(chosen.c.event_uuid).label("asked_uuid"),
        seen(func.lead(chosen.c.at, type_=_INSTANT)).label("until_at"),
        seen(func.first_value(chosen.c.at, type_=_INSTANT)).label("started_at"),
        seen(func.row_number()).label("place"),
    ).cte("killbill_event")


def _holding(
    since: ColumnElement[Any], until: ColumnElement[Any], at: datetime | None
) -> list[ColumnElement[bool]]:
    """Whether it holds right before an instant, or is later than it began at all."""
    if at is None:
        return []
    return [since < at, or_(until.is_(None), until >= at)]


def _states(event: CTE, held_at: datetime | None) -> FromClause:
    """What holds from an event on: its plan and when it was chosen, its phase, its quantity."""
    order = (event.c.at, event.c.comes_later, event.c.event_id)

    def carried(value: ColumnElement[Any]) -> ColumnElement[Any]:
        """The last of some values up to here: the greatest, as they only grow."""
        return over(func.max(value), event.c.subscription_id, order)

    def last(value: ColumnElement[Any]) -> ColumnElement[Any]:
        """The last of some numbers: with the place in front it is the greatest."""
        return carried(event.c.place * _VALUES + value) % _VALUES

    is_over = over(func.bool_or(event.c.is_end), event.c.subscription_id, order)
    kept = ("subscription_id", "customer_id", "currency", "event_id", "event_uuid", "at")
    state = select(
        *(event.c[name] for name in (*kept, "until_at", "started_at", "created_at", *_ASKED)),
        is_over.label("is_over"),
        carried(event.c.chosen_at).label("chosen_at"),
        last(event.c.phase).label("phase"),
        func.coalesce(last(event.c.quantity), 1).label("quantity"),
    ).subquery("killbill_carried")
    return (
        select(state)
        .where(
            or_(state.c.until_at.is_(None), state.c.until_at > state.c.at),
            *_holding(state.c.at, state.c.until_at, held_at),
        )
        .subquery("killbill_state")
    )


def _meet(state: FromClause, price: FromClause) -> ColumnElement[bool]:
    """Whether a price is of some of a state's time."""
    since, until = price.c.valid_from, price.c.valid_until
    return and_(
        ~state.c.is_over,
        or_(since.is_(None), state.c.until_at.is_(None), since < state.c.until_at),
        or_(until.is_(None), until > state.c.at),
    )


def terms(
    schema: Schema,
    tenant: int,
    subscription: CTE,
    catalog: FromClause,
    held_at: datetime | None = None,
) -> CTE:
    """What a subscription is and costs from from_at until to_at (null: open).

    held_at: only what holds right before this instant.
    Shape: the keys, event_id, event_uuid, from_at, to_at, is_over, plan (of the catalogue),
           product, phase_type, quantity, unit_amount (minor units, of a period),
           interval, interval_count; span: which of the event's terms it is, from 1; is_billed: its
           price is told by what was invoiced, and where it changed by that, item_uuid; ends_at, the
           first end of the subscription, asked_at, since when it was known, and the row that says
           so where that was meanwhile, asked_uuid.
    """
    phase, prices = phases(schema, tenant), override_prices(schema, tenant)
    state = _states(_events(schema, subscription, phase), held_at)
    told = told_prices(schema, tenant, subscription, unpriced(phase, subscription, catalog))
    is_priced = and_(
        catalog.c.plan == phase.c.plan,
        catalog.c.phase_type == phase.c.phase_type,
        func.coalesce(catalog.c.currency, state.c.currency) == state.c.currency,
        within(state.c.chosen_at, catalog.c.chosen_from, catalog.c.chosen_until),
        _meet(state, catalog),
    )
    is_told = and_(
        told.c.subscription_id == state.c.subscription_id,
        told.c.phase_name == phase.c.phase_name,
        _meet(state, told),
    )
    own = and_(
        prices.c.override == phase.c.override,
        prices.c.phase_type == phase.c.phase_type,
        prices.c.currency == state.c.currency,
    )
    # Of a plan made for one customer there is a price, but its period is that of the plan.
    interval = func.coalesce(catalog.c.interval, told.c.interval, type_=Text)
    price = func.coalesce(prices.c.price, catalog.c.price, told.c.price, type_=Numeric)
    from_at = _latest(state.c.at, catalog.c.valid_from, told.c.valid_from)
    to_at = _soonest(state.c.until_at, catalog.c.valid_until, told.c.valid_until)
    asked_at = state.c.asked_at
    is_asked = and_(~state.c.is_over, asked_at > from_at, or_(to_at.is_(None), asked_at < to_at))
    kept = ("subscription_id", "customer_id", "currency", "event_id", "event_uuid", "started_at")
    return (
        select(
            *(state.c[name] for name in (*kept, "created_at", "is_over", "until_at", "quantity")),
            *(state.c[name] for name in ("ends_at", "asked_at")),
            case((is_asked, state.c.asked_uuid)).label("asked_uuid"),
            from_at.label("from_at"),
            to_at.label("to_at"),
            phase.c.plan,
            func.coalesce(catalog.c.product, told.c.product, type_=Text).label("product"),
            phase.c.phase_type,
            case((interval.is_not(None), price), else_=0).label("unit_amount"),
            func.coalesce(interval, "month").label("interval"),
            func.coalesce(catalog.c.interval_count, told.c.interval_count, 1).label(
                "interval_count"
            ),
            func.coalesce(catalog.c.span, told.c.span, 1).label("span"),
            told.c.item_uuid.is_not(None).label("is_billed"),
            case((told.c.valid_from > state.c.at, told.c.item_uuid)).label("item_uuid"),
        )
        .select_from(
            state.outerjoin(phase, phase.c.number == state.c.phase)
            .outerjoin(prices, own)
            .outerjoin(catalog, is_priced)
            .outerjoin(told, is_told)
        )
        .where(state.c.currency.is_not(None), *_holding(from_at, to_at, held_at))
        .cte("killbill_terms")
    )


def _latest(*instants: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.greatest(*instants, type_=_INSTANT)


def _soonest(*instants: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.least(*instants, type_=_INSTANT)


def within(
    at: ColumnElement[Any], since: ColumnElement[Any], until: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Whether it lies between bounds, of which null is none."""
    return and_(or_(since.is_(None), since <= at), or_(until.is_(None), until > at))


def over(function: Any, of: ColumnElement[Any], order: tuple[Any, ...]) -> ColumnElement[Any]:
    """Up to and with each row, also among those of one instant."""
    told: ColumnElement[Any] = function.over(partition_by=of, order_by=order, rows=(None, 0))
    return told
