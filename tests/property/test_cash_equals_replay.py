"""Cash and usage revenue of random books are what a brute-force replay adds up."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest

from tests.conftest import NewDatabase
from tests.support.asking import asked_of
from tests.support.books import random_book
from tests.support.calendars import month_range
from tests.support.cases import preset_policy
from tests.support.emptied import emptied
from tests.support.ledger import BASE
from tests.support.replay import replay
from tests.support.weight import first
from tidemill.database import Database
from tidemill.errors import MissingRate
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

POLICIES = ("default", "chartmogul", "profitwell", "smsb", "default;tz=America/New_York")
MONTHS = [f"2025-{month:02}" for month in range(1, 13)]
NEAR = Fraction(1, 1_000_000)


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


@pytest.mark.parametrize("seed", first(1, (1, 2, 3)))
@pytest.mark.parametrize("text", POLICIES)
def test_cash_and_usage(shared: Database, text: str, seed: int) -> None:
    book = random_book(seed, customers=5)
    policy = Policy.parse(text)
    judge = replay(book, preset_policy(policy.preset, policy.overrides), base_currency=BASE)
    engine = asked_of(emptied(shared), book)
    start, end = month_range(MONTHS[0])[0], month_range(MONTHS[-1])[1]
    for metric, column, wanted in (
        ("cash", "net", judge.cash),
        ("usage_revenue", "usage_revenue", judge.usage_revenue),
    ):
        try:
            rows = engine.query(metric, "series", start=start, end=end, policy=policy).rows
        except MissingRate:
            with pytest.raises(LookupError):
                list(map(wanted, MONTHS))
            continue
        for month, row in zip(MONTHS, rows, strict=True):
            assert abs(Fraction(row[column]) - wanted(month)) < NEAR, (metric, month)
        [whole] = engine.query(metric, start=start, end=end, policy=policy).rows
        assert abs(Fraction(whole[column]) - sum(map(wanted, MONTHS))) < NEAR * 12
        for dimension in ("currency", "customer"):
            spec = QuerySpec([dimension])
            parts = engine.query(metric, start=start, end=end, policy=policy, spec=spec).rows
            total = sum((Fraction(each[column]) for each in parts), Fraction(0))
            assert abs(total - Fraction(whole[column])) < NEAR * 12, dimension
