"""Subscriptions, version by version, with the events behind them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, select, union_all

from tidemill import models
from tidemill.relations.schedules import planned_events, planned_versions
from tidemill.relations.scope import Scope
from tidemill.relations.shapes import COLUMNS

__all__ = ["event_rows", "rows_of_versions", "subscription_rows", "version_rows"]


def subscription_rows() -> FromClause:
    """Every subscription: its key, and its id in the billing system."""
    table = models.subscription
    return select(table.c.id.label("subscription_id"), table.c.external_id).subquery()


def event_rows() -> FromClause:
    """The events of the log that others point to."""
    logged = select(*(models.event_log.c[name] for name in COLUMNS["events"]))
    return union_all(logged, planned_events()).subquery()


def version_rows(scope: Scope) -> FromClause:
    """The versions in scope: a whole state for each subscription event; and what is planned."""
    table = models.subscription_version
    if scope.known_at is None:
        return _versions(table, scope.history(table)).subquery()
    told = _versions(table, table.c.id > 0, scope.history(table))
    return union_all(told, _versions(planned_versions(scope).subquery("planned"))).subquery()


def _versions(rows: FromClause, *conditions: ColumnElement[bool]) -> Select[Any]:
    state = (rows.c[name] for name in COLUMNS["subscription_versions"][1:])
    return select(rows.c.id.label("version_id"), *state).where(*conditions)


def rows_of_versions(table: Table, columns: tuple[str, ...], scope: Scope) -> FromClause:
    """Items or discounts of the versions in scope; unscoped, the join with versions does it."""
    query = select(*(table.c[name] for name in columns))
    if scope.customers is None:
        return query.subquery()
    version = models.subscription_version
    told = query.join(version, version.c.id == table.c.version_id).where(
        version.c.customer_id.in_(scope.customers)
    )
    if scope.known_at is None:
        return told.subquery()
    # What was planned then has numbers below zero. It is little, and the join takes whose it is.
    return union_all(
        told.where(table.c.version_id > 0), query.where(table.c.version_id < 0)
    ).subquery()
