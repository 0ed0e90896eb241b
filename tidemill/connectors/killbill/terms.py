"""What a subscription of Kill Bill's is and costs, from one instant to another.

A subscription is a list of dated events; what it costs is in the catalogue. An event's state holds
until the next event, and within it the price may change with the catalogue.
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
    Numeric,
    Select,
    Text,
    and_,
    case,
    cast,
    collate,
    distinct,
    exists,
    func,
    or_,
    select,
    true,
)

from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.accounts import minor_units
from tidemill.connectors.killbill.tables import CHOICES, ENDS, IGNORED
from tidemill.connectors.schema import Schema

__all__ = ["over", "terms", "unpriced", "within"]

_INSTANT: Final = DateTime(timezone=True)
# Digits of an event's place among its subscription's, and more than any quantity is.
_PLACE: Final = 10
_QUANTITIES: Final = 1 << 32


def _events(schema: Schema, subscription: CTE) -> CTE:
    """Active events in Kill Bill's order, each with its place among its subscription's."""
    row = schema.table("subscription_events")
    kind = case((row.c.event_type == "API_USER", row.c.user_type), else_=row.c.event_type)
    chosen = (
        select(
            subscription,
            kind.not_in(("CREATE", "TRANSFER")).label("comes_later"),
            row.c.record_id.label("event_id"),
            row.c.id.label("event_uuid"),
            kind.label("kind"),
            instant(row.c.effective_date).label("at"),
            instant(row.c.created_date).label("created_at"),
            case((kind.in_(CHOICES), row.c.plan_name)).label("plan_name"),
            row.c.phase_name,
            case((kind == "QUANTITY_UPDATE", row.c.quantity)).label("quantity"),
        )
        .join(row, row.c.subscription_id == subscription.c.subscription_uuid)
        .where(row.c.is_active.is_(true()), kind.not_in(IGNORED))
        .subquery("killbill_active_event")
    )
    order = (chosen.c.at, chosen.c.comes_later, chosen.c.event_id)

    # All of one window, although some look beyond it: each further one would be a pass of its own.
    def seen(function: Any) -> ColumnElement[Any]:
        return over(function, chosen.c.subscription_id, order)

    is_over = func.bool_or(chosen.c.kind.in_(ENDS), type_=Boolean)
    return select(
        chosen,
        seen(is_over).label("is_over"),
        seen(func.lead(chosen.c.at, type_=_INSTANT)).label("until_at"),
        seen(func.first_value(chosen.c.at, type_=_INSTANT)).label("started_at"),
        seen(func.row_number()).label("place"),
    ).cte("killbill_event")


def _states(event: CTE) -> FromClause:
    """What holds from an event on: its plan and when it was chosen, its phase, its quantity."""
    order = (event.c.at, event.c.comes_later, event.c.event_id)

    def carried(value: ColumnElement[Any]) -> ColumnElement[Any]:
        """The last of some values up to here: the greatest, as they only grow."""
        return over(func.max(value), event.c.subscription_id, order)

    chosen_at = case((event.c.plan_name.is_not(None), event.c.at))
    # With the place in front, e.g. 0000000012gold-monthly-evergreen, the last is the greatest.
    place = func.lpad(cast(event.c.place, Text), _PLACE, "0")
    phase = carried(collate(place + event.c.phase_name, "C"))
    quantity = carried(event.c.place * _QUANTITIES + event.c.quantity)
    kept = ("subscription_id", "customer_id", "currency", "event_id", "event_uuid", "at")
    state = select(
        *(event.c[name] for name in (*kept, "until_at", "started_at", "is_over", "created_at")),
        carried(chosen_at).label("chosen_at"),
        func.substring(phase, _PLACE + 1, type_=Text).label("phase_name"),
        func.coalesce(quantity % _QUANTITIES, 1).label("quantity"),
    ).subquery("killbill_carried")
    return (
        select(state)
        .where(or_(state.c.until_at.is_(None), state.c.until_at > state.c.at))
        .subquery("killbill_state")
    )


def _phase_type(phase_name: ColumnElement[Any]) -> ColumnElement[str]:
    """A phase is named after its plan and its type, whatever the plan is called."""
    return func.upper(func.substring(phase_name, "[^-]+$"), type_=Text)


def _phases(schema: Schema, tenant: int) -> CTE:
    """What the names of phases mean, each taken apart once: <plan>-<type>, as Kill Bill does.

    Shape: phase_name, plan (of the catalogue), override (the number of a plan made for one
           customer, or null), phase_type.
    """
    row = schema.table("subscription_events")
    plan = schema.table("catalog_override_plan_definition")
    told = (
        select(row.c.phase_name)
        .where(row.c.tenant_record_id == tenant, row.c.phase_name.is_not(None))
        .distinct()
        .subquery("killbill_phase_name")
    )
    named = func.regexp_replace(told.c.phase_name, "-[^-]+$", "", type_=Text)
    # <parent>-<number> or <parent>:<number>, a suffix after an exclamation mark may follow.
    number = cast(func.substring(named, "[-:]([0-9]{1,18})(?:![0-9]+)?$"), BigInteger)
    parent = func.regexp_replace(named, "[-:][0-9]+(![0-9]+)?$", "")
    is_override = and_(
        plan.c.tenant_record_id == tenant,
        plan.c.record_id == number,
        plan.c.parent_plan_name == parent,
    )
    return (
        select(
            told.c.phase_name,
            func.coalesce(plan.c.parent_plan_name, named, type_=Text).label("plan"),
            plan.c.record_id.label("override"),
            _phase_type(told.c.phase_name).label("phase_type"),
        )
        .select_from(told.outerjoin(plan, is_override))
        .cte("killbill_named_phase")
        # Else the names would be taken apart again for every event that they are joined to.
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def _override_prices(schema: Schema, tenant: int) -> FromClause:
    """What phases of plans made for one customer cost: override, phase_type, currency, price.

    The price is in minor units, null where it is the catalogue's.
    """
    of, phase = (
        schema.table("catalog_override_plan_phase"),
        schema.table("catalog_override_phase_definition"),
    )
    currency = func.upper(phase.c.currency, type_=Text)
    return (
        select(
            of.c.target_plan_def_record_id.label("override"),
            _phase_type(phase.c.parent_phase_name).label("phase_type"),
            currency.label("currency"),
            minor_units(func.max(phase.c.recurring_price), currency).label("price"),
        )
        .join(phase, phase.c.record_id == of.c.phase_def_record_id)
        .where(of.c.tenant_record_id == tenant)
        .group_by("override", "phase_type", currency)
        .subquery("killbill_override_price")
    )


def unpriced(
    schema: Schema, tenant: int, accounts: CTE, subscription: CTE, catalog: FromClause
) -> Select[Any]:
    """How many subscriptions ever were in a phase that the catalogue has no price for."""
    row, named = schema.table("subscription_events"), _phases(schema, tenant)
    paid_in = func.upper(accounts.c.currency, type_=Text).label("currency")
    currencies = select(paid_in).distinct().subquery("killbill_currency")
    currency = currencies.c.currency
    priced = exists().where(
        catalog.c.plan == named.c.plan,
        catalog.c.phase_type == named.c.phase_type,
        func.coalesce(catalog.c.currency, currency) == currency,
    )
    # Few or none, so the events are hardly looked at.
    missing = (
        select(named.c.phase_name, currency)
        .join_from(named, currencies, currency.is_not(None))
        .where(~priced)
        .cte("killbill_unpriced")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return (
        select(func.count(distinct(subscription.c.subscription_id)))
        .join_from(missing, row, row.c.phase_name == missing.c.phase_name)
        .join(
            subscription,
            and_(
                subscription.c.subscription_uuid == row.c.subscription_id,
                subscription.c.currency == missing.c.currency,
            ),
        )
        .where(row.c.is_active.is_(true()))
    )


def terms(schema: Schema, tenant: int, subscription: CTE, catalog: FromClause) -> CTE:
    """What a subscription is and costs from from_at until to_at (null: open).

    Shape: the keys, event_id, event_uuid, from_at, to_at, is_over, plan (of the catalogue),
           product, phase_type, quantity, unit_amount (minor units, of a period),
           interval, interval_count; span: which of the event's terms it is, from 1.
    """
    state = _states(_events(schema, subscription))
    phase, prices = _phases(schema, tenant), _override_prices(schema, tenant)
    since, until = catalog.c.valid_from, catalog.c.valid_until
    is_priced = and_(
        ~state.c.is_over,
        catalog.c.plan == phase.c.plan,
        catalog.c.phase_type == phase.c.phase_type,
        func.coalesce(catalog.c.currency, state.c.currency) == state.c.currency,
        within(state.c.chosen_at, catalog.c.chosen_from, catalog.c.chosen_until),
        or_(since.is_(None), state.c.until_at.is_(None), since < state.c.until_at),
        or_(until.is_(None), until > state.c.at),
    )
    own = and_(
        prices.c.override == phase.c.override,
        prices.c.phase_type == phase.c.phase_type,
        prices.c.currency == state.c.currency,
    )
    price = func.coalesce(prices.c.price, catalog.c.price, 0, type_=Numeric)
    kept = ("subscription_id", "customer_id", "currency", "event_id", "event_uuid", "started_at")
    return (
        select(
            *(state.c[name] for name in (*kept, "created_at", "is_over", "until_at", "quantity")),
            func.greatest(state.c.at, since, type_=_INSTANT).label("from_at"),
            func.least(state.c.until_at, until, type_=_INSTANT).label("to_at"),
            phase.c.plan,
            catalog.c.product,
            phase.c.phase_type,
            price.label("unit_amount"),
            func.coalesce(catalog.c.interval, "month").label("interval"),
            func.coalesce(catalog.c.interval_count, 1).label("interval_count"),
            func.coalesce(catalog.c.span, 1).label("span"),
        )
        .select_from(
            state.outerjoin(phase, phase.c.phase_name == state.c.phase_name)
            .outerjoin(prices, own)
            .outerjoin(catalog, is_priced)
        )
        .where(state.c.currency.is_not(None))
        .cte("killbill_terms")
    )


def within(
    at: ColumnElement[Any], since: ColumnElement[Any], until: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Whether it lies between bounds, of which null is none."""
    return and_(or_(since.is_(None), since <= at), or_(until.is_(None), until > at))


def over(function: Any, of: ColumnElement[Any], order: tuple[Any, ...]) -> ColumnElement[Any]:
    """Up to and with each row, also among those of one instant."""
    told: ColumnElement[Any] = function.over(partition_by=of, order_by=order, rows=(None, 0))
    return told
