"""Roll-ups: whatever is answered from sums is what the rows themselves say.

That the sums are right after any batches is what `test_kept_facts` proves; here the same books are
asked twice, once with and once without them.
"""

from __future__ import annotations

from datetime import date
from itertools import count, product
from typing import Any, Final

import pytest
from sqlalchemy import Table, update

from tests.support.asking import LATER, asked_of, settled
from tests.support.books import FIRST_DAY, LAST_DAY, random_book
from tests.support.ledger import BASE, keep_books
from tests.support.weight import examples, first, thinned
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import QueryError
from tidemill.ledger import Fact
from tidemill.metrics import FACTS
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.metrics.spec import Filter, QuerySpec
from tidemill.models import (
    metric_mrr_cohort_monthly,
    metric_mrr_daily,
    metric_mrr_item_monthly,
)
from tidemill.policy import Policy
from tidemill.state import Books, derive_all

COVERED: Final = MOVEMENTS.rollups[0].dimensions
BY_MONTH: Final = MOVEMENTS.rollups[1].dimensions
POLICIES: Final = (
    "default",
    "default;fx=at_movement;window=rolling_30d",
    "chartmogul",
    "default;fx=constant;movement_level=subscription;rate_population=all_movements",
)
GRAINS: Final = ("day", "week", "month", "quarter", "year")
SPECS: Final = (
    QuerySpec(),
    *(QuerySpec(dimensions=(name,)) for name in COVERED),
    QuerySpec(filters=(Filter("currency", "!=", "EUR"),), dimensions=("source",)),
    *(QuerySpec(dimensions=(name,)) for name in BY_MONTH if name not in COVERED),
    QuerySpec(filters=(Filter("interval", "!=", "year"),), dimensions=("plan", "product_name")),
    # Not covered: these must not notice.
    QuerySpec(dimensions=("customer",)),
    QuerySpec(dimensions=("plan", "country")),
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


@pytest.mark.parametrize("text", first(1, POLICIES))
def test_answers_from_sums_are_those_from_rows(database: Database, text: str) -> None:
    policy = Policy.parse(text)
    keep_books(database, random_book(31, customers=8))
    by_rows = _answers(_without_rollups(database, policy))
    assert _answers(settled(database, policy)) == by_rows


@pytest.mark.parametrize("text", first(1, POLICIES))
def test_levels_of_any_day_are_those_of_rows(database: Database, text: str) -> None:
    """Of whole months there are sums; the days of the month that is not over come from rows."""
    policy = Policy.parse(text)
    keep_books(database, random_book(37, customers=8))
    by_rows, by_sums = (
        [_levels(make(database, policy), name) for name in BY_MONTH]
        for make in (_without_rollups, settled)
    )
    assert by_sums == by_rows
    assert any(rows for answers in by_sums for rows in answers)


def _levels(engine: MetricsEngine, dimension: str) -> list[Any]:
    """Levels at the first, a middle and the last day of months, and of periods between such."""
    spec = QuerySpec(dimensions=(dimension,))
    days = [
        *(date(2025, 2, day) for day in (1, 14, 28)),
        *(date(2025, 3, day) for day in (1, 30, 31)),
        *(FIRST_DAY, LAST_DAY),
    ]
    found = [engine.query("mrr", "current", at=day, spec=spec).rows for day in days]
    spans = ((days[1], days[4]), (days[0], days[5]), (days[3], days[3]))
    # Of three pairs one is asked: so every grain, and every span.
    for (start, end), grain in thinned(product(spans, GRAINS), 3):
        asked: dict[str, Any] = {"start": start, "end": end, "grain": grain}
        found.append(engine.query("mrr", "series", spec=spec, **asked).rows)
        found.append(engine.query("arr", "series", spec=spec, **asked).rows)
    return found


@pytest.mark.parametrize("text", first(1, POLICIES))
def test_cohorts_of_any_range_are_those_of_rows(database: Database, text: str) -> None:
    """Of whole months there are sums; the days of the month that is not over come from rows."""
    policy = Policy.parse(text)
    keep_books(database, random_book(41, customers=8))
    by_rows, by_sums = (_cohorts(make(database, policy)) for make in (_without_rollups, settled))
    assert by_sums == by_rows
    assert any(by_sums)


def _cohorts(engine: MetricsEngine) -> list[Any]:
    """Tables of cohorts through the first, a middle and the last day of months."""
    found = []
    ends = (date(2025, 3, 1), date(2025, 4, 14), date(2025, 4, 30))
    for end, grain in thinned(product(ends, GRAINS), 3):
        asked: dict[str, Any] = {"start": date(2025, 1, 20), "end": end, "grain": grain}
        found.append(engine.query("ltv", "cohort", **asked).rows)
        for measure in ("customers", "mrr", "cash"):
            result = engine.query("retention", "cohorts", measure=measure, **asked)
            found.append(result.rows)
    return found


def test_cohorts_are_read_from_sums(database: Database) -> None:
    """Shown by sums that are wrong on purpose; what cuts a question is told by rows."""
    engine = asked_of(database, random_book(31, customers=8))
    kept = metric_mrr_cohort_monthly
    with database.begin() as connection:
        connection.execute(update(kept).values(joined=kept.c.joined * 2))
    all_of, cut = (
        engine.query("ltv", "cohort", start=FIRST_DAY, end=LAST_DAY, spec=QuerySpec(by)).rows
        for by in ((), ("country",))
    )
    once = sum(row["ltv_denominator"] for row in cut)
    assert once
    assert sum(row["ltv_denominator"] for row in all_of) == 2 * once


@pytest.mark.parametrize(
    ("kept", "covered"), [(metric_mrr_daily, "currency"), (metric_mrr_item_monthly, "plan")]
)
def test_sums_are_what_is_read_where_they_cover_the_question(
    database: Database, kept: Table, covered: str
) -> None:
    """Shown by sums that are wrong on purpose."""
    engine = asked_of(database, random_book(31, customers=8))
    doubled = update(kept).values(amount_minor=kept.c.amount_minor * 2)
    with database.begin() as connection:
        connection.execute(doubled)
    once, double = (
        engine.query("mrr", "current", at=LAST_DAY, spec=QuerySpec(dimensions=dimensions)).rows
        for dimensions in (("country",), (covered,))
    )
    total = sum(row["mrr"] for row in once)
    assert total
    assert round(sum(row["mrr"] for row in double), 6) == round(2 * total, 6)
