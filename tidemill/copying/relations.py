"""The relations as a copy of a billing database provides them.

Costs and exchange rates are our own: no billing database has them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Numeric, Select, Table, cast, literal, select

from tidemill import models
from tidemill.connectors.empty import nothing
from tidemill.relations import COLUMNS, Relations
from tidemill.relations.billing import expense_rows
from tidemill.relations.catalogue import rate_rows

__all__ = ["copied_relations"]


def copied_relations(
    *,
    base_currency: str,
    customers: Select[tuple[int]] | None = None,
    taxed: bool = False,
) -> Relations:
    """The relations as copied.

    customers: restricts the history to these customer keys (one bigint column).
    taxed:     with the tax on prices, if only what was invoiced tells of it.
    """
    if customers is None:
        return _whole(base_currency, taxed=taxed)
    return _made(base_currency, customers, taxed=taxed)


@cache
def _whole(base_currency: str, *, taxed: bool) -> Relations:
    """All that is known of everybody, which most questions ask; dear to put together."""
    return _made(base_currency, None, taxed=taxed)


def _made(base_currency: str, customers: Select[tuple[int]] | None, *, taxed: bool) -> Relations:
    def rows(relation: str, table: Table, *conditions: ColumnElement[bool], **own: Any) -> Any:
        columns = [own.get(name, table.c[name]).label(name) for name in COLUMNS[relation]]
        scope = [] if customers is None else [table.c.customer_id.in_(customers)]
        return select(*columns).where(*conditions, *scope).subquery()

    def all_rows(relation: str, table: Table) -> FromClause:
        return select(*(table.c[name] for name in COLUMNS[relation])).subquery()

    item, discount = models.copied_item, models.copied_discount
    with_tax = {} if taxed else _untaxed(item)
    source = models.copied_source
    return Relations(
        customers=all_rows("customers", models.copied_customer),
        identities=nothing("identities"),
        merges=False,
        sources=select(source.c.source_id, source.c.name).subquery(),
        plans=all_rows("plans", models.copied_plan),
        products=all_rows("products", models.copied_product),
        subscriptions=all_rows("subscriptions", models.copied_subscription),
        events=rows("events", models.copied_event),
        subscription_versions=rows("subscription_versions", models.copied_version),
        version_items=rows("version_items", item, **with_tax),
        discounts=rows("discounts", discount, discount.c.taxed == literal(taxed)),
        invoices=rows("invoices", models.copied_invoice),
        usage_lines=rows("usage_lines", models.copied_usage_line),
        payments=rows("payments", models.copied_payment),
        expenses=expense_rows(None),
        fx_rates=rate_rows(None),
        base_currency=base_currency,
    )


def _untaxed(item: Table) -> dict[str, ColumnElement[Any]]:
    """Prices as they are without the tax that was put on them."""
    tax = item.c.tax_inclusive_amount
    return {
        "unit_amount": item.c.unit_amount - tax,
        "tax_inclusive_amount": cast(literal(0), Numeric),
    }
