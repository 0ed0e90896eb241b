"""What the business knows of its customers, as rows: one value a customer and attribute.

A value is kept as each kind it can be read as, a column for each, so that the kind of an attribute
is a choice of column: to pin another kind rewrites nothing. A value that cannot be read as its
attribute's kind is unknown there, and stays what it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
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
    column,
    false,
    func,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on

from tidemill import models
from tidemill.vocabulary import AttributeKind

__all__ = [
    "KIND_COLUMNS",
    "attribute_rows",
    "members",
    "no_attributes",
    "probable_kind",
    "readings",
]

KIND_COLUMNS: Final = {
    AttributeKind.STRING: "text",
    AttributeKind.NUMBER: "number",
    AttributeKind.BOOL: "flag",
    AttributeKind.INSTANT: "moment",
}
"""Kind → the column that holds a value as that kind."""

# "007" and a card's sixteen digits name something: they are no numbers to add up or compare.
_NUMBER: Final = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?$"

# Only what PostgreSQL can read, because a cast that fails would fail the whole batch: every month
# with its days, and 29 February in leap years alone. 2024-02-29, 2025-06-30T12:00:00.5+02:00.
_LEAP: Final = r"([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29"
_DAY: Final = (
    rf"([1-9][0-9]{{3}}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    rf"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP})"
)
_TIME: Final = r"T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_OFFSET: Final = r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
_MIDNIGHT: Final = "T00:00:00Z"


def readings(member: FromClause) -> dict[str, ColumnElement[Any]]:
    """One of `members` as text, number, flag and moment; null where it is none.

    >>> list(readings(members(column("attributes", JSONB))))
    ['text', 'number', 'flag', 'moment']
    """
    kind, text = member.c.json_type, member.c.text
    said = and_(kind == "string", text.is_not(None))
    may_count = and_(said, func.ascii(text) <= ord("9"))
    # Most are words, which a look at their form tells for less than a regular expression takes.
    moment = case(
        (text.not_like("____-__-__%"), None),
        (text.regexp_match(f"^{_DAY}$"), func.concat(text, _MIDNIGHT)),
        (text.regexp_match(f"^{_DAY}{_TIME}{_OFFSET}$"), text),
    )
    return {
        "text": text,
        "number": case(
            (kind == "number", cast(text, Numeric)),
            (and_(may_count, text.regexp_match(_NUMBER)), cast(text, Numeric)),
        ),
        "flag": case(
            (kind == "boolean", text == "true"),
            (and_(said, func.lower(text).in_(("true", "false"))), func.lower(text) == "true"),
        ),
        "moment": case((said, cast(moment, DateTime(timezone=True)))),
    }


def probable_kind(row: FromClause) -> ColumnElement[str]:
    """What kind a value is, taken by itself; of its `readings` in `row`."""
    return case(
        (row.c.number.is_not(None), AttributeKind.NUMBER.value),
        (row.c.flag.is_not(None), AttributeKind.BOOL.value),
        (row.c.moment.is_not(None), AttributeKind.INSTANT.value),
        else_=AttributeKind.STRING.value,
    )


def members(data: ColumnElement[Any]) -> FromClause:
    """The keys and values of a JSON object as rows; none where there is no object.

    Shape: key, json_type, and text, the value as it is written where it is no list or object; null
           where it is empty.
    """
    whole = case((func.jsonb_typeof(data) == "object", data))
    each = func.jsonb_each(whole).table_valued(column("key", Text), column("value", JSONB))
    one = each.render_derived()
    kind = func.jsonb_typeof(one.c.value)
    plain = kind.in_(("string", "number", "boolean"))
    text = case((plain, func.nullif(one.c.value[()].astext, "")))
    # Taken apart once, and not wherever it is read.
    return select(one.c.key, kind.label("json_type"), text.label("text")).offset(0).lateral()


def no_attributes() -> FromClause:
    """The relation where nothing more is known of customers."""
    return (
        select(
            cast(null(), BigInteger).label("customer_id"),
            cast(null(), Text).label("attribute"),
            cast(null(), Text).label("text"),
            cast(null(), Numeric).label("number"),
            cast(null(), Boolean).label("flag"),
            cast(null(), DateTime(timezone=True)).label("moment"),
        )
        .where(false())
        .subquery()
    )


def attribute_rows(known_at: datetime | None) -> FromClause:
    """The relation `customer_attributes`: now, or as far as it was known at an instant.

    What was set stands before what the billing system says.
    """
    if known_at is None:
        rows: FromClause = models.customer_attribute
    else:
        rows = union_all(_billed(known_at), _set(known_at)).subquery("known_attribute")
    values = [rows.c[name] for name in KIND_COLUMNS.values()]
    return (
        select(rows.c.customer_id, rows.c.name.label("attribute"), *values)
        .ext(distinct_on(rows.c.name, rows.c.customer_id))
        .where(rows.c.text.is_not(None))
        .order_by(rows.c.name, rows.c.customer_id, rows.c.given.desc())
        .subquery()
    )


def _billed(known_at: datetime) -> Select[Any]:
    """What the last event known by then said of each customer."""
    log = models.event_log
    last = (
        select(log.c.source_id, log.c.customer, log.c.livemode, log.c.data)
        .ext(distinct_on(log.c.source_id, log.c.customer))
        .where(
            log.c.type.in_(("customer.created", "customer.updated")), log.c.recorded_at <= known_at
        )
        .order_by(log.c.source_id, log.c.customer, *_latest_first(log))
        .subquery("last_said")
    )
    member = members(last.c.data["attributes"])
    return _known(last, member, "billing").where(last.c.livemode)


def _set(known_at: datetime) -> Select[Any]:
    """What had been set last of each customer and key by then."""
    log = models.event_log
    member = members(log.c.data["attributes"])
    last = (
        select(log.c.source_id, log.c.customer, *member.c)
        .select_from(log.join(member, true()))
        .ext(distinct_on(log.c.source_id, log.c.customer, member.c.key))
        .where(
            log.c.type == "customer.attributes_set",
            log.c.livemode,
            log.c.recorded_at <= known_at,
        )
        .order_by(log.c.source_id, log.c.customer, member.c.key, *_latest_first(log))
        .subquery("last_set")
    )
    return _known(last, None, "set")


def _known(said: FromClause, member: FromClause | None, given: str) -> Select[Any]:
    table = models.customer
    owner = and_(table.c.source_id == said.c.source_id, table.c.external_id == said.c.customer)
    source: FromClause = said.join(table, owner)
    pair = said if member is None else member
    if member is not None:
        source = source.join(member, true())
    return select(
        table.c.id.label("customer_id"),
        pair.c.key.label("name"),
        cast(given, Text).label("given"),
        *(each.label(name) for name, each in readings(pair).items()),
    ).select_from(source)


def _latest_first(log: FromClause) -> list[ColumnElement[Any]]:
    order = (log.c.occurred_at, log.c.sequence, log.c.recorded_at, log.c.id)
    return [each.desc() for each in order]
