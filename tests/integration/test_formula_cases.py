"""The formula cases F09 to F13: books of one or two customers, worked out by hand.

F01 to F06 are in `test_ltv`, F07 in `test_cac`, F08 in `test_efficiency`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import NewDatabase
from tests.support.telling import Told, item, subscribed
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.policy import Policy

_DATA: Final = Path(__file__).parents[1] / "data" / "edge_cases.json"
CASES: Final[dict[str, Any]] = {
    each["id"]: each for each in json.loads(_DATA.read_text(encoding="utf-8"))["formula_cases"]
}


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


@pytest.fixture
def told(shared: Database) -> Told:
    return Told(shared).afresh()


def test_every_formula_case_has_a_test() -> None:
    here = Path(__file__).parent
    written = "".join(path.read_text(encoding="utf-8").casefold() for path in here.glob("*.py"))
    assert not [name for name in CASES if f'"{name.casefold()}"' not in written]


@pytest.mark.parametrize("how", ["linear", "compound"])
def test_f09_an_incomplete_period(told: Told, how: str) -> None:
    """Of 100.00 two are lost within the first 10 of April's 30 days."""
    given, expect = CASES["F09"]["inputs"], CASES["F09"]["expect"]
    lost = Decimal(str(given["rate"]))
    told.hear_together(
        subscribed("ann", "2025-03-01"), subscribed("ann", "2025-04-05", int(10_000 * (1 - lost)))
    )
    on = datetime(2025, 4, given["elapsed"], 23, tzinfo=UTC)
    engine = MetricsEngine(told.database, base_currency="USD", as_of=on)
    april: dict[str, Any] = {"start": "2025-04-01", "end": "2025-04-30"}
    found = engine.query(
        "churn", "gross_mrr", **april, policy=Policy.parse(f"default;partial_period={how}")
    )
    assert round(found.rows[0]["gross_mrr_churn"], 6) == Decimal(str(expect[how]))
    assert engine.query("churn", "gross_mrr", **april).rows[0]["gross_mrr_churn"] == lost


def test_f10_a_year_of_the_same_monthly_churn(told: Told) -> None:
    """Compounded it is what the chained NRR lacks; added up it is twelve times as much."""
    monthly, expect = Decimal(str(CASES["F10"]["inputs"]["monthly"])), CASES["F10"]["expect"]
    worth = [round(10**10 * (1 - monthly) ** month) for month in range(13)]
    days = ["2024-12-01", *(f"2025-{month:02}-02" for month in range(1, 13))]
    told.hear_together(
        *(subscribed("ann", day, amount) for day, amount in zip(days, worth, strict=True))
    )
    year = {"start": "2025-01-01", "end": "2025-12-31"}
    months = told.ask("churn", "series", **year).rows
    assert round(sum(row["gross_mrr_churn"] for row in months), 6) == Decimal(str(expect["linear"]))
    (row,) = told.ask("retention", "nrr", start="2025-12-01", end="2025-12-31",
                      nrr_window="chained").rows  # fmt: skip
    assert round(1 - row["nrr"], 6) == Decimal(str(expect["compound"]))


def test_f11_a_quick_ratio_without_losses(told: Told) -> None:
    told.hear(subscribed("ann", "2025-04-10", CASES["F11"]["inputs"]["gains_cents"]))
    found = told.ask("quick_ratio", "current", start="2025-04-01", end="2025-04-30")
    assert found.rows[0]["quick_ratio"] is CASES["F11"]["expect"]["quick_ratio"] is None
    assert found.rows[0]["quick_ratio_numerator"] == 5_000
    assert any("quick_ratio is undefined" in each for each in found.warnings)


def test_f12_a_cohort_is_not_the_product_of_its_months(told: Told) -> None:
    """A pays the same for ten months before; B joins inside the window."""
    expect = CASES["F12"]["expect"]
    (_, _, ann), (_, joined, bob) = CASES["F12"]["inputs"]["mrr"].values()
    told.hear_together(
        subscribed("ann", "2024-01-15"),
        subscribed("bob", "2024-12-15", joined),
        subscribed("ann", "2025-01-15", ann),
        subscribed("bob", "2025-01-15", bob),
    )
    months = told.ask("retention", "series", start="2024-12-01", end="2025-01-31").rows
    assert [row["nrr"] for row in months] == [expect["nrr_m1"], expect["nrr_m2"]]
    january = {"start": "2025-01-01", "end": "2025-01-31"}
    chained = told.ask("retention", "nrr", **january, nrr_window="chained").rows[0]["nrr"]
    assert chained == expect["product"]
    cohort = told.ask("retention", "nrr", **january, nrr_window="12m_cohort").rows[0]["nrr"]
    assert cohort == Decimal(str(expect["cohort_2m"]))


def test_f13_monthly_and_annual_plans_together(told: Told) -> None:
    given = CASES["F13"]["inputs"]
    for name, interval in (("monthly", "month"), ("annual", "year")):
        quantity, amount = given[name]
        seats = item(amount, quantity=quantity, interval=interval)
        told.hear(subscribed(name, "2025-01-10", items=[seats]))
    assert told.mrr("2025-01-31") == CASES["F13"]["expect"]["mrr_cents"]
