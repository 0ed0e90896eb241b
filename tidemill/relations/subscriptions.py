"""Subscriptions, version by version, with the events behind them."""

from __future__ import annotations

from sqlalchemy import FromClause, Table, select

from tidemill import models
from tidemill.relations.scope import Scope
from tidemill.relations.shapes import COLUMNS

__all__ = ["event_rows", "rows_of_versions", "subscription_rows", "version_rows"]


def subscription_rows() -> FromClause:
    """Every subscription: its key, and its id in the billing system."""
    table = models.subscription
    return select(table.c.id.label("subscription_id"), table.c.external_id).subquery()


def event_rows() -> FromClause:
    """The events of the log that others point to."""
    return select(*(models.event_log.c[name] for name in COLUMNS["events"])).subquery()


def version_rows(scope: Scope) -> FromClause:
    """The versions in scope: one a subscription event, each the whole state."""
    table = models.subscription_version
    state = (table.c[name] for name in COLUMNS["subscription_versions"][1:])
    return select(table.c.id.label("version_id"), *state).where(scope.history(table)).subquery()


def rows_of_versions(table: Table, columns: tuple[str, ...], scope: Scope) -> FromClause:
    """Items or discounts of the versions in scope; unscoped, the join with versions does it."""
    query = select(*(table.c[name] for name in columns))
    if scope.customers is not None:
        version = models.subscription_version
        query = query.join(version, version.c.id == table.c.version_id).where(
            version.c.customer_id.in_(scope.customers)
        )
    return query.subquery()
