"""Keeping the facts: what the ledger derives, derived again for the customers a batch touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, FromClause, and_, delete, func, or_, select
from sqlalchemy.dialects import postgresql

from tidemill.bus.staging import Analyze, empty_staging, staging_table
from tidemill.ledger.facts import Fact, whole_companies
from tidemill.models import customer, customer_merge, subscription, subscription_version
from tidemill.policy import Policy
from tidemill.relations import Relations, core_relations
from tidemill.state.merges import concerned
from tidemill.state.rows import about

__all__ = ["Books", "derive_all", "refresh"]


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept up to date beside the core tables, and by which rules.

    facts:         the tables to keep, each with its derivation.
    policy:        the configured policy.
    base_currency: the currency of the books, upper-case ISO 4217.
    """

    facts: tuple[Fact, ...] = ()
    policy: Policy = field(default_factory=Policy.of)
    base_currency: str = "USD"


# The customers whose facts a batch changes. A table and not a subquery, so that the planner knows
# how many there are: it makes the difference between looking up ten and scanning everything.
_touched = staging_table(
    "touched", Column("customer_id", BigInteger, primary_key=True, autoincrement=False)
)
# The first of the two keys of the advisory lock on the facts: "fact" in ASCII.
_FACTS_LOCK: Final = int.from_bytes(b"fact", "big")

_TOUCHED: Final = select(_touched.c.customer_id)


def refresh(connection: Connection, rows: FromClause, books: Books) -> int:
    """Derive the facts again for the customers whose ledger the batch may have changed.

    Those are the customers with subscription or invoice events in it, and whole companies where it
    changed what belongs together. Returns how many they are.
    """
    empty_staging(connection, _touched)
    connection.execute(_touch(_named_in(rows)))
    connection.execute(_touch(_sharing(rows)))
    if _keep_others_out(connection):
        connection.execute(_touch(concerned(rows)))
        connection.execute(_touch(whole_companies(_touched, _relations(books).identities)))
    count = connection.execute(select(func.count()).select_from(_touched)).scalar_one()
    if count:
        connection.execute(Analyze(_touched))
        for fact in books.facts:
            connection.execute(delete(fact.table).where(fact.table.c.customer_id.in_(_TOUCHED)))
            connection.execute(_derivation(fact, books, everyone=False))
    return count


def _keep_others_out(connection: Connection) -> bool:
    """Hold the facts until the transaction ends; whether there are companies of several customers.

    Workers hold different partitions, so different customers, and need not mind each other. But a
    merged company has customers in several partitions: each worker would derive it without seeing
    what the others are about to commit. Once there is a merge, one derives at a time.
    """
    merged = select(select(customer_merge.c.id).exists())
    for _ in range(2):
        alone = connection.execute(merged).scalar_one()
        lock = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
        connection.execute(select(lock(_FACTS_LOCK, 0)))
        if alone:
            return True
        # The first merge of all may have been committed while this waited: look again.
    return False


def derive_all(connection: Connection, books: Books) -> None:
    """Derive the facts of all customers again, in the caller's transaction."""
    for fact in books.facts:
        connection.execute(delete(fact.table))
        connection.execute(_derivation(fact, books, everyone=True))


def _named_in(rows: FromClause) -> Any:
    changing = or_(about(rows, "subscription"), about(rows, "invoice"))
    owner = and_(
        customer.c.source_id == rows.c.source_id, customer.c.external_id == rows.c.customer
    )
    return select(customer.c.id).join(rows, owner).where(changing).distinct()


def _sharing(rows: FromClause) -> Any:
    """All customers a touched subscription ever had: it leaves the one when it joins the other."""
    named = and_(
        subscription.c.source_id == rows.c.source_id, subscription.c.external_id == rows.c.subject
    )
    moved = (
        select(subscription.c.id).join(rows, named).where(about(rows, "subscription")).distinct()
    )
    version = subscription_version
    return select(version.c.customer_id).where(version.c.subscription_id.in_(moved)).distinct()


def _touch(found: Any) -> Any:
    new = postgresql.insert(_touched).from_select(["customer_id"], found)
    return new.on_conflict_do_nothing()


def _relations(books: Books, customers: Any = None) -> Relations:
    return core_relations(base_currency=books.base_currency, customers=customers)


@lru_cache(maxsize=64)
def _derivation(fact: Fact, books: Books, *, everyone: bool) -> Any:
    """The statement that fills a fact. Building it takes longer than running it for a few rows."""
    relations = _relations(books, None if everyone else _TOUCHED)
    derived = fact.derive(relations, books.policy)
    return postgresql.insert(fact.table).from_select(
        [each.name for each in derived.selected_columns], derived
    )
