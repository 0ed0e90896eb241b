"""The relations as the core tables provide them."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from sqlalchemy import Select, select

from tidemill import models
from tidemill.attribute_rows import attribute_rows
from tidemill.relations.billing import expense_rows, invoice_rows, usage_rows
from tidemill.relations.catalogue import catalogue_rows, rate_rows
from tidemill.relations.customers import customer_rows, identity_rows
from tidemill.relations.payments import payment_rows
from tidemill.relations.scope import Scope
from tidemill.relations.shapes import COLUMNS, Relations
from tidemill.relations.subscriptions import (
    event_rows,
    rows_of_versions,
    subscription_rows,
    version_rows,
)

__all__ = ["core_relations"]


def core_relations(
    *,
    base_currency: str,
    known_at: datetime | None = None,
    customers: Select[tuple[int]] | None = None,
    payments: Select[tuple[int]] | None = None,
) -> Relations:
    """The relations as the core tables provide them.

    known_at:  only what had been recorded up to this instant (UTC); all when None.
    customers: restricts the history to these customer keys (one bigint column). To derive a merged
               company whole, name all its customers: `ledger.facts.whole_companies` does.
    payments:  restricts the relation `payments` to these rows of the history (one bigint column).
               To see what an invoice is owed, name all payments that may be of it.
    """
    if customers is None and payments is None:
        return _everybody(base_currency, known_at)
    return _made(base_currency, Scope(known_at, customers, payments))


@lru_cache(maxsize=8)
def _everybody(base_currency: str, known_at: datetime | None) -> Relations:
    """Dear to put together; and what is derived of the same relations is written out once."""
    return _made(base_currency, Scope(known_at, None))


def _made(base_currency: str, scope: Scope) -> Relations:
    known_at = scope.known_at
    return Relations(
        customers=customer_rows(known_at),
        identities=identity_rows(known_at),
        sources=select(models.source.c.id.label("source_id"), models.source.c.name).subquery(),
        plans=catalogue_rows(models.plan, "plan", ("name", "product"), known_at),
        products=catalogue_rows(models.product, "product", ("name",), known_at),
        subscriptions=subscription_rows(),
        events=event_rows(),
        subscription_versions=version_rows(scope),
        version_items=rows_of_versions(models.version_item, COLUMNS["version_items"], scope),
        discounts=rows_of_versions(models.version_discount, COLUMNS["discounts"], scope),
        invoices=invoice_rows(scope),
        usage_lines=usage_rows(scope),
        payments=payment_rows(scope),
        expenses=expense_rows(known_at),
        fx_rates=rate_rows(known_at),
        base_currency=base_currency,
        customer_attributes=attribute_rows(known_at),
    )
