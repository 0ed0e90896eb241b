"""Random books: what the engine answers is what the replay finds, and groups sum to the total."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from tests.support.asking import asked_of
from tests.support.books import FIRST_DAY, LAST_DAY, random_book
from tests.support.cases import preset_policy
from tests.support.replay import MOVEMENT_TYPES, Replay, replay
from tests.support.weight import first
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

SEEDS = first(1, (11, 12, 13, 14))
POLICIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("default", {}),
    ("default", {"tz": "America/New_York", "fx": "constant", "fx_constant_date": "2025-03-15"}),
    ("default", {"fx": "constant"}),
    ("default", {"fx": "at_movement", "netting": "month"}),
    ("chartmogul", {}),
    ("maxio", {"tz": "Asia/Kathmandu"}),
    ("smsb", {}),
)
START, END = date(2025, 2, 10), LAST_DAY
# Divisions in SQL keep some twenty digits; the replay's fractions keep all.
TINY = Fraction(1, 10**8)
DIMENSIONS = (
    "source", "plan", "plan_name", "product", "product_name", "interval", "currency", "customer",
    "customer_name", "country", "cohort_month", "mrr_band",
)  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_agrees_with_the_replay(seed: int, database: Database) -> None:
    events = random_book(seed, customers=12)
    engine = asked_of(database, events)
    for preset, knobs in POLICIES:
        policy = Policy.of(preset, knobs)
        found = replay(events, preset_policy(preset, knobs))
        where = f"{seed} {preset} {knobs}"
        _check_levels(engine, policy, found, where)
        _check_waterfall(engine, policy, found, where)
        _check_quick_ratio(engine, policy, found, where)


def near(one: Any, other: Any) -> bool:
    return abs(Fraction(one) - Fraction(other)) <= TINY


def _check_levels(engine: MetricsEngine, policy: Policy, found: Replay, where: str) -> None:
    for metric, wanted in (("mrr", found.mrr_at), ("customers", found.customers_at)):
        series = engine.query(metric, "series", start=FIRST_DAY, end=END, policy=policy)
        for row, period in zip(series.rows, found.waterfall(FIRST_DAY, END), strict=True):
            assert near(row[metric], wanted(period.end)), (where, metric, period.end)
    for day in (date(2025, 4, 17), END):
        assert near(engine.mrr.current(at=day, policy=policy).rows[0]["mrr"], found.mrr_at(day))
        assert engine.customers(at=day, policy=policy).value == found.customers_at(day), where


def _check_waterfall(engine: MetricsEngine, policy: Policy, found: Replay, where: str) -> None:
    for grain in ("month", "week"):
        rows = engine.mrr.waterfall(start=START, end=END, grain=grain, policy=policy).rows
        for row, wanted in zip(rows, found.waterfall(START, END, grain), strict=True):
            parts = {"opening": wanted.opening, "fx": wanted.fx, "closing": wanted.closing}
            parts |= {name: wanted.movements.get(name, Fraction(0)) for name in MOVEMENT_TYPES}
            for name, amount in parts.items():
                assert near(row[name], amount), (where, grain, wanted.start, name)


def _check_quick_ratio(engine: MetricsEngine, policy: Policy, found: Replay, where: str) -> None:
    for row in engine.quick_ratio.series(start=START.replace(day=1), end=END, policy=policy).rows:
        ratio = found.rates(row["period"].strftime("%Y-%m"))["quick_ratio"]
        assert (row["quick_ratio"] is None) == (ratio is None), (where, row["period"])
        if ratio is not None:
            assert near(row["quick_ratio_numerator"], ratio[0]), (where, row["period"])
            assert near(row["quick_ratio_denominator"], ratio[1]), (where, row["period"])


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_sum_to_the_total(seed: int, database: Database) -> None:
    engine = asked_of(database, random_book(seed, customers=12))
    total = engine.mrr.waterfall(start=START, end=END)
    columns = [column.name for column in total.columns if column.unit == "money"]
    net_new = engine.mrr.net_new(start=START, end=END)
    for dimension in DIMENSIONS:
        spec = QuerySpec([dimension])
        groups = engine.mrr.waterfall(start=START, end=END, spec=spec)
        for column in columns:
            assert _sums(groups.rows, column) == _sums(total.rows, column), (dimension, column)
        level = engine.mrr.current(at=END, spec=spec)
        assert sum(row["mrr"] for row in level.rows) == total.rows[-1]["closing"], dimension
    for dimensions in (["type"], ["cause"], ["churn_reason"], ["type", "plan", "currency"]):
        groups = engine.mrr.net_new(start=START, end=END, spec=QuerySpec(dimensions))
        assert _sums(groups.rows, "net_new") == _sums(net_new.rows, "net_new"), dimensions


@pytest.mark.parametrize("seed", SEEDS)
def test_customers_sum_over_what_a_customer_has_one_of(seed: int, database: Database) -> None:
    engine = asked_of(database, random_book(seed, customers=12))
    total = engine.customers.series(start=START, end=END)
    for dimension in ("customer", "country", "cohort_month", "mrr_band"):
        groups = engine.customers.series(start=START, end=END, spec=QuerySpec([dimension]))
        assert _sums(groups.rows, "customers") == _sums(total.rows, "customers"), dimension
        assert not any("more than" in said for said in groups.warnings)
    for dimension in ("plan", "interval", "source", "currency"):
        groups = engine.customers.series(start=START, end=END, spec=QuerySpec([dimension]))
        several, once = _sums(groups.rows, "customers"), _sums(total.rows, "customers")
        assert all(several[period] >= once[period] for period in once), dimension
        assert "more than the total" in groups.warnings[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_rates_of_groups_sum_to_the_total(seed: int, database: Database) -> None:
    """Numerators and denominators of groups of customers add up; money does by plans, too."""
    engine = asked_of(database, random_book(seed, customers=12))
    customers, plans = ("country", "cohort_month", "mrr_band", "customer"), ("plan", "source")
    for preset in ("default", "stripe"):
        policy = Policy.of(preset)
        total = engine.churn.series(start=START, end=END, policy=policy)
        for dimension in customers:
            spec = QuerySpec([dimension])
            groups = engine.churn.series(start=START, end=END, policy=policy, spec=spec)
            for column in (each.name for each in total.columns[1:] if each.unit != "ratio"):
                assert _sums(groups.rows, column) == _sums(total.rows, column), (preset, column)
    total = engine.retention.series(start=START, end=END)
    for dimension in plans:
        spec = QuerySpec([dimension])
        groups = engine.retention.series(start=START, end=END, spec=spec)
        column = "nrr_denominator"
        assert _sums(groups.rows, column) == _sums(total.rows, column), dimension
        logos = engine.churn.series(start=START, end=END, spec=spec)
        assert "more than the total" in logos.warnings[0]
        levels = engine.customers.series(start=START, end=END, spec=spec)
        there = {(row[dimension], row["period"]): row["customers"] for row in levels.rows}
        opened = {
            (row[dimension], row["period"]): row["logo_churn_denominator"] for row in logos.rows
        }
        months = sorted({period for _, period in there})
        for before, month in pairwise(months):
            for name in {group for group, _ in there}:
                assert opened.get((name, month), 0) == there[name, before], (name, month)


def _sums(rows: Any, column: str) -> dict[date, Decimal]:
    sums: dict[date, Decimal] = {}
    for row in rows:
        sums[row["period"]] = sums.get(row["period"], Decimal(0)) + row[column]
    return {period: round(amount, 12) for period, amount in sums.items()}
