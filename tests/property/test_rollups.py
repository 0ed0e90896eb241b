"""Roll-ups: whatever is answered from sums is what the rows themselves say.

That the sums are right after any batches is what `test_kept_facts` proves; here the same books are
asked twice, once with and once without them.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Final

import pytest
from sqlalchemy import update

from tests.support.asking import LATER, asked_of, settled
from tests.support.books import FIRST_DAY, LAST_DAY, random_book
from tests.support.ledger import BASE, keep_books
from tests.support.weight import examples, first
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import QueryError
from tidemill.ledger import Fact
from tidemill.metrics import FACTS
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.metrics.spec import Filter, QuerySpec
from tidemill.models import metric_mrr_daily
from tidemill.policy import Policy
from tidemill.state import Books, derive_all

COVERED: Final = MOVEMENTS.rollups[0].dimensions
POLICIES: Final = (
    "default",
    "default;fx=at_movement;window=rolling_30d",
    "chartmogul",
    "default;fx=constant;movement_level=subscription;rate_population=all_movements",
)
SPECS: Final = (
    QuerySpec(),
    *(QuerySpec(dimensions=(name,)) for name in COVERED),
    QuerySpec(filters=(Filter("currency", "!=", "EUR"),), dimensions=("source",)),
    # Not covered: these must not notice.
    QuerySpec(dimensions=("customer",)),
    QuerySpec(dimensions=("plan", "currency")),
)


def _without_rollups(database: Database, policy: Policy) -> MetricsEngine:
    facts = tuple(Fact(each.table, each.derive) for each in FACTS if not each.of_payments)
    with database.begin() as connection:
        derive_all(connection, Books(facts, policy, BASE))
    return MetricsEngine(database, base_currency=BASE, policy=policy, as_of=LATER)


def _answers(engine: MetricsEngine) -> dict[str, Any]:
    """Every answer of every question, however it can be cut."""
    found: dict[str, Any] = {}
    places = count()
    for name, info in engine.catalogue().items():
        for question in info.questions:
            params = {each.name for each in question.params}
            given = {"start": FIRST_DAY, "end": LAST_DAY, "at": LAST_DAY}
            asked: dict[str, Any] = {key: value for key, value in given.items() if key in params}
            for spec in _cuts(next(places)):
                label = f"{name} {question.name} {spec}"
                try:
                    result = engine.query(name, question.name, spec=spec, **asked)
                except QueryError as refused:
                    found[label] = str(refused)
                else:
                    found[label] = (result.rows, result.warnings)
    return found


def _cuts(place: int) -> list[QuerySpec]:
    """Uncut, and a few of the others: which, goes round from question to question."""
    others = SPECS[1:]
    few = min(examples(3), len(others))
    return [SPECS[0], *(others[(place * few + number) % len(others)] for number in range(few))]


@pytest.mark.parametrize("text", first(2, POLICIES))
def test_answers_from_sums_are_those_from_rows(database: Database, text: str) -> None:
    policy = Policy.parse(text)
    keep_books(database, random_book(31, customers=8))
    by_rows = _answers(_without_rollups(database, policy))
    assert _answers(settled(database, policy)) == by_rows


def test_sums_are_what_is_read_where_they_cover_the_question(database: Database) -> None:
    """Shown by sums that are wrong on purpose."""
    engine = asked_of(database, random_book(31, customers=8))
    doubled = update(metric_mrr_daily).values(amount_minor=metric_mrr_daily.c.amount_minor * 2)
    with database.begin() as connection:
        connection.execute(doubled)
    once, double = (
        engine.query("mrr", "current", at=LAST_DAY, spec=QuerySpec(dimensions=dimensions)).rows
        for dimensions in (("plan",), ("currency",))
    )
    total = sum(row["mrr"] for row in once)
    assert total
    assert round(sum(row["mrr"] for row in double), 6) == round(2 * total, 6)
