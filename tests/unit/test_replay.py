"""The replay that judges the ledger gives every figure of the worked cases.

The identities of the definitions (section 4) are checked on random books in `tests/property`; here
they are checked on the worked ones, under every preset.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from tests.support.cases import (
    BASE_CURRENCY,
    Case,
    Expectation,
    canonical_events,
    customer_label,
    load_cases,
    preset_policy,
    presets,
)
from tests.support.replay import Replay, replay
from tidemill.events import parse_event

_HORIZON = date(2027, 1, 31)
_EXPECTED = [(case, expected) for case in load_cases() for expected in case.expectations]


def _id(value: Case | Expectation) -> str:
    return value.id if isinstance(value, Case) else value.key


each_expectation = pytest.mark.parametrize(("case", "expected"), _EXPECTED, ids=_id)
each_case = pytest.mark.parametrize("case", load_cases(), ids=_id)


def _replay(case: Case, policy: dict[str, str | int]) -> Replay:
    return replay(canonical_events(case), policy, base_currency=BASE_CURRENCY, horizon=_HORIZON)


def _shown(value: Fraction | Decimal | int) -> str:
    """Six decimals, as the cases are written."""
    return str(round(Fraction(value), 6))


def test_all_cases_are_here() -> None:
    assert len(load_cases()) == 40
    assert len(_EXPECTED) == 115


def _has_states_at_closes(preset: str) -> bool:
    """Whether movements tell the state of every day: not inside a month that is netted."""
    policy = preset_policy(preset)
    return policy["netting"] != "month" and policy["fx"] != "at_movement"


@each_case
def test_events_are_valid(case: Case) -> None:
    for event in canonical_events(case):
        parse_event(event)


@pytest.mark.parametrize(
    ("case", "expected"), [(c, e) for c, e in _EXPECTED if e.movements is not None], ids=_id
)
def test_movements(case: Case, expected: Expectation) -> None:
    known = _replay(case, dict(expected.policy))
    told = [
        (str(m.day), customer_label(*m.customer), m.type, _shown(m.base), _name(m.subscription))
        for m in known.movements
    ]
    told += [
        (str(day), customer_label(*customer), "fx", _shown(amount), None)
        for day, customer, amount in known.fx_rows(date(2024, 1, 1), _HORIZON)
    ]
    wanted = [
        (m["date"], m["customer"], m["type"], _shown(m["amount_cents"]), m.get("subscription"))
        for m in expected.movements or ()
    ]
    assert sorted(told, key=str) == sorted(wanted, key=str)


@each_expectation
def test_levels(case: Case, expected: Expectation) -> None:
    known = _replay(case, dict(expected.policy))
    for day, mrr in expected.mrr_at.items():
        assert _shown(known.mrr_at(date.fromisoformat(day))) == _shown(mrr), day
    for day, count in expected.customers_at.items():
        assert known.customers_at(date.fromisoformat(day)) == count, day
    for day, arr in expected.arr_at.items():
        assert _shown(known.arr_at(date.fromisoformat(day))) == _shown(arr), day


@each_expectation
def test_rates(case: Case, expected: Expectation) -> None:
    known = _replay(case, dict(expected.policy))
    for month, rates in expected.rates.items():
        told = known.rates(month)
        for name, ratio in rates.items():
            assert told[name] == _ratio(ratio), name
    for key, ratio in expected.trial_conversion.items():
        month, _, as_of = key.partition("@")
        day = date.fromisoformat(as_of) if as_of else None
        assert known.trial_conversion(month, day) == _ratio(ratio), key


@each_expectation
def test_money(case: Case, expected: Expectation) -> None:
    known = _replay(case, dict(expected.policy))
    for month, amount in expected.cash.items():
        assert known.cash(month) == amount
    for month, amount in expected.usage_revenue.items():
        assert known.usage_revenue(month) == amount


@each_case
@pytest.mark.parametrize("preset", presets())
def test_movements_add_up(case: Case, preset: str) -> None:
    """Identities I1, I2 and, where an active customer pays, I3."""
    known = _replay(case, preset_policy(preset))
    rows = known.waterfall(date(2024, 1, 1), _HORIZON)
    for before, after in pairwise(rows):
        assert before.closing == after.opening
    for row in rows:
        assert row.opening + sum(row.movements.values()) + row.fx == row.closing
        if not case.fx:
            assert row.fx == 0
    paid: dict[object, Fraction] = defaultdict(Fraction)
    for movement in known.movements:
        for currency, amount in movement.native.items():
            paid[movement.customer, currency] += amount
    assert {key: x for key, x in paid.items() if x} == {
        (unit.customer, currency): amount
        for unit in known.customer_units
        for currency, amount in unit.state(known._close(_HORIZON)).native.items()
    }
    joined = {"new": 1, "reactivation": 1, "churn": -1}
    count = sum(joined.get(movement.type, 0) for movement in known.customer_movements)
    assert count == known.customers_at(_HORIZON)


@each_case
@pytest.mark.parametrize("preset", [name for name in presets() if _has_states_at_closes(name)])
def test_level_is_the_state_outside_buckets(case: Case, preset: str) -> None:
    known = _replay(case, preset_policy(preset))
    for movement in known.movements:
        for day in (movement.day, movement.day - timedelta(days=1)):
            if case.fx and day < date(2025, 1, 1):
                continue
            assert known.mrr_at(day) == known.state_mrr_at(day)


def _name(subscription: tuple[str, str] | None) -> str | None:
    return None if subscription is None else subscription[1]


def _ratio(expected: list[int] | None) -> tuple[Fraction, Fraction] | None:
    return None if expected is None else (Fraction(expected[0]), Fraction(expected[1]))
