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
from tests.support.telling import Told, described, rate, spent, subscribed
from tidemill.errors import CostDataMissing, InvalidQuery, MissingRate

_CASES: Final = Path(__file__).parents[1] / "data" / "edge_cases.json"
_MARCH: Final = {"start": "2025-03-01", "end": "2025-03-31"}


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    cases = json.loads(_CASES.read_text(encoding="utf-8"))["formula_cases"]
    return next(each for each in cases if each["id"] == "F07")


@pytest.fixture(scope="module")
def told(new_database: NewDatabase, case: dict[str, Any]) -> Iterator[Told]:
    given, paid = case["inputs"], case["inputs"]["new_customers_paid_channels"]
    ads, fair = {"channel": "ads"}, {"channel": "fair"}
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            # One of twenty leaves in March: a churn of 5 % for the lifetime value.
            *(subscribed(f"old{number}", "2024-12-10") for number in range(20)),
            subscribed("old7", "2025-03-20", status="canceled"),
            *(
                subscribed(f"c{number}", "2025-03-10", given["new_arpa_cents"])
                for number in range(given["new_customers"])
            ),
            # All but one of those who came through paid channels saw an advertisement.
            *(
                described(f"c{number}", "2025-03-10", attributes=ads if number else fair)
                for number in range(paid)
            ),
            described("c39", "2025-03-10", attributes={"channel": "friends"}),
            spent("2025-03-05", given["program_spend_cents"] - 300_000, channel="ads"),
            spent("2025-03-06", 300_000, channel="fair"),
            spent("2025-03-31", given["salaries_cents"], "salaries"),
            spent("2025-03-01", given["tools_cents"], "tools"),
            # No cost of acquisition, and no cost of March.
            spent("2025-03-15", 7_777_777, "cogs"),
            spent("2025-03-15", 8_888_888, "other"),
            spent("2025-02-28", 400_000),
            spent("2025-02-28", 200_000, "cogs"),
            spent("2025-04-01", 600_000, "agencies"),
        )
        yield told


def test_the_worked_case(told: Told, case: dict[str, Any]) -> None:
    expect, margin = case["expect"], str(case["inputs"]["gross_margin"])
    ways = {row["way"]: row for row in told.ask("cac", "ways", **_MARCH).rows}
    assert list(ways) == ["simple", "blended", "fully_loaded"]
    assert ways["simple"]["cac"] == expect["cac_simple_paid_cents"]
    assert ways["simple"]["cac_denominator"] == case["inputs"]["new_customers_paid_channels"]
    assert ways["blended"]["cac"] == expect["cac_blended_program_cents"]
    assert ways["fully_loaded"]["cac"] == expect["cac_fully_loaded_cents"]
    (row,) = told.ask("cac", "current", **_MARCH).rows
    assert row == {"cac": 125_000, "cac_numerator": 5_000_000, "cac_denominator": 40}
    payback = told.ask("cac", "payback", **_MARCH, margin=margin)
    assert payback.rows[0]["payback_months"] == Decimal(str(expect["payback_months_gm"]))
    revenue = told.ask("cac", "payback", **_MARCH)
    assert revenue.rows[0]["payback_months"] == Decimal(str(expect["payback_months_revenue"]))
    (row,) = told.ask("cac", "ltv_cac", **_MARCH, margin=margin).rows
    assert round(row["ltv_cac"], 12) == Decimal(str(expect["ltv_cac"]))
    assert round(row["ltv_cac_numerator"], 12) == case["inputs"]["ltv_gm_cents"]
    assert row["ltv_cac_denominator"] == expect["cac_fully_loaded_cents"]


def test_each_channel_has_a_cost_of_its_own(told: Told) -> None:
    """Friends cost nothing, and what is not known to be of a channel is the last line."""
    rows = told.ask("cac", "by_channel", **_MARCH).rows
    shown = [(row["channel"], row["cac_numerator"], row["cac_denominator"]) for row in rows]
    assert shown == [
        ("ads", 1_700_000, 24),
        ("fair", 300_000, 1),
        ("friends", 0, 1),
        ("unknown", 0, 14),
    ]
    assert [row["cac"] for row in rows[1:]] == [300_000, 0, 0]
    # Another attribute says nothing of anybody.
    other = told.ask("cac", "by_channel", **_MARCH, attribute="found_us_by").rows
    shown = [(row["channel"], row["cac"], row["cac_denominator"]) for row in other]
    assert shown == [("ads", None, 0), ("fair", None, 0), ("unknown", 0, 40)]
    (simple, *_) = told.ask("cac", "ways", **_MARCH, attribute="found_us_by").rows
    assert (simple["cac"], simple["cac_denominator"]) == (None, 0)


def test_the_margin_may_be_that_of_the_costs(told: Told) -> None:
    """February brings twenty times 100.00, and costs 2,000.00 to deliver: nothing is left.

    March brings what 60 customers pay on some of its days, and costs far more.
    """
    (row,) = told.ask("cac", "payback", **_MARCH, margin="cogs").rows
    revenue = Decimal(1_000_000) * (20 * 31 - 12 + 40 * 22) / 31 / 100
    assert row["margin"] == pytest.approx((revenue - 7_777_777) / revenue)
    assert row["payback_months"] is None, "what is lost with every month is never paid back"
    february = {"start": "2025-02-01", "end": "2025-02-28"}
    (row,) = told.ask("ltv", "simple", **february, margin="cogs").rows
    assert row["margin"] == 0
    (row,) = told.ask("ltv", "simple", **_MARCH, ltv_numerator="arpa_x_margin").rows
    assert row["margin"] == pytest.approx((revenue - 7_777_777) / revenue)
    with pytest.raises(CostDataMissing, match="cogs"):
        told.ask("ltv", "simple", start="2025-05-01", end="2025-05-31", margin="cogs")
    with pytest.raises(InvalidQuery, match="a part of the customers"):
        told.ask("ltv", "simple", "country", **_MARCH, margin="cogs")


def test_the_scope_is_the_policys(told: Told) -> None:
    assert told.ask("cac", "current", **_MARCH, cac_scope="programme").rows[0]["cac"] == 50_000
    (row,) = told.ask("cac", "payback", **_MARCH, cac_scope="programme").rows
    assert row["payback_months"] == 5


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


@pytest.mark.parametrize(
    "question", ["current", "series", "ways", "by_channel", "payback", "ltv_cac"]
)
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
        told.hear_together(
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
        told.hear_together(
            subscribed("ann", "2025-03-10"),
            spent("2025-03-10", 1_000),
            spent("2025-03-10", 3_000, as_="corrected", recorded_at="2025-04-02T00:00:00Z"),
        )
        assert told.ask("cac", "current", **_MARCH).rows[0]["cac"] == 3_000


@pytest.mark.parametrize("margin", ["1.1", "-1", "eighty", "nan"])
def test_a_margin_is_a_share(told: Told, margin: str) -> None:
    with pytest.raises(InvalidQuery, match="margin"):
        told.ask("cac", "payback", **_MARCH, margin=margin)


def test_costs_cannot_be_cut(told: Told) -> None:
    with pytest.raises(InvalidQuery):
        told.ask("cac", "current", "country", **_MARCH)
