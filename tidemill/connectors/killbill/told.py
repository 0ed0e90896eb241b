"""What plans cost of which no catalogue in the database tells.

A catalogue that comes from a plugin or a file is not in the database. Its prices are told by the
transitions of the analytics plugin where that is installed, else by what was invoiced: the rate of
a recurring item is the price of a whole period, whatever of it was charged. Events say all the
rest: who had which plan, how many, and when; so both give the MRR that the catalogue would.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Select,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from tidemill.connectors.amounts import minor_units
from tidemill.connectors.keys import instant
from tidemill.connectors.killbill.catalog import NO_PERIOD, PERIODS
from tidemill.connectors.rows import relation_of
from tidemill.connectors.schema import Schema

__all__ = ["TRANSITIONS", "told_prices"]

TRANSITIONS: Final = "analytics_subscription_transitions"
"""The analytics plugin's states of subscriptions, where it is installed."""
# One chain of a subscription's transitions of several: what it is billed for.
_BILLING: Final = "billing-service"
_INSTANT: Final = DateTime(timezone=True)
_HOUR: Final = 3_600
# Dates are days where the customer is: one begins up to so long before it does in UTC, or after.
_AHEAD_H: Final = 14
_BEHIND_H: Final = 12
_DAY_H: Final = 24
# How many days a period has at most, on average, and what it is: the word and how many of it.
_SHORT: Final = ((4, "day", 1), (10.5, "week", 1), (21, "week", 2))
_DAYS_OF_A_MONTH: Final = 30.4375
_MONTHS_OF_A_YEAR: Final = 12


def told_prices(
    schema: Schema, tenant: int, subscription: FromClause, missing: FromClause
) -> FromClause:
    """What subscriptions pay in phases that the catalogue has no price for.

    missing: these phases, as `unpriced` gives them.
    Shape:   subscription_id, phase_name, product, price (minor units, of a period), interval,
             interval_count; it holds valid_from ≤ time < valid_until, where null is no bound; span:
             which of the phase's prices it is, from 1; item_uuid: the invoice's item that says so,
             null where the analytics plugin does.
    """
    of_items = _steps(_of_items(schema, tenant, subscription, missing))
    if not schema.has(TRANSITIONS):
        return of_items.subquery("killbill_told")
    transition = _steps(_of_transitions(schema, tenant, subscription, missing)).cte(
        "killbill_told_by_analytics"
    )
    item = of_items.subquery("killbill_told_by_items")
    known = exists().where(
        transition.c.subscription_id == item.c.subscription_id,
        transition.c.phase_name == item.c.phase_name,
    )
    return union_all(select(transition), select(item).where(~known)).subquery("killbill_told")


def _steps(told: FromClause) -> Select[Any]:
    """Prices as they changed, of one that is told again and again."""
    of, by = (told.c.subscription_id, told.c.phase_name), (told.c.from_at, told.c.row_no)
    names = ("price", "interval", "interval_count")
    before = {
        name: func.lag(told.c[name]).over(partition_by=of, order_by=by).label(f"{name}_before")
        for name in names
    }
    seen = select(told, *before.values()).subquery("killbill_told_again")
    changes = or_(*(seen.c[name].is_distinct_from(seen.c[f"{name}_before"]) for name in names))
    step = select(seen).where(changes).subquery("killbill_told_step")
    window: dict[str, Any] = {
        "partition_by": (step.c.subscription_id, step.c.phase_name),
        "order_by": (step.c.from_at, step.c.row_no),
    }
    number = func.row_number().over(**window)
    return select(
        step.c.subscription_id,
        step.c.phase_name,
        step.c.product,
        *(step.c[name] for name in names),
        case((number > 1, step.c.from_at)).label("valid_from"),
        func.lead(step.c.from_at, type_=_INSTANT).over(**window).label("valid_until"),
        cast(number, Integer).label("span"),
        step.c.item_uuid,
    )


def _hours(count: int) -> ColumnElement[Any]:
    made: ColumnElement[Any] = func.make_interval(0, 0, 0, 0, 0, 0, count * _HOUR)
    return made


def _day(of: ColumnElement[Any]) -> ColumnElement[Any]:
    return instant(cast(of, DateTime))


def _asked(
    row: FromClause,
    phase_name: ColumnElement[Any],
    currency: ColumnElement[Any],
    missing: FromClause,
    subscription: FromClause,
) -> FromClause:
    """The rows that are about phases which lack a price, with the subscriptions in them."""
    is_missing = and_(missing.c.phase_name == phase_name, missing.c.currency == currency)
    is_its = and_(
        subscription.c.subscription_uuid == row.c.subscription_id,
        subscription.c.currency == currency,
    )
    return row.join(missing, is_missing).join(subscription, is_its)


def _of_transitions(
    schema: Schema, tenant: int, subscription: FromClause, missing: FromClause
) -> FromClause:
    """Prices as the analytics plugin found them in the catalogue when a state began.

    Its own MRR is not used: of most periods it is none, and it knows no quantity.
    """
    row = schema.table(TRANSITIONS)
    named = [(name, *period) for name, period in PERIODS.items()]
    period = relation_of(
        "killbill_period", {"name": Text, "interval": Text, "interval_count": Integer}, named
    )
    currency = func.upper(row.c.next_currency, type_=Text)
    nothing_recurs = func.coalesce(row.c.next_billing_period, NO_PERIOD) == NO_PERIOD
    return (
        select(
            subscription.c.subscription_id,
            row.c.next_slug.label("phase_name"),
            row.c.next_product_name.label("product"),
            case(
                (nothing_recurs, cast(literal(0), Numeric)),
                else_=minor_units(row.c.next_price, currency),
            ).label("price"),
            func.coalesce(period.c.interval, "month").label("interval"),
            func.coalesce(period.c.interval_count, 1).label("interval_count"),
            # Early rather than late: it was another phase until shortly before.
            (_day(row.c.next_start_date) - _hours(_DAY_H)).label("from_at"),
            row.c.record_id.label("row_no"),
            cast(null(), Text).label("item_uuid"),
        )
        .select_from(
            _asked(row, row.c.next_slug, currency, missing, subscription).outerjoin(
                period, period.c.name == row.c.next_billing_period
            )
        )
        .where(
            row.c.tenant_record_id == tenant,
            row.c.next_service == _BILLING,
            row.c.next_start_date.is_not(None),
            or_(
                nothing_recurs,
                and_(period.c.name.is_not(None), row.c.next_price.is_not(None)),
            ),
        )
        .subquery("killbill_transition")
    )


def _billed(
    schema: Schema, tenant: int, subscription: FromClause, missing: FromClause
) -> FromClause:
    """Recurring items of invoices, each with the latest instant that it can be for the state of.

    What was taken back of an item later (REPAIR_ADJ) makes no difference to its rate: what it was
    replaced by is an item of its own, with a higher number.
    """
    row, invoice = schema.table("invoice_items"), schema.table("invoices")
    currency = func.upper(row.c.currency, type_=Text)
    begins, made = _day(row.c.start_date), instant(row.c.created_date)
    within_it = begins + _hours(_DAY_H + _BEHIND_H)
    return (
        select(
            subscription.c.subscription_id,
            subscription.c.subscription_uuid,
            subscription.c.currency,
            row.c.phase_name,
            row.c.product_name.label("product"),
            row.c.record_id.label("row_no"),
            row.c.id.label("item_uuid"),
            row.c.rate,
            row.c.amount,
            (row.c.end_date - row.c.start_date).label("days"),
            begins.label("begins_at"),
            # One that was made beforehand is for what was to come.
            case((made < begins, within_it), else_=func.least(made, within_it)).label("latest_at"),
        )
        .select_from(
            _asked(row, row.c.phase_name, currency, missing, subscription).join(
                invoice, invoice.c.id == row.c.invoice_id
            )
        )
        .where(
            row.c.tenant_record_id == tenant,
            row.c.type == "RECURRING",
            row.c.rate.is_not(None),
            row.c.end_date > row.c.start_date,
            invoice.c.status == "COMMITTED",
        )
        .subquery("killbill_billed")
    )


def _of_items(
    schema: Schema, tenant: int, subscription: FromClause, missing: FromClause
) -> FromClause:
    """Prices as they were billed: the rate is that of all pieces, for a whole period."""
    billed, event = (
        _billed(schema, tenant, subscription, missing),
        schema.table("subscription_events"),
    )
    at = instant(event.c.effective_date)
    order: Any = (at.desc(), event.c.record_id.desc())
    is_quantity = event.c.event_type == "QUANTITY_UPDATE"
    pieces = func.array_agg(aggregate_order_by(event.c.quantity, *order)).filter(is_quantity)
    # The state that it is for began on its first day, whenever in it: the price does, too.
    began = func.max(at).filter(at > billed.c.begins_at - _hours(_AHEAD_H))
    own = and_(
        event.c.subscription_id == billed.c.subscription_uuid,
        event.c.is_active.is_(true()),
        at <= billed.c.latest_at,
    )
    counted = (
        select(
            *billed.c,
            func.coalesce(pieces[1], 1).label("quantity"),
            func.coalesce(began, billed.c.begins_at).label("from_at"),
        )
        .join_from(billed, event, own, isouter=True)
        .group_by(*billed.c)
        .subquery("killbill_counted")
    )
    days = _days_of_period(counted)
    priced = (
        select(counted, days.label("period_days"))
        .where(counted.c.quantity != 0)
        .subquery("killbill_priced")
    )
    word, count = _period_of(priced.c.period_days)
    return (
        select(
            *(priced.c[name] for name in ("subscription_id", "phase_name", "product")),
            minor_units(priced.c.rate / priced.c.quantity, priced.c.currency).label("price"),
            word.label("interval"),
            count.label("interval_count"),
            *(priced.c[name] for name in ("from_at", "row_no", "item_uuid")),
        )
        .where(priced.c.period_days.is_not(None))
        .subquery("killbill_item")
    )


def _days_of_period(counted: FromClause) -> ColumnElement[Any]:
    """How many days a period has, by items for a whole one; else by shares of one."""
    of = (counted.c.subscription_id, counted.c.phase_name)
    share = counted.c.amount / func.nullif(counted.c.rate, 0)
    whole = func.avg(counted.c.days).filter(counted.c.amount == counted.c.rate)
    by_share = func.avg(counted.c.days / func.nullif(share, 0))
    return func.coalesce(whole.over(partition_by=of), by_share.over(partition_by=of))


def _period_of(days: ColumnElement[Any]) -> tuple[ColumnElement[str], ColumnElement[int]]:
    """The interval with so many days on average, and how many of it; 30 days are a month."""
    months = func.greatest(1, func.round(cast(days / _DAYS_OF_A_MONTH, Numeric)))
    in_years = months % _MONTHS_OF_A_YEAR == 0
    words = [(days < most, literal(word, Text)) for most, word, _ in _SHORT]
    counts = [(days < most, literal(count, Integer)) for most, _, count in _SHORT]
    word = case(*words, (in_years, literal("year", Text)), else_=literal("month", Text))
    years = cast(months / _MONTHS_OF_A_YEAR, Integer)
    count = case(*counts, (in_years, years), else_=cast(months, Integer))
    return cast(word, Text), cast(count, Integer)
