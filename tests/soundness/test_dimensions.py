"""Cutting a number: nothing vanishes, nothing is counted twice, and groups sum to the total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from tests.support.telling import Told, described, item, planned, rate, subscribed

STEPS = ("opening", "new", "expansion", "reactivation", "contraction", "churn", "fx", "closing")
DIMENSIONS = (
    "source", "plan", "plan_name", "product", "product_name", "interval", "currency", "customer",
    "customer_name", "country", "cohort_month", "mrr_band",
)  # fmt: skip


def cut(told: Told, dimension: str, at: str) -> dict[str, int]:
    rows = told.ask("mrr", "current", dimension, at=at).rows
    return {str(row[dimension]): int(row["mrr"]) for row in rows}


def check_sums(told: Told, start: str, end: str) -> None:
    """Of every dimension: levels and waterfall of the groups are those of all."""
    span = {"start": start, "end": end}
    total = told.waterfall(start, end).rows
    for dimension in DIMENSIONS:
        groups = told.waterfall(start, end, dimension).rows
        for name in STEPS:
            assert sums(groups, name) == sums(total, name), (dimension, name)
        level = told.ask("mrr", "current", dimension, at=end).rows
        assert sum(row["mrr"] for row in level) == total[-1]["closing"], dimension
    for dimension in ("customer", "country", "cohort_month"):
        counted = told.ask("customers", "series", dimension, **span).rows
        all_of_them = told.ask("customers", "series", **span).rows
        assert sums(counted, "customers") == sums(all_of_them, "customers"), dimension


def sums(rows: Iterable[Mapping[str, Any]], column: str) -> dict[Any, Any]:
    found: dict[Any, Any] = defaultdict(Decimal)
    for row in rows:
        found[row["period"]] += row[column]
    return dict(found)


def test_t22_churned_customer_is_no_longer_in_its_cohort(told: Told) -> None:
    """By cohort and month: who churned is gone from then on, and who returns is in the old one."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("bob", "2025-01-20", 4_000),
        subscribed("cyd", "2025-02-10", 2_000),
        subscribed("bob", "2025-02-20", 4_000, "canceled"),
        subscribed("cyd", "2025-03-10", 2_000, "canceled"),
        subscribed("bob", "2025-04-10", 5_000),
    )
    span = {"start": "2025-01-01", "end": "2025-05-31"}
    customers: dict[str, list[int]] = defaultdict(list)
    for row in told.ask("customers", "series", "cohort_month", **span).rows:
        customers[str(row["cohort_month"])].append(row["customers"])
    assert customers == {"2025-01-01": [2, 1, 1, 2, 2], "2025-02-01": [0, 1, 0, 0, 0]}
    revenue: dict[str, list[int]] = defaultdict(list)
    for row in told.ask("mrr", "series", "cohort_month", **span).rows:
        revenue[str(row["cohort_month"])].append(int(row["mrr"]))
    assert revenue == {
        "2025-01-01": [14_000, 10_000, 10_000, 15_000, 15_000],
        "2025-02-01": [0, 2_000, 0, 0, 0],
    }
    check_sums(told, "2025-01-01", "2025-05-31")
    matrix: dict[str, list[int]] = defaultdict(list)
    for row in told.ask("retention", "cohorts", **span).rows:
        matrix[str(row["cohort"])].append(row["value"])
    assert matrix == {"2025-01-01": [2, 1, 1, 2, 2], "2025-02-01": [1, 0, 0, 0]}


def test_t24_waterfall_by_a_dimension_not_everybody_has(told: Told) -> None:
    """One customer of 7.00 has a country, others of 50.00 have none: 57.00, not 7.00."""
    told.hear(
        described("ann", "2025-01-01", country="DE"),
        subscribed("ann", "2025-01-10", 700),
        subscribed("bob", "2025-01-10", 3_000),
        subscribed("cyd", "2025-02-10", 2_000),
        subscribed("ann", "2025-02-15", 900),
    )
    rows = told.waterfall("2025-01-01", "2025-02-28", "country").rows
    assert [
        (row["country"], row["period"].month, *(row[name] for name in STEPS)) for row in rows
    ] == [
        ("DE", 1, 0, 700, 0, 0, 0, 0, 0, 700),
        ("DE", 2, 700, 0, 200, 0, 0, 0, 0, 900),
        ("unknown", 1, 0, 3_000, 0, 0, 0, 0, 0, 3_000),
        ("unknown", 2, 3_000, 2_000, 0, 0, 0, 0, 0, 5_000),
    ]
    unknown = told.ask("mrr", "current", at="2025-02-28", where=["country=unknown"]).value
    others = told.ask("mrr", "current", at="2025-02-28", where=["country!=unknown"]).value
    assert (unknown, others, told.mrr("2025-02-28")) == (5_000, 900, 5_900)
    check_sums(told, "2025-01-01", "2025-02-28")


def test_t32_plans_without_a_catalogue(told: Told) -> None:
    """No catalogue event at all: plans go by their id, their names are unknown, nothing is lost."""
    told.hear(
        subscribed("ann", "2025-01-10", items=[item(10_000, plan="pro")]),
        subscribed("bob", "2025-01-11", 5_000),
    )
    assert told.mrr("2025-01-31") == 15_000
    assert cut(told, "plan", "2025-01-31") == {"pro": 10_000, "unknown": 5_000}
    for dimension in ("plan_name", "product", "product_name"):
        assert cut(told, dimension, "2025-01-31") == {"unknown": 15_000}, dimension
    assert [row["plan"] for row in told.waterfall("2025-01-01", "2025-01-31", "plan").rows] == [
        "pro",
        "unknown",
    ]
    check_sums(told, "2025-01-01", "2025-02-28")
    told.hear(planned("pro", "2025-03-01", name="Pro", product="suite"))
    assert cut(told, "plan_name", "2025-01-31") == {"Pro": 10_000, "unknown": 5_000}
    assert cut(told, "product", "2025-01-31") == {"suite": 10_000, "unknown": 5_000}


def test_t37_groups_without_a_match_stay(told: Told) -> None:
    """Customers, plans and products of which the catalogue knows only some, in two sources."""
    told.hear(
        rate("2025-01-01", "1.10"),
        rate("2025-02-01", "1.20"),
        described("ann", "2025-01-01", name="Ann", country="FR"),
        planned("pro", "2025-01-01", name="Pro", product="suite"),
        # The same id in another source is another plan; a plan is never matched across sources.
        planned("pro", "2025-01-01", name="Other", source="lago"),
        subscribed("ann", "2025-01-10", items=[item(10_000, plan="pro"), item(300, id="si_2")]),
        subscribed("bob", "2025-01-10", items=[item(5_000, plan="pro")], source="lago"),
        subscribed("cyd", "2025-01-10", items=[item(700, plan="gone")], currency="EUR"),
        subscribed("ann", "2025-02-10", items=[item(4_000, plan="team"), item(300, id="si_2")]),
        subscribed("cyd", "2025-03-10", items=[item(700, plan="gone")], currency="EUR",
                   status="canceled"),
    )  # fmt: skip
    assert cut(told, "plan_name", "2025-01-31") == {"Pro": 10_000, "Other": 5_000, "unknown": 1_070}
    assert cut(told, "plan", "2025-02-28") == {
        "pro": 5_000, "team": 4_000, "gone": 840, "unknown": 300,
    }  # fmt: skip
    assert cut(told, "country", "2025-02-28") == {"FR": 4_300, "unknown": 5_840}
    check_sums(told, "2025-01-01", "2025-03-31")


def test_joins_never_multiply(told: Told) -> None:
    """A customer described many times, a plan told many times: once in every number."""
    told.hear(
        *(described("ann", f"2025-01-0{day}", name=f"Ann {day}") for day in range(1, 6)),
        *(planned("pro", f"2025-01-0{day}", name=f"Pro {day}") for day in range(1, 6)),
        *(planned("pro", "2025-01-01", source=source) for source in ("lago", "other")),
        subscribed("ann", "2025-01-10", items=[item(10_000, plan="pro"), item(500, id="si_2")]),
        subscribed("ann", "2025-01-10", 2_000, id="sub_2"),
    )
    assert told.mrr("2025-01-31") == 12_500
    assert cut(told, "plan_name", "2025-01-31") == {"Pro 5": 10_000, "unknown": 2_500}
    assert cut(told, "customer_name", "2025-01-31") == {"Ann 5": 12_500}
    check_sums(told, "2025-01-01", "2025-01-31")


@pytest.mark.parametrize("dimension", ["plan", "interval", "currency", "source"])
def test_moving_between_groups_moves_no_customer(told: Told, dimension: str) -> None:
    """Another plan, interval, currency or source at one price: groups trade, MRR stays."""
    before: dict[str, Any] = {"items": [item(10_000, plan="a")], "currency": "USD"}
    changes: dict[str, dict[str, Any]] = {
        "plan": {"items": [item(10_000, plan="b")]},
        "interval": {"items": [item(120_000, plan="a", interval="year")]},
        "currency": {"currency": "EUR"},
        "source": {"source": "lago"},
    }
    after = before | changes[dimension]
    told.hear(rate("2025-01-01", "1"), subscribed("ann", "2025-01-10", **before))
    if dimension == "source":
        into = {"source": "stripe", "customer": "ann"}
        told.hear(
            described("ann", "2025-01-01", type="customer.merged", source="lago", into=into),
            subscribed("ann", "2025-02-10T08:00:00Z", **after),
            subscribed("ann", "2025-02-10T09:00:00Z", status="canceled", **before),
        )
    else:
        told.hear(subscribed("ann", "2025-02-10", **after))
    assert told.moved() == [("2025-01-10", "new", 10_000)]
    assert told.customers("2025-02-28") == 1
    rows = told.waterfall("2025-02-01", "2025-02-28", dimension).rows
    traded = {(int(row["opening"]), int(row["closing"])) for row in rows}
    assert traded == {(10_000, 0), (0, 10_000)}
    check_sums(told, "2025-01-01", "2025-02-28")
