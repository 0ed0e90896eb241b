"""Keeping the facts: what the ledger derives, derived again for the customers a batch touched."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Connection, FromClause, Select, Table, delete, insert

from tidemill.bus.staging import Analyze
from tidemill.in_force import Books, note
from tidemill.ledger.facts import Fact, tables_of
from tidemill.relations import Relations, core_relations
from tidemill.state.renewing import derived_into, renew
from tidemill.state.rollups import Cells, roll_up
from tidemill.state.touched import TOUCHED, Reads, touch, touched

__all__ = [
    "Source",
    "derivation",
    "derive_all",
    "fill",
    "of_events",
    "refill_payments",
    "refresh",
    "renew_touched",
    "tables_read",
]


Source = Callable[[Books, Select[tuple[int]] | None], Relations]
"""Gives what facts are derived from, of these customers alone if any are named."""


def of_events(books: Books, customers: Select[tuple[int]] | None) -> Relations:
    """The relations as our core tables have them."""
    return core_relations(base_currency=books.base_currency, customers=customers)


def refresh(
    cells: Cells,
    connection: Connection,
    rows: FromClause,
    subjects: AbstractSet[str],
    books: Books,
) -> int:
    """Derive the facts again for the customers whose ledger the batch may have changed.

    cells:    gather what that changes in sums.
    subjects: what the events are about, such as ``subscription``.
    books:    under the policy in force, also where another one was configured: all facts are always
              those of one policy.
    Returns how many customers they are.
    """
    count = touch(connection, rows, subjects, books, tables_read(books))
    if count:
        connection.execute(Analyze(touched))
        renew_touched(cells, connection, books)
    return count


def renew_touched(
    cells: Cells, connection: Connection, books: Books, source: Source = of_events
) -> None:
    """Bring the facts of the customers in `touched` to what their history gives."""
    for fact in books.facts:
        if not fact.of_payments:
            renew(cells, connection, fact, derivation(fact, books, source, everyone=False))


def tables_read(books: Books) -> Reads:
    """The tables that the facts of customers are derived from."""
    facts = (fact for fact in books.facts if not fact.of_payments)
    return frozenset[str]().union(*(_reads(fact, books) for fact in facts))


def derive_all(connection: Connection, books: Books, source: Source = of_events) -> None:
    """Derive the facts of all customers again and put the policy of the books in force.

    In the caller's transaction, which must keep workers from applying anything meanwhile.
    """
    note(connection, books)
    for table in tables_of(books.facts):
        connection.execute(delete(table))
    fill(connection, books, source)


def fill(connection: Connection, books: Books, source: Source = of_events) -> None:
    """Derive the facts of all customers into tables that are empty."""
    for fact in books.facts:
        connection.execute(derivation(fact, books, source, everyone=True))
        roll_up(connection, fact)


def refill_payments(connection: Connection, books: Books) -> None:
    """Make the sums of payments again, where nobody knows what a batch has changed in them."""
    for fact in books.facts:
        if fact.of_payments:
            connection.execute(delete(fact.table))
            connection.execute(derivation(fact, books, everyone=True))


@lru_cache(maxsize=64)
def derivation(fact: Fact, books: Books, source: Source = of_events, *, everyone: bool) -> Any:
    """The statement that fills a fact of everyone, or makes ready for `renew` who is in `touched`.

    Building it takes longer than running it for a few rows.
    """
    derived = fact.derive(source(books, None if everyone else TOUCHED), books.policy)
    table = fact.table if everyone else derived_into(fact.table)
    return insert(table).from_select([each.name for each in derived.selected_columns], derived)


@lru_cache(maxsize=64)
def _reads(fact: Fact, books: Books) -> Reads:
    """The tables that a fact's derivation reads, found in the statement itself.

    So no list of knobs has to be kept of what the ledger looks at under which of them.
    """
    derived = fact.derive(core_relations(base_currency=books.base_currency), books.policy)
    names: set[str] = set()
    # Parts are shared all over a statement: each is looked at once, or it would never end.
    seen: dict[int, ClauseElement] = {}
    waiting: list[Any] = [derived]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, Table):
            names.add(part.name)
        else:
            waiting += part.get_children()
            # A column does not count its table among its parts.
            waiting += [part.table] if getattr(part, "table", None) is not None else []
    return frozenset(names)
