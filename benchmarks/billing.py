"""Billing databases of any size: Lago's and Kill Bill's tables, filled by one statement a table.

The tables have the indexes that the product ships with. Everything follows from the number of a
subscription, so two runs see the same books.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Enum,
    FromClause,
    Integer,
    MetaData,
    Select,
    Table,
    Uuid,
    case,
    cast,
    column,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB, TIMESTAMP

from tidemill.database import Database

__all__ = [
    "EDITED",
    "PLANS",
    "TRIAL",
    "YEARLY",
    "Book",
    "analyze",
    "bills",
    "days",
    "each",
    "fill",
    "id_of",
    "lives",
    "numbers",
    "price_of",
]

_BEGIN: Final = datetime(2023, 1, 1)  # noqa: DTZ001 - neither keeps a zone
_DAYS: Final = 1_000
# When a row was made, and when it was changed.
_MARKS: Final = (("created_at", "updated_at"), ("created_date", "updated_date"))
PLANS: Final = 12
"""How many plans there are, numbered from 0."""
EDITED: Final = 0
"""The plan whose row was changed after it was made (Lago)."""
YEARLY: Final = (1, 2)
"""The plans paid by the year; others are by the month."""
TRIAL: Final = 3
"""The plan that begins with a trial of 14 days."""


@dataclass(frozen=True)
class Book:
    """How much there is: subscriptions, and for how many months each was billed.

    One subscription in three is upgraded and one in four ends; one customer in five has two. In
    Lago one in ten has a coupon, and one in twelve is on a plan that was edited in place. In Kill
    Bill one subscription in 25 was paused, one in 20 has a quantity, and every price was raised.
    """

    subscriptions: int
    months: int


def fill(connection: Connection, name: str, rows: Select[Any]) -> None:
    """Write rows, giving every column that must not be null something."""
    table = Table(name, MetaData(), autoload_with=connection)
    given = rows.subquery("given")
    values: dict[str, Any] = {told.name: told for told in given.c if told.name in table.c}
    # What was written last when everything was is a change of everything, for who keeps a copy.
    for made, changed in _MARKS:
        if made in values and changed in table.c:
            values.setdefault(changed, values[made])
    for own in table.c:
        if not own.nullable and own.name not in values:
            values[own.name] = _anything(own.type)
    connection.execute(insert(table).from_select([*values], select(*values.values())))


def _anything(kind: Any) -> ColumnElement[Any]:
    if isinstance(kind, DOMAIN):
        kind = kind.data_type
    if isinstance(kind, Enum):
        return literal(kind.enums[0], kind)
    if isinstance(kind, ARRAY):
        return literal([], kind)
    if isinstance(kind, Uuid):
        return func.gen_random_uuid()
    if isinstance(kind, DateTime | Date | TIMESTAMP):
        return cast(literal(_BEGIN), kind)
    if isinstance(kind, JSONB):
        return literal({}, JSONB)
    if isinstance(kind, Boolean):
        return false()
    return cast(literal("0"), kind)


def analyze(database: Database) -> None:
    """Let the planner know what is there."""
    with database.connect() as connection:
        # What autovacuum does elsewhere, a minute later; index-only scans need the vacuum.
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")


def each(every: int, number: ColumnElement[int], place: int) -> ColumnElement[bool]:
    """One in so many numbers; different places are different ones."""
    return number % every == place


def numbers(first: int, last: int, name: str) -> FromClause:
    """One row a number, in a column n."""
    return (
        func.generate_series(first, last)
        .table_valued(column("n", Integer), name=name)
        .render_derived()
    )


def id_of(kind: str, *of: Any) -> ColumnElement[Any]:
    """The UUID of a row, the same wherever it is named."""
    return cast(func.md5(func.concat_ws("-", kind, *of)), Uuid)


def days(count: Any) -> ColumnElement[Any]:
    """So many days, to be added to an instant."""
    made: ColumnElement[Any] = func.make_interval(0, 0, 0, count)
    return made


def lives(book: Book) -> FromClause:
    """One row a subscription: n, customer (its number), plan, its instants; null is never."""
    number = numbers(1, book.subscriptions, "subscription_no")
    n = number.c.n
    began = cast(literal(_BEGIN), TIMESTAMP) + func.make_interval(0, 0, 0, n * 37 % _DAYS, n % 24)
    return select(
        n.label("n"),
        case((each(6, n, 5), n - 1), else_=n).label("customer"),
        (n % PLANS).label("plan"),
        cast(began, TIMESTAMP).label("began"),
        case((each(3, n, 0), began + days(120 + n % 100))).label("upgraded"),
        case((each(4, n, 1), began + days(250 + n % 300))).label("ended"),
    ).subquery("life")


def bills(book: Book, life: FromClause) -> FromClause:
    """One row for each month that a subscription was billed for: n, customer, month, at, until."""
    month = numbers(0, book.months - 1, "month_no")
    at = life.c.began + func.make_interval(0, month.c.n)
    until = life.c.began + func.make_interval(0, month.c.n + 1)
    return (
        select(life, month.c.n.label("month"), at.label("at"), until.label("until"))
        .join_from(life, month, true())
        .where(or_(life.c.ended.is_(None), at < life.c.ended))
        .subquery("bill")
    )


def price_of(plan: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a plan costs a period, in cents."""
    return case((plan.in_(YEARLY), 48_000), else_=1_900 + plan * 500)
