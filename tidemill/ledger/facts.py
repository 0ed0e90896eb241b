"""Facts: tables that keep what a derivation gives under the configured policy.

A fact is a cache. Refreshing it for some customers means deleting their rows and deriving them
again; `tests/property` proves that this equals deriving everything as a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Select, Table, func, select

if TYPE_CHECKING:
    from sqlalchemy import FromClause

    from tidemill.policy import Policy
    from tidemill.relations import Relations

__all__ = ["Fact", "RollUp", "tables_of", "whole_companies"]


@dataclass(frozen=True, slots=True)
class RollUp:
    """A table of sums over the rows of a fact, or over what `of` makes of them.

    The primary key of the table are columns of these rows; `row_count` counts them, and every other
    column is the sum of theirs of that name. What `of` makes of the rows of some customers must be
    their part of what it makes of all.
    """

    table: Table
    of: Callable[[FromClause], Select[tuple[object, ...]]] | None = None

    def rows(self, of: FromClause) -> FromClause:
        """What is summed, of rows of the fact."""
        return of if self.of is None else self.of(of).subquery("summed_row")


@dataclass(frozen=True, slots=True)
class Fact:
    """A table and the derivation that fills it: `derive` gives exactly the table's columns.

    of_payments: whether it is a roll-up itself: sums of the relation `payments`, kept by what the
             payments of a batch change, and not customer by customer.
    rollups: sums over its rows, kept in the same transaction.
    """

    table: Table
    derive: Callable[[Relations, Policy], Select[tuple[object, ...]]]
    rollups: tuple[RollUp, ...] = ()
    of_payments: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its table and its roll-ups."""
        return (self.table, *(each.table for each in self.rollups))


def tables_of(facts: Iterable[Fact]) -> tuple[Table, ...]:
    """The tables of all of them."""
    return tuple(table for fact in facts for table in fact.tables)


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
