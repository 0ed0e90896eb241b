"""The waterfall and its kin, worked out by hand: opening, movements, exchange rates, closing."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.hand_ledger import HandLedger
from tidemill import models
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import BooksDoNotClose
from tidemill.metrics.flows import check_waterfall
from tidemill.metrics.spec import QuerySpec

STEPS = (
    "opening", "new", "expansion", "reactivation", "contraction", "churn", "fx", "closing",
)  # fmt: skip


@pytest.fixture(name="ledger")
def hand_ledger(database: Database) -> HandLedger:
    return HandLedger(database)


@pytest.fixture(name="engine")
def euro_business(ledger: HandLedger) -> MetricsEngine:
    """Worked case E31 (EUR/USD 1.10, 1.20, 1.00) beside a customer in dollars."""
    for month, rate in (("01", "1.10"), ("02", "1.20"), ("03", "1.00")):
        ledger.rate(f"2025-{month}-01", "EUR", rate)
    ledger.move("2025-01-15", "eva", "new", 10_000, currency="EUR")
    ledger.move("2025-02-10", "eva", "expansion", 5_000, currency="EUR")
    ledger.move("2025-03-20", "eva", "churn", -15_000, currency="EUR")
    ledger.move("2025-01-20", "uma", "new", 2_000, plan="team")
    ledger.move("2025-04-02", "eva", "reactivation", 4_000, currency="EUR")
    ledger.move("2025-04-03", "uma", "contraction", -500, plan="team")
    return ledger.engine()


def steps(row: Any) -> list[Any]:
    return [row[name] for name in STEPS]


def test_waterfall_with_its_line_for_exchange_rates(engine: MetricsEngine) -> None:
    rows = engine.mrr.waterfall(start="2025-01-01", end="2025-05-31").rows
    assert [row["period"] for row in rows] == [date(2025, month, 1) for month in range(1, 6)]
    assert [steps(row) for row in rows] == [
        # opening     new  exp. react. contr.   churn     fx closing
        [0, 13_000, 0, 0, 0, 0, 0, 13_000],
        [13_000, 0, 6_000, 0, 0, 0, 1_000, 20_000],
        [20_000, 0, 0, 0, 0, -15_000, -3_000, 2_000],
        [2_000, 0, 0, 4_000, -500, 0, 0, 5_500],
        [5_500, 0, 0, 0, 0, 0, 0, 5_500],
    ]


def test_opening_is_the_level_before_the_range(engine: MetricsEngine) -> None:
    """T23: a waterfall that begins in the middle of history, and of a month."""
    rows = engine.mrr.waterfall(start="2025-02-11", end="2025-03-10").rows
    assert [steps(row) for row in rows] == [
        [20_000, 0, 0, 0, 0, 0, 0, 20_000],
        [20_000, 0, 0, 0, 0, 0, -3_000, 17_000],
    ]


def test_finer_periods_add_up(engine: MetricsEngine) -> None:
    coarse = engine.mrr.waterfall(start="2025-01-01", end="2025-06-30", grain="quarter").rows
    fine = engine.mrr.waterfall(start="2025-01-01", end="2025-06-30", grain="day").rows
    for name in STEPS[1:-1]:
        assert sum(row[name] for row in fine) == sum(row[name] for row in coarse), name
    assert len(fine) == 181
    assert fine[-1]["closing"] == coarse[-1]["closing"] == 5_500


def test_groups_go_on_where_the_total_goes_on(engine: MetricsEngine) -> None:
    """T24: the group without movements in the range has its opening too."""
    spec = QuerySpec(["plan"])
    rows = engine.mrr.waterfall(start="2025-02-01", end="2025-03-31", spec=spec).rows
    assert [(row["plan"], row["period"].month, *steps(row)) for row in rows] == [
        ("basic", 2, 11_000, 0, 6_000, 0, 0, 0, 1_000, 18_000),
        ("basic", 3, 18_000, 0, 0, 0, 0, -15_000, -3_000, 0),
        ("team", 2, 2_000, 0, 0, 0, 0, 0, 0, 2_000),
        ("team", 3, 2_000, 0, 0, 0, 0, 0, 0, 2_000),
    ]


def test_a_change_of_plan_moves_between_groups(ledger: HandLedger) -> None:
    """The customer's movement is the difference; each plan has its own side of it."""
    ledger.move("2025-01-15", "ann", "new", 3_000)
    ledger.move("2025-02-15", "ann", "expansion", -3_000)
    ledger.move("2025-02-15", "ann", "expansion", 5_000, plan="team")
    engine = ledger.engine()
    total = engine.mrr.waterfall(start="2025-02-01", end="2025-02-28").rows[0]
    assert steps(total) == [3_000, 0, 2_000, 0, 0, 0, 0, 5_000]
    by_plan = engine.mrr.waterfall(start="2025-02-01", end="2025-02-28", spec=QuerySpec(["plan"]))
    assert [(row["plan"], *steps(row)) for row in by_plan.rows] == [
        ("basic", 3_000, 0, -3_000, 0, 0, 0, 0, 0),
        ("team", 0, 0, 5_000, 0, 0, 0, 0, 5_000),
    ]


def test_breakdown_is_the_whole_range_by_type(engine: MetricsEngine) -> None:
    result = engine.mrr.breakdown(start="2025-01-01", end="2025-05-31")
    assert [(row["type"], row["amount"]) for row in result.rows] == [
        ("new", 13_000),
        ("expansion", 6_000),
        ("contraction", -500),
        ("churn", -15_000),
        ("reactivation", 4_000),
        ("fx", -2_000),
    ]


def test_breakdown_of_groups(engine: MetricsEngine) -> None:
    spec = QuerySpec(["currency"])
    rows = engine.mrr.breakdown(start="2025-03-01", end="2025-04-30", spec=spec).rows
    found = {(row["currency"], row["type"]): row["amount"] for row in rows}
    assert len(rows) == 12
    assert found["EUR", "fx"] == -3_000
    assert found["USD", "fx"] == 0
    assert found["USD", "contraction"] == -500


def test_net_new_can_be_cut_by_what_describes_movements(engine: MetricsEngine) -> None:
    net = engine.mrr.net_new(start="2025-01-01", end="2025-04-30")
    assert [row["net_new"] for row in net.rows] == [13_000, 6_000, -15_000, 3_500]
    spec = QuerySpec(["type"], ["type!=new"])
    by_type = engine.mrr.net_new(start="2025-01-01", end="2025-04-30", grain="year", spec=spec)
    assert [(row["type"], row["net_new"]) for row in by_type.rows] == [
        ("churn", -15_000),
        ("contraction", -500),
        ("expansion", 6_000),
        ("reactivation", 4_000),
    ]


def test_movements_come_with_cause_and_event(ledger: HandLedger) -> None:
    ledger.rate("2025-01-01", "EUR", "1.10")
    ledger.move("2025-01-15", "ann", "new", 10_000, currency="EUR", logged=True)
    ledger.move("2025-02-15", "ann", "churn", -10_000, currency="EUR", cause="period_ended")
    rows = ledger.engine().mrr.movements(start="2025-01-01", end="2025-12-31").rows
    first, second = rows
    assert first["day"] == date(2025, 1, 15)
    assert (first["amount"], first["native_amount"], first["currency"]) == (11_000, 10_000, "EUR")
    assert (first["customer"], first["type"], first["cause"]) == ("ann", "new", "event")
    assert len(first["event_id"]) == 36
    assert (second["type"], second["cause"], second["event_id"]) == ("churn", "period_ended", None)


def test_quick_ratio(engine: MetricsEngine) -> None:
    result = engine.quick_ratio(start="2025-01-01", end="2025-04-30")
    row = result.rows[0]
    assert row["quick_ratio_numerator"] == 13_000 + 6_000 + 4_000
    assert row["quick_ratio_denominator"] == 15_500
    assert row["quick_ratio"] == pytest.approx(Decimal(23_000) / 15_500)
    assert result.value == row["quick_ratio"]
    without = engine.policy.turned({"quick_ratio_reactivation": "no"})
    narrower = engine.quick_ratio(start="2025-01-01", end="2025-04-30", policy=without)
    assert narrower.rows[0]["quick_ratio_numerator"] == 19_000


def test_a_ratio_over_nothing_is_undefined_and_says_why(engine: MetricsEngine) -> None:
    result = engine.quick_ratio.series(start="2025-01-01", end="2025-03-31")
    assert [row["quick_ratio"] for row in result.rows] == [None, None, 0]
    said = "quick_ratio is undefined for 2025-01-01, 2025-02-01: nothing was lost"
    assert any(warning.startswith(said) for warning in result.warnings)
    assert result.to_dict()["rows"][0]["quick_ratio"] is None


def test_the_default_of_quick_ratio_is_the_month_so_far(engine: MetricsEngine) -> None:
    result = engine.quick_ratio()
    assert result.params == {"start": date(2025, 7, 1), "end": date(2025, 7, 1)}


def test_a_waterfall_that_does_not_close_is_refused(
    engine: MetricsEngine, database: Database
) -> None:
    with database.begin() as connection:
        table = models.metric_mrr_movement
        connection.execute(update(table).where(table.c.type == "new").values(type="gift"))
    with pytest.raises(BooksDoNotClose, match="off by 13000"):
        engine.mrr.waterfall(start="2025-01-01", end="2025-05-31")


def test_a_waterfall_goes_on_where_it_stopped() -> None:
    zero = dict.fromkeys(STEPS, Decimal(0))
    january = zero | {"period": date(2025, 1, 1), "new": Decimal(5), "closing": Decimal(5)}
    february = zero | {"period": date(2025, 2, 1), "opening": Decimal(4), "closing": Decimal(4)}
    with pytest.raises(BooksDoNotClose, match="2025-02-01: off by -1"):
        check_waterfall([january, february])
    # The next group begins anew.
    check_waterfall([january, zero | {"period": date(2025, 1, 1)}])
