"""Cash and usage revenue of the worked cases, and what failed payments come to."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pytest

from tests.conftest import NewDatabase
from tests.support.asking import asked_of, settled
from tests.support.calendars import month_range
from tests.support.cases import Case, canonical_events, load_cases
from tests.support.emptied import emptied
from tests.support.happenings import at
from tests.support.ledger import keep_books
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import MissingRate
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy
from tidemill.segments.store import save_segment

CASES: Final = [
    case
    for case in load_cases()
    if any(each.cash or each.usage_revenue for each in case.expectations)
]


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_cash_and_usage_of_the_worked_cases(case: Case, shared: Database) -> None:
    keep_books(emptied(shared), canonical_events(case))
    engine = settled(shared)
    for expected in case.expectations:
        policy = Policy.of(expected.preset, expected.overrides)
        wanted = [
            *(("cash", "net", month, amount) for month, amount in expected.cash.items()),
            *(
                ("usage_revenue", "usage_revenue", month, amount)
                for month, amount in expected.usage_revenue.items()
            ),
        ]
        for metric, column, month, amount in wanted:
            start, end = month_range(month)
            answer = engine.query(metric, start=start, end=end, policy=policy)
            assert answer.rows[0][column] == amount, (str(expected), metric, month)
            series = engine.query(metric, "series", start=start, end=end, policy=policy)
            assert [row[column] for row in series.rows] == [amount]


def payment(
    kind: str, customer: str, day: int, amount: int, name: str, **more: Any
) -> dict[str, Any]:
    return {
        "source": "stripe",
        "type": f"payment.{kind}",
        "occurred_at": at(day).isoformat(),
        "customer": customer,
        "data": {"id": name, "amount": amount, "currency": "usd"} | more,
    }


@pytest.fixture
def desk(database: Database) -> MetricsEngine:
    """Of four invoices three fail at first, one of them twice, and two are paid in the end."""
    return asked_of(
        database,
        [
            payment("succeeded", "a", 1, 1000, "p1", invoice="i1", fee=59, method="card"),
            payment("failed", "a", 2, 2000, "p2", invoice="i2", failure_reason="declined"),
            payment("failed", "a", 3, 2000, "p3", invoice="i2", failure_reason="declined"),
            payment("succeeded", "a", 4, 2000, "p4", invoice="i2", fee=88),
            payment("failed", "b", 5, 500, "p5", invoice="i3", failure_reason="expired"),
            payment("failed", "b", 6, 700, "p6", invoice="i4", failure_reason="declined"),
            payment("succeeded", "b", 40, 700, "p7", invoice="i4", method="paypal"),
            payment("failed", "c", 7, 300, "p8"),
            payment("refunded", "a", 8, 250, "r1", invoice="i1"),
            payment("disputed", "b", 45, 700, "d1", invoice="i4"),
        ],
    )


JANUARY: Final[dict[str, Any]] = {"start": "2025-01-01", "end": "2025-01-31"}
ALL: Final[dict[str, Any]] = {"start": "2025-01-01", "end": "2025-03-31"}


def test_cash_says_what_it_is_made_of(desk: MetricsEngine) -> None:
    [row] = desk.query("cash", **JANUARY).rows
    assert row == {"net": 2750, "payments": 3000, "refunds": -250, "disputes": 0, "fees": -147}
    series = desk.query("cash", "series", **ALL)
    assert [each["net"] for each in series.rows] == [2750, 0, 0]
    assert sum(each["fees"] for each in series.rows) == -147


def test_groups_of_cash_sum_to_the_whole(desk: MetricsEngine) -> None:
    for dimension in ("customer", "method", "currency", "source", "failure_reason", "country"):
        rows = desk.query("cash", spec=QuerySpec([dimension]), **ALL).rows
        assert sum(each["net"] for each in rows) == 2750, dimension
    by_customer = desk.query("cash", spec=QuerySpec(["customer"]), **ALL).rows
    assert [(each["customer"], each["net"]) for each in by_customer] == [
        ("a", 2750),
        ("b", 0),
        ("c", 0),
    ]


def test_every_transaction_is_listed_with_its_event(desk: MetricsEngine) -> None:
    rows = desk.query("cash", "transactions", **ALL).rows
    assert sum(each["amount"] for each in rows if each["kind"] not in ("fee", "failure")) == 2750
    assert all(each["event_id"] for each in rows)
    assert [each["payment"] for each in rows if each["kind"] == "fee"] == ["p1", "p4"]
    behind = desk.query("cash", **JANUARY).rows_behind()
    assert sum(each["amount"] for each in behind.rows if each["kind"] == "payment") == 3000


def test_an_invoice_fails_once_and_is_recovered_whenever_it_is_paid(desk: MetricsEngine) -> None:
    [row] = desk.query("payments", **JANUARY).rows
    assert row["attempts"] == 5
    assert (row["failed"], row["followed"], row["recovered"]) == (4, 3, 2)
    assert (row["failed_amount"], row["recovered_amount"]) == (3500, 2700)
    assert (row["recovery_rate_numerator"], row["recovery_rate_denominator"]) == (2, 3)
    assert abs(Fraction(row["recovery_rate"]) - Fraction(2, 3)) < Fraction(1, 10**6)
    by_reason = desk.query("payments", spec=QuerySpec(["failure_reason"]), **JANUARY).rows
    assert {each["failure_reason"]: (each["failed"], each["recovered"]) for each in by_reason} == {
        "declined": (2, 2),
        "expired": (1, 0),
        "unknown": (1, 0),
    }


def test_what_was_recovered_later_was_not_known_before(desk: MetricsEngine) -> None:
    early = desk.query("payments", **JANUARY, known_at="2020-01-01T00:00:00Z")
    assert early.rows[0]["failed"] == 0


def test_nothing_failed_is_no_rate(desk: MetricsEngine) -> None:
    answer = desk.query("payments", start="2025-03-01", end="2025-03-31")
    assert answer.rows[0]["recovery_rate"] is None
    assert any("no failed payment says what it was for" in said for said in answer.warnings)


def test_money_without_a_rate_is_named(database: Database) -> None:
    foreign = payment("succeeded", "a", 1, 1000, "p1") | {
        "data": {"id": "p1", "amount": 1000, "currency": "eur"}
    }
    engine = asked_of(database, [foreign])
    with pytest.raises(MissingRate, match="EUR"):
        engine.query("cash", **JANUARY)
    assert engine.query("cash", start="2025-02-01", end="2025-02-28").rows[0]["net"] == Decimal(0)


def subscribed(
    customer: str, day: int, status: str, price: int, subscription: str = ""
) -> dict[str, Any]:
    item = {"id": "si", "plan": "p", "quantity": 1, "unit_amount": str(price), "interval": "month"}
    return {
        "source": "stripe",
        "type": "subscription.updated",
        "occurred_at": at(day).isoformat(),
        "customer": customer,
        "data": {
            "id": subscription or f"sub_{customer}",
            "status": status,
            "currency": "usd",
            "started_at": at(1).isoformat(),
            "items": [item],
        },
    }


@pytest.mark.parametrize("rule", ["active", "after:5", "exclude"])
def test_mrr_at_risk_is_the_same_whatever_past_due_counts_for(
    database: Database, rule: str
) -> None:
    engine = asked_of(
        database,
        [
            subscribed("ok", 1, "active", 1000),
            subscribed("late", 1, "active", 2000),
            subscribed("late", 10, "past_due", 2000),
            subscribed("back", 1, "active", 4000),
            subscribed("back", 5, "past_due", 4000),
            subscribed("back", 20, "active", 4000),
        ],
    )
    policy = Policy.of("default", {"past_due": rule})
    risk = [
        engine.query("mrr", "at_risk", at=f"2025-01-{day:02}", policy=policy).value
        for day in (4, 7, 15, 25)
    ]
    assert risk == [0, 4000, 6000, 2000]
    spec = QuerySpec(["customer"])
    rows = engine.query("mrr", "at_risk", at="2025-01-15", policy=policy, spec=spec).rows
    assert {each["customer"]: each["at_risk"] for each in rows} == {"late": 2000, "back": 4000}


@pytest.mark.parametrize("rule", ["active", "exclude"])
def test_who_is_in_a_segment_is_decided_on_all_mrr_and_not_on_what_is_at_risk(
    database: Database, rule: str
) -> None:
    engine = asked_of(
        database,
        [
            subscribed("both", 1, "active", 2000),
            subscribed("both", 1, "active", 3000, subscription="sub_other"),
            subscribed("both", 10, "past_due", 3000, subscription="sub_other"),
            subscribed("late", 1, "active", 4000),
            subscribed("late", 10, "past_due", 4000),
        ],
    )
    policy = Policy.of("default", {"past_due": rule})
    large = {"field": "mrr", "operator": ">=", "value": 45 if rule == "active" else 15}
    with database.begin() as connection:
        save_segment(connection, "large", large, "")
    spec = QuerySpec(segment="large")
    asked = engine.query("mrr", "at_risk", at="2025-01-15", policy=policy, spec=spec)
    assert asked.value == 3000
    spec = QuerySpec(["mrr_band"])
    rows = engine.query("mrr", "at_risk", at="2025-01-15", policy=policy, spec=spec).rows
    # Its band is that of all it pays, with what is past due.
    assert {each["mrr_band"]: each["at_risk"] for each in rows} == {"10-50": 4000, "50-100": 3000}


def test_committed_mrr_knows_what_is_scheduled(database: Database) -> None:
    leaving = subscribed("leaving", 1, "active", 3000)
    leaving["data"] |= {"cancel_at": at(75).isoformat()}
    coming = subscribed("coming", 2, "active", 500)
    coming["data"]["started_at"] = at(40).isoformat()
    engine = asked_of(database, [leaving, coming, subscribed("stays", 1, "active", 1000)])
    rows = engine.query("mrr", "committed", start="2025-01-15", end="2025-04-30").rows
    assert [each["mrr"] for each in rows] == [4000, 4500, 1500, 1500]


@pytest.mark.parametrize("rule", ["exclude", "shadow", "include"])
@pytest.mark.parametrize("activation", ["status_active", "invoice_paid"])
def test_what_trials_would_be_worth_is_a_line_of_its_own(
    database: Database, rule: str, activation: str
) -> None:
    engine = asked_of(
        database,
        [
            subscribed("tries", 1, "trialing", 3000),
            subscribed("tries", 15, "active", 3000),
            subscribed("looks", 5, "trialing", 700),
            subscribed("looks", 12, "canceled", 700),
        ],
    )
    policy = Policy.of("default", {"trials_in_mrr": rule, "activation": activation})
    shown = [
        engine.query("mrr", "trial", at=f"2025-01-{day:02}", policy=policy).value
        for day in (3, 8, 13, 20)
    ]
    assert shown == [3000, 3700, 3000, 0]
    mrr = engine.query("mrr", at="2025-01-08", policy=policy).value
    # Without a first invoice the status decides, also where one is asked for.
    assert mrr == (3700 if rule == "include" else 0)
    headlines = {each.name: each for each in engine.summary("2025-01-08", policy=policy).headlines}
    assert ("trial_mrr" in headlines) == (rule == "shadow")
    if rule == "shadow":
        assert headlines["trial_mrr"].value == 3700
    assert headlines["mrr_at_risk"].value == 0
