"""Lago's tables in the shapes that every metric derives from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Interval,
    Numeric,
    Text,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.connectors.database import Wanted
from tidemill.connectors.empty import nothing
from tidemill.connectors.keys import instant, key
from tidemill.connectors.lago.fixed import fixed_charges
from tidemill.connectors.lago.flat_fees import tax_rates
from tidemill.connectors.lago.history import own_customers, periods, versions
from tidemill.connectors.lago.money import invoices, payments, source_id, usage_lines
from tidemill.connectors.lago.tables import ONCE, RECURRING
from tidemill.connectors.schema import Schema
from tidemill.relations import Relations
from tidemill.vocabulary import Confidence, SubscriptionStatus

__all__ = ["lago_relations"]

_NAME = "lago"
_FLAT = "flat"


def lago_relations(
    schema: Schema,
    organization: UUID,
    wanted: Wanted,
) -> Relations:
    """The relations of one organization; with tax, it takes a look at every flat fee."""
    own = own_customers(schema, organization)
    mine = own
    if wanted.customers is not None:
        mine = select(own).where(key(own.c.id).in_(wanted.customers)).cte("lago_chosen")
    period = periods(schema, mine)
    told = period if wanted.held_at is None else _held(period, wanted.held_at)
    charge = fixed_charges(schema, told) if schema.has("fixed_charges") else None
    version = versions(schema, told, charge)
    rates = tax_rates(schema) if wanted.taxed else None
    return Relations(
        customers=_customers(own),
        identities=nothing("identities"),
        merges=False,
        sources=select(source_id(), literal(_NAME, Text).label("name")).subquery("sources"),
        plans=_plans(schema, organization),
        products=nothing("products"),
        subscriptions=_subscriptions(period),
        events=_events(version),
        subscription_versions=_subscription_versions(version),
        version_items=_version_items(version, rates, charge),
        discounts=_discounts(schema, period, version, rates),
        invoices=invoices(schema, mine, period),
        usage_lines=usage_lines(schema, period),
        payments=payments(schema, mine),
        expenses=nothing("expenses"),
        fx_rates=wanted.fx_rates,
        base_currency=wanted.base_currency,
    )


def _held(period: CTE, at: datetime) -> CTE:
    """The plan periods that hold right before an instant."""
    ends = period.c.ended_at
    holds = and_(period.c.began_at < at, or_(ends.is_(None), ends >= at))
    return select(period).where(holds).cte("lago_held_period")


def _customers(own: CTE) -> FromClause:
    person = func.nullif(func.concat_ws(" ", own.c.firstname, own.c.lastname), "")
    return select(
        key(own.c.id).label("customer_id"),
        source_id(),
        own.c.external_id,
        func.coalesce(func.nullif(own.c.name, ""), person).label("name"),
        own.c.email,
        func.upper(own.c.country).label("country"),
        instant(own.c.created_at).label("signed_up_at"),
    ).subquery("customers")


def _plans(schema: Schema, organization: UUID) -> FromClause:
    """What is sold by code; a code can be used again once its plan is deleted."""
    plan = schema.table("plans")
    return (
        select(
            source_id(), plan.c.code.label("plan"), plan.c.name, cast(null(), Text).label("product")
        )
        .ext(distinct_on(plan.c.code))
        .where(plan.c.organization_id == organization, plan.c.parent_id.is_(None))
        .order_by(plan.c.code, plan.c.deleted_at.desc().nulls_first(), plan.c.created_at.desc())
        .subquery("plans")
    )


def _subscriptions(period: CTE) -> FromClause:
    return (
        select(period.c.subscription_id, period.c.external_id).distinct().subquery("subscriptions")
    )


def _events(version: CTE) -> FromClause:
    """Behind every movement is a row of the billing system: its table and its id."""
    return select(
        version.c.version_id.label("position"),
        version.c.row_uuid.label("id"),
        (literal("lago.", Text) + version.c.row_table).label("type"),
        source_id(),
        version.c.occurred_at,
        version.c.created_at.label("recorded_at"),
    ).subquery("events")


def _subscription_versions(version: CTE) -> FromClause:
    confidence = case(
        (version.c.row_table == "fees", Confidence.RECONSTRUCTED.value),
        else_=Confidence.OBSERVED.value,
    )
    is_over = version.c.status == SubscriptionStatus.CANCELED.value
    return select(
        version.c.version_id,
        source_id(),
        version.c.subscription_id,
        version.c.customer_id,
        version.c.row_uuid.label("event_id"),
        version.c.occurred_at,
        version.c.sequence,
        # When Lago came to hold a change it does not keep; no question may ask for it.
        func.greatest(version.c.occurred_at, version.c.created_at).label("recorded_at"),
        version.c.status,
        version.c.currency,
        version.c.began_at.label("started_at"),
        case((version.c.paid_from > version.c.began_at, version.c.paid_from)).label("trial_end"),
        *(cast(null(), DateTime(timezone=True)).label(each) for each in _UNKNOWN_INSTANTS),
        cast(false(), Boolean).label("cancel_at_period_end"),
        case((~is_over, version.c.cancel_at)).label("cancel_at"),
        cast(false(), Boolean).label("refunded_at_cancellation"),
        cast(null(), Text).label("cancel_reason"),
        cast(null(), Text).label("cancel_feedback"),
        cast(null(), Boolean).label("voluntary"),
        cast(confidence, Text).label("confidence"),
    ).subquery("subscription_versions")


_UNKNOWN_INSTANTS = ("past_due_since", "paused_at", "current_period_start", "current_period_end")


def _tax(version: CTE, rates: FromClause | None) -> tuple[ColumnElement[Decimal], FromClause]:
    """The tax on a version's amounts as a fraction of them, and where that is told."""
    if rates is None:
        return cast(literal(0), Numeric), version
    joined = version.outerjoin(rates, rates.c.row_id == version.c.row_id)
    return func.coalesce(rates.c.tax_rate, 0, type_=Numeric), joined


def _version_items(version: CTE, rates: FromClause | None, charge: CTE | None) -> FromClause:
    """The flat fee, and each fixed charge in force; what has ended is worth nothing anyway."""
    rate, source = _tax(version, rates)
    tax = version.c.amount_minor * rate
    flat = select(
        version.c.version_id,
        cast(literal(0), Integer).label("ordinal"),
        literal(_FLAT, Text).label("item"),
        version.c.plan,
        cast(null(), Text).label("product"),
        cast(literal(1), Numeric).label("quantity"),
        (version.c.amount_minor + tax).label("unit_amount"),
        cast(tax, Numeric).label("tax_inclusive_amount"),
        version.c.interval,
        version.c.interval_count,
        literal("licensed", Text).label("usage_type"),
    ).select_from(source)
    if charge is None:
        return flat.subquery("version_items")
    in_force = and_(
        charge.c.row_id == version.c.row_id,
        charge.c.from_at <= version.c.occurred_at,
        or_(charge.c.until_at.is_(None), charge.c.until_at > version.c.occurred_at),
    )
    place = func.row_number().over(partition_by=version.c.version_id, order_by=charge.c.charge_id)
    fixed = select(
        version.c.version_id,
        cast(place, Integer),
        charge.c.item,
        version.c.plan,
        cast(null(), Text),
        cast(charge.c.quantity, Numeric),
        cast(charge.c.unit_amount * (1 + rate), Numeric),
        cast(charge.c.unit_amount * rate, Numeric),
        charge.c.interval,
        charge.c.interval_count,
        literal("licensed", Text),
    ).select_from(source.join(charge, in_force))
    return union_all(flat, fixed).subquery("version_items")


def _discounts(schema: Schema, period: CTE, version: CTE, rates: FromClause | None) -> FromClause:
    """Coupons of a customer on every version of its subscriptions that they take from.

    A percentage is taken off each subscription. A fixed amount is taken off an invoice, so it is
    put on one subscription: the customer's first in that currency. Both are taken off before tax.
    Lago's order: coupons limited to plans first, then by when they were applied.
    """
    given, coupon = schema.table("applied_coupons"), schema.table("coupons")
    target = schema.table("coupon_targets")
    aimed = exists().where(
        target.c.coupon_id == given.c.coupon_id,
        target.c.deleted_at.is_(None),
        target.c.plan_id.in_((version.c.plan_id, version.c.parent_id)),
    )
    place = func.row_number().over(
        partition_by=version.c.version_id,
        order_by=(coupon.c.limited_plans.desc(), given.c.created_at, given.c.id),
    )
    is_percent = given.c.percentage_rate.is_not(None)
    first = _first_subscriptions(period, given)
    rate, source = _tax(version, rates)
    off = given.c.amount_cents * (1 + rate)
    return (
        select(
            version.c.version_id,
            place.label("ordinal"),
            cast(null(), Text).label("item"),
            given.c.percentage_rate.label("percent_off"),
            case((~is_percent, cast(off, Numeric))).label("amount_off"),
            _duration(given).label("duration"),
            instant(given.c.created_at).label("starts_at"),
            _ends_at(given, version).label("ends_at"),
        )
        .select_from(source)
        .join(given, given.c.customer_id == version.c.customer_uuid)
        .join(coupon, coupon.c.id == given.c.coupon_id)
        .outerjoin(
            first,
            and_(
                first.c.customer_id == version.c.customer_id,
                first.c.currency == version.c.currency,
            ),
        )
        .where(
            version.c.status != SubscriptionStatus.CANCELED.value,
            func.coalesce(coupon.c.limited_billable_metrics, false()) == false(),
            or_(func.coalesce(coupon.c.limited_plans, false()) == false(), aimed),
            or_(
                is_percent,
                and_(
                    func.upper(given.c.amount_currency) == version.c.currency,
                    first.c.subscription_id == version.c.subscription_id,
                ),
            ),
        )
        .subquery("discounts")
    )


def _duration(given: FromClause) -> ColumnElement[str]:
    word = case(
        (given.c.frequency == ONCE, "once"),
        (given.c.frequency == RECURRING, "repeating"),
        else_="forever",
    )
    return cast(word, Text)


def _ends_at(given: FromClause, version: CTE) -> ColumnElement[Any]:
    """From when a coupon takes nothing more off; null while it does, and for a single invoice."""
    one_interval = case(
        (version.c.interval == "year", func.make_interval(version.c.interval_count)),
        (version.c.interval == "month", func.make_interval(0, version.c.interval_count)),
        else_=func.make_interval(0, 0, version.c.interval_count),
    )
    # Its last invoice ends a recurring coupon, and in advance that is when its last period begins.
    runs_on = and_(
        given.c.frequency == RECURRING,
        version.c.pay_in_advance,
        func.coalesce(given.c.frequency_duration_remaining, 0) == 0,
    )
    until = given.c.terminated_at + case((runs_on, cast(one_interval, Interval)))
    return case(
        (given.c.frequency == ONCE, null()),
        else_=instant(func.coalesce(until, given.c.terminated_at)),
    )


def _first_subscriptions(period: CTE, given: FromClause) -> FromClause:
    """The first subscription in each currency of the customers who have a fixed amount off."""
    fixed = select(given.c.customer_id).where(given.c.percentage_rate.is_(None))
    return (
        select(period.c.customer_id, period.c.currency, period.c.subscription_id)
        .ext(distinct_on(period.c.customer_id, period.c.currency))
        .where(period.c.customer_uuid.in_(fixed))
        .order_by(
            period.c.customer_id,
            period.c.currency,
            period.c.began_at,
            period.c.subscription_id,
        )
        .subquery("lago_first_subscription")
    )
