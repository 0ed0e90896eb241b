"""The history of invoices, with their lines, of payments and what they were for: a row an event."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    FromClause,
    Integer,
    Numeric,
    Select,
    Text,
    Update,
    and_,
    func,
    select,
    true,
    tuple_,
    update,
)

from tidemill.models import allocation, customer, invoice_line, invoice_version, payment
from tidemill.relations import latest_first
from tidemill.state.rows import about, elements, fields
from tidemill.state.subscriptions import insert_new

__all__ = ["apply_allocations", "apply_invoices", "apply_payments", "supersede_invoices"]

_INSTANT: Final = DateTime(timezone=True)
_LATER: Final = ("occurred_at", "sequence", "recorded_at", "event_id")


def apply_invoices(connection: Connection, rows: FromClause) -> None:
    """Add a version for every invoice event; one that is there already stays as it is.

    What the batch itself says something later of is marked at once; `supersede_invoices` looks at
    the others.
    """
    connection.execute(insert_new(invoice_version, _versions(rows)))
    connection.execute(insert_new(invoice_line, _lines(rows)))


def supersede_invoices(connection: Connection, rows: FromClause) -> None:
    """Mark what is no longer the last word on an invoice of the batch.

    Rows are only ever added, so whatever order they come in, in the end the same ones are marked.
    Of two batches that tell of one invoice the second must see the first one's.
    """
    named = (
        select(rows.c.source_id, rows.c.subject)
        .where(about(rows, "invoice"))
        .distinct()
        .cte("named")
    )
    version = invoice_version
    same = and_(version.c.source_id == named.c.source_id, version.c.external_id == named.c.subject)
    place = func.row_number().over(
        partition_by=(version.c.source_id, version.c.external_id),
        order_by=latest_first(version, version.c.status, version.c.event_id),
    )
    told = (
        select(version.c.id, place.label("place"))
        .join(named, same)
        # What is not live supersedes nothing, and is read by nobody.
        .where(version.c.livemode, ~version.c.superseded)
        .subquery("told")
    )
    marked = update(version).values(superseded=True)
    connection.execute(marked.where(version.c.id == told.c.id, told.c.place > 1))


def apply_payments(connection: Connection, rows: FromClause) -> None:
    """Add a row for every payment event; one that is there already stays as it is."""
    said = fields(
        rows.c.data,
        invoice=Text(),
        reference=Text(),
        amount=Numeric(),
        fee=Numeric(),
        currency=Text(),
        method=Text(),
        failure_reason=Text(),
        attempt=Integer(),
    )
    found = (
        select(
            *_event(rows),
            # payment.succeeded is of the kind "succeeded".
            func.split_part(rows.c.type, ".", 2).label("kind"),
            func.upper(said.c.currency).label("currency"),
            *(each for each in said.c if each.name != "currency"),
        )
        .select_from(rows.outerjoin(customer, _owner(rows)).join(said, true()))
        .where(about(rows, "payment"))
    )
    connection.execute(insert_new(payment, found))
    connection.execute(_superseding(rows))


def apply_allocations(connection: Connection, rows: FromClause) -> None:
    """Add a row for every event that says which invoice a payment is for."""
    said = fields(rows.c.data, reference=Text(), invoice=Text())
    event = [each for each in _event(rows) if each.name != "customer_id"]
    found = (
        select(*event, *said.c)
        .select_from(rows.join(said, true()))
        .where(about(rows, "allocation"))
    )
    connection.execute(insert_new(allocation, found))


def _superseding(rows: FromClause) -> Update:
    """Mark what is no longer the last word on a payment of the batch.

    Rows are only ever added, so whatever order they come in, in the end the same ones are marked.
    """
    named = (
        select(rows.c.source_id, rows.c.subject)
        .where(about(rows, "payment"))
        .distinct()
        .cte("named")
    )
    later = payment.alias("later")
    same = (
        payment.c.source_id == later.c.source_id,
        payment.c.external_id == later.c.external_id,
        payment.c.kind == later.c.kind,
        payment.c.attempt.is_not_distinct_from(later.c.attempt),
    )
    return (
        update(payment)
        .values(superseded=True)
        .where(
            named.c.source_id == later.c.source_id,
            named.c.subject == later.c.external_id,
            *same,
            # What is not live supersedes nothing, and is read by nobody.
            later.c.livemode,
            payment.c.livemode,
            ~payment.c.superseded,
            tuple_(*(later.c[name] for name in _LATER))
            > tuple_(*(payment.c[name] for name in _LATER)),
        )
    )


def _versions(rows: FromClause) -> Select[Any]:
    said = fields(
        rows.c.data,
        subscription=Text(),
        status=Text(),
        currency=Text(),
        subtotal=Numeric(),
        tax=Numeric(),
        total=Numeric(),
        amount_paid=Numeric(),
        period_start=_INSTANT,
        period_end=_INSTANT,
        issued_at=_INSTANT,
        paid_at=_INSTANT,
    )
    place = func.row_number().over(
        partition_by=(rows.c.source_id, rows.c.subject, rows.c.livemode),
        order_by=latest_first(rows, said.c.status, rows.c.id),
    )
    return (
        select(
            *_event(rows),
            func.upper(said.c.currency).label("currency"),
            *(each for each in said.c if each.name != "currency"),
            and_(rows.c.livemode, place > 1).label("superseded"),
        )
        .select_from(rows.outerjoin(customer, _owner(rows)).join(said, true()))
        .where(about(rows, "invoice"))
    )


def _lines(rows: FromClause) -> Select[Any]:
    line = elements(rows.c.data, "lines")
    said = fields(
        line.c.value,
        id=Text(),
        kind=Text(),
        subscription=Text(),
        item=Text(),
        plan=Text(),
        amount=Numeric(),
        quantity=Numeric(),
        period_start=_INSTANT,
        period_end=_INSTANT,
    )
    return (
        select(
            rows.c.position.label("version_id"),
            line.c.ordinal,
            said.c.id.label("line"),
            *(each for each in said.c if each.name != "id"),
        )
        .select_from(rows.join(line, true()).join(said, true()))
        .where(about(rows, "invoice"))
    )


def _owner(rows: FromClause) -> ColumnElement[bool]:
    return and_(customer.c.source_id == rows.c.source_id, customer.c.external_id == rows.c.customer)


def _event(rows: FromClause) -> list[ColumnElement[Any]]:
    """What a row of the history takes from the event that made it."""
    return [
        rows.c.position.label("id"),
        rows.c.source_id,
        rows.c.subject.label("external_id"),
        customer.c.id.label("customer_id"),
        rows.c.id.label("event_id"),
        rows.c.occurred_at,
        rows.c.sequence,
        rows.c.recorded_at,
        rows.c.livemode,
    ]
