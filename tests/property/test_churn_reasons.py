"""Random books: the list of the lost is what logo churn counts, and reasons add up to all churn."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from tests.support.asking import settled
from tests.support.books import LAST_DAY, random_book
from tests.support.calendars import month_range
from tests.support.cases import presets
from tests.support.ledger import keep_books
from tests.support.weight import first, thinned
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

START = date(2025, 2, 1)
TINY = Fraction(1, 10**8)


@pytest.mark.parametrize("seed", first(1, (21, 22, 23)))
def test_lists_and_reasons(seed: int, database: Database) -> None:
    keep_books(database, random_book(seed, customers=14))
    for preset in presets():
        policy = Policy.of(preset)
        # Facts of each policy in turn: deriving them for every question takes long.
        engine = settled(database, policy)
        rows = engine.churn.series(start=START, end=LAST_DAY, policy=policy).rows
        # A month is asked ten questions; three of eight months are looked at in the default run.
        for row in thinned(rows, 3):
            start, end = month_range(row["period"].strftime("%Y-%m"))
            span = {"start": start, "end": min(end, LAST_DAY), "policy": policy}
            _check_list(engine, row, span, (preset, start))
            _check_reasons(engine, span, (preset, start))


def _check_list(engine: MetricsEngine, row: Any, span: dict[str, Any], where: object) -> None:
    """Sums of `there`, `lost` and `mrr` are the sides of the rates."""
    everyone = engine.churn.customers(who="all", **span).rows
    gone = engine.churn.customers(**span).rows
    assert sum(each["lost"] for each in everyone) == row["logo_churn_numerator"], where
    assert {each["customer"] for each in gone} == {
        each["customer"] for each in everyone if each["lost"]
    }
    if span["policy"].logo_denominator == "start":
        assert sum(each["there"] for each in everyone) == row["logo_churn_denominator"], where
    if span["policy"].rate_population == "start_cohort":
        opening = sum(each["mrr"] for each in everyone)
        assert _near(opening, row["gross_mrr_churn_denominator"]), where
    assert all(each["churned_on"] for each in gone), where


def _check_reasons(engine: MetricsEngine, span: dict[str, Any], where: object) -> None:
    """I19: voluntary + involuntary + unknown = all churn, also cut by plan or in vendors' words."""
    policy, end = span["policy"], span["end"]
    days = {"start": span["start"], "end": end, "policy": policy}
    if policy.window == "rolling_30d":
        days["start"] = end - timedelta(days=29)
    churn = next(
        each["amount"] for each in engine.mrr.breakdown(**days).rows if each["type"] == "churn"
    )
    whole = engine.churn.reasons(**span).rows
    assert [each["reason"] for each in whole] == ["voluntary", "involuntary", "unknown"]
    assert _near(sum(each["churn"] for each in whole), churn), where
    for dimension in ("plan", "cancel_reason", "country", "cause"):
        cut = engine.churn.reasons(spec=QuerySpec([dimension]), **span).rows
        assert _near(sum(each["churn"] for each in cut), churn), (where, dimension)
    if policy.logo_numerator == "events_all":
        churns = engine.churn.logo(**span).rows[0]["logo_churn_numerator"]
        assert sum(each["churns"] for each in whole) == churns, where


def _near(one: Any, other: Any) -> bool:
    return abs(Fraction(one) - Fraction(other)) <= TINY
