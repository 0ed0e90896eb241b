"""Efficiency, worked out by hand: the figures of case F08, and where they have no value.

In January to March 2025 MRR is 333,333.33, a third of F08's first quarter; from April on it is
400,000. All its sales and marketing is spent in February. In the second quarter ARR grows by
800,000, and the burn is made of costs and cash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import NewDatabase
from tests.support.telling import Told, item, paid, rate, spent, subscribed
from tidemill.errors import CostDataMissing, InvalidQuery, MissingRate

_CASES: Final = Path(__file__).parents[1] / "data" / "edge_cases.json"
_SECOND: Final = {"start": "2025-04-01", "end": "2025-06-30"}


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    cases = json.loads(_CASES.read_text(encoding="utf-8"))["formula_cases"]
    return next(each for each in cases if each["id"] == "F08")


@pytest.fixture(scope="module")
def told(new_database: NewDatabase, case: dict[str, Any]) -> Iterator[Told]:
    given = case["inputs"]
    quarterly = {"interval": "month", "interval_count": 3}
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            subscribed("ann", "2025-01-01", items=[item(given["rev_q1_cents"], **quarterly)]),
            subscribed("ann", "2025-04-01", items=[item(given["rev_q_cents"], **quarterly)]),
            # Whoever comes later than a year after the first one, for the rule of 40.
            subscribed("bob", "2026-02-10", items=[item(given["rev_q_cents"] // 10, **quarterly)]),
            spent("2025-02-10", given["sm_prior_q_cents"] - 1_000, "salaries"),
            spent("2025-02-11", 1_000, "tools"),
            # Neither is a cost of sales and marketing.
            spent("2025-02-12", 5_000, "cogs"),
            spent("2025-05-12", 130_000_000, "cogs"),
            spent("2025-05-13", 10_000_000, "other"),
            spent("2025-06-13", 20_000_000, "agencies"),
            paid("ann", "2025-04-02", 45_000_000, "in_1"),
            paid("ann", "2025-04-03", 5_000_000, "in_1", type="payment.refunded"),
        )
        yield told


def test_the_magic_number_of_the_worked_case(told: Told, case: dict[str, Any]) -> None:
    given = case["inputs"]
    (row,) = told.ask("efficiency", "magic_number", **_SECOND).rows
    assert round(row["magic_number"], 6) == Decimal(str(case["expect"]["magic_number"]))
    assert round(row["magic_number_numerator"], 6) == 4 * (
        given["rev_q_cents"] - given["rev_q1_cents"]
    )
    assert row["magic_number_denominator"] == given["sm_prior_q_cents"]
    by_arr = told.ask("efficiency", "magic_number", **_SECOND, basis="arr")
    assert round(by_arr.rows[0]["magic_number"], 6) == 1, (
        "4 x a quarter's growth is a year's growth of MRR"
    )


def test_magic_numbers_are_of_whole_quarters(told: Told) -> None:
    some_days = told.ask("efficiency", "magic_number", start="2025-05-05", end="2025-08-09")
    quarters = told.ask("efficiency", "magic_number", start="2025-04-01", end="2025-09-30")
    assert some_days.rows == quarters.rows
    shown = [(str(row["period"]), round(row["magic_number"], 6)) for row in quarters.rows]
    assert shown == [("2025-04-01", 1), ("2025-07-01", 0)]
    first = told.ask("efficiency", "magic_number", start="2025-01-01", end="2025-06-30").rows[0]
    assert (first["magic_number"], first["magic_number_denominator"]) == (None, None)
    assert round(first["magic_number_numerator"], 6) == 4 * 100_000_000


def test_revenue_of_a_month_begun_is_that_of_its_days(told: Told) -> None:
    """Bob's 40,000 a month are there on 19 of February's 28 days, and all of March."""
    rows = told.ask("efficiency", "magic_number", start="2025-07-01", end="2026-03-31").rows
    wanted = 4 * Decimal(4_000_000) * (Decimal(19) / 28 + 1)
    assert rows[2]["magic_number_numerator"] == pytest.approx(wanted)


def test_the_burn_multiple(told: Told, case: dict[str, Any]) -> None:
    """160,000,000 are spent and 40,000,000 received for 80,000,000 of new ARR."""
    (row,) = told.ask("efficiency", "burn_multiple", **_SECOND).rows
    assert round(row["burn_multiple"], 6) == Decimal(str(case["expect"]["burn_multiple"]))
    assert row["burn_multiple_numerator"] == 120_000_000
    assert round(row["burn_multiple_denominator"], 6) == 80_000_000


def test_nothing_is_burned_for_arr_that_does_not_grow(told: Told) -> None:
    found = told.ask("efficiency", "burn_multiple", start="2025-04-01", end="2025-06-30",
                     grain="month")  # fmt: skip
    shown = [(row["burn_multiple"], row["burn_multiple_numerator"]) for row in found.rows]
    assert shown == [(None, None), (None, 140_000_000), (None, 20_000_000)]
    assert any("burn_multiple is undefined" in each for each in found.warnings)


def test_the_rule_of_40(told: Told, case: dict[str, Any]) -> None:
    """In the year to March 2026 MRR grows from 333,333.33 to 440,000."""
    year = {"start": "2026-01-01", "end": "2026-03-31"}
    for kind in ("fcf", "ebitda"):
        margin = str(case["inputs"][f"{kind}_margin"])
        (row,) = told.ask("efficiency", "rule_of_40", **year, margin=margin).rows
        assert row["growth"] == pytest.approx(Decimal("0.32"))
        # The case's growth is .30: what the margin adds to it is what the rule adds here.
        wanted = Decimal(str(case["expect"][f"rule_of_40_{kind}"]))
        assert row["rule_of_40"] - row["growth"] == wanted - Decimal(str(case["inputs"]["growth"]))
        assert row["margin_numerator"] is None
    (row,) = told.ask("efficiency", "rule_of_40", **year).rows
    assert row["margin"] == Decimal(40 - 160) / 40
    assert row["rule_of_40"] == pytest.approx(Decimal("-2.68"))


def test_growth_and_what_it_is_for_each_month(told: Told) -> None:
    rows = told.ask("efficiency", "growth", start="2025-03-01", end="2025-05-31").rows
    assert [row["growth"] for row in rows] == [0, pytest.approx(Decimal("0.2")), 0]
    found = told.ask("efficiency", "cmgr", end="2025-04-30", months=2).rows[0]
    assert found["cmgr"] == pytest.approx(Decimal("1.2") ** Decimal("0.5") - 1)
    nothing = told.ask("efficiency", "cmgr", end="2025-04-30")
    assert nothing.rows[0]["cmgr"] is None
    assert "cmgr is undefined: there was no MRR at the opening." in nothing.warnings
    by_name = told.ask("efficiency", "growth", "customer", start="2026-03-01", end="2026-03-31")
    assert [row["customer"] for row in by_name.rows] == ["ann", "bob"]
    with pytest.raises(InvalidQuery, match="months"):
        told.ask("efficiency", "cmgr", end="2025-04-30", months=0)


def test_arr_of_another_basis_grows_alike(told: Told) -> None:
    """By days the quarters are of 90 and of 91 days."""
    by_days = 365 * (Decimal(120_000_000) / 91 - Decimal(100_000_000) / 90)
    for basis, gained in (("contract_value", Decimal(80_000_000)), ("contract_days", by_days)):
        (row,) = told.ask("efficiency", "burn_multiple", **_SECOND, arr_basis=basis).rows
        assert row["burn_multiple_denominator"] == pytest.approx(gained)
    (row,) = told.ask("efficiency", "magic_number", **_SECOND, arr_basis="contract_value").rows
    assert round(row["magic_number"], 6) == 1


@pytest.mark.parametrize("question", ["magic_number", "burn_multiple", "rule_of_40"])
def test_without_costs_there_is_no_figure(told: Told, question: str) -> None:
    with pytest.raises(CostDataMissing) as refused:
        told.ask("efficiency", question, start="2024-04-01", end="2024-06-30")
    assert refused.value.code == "cost_data_missing"


@pytest.mark.parametrize("margin", ["1.1", "much", "nan", "-inf"])
def test_a_margin_is_a_share(told: Told, margin: str) -> None:
    with pytest.raises(InvalidQuery, match="margin"):
        told.ask("efficiency", "rule_of_40", **_SECOND, margin=margin)


def test_cash_and_costs_need_the_rate_of_their_day(new_database: NewDatabase) -> None:
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            subscribed("ann", "2025-04-10"),
            spent("2025-05-12", 100_000, "cogs"),
            paid("ann", "2025-05-12", 20_000, "in_1", currency="EUR"),
        )
        with pytest.raises(MissingRate):
            told.ask("efficiency", "burn_multiple", **_SECOND)
        told.hear(rate("2025-05-01", "2"))
        (row,) = told.ask("efficiency", "burn_multiple", **_SECOND).rows
        assert row["burn_multiple_numerator"] == 100_000 - 40_000
        assert row["burn_multiple"] == Decimal(60_000) / (12 * 10_000)


def test_constant_rates_are_of_mrr_and_not_of_costs(told: Told) -> None:
    """Both kinds of rates are in one statement then."""
    for metric, question in (
        ("efficiency", "burn_multiple"), ("efficiency", "rule_of_40"), ("cac", "payback"),
        ("cac", "ltv_cac"), ("cac", "ways"), ("efficiency", "magic_number"),
    ):  # fmt: skip
        plain, constant = (told.ask(metric, question, **_SECOND, fx=fx).rows
                           for fx in ("period_end", "constant"))  # fmt: skip
        assert plain == constant, question
