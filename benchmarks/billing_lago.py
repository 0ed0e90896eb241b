"""Lago's tables, filled as Lago would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    FromClause,
    MetaData,
    Numeric,
    Select,
    Table,
    Uuid,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
    update,
)

from benchmarks.billing import (
    EDITED,
    PLANS,
    TRIAL,
    YEARLY,
    Book,
    analyze,
    bills,
    days,
    each,
    fill,
    id_of,
    lives,
    numbers,
    price_of,
)
from tests.support.lago import create_lago
from tidemill.database import Database

__all__ = ["write_lago"]


def write_lago(database: Database, book: Book) -> None:
    """Fill an empty database as Lago would have, and let the planner know."""
    lago = create_lago(database)
    lago.save()
    coupon = lago.add("coupons", limited_plans=False, limited_billable_metrics=False)
    lago.save()
    with database.begin() as connection:
        own = literal(lago.organization, Uuid).label("organization_id")
        for name, rows in _tables(book, coupon).items():
            fill(connection, name, rows.add_columns(own))
        plan = Table("plans", MetaData(), autoload_with=connection)
        edited = plan.c.created_at + func.make_interval(1)
        connection.execute(
            update(plan).where(plan.c.code == f"plan-{EDITED}").values(updated_at=edited)
        )
    analyze(database)


def _tables(book: Book, coupon: Any) -> Mapping[str, Select[Any]]:
    life = lives(book)
    bill = bills(book, life)
    number = numbers(0, PLANS - 1, "plan_no")
    customer = life.c.customer == life.c.n
    of_invoice = id_of("invoice", bill.c.n, bill.c.month).label("invoice_id")
    return {
        "plans": select(
            id_of("plan", number.c.n).label("id"),
            func.concat("plan-", number.c.n).label("code"),
            func.concat("Plan ", number.c.n).label("name"),
            case((number.c.n.in_(YEARLY), 2), else_=1).label("interval"),
            price_of(number.c.n).label("amount_cents"),
            literal("EUR").label("amount_currency"),
            case((number.c.n == TRIAL, 14.0), else_=0.0).label("trial_period"),
            literal(True).label("pay_in_advance"),
        ),
        "customers": select(
            id_of("customer", life.c.n).label("id"),
            func.concat("customer-", life.c.n).label("external_id"),
            func.concat("Customer ", life.c.n).label("name"),
            life.c.began.label("created_at"),
        ).where(customer),
        "subscriptions": _rows(life),
        "applied_coupons": select(
            id_of("applied", life.c.n).label("id"),
            literal(coupon, Uuid).label("coupon_id"),
            id_of("customer", life.c.n).label("customer_id"),
            cast(literal(20), Numeric).label("percentage_rate"),
            literal(2).label("frequency"),
            (life.c.began + days(90)).label("created_at"),
        ).where(customer, each(10, life.c.n, 6)),
        "invoices": select(
            id_of("invoice", bill.c.n, bill.c.month).label("id"),
            id_of("customer", bill.c.customer).label("customer_id"),
            literal(1).label("status"),
            cast(bill.c.at, Date).label("issuing_date"),
            price_of(bill.c.plan).label("total_amount_cents"),
            literal("EUR").label("currency"),
            bill.c.at.label("created_at"),
        ),
        "invoice_subscriptions": select(
            id_of("billed", bill.c.n, bill.c.month).label("id"),
            of_invoice,
            _row_of(bill).label("subscription_id"),
            bill.c.at.label("from_datetime"),
            bill.c.until.label("to_datetime"),
            bill.c.at.label("created_at"),
        ),
        "fees": _fees(bill),
        "payments": select(
            id_of("payment", bill.c.n, bill.c.month).label("id"),
            literal("Invoice").label("payable_type"),
            id_of("invoice", bill.c.n, bill.c.month).label("payable_id"),
            of_invoice,
            price_of(bill.c.plan).label("amount_cents"),
            literal("EUR").label("amount_currency"),
            literal("succeeded").label("status"),
            bill.c.at.label("created_at"),
        ),
    }


def _row_of(life: FromClause) -> ColumnElement[Any]:
    """The row of the period that holds at a bill."""
    after = and_(life.c.upgraded.is_not(None), life.c.upgraded <= life.c.at)
    return id_of("row", life.c.n, case((after, 1), else_=0))


def _rows(life: FromClause) -> Select[Any]:
    """A period a plan: the one before an upgrade ends milliseconds after the next begins."""
    is_upgraded = life.c.upgraded.is_not(None)

    def row(which: int, plan: Any, since: Any, until: Any, previous: Any) -> Select[Any]:
        return select(
            id_of("row", life.c.n, which).label("id"),
            id_of("customer", life.c.customer).label("customer_id"),
            id_of("plan", plan).label("plan_id"),
            func.concat("subscription-", life.c.n).label("external_id"),
            cast(previous, Uuid).label("previous_subscription_id"),
            case((until.is_(None), 1), else_=2).label("status"),
            life.c.began.label("subscription_at"),
            since.label("started_at"),
            until.label("terminated_at"),
            since.label("created_at"),
        )

    overlap = func.make_interval(0, 0, 0, 0, 0, 0, 0.05)
    first_ends = case((is_upgraded, life.c.upgraded + overlap), else_=life.c.ended)
    first = row(0, life.c.plan, life.c.began, first_ends, null())
    second = row(
        1, (life.c.plan + 4) % PLANS, life.c.upgraded, life.c.ended, id_of("row", life.c.n, 0)
    ).where(is_upgraded)
    return select(union_all(first, second).subquery("row"))


def _fees(bill: FromClause) -> Select[Any]:
    """A flat fee a month, and one of usage."""

    def fee(kind: int, amount: ColumnElement[Any], prefix: str) -> Select[Any]:
        said = func.jsonb_build_object(
            f"{prefix}from_datetime", bill.c.at, f"{prefix}to_datetime", bill.c.until
        )
        return select(
            id_of("fee", kind, bill.c.n, bill.c.month).label("id"),
            id_of("invoice", bill.c.n, bill.c.month).label("invoice_id"),
            _row_of(bill).label("subscription_id"),
            literal(kind).label("fee_type"),
            amount.label("amount_cents"),
            literal("EUR").label("amount_currency"),
            func.jsonb_build_object("plan_amount_cents", amount).label("amount_details"),
            said.label("properties"),
            bill.c.at.label("created_at"),
        )

    flat, used = fee(2, price_of(bill.c.plan), ""), fee(0, 100 + bill.c.n % 900, "charges_")
    return select(union_all(flat, used).subquery("fee"))
