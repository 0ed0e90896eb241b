"""Sums of whole months: rates of churn and retention read them, and say what the rows say."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from tests.support.telling import Told, rate, subscribed
from tidemill.models import metric_mrr_monthly as kept

YEAR: dict[str, Any] = {"start": "2025-01-01", "end": "2025-03-31", "grain": "month"}
RATES = [rate("2025-01-01", "1.00"), rate("2025-02-10", "2.00")]


def two_currencies(told: Told) -> None:
    """In February one gains more euros than it loses dollars, one fewer, one only loses."""
    told.hear(*RATES)
    for customer, euros in (("up", 1_700), ("down", 1_400)):
        told.hear(
            subscribed(customer, "2025-01-05", 1_000),
            subscribed(customer, "2025-01-05", 1_000, id=f"{customer}_2", currency="eur"),
            subscribed(customer, "2025-02-05", 500),
            subscribed(customer, "2025-02-20", euros, id=f"{customer}_2", currency="eur"),
        )
    told.hear(subscribed("less", "2025-01-05", 3_000), subscribed("less", "2025-02-05", 2_000))
    told.hear(
        subscribed("gone", "2025-01-05", 400), subscribed("gone", "2025-02-05", 400, "canceled")
    )


def test_who_shrank_in_several_currencies_is_told_by_the_rates(told: Told) -> None:
    """At the rate of 31 January, 1.00: up gains 200, down loses 100, less 1,000, gone 400."""
    two_currencies(told)
    february = told.ask("retention", "series", **YEAR).rows[1]
    assert february["grr_denominator"] == 7_400
    assert february["grr_numerator"] == 7_400 - 1_500
    assert february["nrr_numerator"] == 7_400 - 1_300
    churned = told.ask("churn", "series", **YEAR).rows[1]
    assert (churned["logo_churn_numerator"], churned["logo_churn_denominator"]) == (1, 4)
    with told.database.connect() as connection:
        cells = connection.execute(select(kept)).mappings().all()
    assert len({each["customer_id"] for each in cells if each["customer_id"]}) == 2
    assert {each["row_count"] for each in cells if each["customer_id"]} == {1}


def test_a_month_that_is_not_over_and_one_that_is_cut_are_looked_up(told: Told) -> None:
    """Shown by sums that are wrong on purpose: only what rests on them changes."""
    two_currencies(told)
    asked = {"start": "2025-02-01", "end": "2025-03-10", "grain": "month"}

    def answers(**how: Any) -> list[Any]:
        rows = told.ask("retention", "series", **asked, **how).rows
        return [row["grr_numerator"] for row in rows]

    right, by_day = answers(), told.ask("retention", "grr", start="2025-02-01", end="2025-02-27")
    with told.database.begin() as connection:
        connection.execute(update(kept).values(shrinkage_minor=kept.c.shrinkage_minor - 70))
    # Of the dollars' cell; those who stand for themselves are worked out.
    assert answers() == [right[0] - 70, right[1]]
    same = told.ask("retention", "grr", start="2025-02-01", end="2025-02-27")
    assert same.rows == by_day.rows
