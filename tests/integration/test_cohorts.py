"""Cohorts worked out by hand.

signed up      joined                      later
ann  3 Jan     10 Jan  40.00               50.00 from 5 February
bob  5 Jan     20 Jan  20.00               leaves on 10 February, is back on 15 March with 30.00
cyd  31 Jan    28 Jan  10.00               leaves on 30 January
dot  8 Jan     5 Feb   10.00 EUR           x 1.50, from 1 March x 2.00
eve  9 Jan     never
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.telling import LATER, Told, described, paid, rate, subscribed
from tidemill.database import Database
from tidemill.errors import InvalidQuery, KnobNotSupported
from tidemill.policy import Policy

QUARTER = {"start": "2025-01-15", "end": "2025-03-31"}
_SIGNED_UP = {"ann": "03", "bob": "05", "cyd": "31", "dot": "08", "eve": "09"}
_IN = {"ann": "US", "bob": "US", "cyd": "DE", "dot": "DE", "eve": "DE"}


@pytest.fixture(scope="module")
def told(new_database: NewDatabase) -> Iterator[Told]:
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            rate("2025-01-01", "1.50"),
            rate("2025-03-01", "2.00"),
            *(
                described(
                    name, "2025-01-02", country=_IN[name], created_at=f"2025-01-{day}T09:00:00Z"
                )
                for name, day in _SIGNED_UP.items()
            ),
            subscribed("ann", "2025-01-10", 4_000),
            subscribed("ann", "2025-02-05", 5_000),
            subscribed("bob", "2025-01-20", 2_000),
            subscribed("bob", "2025-02-10", 2_000, "canceled"),
            subscribed("bob", "2025-03-15", 3_000, id="sub_bob_2"),
            subscribed("cyd", "2025-01-28", 1_000),
            subscribed("cyd", "2025-01-30", 1_000, "canceled"),
            subscribed("dot", "2025-02-05", 1_000, currency="EUR"),
            paid("ann", "2025-01-09", 4_000, "in_1"),
            paid("ann", "2025-02-09", 5_000, "in_2"),
            paid("bob", "2025-01-20", 2_000, "in_3"),
            paid("bob", "2025-02-11", 500, "in_3", type="payment.refunded"),
            paid("cyd", "2025-01-28", 1_000, "in_4"),
            paid("cyd", "2025-03-05", 1_000, "in_4", type="payment.disputed"),
            paid("dot", "2025-02-05", 1_000, "in_5", currency="EUR"),
            paid("dot", "2025-03-05", 1_000, "in_6", currency="EUR"),
            paid("dot", "2025-03-06", 9_000, "in_7", currency="EUR", type="payment.failed"),
        )
        yield told


def cells(told: Told, *by: str, **how: Any) -> dict[Any, Any]:
    """(cohort's month, offset) → value, with the size and the opening under (month, name)."""
    found: dict[Any, Any] = {}
    for row in told.ask("retention", "cohorts", *by, **{**QUARTER, **how}).rows:
        key = (*(row[name] for name in by), row["cohort"].month)
        found[*key, row["offset"]] = row["value"]
        found[*key, "size"], found[*key, "opening"] = row["size"], row["opening"]
        whole = row["opening"]
        assert row["rate"] == (Decimal(row["value"]) / whole if whole else None) or whole
    return found


def test_customers(told: Told) -> None:
    """Cyd came and left within the month: part of its size, and gone at its close."""
    assert cells(told) == {
        (1, "size"): 3,
        (1, "opening"): 3,
        (1, 0): 2,
        (1, 1): 1,
        (1, 2): 2,
        (2, "size"): 1,
        (2, "opening"): 1,
        (2, 0): 1,
        (2, 1): 1,
    }


def test_all_of_a_cohort_may_be_gone_within_its_month(database: Database) -> None:
    """Also where nothing but sums of months is read: the sum of who came and left is nothing."""
    alone = Told(database)
    alone.hear(subscribed("bert", "2025-02-03", 1_000), subscribed("bert", "2025-02-20", 0))
    asked = {"start": "2025-01-01", "end": "2025-03-31"}
    for measure in ("customers", "mrr"):
        rows = alone.ask("retention", "cohorts", **asked, measure=measure).rows
        assert [(row["size"], row["offset"], row["value"]) for row in rows] == [
            (1, 0, 0),
            (1, 1, 0),
        ]
        known = alone.ask("retention", "cohorts", **asked, measure=measure, known_at=LATER).rows
        assert rows == known


def test_customers_at_any_time_of_the_month(told: Told) -> None:
    found = cells(told, cohort_activity="any_in_period")
    assert [found[1, 0], found[1, 1], found[1, 2]] == [3, 2, 2]
    assert [found[2, 0], found[2, 1]] == [1, 1]


def test_mrr(told: Told) -> None:
    """At each close's rates, over what the cohort was new with at the rates of those days."""
    assert cells(told, measure="mrr") == {
        (1, "size"): 3,
        (1, "opening"): 7_000,
        (1, 0): 6_000,
        (1, 1): 5_000,
        (1, 2): 8_000,
        (2, "size"): 1,
        (2, "opening"): 1_500,
        (2, 0): 1_500,
        (2, 1): 2_000,
    }
    fixed = cells(told, measure="mrr", fx="constant")
    assert [fixed[2, "opening"], fixed[2, 1]] == [1_500, 1_500]


def test_cash(told: Told) -> None:
    """Less refunds and disputes; what failed never was. Each at the rate of its day."""
    assert cells(told, measure="cash") == {
        (1, "size"): 3,
        (1, "opening"): 7_000,
        (1, 0): 7_000,
        (1, 1): 4_500,
        (1, 2): -1_000,
        (2, "size"): 1,
        (2, "opening"): 1_500,
        (2, 0): 1_500,
        (2, 1): 2_000,
    }


def test_by_signup(told: Told) -> None:
    """Eve never paid and is in the size; Dot, who came in February, is of January's cohort."""
    assert cells(told, cohort_key="signup") == {
        (1, "size"): 5, (1, "opening"): 5, (1, 0): 2, (1, 1): 2, (1, 2): 3,
    }  # fmt: skip
    money = cells(told, cohort_key="signup", measure="mrr")
    assert money == {
        (1, "size"): 5, (1, "opening"): 8_500, (1, 0): 6_000, (1, 1): 6_500, (1, 2): 10_000,
    }  # fmt: skip
    known = cells(told, cohort_key="signup", known_at="2027-01-01T00:00:00Z")
    assert known == cells(told, cohort_key="signup")
    germans = cells(told, "country", cohort_key="signup")
    assert [germans["DE", 1, "size"], germans["US", 1, "size"]] == [3, 2]
    for how in ({"where": ["plan=x"]}, {"where": ["mrr_band=none"]}):
        with pytest.raises(KnobNotSupported):
            cells(told, cohort_key="signup", **how)


@pytest.mark.parametrize(
    "policy", ["default", "default;reactivation=never", "default;reactivation=within:5"]
)
def test_who_returns_stays_in_one_cohort(new_database: NewDatabase, policy: str) -> None:
    """Whatever a return is called, in facts that are kept."""
    with new_database() as database:
        told = Told(database, policy=Policy.parse(policy))
        told.hear_together(
            subscribed("bob", "2025-01-20", 2_000),
            subscribed("bob", "2025-02-10", 2_000, "canceled"),
            subscribed("bob", "2025-03-15", 3_000, id="sub_bob_2"),
            subscribed("ann", "2025-03-20", 3_000),
        )
        assert cells(told) == {
            (1, "size"): 1, (1, "opening"): 1, (1, 0): 1, (1, 1): 0, (1, 2): 1,
            (3, "size"): 1, (3, "opening"): 1, (3, 0): 1,
        }  # fmt: skip


def test_by_week_a_cohort_has_its_own_weeks(told: Told) -> None:
    rows = told.ask("retention", "cohorts", **QUARTER, grain="week").rows
    joined = {row["cohort"]: row["size"] for row in rows}
    # The range begins in the week of Monday the 13th, so Ann's, of the 6th, is before it.
    assert joined == {date(2025, 1, 20): 1, date(2025, 1, 27): 1, date(2025, 2, 3): 1}
    bob = [row["value"] for row in rows if row["cohort"] == date(2025, 1, 20)]
    assert bob == [1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]


def test_by_currency_a_customer_joins_where_it_pays(told: Told) -> None:
    found = cells(told, "currency", measure="mrr")
    assert [found["EUR", 2, "size"], found["EUR", 2, "opening"], found["EUR", 2, 1]] == [
        1, 1_500, 2_000,
    ]  # fmt: skip
    with pytest.raises(InvalidQuery, match="a payment is of a customer"):
        cells(told, "currency", measure="cash")


def test_at_one_age(told: Told) -> None:
    rows = told.ask("retention", "at_age", **QUARTER, age="1").rows
    assert [(row["cohort"].month, row["size"], row["value"]) for row in rows] == [
        (1, 3, 1),
        (2, 1, 1),
    ]
    with pytest.raises(InvalidQuery, match="not a whole number"):
        told.ask("retention", "at_age", **QUARTER, age="-1")


def test_units_are_those_of_the_measure(told: Told) -> None:
    units = {
        measure: {
            column.name: (column.unit, column.currency)
            for column in told.ask("retention", "cohorts", **QUARTER, measure=measure).columns
        }
        for measure in ("customers", "mrr")
    }
    assert units["customers"]["value"] == ("count", None)
    assert units["mrr"]["value"] == units["mrr"]["opening"] == ("money", "USD")
    assert units["mrr"]["size"] == ("count", None)


def test_behind_money_stand_the_payments(told: Told) -> None:
    for metric, question, how in (
        ("retention", "cohorts", {"measure": "cash"}),
        ("ltv", "cohort", {}),
        ("cash", "series", {"start": "2000-01-01"}),
    ):
        answer = told.ask(metric, question, **{**QUARTER, **how})
        behind = answer.rows_behind()
        assert (behind.metric, behind.question) == ("cash", "transactions")
        assert {row["kind"] for row in behind.rows} >= {"payment"}
        asked: dict[str, Any] = {**QUARTER, **how}
        explained = told.engine.explain(metric, question, **asked)
        assert explained.behind.rows == behind.rows
    at_close = told.ask("retention", "cohorts", **QUARTER, measure="mrr")
    assert at_close.rows_behind().question == "movements"


def test_cash_is_worth_the_rate_of_its_day_under_a_constant_rate_too(
    new_database: NewDatabase,
) -> None:
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            rate("2025-01-01", "2"),
            rate("2025-02-01", "3"),
            subscribed("ann", "2025-01-10", currency="EUR"),
            paid("ann", "2025-01-10", 10_000, "in_1", currency="EUR"),
            paid("ann", "2025-02-10", 10_000, "in_2", currency="EUR"),
        )
        span = {"start": "2025-01-01", "end": "2025-02-28"}
        for fx in ("period_end", "constant"):
            cells = told.ask("retention", "cohorts", **span, measure="cash", fx=fx).rows
            flows = told.ask("cash", "series", **span, fx=fx).rows
            assert (
                [row["value"] for row in cells if str(row["cohort"]) == "2025-01-01"]
                == [row["net"] for row in flows]
                == [20_000, 30_000]
            )
