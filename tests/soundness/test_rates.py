"""Churn and retention: what is lost, or kept, of what was there; never more than all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.telling import Exact, Told, rate, subscribed
from tidemill.engine import MetricsEngine
from tidemill.policy import Policy

JUNE = {"start": "2025-06-01", "end": "2025-06-30"}
RATES = (
    ("churn", "logo", "logo_churn"),
    ("churn", "gross_mrr", "gross_mrr_churn"),
    ("churn", "net_mrr", "net_mrr_churn"),
    ("retention", "nrr", "nrr"),
    ("retention", "grr", "grr"),
)


def rates(told: Told, start: str, end: str, **how: Any) -> dict[str, Exact | None]:
    """All rates of a range of days, by name; each its numerator over its denominator."""
    found: dict[str, Exact | None] = {}
    for metric, question, name in RATES:
        (row,) = told.ask(metric, question, start=start, end=end, **how).rows
        found[name] = row[name]
        over = row[f"{name}_denominator"]
        assert row[name] == (row[f"{name}_numerator"] / over if over else None), name
    return found


def untouched() -> dict[str, Exact | None]:
    """The rates of a time in which nothing happened to those who were there."""
    return {"logo_churn": 0, "gross_mrr_churn": 0, "net_mrr_churn": 0, "nrr": 1, "grr": 1}


def test_t05_second_subscription_is_neither_churn_nor_a_new_customer(told: Told) -> None:
    """It grows retention when it comes, and is a contraction, no lost customer, when it goes."""
    told.hear(
        subscribed("ann", "2025-05-10", 10_000),
        subscribed("ann", "2025-06-10", 10_000, id="sub_2"),
        subscribed("ann", "2025-07-10", 10_000, "canceled", id="sub_2"),
    )
    june, july = rates(told, **JUNE), rates(told, "2025-07-01", "2025-07-31")
    assert june == untouched() | {"nrr": 2, "net_mrr_churn": -1}
    half = Decimal("0.5")
    assert july == {
        "logo_churn": 0, "gross_mrr_churn": half, "net_mrr_churn": half, "nrr": half, "grr": half,
    }  # fmt: skip


def test_t10_lost_trial_is_no_churn(told: Told) -> None:
    """A trial deleted in June, beside a customer who stays."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("trying", "2025-05-25", status="trialing"),
        subscribed("trying", "2025-06-08", status="canceled"),
    )
    assert rates(told, **JUNE) == untouched()


def test_t19_newcomer_is_not_retained(told: Told) -> None:
    """A customer joins in June and upgrades: NRR is 100 %, for nobody who was there moved."""
    told.hear(
        subscribed("old", "2025-01-10", 10_000),
        subscribed("joins", "2025-06-05", 1_000),
        subscribed("joins", "2025-06-20", 5_000),
    )
    assert rates(told, **JUNE) == untouched()
    # The knob that takes every movement for the opening cohort's is where 140 % come from.
    assert rates(told, **JUNE, rate_population="all_movements")["nrr"] == Decimal("1.4")


def test_t20_joined_and_left_within_the_month(told: Told) -> None:
    """GRR and NRR are 100 % of the opening cohort; it was elsewhere below zero."""
    told.hear(
        subscribed("old", "2025-01-10", 10_000),
        subscribed("quick", "2025-06-05", 20_000),
        subscribed("quick", "2025-06-20", 20_000, "canceled"),
    )
    assert rates(told, **JUNE) == untouched()


def test_t21_nobody_is_lost_twice(told: Told) -> None:
    """Churn, return and churn again in June: all is lost, and no more than all."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-06-05", status="canceled"),
        subscribed("ann", "2025-06-12"),
        subscribed("ann", "2025-06-25", status="canceled"),
    )
    all_lost = {"logo_churn": 1, "gross_mrr_churn": 1, "net_mrr_churn": 1, "nrr": 0, "grr": 0}
    assert rates(told, **JUNE) == all_lost
    told.hear(subscribed("ann", "2025-06-29"))
    assert rates(told, **JUNE) == untouched()


@pytest.mark.parametrize("tz", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_t25_boundary_churn_is_lost_once(told: Told, tz: str) -> None:
    """Lost in the first instant of July: in July, and of what was there when July began."""
    midnight = {
        "UTC": "2025-07-01T00:00:00Z",
        "Asia/Kathmandu": "2025-06-30T18:15:00Z",
        "America/New_York": "2025-07-01T04:00:00Z",
    }[tz]
    told.hear(
        subscribed("ann", "2025-01-10", 6_000),
        subscribed("bob", "2025-01-10", 4_000),
        subscribed("bob", midnight, 4_000, "canceled"),
    )
    assert rates(told, **JUNE, tz=tz) == untouched()
    july = rates(told, "2025-07-01", "2025-07-31", tz=tz)
    assert (july["logo_churn"], july["grr"]) == (Decimal("0.5"), Decimal("0.6"))
    series = told.ask("churn", "series", start="2025-05-01", end="2025-08-31", tz=tz).rows
    assert [row["logo_churn_numerator"] for row in series] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("currency", "value"), [("JPY", "0.0065"), ("KWD", "3.25"), ("EUR", "1.1"), ("USD", "")]
)
def test_t29_everything_lost_is_1(told: Told, currency: str, value: str) -> None:
    """Whatever the minor unit, and whatever the rate of the day: all of it is all of it."""
    published = [rate("2025-01-01", value, quote=currency)] if value else []
    told.hear(
        *published,
        subscribed("ann", "2025-01-10", 1_500, currency=currency),
        subscribed("ann", "2025-06-10", 1_500, "canceled", currency=currency),
    )
    found = rates(told, **JUNE)
    assert (found["logo_churn"], found["gross_mrr_churn"], found["grr"]) == (1, 1, 0)


@pytest.mark.parametrize("value", ["0.50", "2.00"])
def test_t29_exchange_rates_are_neither_growth_nor_loss(told: Told, value: str) -> None:
    """The euro moves by half, or doubles, and nobody does anything: nothing lost, nothing won."""
    told.hear(
        rate("2025-01-01", "1.00"),
        rate("2025-06-15", value),
        subscribed("eva", "2025-01-10", currency="EUR"),
        subscribed("uma", "2025-01-10"),
    )
    assert rates(told, **JUNE) == untouched()


def test_nothing_to_lose_is_undefined(told: Told) -> None:
    """Before there is anybody, no rate is 0, or 1: it has no value, and the answer says why."""
    told.hear(subscribed("ann", "2025-06-10"))
    assert set(rates(told, **JUNE).values()) == {None}
    (said,) = told.ask("retention", "nrr", **JUNE).warnings
    assert said == "nrr is undefined: there was no MRR when the window opened."


def test_2_percent_after_10_of_30_days_is_6_percent_of_the_month(told: Told) -> None:
    """Worked by hand: linear 0.06, compound 0.058808; nothing is scaled once the month is over."""
    told.hear(*(subscribed(f"c{number}", "2025-05-10") for number in range(50)))
    told.hear(subscribed("c0", "2025-06-05", status="canceled"))
    june: dict[str, Any] = {"start": "2025-06-01", "end": "2025-06-30"}
    then = MetricsEngine(
        told.database, base_currency="USD", as_of=datetime(2025, 6, 10, 9, tzinfo=UTC)
    )
    for how, lost in (("none", "0.02"), ("linear", "0.06"), ("compound", "0.058808")):
        policy = Policy.of("default", {"partial_period": how})
        for metric, question, name in RATES:
            asked = then.query(metric, question, policy=policy, **june)
            (row,) = asked.rows
            share = 1 - Decimal(lost) if metric == "retention" else Decimal(lost)
            assert round(row[name], 6) == share, (how, name)
            assert row[f"{name}_denominator"] in (50, 500_000)
            assert any("partial_period" in said for said in asked.warnings) == (how != "none")
            # Up to now the range is as long as what was looked at; later it is over.
            (row,) = then.query(
                metric, question, policy=policy, start="2025-06-01", end="2025-06-10"
            ).rows
            assert row[name] in (Decimal("0.02"), Decimal("0.98"))
            (row,) = told.engine.query(metric, question, policy=policy, **june).rows
            assert row[name] in (Decimal("0.02"), Decimal("0.98"))
        # In a series the month is what the calendar says, wherever the range ends.
        (row,) = then.query(
            "churn", "series", policy=policy, start="2025-06-01", end="2025-06-10"
        ).rows
        assert round(row["logo_churn"], 6) == Decimal(lost)


def test_nrr_over_a_year_is_not_the_product_of_its_months(told: Told) -> None:
    """A loses half in the twelfth month; B, who joined before, grows and hides it in a product."""
    told.hear(
        subscribed("ann", "2024-06-10", 10_000),
        subscribed("bob", "2025-04-10", 10_000),
        subscribed("ann", "2025-06-10", 5_000),
        subscribed("bob", "2025-06-20", 15_000),
    )
    june = {"start": "2025-06-01", "end": "2025-06-30"}

    def nrr(window: str) -> tuple[Any, Any, Any]:
        (row,) = told.ask("retention", "nrr", **june, nrr_window=window).rows
        return row["nrr_numerator"], row["nrr_denominator"], row["nrr"]

    assert nrr("month") == (20_000, 20_000, 1)
    assert nrr("12m_cohort") == (5_000, 10_000, Decimal("0.5"))
    assert nrr("chained") == (10_000, 10_000, 1)
    span = {"start": "2025-05-01", "end": "2025-06-30"}
    rows = told.ask("retention", "series", **span, nrr_window="12m_cohort").rows
    # Nobody was there when the twelve months to May began.
    assert [row["nrr"] for row in rows] == [None, Decimal("0.5")]
    assert [row["grr"] for row in rows] == [1, Decimal("0.75")]
    rows = told.ask("retention", "series", "currency", **span, nrr_window="chained").rows
    assert [row["nrr"] for row in rows] == [None, 1]
