"""The history of subscriptions: a version for each event, with its items and discounts.

Every event carries the whole state after the change, so nothing is compared or updated here. Late,
repeated and shuffled events need no special care: whoever reads the versions sorts them.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Select,
    Table,
    Text,
    and_,
    false,
    func,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from tidemill.models import (
    customer,
    subscription,
    subscription_version,
    version_discount,
    version_item,
)
from tidemill.state.rows import about, elements, fields

__all__ = ["apply_subscriptions", "discounts_in", "insert_new", "items_in"]

_INSTANT: Final = DateTime(timezone=True)

_STATE: Final[dict[str, TypeEngine[Any]]] = {
    "status": Text(),
    "currency": Text(),
    "started_at": _INSTANT,
    "trial_start": _INSTANT,
    "trial_end": _INSTANT,
    "past_due_since": _INSTANT,
    "paused_at": _INSTANT,
    "current_period_start": _INSTANT,
    "current_period_end": _INSTANT,
    "cancel_at_period_end": Boolean(),
    "cancel_at": _INSTANT,
    "canceled_at": _INSTANT,
    "ended_at": _INSTANT,
    "cancel_reason": Text(),
    "cancel_feedback": Text(),
    "voluntary": Boolean(),
    "refunded_at_cancellation": Boolean(),
    "collection_method": Text(),
    "confidence": Text(),
}


def apply_subscriptions(connection: Connection, rows: FromClause) -> None:
    """Add a version for every subscription event; one that is there already stays as it is."""
    connection.execute(insert_new(subscription_version, _versions(rows)))
    told = select(rows).where(about(rows, "subscription")).subquery("told")
    connection.execute(insert_new(version_item, items_in(told, told.c.position, told.c.data)))
    connection.execute(
        insert_new(version_discount, discounts_in(told, told.c.position, told.c.data))
    )


def insert_new(table: Table, found: Select[Any]) -> Any:
    """Insert what is not there yet, by the table's primary key."""
    names = [each.name for each in found.selected_columns]
    new = postgresql.insert(table).from_select(names, found)
    return new.on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def _versions(rows: FromClause) -> Select[Any]:
    said = fields(rows.c.data, **_STATE)
    defaults = {
        "cancel_at_period_end": func.coalesce(said.c.cancel_at_period_end, false()),
        "refunded_at_cancellation": func.coalesce(said.c.refunded_at_cancellation, false()),
        "confidence": func.coalesce(said.c.confidence, "observed"),
        "currency": func.upper(said.c.currency),
    }
    owner = and_(
        customer.c.source_id == rows.c.source_id, customer.c.external_id == rows.c.customer
    )
    named = and_(
        subscription.c.source_id == rows.c.source_id, subscription.c.external_id == rows.c.subject
    )
    return (
        select(
            rows.c.position.label("id"),
            rows.c.source_id,
            subscription.c.id.label("subscription_id"),
            customer.c.id.label("customer_id"),
            rows.c.id.label("event_id"),
            rows.c.occurred_at,
            rows.c.sequence,
            rows.c.recorded_at,
            rows.c.livemode,
            *(defaults.get(name, said.c[name]).label(name) for name in _STATE),
        )
        .select_from(
            rows.outerjoin(customer, owner).outerjoin(subscription, named).join(said, true())
        )
        .where(about(rows, "subscription"))
    )


def items_in(
    rows: FromClause, number: ColumnElement[int], holder: ColumnElement[Any]
) -> Select[Any]:
    """The items in a JSON object `holder` of each row, as rows of `version_item` by `number`."""
    member = elements(holder, "items")
    said = fields(
        member.c.value,
        id=Text(),
        plan=Text(),
        product=Text(),
        quantity=Numeric(),
        unit_amount=Numeric(),
        tax_inclusive_amount=Numeric(),
        interval=Text(),
        interval_count=Integer(),
        usage_type=Text(),
    )
    return select(
        number.label("version_id"),
        member.c.ordinal,
        said.c.id.label("item"),
        said.c.plan,
        said.c.product,
        said.c.quantity,
        said.c.unit_amount,
        func.coalesce(said.c.tax_inclusive_amount, 0).label("tax_inclusive_amount"),
        said.c.interval,
        func.coalesce(said.c.interval_count, 1).label("interval_count"),
        func.coalesce(said.c.usage_type, "licensed").label("usage_type"),
    ).select_from(rows.join(member, true()).join(said, true()))


def discounts_in(
    rows: FromClause, number: ColumnElement[int], holder: ColumnElement[Any]
) -> Select[Any]:
    """The discounts in a JSON object `holder` of each row, as rows of `version_discount`."""
    member = elements(holder, "discounts")
    said = fields(
        member.c.value,
        id=Text(),
        coupon=Text(),
        item=Text(),
        percent_off=Numeric(),
        amount_off=Numeric(),
        duration=Text(),
        starts_at=_INSTANT,
        ends_at=_INSTANT,
    )
    return select(
        number.label("version_id"),
        member.c.ordinal,
        said.c.id.label("discount"),
        *(each for each in said.c if each.name != "id"),
    ).select_from(rows.join(member, true()).join(said, true()))
