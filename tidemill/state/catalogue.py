"""What is sold, and what money is worth: current rows of products and plans, published rates."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Date,
    FromClause,
    Numeric,
    Table,
    Text,
    case,
    false,
    func,
    or_,
    select,
    true,
)

from tidemill.models import fx_rate, plan, product
from tidemill.state.rows import Columns, about, fields, latest, put_latest, state_key
from tidemill.state.subscriptions import insert_new

__all__ = ["apply_plans", "apply_products", "apply_rates"]


def apply_products(connection: Connection, rows: FromClause) -> None:
    """Bring the products up to date; a deleted one stays, no longer active."""
    last, gone = _last(rows, "product")
    said = fields(last.c.data, name=Text(), active=Boolean())
    found = select(
        last.c.source_id,
        last.c.subject.label("external_id"),
        said.c.name,
        _active(gone, said),
        *state_key(last),
    ).select_from(last.join(said, true()))
    connection.execute(_put(product, found))


def apply_plans(connection: Connection, rows: FromClause) -> None:
    """Bring the plans up to date; a deleted one stays, no longer active."""
    last, gone = _last(rows, "plan")
    said = fields(
        last.c.data,
        product=Text(),
        name=Text(),
        currency=Text(),
        interval=Text(),
        interval_count=Numeric(),
        unit_amount=Numeric(),
        pricing_model=Text(),
        usage_type=Text(),
        active=Boolean(),
    )
    found = select(
        last.c.source_id,
        last.c.subject.label("external_id"),
        said.c.product,
        said.c.name,
        func.upper(said.c.currency).label("currency"),
        said.c.interval,
        said.c.interval_count,
        said.c.unit_amount,
        said.c.pricing_model,
        said.c.usage_type,
        _active(gone, said),
        *state_key(last),
    ).select_from(last.join(said, true()))
    connection.execute(_put(plan, found))


def apply_rates(connection: Connection, rows: FromClause) -> None:
    """Add a row for every published rate; one that is there already stays as it is.

    Rates of test mode are left out, because nothing in the table would tell them apart.
    """
    said = fields(rows.c.data, base=Text(), quote=Text(), day=Date(), rate=Numeric())
    published = (
        select(
            rows.c.position.label("id"),
            rows.c.id.label("event_id"),
            *(rows.c[name] for name in ("occurred_at", "sequence", "recorded_at")),
            func.upper(said.c.base).label("base"),
            func.upper(said.c.quote).label("quote"),
            said.c.day,
            said.c.rate,
        )
        .select_from(rows.join(said, true()))
        .where(about(rows, "fx_rate"), rows.c.livemode)
    )
    connection.execute(insert_new(fx_rate, published))


def _last(rows: FromClause, subject: str) -> tuple[FromClause, ColumnElement[bool]]:
    """The last event of each subject of the catalogue, and whether it takes it off sale."""

    def gone(event: FromClause) -> ColumnElement[bool]:
        return or_(event.c.type == f"{subject}.deleted", event.c.data["active"].astext == "false")

    by = [rows.c.source_id, rows.c.subject]
    terminal = func.coalesce(gone(rows), false())
    last = latest(rows, by, about(rows, subject), terminal).subquery("last")
    return last, gone(last)


def _active(gone: ColumnElement[bool], said: FromClause) -> ColumnElement[bool]:
    return case((gone, false()), else_=said.c.active).label("active")


def _put(table: Table, found: Any) -> Any:
    def off_sale(columns: Columns) -> ColumnElement[bool]:
        active: ColumnElement[bool] = columns["active"]
        return active.is_(False)

    return put_latest(table, found, ["source_id", "external_id"], off_sale)
