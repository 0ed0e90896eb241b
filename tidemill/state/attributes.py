"""Attributes of customers: the values that hold now, and what kind each attribute is of.

The customer's own events carry all attributes that the billing system has, so each replaces the
ones before. What the business sets beside them comes key by key, and each key is replaced by its
own latest event. An attribute is of the kind of its first value, in the order of events and not of
their arrival, so that a rebuild finds the same.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Select,
    Text,
    and_,
    cast,
    delete,
    insert,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import Insert, distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from tidemill.attribute_rows import members, probable_kind, readings
from tidemill.models import attribute, attribute_pin, customer, customer_attribute
from tidemill.state.rows import STATE_KEY, fields, latest, put_latest, state_key

__all__ = ["apply_attributes", "apply_pins"]

_OWN: Final = ("customer.created", "customer.updated")
_SET: Final = "customer.attributes_set"
_FIRST_KEY: Final = {name.replace("state", "first"): of for name, of in STATE_KEY.items()}


def apply_attributes(connection: Connection, rows: FromClause) -> None:
    """Bring the attributes up to date; the customers are, already."""
    connection.execute(_forget(rows))
    connection.execute(_told(rows))
    connection.execute(_put(rows))
    connection.execute(_kinds(rows))


def apply_pins(connection: Connection, rows: FromClause) -> None:
    """Note of which kind people say an attribute is."""
    pinned = rows.c.type == "attribute.pinned"
    last = latest(rows, [rows.c.subject], pinned).subquery("last")
    said = fields(last.c.data, kind=Text())
    found = select(last.c.subject.label("name"), said.c.kind, *state_key(last)).select_from(
        last.join(said, true())
    )
    connection.execute(put_latest(attribute_pin, found, ["name"]))


def _described(rows: FromClause) -> FromClause:
    """The customers that are now what an event of the batch says."""
    return customer.join(
        rows,
        and_(
            rows.c.source_id == customer.c.source_id,
            rows.c.customer == customer.c.external_id,
            rows.c.id == customer.c.state_event_id,
        ),
    )


def _forget(rows: FromClause) -> Delete:
    old = select(customer.c.id).select_from(_described(rows))
    return delete(customer_attribute).where(
        customer_attribute.c.given == "billing", customer_attribute.c.customer_id.in_(old)
    )


def _told(rows: FromClause) -> Any:
    member = members(customer.c.attributes)
    new = (
        select(
            customer.c.id.label("customer_id"),
            member.c.key.label("name"),
            cast("billing", Text).label("given"),
            *(each.label(name) for name, each in readings(member).items()),
            *state_key(rows),
        )
        .select_from(_described(rows).join(member, true()))
        .where(rows.c.livemode)
        .subquery("new")
    )
    found = select(new).where(new.c.text.is_not(None))
    return insert(customer_attribute).from_select(list(new.c.keys()), found)


def _put(rows: FromClause) -> Insert:
    owner = and_(
        customer.c.source_id == rows.c.source_id, customer.c.external_id == rows.c.customer
    )
    member = members(rows.c.data["attributes"])
    last = (
        select(rows, customer.c.id.label("customer_id"), *member.c)
        .select_from(rows.join(customer, owner).join(member, true()))
        .ext(distinct_on(customer.c.id, member.c.key))
        .where(rows.c.type == _SET, rows.c.livemode)
        .order_by(
            customer.c.id, member.c.key, *(rows.c[name].desc() for name in STATE_KEY.values())
        )
        .subquery("last")
    )
    found = select(
        last.c.customer_id,
        last.c.key.label("name"),
        cast("set", Text).label("given"),
        *(each.label(name) for name, each in readings(last).items()),
        *state_key(last),
    )
    return put_latest(customer_attribute, found, ["name", "customer_id", "given"])


def _kinds(rows: FromClause) -> Insert:
    """The kinds of attributes never heard of, or that an earlier event speaks of now.

    What is in the way of a row is locked even where it then stays as it is, and all customers share
    a few names: another batch would wait until this one commits. So nothing is put that is known.
    """
    first, known = _firsts(rows).subquery("first_value"), attribute.alias("known")
    news = (
        select(first)
        .select_from(first.outerjoin(known, known.c.name == first.c.name))
        .where(or_(known.c.name.is_(None), _is_earlier(first.c, known.c)))
    )
    new = upsert(attribute).from_select(["name", "kind", *_FIRST_KEY], news)
    written = {name: new.excluded[name] for name in ("kind", *_FIRST_KEY)}
    return new.on_conflict_do_update(
        index_elements=["name"], set_=written, where=_is_earlier(new.excluded, attribute.c)
    )


def _is_earlier(one: Any, other: Any) -> ColumnElement[bool]:
    mine, its = (tuple_(*(each[name] for name in _FIRST_KEY)) for each in (one, other))
    return mine < its


def _firsts(rows: FromClause) -> Select[Any]:
    member = members(rows.c.data["attributes"])
    order = {ours: rows.c[theirs] for ours, theirs in _FIRST_KEY.items()}
    # Which value is the first one before what kind it is of: the others need not be read.
    first = (
        select(*member.c, *(each.label(name) for name, each in order.items()))
        .select_from(rows.join(member, true()))
        .ext(distinct_on(member.c.key))
        .where(rows.c.type.in_((*_OWN, _SET)), rows.c.livemode, member.c.text.is_not(None))
        .order_by(member.c.key, *order.values())
        .subquery("first")
    )
    read = select(
        first.c.key.label("name"),
        *(each.label(name) for name, each in readings(first).items()),
        *(first.c[name] for name in _FIRST_KEY),
    ).subquery("value")
    return select(read.c.name, probable_kind(read), *(read.c[name] for name in _FIRST_KEY))
