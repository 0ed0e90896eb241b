"""Random books: cohorts add up to everybody, and each is what its customers do by themselves."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from tests.support.asking import settled
from tests.support.books import FIRST_DAY, LAST_DAY, random_book
from tests.support.cases import preset_policy, presets
from tests.support.ledger import keep_books
from tests.support.replay import replay
from tests.support.weight import first
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

SPAN: dict[str, Any] = {"start": FIRST_DAY, "end": LAST_DAY}
TINY = Fraction(1, 10**8)
# Random books turn some customers' plans into free ones; such customers are counted by no level.
PAYING = {"free_plans": "never", "paused": "churn"}


@pytest.mark.parametrize("seed", first(1, (41, 42, 43)))
def test_cohorts_add_up(seed: int, database: Database) -> None:
    """I12, under every preset and for two grains: MRR, customers, and how many there ever were."""
    events = random_book(seed, customers=14)
    keep_books(database, events)
    for preset in presets():
        engine = settled(database, Policy.of(preset))
        judge = replay(events, preset_policy(preset))
        for grain in ("month", "week"):
            ends = {row.start: row.end for row in judge.waterfall(FIRST_DAY, LAST_DAY, grain)}
            where = (seed, preset, grain)
            money = _by_period(engine, grain, "mrr", ends)
            heads = _by_period(engine, grain, "customers", ends)
            for start, end in ends.items():
                assert abs(money[start] - Fraction(judge.mrr_at(end))) <= TINY, (where, end)
                assert heads[start] == judge.customers_at(end), (where, end)
        _check_each(engine, preset)
        _check_sizes(engine, preset)


def _by_period(
    engine: MetricsEngine, grain: str, measure: str, ends: dict[date, date]
) -> dict[date, Fraction]:
    """The values of all cohorts at the close of each period."""
    starts = sorted(ends)
    first = min(starts)
    total: dict[date, Fraction] = defaultdict(Fraction)
    for row in engine.retention.cohorts(**SPAN, grain=grain, measure=measure).rows:
        place = starts.index(max(row["cohort"], first)) + row["offset"]
        total[starts[place]] += Fraction(row["value"])
    return total


def _check_each(engine: MetricsEngine, where: object) -> None:
    """A cohort by itself is the customers, and the MRR, of its month; the way there is another."""
    months = sorted({row["period"] for row in engine.mrr.series(**SPAN).rows})
    for measure in ("customers", "mrr"):
        series = engine.query(measure, "series", spec=QuerySpec(["cohort_month"]), **SPAN).rows
        alone = {(row["cohort_month"], row["period"]): row[measure] for row in series}
        for row in engine.retention.cohorts(**SPAN, measure=measure).rows:
            period = months[months.index(row["cohort"]) + row["offset"]]
            wanted = alone.get((row["cohort"], period), 0)
            assert abs(Fraction(row["value"]) - Fraction(wanted)) <= TINY, (where, row, measure)


def _check_sizes(engine: MetricsEngine, where: object) -> None:
    """Everybody who was ever active is in one cohort, of which no more are active than there are.

    Cut by country the cohorts add up; with a filter that everything passes, by parts of a customer
    instead of the customer itself, nothing changes.
    """
    rows = engine.retention.cohorts(**SPAN).rows
    sizes = {row["cohort"]: row["size"] for row in rows}
    by_customer = engine.customers.series(**SPAN, grain="day", spec=QuerySpec(["customer"])).rows
    ever = {row["customer"] for row in by_customer if row["customers"]}
    assert sum(sizes.values()) >= len(ever), where
    assert all(row["value"] <= row["size"] for row in rows), where
    anytime = engine.policy.turned({"cohort_activity": "any_in_period"})
    for row, any_row in zip(
        rows, engine.retention.cohorts(**SPAN, policy=anytime).rows, strict=True
    ):
        assert row["value"] <= any_row["value"] <= any_row["size"], (where, row)
        assert row["offset"] or any_row["value"] == any_row["size"], (where, row)
    if engine.policy.turned(PAYING) != engine.policy:
        return
    for measure in ("customers", "mrr"):
        whole = engine.retention.cohorts(**SPAN, measure=measure).rows
        spec = QuerySpec(filters=["plan!=no such plan"])
        parts = engine.retention.cohorts(**SPAN, measure=measure, spec=spec).rows
        for one, other in zip(whole, parts, strict=True):
            assert (one["cohort"], one["size"]) == (other["cohort"], other["size"]), where
            assert abs(Fraction(one["value"]) - Fraction(other["value"])) <= TINY, where
