"""The rates of the worked cases: every figure of every policy a case is told for."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.asking import settled
from tests.support.calendars import month_range
from tests.support.cases import Case, canonical_events, load_cases, preset_policy, presets
from tests.support.emptied import emptied
from tests.support.ledger import keep_books
from tests.support.replay import replay
from tests.support.replay_ratios import Ratio
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.policy import Policy

CASES = [case for case in load_cases() if any(each.rates for each in case.expectations)]
HALF_MICRO = Fraction(1, 2_000_000)
QUESTIONS = {
    "logo_churn": ("churn", "logo"),
    "nrr": ("retention", "nrr"),
    "grr": ("retention", "grr"),
    "quick_ratio": ("quick_ratio", "current"),
}


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    """One database for all cases: emptying it is quicker than making another."""
    with new_database() as database:
        yield database


def _ask(
    engine: MetricsEngine, name: str, month: str, policy: Policy
) -> tuple[Decimal, Decimal] | None:
    """Numerator and denominator of a month; None where the answer says that it is undefined."""
    start, end = month_range(month)
    metric, question = QUESTIONS[name]
    answer = engine.query(metric, question, start=start, end=end, policy=policy)
    found = _sides(answer.rows[0], name)
    assert (found is None) == any(f"{name} is undefined" in said for said in answer.warnings)
    return found


def _sides(row: Any, name: str) -> tuple[Decimal, Decimal] | None:
    if row[name] is None:
        assert row[f"{name}_denominator"] == 0
        return None
    top, bottom = Decimal(row[f"{name}_numerator"]), Decimal(row[f"{name}_denominator"])
    assert abs(Fraction(row[name]) - Fraction(top) / Fraction(bottom)) < HALF_MICRO
    return top, bottom


def _near(found: tuple[Decimal, Decimal] | None, wanted: Any) -> bool:
    if found is None or wanted is None:
        return found is None and wanted is None
    return all(
        abs(Fraction(one) - other) <= HALF_MICRO for one, other in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_rates(case: Case, shared: Database) -> None:
    events = canonical_events(case)
    keep_books(emptied(shared), events)
    engine = settled(shared)
    for expected in case.expectations:
        policy = Policy.of(expected.preset, expected.overrides)
        for month, rates in expected.rates.items():
            for name, wanted in rates.items():
                found = _ask(engine, name, month, policy)
                assert _near(found, wanted), (str(expected), month, name, found, wanted)
    months = sorted({month for each in case.expectations for month in each.rates})
    for preset in presets():
        judge = replay(events, preset_policy(preset))
        _check_series(engine, Policy.of(preset), {month: judge.rates(month) for month in months})


def _check_series(
    engine: MetricsEngine, policy: Policy, wanted: dict[str, dict[str, Ratio | None]]
) -> None:
    """Churn month by month as the replay finds it, also where the case does not say it.

    MRR churn is 1 less the retention (identity I9).
    """
    start, end = month_range(min(wanted))[0], month_range(max(wanted))[1]
    for row in engine.query("churn", "series", start=start, end=end, policy=policy).rows:
        rates = wanted.get(row["period"].strftime("%Y-%m"))
        if rates is None:
            continue
        assert _near(_sides(row, "logo_churn"), rates["logo_churn"]), (policy.preset, row)
        for name, kept in (("gross_mrr_churn", rates["grr"]), ("net_mrr_churn", rates["nrr"])):
            lost = None if kept is None else (kept[1] - kept[0], kept[1])
            assert _near(_sides(row, name), lost), (policy.preset, row)


def test_one_month_as_six_vendors_tell_it(shared: Database) -> None:
    """E40: logo churn between nothing and three eighths of the same customers."""
    case = next(each for each in CASES if each.id == "E40")
    keep_books(emptied(shared), canonical_events(case))
    engine = settled(shared)
    wanted = {
        "default": (1, 8),
        "chartmogul": (1, 8),
        "maxio": (2, 8),
        "stripe": (3, 10),
        "baremetrics": (3, 8),
        "smsb": (0, 8),
    }
    for preset, sides in wanted.items():
        found = _ask(engine, "logo_churn", "2025-04", Policy.of(preset))
        assert _near(found, sides), preset
