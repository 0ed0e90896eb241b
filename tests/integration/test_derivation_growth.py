"""The work of a derivation grows with the history, and no faster: no step compares each with each.

Counted in rows, which are the same on any machine: what each step of the plan gave and what it
looked at in vain. The steps themselves are sorts, hashes and running sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Insert, Select, event, func, insert, literal, select, true

from benchmarks.derive import derivation, whole_book
from benchmarks.histories import BASE, History, customer_key, write
from tests.conftest import NewDatabase
from tidemill import models
from tidemill.database import Database
from tidemill.ledger import derive, half
from tidemill.policy import Policy
from tidemill.presets import PRESETS
from tidemill.relations import core_relations

# Four times as much history: linear is about 4 times the work, quadratic 16.
GROWTH = 4
GROWTH_MAX = 5.5
BOOK = 200
LENGTH = 1_000
# Numbers of two subscriptions with the same chances in `History`, usage and past due among them.
SHORT_LIFE, LONG_LIFE = 16_808, 33_608


@pytest.fixture(scope="module")
def books(new_database: NewDatabase) -> Iterator[tuple[Database, Database]]:
    """Two books of which one has four times as many subscriptions, the other two long lives."""
    with new_database() as small, new_database() as large:
        write(small, History(BOOK))
        write(large, History(BOOK * GROWTH))
        yield small, large


@pytest.fixture(scope="module")
def long_lives(new_database: NewDatabase) -> Iterator[Database]:
    """A book in which two customers have very long histories."""
    with new_database() as database:
        write(database, History(BOOK))
        write(database, History(1, LENGTH, first=SHORT_LIFE))
        write(database, History(1, LENGTH * GROWTH, first=LONG_LIFE))
        yield database


@pytest.mark.parametrize("preset", PRESETS)
def test_one_customer_costs_in_proportion_to_its_history(preset: str, long_lives: Database) -> None:
    """4,000 versions take four times the rows of 1,000."""
    derived = (derivation(Policy.of(preset), customer_key(n)) for n in (SHORT_LIFE, LONG_LIFE))
    with long_lives.connect() as connection:
        short, long = (_rows_handled(connection, each) for each in derived)
    assert short > LENGTH
    assert long / short < GROWTH_MAX


def test_one_customer_costs_in_proportion_to_what_was_refunded(long_lives: Database) -> None:
    """With every invoice refunded, 4,000 versions take four times the rows of 1,000."""
    policy = Policy.of("default", {"refunds": "as_if_unpaid"})
    derived = [derivation(policy, customer_key(n)) for n in (SHORT_LIFE, LONG_LIFE)]
    with long_lives.connect() as connection:
        paid = [connection.execute(each).one()[0] for each in derived]
        connection.execute(_refunds((SHORT_LIFE, LONG_LIFE)))
        short, long = (_rows_handled(connection, each) for each in derived)
        left = [connection.execute(each).one()[0] for each in derived]
    assert all(some < every for some, every in zip(left, paid, strict=True))
    assert short > LENGTH
    assert long / short < GROWTH_MAX


@pytest.mark.parametrize("preset", PRESETS)
def test_one_customer_reads_no_rates_of_others(
    preset: str, books: tuple[Database, Database]
) -> None:
    """There are thousands of rates, and six versions in base currency need none of them."""
    _, large = books
    statement = derivation(Policy.of(preset), customer_key(BOOK))
    with large.connect() as connection:
        rates = connection.execute(select(func.count()).select_from(models.fx_rate)).scalar_one()
        handled = _rows_handled(connection, statement)
    assert rates > 5_000
    assert handled < 1_000


@pytest.mark.parametrize("preset", PRESETS)
def test_a_book_costs_in_proportion_to_its_size(
    preset: str, books: tuple[Database, Database]
) -> None:
    """Four times the subscriptions take four times the rows."""
    handled = []
    for database in books:
        with database.connect() as connection:
            handled.append(_rows_handled(connection, derivation(Policy.of(preset))))
    small, large = handled
    assert small > BOOK
    assert large / small < GROWTH_MAX


@pytest.mark.parametrize("preset", PRESETS)
def test_half_a_book_costs_in_proportion_to_its_size(
    preset: str, books: tuple[Database, Database]
) -> None:
    """So that two halves side by side take no longer than the whole."""
    policy = Policy.of(preset)
    first = half(core_relations(base_currency=BASE), policy, true())
    handled = []
    for database in books:
        with database.connect() as connection:
            handled.append(_rows_handled(connection, derive(first, policy)))
    small, large = handled
    assert small > BOOK / 2
    assert large / small < GROWTH_MAX


def test_a_book_is_derived_by_two_processes(books: tuple[Database, Database]) -> None:
    """Each half is a branch of its own, so that each can have a process."""
    _, large = books
    with large.connect() as connection:
        steps = list(_steps(_plan(connection, whole_book(Policy.of("default")))))
    gathered = [step["Workers Planned"] for step in steps if step["Node Type"] == "Gather"]
    branches = [step for step in steps if step.get("Function Name") == "tidemill_rows"]
    assert gathered == [2]
    assert [step["Actual Loops"] for step in branches] == [1, 1]


def _refunds(customers: tuple[int, ...]) -> Insert:
    """A refund of all of every invoice of these customers."""
    invoice = models.invoice_version
    same = ("source_id", "external_id", "customer_id", "event_id", "occurred_at", "sequence",
            "recorded_at", "livemode", "currency")  # fmt: skip
    rows = select(
        (-invoice.c.id).label("id"),
        *(invoice.c[name] for name in same),
        invoice.c.external_id.label("invoice"),
        literal("refunded").label("kind"),
        invoice.c.total.label("amount"),
    ).where(invoice.c.customer_id.in_([customer_key(n) for n in customers]))
    names = [column.name for column in rows.selected_columns]
    return insert(models.payment).from_select(names, rows)


def _rows_handled(connection: Connection, statement: Select[Any]) -> int:
    """How many rows the steps of a statement's plan gave, or looked at and left."""
    return round(sum(_handled(step) for step in _steps(_plan(connection, statement))))


def _plan(connection: Connection, statement: Select[Any]) -> dict[str, Any]:
    """The plan of a statement that was run."""

    def explained(*arguments: Any) -> tuple[str, Any]:
        _, _, text, parameters, *_ = arguments
        return f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}", parameters

    event.listen(connection, "before_cursor_execute", explained, retval=True)
    try:
        (document,) = connection.execute(statement).scalar_one()
    finally:
        event.remove(connection, "before_cursor_execute", explained)
    plan: dict[str, Any] = document["Plan"]
    return plan


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _steps(part)


def _handled(step: dict[str, Any]) -> float:
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    return float(sum(step.get(name, 0) for name in names) * step["Actual Loops"])
