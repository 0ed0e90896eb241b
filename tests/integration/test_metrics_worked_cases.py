"""The worked cases asked of the engine: movements, MRR, customers, ARR, quick ratio, by policy."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.support.asking import asked_of
from tests.support.calendars import month_range
from tests.support.cases import Case, Expectation, canonical_events, load_cases
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

HALF_MICRO = Decimal("0.0000005")
FIRST, LAST = date(2023, 1, 1), date(2027, 12, 31)


def near(found: Any, wanted: Any) -> bool:
    return abs(Decimal(found) - Decimal(str(wanted))) <= HALF_MICRO


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.id)
def test_case(case: Case, database: Database) -> None:
    engine = asked_of(database, canonical_events(case))
    for expected in case.expectations:
        policy = Policy.of(expected.preset, expected.overrides)
        _check_levels(engine, expected, policy)
        _check_quick_ratio(engine, expected, policy)
        if expected.movements is not None:
            _check_movements(engine, expected, policy)


def _check_levels(engine: MetricsEngine, expected: Expectation, policy: Policy) -> None:
    for day, mrr in expected.mrr_at.items():
        assert near(engine.mrr.current(at=day, policy=policy).value, mrr), (expected.key, day)
    for day, arr in expected.arr_at.items():
        assert near(engine.arr.current(at=day, policy=policy).value, arr), (expected.key, day)
    for day, number in expected.customers_at.items():
        assert engine.customers.current(at=day, policy=policy).value == number, (expected.key, day)


def _check_quick_ratio(engine: MetricsEngine, expected: Expectation, policy: Policy) -> None:
    for month, rates in expected.rates.items():
        if "quick_ratio" not in rates:
            continue
        start, end = month_range(month)
        row = engine.quick_ratio(start=start, end=end, policy=policy).rows[0]
        wanted = rates["quick_ratio"]
        if wanted is None:
            assert row["quick_ratio"] is None
        else:
            assert near(row["quick_ratio_numerator"], wanted[0]), (expected.key, month)
            assert near(row["quick_ratio_denominator"], wanted[1]), (expected.key, month)


def _check_movements(engine: MetricsEngine, expected: Expectation, policy: Policy) -> None:
    wanted: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    wanted_fx: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for movement in expected.movements or ():
        amount = Decimal(str(movement["amount_cents"]))
        if movement["type"] == "fx":
            wanted_fx[movement["date"][:7], movement["customer"]] += amount
        else:
            customer = movement["customer"].rpartition(":")[2]
            wanted[movement["date"], customer, movement["type"]] += amount
    found: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    listed = engine.mrr.movements(start=FIRST, end=LAST, policy=policy)
    for row in listed.rows:
        found[str(row["day"]), row["customer"], row["type"]] += row["amount"]
    found = {key: amount for key, amount in found.items() if amount or key in wanted}
    assert found.keys() == wanted.keys(), expected.key
    assert all(near(found[key], wanted[key]) for key in wanted), expected.key
    by_customer = QuerySpec(["customer"])
    flow = engine.mrr.waterfall(start=FIRST, end=LAST, spec=by_customer, policy=policy)
    found_fx = {(str(row["period"])[:7], row["customer"]): row["fx"] for row in flow.rows}
    for key in wanted_fx.keys() | {key for key, fx in found_fx.items() if not near(fx, 0)}:
        assert near(found_fx.get(key, 0), wanted_fx.get(key, 0)), (expected.key, key)
