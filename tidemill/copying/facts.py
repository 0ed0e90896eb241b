"""Keeping the facts of a copy: derived again for the customers whose rows were replaced."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, delete, select, union
from sqlalchemy.dialects import postgresql

from tidemill.bus.staging import Analyze, empty_staging
from tidemill.copying.relations import copied_relations
from tidemill.ledger import Fact, tables_of
from tidemill.models import copied_payment
from tidemill.relations import Relations
from tidemill.state import Books, Cells
from tidemill.state.rollups import roll_up, rolling, signed
from tidemill.state.touched import TOUCHED, touched

__all__ = ["copied_facts", "fill_facts", "follow_facts"]


def copied_facts(fact: Fact, books: Books) -> Any:
    """What the derivation of a fact gives of the whole copy."""
    return fact.derive(_relations(books, everyone=True), books.policy)


def fill_facts(connection: Connection, books: Books) -> None:
    """Derive the facts of everybody, in place of what there is."""
    for table in tables_of(books.facts):
        connection.execute(delete(table))
    for fact in books.facts:
        connection.execute(_derivation(fact, books, everyone=True))
        roll_up(connection, fact)


def follow_facts(
    connection: Connection, books: Books, staged: Any, changed: Any, replace: Callable[[], None]
) -> int:
    """Replace the rows of some customers, and derive the facts again of all that this concerns.

    staged:  the relation `payments` as it will be, at least of these customers.
    changed: their keys (one bigint column), in a table that `replace` leaves alone.
    Returns how many customers were derived again.
    """
    cells = Cells(connection)
    count = _touch(connection, staged, changed)
    of_payments = [fact for fact in books.facts if fact.of_payments]
    of_customers = [fact for fact in books.facts if not fact.of_payments]
    for fact in of_payments:
        cells.gather(fact.table, _payment_sums(fact, books, sign=-1))
    with ExitStack() as stack:
        for fact in of_customers:
            stack.enter_context(rolling(cells, fact))
        replace()
        for fact in of_customers:
            connection.execute(delete(fact.table).where(fact.table.c.customer_id.in_(TOUCHED)))
            connection.execute(_derivation(fact, books, everyone=False))
    for fact in of_payments:
        cells.gather(fact.table, _payment_sums(fact, books, sign=1))
    cells.settle()
    return count


def _touch(connection: Connection, staged: Any, changed: Any) -> int:
    """Fill `touched` with them, and with who shares invoices or payments with them.

    What became of a payment that failed is told by others of its invoice, whoever made them.
    """
    paid = copied_payment

    def named(column: str) -> Any:
        was = select(paid.c[column]).where(paid.c.customer_id.in_(changed))
        comes = select(staged.c[column]).where(staged.c.customer_id.in_(changed))
        return union(*(each.where(_there(each)) for each in (was, comes)))

    def sharing(column: str) -> Any:
        return select(paid.c.customer_id).where(paid.c[column].in_(named(column)))

    empty_staging(connection, touched)
    everyone = union(changed, sharing("invoice"), sharing("reference"))
    connection.execute(touched.insert().from_select(["customer_id"], everyone))
    connection.execute(Analyze(touched))
    return len(connection.execute(TOUCHED).all())


def _there(query: Any) -> Any:
    return query.selected_columns[0].is_not(None)


def _relations(books: Books, *, everyone: bool) -> Relations:
    return copied_relations(
        base_currency=books.base_currency,
        customers=None if everyone else TOUCHED,
        taxed=books.policy.tax == "include",
    )


@lru_cache(maxsize=64)
def _derivation(fact: Fact, books: Books, *, everyone: bool) -> Any:
    """The statement that fills a fact. Building it takes longer than running it for a few rows."""
    derived = fact.derive(_relations(books, everyone=everyone), books.policy)
    return postgresql.insert(fact.table).from_select(
        [each.name for each in derived.selected_columns], derived
    )


@lru_cache(maxsize=16)
def _payment_sums(fact: Fact, books: Books, *, sign: int) -> Any:
    """What the payments of the touched customers are in the cells, or with the other sign."""
    return signed(fact.table, fact.derive(_relations(books, everyone=False), books.policy), sign)
