"""Lago's subscriptions as versions: whole states, each with the instant it began.

A row of `subscriptions` is one plan period; rows of a customer with the same external_id are one
subscription. Plans are changed in place, so what a period cost before is read from its flat fees,
and only where the plan was edited while it ran: nothing else can have had another price.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    Interval,
    Numeric,
    Select,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.connectors.keys import instant, key, key_of_text
from tidemill.connectors.lago.fixed import boundaries
from tidemill.connectors.lago.flat_fees import price_steps
from tidemill.connectors.lago.tables import ACTIVE, INTERVALS, PENDING, TERMINATED
from tidemill.connectors.schema import Schema
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["own_customers", "periods", "plan_codes", "versions"]

# What makes versions of one row differ in their key.
_STARTED, _CONVERTED, _ENDED, _REPRICED, _RECOUNTED = 1, 2, 3, 4, 5
# What is told of a version. Versions are read several times, and kept meanwhile: the narrower the
# sooner.
_KEPT: Final = (
    *("row_id", "subscription_id", "customer_id", "customer_uuid", "created_at", "began_at"),
    *("paid_from", "cancel_at", "plan_id", "parent_id", "plan", "currency"),
    *("interval", "interval_count", "pay_in_advance"),
)
# A plan and its charges are saved one after the other: not yet an edit.
_MAKING: Final = 60


def own_customers(schema: Schema, organization: UUID) -> CTE:
    """The customers of one organization; partners are paid, they do not pay."""
    row = schema.table("customers")
    kind = cast(row.c.account_type, Text)
    return (
        select(row)
        .where(row.c.organization_id == organization, func.coalesce(kind, "") != "partner")
        .cte("lago_customer")
    )


def plan_codes(schema: Schema) -> FromClause:
    """Every plan with the code it is told under: that of the plan it overrides, or its own."""
    plan, parent = schema.table("plans"), schema.table("plans", "parent_plan")
    words = [(plan.c.interval == number, word) for number, (word, _) in INTERVALS.items()]
    counts = [(plan.c.interval == number, count) for number, (_, count) in INTERVALS.items()]
    made_at = plan.c.created_at + func.make_interval(0, 0, 0, 0, 0, 0, _MAKING)
    return (
        select(
            plan.c.id.label("plan_id"),
            plan.c.parent_id,
            plan.c.created_at.label("plan_made"),
            func.coalesce(parent.c.code, plan.c.code).label("plan"),
            plan.c.amount_cents,
            func.upper(plan.c.amount_currency).label("currency"),
            cast(case(*words), Text).label("interval"),
            cast(case(*counts), Integer).label("interval_count"),
            func.coalesce(plan.c.trial_period, 0).label("trial_days"),
            plan.c.pay_in_advance,
            case((plan.c.updated_at > made_at, plan.c.updated_at)).label("edited_at"),
        )
        .select_from(plan.outerjoin(parent, parent.c.id == plan.c.parent_id))
        .where(plan.c.amount_cents.is_not(None), plan.c.interval.in_(list(INTERVALS)))
        .subquery("lago_plan")
    )


def _dated(schema: Schema, customers: CTE) -> CTE:
    """Every row of subscriptions that began or will, with its plan."""
    row, plan = schema.table("subscriptions"), plan_codes(schema)
    began = case(
        (row.c.status == PENDING, row.c.subscription_at),
        else_=func.coalesce(row.c.activated_at, row.c.started_at),
    )
    # A pending downgrade begins at a period's end that Lago does not write down.
    is_dated = or_(
        row.c.status.in_((ACTIVE, TERMINATED)),
        and_(
            row.c.status == PENDING,
            row.c.previous_subscription_id.is_(None),
            row.c.subscription_at > row.c.created_at,
        ),
    )
    return (
        select(
            row.c.id.label("row_id"),
            row.c.customer_id,
            row.c.external_id,
            row.c.previous_subscription_id,
            row.c.created_at,
            began.label("began"),
            row.c.terminated_at,
            row.c.ending_at,
            row.c.trial_ended_at,
            plan,
        )
        .join(customers, customers.c.id == row.c.customer_id)
        .join(plan, plan.c.plan_id == row.c.plan_id)
        .where(is_dated, began.is_not(None))
        .cte("lago_dated")
    )


def periods(schema: Schema, customers: CTE) -> CTE:
    """Every plan period that began or will: row_id, its subscription, its span and its plan.

    Shape: began_at, ended_at (null while it runs; cut where the next period of the chain begins),
           is_over: it ended, and no other period takes over; paid_from, when its trial is over.
    Source: Lago keeps no status for trials; they count from the first start of the customer's
            external_id, on the flat fee alone.
    """
    dated = _dated(schema, customers)
    next_, first = _followers(dated), _first_starts(dated)
    ended = func.least(dated.c.terminated_at, next_.c.next_began)
    gone, follows = dated.c.terminated_at, next_.c.next_began
    # Its plan was edited while it ran, or it was pointed to an override of its plan.
    is_edited = dated.c.edited_at > dated.c.began
    is_repointed = and_(dated.c.parent_id.is_not(None), dated.c.plan_made > dated.c.began)
    kept = ("currency", "interval", "interval_count", "pay_in_advance", "plan", "amount_cents")
    return (
        select(
            dated.c.row_id,
            key_of_text(dated.c.customer_id, dated.c.external_id).label("subscription_id"),
            key(dated.c.customer_id).label("customer_id"),
            dated.c.customer_id.label("customer_uuid"),
            dated.c.external_id,
            instant(dated.c.created_at).label("created_at"),
            instant(dated.c.began).label("began_at"),
            instant(ended).label("ended_at"),
            instant(_paid_from(dated, first)).label("paid_from"),
            and_(gone.is_not(None), or_(follows.is_(None), gone < follows)).label("is_over"),
            case((ended.is_(None), instant(dated.c.ending_at))).label("cancel_at"),
            func.coalesce(or_(is_edited, is_repointed), false()).label("may_be_repriced"),
            dated.c.plan_id,
            dated.c.parent_id,
            *(dated.c[name] for name in kept),
        )
        .select_from(
            dated.outerjoin(next_, next_.c.previous_subscription_id == dated.c.row_id).outerjoin(
                first, first.c.row_id == dated.c.row_id
            )
        )
        .where(or_(ended.is_(None), ended > dated.c.began))
        .cte("lago_period")
    )


def _followers(dated: CTE) -> FromClause:
    """When the first period began that took a row's place."""
    follower = dated.alias("follower")
    return (
        select(follower.c.previous_subscription_id, func.min(follower.c.began).label("next_began"))
        .where(follower.c.previous_subscription_id.is_not(None))
        .group_by(follower.c.previous_subscription_id)
        .subquery("lago_next")
    )


def _first_starts(dated: CTE) -> FromClause:
    """When the chain began, of rows whose plan has a trial: nobody else has to know."""
    other = dated.alias("chained")
    same = and_(
        other.c.customer_id == dated.c.customer_id, other.c.external_id == dated.c.external_id
    )
    return (
        select(dated.c.row_id, func.min(other.c.began).label("first_began"))
        .select_from(dated.join(other, same))
        .where(dated.c.trial_days > 0)
        .group_by(dated.c.row_id)
        .subquery("lago_first_start")
    )


def _paid_from(dated: CTE, first: FromClause) -> ColumnElement[Any]:
    """When the flat fee is owed: with the start, or once the trial is over."""
    days = func.make_interval(0, 0, 0, 0, 0, 0, dated.c.trial_days * 86_400)
    over = func.coalesce(dated.c.trial_ended_at, first.c.first_began + cast(days, Interval))
    return case((dated.c.trial_days > 0, func.greatest(dated.c.began, over)), else_=dated.c.began)


def versions(schema: Schema, period: CTE, charge: CTE | None = None) -> CTE:
    """The whole state of a subscription from an instant on.

    charge: fixed charges, as `fixed_charges` gives them, where there can be any.
    Shape: version_id, row_uuid and row_table (the row behind it), what of `periods` is told of it,
           occurred_at, sequence, status, amount_minor.
    """
    step = price_steps(schema, period)
    first = (
        select(step.c.row_id, step.c.amount_minor)
        .ext(distinct_on(step.c.row_id))
        .order_by(step.c.row_id, step.c.at)
        .subquery("lago_first_price")
    )
    price = func.coalesce(first.c.amount_minor, cast(period.c.amount_cents, Numeric))
    priced = period.outerjoin(first, first.c.row_id == period.c.row_id)
    in_trial = period.c.paid_from > period.c.began_at
    begins = _version(
        period,
        _STARTED,
        period.c.began_at,
        case((in_trial, SubscriptionStatus.TRIALING.value), else_=SubscriptionStatus.ACTIVE.value),
        price,
    ).select_from(priced)
    converts = (
        _version(period, _CONVERTED, period.c.paid_from, _active(), price)
        .select_from(priced)
        .where(
            in_trial,
            or_(period.c.ended_at.is_(None), period.c.paid_from < period.c.ended_at),
        )
    )
    ends = _version(
        period,
        _ENDED,
        period.c.ended_at,
        literal(SubscriptionStatus.CANCELED.value, Text),
        cast(period.c.amount_cents, Numeric),
        sequence=0,
    ).where(period.c.is_over)
    reprices = (
        _version(period, _REPRICED, step.c.at, _active(), step.c.amount_minor, row=step.c.fee_id)
        .select_from(period.join(step, step.c.row_id == period.c.row_id))
        .where(
            step.c.is_change,
            step.c.at > func.greatest(period.c.began_at, period.c.paid_from),
            or_(period.c.ended_at.is_(None), step.c.at < period.c.ended_at),
        )
    )
    told = [begins, converts, ends, reprices]
    if charge is not None:
        told.append(_recounted(period, charge, step, first))
    return union_all(*told).cte("lago_version")


def _recounted(period: CTE, charge: CTE, step: CTE, first: FromClause) -> Select[Any]:
    """A version at each change of fixed charges, with the flat price of then."""
    edge = boundaries(charge, period)
    price = func.coalesce(
        step.c.amount_minor, first.c.amount_minor, cast(period.c.amount_cents, Numeric)
    )
    status = case(
        (edge.c.at < period.c.paid_from, SubscriptionStatus.TRIALING.value),
        else_=SubscriptionStatus.ACTIVE.value,
    )
    told = edge.c.told_by, edge.c.told_in
    by_then = and_(step.c.row_id == edge.c.row_id, step.c.at <= edge.c.at)
    dated = (
        _version(period, _RECOUNTED, edge.c.at, status, price, row=told[0], table=told[1])
        .add_columns(step.c.at.label("priced_at"))
        .select_from(
            edge.join(period, period.c.row_id == edge.c.row_id)
            .outerjoin(first, first.c.row_id == edge.c.row_id)
            .outerjoin(step, by_then)
        )
        .subquery("lago_recounted")
    )
    names = [each.name for each in dated.c if each.name != "priced_at"]
    newest = (
        select(dated)
        .ext(distinct_on(dated.c.row_id, dated.c.occurred_at))
        .order_by(dated.c.row_id, dated.c.occurred_at, dated.c.priced_at.desc().nulls_last())
        .subquery("lago_recounted_once")
    )
    return select(*(newest.c[name] for name in names))


def _active() -> ColumnElement[str]:
    return literal(SubscriptionStatus.ACTIVE.value, Text)


def _version(
    period: CTE,
    which: int,
    at: ColumnElement[Any],
    status: ColumnElement[Any],
    amount: ColumnElement[Any],
    **other: Any,
) -> Select[Any]:
    """One kind of version of each period; an end comes first within its instant."""
    of_other = other.get("row")
    row = period.c.row_id if of_other is None else of_other
    table = other.get("table", literal("subscriptions" if of_other is None else "fees", Text))
    # A charge says the same of many plan periods, and of one at its start and its end.
    is_shared = which == _RECOUNTED
    own = key_of_text(period.c.row_id, at) if is_shared else key(row, which)
    return select(
        own.label("version_id"),
        row.label("row_uuid"),
        table.label("row_table"),
        *(period.c[name] for name in _KEPT),
        at.label("occurred_at"),
        cast(literal(other.get("sequence", 1)), Integer).label("sequence"),
        cast(status, Text).label("status"),
        amount.label("amount_minor"),
    )
