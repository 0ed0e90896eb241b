"""Histories of any size, written straight into the core tables, one statement a table.

The ledger derives from nothing but these tables, and a million subscriptions would take an hour on
their way through the log. Everything follows from the number of a subscription and that of its
version, so two runs see the same book.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Date,
    DateTime,
    Numeric,
    Text,
    Uuid,
    and_,
    case,
    cast,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union_all,
)

from benchmarks.history_money import charges, expenses, invoices, payments, usage_lines
from benchmarks.history_rows import BASE, KEYS, each, event, numbers, source
from tidemill import models

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select, Table

    from tidemill.database import Database

__all__ = ["BASE", "History", "customer_key", "write", "write_costs", "write_payments"]

_BEGIN: Final = datetime(2021, 1, 1, tzinfo=UTC)
_DAYS: Final = 1_800
_RATES: Final = {"EUR": Decimal("1.1"), "GBP": Decimal("1.3"), "JPY": Decimal("0.007")}


@dataclass(frozen=True)
class History:
    """How much history: `versions` states of each of `subscriptions`, over up to five years.

    first: number of the first subscription, so that one database can hold several histories.
    share: subscriptions a customer has.

    Of ten subscriptions three pay in foreign currency, three by the year, one has two items, one a
    discount and one a trial; one in three is cancelled with its last version, one in eight is past
    due for a while, one in twenty pauses, and one in twenty is invoiced for usage. About half of
    the versions are worth something else than the one before.
    """

    subscriptions: int
    versions: int = 6
    first: int = 1
    share: int = 1


def customer_key(number: int) -> int:
    """The key of the customer whose first subscription has this number."""
    return number * KEYS


def write(database: Database, history: History) -> None:
    """Add a history to a database, and let the planner know."""
    with database.begin() as connection:
        if connection.execute(select(func.count()).select_from(models.source)).scalar_one() == 0:
            connection.execute(insert(models.source).values(name="histories", kind="files"))
            _fill(connection.execute, models.fx_rate, _rates())
        for table, rows in _tables(history):
            _fill(connection.execute, table, rows)
    with database.connect() as connection:
        # What autovacuum does elsewhere, a minute later.
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")


def write_payments(database: Database, history: History, first: date, months: int) -> None:
    """Add a payment a month to every subscription of a history; one in fifty fails.

    The ledger needs none of it; cash does.
    """
    with database.begin() as connection:
        _fill(connection.execute, models.payment, charges(_subscriptions(history), first, months))


def write_costs(database: Database, first: date, months: int) -> None:
    """Add what sales and marketing cost, each month."""
    with database.begin() as connection:
        _fill(connection.execute, models.expense, expenses(first, months))


def _fill(execute: Any, table: Table, rows: Select[Any]) -> None:
    execute(insert(table).from_select([column.name for column in rows.selected_columns], rows))


def _tables(history: History) -> list[tuple[Table, Select[Any]]]:
    subscription, version = _subscriptions(history), _versions(history)
    return [
        (models.customer, _customers(subscription)),
        (models.subscription, _subscription_rows(subscription)),
        (models.subscription_version, _version_rows(version)),
        (models.version_item, _items(version)),
        (models.version_discount, _discounts(version)),
        (models.invoice_version, invoices(version)),
        (models.invoice_line, usage_lines(version)),
        (models.payment, payments(version)),
    ]


def _subscriptions(history: History) -> FromClause:
    """One row a subscription: n, key, customer_key, and the chances that shape its life."""
    number = numbers(history.first, history.first + history.subscriptions - 1, "subscription_no")
    n = number.c.n
    customer = n - (n - history.first) % history.share
    joined_at = _BEGIN + func.make_interval(0, 0, 0, n * 37 % (_DAYS * 2 // 3), n % 24)
    currency = case(
        (each(10, n, 1), "EUR"),
        (each(10, n, 4), "GBP"),
        (each(10, n, 7), "JPY"),
        else_=literal(BASE),
    )
    by_year = or_(*(each(10, n, place) for place in (0, 1, 2)))
    return select(
        n.label("n"),
        (cast(n, models.subscription.c.id.type) * KEYS).label("key"),
        (cast(customer, models.customer.c.id.type) * KEYS).label("customer_key"),
        cast(joined_at, DateTime(timezone=True)).label("joined_at"),
        currency.label("currency"),
        case((by_year, "year"), (each(40, n, 9), "week"), else_="month").label("interval"),
    ).subquery("made_subscription")


def _versions(history: History) -> FromClause:
    """One row a version: all of its subscription, with v (from 0), key, begins_at, status."""
    sub, number = _subscriptions(history), numbers(0, history.versions - 1, "version_no")
    n, v = sub.c.n, number.c.n
    between = func.make_interval(0, 0, 0, 0, 0, 0, _DAYS / 3 * 86_400 / history.versions)
    is_last = v == history.versions - 1
    status = case(
        (and_(each(3, n, 0), is_last), "canceled"),
        (and_(each(10, n, 5), v == 0), "trialing"),
        (and_(each(8, n, 1), each(6, v, 3)), "past_due"),
        (and_(each(20, n, 3), each(6, v, 2)), "paused"),
        else_="active",
    )
    return (
        select(
            *sub.c,
            v.label("v"),
            (sub.c.key + v + 1).label("version_key"),
            cast(sub.c.joined_at + between * v, DateTime(timezone=True)).label("begins_at"),
            status.label("status"),
            cast(func.md5(func.concat(n, "-", v)), Uuid).label("event_id"),
            is_last.label("is_last"),
        )
        .join_from(sub, number, true())
        .subquery("made_version")
    )


def _customers(sub: FromClause) -> Select[Any]:
    name = cast(sub.c.customer_key, Text)
    columns = [source(), name.label("external_id"), name.label("name")]
    return select(sub.c.customer_key.label("id"), *columns).distinct()


def _subscription_rows(sub: FromClause) -> Select[Any]:
    return select(sub.c.key.label("id"), source(), cast(sub.c.key, Text).label("external_id"))


def _version_rows(version: FromClause) -> Select[Any]:
    n, begins_at = version.c.n, version.c.begins_at
    next_month = begins_at + func.make_interval(0, 1)
    period_end = case(
        (version.c.interval == "year", begins_at + func.make_interval(1)), else_=next_month
    )
    asked_to_end = and_(each(3, n, 0), version.c.is_last, each(2, n, 0))
    return select(
        version.c.version_key.label("id"),
        source(),
        version.c.key.label("subscription_id"),
        version.c.customer_key.label("customer_id"),
        *event(version),
        case((asked_to_end, "active"), else_=version.c.status).label("status"),
        version.c.currency,
        version.c.joined_at.label("started_at"),
        case((version.c.status == "trialing", begins_at + func.make_interval(0, 0, 2))).label(
            "trial_end"
        ),
        case((version.c.status == "past_due", begins_at)).label("past_due_since"),
        case((version.c.status == "paused", begins_at)).label("paused_at"),
        begins_at.label("current_period_start"),
        period_end.label("current_period_end"),
        asked_to_end.label("cancel_at_period_end"),
        (each(50, n, 0)).label("refunded_at_cancellation"),
        case((each(6, n, 0), true()), (each(6, n, 3), false())).label("voluntary"),
        literal("exact").label("confidence"),
    )


def _items(version: FromClause) -> Select[Any]:
    n, v = version.c.n, version.c.v

    def item(ordinal: int, quantity: ColumnElement[Any], usage_type: str) -> Select[Any]:
        return select(
            version.c.version_key.label("version_id"),
            literal(ordinal).label("ordinal"),
            literal(f"item-{ordinal}").label("item"),
            func.concat("plan-", n % 12).label("plan"),
            func.concat("product-", n % 3).label("product"),
            cast(quantity, Numeric).label("quantity"),
            cast(1_000 + n % 7 * 500, Numeric).label("unit_amount"),
            case((each(11, n, 0), 100), else_=0).label("tax_inclusive_amount"),
            version.c.interval,
            literal(1).label("interval_count"),
            literal(usage_type).label("usage_type"),
        )

    seats = 1 + (n + v // 2) % 5
    return union_all(  # type: ignore[return-value]  # a union is read as a select
        item(0, seats, "licensed"),
        item(1, 1 + v // 3 % 3, "licensed").where(each(10, n, 2)),
        item(2, literal(1), "metered").where(each(20, n, 8)),
    )


def _discounts(version: FromClause) -> Select[Any]:
    n, starts_at = version.c.n, version.c.joined_at
    duration = case((each(70, n, 6), "once"), (each(3, n, 0), "forever"), else_="repeating")
    ends_at = case((duration == "repeating", starts_at + func.make_interval(0, 3)))
    return select(
        version.c.version_key.label("version_id"),
        literal(0).label("ordinal"),
        literal("discount").label("discount"),
        case((each(20, n, 6), 20)).label("percent_off"),
        case((each(20, n, 16), 300)).label("amount_off"),
        duration.label("duration"),
        starts_at.label("starts_at"),
        ends_at.label("ends_at"),
    ).where(each(10, n, 6))


def _rates() -> Select[Any]:
    """A rate a day and foreign currency, a little different every day."""
    day = numbers(0, _DAYS + 60, "day_no")
    return union_all(  # type: ignore[return-value]  # a union is read as a select
        *(
            select(
                (day.c.n * 10 + place).label("id"),
                cast(func.md5(func.concat(currency, day.c.n)), Uuid).label("event_id"),
                cast(_BEGIN, DateTime(timezone=True)).label("occurred_at"),
                literal(0).label("sequence"),
                cast(_BEGIN, DateTime(timezone=True)).label("recorded_at"),
                literal(BASE).label("base"),
                literal(currency).label("quote"),
                cast(_BEGIN + func.make_interval(0, 0, 0, day.c.n), Date).label("day"),
                (rate * (1 + cast(day.c.n % 19, Numeric) / 1_000)).label("rate"),
            )
            for place, (currency, rate) in enumerate(_RATES.items())
        )
    )
