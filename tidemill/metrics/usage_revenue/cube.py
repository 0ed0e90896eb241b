"""The cube over invoiced usage."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, Text, cast, literal, null, select

from tidemill.metrics.cube import Cube, Measure
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.metrics.own_books import day_in, in_books
from tidemill.policy import Policy
from tidemill.relations import Relations

__all__ = ["USAGE", "USAGE_LINE", "usage_rows"]

USAGE_LINE: Final = "usage"


def usage_rows(relations: Relations, policy: Policy) -> Select[Any]:
    """Every finalised usage charge, in the books it belongs to.

    Shape: customer_id, source_id, subscription_id, plan, product, day (of the invoice, in the
           policy's time zone), occurred_at, currency, kind, amount_minor, invoice, item,
           event_position.
    """
    line = relations.usage_lines.alias("usage_line")
    source, owner = in_books(line, relations, policy)
    return select(
        owner.label("customer_id"),
        line.c.source_id,
        line.c.subscription_id,
        line.c.plan,
        # What was sold is the plan's to say.
        cast(null(), Text).label("product"),
        day_in(line.c.issued_at, policy).label("day"),
        line.c.issued_at.label("occurred_at"),
        line.c.currency,
        literal(USAGE_LINE).label("kind"),
        line.c.amount.label("amount_minor"),
        line.c.invoice,
        line.c.item,
        line.c.invoice_id.label("event_position"),
    ).select_from(source)


_SHARED: Final = (
    "source",
    "plan",
    "plan_name",
    "product",
    "product_name",
    "currency",
    "customer",
    "customer_name",
    "country",
)

USAGE: Final = Cube(
    name="usage",
    measures=(Measure("amount", "What usage was charged for.", "amount_minor"),),
    joins={
        name: MOVEMENTS.joins[name]
        for name in ("customers", "sources", "plans", "products", "subscriptions", "events")
    },
    dimensions=tuple(each for each in MOVEMENTS.dimensions if each.name in _SHARED),
)
"""The cube of invoiced usage; its base rows are `usage_rows`."""
