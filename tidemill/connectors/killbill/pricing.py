"""What prices are taken from and who has none, to be said beside numbers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    Executable,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    cast,
    distinct,
    exists,
    func,
    literal,
    select,
    true,
    union_all,
)

from tidemill.connectors.killbill.accounts import own_accounts, subscriptions
from tidemill.connectors.killbill.catalog import CatalogVersion, catalog_prices
from tidemill.connectors.killbill.phases import phases, unpriced
from tidemill.connectors.killbill.told import TRANSITIONS, told_prices
from tidemill.connectors.schema import Schema

__all__ = ["left_out", "priced_by"]

_UNTOLD = "subscriptions of plans whose price no catalogue, analytics table or invoice tells"
_NO_CURRENCY = "subscriptions of accounts without a currency"


def _asked(
    schema: Schema, tenant: int, versions: tuple[CatalogVersion, ...]
) -> tuple[CTE, CTE, FromClause]:
    """Subscriptions, the phases that the catalogue has no price for, and who is told one."""
    own = own_accounts(schema, tenant).prefix_with("NOT MATERIALIZED")
    # Mostly every phase has a price, and then no subscription has to be looked at.
    subscription = subscriptions(schema, own).prefix_with("NOT MATERIALIZED")
    missing = unpriced(phases(schema, tenant), own, catalog_prices(versions))
    return subscription, missing, told_prices(schema, tenant, subscription, missing)


def left_out(schema: Schema, tenant: int, versions: tuple[CatalogVersion, ...]) -> Executable:
    """Subscriptions whose price is told nowhere, and those of accounts without a currency."""
    subscription, missing, told = _asked(schema, tenant, versions)
    no_currency = select(cast(literal(_NO_CURRENCY), Text), func.count()).where(
        subscription.c.currency.is_(None)
    )
    untold = _untold(schema, subscription, missing, told)
    return union_all(select(cast(literal(_UNTOLD), Text), untold.scalar_subquery()), no_currency)


def _untold(schema: Schema, subscription: CTE, missing: CTE, told: FromClause) -> Select[Any]:
    """How many subscriptions ever were in a phase of no price; a trial is worth none anyway."""
    row = schema.table("subscription_events")
    of = and_(
        subscription.c.subscription_uuid == row.c.subscription_id,
        subscription.c.currency == missing.c.currency,
    )
    known = exists().where(
        told.c.subscription_id == subscription.c.subscription_id,
        told.c.phase_name == missing.c.phase_name,
    )
    return (
        select(func.count(distinct(subscription.c.subscription_id)))
        .join_from(missing, row, row.c.phase_name == missing.c.phase_name)
        .join(subscription, of)
        .where(row.c.is_active.is_(true()), missing.c.phase_type != "TRIAL", ~known)
    )


def priced_by(schema: Schema, tenant: int, versions: tuple[CatalogVersion, ...]) -> Executable:
    """Plans of the catalogue, and how many subscriptions have a price from elsewhere."""
    _, _, told = _asked(schema, tenant, versions)
    plans = len({name for each in versions for name in each.plans})
    counted = [
        select(cast(literal("plans by the catalogue in tenant_kvs"), Text), literal(plans, Integer))
    ]
    by_item = told.c.item_uuid.is_not(None)
    ways = [("subscriptions by what they were invoiced", by_item)]
    if schema.has(TRANSITIONS):
        ways.insert(0, ("subscriptions by the analytics plugin's tables", ~by_item))
    counted += [
        select(cast(literal(said), Text), func.count(distinct(told.c.subscription_id))).where(which)
        for said, which in ways
    ]
    return union_all(*counted)
