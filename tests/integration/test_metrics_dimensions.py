"""Cutting the cube: groups, filters, the unknown, and joins that never multiply rows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.support.hand_ledger import HandLedger
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import KnobNotSupported
from tidemill.metrics.spec import Filter, QuerySpec


@pytest.fixture(name="ledger")
def hand_ledger(database: Database) -> HandLedger:
    return HandLedger(database)


@pytest.fixture(name="engine")
def varied_business(ledger: HandLedger) -> MetricsEngine:
    ledger.customer("ann", country="us", name="Ann's Shop")
    ledger.customer("bob", country="DE")
    ledger.plan("basic", name="Basic", product="app")
    ledger.product("app", name="The App")
    ledger.move("2025-01-15", "ann", "new", 10_000)
    ledger.move("2025-02-15", "ann", "expansion", 2_500, plan="extra", interval_count=3)
    ledger.move("2025-03-15", "bob", "new", 4_000, product="other", interval="year")
    ledger.move("2025-03-20", "cyd", "new", 500, plan=None, source="lago", interval="week")
    return ledger.engine()


def cut(engine: MetricsEngine, *dimensions: str, where: Any = ()) -> dict[Any, Any]:
    result = engine.mrr.current(spec=QuerySpec(dimensions, where))
    assert [column.name for column in result.columns] == [*dimensions, "mrr"]
    assert all(column.dimension for column in result.columns[:-1])
    named = [tuple(row[each] for each in dimensions) for row in result.rows]
    keys = [each[0] if len(each) == 1 else each for each in named]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, [row["mrr"] for row in result.rows], strict=True))


@pytest.mark.parametrize(
    ("dimension", "groups"),
    [
        ("source", {"stripe": 16_500, "lago": 500}),
        ("plan", {"basic": 14_000, "extra": 2_500, "unknown": 500}),
        ("plan_name", {"Basic": 14_000, "unknown": 3_000}),
        ("product", {"app": 10_000, "other": 4_000, "unknown": 3_000}),
        ("product_name", {"The App": 10_000, "unknown": 7_000}),
        ("interval", {"month": 10_000, "3 months": 2_500, "year": 4_000, "week": 500}),
        ("currency", {"USD": 17_000}),
        ("customer", {"ann": 12_500, "bob": 4_000, "cyd": 500}),
        ("customer_name", {"Ann's Shop": 12_500, "unknown": 4_500}),
        ("country", {"US": 12_500, "DE": 4_000, "unknown": 500}),
        ("cohort_month", {date(2025, 1, 1): 12_500, date(2025, 3, 1): 4_500}),
        ("mrr_band", {"<10": 500, "10-50": 4_000, "100-500": 12_500}),
    ],
)
def test_every_group_is_shown_and_they_sum_to_the_total(
    engine: MetricsEngine, dimension: str, groups: dict[Any, int]
) -> None:
    """T32, T37: what has no match is the unknown group, never left out."""
    assert cut(engine, dimension) == groups
    assert sum(groups.values()) == engine.mrr.current().value


def test_several_dimensions(engine: MetricsEngine) -> None:
    assert cut(engine, "country", "interval") == {
        ("DE", "year"): 4_000,
        ("US", "3 months"): 2_500,
        ("US", "month"): 10_000,
        ("unknown", "week"): 500,
    }


def test_a_dimension_asked_for_twice_is_one(engine: MetricsEngine) -> None:
    result = engine.mrr.current(spec=QuerySpec(["plan", "plan"]))
    assert [column.name for column in result.columns] == ["plan", "mrr"]


@pytest.mark.parametrize(
    ("where", "mrr"),
    [
        (["plan=basic"], 14_000),
        (["plan=basic", "plan=extra"], 16_500),
        (["plan!=basic"], 3_000),
        (["plan!=basic", "plan!=extra"], 500),
        (["plan=unknown"], 500),
        (["plan~=AS"], 14_000),
        (["plan~=as", "plan~=xt"], 16_500),
        (["plan=basic", "country=de"], 4_000),
        (["country=unknown"], 500),
        (["cohort_month=2025-03"], 4_500),
        (["cohort_month=2025-01-01"], 12_500),
        (["cohort_month!=2025-01"], 4_500),
        (["currency=usd"], 17_000),
        (["mrr_band=10-50", "mrr_band=<10"], 4_500),
        (["customer=ann", "plan=basic"], 10_000),
        (["customer_name~=ann's"], 12_500),
        (["customer_name~=%"], 0),
        (["interval=3 months"], 2_500),
        ({"plan": ["basic", "extra"]}, 16_500),
        ({"country": "US"}, 12_500),
        ([Filter("source", "!=", "stripe")], 500),
        (["plan=nothing of the kind"], 0),
    ],
)
def test_filters(engine: MetricsEngine, where: Any, mrr: int) -> None:
    assert engine.mrr.current(spec=QuerySpec(filters=where)).value == mrr
    flow = engine.mrr.waterfall(start="2025-01-01", end="2025-06-30", spec=QuerySpec((), where))
    assert flow.rows[-1]["closing"] == mrr


@pytest.mark.parametrize(
    "value",
    ["'; DROP TABLE customer; --", "' OR '1'='1", "a\\'b", "%s", "%(x)s", ":x", "$1", "🦀", "a=b"],
)
def test_filter_values_are_only_ever_values(engine: MetricsEngine, value: str) -> None:
    """D03, D04."""
    for operator in ("=", "!=", "~="):
        result = engine.mrr.current(spec=QuerySpec(["plan"], [f"customer{operator}{value}"]))
        assert (sum(row["mrr"] for row in result.rows) == 17_000) == (operator == "!=")
        assert "customer" in result.sql


def test_customers_are_counted_where_they_pay(engine: MetricsEngine, ledger: HandLedger) -> None:
    def groups(*dimensions: str, where: Any = ()) -> dict[Any, int]:
        found = engine.customers.current(spec=QuerySpec(dimensions, where))
        return {row[dimensions[0]]: row["customers"] for row in found.rows}

    assert groups("plan") == {"basic": 2, "extra": 1, "unknown": 1}
    assert groups("country") == {"US": 1, "DE": 1, "unknown": 1}
    assert groups("country", where=["plan=extra"]) == {"US": 1}
    assert groups("plan", where=["country=US"]) == {"basic": 1, "extra": 1}
    # Ann leaves the plan that brought her in and stays a customer.
    ledger.move("2025-06-01", "ann", "contraction", -10_000)
    assert groups("plan") == {"basic": 1, "extra": 1, "unknown": 1}
    assert engine.customers.current(spec=QuerySpec(filters=["plan=basic"])).value == 1
    series = engine.customers.series(
        start="2025-05-01", end="2025-06-30", spec=QuerySpec(filters=["plan=basic"])
    )
    assert [row["customers"] for row in series.rows] == [2, 1]
    assert engine.customers.current().value == 3


def test_counting_by_items_needs_customers_who_pay(engine: MetricsEngine) -> None:
    policy = engine.policy.turned({"free_plans": "always"})
    with pytest.raises(KnobNotSupported, match="free_plans"):
        engine.customers.current(spec=QuerySpec(["plan"]), policy=policy)


def test_a_company_in_two_sources_is_counted_once_in_each(ledger: HandLedger) -> None:
    """A merged customer's rows are of both sources; +1 and -1 may be on different ones."""
    ledger.move("2025-01-15", "ann", "new", 5_000)
    ledger.customer("ann of lago", "lago")
    ledger.move("2025-02-15", "ann", "expansion", 2_000, source_id=2)
    ledger.move("2025-03-15", "ann", "contraction", -5_000)
    engine = ledger.engine()
    by_source = QuerySpec(["source"])
    series = engine.customers.series(start="2025-01-01", end="2025-03-31", spec=by_source)
    found = [(row["source"], row["period"].month, row["customers"]) for row in series.rows]
    assert sorted(found) == [
        *(("lago", 1, 0), ("lago", 2, 1), ("lago", 3, 1)),
        *(("stripe", 1, 1), ("stripe", 2, 1), ("stripe", 3, 0)),
    ]
    assert engine.customers().value == 1


def test_customers_of_the_same_id_in_two_sources_stay_apart(ledger: HandLedger) -> None:
    ledger.move("2025-01-15", "cus_1", "new", 5_000)
    ledger.move("2025-02-15", "cus_1", "new", 2_000, source="lago")
    engine = ledger.engine()
    result = engine.mrr.current(spec=QuerySpec(["customer"]))
    assert [(row["customer"], row["mrr"]) for row in result.rows] == [
        ("cus_1", 5_000),
        ("cus_1", 2_000),
    ]
    flow = engine.mrr.waterfall(
        start="2025-01-01", end="2025-02-28", spec=QuerySpec(["customer", "source"])
    )
    assert [(row["source"], row["closing"]) for row in flow.rows] == [
        *(("stripe", 5_000), ("stripe", 5_000)),
        *(("lago", 0), ("lago", 2_000)),
    ]


def test_the_same_plan_id_in_two_sources_never_multiplies(ledger: HandLedger) -> None:
    for source in ("stripe", "lago"):
        ledger.plan("pro", source, name=f"Pro of {source}", product="app")
        ledger.product("app", source, name=f"App of {source}")
        ledger.move("2025-01-15", f"{source} customer", "new", 1_000, source=source, plan="pro")
    engine = ledger.engine()
    assert engine.mrr.current().value == 2_000
    assert cut(engine, "plan", "product") == {("pro", "app"): 2_000}
    assert cut(engine, "plan_name") == {"Pro of lago": 1_000, "Pro of stripe": 1_000}
    assert cut(engine, "product_name") == {"App of lago": 1_000, "App of stripe": 1_000}


def test_bands_go_by_what_the_customer_pays_at_the_end_of_the_range(ledger: HandLedger) -> None:
    for number, amount in enumerate([999, 1_000, 4_999, 5_000, 99_999, 100_000, 500_000]):
        ledger.move("2025-01-15", f"c{number}", "new", amount)
    ledger.move("2025-02-15", "c0", "expansion", 9_001)
    ledger.move("2025-01-20", "gone", "new", 2_000)
    ledger.move("2025-02-20", "gone", "churn", -2_000)
    engine = ledger.engine()
    january = engine.mrr.current(at="2025-01-31", spec=QuerySpec(["mrr_band"]))
    assert [(row["mrr_band"], row["mrr"]) for row in january.rows] == [
        ("<10", 999),
        ("10-50", 1_000 + 4_999 + 2_000),
        ("50-100", 5_000),
        ("500-1k", 99_999),
        ("1k-5k", 100_000),
        ("5k+", 500_000),
    ]
    flow = engine.mrr.waterfall(
        start="2025-01-01", end="2025-02-28", grain="year", spec=QuerySpec(["mrr_band"])
    )
    assert [(row["mrr_band"], row["new"], row["closing"]) for row in flow.rows] == [
        ("none", 2_000, 0),
        ("10-50", 5_999, 5_999),
        ("50-100", 5_000, 5_000),
        ("100-500", 999, 10_000),
        ("500-1k", 99_999, 99_999),
        ("1k-5k", 100_000, 100_000),
        ("5k+", 500_000, 500_000),
    ]


def test_bands_are_in_the_base_currency(ledger: HandLedger) -> None:
    ledger.rate("2025-01-01", "USD", "150", base="JPY")
    ledger.move("2025-01-15", "ann", "new", 100)  # $1.00 = ¥150
    found = ledger.engine("JPY").mrr.current(spec=QuerySpec(["mrr_band"]))
    assert [(row["mrr_band"], row["mrr"]) for row in found.rows] == [("100-500", 150)]


def test_movement_rows_take_dimensions_in_front(engine: MetricsEngine) -> None:
    result = engine.mrr.movements(
        start="2025-01-01", end="2025-06-30", spec=QuerySpec(["country", "type"], ["type=new"])
    )
    names = [column.name for column in result.columns]
    assert names[:3] == ["country", "day", "occurred_at"]
    assert names.count("type") == 1
    assert [(row["country"], row["customer"]) for row in result.rows] == [
        ("US", "ann"),
        ("DE", "bob"),
        ("unknown", "cyd"),
    ]
