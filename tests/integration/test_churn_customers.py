"""Who was lost, when and why: a small book worked out by hand.

opening of June   ann 100.00   bob 40.00   cyd 20.00 EUR x 1.50 = 30.00   dot 60.00
in June           bob leaves on the 5th, by choice; cyd fails to pay on the 10th;
                  dot leaves on the 12th and is back on the 20th;
                  eve joins on the 3rd with 10.00 and leaves on the 25th, nobody knows why
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.telling import Told, rate, subscribed
from tidemill.database import Database
from tidemill.errors import MissingRate

JUNE = {"start": "2025-06-01", "end": "2025-06-30"}
CHOSE = {
    "voluntary": True,
    "cancel_reason": "cancellation_requested",
    "cancel_feedback": "too_expensive",
}


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


@pytest.fixture(scope="module")
def told(shared: Database) -> Told:
    told = Told(shared)
    told.hear_together(
        rate("2025-01-01", "1.50"),
        rate("2025-06-08", "2.00"),
        subscribed("ann", "2025-01-10", 10_000),
        subscribed("bob", "2025-01-11", 4_000),
        subscribed("bob", "2025-06-05", 4_000, "canceled", **CHOSE),
        subscribed("cyd", "2025-01-12", 2_000, currency="EUR"),
        subscribed("cyd", "2025-06-10", 2_000, "unpaid", currency="EUR"),
        subscribed("dot", "2025-01-13", 6_000),
        subscribed("dot", "2025-06-12", 6_000, "canceled"),
        subscribed("dot", "2025-06-20", 6_000, id="sub_dot_2"),
        subscribed("eve", "2025-06-03", 1_000),
        subscribed("eve", "2025-06-25", 1_000, "canceled"),
    )
    return told


def lost(told: Told, **how: Any) -> dict[str, tuple[Any, ...]]:
    rows = told.ask("churn", "customers", **{**JUNE, **how}).rows
    return {row["customer"]: (row["there"], row["lost"], row["mrr"]) for row in rows}


def test_who_left_with_what_when_and_why(told: Told) -> None:
    bob, cyd = told.ask("churn", "customers", **JUNE).rows
    assert (bob["customer"], bob["mrr"], bob["churned_on"]) == ("bob", 4_000, date(2025, 6, 5))
    assert (bob["reason"], bob["cancel_feedback"]) == ("voluntary", "too_expensive")
    assert bob["churned_at"].isoformat() == "2025-06-05T12:00:00+00:00"
    # Valued when the window opened, not when it left.
    assert (cyd["customer"], cyd["mrr"], cyd["reason"]) == ("cyd", 3_000, "involuntary")
    assert cyd["cancel_reason"] is None


def test_the_list_is_what_logo_churn_counts(told: Told) -> None:
    assert lost(told) == {"bob": (1, 1, 4_000), "cyd": (1, 1, 3_000)}
    events = lost(told, logo_numerator="events_start_cohort")
    assert events == lost(told) | {"dot": (1, 1, 6_000)}
    assert lost(told, logo_numerator="events_all") == events | {"eve": (0, 1, 0)}


def test_those_who_stayed(told: Told) -> None:
    assert lost(told, who="all") == lost(told) | {"ann": (1, 0, 10_000), "dot": (1, 0, 6_000)}
    rows = told.ask("churn", "customers", **JUNE, who="all").rows
    assert [row["customer"] for row in rows] == ["ann", "dot", "bob", "cyd"]
    # Dot left and came back: nothing to say of when and why.
    assert all(row["churned_on"] is None for row in rows if not row["lost"])


def test_reasons_add_up_to_all_churn(told: Told) -> None:
    found = told.ask("churn", "reasons", **JUNE).rows
    assert [(row["reason"], row["churns"], row["churn"]) for row in found] == [
        ("voluntary", 1, -4_000),
        ("involuntary", 1, -4_000),  # 20.00 EUR at the day's 2.00
        ("unknown", 2, -7_000),
    ]
    months = told.ask("churn", "reasons_series", start="2025-05-01", end="2025-07-31").rows
    assert len(months) == 9
    assert [row["churn"] for row in months if row["period"].month == 6] == [-4_000, -4_000, -7_000]
    assert not any(row["churns"] or row["churn"] for row in months if row["period"].month != 6)


def test_reasons_in_the_vendors_words(told: Told) -> None:
    found = told.ask("churn", "reasons", "cancel_feedback", **JUNE).rows
    assert [(row["cancel_feedback"], row["reason"], row["churns"]) for row in found] == [
        ("too_expensive", "voluntary", 1),
        ("unknown", "involuntary", 1),
        ("unknown", "unknown", 2),
    ]
    only = told.ask("churn", "reasons", **JUNE, where={"cancel_feedback": "too_expensive"}).rows
    assert [row["churn"] for row in only] == [-4_000, 0, 0]


def test_a_plan_is_left_once_a_day(told: Told) -> None:
    rows = told.ask("churn", "reasons", "interval", **JUNE).rows
    assert [(row["interval"], row["churns"]) for row in rows] == [("month", 1)] * 2 + [("month", 2)]


@pytest.mark.parametrize("dimension", ["country", "currency", "customer", "customer_name"])
def test_cut(told: Told, dimension: str) -> None:
    answer = told.ask("churn", "customers", dimension, **JUNE)
    assert {row["customer"]: row["mrr"] for row in answer.rows} == {"bob": 4_000, "cyd": 3_000}
    names = [column.name for column in answer.columns]
    assert len(names) == len(set(names))


def test_a_missing_rate_is_an_error_not_a_smaller_loss(database: Database) -> None:
    other = Told(database)
    other.hear_together(
        subscribed("ann", "2025-01-10", 10_000, currency="GBP"),
        subscribed("ann", "2025-06-05", 10_000, "canceled", currency="GBP"),
    )
    for question in ("customers", "reasons"):
        with pytest.raises(MissingRate):
            other.ask("churn", question, **JUNE)
