"""Facts: tables that keep what a derivation gives under the configured policy.

A fact is a cache. Refreshing it for some customers means deleting their rows and deriving them
again; `tests/property` proves that this equals deriving everything as a query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Select, Table, func, select

if TYPE_CHECKING:
    from sqlalchemy import FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Fact", "whole_companies"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A table and the derivation that fills it: `derive` gives exactly the table's columns."""

    table: Table
    derive: Callable[[Relations, Policy], Select[tuple[object, ...]]]


def whole_companies(customers: FromClause, identities: FromClause) -> Select[tuple[int]]:
    """The given customers and all that are one company with any of them by merging.

    customers: one bigint column `customer_id`.
    Facts of a company are kept under its canonical customer, so its members are derived together.
    """
    canonical = func.coalesce(identities.c.canonical_id, customers.c.customer_id)
    companies = (
        select(canonical.label("canonical_id"))
        .select_from(
            customers.outerjoin(identities, identities.c.customer_id == customers.c.customer_id)
        )
        .cte("company")
    )
    members = select(identities.c.customer_id).where(
        identities.c.canonical_id.in_(select(companies.c.canonical_id))
    )
    # A union of selects is a select to whoever reads from it; its type says otherwise.
    return members.union(select(companies.c.canonical_id), select(customers.c.customer_id))  # type: ignore[return-value]
