"""Lago's tables in the shapes that every metric derives from."""

from __future__ import annotations

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

from tidemill.connectors.empty import nothing
from tidemill.connectors.keys import instant, key
from tidemill.connectors.lago.history import own_customers, periods, versions
from tidemill.connectors.lago.tables import CHARGE_FEE, FINALIZED, ONCE, RECURRING, VOIDED
from tidemill.connectors.schema import Schema
from tidemill.relations import Relations
from tidemill.vocabulary import Confidence, SubscriptionStatus

__all__ = ["lago_relations"]

_NAME = "lago"
# The one source of this database.
_SOURCE = 1
_FLAT = "flat"


def lago_relations(
    schema: Schema,
    organization: UUID,
    *,
    base_currency: str,
    fx_rates: FromClause,
    customers: Any = None,
) -> Relations:
    """The relations of one organization.

    customers: restricts the history to these customer keys (one bigint column).
    """
    own = own_customers(schema, organization)
    mine = own
    if customers is not None:
        mine = select(own).where(key(own.c.id).in_(customers)).cte("lago_chosen")
    period = periods(schema, mine)
    version = versions(schema, period)
    return Relations(
        customers=_customers(own),
        identities=nothing("identities"),
        sources=select(_source(), literal(_NAME, Text).label("name")).subquery("sources"),
        plans=_plans(schema, organization),
        products=nothing("products"),
        subscriptions=_subscriptions(period),
        events=_events(version),
        subscription_versions=_subscription_versions(version),
        version_items=_version_items(version),
        discounts=_discounts(schema, version),
        invoices=_invoices(schema, mine, period),
        usage_lines=_usage_lines(schema, period),
        payments=_payments(schema, mine),
        expenses=nothing("expenses"),
        fx_rates=fx_rates,
        base_currency=base_currency,
    )


def _source() -> ColumnElement[int]:
    return cast(literal(_SOURCE), Integer).label("source_id")


def _customers(own: CTE) -> FromClause:
    person = func.nullif(func.concat_ws(" ", own.c.firstname, own.c.lastname), "")
    return select(
        key(own.c.id).label("customer_id"),
        _source(),
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
            _source(), plan.c.code.label("plan"), plan.c.name, cast(null(), Text).label("product")
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
        _source(),
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
        _source(),
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


def _version_items(version: CTE) -> FromClause:
    return select(
        version.c.version_id,
        cast(literal(0), Integer).label("ordinal"),
        literal(_FLAT, Text).label("item"),
        version.c.plan,
        cast(null(), Text).label("product"),
        cast(literal(1), Numeric).label("quantity"),
        version.c.amount_minor.label("unit_amount"),
        cast(literal(0), Numeric).label("tax_inclusive_amount"),
        version.c.interval,
        version.c.interval_count,
        literal("licensed", Text).label("usage_type"),
    ).subquery("version_items")


def _discounts(schema: Schema, version: CTE) -> FromClause:
    """Coupons of a customer on every version of its subscriptions that they take from.

    A percentage is taken off each subscription. A fixed amount is taken off an invoice, so it is
    put on one subscription: the customer's first in that currency.
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
    duration = case(
        (given.c.frequency == ONCE, "once"),
        (given.c.frequency == RECURRING, "repeating"),
        else_="forever",
    )
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
    first = _first_subscriptions(version)
    return (
        select(
            version.c.version_id,
            place.label("ordinal"),
            cast(null(), Text).label("item"),
            given.c.percentage_rate.label("percent_off"),
            case((~is_percent, cast(given.c.amount_cents, Numeric))).label("amount_off"),
            cast(duration, Text).label("duration"),
            instant(given.c.created_at).label("starts_at"),
            # A coupon that was used up takes nothing more off, whenever that was noted.
            case(
                (given.c.frequency == ONCE, null()),
                else_=instant(func.coalesce(until, given.c.terminated_at)),
            ).label("ends_at"),
        )
        .select_from(version)
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


def _first_subscriptions(version: CTE) -> FromClause:
    return (
        select(version.c.customer_id, version.c.currency, version.c.subscription_id)
        .ext(distinct_on(version.c.customer_id, version.c.currency))
        .order_by(
            version.c.customer_id,
            version.c.currency,
            version.c.began_at,
            version.c.subscription_id,
        )
        .subquery("lago_first_subscription")
    )


def _tried(schema: Schema) -> FromClause:
    """Payments that succeeded or failed, with the invoice each is for."""
    row = schema.table("payments")
    state = func.coalesce(cast(row.c.payable_payment_status, Text), row.c.status)
    is_of_invoice = func.coalesce(row.c.payable_type, "Invoice") == "Invoice"
    return (
        select(
            row.c.id,
            case((is_of_invoice, func.coalesce(row.c.payable_id, row.c.invoice_id))).label(
                "invoice_id"
            ),
            row.c.amount_cents,
            row.c.amount_currency,
            row.c.created_at,
            cast(state, Text).label("state"),
        )
        .where(state.in_(("succeeded", "failed")))
        .subquery("lago_payment")
    )


def _paid(schema: Schema) -> FromClause:
    tried = _tried(schema)
    return select(tried).where(tried.c.state == "succeeded").subquery("lago_paid")


def _refunded(schema: Schema) -> FromClause:
    note = schema.table("credit_notes")
    return (
        select(note)
        .where(note.c.status == FINALIZED, note.c.refund_status == 1)
        .subquery("lago_refunded")
    )


def _invoices(schema: Schema, customers: CTE, period: CTE) -> FromClause:
    """Every invoice; one that is for several subscriptions stands once for each."""
    row, of = schema.table("invoices"), schema.table("invoice_subscriptions")
    paid, note = _paid(schema), _refunded(schema)
    money = (
        select(
            paid.c.invoice_id,
            func.min(paid.c.created_at).label("first_at"),
            func.max(paid.c.created_at).label("last_at"),
            func.sum(paid.c.amount_cents).label("paid"),
        )
        .group_by(paid.c.invoice_id)
        .subquery("lago_invoice_money")
    )
    back = (
        select(note.c.invoice_id, func.sum(note.c.refund_amount_cents).label("refunded"))
        .group_by(note.c.invoice_id)
        .subquery("lago_invoice_refund")
    )
    is_paid = func.coalesce(money.c.paid, 0) >= row.c.total_amount_cents
    status = case(
        (row.c.status == VOIDED, "void"),
        (row.c.status != FINALIZED, "draft"),
        (is_paid, "paid"),
        else_="open",
    )
    return (
        select(
            key(row.c.id).label("invoice_id"),
            _source(),
            cast(row.c.id, Text).label("invoice"),
            key(row.c.customer_id).label("customer_id"),
            period.c.subscription_id,
            cast(status, Text).label("status"),
            func.upper(row.c.currency).label("currency"),
            cast(row.c.total_amount_cents, Numeric).label("total"),
            cast(func.coalesce(money.c.paid, 0), Numeric).label("amount_paid"),
            instant(row.c.created_at).label("issued_at"),
            case((is_paid, instant(func.coalesce(money.c.last_at, row.c.created_at)))).label(
                "paid_at"
            ),
            instant(of.c.from_datetime).label("period_start"),
            instant(of.c.to_datetime).label("period_end"),
            instant(money.c.first_at).label("first_payment_at"),
            cast(func.coalesce(back.c.refunded, 0), Numeric).label("refunded"),
        )
        .select_from(
            row.join(customers, customers.c.id == row.c.customer_id)
            .outerjoin(of, of.c.invoice_id == row.c.id)
            .outerjoin(period, period.c.row_id == of.c.subscription_id)
            .outerjoin(money, money.c.invoice_id == row.c.id)
            .outerjoin(back, back.c.invoice_id == row.c.id)
        )
        .where(func.coalesce(row.c.self_billed, false()) == false())
        .subquery("invoices")
    )


def _usage_lines(schema: Schema, period: CTE) -> FromClause:
    """Usage as it was charged, after coupons and what earlier invoices had of it already."""
    fee, invoice = schema.table("fees"), schema.table("invoices")
    amount = fee.c.amount_cents - func.coalesce(fee.c.precise_coupons_amount_cents, 0)

    def said(name: str) -> ColumnElement[Any]:
        text = func.replace(func.left(fee.c.properties[name].astext, 23), "Z", "")
        return instant(cast(text, DateTime))

    return (
        select(
            func.coalesce(key(invoice.c.id), key(fee.c.id)).label("invoice_id"),
            _source(),
            cast(func.coalesce(invoice.c.id, fee.c.id), Text).label("invoice"),
            period.c.customer_id,
            period.c.subscription_id,
            cast(fee.c.charge_id, Text).label("item"),
            period.c.plan,
            func.upper(fee.c.amount_currency).label("currency"),
            cast(amount, Numeric).label("amount"),
            instant(func.coalesce(invoice.c.created_at, fee.c.created_at)).label("issued_at"),
            said("charges_from_datetime").label("period_start"),
            said("charges_to_datetime").label("period_end"),
        )
        .select_from(
            fee.join(period, period.c.row_id == fee.c.subscription_id).outerjoin(
                invoice, invoice.c.id == fee.c.invoice_id
            )
        )
        .where(
            fee.c.fee_type == CHARGE_FEE,
            fee.c.deleted_at.is_(None),
            or_(fee.c.invoice_id.is_(None), invoice.c.status == FINALIZED),
        )
        .subquery("usage_lines")
    )


def _payments(schema: Schema, customers: CTE) -> FromClause:
    """Payments that arrived or failed, and refunds of credit notes."""
    tried, note, invoice = _tried(schema), _refunded(schema), schema.table("invoices")
    unknown: list[Any] = [
        cast(null(), kind).label(name) for name, kind in _UNKNOWN_OF_PAYMENTS.items()
    ]
    moved = (
        select(
            key(tried.c.id).label("payment_id"),
            _source(),
            cast(tried.c.id, Text).label("payment"),
            cast(tried.c.invoice_id, Text).label("invoice"),
            key(customers.c.id).label("customer_id"),
            tried.c.state.label("kind"),
            cast(tried.c.amount_cents, Numeric).label("amount"),
            func.upper(tried.c.amount_currency).label("currency"),
            instant(tried.c.created_at).label("paid_at"),
            *unknown,
        )
        .join(invoice, invoice.c.id == tried.c.invoice_id)
        .join(customers, customers.c.id == invoice.c.customer_id)
        .where(func.coalesce(invoice.c.self_billed, false()) == false())
    )
    given_back = select(
        key(note.c.id, 1),
        _source(),
        cast(note.c.id, Text),
        cast(note.c.invoice_id, Text),
        key(customers.c.id),
        literal("refunded", Text),
        cast(note.c.refund_amount_cents, Numeric),
        func.upper(note.c.total_amount_currency),
        instant(func.coalesce(note.c.refunded_at, note.c.created_at)),
        *unknown,
    ).join(customers, customers.c.id == note.c.customer_id)
    return union_all(moved, given_back).subquery("payments")


_UNKNOWN_OF_PAYMENTS = {
    "reference": Text,
    "fee": Numeric,
    "method": Text,
    "failure_reason": Text,
}
