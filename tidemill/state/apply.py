"""Applying a batch of events to the tables: a fixed number of statements, whatever its size.

The caller owns the transaction; positions and effects commit together or not at all. An event the
tables do not take is found by halving the batch under savepoints. It goes into the quarantine in
the same transaction, with what the database said; the others are applied as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, FromClause, Text, cast, func, select
from sqlalchemy.exc import DBAPIError

from tidemill import quarantine
from tidemill.bus.refusal import refusal
from tidemill.errors import Problem
from tidemill.events import Event
from tidemill.in_force import Books, in_force
from tidemill.models import invoice_version, source
from tidemill.state.attributes import apply_attributes, apply_pins
from tidemill.state.catalogue import apply_plans, apply_products, apply_rates
from tidemill.state.customers import apply_customers
from tidemill.state.expenses import apply_expenses
from tidemill.state.facts import refresh, tables_read
from tidemill.state.invoices import (
    apply_allocations,
    apply_invoices,
    apply_payments,
    supersede_invoices,
)
from tidemill.state.keys import make_keys
from tidemill.state.merges import apply_merges
from tidemill.state.payment_sums import PAYMENT_SUBJECTS, rolling_payments
from tidemill.state.rollups import Cells
from tidemill.state.schedules import apply_schedules, look_ahead
from tidemill.state.subscriptions import apply_subscriptions

__all__ = ["LOGGED", "Applied", "apply", "subjects"]

LOGGED: Final = "log:"
"""How the origin of a quarantined event begins that is in the log, before its position."""

# The first of the two keys of the advisory lock on last words and sums: "paid" in ASCII.
_LOCK: Final = int.from_bytes(b"paid", "big")

# What customers may share: each batch that tells of it sees what the others have told.
_ALONE: Final = PAYMENT_SUBJECTS | {"invoice"}

# The tables in which a batch decides then what still counts.
_LAST_WORDS: Final = PAYMENT_SUBJECTS | {invoice_version.name}


def _apply_customers(connection: Connection, rows: FromClause) -> None:
    apply_customers(connection, rows)
    apply_merges(connection, rows)
    apply_attributes(connection, rows)


# Who writes the events about a subject.
_WRITERS: Final[dict[str, Callable[[Connection, FromClause], None]]] = {
    "customer": _apply_customers,
    "product": apply_products,
    "plan": apply_plans,
    "fx_rate": apply_rates,
    "subscription": apply_subscriptions,
    "schedule": apply_schedules,
    "invoice": apply_invoices,
    "payment": apply_payments,
    "allocation": apply_allocations,
    "attribute": apply_pins,
    "expense": apply_expenses,
}


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch: events applied, events quarantined, customers derived again."""

    events: int = 0
    quarantined: int = 0
    customers: int = 0

    def __add__(self, other: Applied) -> Applied:
        """Both batches together."""
        return Applied(
            self.events + other.events,
            self.quarantined + other.quarantined,
            self.customers + other.customers,
        )


def apply(connection: Connection, rows: FromClause, books: Books) -> Applied:
    """Write a batch of events into the tables, in the caller's transaction.

    rows:  events with the columns of ``event_log``, such as `Delivery.rows`. Applying an event
           again changes nothing.
    books: what to keep up to date beside the core tables.
    Raises whatever is not the events' fault; the transaction must then be undone.
    """
    counts = subjects(connection, rows)
    events = sum(counts.values())
    try:
        with connection.begin_nested():
            customers = _write(connection, rows, set(counts), books)
        return Applied(events, 0, customers)
    except DBAPIError as error:
        problem = refusal(error)
        if problem is None:
            raise
    if events == 1:
        _set_aside(connection, rows, books, problem)
        return Applied(0, 1, 0)
    middle = _middle(connection, rows, events)
    # The earlier half first: keys are the position of the first mention.
    first = select(rows).where(rows.c.position < middle).subquery()
    second = select(rows).where(rows.c.position >= middle).subquery()
    return apply(connection, first, books) + apply(connection, second, books)


def subjects(connection: Connection, rows: FromClause) -> dict[str, int]:
    """What a batch is about, such as ``subscription``, and in how many events."""
    about = func.split_part(rows.c.type, ".", 1)
    counted = connection.execute(select(about, func.count()).group_by(about))
    return {row[0]: row[1] for row in counted}


def _write(connection: Connection, rows: FromClause, subjects: set[str], books: Books) -> int:
    """Write a batch into the tables; how many customers were derived again.

    Sums change, and wait for other workers, at the end; and what tells of payments, or decides
    which word on an invoice is the last, comes as late as the policy lets it, because it keeps them
    waiting, too.
    """
    ours = in_force(connection, books) if books.facts else books
    cells = Cells(connection)
    make_keys(connection, rows)
    _tell(connection, rows, subjects - PAYMENT_SUBJECTS)
    look_ahead(connection, rows, subjects)
    read = not tables_read(ours).isdisjoint(_LAST_WORDS)
    customers = 0
    if ours.facts and not read:
        customers = refresh(cells, connection, rows, subjects, ours)
    if not subjects.isdisjoint(_ALONE):
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK, 0)))
    with rolling_payments(cells, connection, rows, subjects, ours):
        _tell(connection, rows, subjects & PAYMENT_SUBJECTS)
    if "invoice" in subjects:
        supersede_invoices(connection, rows)
    if ours.facts and read:
        customers = refresh(cells, connection, rows, subjects, ours)
    cells.settle()
    return customers


def _tell(connection: Connection, rows: FromClause, subjects: AbstractSet[str]) -> None:
    for subject, write in _WRITERS.items():
        if subject in subjects:
            write(connection, rows)


def _middle(connection: Connection, rows: FromClause, events: int) -> int:
    """The position at which the second half of the events begins."""
    query = select(rows.c.position).order_by(rows.c.position).offset(events // 2).limit(1)
    return int(connection.execute(query).scalar_one())


def _set_aside(connection: Connection, rows: FromClause, books: Books, problem: Problem) -> None:
    """Put the one event of `rows` into the quarantine, as it would stand in a file."""
    try:
        with connection.begin_nested():
            # It still counts as a mention, so that a replay finds the keys it would have made.
            make_keys(connection, rows)
            if books.facts:
                # And whoever was merged into a customer never heard of is one company with it now.
                cells, ours = Cells(connection), in_force(connection, books)
                refresh(cells, connection, rows, frozenset(), ours)
                cells.settle()
    except DBAPIError as error:
        if refusal(error) is None:
            raise
    row = connection.execute(
        select(rows, source.c.name.label("source"), cast(rows.c.data, Text).label("text")).join(
            source, source.c.id == rows.c.source_id
        )
    ).one()
    event = Event(
        id=row.id,
        source=row.source,
        type=row.type,
        occurred_at=row.occurred_at,
        sequence=row.sequence,
        recorded_at=row.recorded_at,
        customer=row.customer,
        livemode=row.livemode,
        subject=row.subject,
        data=row.text.encode(),
    )
    quarantine.keep(
        connection, [quarantine.rejected_event(f"{LOGGED}{row.position}", event, problem)]
    )
