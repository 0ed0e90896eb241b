"""Timelines agree with the ledger: what their segments are worth is what movements sum to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from tests.conftest import NewDatabase
from tests.support.asking import LATER
from tests.support.books import random_book
from tests.support.emptied import emptied
from tests.support.ledger import BASE, keep_books
from tests.support.weight import first
from tidemill import models
from tidemill.database import Database
from tidemill.engine import MetricsEngine, Timeline
from tidemill.policy import Policy

POLICIES = {
    text: Policy.parse(text)
    for text in (
        "default;netting=none",
        "chartmogul;netting=none;join_churn_same_month=count",
        "maxio;netting=none;join_churn_same_month=count",
        "default;netting=none;past_due=after:10;churn_recognition=at_period_end",
        "default;netting=none;refunds=as_if_unpaid;activation=invoice_paid;usage=trailing:3",
    )
}


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    """One database for all books."""
    with new_database() as database:
        yield database


@pytest.mark.parametrize("seed", first(1, range(1, 5)))
def test_segments_are_worth_what_movements_sum_to(shared: Database, seed: int) -> None:
    keep_books(emptied(shared), random_book(seed, customers=10))
    engine = MetricsEngine(shared, base_currency=BASE, as_of=LATER)
    with shared.connect() as connection:
        names = sorted(set(connection.scalars(select(models.customer.c.external_id))))
    for name in names:
        found = engine.timeline(name, POLICIES)
        for place, life in enumerate(found.lives):
            for each in life.segments:
                assert each.starts_at < (each.ends_at or LATER)
                if not each.counts:
                    assert each.amount_minor == 0
                    assert each.standing != "counts"
            assert _steps(found, place) == _moves(found, place), (name, life.label)


def _moves(found: Timeline, place: int) -> dict[tuple[str, str, datetime], Decimal]:
    """(subscription, currency, instant) → how much the ledger says that MRR moved."""
    moves: dict[tuple[str, str, datetime], Decimal] = defaultdict(Decimal)
    for each in found.lives[place].movements:
        moves[each.subscription, each.currency, each.occurred_at] += each.amount_minor
    return {key: round(amount, 6) for key, amount in moves.items() if round(amount, 6)}


def _steps(found: Timeline, place: int) -> dict[tuple[str, str, datetime], Decimal]:
    """The same from the segments: what begins is added, what ends taken back."""
    steps: dict[tuple[str, str, datetime], Decimal] = defaultdict(Decimal)
    for each in found.lives[place].segments:
        steps[each.subscription, each.currency, each.starts_at] += each.amount_minor
        if each.ends_at is not None:
            steps[each.subscription, each.currency, each.ends_at] -= each.amount_minor
    return {key: round(amount, 6) for key, amount in steps.items() if round(amount, 6)}
