"""Keeping the facts of a copy: derived again for the customers whose rows were replaced."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, select, union

from tidemill.bus.staging import Analyze, empty_staging
from tidemill.copying.relations import copied_relations
from tidemill.ledger import Fact
from tidemill.models import copied_payment
from tidemill.relations import Relations
from tidemill.state import Books, Cells
from tidemill.state.facts import renew_touched
from tidemill.state.rollups import signed
from tidemill.state.touched import TOUCHED, touched

__all__ = ["follow_facts", "of_copy"]


def of_copy(books: Books, customers: Select[tuple[int]] | None) -> Relations:
    """What facts are derived from: the relations as copied, with tax where the policy has it."""
    return copied_relations(
        base_currency=books.base_currency,
        customers=customers,
        taxed=books.policy.tax == "include",
    )


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
    for fact in of_payments:
        cells.gather(fact.table, _payment_sums(fact, books, sign=-1))
    replace()
    renew_touched(cells, connection, books, of_copy)
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


@lru_cache(maxsize=16)
def _payment_sums(fact: Fact, books: Books, *, sign: int) -> Any:
    """What the payments of the touched customers are in the cells, or with the other sign."""
    return signed(fact.table, fact.derive(of_copy(books, TOUCHED), books.policy), sign)
