"""Whose money a payment was, as the books have it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from tidemill.models import customer, payment, source

__all__ = ["payers"]


def payers(connection: Connection, name: str, references: Collection[str]) -> dict[str, str]:
    """Reference → the customer who paid, of payments of a source; both as the vendor names them."""
    if not references:
        return {}
    rows = connection.execute(
        select(payment.c.reference, customer.c.external_id)
        .join(source, source.c.id == payment.c.source_id)
        .join(customer, customer.c.id == payment.c.customer_id)
        .where(source.c.name == name, payment.c.reference.in_(sorted(references)))
        .distinct()
    )
    return {row[0]: row[1] for row in rows}
