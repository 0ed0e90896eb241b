"""Whose books these are: accounts and subscriptions of one tenant, and their money."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Numeric,
    Text,
    and_,
    case,
    cast,
    func,
    select,
    true,
)

from tidemill.connectors.killbill.tables import TEST_TAG
from tidemill.connectors.schema import Schema
from tidemill.money import EXPONENTS

__all__ = ["USUAL_EXPONENT", "minor_units", "own_accounts", "subscriptions"]

USUAL_EXPONENT: Final = 2
"""Decimal places of a currency that ISO 4217 does not know, such as BTC."""


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


def minor_units(major: ColumnElement[Any], currency: ColumnElement[Any]) -> ColumnElement[Any]:
    """An amount as Kill Bill has it in minor units, unrounded."""
    unusual = [
        (currency.in_([code for code, places in EXPONENTS.items() if places == each]), 10**each)
        for each in sorted(set(EXPONENTS.values()) - {USUAL_EXPONENT})
    ]
    return cast(major * case(*unusual, else_=10**USUAL_EXPONENT), Numeric)
