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
    Integer,
    Numeric,
    Text,
    Uuid,
    and_,
    case,
    cast,
    column,
    false,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from tidemill import models

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Select, Table

    from tidemill.database import Database

__all__ = ["BASE", "History", "customer_key", "write", "write_costs", "write_payments"]

BASE: Final = "USD"
"""The base currency; three subscriptions in ten pay in another one."""

_BEGIN: Final = datetime(2021, 1, 1, tzinfo=UTC)
_DAYS: Final = 1_800
_RATES: Final = {"EUR": Decimal("1.1"), "GBP": Decimal("1.3"), "JPY": Decimal("0.007")}
# The keys of what a subscription's events wrote lie together, as they would in the log.
_KEYS: Final = 100_000


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
    return number * _KEYS


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
        _fill(connection.execute, models.payment, _charges(history, first, months))


def write_costs(database: Database, first: date, months: int) -> None:
    """Add what sales and marketing cost, each month."""
    with database.begin() as connection:
        _fill(connection.execute, models.expense, _expenses(first, months))


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
        (models.invoice_version, _invoices(version)),
        (models.invoice_line, _usage_lines(version)),
        (models.payment, _payments(version)),
    ]


def _numbers(first: int, last: int, name: str) -> FromClause:
    return (
        func.generate_series(first, last)
        .table_valued(column("n", Integer), name=name)
        .render_derived()
    )


def _subscriptions(history: History) -> FromClause:
    """One row a subscription: n, key, customer_key, and the chances that shape its life."""
    number = _numbers(history.first, history.first + history.subscriptions - 1, "subscription_no")
    n = number.c.n
    customer = n - (n - history.first) % history.share
    joined_at = _BEGIN + func.make_interval(0, 0, 0, n * 37 % (_DAYS * 2 // 3), n % 24)
    currency = case(
        (_each(10, n, 1), "EUR"),
        (_each(10, n, 4), "GBP"),
        (_each(10, n, 7), "JPY"),
        else_=literal(BASE),
    )
    by_year = or_(*(_each(10, n, place) for place in (0, 1, 2)))
    return select(
        n.label("n"),
        (cast(n, models.subscription.c.id.type) * _KEYS).label("key"),
        (cast(customer, models.customer.c.id.type) * _KEYS).label("customer_key"),
        cast(joined_at, DateTime(timezone=True)).label("joined_at"),
        currency.label("currency"),
        case((by_year, "year"), (_each(40, n, 9), "week"), else_="month").label("interval"),
    ).subquery("made_subscription")


def _versions(history: History) -> FromClause:
    """One row a version: all of its subscription, with v (from 0), key, begins_at, status."""
    sub, number = _subscriptions(history), _numbers(0, history.versions - 1, "version_no")
    n, v = sub.c.n, number.c.n
    between = func.make_interval(0, 0, 0, 0, 0, 0, _DAYS / 3 * 86_400 / history.versions)
    is_last = v == history.versions - 1
    status = case(
        (and_(_each(3, n, 0), is_last), "canceled"),
        (and_(_each(10, n, 5), v == 0), "trialing"),
        (and_(_each(8, n, 1), _each(6, v, 3)), "past_due"),
        (and_(_each(20, n, 3), _each(6, v, 2)), "paused"),
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
    columns = [_source(), name.label("external_id"), name.label("name")]
    return select(sub.c.customer_key.label("id"), *columns).distinct()


def _subscription_rows(sub: FromClause) -> Select[Any]:
    return select(sub.c.key.label("id"), _source(), cast(sub.c.key, Text).label("external_id"))


def _version_rows(version: FromClause) -> Select[Any]:
    n, begins_at = version.c.n, version.c.begins_at
    next_month = begins_at + func.make_interval(0, 1)
    period_end = case(
        (version.c.interval == "year", begins_at + func.make_interval(1)), else_=next_month
    )
    asked_to_end = and_(_each(3, n, 0), version.c.is_last, _each(2, n, 0))
    return select(
        version.c.version_key.label("id"),
        _source(),
        version.c.key.label("subscription_id"),
        version.c.customer_key.label("customer_id"),
        *_event(version),
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
        (_each(50, n, 0)).label("refunded_at_cancellation"),
        case((_each(6, n, 0), true()), (_each(6, n, 3), false())).label("voluntary"),
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
            case((_each(11, n, 0), 100), else_=0).label("tax_inclusive_amount"),
            version.c.interval,
            literal(1).label("interval_count"),
            literal(usage_type).label("usage_type"),
        )

    seats = 1 + (n + v // 2) % 5
    return union_all(  # type: ignore[return-value]  # a union is read as a select
        item(0, seats, "licensed"),
        item(1, 1 + v // 3 % 3, "licensed").where(_each(10, n, 2)),
        item(2, literal(1), "metered").where(_each(20, n, 8)),
    )


def _discounts(version: FromClause) -> Select[Any]:
    n, starts_at = version.c.n, version.c.joined_at
    duration = case((_each(70, n, 6), "once"), (_each(3, n, 0), "forever"), else_="repeating")
    ends_at = case((duration == "repeating", starts_at + func.make_interval(0, 3)))
    return select(
        version.c.version_key.label("version_id"),
        literal(0).label("ordinal"),
        literal("discount").label("discount"),
        case((_each(20, n, 6), 20)).label("percent_off"),
        case((_each(20, n, 16), 300)).label("amount_off"),
        duration.label("duration"),
        starts_at.label("starts_at"),
        ends_at.label("ends_at"),
    ).where(_each(10, n, 6))


def _invoices(version: FromClause) -> Select[Any]:
    """The invoice of each subscription's beginning, and one of usage for each of its versions."""
    n, begins_at = version.c.n, version.c.begins_at
    return select(
        (version.c.version_key + _KEYS // 2).label("id"),
        _source(),
        _invoice_name(version).label("external_id"),
        version.c.customer_key.label("customer_id"),
        cast(version.c.key, Text).label("subscription"),
        *_event(version),
        literal("paid").label("status"),
        version.c.currency,
        *(cast(1_000, Numeric).label(name) for name in ("subtotal", "total", "amount_paid")),
        literal(0).label("tax"),
        begins_at.label("period_start"),
        (begins_at + func.make_interval(0, 1)).label("period_end"),
        begins_at.label("issued_at"),
        (begins_at + func.make_interval(0, 0, 0, n % 3)).label("paid_at"),
    ).where((version.c.v == 0) | (_each(20, n, 8)))


def _usage_lines(version: FromClause) -> Select[Any]:
    return select(
        (version.c.version_key + _KEYS // 2).label("version_id"),
        literal(0).label("ordinal"),
        literal("line").label("line"),
        literal("usage").label("kind"),
        literal("item-2").label("item"),
        cast(700 + version.c.v % 5 * 100, Numeric).label("amount"),
    ).where(_each(20, version.c.n, 8))


def _payments(version: FromClause) -> Select[Any]:
    """The payment of the first invoice; one in fifty was given back."""

    def payment(kind: str, offset: int) -> Select[Any]:
        return select(
            (version.c.version_key + offset).label("id"),
            _source(),
            _invoice_name(version).label("external_id"),
            version.c.customer_key.label("customer_id"),
            _invoice_name(version).label("invoice"),
            *_event(version),
            literal(kind).label("kind"),
            cast(1_000, Numeric).label("amount"),
            version.c.currency,
            cast(null(), models.payment.c.attempt.type).label("attempt"),
        ).where(version.c.v == 0)

    refunded = payment("refunded", _KEYS * 4 // 5).where(_each(50, version.c.n, 0))
    return union_all(payment("succeeded", _KEYS * 3 // 4), refunded)  # type: ignore[return-value]  # a union is read as a select


def _charges(history: History, first: date, months: int) -> Select[Any]:
    sub, month = _subscriptions(history), _numbers(0, months - 1, "month_no")
    number = sub.c.key + _KEYS * 9 // 10 + month.c.n
    paid_at = cast(
        cast(first, DateTime(timezone=True)) + func.make_interval(0, month.c.n, 0, sub.c.n % 28),
        DateTime(timezone=True),
    )
    name = func.concat("charge-", number)
    return select(
        number.label("id"),
        _source(),
        name.label("external_id"),
        sub.c.customer_key.label("customer_id"),
        name.label("invoice"),
        cast(func.md5(func.concat("charge", number)), Uuid).label("event_id"),
        *_at(paid_at),
        case((_each(50, sub.c.n + month.c.n, 0), "failed"), else_="succeeded").label("kind"),
        cast(1_000 + sub.c.n % 7 * 500, Numeric).label("amount"),
        sub.c.currency,
        literal(1).label("attempt"),
    ).join_from(sub, month, true())


def _expenses(first: date, months: int) -> Select[Any]:
    month = _numbers(0, months - 1, "month_no")
    spent_at = cast(first, DateTime(timezone=True)) + func.make_interval(0, month.c.n)
    name = func.concat("expense-", month.c.n)
    return select(
        (month.c.n + 1).label("id"),
        _source(),
        name.label("external_id"),
        cast(func.md5(name), Uuid).label("event_id"),
        *_at(cast(spent_at, DateTime(timezone=True))),
        cast(spent_at, Date).label("day"),
        cast(1_000_000, Numeric).label("amount"),
        literal(BASE).label("currency"),
        literal("program").label("category"),
    )


def _rates() -> Select[Any]:
    """A rate a day and foreign currency, a little different every day."""
    day = _numbers(0, _DAYS + 60, "day_no")
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


def _each(every: int, number: ColumnElement[int], place: int) -> ColumnElement[bool]:
    """One in so many numbers; different places are different ones."""
    return number % every == place


def _source() -> ColumnElement[int]:
    return select(models.source.c.id).limit(1).scalar_subquery().label("source_id")


def _invoice_name(version: FromClause) -> ColumnElement[str]:
    return func.concat("invoice-", version.c.version_key)


def _event(version: FromClause) -> list[ColumnElement[Any]]:
    return [
        version.c.event_id,
        *_at(version.c.begins_at),
    ]


def _at(instant: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """What happened then, and was known at once."""
    return [
        instant.label("occurred_at"),
        literal(0).label("sequence"),
        instant.label("recorded_at"),
        true().label("livemode"),
    ]
