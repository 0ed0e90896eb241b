"""Keeping sums of payments: changed by what the payments around a batch are before it, and after.

Some sums tell what became of what was owed, so a payment counts for others: those of the same
invoice, or of the same reference where no invoice is known. A batch may add an attempt, correct
one, or say which invoice a reference is for. Around it are all payments that any of this is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    FromClause,
    Insert,
    Integer,
    Text,
    and_,
    insert,
    or_,
    select,
    true,
    union,
)

from tidemill.bus.staging import Analyze, empty_staging, staging_table
from tidemill.in_force import Books
from tidemill.ledger.facts import Fact
from tidemill.models import allocation, payment
from tidemill.relations import core_relations
from tidemill.state.rollups import Cells, signed
from tidemill.state.rows import about, fields

__all__ = ["PAYMENT_SUBJECTS", "rolling_payments"]

PAYMENT_SUBJECTS: Final = frozenset({"payment", "allocation"})
"""What events are about that change payments, or what they are for."""

_owed: Final = staging_table(
    "owed", Column("source_id", Integer, nullable=False), Column("name", Text, nullable=False)
)
"""What the batch is about: invoices, references, and payments by their own ids."""

_around: Final = staging_table(
    "payment_around", Column("id", BigInteger, primary_key=True, autoincrement=False)
)
"""The rows of all payments of that, before the batch and after."""


@contextmanager
def rolling_payments(
    cells: Cells,
    connection: Connection,
    rows: FromClause,
    subjects: AbstractSet[str],
    books: Books,
) -> Iterator[None]:
    """Gather for sums of payments what the block makes of the payments of a batch.

    rows, subjects: the batch, and what its events are about.
    books:          under the policy in force.
    No other batch may tell of payments until this one commits: each would sum up an invoice without
    the payments that the other is about to add to it.
    """
    facts = [fact for fact in books.facts if fact.of_payments]
    if not facts or PAYMENT_SUBJECTS.isdisjoint(subjects):
        yield
        return
    for staged, found in ((_owed, _named(rows)), (_around, _payments(rows))):
        empty_staging(connection, staged)
        connection.execute(found)
        connection.execute(Analyze(staged))
    for fact in facts:
        cells.gather(fact.table, _sums(fact, books, sign=-1))
    yield
    for fact in facts:
        cells.gather(fact.table, _sums(fact, books, sign=1))


@lru_cache(maxsize=16)
def _sums(fact: Fact, books: Books, *, sign: int) -> Insert:
    """What the payments around the batch are in the cells, or with the other sign."""
    around = core_relations(base_currency=books.base_currency, payments=select(_around.c.id))
    return signed(fact.table, fact.derive(around, books.policy), sign)


def _payments(rows: FromClause) -> Insert:
    """The payments of what the batch is about, each looked up by what it may be known by.

    And those that it brings: there are none of them before it.
    """
    known = (
        select(payment.c.id).join(
            _owed, and_(_owed.c.source_id == payment.c.source_id, _owed.c.name == payment.c[name])
        )
        for name in ("external_id", "invoice", "reference")
    )
    brought = select(rows.c.position).where(about(rows, "payment"))
    return insert(_around).from_select(["id"], union(*known, brought))


def _named(rows: FromClause) -> Insert:
    """What a batch is about.

    An invoice is of a payment that names it or whose reference something else ties to it. So with
    every reference come all invoices that it was ever tied to, since the batch may decide between
    them; and with every invoice all references that were ever tied to it.
    """
    said = fields(rows.c.data, invoice=Text(), reference=Text())
    paid = about(rows, "payment")
    told = (
        select(rows.c.source_id, rows.c.subject, paid.label("is_payment"), *said.c)
        .select_from(rows.join(said, true()))
        .where(or_(paid, about(rows, "allocation")))
        .cte("told")
    )
    itself = and_(payment.c.source_id == told.c.source_id, payment.c.external_id == told.c.subject)
    # What payments of the batch said before it is about them, too.
    tied = union(
        select(told.c.source_id, told.c.invoice, told.c.reference),
        select(payment.c.source_id, payment.c.invoice, payment.c.reference)
        .join(told, itself)
        .where(told.c.is_payment),
    ).cte("tied")
    reference = _names(tied, "reference").distinct().cte("owed_reference")
    invoice = union(
        _names(tied, "invoice"),
        *(_tied(table, reference, "reference", "invoice") for table in (payment, allocation)),
    ).cte("owed_invoice")
    names = union(
        select(told.c.source_id, told.c.subject.label("name")).where(told.c.is_payment),
        select(reference),
        select(invoice),
        *(_tied(table, invoice, "invoice", "reference") for table in (payment, allocation)),
    )
    return insert(_owed).from_select(["source_id", "name"], names)


def _names(of: FromClause, column: str) -> Any:
    named = of.c[column]
    return select(of.c.source_id, named.label("name")).where(named.is_not(None))


def _tied(table: FromClause, known: FromClause, by: str, other: str) -> Any:
    """What is tied in a table to names that are known."""
    same = and_(known.c.source_id == table.c.source_id, known.c.name == table.c[by])
    return _names(table, other).join(known, same)
