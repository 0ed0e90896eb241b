"""Kill Bill's tables, filled as Kill Bill would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    FromClause,
    Numeric,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from benchmarks.billing import (
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
    price_of,
)
from tests.support.killbill import catalog, create_killbill
from tidemill.database import Database

__all__ = ["write_killbill"]


def write_killbill(database: Database, book: Book) -> None:
    """Fill an empty database as Kill Bill would have, and let the planner know."""
    billing = create_killbill(database)
    billing.rows.clear()
    billing.numbers.clear()
    versions = (("2022-01-01T00:00:00Z", 0), ("2024-06-01T00:00:00Z", 2))
    billing.new_tenant("hooli", *(catalog(since, *_plans(raised)) for since, raised in versions))
    billing.save()
    with database.begin() as connection:
        own = literal(billing.tenant, BigInteger).label("tenant_record_id")
        for name, rows in _tables(book).items():
            numbered = rows.subquery("numbered")
            number = func.row_number().over(order_by=numbered.c.id).label("record_id")
            given = [] if "record_id" in numbered.c else [number]
            fill(connection, name, select(numbered, own, *given))
    analyze(database)


def _plans(raised_by: int) -> list[str]:
    """The plans of a version of the catalogue; the dearer ones hold for everybody a month later."""
    plans = []
    since = "<effectiveDateForExistingSubscriptions>2024-07-01T00:00:00Z"
    since += "</effectiveDateForExistingSubscriptions>"
    for number in range(PLANS):
        yearly = number in YEARLY
        price = 480 if yearly else 19 + 5 * number + raised_by
        period = "ANNUAL" if yearly else "MONTHLY"
        trial = (
            "<initialPhases><phase type='TRIAL'><duration><unit>DAYS</unit><number>14</number>"
            "</duration></phase></initialPhases>"
        )
        plans.append(
            f"<plan name='plan-{number}'>{since if raised_by else ''}<product>Product</product>"
            f"{trial if number == TRIAL else ''}"
            "<finalPhase type='EVERGREEN'><duration><unit>UNLIMITED</unit></duration>"
            f"<recurring><billingPeriod>{period}</billingPeriod><recurringPrice><price>"
            f"<currency>EUR</currency><value>{price}</value></price></recurringPrice></recurring>"
            "</finalPhase></plan>"
        )
    return plans


def _tables(book: Book) -> Mapping[str, Select[Any]]:
    life = lives(book)
    bill = bills(book, life)
    customer = life.c.customer == life.c.n
    account = cast(id_of("account", life.c.customer), Text)
    price = cast(price_of(bill.c.plan), Numeric) / 100
    invoice = cast(id_of("invoice", bill.c.n, bill.c.month), Text)
    of = (bill.c.customer.label("account_record_id"), literal("EUR").label("currency"))
    return {
        "accounts": select(
            life.c.n.label("record_id"),
            account.label("id"),
            func.concat("customer-", life.c.n).label("external_key"),
            func.concat("Customer ", life.c.n).label("name"),
            literal("EUR").label("currency"),
            life.c.began.label("created_date"),
        ).where(customer),
        "bundles": select(
            cast(id_of("bundle", life.c.n), Text).label("id"),
            account.label("account_id"),
            life.c.customer.label("account_record_id"),
            func.concat("bundle-", life.c.n).label("external_key"),
        ),
        "subscriptions": select(
            life.c.n.label("record_id"),
            cast(id_of("subscription", life.c.n), Text).label("id"),
            cast(id_of("bundle", life.c.n), Text).label("bundle_id"),
            func.concat("subscription-", life.c.n).label("external_key"),
            literal("BASE").label("category"),
            life.c.customer.label("account_record_id"),
            life.c.began.label("created_date"),
        ),
        "subscription_events": _events(life),
        "blocking_states": _pauses(life),
        "invoices": select(
            invoice.label("id"),
            cast(id_of("account", bill.c.customer), Text).label("account_id"),
            *of,
            cast(bill.c.at, Date).label("invoice_date"),
            literal("COMMITTED").label("status"),
            bill.c.at.label("created_date"),
        ),
        "invoice_items": select(
            cast(id_of("item", bill.c.n, bill.c.month), Text).label("id"),
            literal("RECURRING").label("type"),
            invoice.label("invoice_id"),
            cast(id_of("account", bill.c.customer), Text).label("account_id"),
            cast(id_of("subscription", bill.c.n), Text).label("subscription_id"),
            *of,
            func.concat("plan-", bill.c.plan).label("plan_name"),
            func.concat("plan-", bill.c.plan, "-evergreen").label("phase_name"),
            cast(bill.c.at, Date).label("start_date"),
            cast(bill.c.until, Date).label("end_date"),
            price.label("amount"),
            price.label("rate"),
            bill.c.at.label("created_date"),
        ),
    }


def _events(life: FromClause) -> Select[Any]:
    in_trial = life.c.plan == TRIAL

    def event(kind: str, at: Any, plan: Any, phase: Any, quantity: int = 0) -> Select[Any]:
        of_user = kind in {"CREATE", "CHANGE", "CANCEL"}
        columns: list[ColumnElement[Any]] = [
            cast(id_of("event", kind, life.c.n), Text).label("id"),
            literal("API_USER" if of_user else kind).label("event_type"),
            cast(literal(kind if of_user else None), Text).label("user_type"),
            cast(at, TIMESTAMP).label("effective_date"),
            cast(at, TIMESTAMP).label("created_date"),
            cast(id_of("subscription", life.c.n), Text).label("subscription_id"),
            cast(plan, Text).label("plan_name"),
            cast(phase, Text).label("phase_name"),
            literal(quantity).label("quantity"),
            literal(True).label("is_active"),
            life.c.customer.label("account_record_id"),
        ]
        return select(*columns)

    name = func.concat("plan-", life.c.plan)
    better = func.concat("plan-", (life.c.plan + 4) % PLANS)
    first = func.concat(name, case((in_trial, "-trial"), else_="-evergreen"))
    after_trial = life.c.began + days(14)
    events = (
        event("CREATE", life.c.began, name, first),
        event("PHASE", after_trial, null(), func.concat(name, "-evergreen")).where(in_trial),
        event("CHANGE", life.c.upgraded, better, func.concat(better, "-evergreen")).where(
            life.c.upgraded.is_not(None)
        ),
        event("QUANTITY_UPDATE", life.c.began + days(60), null(), null(), 3).where(
            each(20, life.c.n, 7)
        ),
        event("CANCEL", life.c.ended, null(), null()).where(life.c.ended.is_not(None)),
    )
    return select(union_all(*events).subquery("event"))


def _pauses(life: FromClause) -> Select[Any]:
    def block(at: Any, *, is_off: bool) -> Select[Any]:
        return select(
            cast(id_of("block", life.c.n, str(is_off)), Text).label("id"),
            cast(id_of("bundle", life.c.n), Text).label("blockable_id"),
            literal("SUBSCRIPTION_BUNDLE").label("type"),
            literal("ENT_BLOCKED" if is_off else "ENT_CLEAR").label("state"),
            literal("entitlement-service").label("service"),
            literal(is_off).label("block_billing"),
            cast(at, TIMESTAMP).label("effective_date"),
            cast(at, TIMESTAMP).label("created_date"),
            literal(True).label("is_active"),
            life.c.customer.label("account_record_id"),
        ).where(each(25, life.c.n, 11))

    off, on = (
        block(life.c.began + days(70), is_off=True),
        block(life.c.began + days(100), is_off=False),
    )
    return select(union_all(off, on).subquery("block"))
