"""MRR, ARR and customers, at a day and over time, worked out by hand on hand-written movements."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tests.support.hand_ledger import HandLedger
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.metrics.result import Result
from tidemill.metrics.spec import QuerySpec


@pytest.fixture(name="ledger")
def hand_ledger(database: Database) -> HandLedger:
    return HandLedger(database)


@pytest.fixture(name="engine")
def small_business(ledger: HandLedger) -> MetricsEngine:
    """Ann pays 100.00 from January; Bob 50.00 from 10 February, 80.00 from 5 March, gone 20 May."""
    ledger.move("2025-01-15", "ann", "new", 10_000)
    ledger.move("2025-02-10", "bob", "new", 5_000)
    ledger.move("2025-03-05", "bob", "expansion", 3_000)
    ledger.move("2025-05-20", "bob", "churn", -8_000)
    return ledger.engine()


def pairs(result: Result, *names: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in names) for row in result.rows]


@pytest.mark.parametrize(
    ("at", "mrr", "customers"),
    [
        ("2025-01-14", 0, 0),
        ("2025-01-15", 10_000, 1),
        ("2025-02-28", 15_000, 2),
        ("2025-03-05", 18_000, 2),
        ("2025-05-19", 18_000, 2),
        ("2025-05-20", 10_000, 1),
    ],
)
def test_levels_stand_at_the_close_of_the_day(
    engine: MetricsEngine, at: str, mrr: int, customers: int
) -> None:
    assert engine.mrr.current(at=at).value == mrr
    assert engine.arr.current(at=at).value == 12 * mrr
    assert engine.customers.current(at=at).value == customers


def test_every_period_is_there_also_the_quiet_ones(engine: MetricsEngine) -> None:
    """T23: a range that begins before the first movement and ends in a quiet month."""
    series = engine.mrr.series(start="2024-12-01", end="2025-06-30")
    months = [date(2024, 12, 1), *(date(2025, month, 1) for month in range(1, 7))]
    levels = [0, 10_000, 15_000, 18_000, 18_000, 10_000, 10_000]
    assert pairs(series, "period", "mrr") == list(zip(months, levels, strict=True))
    counted = engine.customers.series(start="2024-12-01", end="2025-06-30")
    assert [row["customers"] for row in counted.rows] == [0, 1, 2, 2, 2, 1, 1]
    assert all(isinstance(row["customers"], int) for row in counted.rows)
    yearly = engine.arr.series(start="2024-12-01", end="2025-06-30")
    assert [row["arr"] for row in yearly.rows] == [12 * level for level in levels]


@pytest.mark.parametrize("grain", ["day", "week", "month", "quarter", "year"])
def test_a_single_day_is_one_period(engine: MetricsEngine, grain: str) -> None:
    """T27."""
    series = engine.mrr.series(start="2025-02-10", end="2025-02-10", grain=grain)
    assert [row["mrr"] for row in series.rows] == [15_000]


def test_periods_are_clipped_to_the_range_and_keep_their_key(engine: MetricsEngine) -> None:
    series = engine.mrr.series(start="2025-02-05", end="2025-03-04", grain="month")
    assert pairs(series, "period", "mrr") == [
        (date(2025, 2, 1), 15_000),
        (date(2025, 3, 1), 15_000),
    ]


def test_weeks_begin_on_monday(engine: MetricsEngine) -> None:
    series = engine.mrr.series(start="2025-03-01", end="2025-03-10", grain="week")
    assert pairs(series, "period", "mrr") == [
        (date(2025, 2, 24), 15_000),
        (date(2025, 3, 3), 18_000),
        (date(2025, 3, 10), 18_000),
    ]


def test_without_any_movement_everything_is_zero(ledger: HandLedger) -> None:
    engine = ledger.engine()
    assert engine.mrr().value == 0
    assert engine.customers().value == 0
    assert [row["mrr"] for row in engine.mrr.series(start="2025-01-01", end="2025-03-31").rows] == [
        0,
        0,
        0,
    ]
    flow = engine.mrr.waterfall(start="2025-01-01", end="2025-03-31").rows
    assert len(flow) == 3
    assert all(row["closing"] == row["new"] == row["fx"] == 0 for row in flow)
    assert engine.mrr.current(spec=QuerySpec(["plan"])).rows == ()
    assert engine.mrr.movements().rows == ()


def test_a_later_day_is_committed_mrr(engine: MetricsEngine, ledger: HandLedger) -> None:
    """A scheduled cancellation is a movement already, at its own date."""
    ledger.move("2025-09-01", "ann", "churn", -10_000)
    assert engine.mrr.current().value == 10_000
    later = engine.mrr.current(at="2025-09-01")
    assert later.value == 0
    assert not later.complete


def test_today_is_the_default_and_counts_in_the_policys_zone(ledger: HandLedger) -> None:
    ledger.move("2025-07-01", "ann", "new", 10_000)
    before_midnight = datetime(2025, 7, 1, 3, 0, tzinfo=UTC)
    here = ledger.engine(as_of=before_midnight).mrr.current()
    assert (here.params["at"], here.value) == (date(2025, 7, 1), 10_000)
    policy = ledger.engine().policy.turned({"tz": "America/New_York"})
    there = ledger.engine(as_of=before_midnight, policy=policy).mrr.current()
    assert (there.params["at"], there.value) == (date(2025, 6, 30), 0)


def test_ranges_have_defaults(engine: MetricsEngine) -> None:
    assert engine.mrr.series().params == {
        "start": date(2024, 8, 1),
        "end": date(2025, 7, 1),
        "grain": "month",
    }
    assert engine.mrr.movements(end="2025-05-31").params == {
        "start": date(2025, 5, 1),
        "end": date(2025, 5, 31),
    }


def test_unfinished_periods_are_flagged(engine: MetricsEngine) -> None:
    whole = engine.mrr.series(start="2025-05-01", end="2025-06-30")
    assert whole.complete
    assert whole.warnings == ()
    cut = engine.mrr.series(start="2025-05-01", end="2025-08-15")
    assert not cut.complete
    assert cut.warnings == (
        "The periods 2025-07-01 to 2025-08-01 are not over in UTC: the figures can still change.",
    )
    assert engine.mrr.current(at="2025-06-30").complete
    today = engine.mrr.current()
    assert today.warnings == (
        "The day 2025-07-01 is not over in UTC: the figures can still change.",
    )


def test_a_period_is_not_over_before_it_is_in_the_policys_zone(ledger: HandLedger) -> None:
    policy = ledger.engine().policy.turned({"tz": "America/New_York"})
    engine = ledger.engine(policy=policy)
    assert not engine.mrr.current(at="2025-06-30").complete
    assert engine.mrr.current(at="2025-06-29").complete


def test_nothing_is_rounded_on_the_way(ledger: HandLedger) -> None:
    """T28: 100.00 a year is 8.3333… a month and 100.00 ARR."""
    engine = ledger.engine()
    for name in ("ann", "bob", "cyd"):
        ledger.move("2025-01-15", name, "new", Decimal(10_000) / 12)
    assert engine.arr.current().value == 30_000
    assert engine.mrr.current().value == Decimal("2500.000000")
    assert engine.mrr.current().money == "$25.00"
    one = engine.mrr.current(spec=QuerySpec(filters=["customer=ann"]))
    assert one.to_dict()["rows"] == [{"mrr": "833.333333"}]


@pytest.mark.parametrize(
    ("currency", "amount", "rate", "base", "mrr"),
    [
        ("JPY", 1_500, "0.0067", "USD", "1005"),  # ¥1,500 = $10.05
        ("KWD", 5_500, "3.25", "USD", "1787.5"),  # KWD 5.500 = $17.875
        ("USD", 1_000, "150", "JPY", "1500"),  # $10.00 = ¥1,500
    ],
)
def test_currencies_have_their_own_minor_units(
    ledger: HandLedger, currency: str, amount: int, rate: str, base: str, mrr: str
) -> None:
    ledger.rate("2025-01-01", currency, rate, base=base)
    ledger.move("2025-01-15", "ann", "new", amount, currency=currency)
    assert ledger.engine(base).mrr.current().value == Decimal(mrr)


def test_no_currency_is_built_in(ledger: HandLedger) -> None:
    """T08: dollars in books kept in euros are converted like any other currency."""
    ledger.rate("2025-01-01", "USD", "0.5", base="EUR")
    ledger.move("2025-01-15", "ann", "new", 10_000)
    ledger.move("2025-01-15", "bob", "new", 1_000, currency="EUR")
    result = ledger.engine("EUR").mrr.current()
    assert result.value == 6_000
    assert result.columns[0].currency == "EUR"
    assert result.money == "€60.00"


def test_levels_are_worth_the_rate_of_their_day(ledger: HandLedger) -> None:
    ledger.rate("2025-01-01", "EUR", "1.10")
    ledger.rate("2025-02-01", "EUR", "1.20")
    ledger.move("2025-01-15", "ann", "new", 10_000, currency="EUR")
    engine = ledger.engine()
    assert engine.mrr.current(at="2025-01-31").value == 11_000
    assert engine.mrr.current(at="2025-02-01").value == 12_000
    daily = engine.mrr.series(start="2025-01-30", end="2025-02-02", grain="day")
    assert [row["mrr"] for row in daily.rows] == [11_000, 11_000, 12_000, 12_000]


def test_a_rate_published_the_other_way_round_is_inverted(ledger: HandLedger) -> None:
    ledger.rate("2025-01-01", "USD", "0.8", base="EUR")
    ledger.move("2025-01-15", "ann", "new", 1_000, currency="EUR")
    assert ledger.engine().mrr.current().value == 1_250
