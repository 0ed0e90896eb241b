"""The worked cases: every history, under every policy that a case names, gives what it must."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.support.cases import Case, Expectation, canonical_events, load_cases
from tests.support.ledger import Row, derived_rows, keep_books, movements, native_level
from tidemill.database import Database
from tidemill.policy import Policy

CASES = load_cases()
HALF_MICRO = Decimal("0.0000005")


def _policy(expected: Expectation) -> Policy:
    return Policy.of(expected.preset, expected.overrides)


def _rate(case: Case, currency: str, day: str, policy: Policy) -> Decimal:
    """The rate in force; before the first published day the first one."""
    if currency == "USD":
        return Decimal(1)
    wanted = policy.fx_constant_date if policy.fx == "constant" else day
    steps = case.fx[f"{currency}/USD"]
    return Decimal(([rate for since, rate in steps if since <= wanted] or [steps[0][1]])[-1])


def _expected_movements(expected: Expectation, policy: Policy) -> dict[tuple[str, ...], Decimal]:
    told: dict[tuple[str, ...], Decimal] = {}
    for movement in expected.movements or ():
        if movement["type"] == "fx":
            continue
        by_subscription = policy.movement_level == "subscription"
        unit = [movement["customer"], *([movement["subscription"]] if by_subscription else [])]
        key = (movement["date"], *unit, movement["type"])
        told[key] = told.get(key, Decimal(0)) + Decimal(str(movement["amount_cents"]))
    return told


def _near(found: Decimal, wanted: Any) -> bool:
    return abs(found - Decimal(str(wanted))) <= HALF_MICRO


def _check_movements(case: Case, expected: Expectation, rows: list[Row], policy: Policy) -> None:
    in_base = [
        replace(row, amount=row.amount * _rate(case, row.currency, str(row.day), policy))
        for row in rows
    ]
    found, wanted = movements(in_base, policy), _expected_movements(expected, policy)
    assert found.keys() == wanted.keys()
    for key, amount in wanted.items():
        assert _near(found[key], amount), key


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, database: Database) -> None:
    """Movements, MRR and customers of a history under each policy it is told for."""
    keep_books(database, canonical_events(case))
    for expected in case.expectations:
        policy = _policy(expected)
        with database.connect() as connection:
            rows = derived_rows(connection, policy)
        if expected.movements is not None and policy.fx != "at_movement":
            _check_movements(case, expected, rows, policy)
        for day, mrr in expected.mrr_at.items():
            if policy.fx in ("period_end", "constant"):
                level = native_level(rows, date.fromisoformat(day)).items()
                total = sum(amount * _rate(case, each, day, policy) for each, amount in level)
                assert _near(Decimal(total), mrr), (expected.key, day)
        for day, customers in expected.customers_at.items():
            found = sum(row.customer_delta for row in rows if row.day <= date.fromisoformat(day))
            assert found == customers, (expected.key, day)
