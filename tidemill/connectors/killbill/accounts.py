"""Whose books these are: accounts and subscriptions of one tenant."""

from __future__ import annotations

from sqlalchemy import (
    CTE,
    Text,
    and_,
    func,
    select,
    true,
)

from tidemill.connectors.killbill.tables import TEST_TAG
from tidemill.connectors.schema import Schema

__all__ = ["own_accounts", "subscriptions"]


def own_accounts(schema: Schema, tenant: int) -> CTE:
    """The accounts of one tenant, without those made for tests."""
    row, tag = schema.table("accounts"), schema.table("tags")
    tests = select(tag.c.object_id).where(
        tag.c.tenant_record_id == tenant,
        tag.c.object_type == "ACCOUNT",
        tag.c.tag_definition_id == TEST_TAG,
        tag.c.is_active.is_(true()),
    )
    return (
        select(row)
        .where(row.c.tenant_record_id == tenant, row.c.id.not_in(tests))
        .cte("killbill_account")
    )


def subscriptions(schema: Schema, accounts: CTE) -> CTE:
    """Subscriptions with the three ids under which they can be paused."""
    row = schema.table("subscriptions")
    return (
        select(
            row.c.record_id.label("subscription_id"),
            row.c.id.label("subscription_uuid"),
            func.coalesce(row.c.external_key, row.c.id).label("external_key"),
            row.c.bundle_id.label("bundle_uuid"),
            accounts.c.id.label("account_uuid"),
            accounts.c.record_id.label("customer_id"),
            func.upper(accounts.c.currency, type_=Text).label("currency"),
        )
        .join(
            accounts,
            and_(
                accounts.c.record_id == row.c.account_record_id,
                accounts.c.tenant_record_id == row.c.tenant_record_id,
            ),
        )
        .cte("killbill_subscription")
    )
