"""Acquisition cost, worked out by hand.

The book of case F07: in March 40 customers come with 100.00 each, and 20,000 are spent on the
programme, 25,000 on salaries and 5,000 on tools of sales and marketing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import NewDatabase
from tests.support.telling import Told, rate, spent, subscribed
from tidemill.errors import CostDataMissing, InvalidQuery, MissingRate

_CASES: Final = Path(__file__).parents[1] / "data" / "edge_cases.json"
_MARCH: Final = {"start": "2025-03-01", "end": "2025-03-31"}


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    cases = json.loads(_CASES.read_text(encoding="utf-8"))["formula_cases"]
    return next(each for each in cases if each["id"] == "F07")


@pytest.fixture(scope="module")
def told(new_database: NewDatabase, case: dict[str, Any]) -> Iterator[Told]:
    given = case["inputs"]
    with new_database() as database:
        told = Told(database)
        told.hear(
            *(
                subscribed(f"c{number}", "2025-03-10", given["new_arpa_cents"])
                for number in range(given["new_customers"])
            ),
            spent("2025-03-05", given["program_spend_cents"]),
            spent("2025-03-31", given["salaries_cents"], "salaries"),
            spent("2025-03-01", given["tools_cents"], "tools"),
            # No cost of acquisition, and no cost of March.
            spent("2025-03-15", 7_777_777, "cogs"),
            spent("2025-03-15", 8_888_888, "other"),
            spent("2025-02-28", 400_000),
            spent("2025-04-01", 600_000, "agencies"),
        )
        yield told


def test_the_worked_case(told: Told, case: dict[str, Any]) -> None:
    expect, margin = case["expect"], str(case["inputs"]["gross_margin"])
    (row,) = told.ask("cac", "current", **_MARCH).rows
    assert row["cac_blended"] == expect["cac_blended_program_cents"]
    assert row["cac_fully_loaded"] == expect["cac_fully_loaded_cents"]
    assert (row["cac"], row["cac_numerator"], row["cac_denominator"]) == (125_000, 5_000_000, 40)
    payback = told.ask("cac", "payback", **_MARCH, margin=margin)
    assert payback.value == Decimal(str(expect["payback_months_gm"]))
    revenue = told.ask("cac", "payback", **_MARCH)
    assert revenue.value == Decimal(str(expect["payback_months_revenue"]))


def test_the_scope_is_the_policys(told: Told) -> None:
    (row,) = told.ask("cac", "current", **_MARCH, cac_scope="programme").rows
    assert (row["cac"], row["cac_fully_loaded"]) == (50_000, 125_000)
    assert told.ask("cac", "payback", **_MARCH, cac_scope="programme").value == 5


def test_spend_may_come_months_before(told: Told) -> None:
    found = told.ask("cac", "current", **_MARCH, cac_lag_months="1")
    assert found.rows[0]["cac_numerator"] == 400_000
    assert found.rows[0]["cac"] == 10_000
    assert "By cac_lag_months the spend is that of 1 month before." in found.warnings


def test_a_period_without_costs_or_customers_is_null(told: Told) -> None:
    found = told.ask("cac", "series", start="2025-01-01", end="2025-04-30")
    shown = [(row["cac"], row["cac_numerator"], row["cac_denominator"]) for row in found.rows]
    assert shown == [
        (None, None, 0),
        (None, 400_000, 0),
        (125_000, 5_000_000, 40),
        (None, 600_000, 0),
    ]
    assert any("cac is undefined" in each for each in found.warnings)


@pytest.mark.parametrize("question", ["current", "series", "payback"])
def test_without_any_cost_there_is_no_figure(told: Told, question: str) -> None:
    with pytest.raises(CostDataMissing) as refused:
        told.ask("cac", question, start="2025-06-01", end="2025-06-30")
    assert refused.value.code == "cost_data_missing"
    assert "2025-06-01 to 2025-06-30" in str(refused.value)


def test_other_costs_do_not_stand_for_those_of_acquisition(new_database: NewDatabase) -> None:
    with new_database() as database:
        told = Told(database)
        told.hear(subscribed("ann", "2025-03-10"), spent("2025-03-10", 5, "cogs"))
        with pytest.raises(CostDataMissing):
            told.ask("cac", "current", **_MARCH)


def test_costs_in_other_currencies_are_worth_the_rate_of_their_day(
    new_database: NewDatabase,
) -> None:
    with new_database() as database:
        told = Told(database)
        told.hear(
            subscribed("ann", "2025-03-10"),
            spent("2025-03-10", 1_000, currency="EUR"),
            rate("2025-03-11", "3"),
        )
        with pytest.raises(MissingRate):
            told.ask("cac", "current", **_MARCH)
        told.hear(rate("2025-03-09", "2"))
        assert told.ask("cac", "current", **_MARCH).rows[0]["cac"] == 2_000
        constant = told.ask(
            "cac", "current", **_MARCH, fx="constant", fx_constant_date="2025-03-20"
        )
        assert constant.rows[0]["cac"] == 2_000


def test_a_cost_told_again_replaces_the_one_before(new_database: NewDatabase) -> None:
    with new_database() as database:
        told = Told(database)
        told.hear(
            subscribed("ann", "2025-03-10"),
            spent("2025-03-10", 1_000),
            spent("2025-03-10", 3_000, as_="corrected", recorded_at="2025-04-02T00:00:00Z"),
        )
        assert told.ask("cac", "current", **_MARCH).rows[0]["cac"] == 3_000


@pytest.mark.parametrize("margin", ["0", "1.1", "-1", "eighty", "nan"])
def test_a_margin_is_a_share(told: Told, margin: str) -> None:
    with pytest.raises(InvalidQuery, match="margin"):
        told.ask("cac", "payback", **_MARCH, margin=margin)


def test_costs_cannot_be_cut(told: Told) -> None:
    with pytest.raises(InvalidQuery):
        told.ask("cac", "current", "country", **_MARCH)
