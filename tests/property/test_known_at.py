"""I17: what is asked as of a knowledge date is what was answered when no more was known.

The books of a database that heard only the events recorded by then are compared with the books of
one that heard everything and is asked about then: movements under every preset, and answers that
also read rates, names and the catalogue, which events may have corrected since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.conftest import NewDatabase
from tests.support.books import books
from tests.support.emptied import emptied
from tests.support.ledger import derived_rows, keep_books
from tests.support.weight import examples
from tidemill import models
from tidemill.database import Database
from tidemill.policy import Policy

PRESETS = ["default", "chartmogul", "baremetrics", "stripe", "profitwell", "smsb", "maxio"]


@pytest.fixture(scope="module")
def both(new_database: NewDatabase) -> Iterator[tuple[Database, Database]]:
    """A database for everything, and one for what was known."""
    with new_database() as everything, new_database() as known:
        yield everything, known


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@st.composite
def known_books(draw: st.DrawFn) -> tuple[list[dict[str, Any]], datetime]:
    """A book and a knowledge date: an instant at which something of it was recorded."""
    events = draw(books())
    instants = sorted({_instant(event["recorded_at"]) for event in events})
    return events, draw(st.sampled_from(instants))


def _rows(database: Database, policy: Policy, known_at: datetime | None) -> Counter[Any]:
    """The ledger in words that do not depend on what else was heard: no keys, no positions."""
    log = models.event_log
    with database.connect() as connection:
        names = {
            row.position: row.id for row in connection.execute(select(log.c.position, log.c.id))
        }
        return Counter(
            (
                row.customer, row.subscription, row.day, row.occurred_at, row.type, row.amount,
                row.currency, row.customer_delta, row.cause, names[row.event_position],
                row.churn_reason, _rounded(row.amount_base),
            )
            for row in derived_rows(connection, policy, known_at=known_at)
        )  # fmt: skip


def _rounded(amount: Decimal | None) -> Decimal | None:
    """Without the last digits, in which the order of a sum of quotients shows."""
    return None if amount is None else round(amount, 15)


@settings(max_examples=examples(8))
@given(book=known_books())
def test_what_was_known_is_what_was_answered(
    both: tuple[Database, Database], book: tuple[list[dict[str, Any]], datetime]
) -> None:
    everything, known = (emptied(each) for each in both)
    events, known_at = book
    keep_books(everything, events)
    keep_books(known, [each for each in events if _instant(each["recorded_at"]) <= known_at])
    for preset in PRESETS:
        policy = Policy.of(preset)
        then, replayed = _rows(everything, policy, known_at), _rows(known, policy, None)
        assert then - replayed == replayed - then == Counter(), preset
