"""What Lago's flat fees say of plan periods: what one cost before its plan was edited, and its tax.

Lago changes plans in place. A fee keeps what was billed, and what for.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    and_,
    case,
    cast,
    func,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from tidemill.connectors.keys import instant
from tidemill.connectors.lago.tables import FINALIZED, FLAT_FEE
from tidemill.connectors.schema import Schema

__all__ = ["price_steps", "tax_rates"]


def price_steps(schema: Schema, period: CTE) -> CTE:
    """What the flat fees say a period cost, and from when, where its plan may have been edited.

    Shape: row_id, fee_id, at, amount_minor, is_change: it differs from the step before it.
    The price after the last fee is the plan's own, from the end of what that fee was for.
    """
    fee, invoice = schema.table("fees"), schema.table("invoices")
    billed = fee.c.amount_details["plan_amount_cents"].astext
    # Asked so that the planner expects few, and looks their fees up: of a column that says yes or
    # no it would expect half, and read all fees there are.
    is_doubtful = case((period.c.may_be_repriced, 1), else_=0) == 1
    doubtful = select(period).where(is_doubtful).cte("lago_doubtful")
    paid = (
        select(
            doubtful.c.row_id,
            doubtful.c.amount_cents,
            fee.c.id.label("fee_id"),
            _said(fee, "from_datetime").label("from_at"),
            _said(fee, "to_datetime").label("to_at"),
            cast(billed, Numeric).label("amount_minor"),
        )
        .join(fee, fee.c.subscription_id == doubtful.c.row_id)
        .join(invoice, invoice.c.id == fee.c.invoice_id)
        .where(
            fee.c.fee_type == FLAT_FEE,
            fee.c.deleted_at.is_(None),
            invoice.c.status == FINALIZED,
            billed.is_not(None),
            fee.c.properties["from_datetime"].astext.is_not(None),
        )
        .cte("lago_flat_fee")
    )
    last = (
        select(paid)
        .ext(distinct_on(paid.c.row_id))
        .order_by(paid.c.row_id, paid.c.from_at.desc())
        .subquery("lago_last_fee")
    )
    told = union_all(
        select(paid.c.row_id, paid.c.fee_id, paid.c.from_at.label("at"), paid.c.amount_minor),
        select(
            last.c.row_id,
            last.c.fee_id,
            # Both ends of what a fee is for belong to it.
            (last.c.to_at + func.make_interval(0, 0, 0, 0, 0, 0, 0.001)).label("at"),
            cast(last.c.amount_cents, Numeric),
        ).where(last.c.to_at.is_not(None)),
    ).subquery("lago_told_price")
    before = func.lag(told.c.amount_minor).over(partition_by=told.c.row_id, order_by=told.c.at)
    return select(
        told,
        and_(before.is_not(None), before != told.c.amount_minor).label("is_change"),
    ).cte("lago_price_step")


def tax_rates(schema: Schema) -> FromClause:
    """The tax on each plan period's price, as its latest flat fee says: row_id, tax_rate.

    tax_rate: a fraction; what was never billed has no row.
    """
    fee, invoice = schema.table("fees"), schema.table("invoices")
    return (
        select(
            fee.c.subscription_id.label("row_id"),
            (cast(fee.c.taxes_rate, Numeric) / 100).label("tax_rate"),
        )
        .ext(distinct_on(fee.c.subscription_id))
        .join_from(fee, invoice, invoice.c.id == fee.c.invoice_id)
        .where(
            fee.c.fee_type == FLAT_FEE,
            fee.c.deleted_at.is_(None),
            invoice.c.status == FINALIZED,
        )
        .order_by(fee.c.subscription_id, fee.c.created_at.desc())
        .subquery("lago_tax_rate")
    )


def _said(fee: FromClause, name: str) -> ColumnElement[Any]:
    """An instant out of a fee's properties, which are in UTC whether they say so or not."""
    text = func.left(fee.c.properties[name].astext, 23)
    return instant(cast(func.replace(text, "Z", ""), DateTime))
