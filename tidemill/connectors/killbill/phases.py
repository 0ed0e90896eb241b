"""What the names of phases mean, and which of them no catalogue in the database has a price for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    and_,
    cast,
    exists,
    func,
    select,
)

from tidemill.connectors.amounts import minor_units
from tidemill.connectors.schema import Schema

__all__ = ["override_prices", "phases", "unpriced"]


def _phase_type(phase_name: ColumnElement[Any]) -> ColumnElement[str]:
    """A phase is named after its plan and its type, whatever the plan is called."""
    return func.upper(func.substring(phase_name, "[^-]+$"), type_=Text)


def phases(schema: Schema, tenant: int) -> CTE:
    """What the names of phases mean, each taken apart once: <plan>-<type>, as Kill Bill does.

    Shape: phase_name, plan (of the catalogue), override (the number of a plan made for one
           customer, or null), phase_type; number, by which it is told from the others for as long
           as the statement lasts.
    """
    row = schema.table("subscription_events")
    plan = schema.table("catalog_override_plan_definition")
    told = (
        select(row.c.phase_name)
        .where(row.c.tenant_record_id == tenant, row.c.phase_name.is_not(None))
        .distinct()
        .subquery("killbill_phase_name")
    )
    named = func.regexp_replace(told.c.phase_name, "-[^-]+$", "", type_=Text)
    # <parent>-<number> or <parent>:<number>, a suffix after an exclamation mark may follow.
    number = cast(func.substring(named, "[-:]([0-9]{1,18})(?:![0-9]+)?$"), BigInteger)
    parent = func.regexp_replace(named, "[-:][0-9]+(![0-9]+)?$", "")
    is_override = and_(
        plan.c.tenant_record_id == tenant,
        plan.c.record_id == number,
        plan.c.parent_plan_name == parent,
    )
    return (
        select(
            told.c.phase_name,
            func.coalesce(plan.c.parent_plan_name, named, type_=Text).label("plan"),
            plan.c.record_id.label("override"),
            _phase_type(told.c.phase_name).label("phase_type"),
            func.row_number().over().label("number"),
        )
        .select_from(told.outerjoin(plan, is_override))
        .cte("killbill_named_phase")
        # Else the names would be taken apart again for every event that they are joined to.
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def override_prices(schema: Schema, tenant: int) -> FromClause:
    """What phases of plans made for one customer cost: override, phase_type, currency, price.

    The price is in minor units, null where it is the catalogue's.
    """
    of, phase = (
        schema.table("catalog_override_plan_phase"),
        schema.table("catalog_override_phase_definition"),
    )
    currency = func.upper(phase.c.currency, type_=Text)
    return (
        select(
            of.c.target_plan_def_record_id.label("override"),
            _phase_type(phase.c.parent_phase_name).label("phase_type"),
            currency.label("currency"),
            minor_units(func.max(phase.c.recurring_price), currency).label("price"),
        )
        .join(phase, phase.c.record_id == of.c.phase_def_record_id)
        .where(of.c.tenant_record_id == tenant)
        .group_by("override", "phase_type", currency)
        .subquery("killbill_override_price")
    )


def unpriced(named: CTE, payers: FromClause, catalog: FromClause) -> CTE:
    """Phases that somebody is or was in and the catalogue has no price for in a currency.

    payers: whoever pays, each in its currency.
    Shape:  phase_name, phase_type, currency.
    """
    code = func.upper(payers.c.currency, type_=Text).label("currency")
    paid_in = select(code).distinct().subquery("killbill_currency")
    currency: ColumnElement[Any] = paid_in.c.currency
    priced = exists().where(
        catalog.c.plan == named.c.plan,
        catalog.c.phase_type == named.c.phase_type,
        func.coalesce(catalog.c.currency, currency) == currency,
    )
    return (
        select(named.c.phase_name, named.c.phase_type, currency)
        .join_from(named, paid_in, currency.is_not(None))
        .where(~priced)
        .cte("killbill_unpriced")
        # Few or none: what is joined to it is hardly looked at.
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
