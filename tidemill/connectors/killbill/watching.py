"""What Kill Bill changed since it was read.

Rows that are changed later say when; the others are only added, and their numbers rise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, cast, func

from tidemill.connectors.killbill.told import TRANSITIONS
from tidemill.connectors.schema import Schema
from tidemill.connectors.watching import Watched

__all__ = ["watched"]

# What says when it was changed, and what is only added.
_DATED = ("subscriptions", "subscription_events", "blocking_states", "payment_transactions")
_NUMBERED = ("invoices", "invoice_items", "invoice_payments")


def watched(schema: Schema, tenant: int) -> Iterator[Watched]:
    """Every table that accounts' numbers rest on, with whose they are."""
    account, tag = schema.table("accounts"), schema.table("tags")
    own = account.c.tenant_record_id == tenant
    yield Watched("accounts", account.c.record_id, _written_at(account), account, (own,))
    tagged = tag.join(account, account.c.id == tag.c.object_id)
    yield Watched("tags", account.c.record_id, _written_at(tag), tagged, (own,))
    # An account's transitions are written anew whenever something changes for it.
    more = (TRANSITIONS,) if schema.has(TRANSITIONS) else ()
    for name in (*_DATED, *_NUMBERED, *more):
        row = schema.table(name)
        mark = _written_at(row) if name in _DATED else row.c.record_id
        of_tenant = row.c.tenant_record_id == tenant
        yield Watched(name, row.c.account_record_id, mark, row, (of_tenant,))
    yield from _overrides(schema, tenant)


def _written_at(row: FromClause) -> ColumnElement[Any]:
    return func.greatest(row.c.created_date, row.c.updated_date, type_=row.c.created_date.type)


def _overrides(schema: Schema, tenant: int) -> Iterator[Watched]:
    """The plans made for one customer, which its choices name by their numbers."""
    event = schema.table("subscription_events")
    plan, of, phase = (
        schema.table("catalog_override_plan_definition"),
        schema.table("catalog_override_plan_phase"),
        schema.table("catalog_override_phase_definition"),
    )
    # <parent>-<number> or <parent>:<number>, a suffix after an exclamation mark may follow.
    number = cast(func.substring(event.c.plan_name, "[-:]([0-9]{1,18})(?:![0-9]+)?$"), BigInteger)
    own = event.c.tenant_record_id == tenant
    of_plan = of.join(event, number == of.c.target_plan_def_record_id)
    for name, row, rows in (
        ("catalog_override_plan_definition", plan, plan.join(event, number == plan.c.record_id)),
        ("catalog_override_plan_phase", of, of_plan),
        (
            "catalog_override_phase_definition",
            phase,
            of_plan.join(phase, phase.c.record_id == of.c.phase_def_record_id),
        ),
    ):
        yield Watched(name, event.c.account_record_id, row.c.record_id, rows, (own,))
