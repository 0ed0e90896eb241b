"""Average revenue per account and average sale price, worked out by hand.

10 January    ann is new with 60.00
20 January    eva is new with 20.00 EUR, x 1.10 = 22.00
5 February    bob is new with 30.00, and pays 50.00 from the 20th
25 February   ann leaves
3 March       ann is back with 40.00; the euro is at 1.20 from the 1st
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.asking import settled
from tests.support.books import LAST_DAY, random_book
from tests.support.cases import preset_policy, presets
from tests.support.ledger import keep_books
from tests.support.replay import replay
from tests.support.telling import Told, item, rate, subscribed
from tidemill.database import Database
from tidemill.errors import KnobNotSupported, MissingRate
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

TINY = Fraction(1, 10**8)


@pytest.fixture(scope="module")
def told(new_database: NewDatabase) -> Iterator[Told]:
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            rate("2025-01-01", "1.10"),
            rate("2025-03-01", "1.20"),
            subscribed("ann", "2025-01-10", 6_000),
            subscribed("eva", "2025-01-20", 2_000, currency="EUR"),
            subscribed("bob", "2025-02-05", 3_000),
            subscribed("bob", "2025-02-20", 5_000),
            subscribed("ann", "2025-02-25", 6_000, "canceled"),
            subscribed("ann", "2025-03-03", 4_000, id="sub_ann_2"),
        )
        yield told


def series(told: Told, metric: str, **how: Any) -> list[tuple[Any, Any]]:
    found = told.ask(metric, "series", start="2025-01-01", end="2025-03-31", **how).rows
    return [(row[f"{metric}_numerator"], row[f"{metric}_denominator"]) for row in found]


def test_arpa_by_month(told: Told) -> None:
    assert series(told, "arpa") == [(8_200, 2), (7_200, 2), (11_400, 3)]
    answer = told.ask("arpa", "current", at="2025-03-31")
    assert (answer.value, answer.money) == (3_800, "$38.00")


def test_arpa_without_customers_is_null_with_a_reason(told: Told) -> None:
    answer = told.ask("arpa", "current", at="2024-12-31")
    assert (answer.value, answer.money) == (None, "")
    assert answer.warnings == ("arpa is undefined: there was no customer to divide by.",)


def test_arpa_is_of_customers_not_of_subscriptions(told: Told) -> None:
    """A second subscription raises ARPA, and is no second customer; a trial is none at all."""
    day = {"at": "2025-03-31"}
    other = told.ask("arpa", "current", "currency", **day).rows
    assert [(row["currency"], row["arpa"]) for row in other] == [("EUR", 2_400), ("USD", 4_500)]


def test_asp_counts_who_is_new_and_nobody_else(told: Told) -> None:
    """Bob's later upgrade and Ann's return are no sales."""
    assert series(told, "asp") == [(8_200, 2), (3_000, 1), (0, 0)]
    assert series(told, "asp", reactivation="never") == [(8_200, 2), (3_000, 1), (4_000, 1)]
    assert series(told, "asp", netting="month") == [(8_200, 2), (5_000, 1), (0, 0)]
    row = told.ask("asp", "current", start="2025-03-01", end="2025-03-31")
    assert row.value is None
    assert row.warnings == ("asp is undefined: nobody was new in the window.",)


def test_asp_of_a_rolling_window(told: Told) -> None:
    row = told.ask("asp", "current", start="2025-02-01", end="2025-02-18", window="rolling_30d")
    # From 20 January on: Eva and Bob.
    assert (row.rows[0]["asp_numerator"], row.rows[0]["asp_denominator"]) == (5_200, 2)


def test_asp_by_plan_counts_a_customer_of_two_plans_twice(database: Database) -> None:
    told = Told(database)
    plans = [item(3_000, plan="base"), item(1_000, id="si_2", plan="extra")]
    told.hear_together(
        subscribed("ann", "2025-01-10", items=plans),
        subscribed("bob", "2025-01-12", items=plans[:1]),
        subscribed("bob", "2025-01-20", items=plans),
    )
    span = {"start": "2025-01-01", "end": "2025-01-31"}
    rows = told.ask("asp", "current", "plan", **span).rows
    assert [(row["plan"], row["asp"], row["asp_denominator"]) for row in rows] == [
        ("base", 3_000, 2),
        ("extra", 1_000, 1),
    ]
    arpa = told.ask("arpa", "current", "plan", at="2025-01-31").rows
    assert [row["arpa_denominator"] for row in arpa] == [2, 2]
    with pytest.raises(KnobNotSupported):
        told.ask("asp", "current", "plan", **span, movement_level="subscription")


def test_a_missing_rate_is_an_error(database: Database) -> None:
    told = Told(database)
    told.hear(subscribed("ann", "2025-01-10", currency="GBP"))
    for metric in ("arpa", "asp"):
        with pytest.raises(MissingRate):
            told.ask(metric, "series", start="2025-01-01", end="2025-01-31")


def test_random_books_under_every_preset(database: Database) -> None:
    """I15: MRR = ARPA x customers, as the replay has both; plans' parts add up to the MRR."""
    events = random_book(31, customers=14)
    keep_books(database, events)
    span = {"start": date(2025, 2, 1), "end": LAST_DAY}
    for preset in presets():
        engine = settled(database, Policy.of(preset))
        judge = replay(events, preset_policy(preset))
        levels = zip(
            engine.arpa.series(**span).rows,
            judge.waterfall(span["start"], span["end"]),
            strict=True,
        )
        for row, month in levels:
            where = (preset, month.end)
            assert _near(row["arpa_numerator"], judge.mrr_at(month.end)), where
            assert row["arpa_denominator"] == judge.customers_at(month.end), where
        new = sum(each["asp_numerator"] for each in engine.asp.series(**span).rows)
        if engine.policy.window == "calendar":
            months = judge.waterfall(span["start"], span["end"])
            assert _near(new, sum(month.movements.get("new", 0) for month in months)), preset
        if engine.policy.free_plans == "never" and engine.policy.paused != "contraction":
            plans = engine.arpa.series(**span, spec=QuerySpec(["plan"])).rows
            parts, whole = _by_month(plans), _by_month(engine.arpa.series(**span).rows)
            assert all(_near(parts[month], whole[month]) for month in whole), preset


def _by_month(rows: Any) -> dict[date, Fraction]:
    found: dict[date, Fraction] = {}
    for row in rows:
        found[row["period"]] = found.get(row["period"], 0) + Fraction(row["arpa_numerator"])
    return found


def _near(one: Any, other: Any) -> bool:
    return abs(Fraction(one) - Fraction(other)) <= TINY
