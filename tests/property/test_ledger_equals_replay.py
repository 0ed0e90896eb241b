"""The ledger against the replay: random books, every preset, and every knob turned by itself.

The replay (tests/support) is plain Python that looks at every subscription at every instant;
it shares nothing with the ledger but the definitions. Movements are compared per unit and bucket in
native currency, customers and, where a policy carries rates of its own, base amounts day by day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import select

from tests.conftest import NewDatabase
from tests.support.books import books
from tests.support.cases import customer_label, preset_policy
from tests.support.emptied import emptied
from tests.support.ledger import Row, derived_rows, keep_books
from tests.support.replay import Replay, replay
from tests.support.replay_book import read_book
from tests.support.weight import examples
from tidemill import models
from tidemill.database import Database
from tidemill.policy import Policy

PRESETS = ["default", "chartmogul", "baremetrics", "stripe", "profitwell", "smsb", "maxio"]
TURNED = [
    "default;netting=month",
    "default;netting=none;tz=America/New_York",
    "default;netting=window:60;movement_level=subscription",
    "default;netting=month;movement_level=subscription;free_plans=after_paid",
    "default;movement_level=subscription;join_churn_same_month=ignore",
    "default;netting=month;free_plans=always",
    "default;free_plans=after_paid",
    "default;free_plans=after_paid;movement_level=subscription",
    "maxio;free_plans=always",
    "default;paused=contraction;movement_level=subscription",
    "default;event_time=recorded",
    "default;late_events=book_when_received",
    "default;identity=per_source",
    "default;usage=trailing:3;rounding=subscription",
    "default;refunds=as_if_unpaid;activation=invoice_paid",
    "default;activation=partly_paid",
    "default;activation=invoice_issued",
    "default;trials_in_mrr=include",
    "default;past_due=exclude;paused=contraction",
    "default;past_due=after:10;churn_recognition=at_period_end;annual_refund_churns=yes",
    "default;reactivation=within:20;join_churn_same_month=ignore",
    "default;discounts=include_all;tax=include",
    "default;discounts=exclude;weeks_per_month=4.33;days_per_month=30",
]
FIRST_DAY, LAST_DAY = date(2024, 12, 1), date(2026, 12, 31)
# Thirds of a minor unit are rounded at the sixteenth digit; sums of a few hundred stay below this.
TOLERANCE = Fraction(1, 10**6)

Told = dict[tuple[object, ...], Fraction]


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    """One database for all examples: emptying it is quicker than making another."""
    with new_database() as database:
        yield database


def _found(rows: list[Row], policy: Policy) -> Told:
    told: Told = defaultdict(Fraction)
    for row in rows:
        if row.type != "fx" and row.day <= LAST_DAY:
            subscription = row.subscription if policy.movement_level == "subscription" else None
            told[row.day, row.customer, subscription, row.type, row.currency] += Fraction(
                row.amount
            )
    return told


def _wanted(judge: Replay) -> Told:
    told: Told = defaultdict(Fraction)
    for movement in judge.movements:
        subscription = movement.subscription and movement.subscription[1]
        customer = customer_label(*movement.customer)
        for currency, amount in movement.native.items():
            told[movement.day, customer, subscription, movement.type, currency] += amount
    return told


def _quarrels(rows: list[Row], policy: Policy) -> list[object]:
    """Subscriptions that ended once, for several reasons: every line of an end has one reason."""
    if policy.netting not in ("day", "month"):
        return []
    reasons = defaultdict(set)
    for row in rows:
        if row.type == "churn":
            reasons[row.day, row.customer, row.subscription].add(row.churn_reason)
    return [ended for ended in reasons.items() if len(ended[1]) > 1]


def _levels(rows: list[Row], day: date) -> tuple[int, Fraction]:
    until = [row for row in rows if row.day <= day]
    base = sum((Fraction(row.amount_base or 0) for row in until), Fraction(0))
    return sum(row.customer_delta for row in until), base


def _differences(rows: list[Row], judge: Replay, policy: Policy) -> list[object]:
    found, wanted = _found(rows, policy), _wanted(judge)
    differences: list[object] = [
        (key, float(found[key]), float(wanted[key]))
        for key in found.keys() | wanted.keys()
        if abs(found[key] - wanted[key]) > TOLERANCE
    ]
    differences += _quarrels(rows, policy)
    for number in range(0, (LAST_DAY - FIRST_DAY).days, 17):
        day = FIRST_DAY + timedelta(days=number)
        customers, base = _levels(rows, day)
        if customers != judge.customers_at(day):
            differences.append((day, customers, judge.customers_at(day)))
        carries = policy.fx in ("at_movement", "at_renewal")
        if carries and abs(base - judge.mrr_at(day)) > TOLERANCE:
            differences.append((day, float(base), float(judge.mrr_at(day))))
    return differences


def _check(database: Database, events: list[dict[str, Any]], policies: list[str]) -> None:
    """Under each of the policies; and I20, that an event of the log is behind every row.

    Or that it was a timer of one.
    """
    keep_books(emptied(database), events)
    with database.connect() as connection:
        positions = set(connection.scalars(select(models.event_log.c.position)))
    book = read_book(events, None)
    for text in policies:
        policy = Policy.parse(text)
        rules = preset_policy(policy.preset, policy.overrides)
        judge = replay(book, rules, base_currency="USD", horizon=LAST_DAY)
        with database.connect() as connection:
            rows = derived_rows(connection, policy)
        assert not _differences(rows, judge, policy), text
        assert all(row.cause and row.event_position in positions for row in rows), text


COMMON = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@settings(COMMON, max_examples=examples(60))
@given(events=books())
def test_every_preset(shared: Database, events: list[dict[str, Any]]) -> None:
    _check(shared, events, PRESETS)


# Two dozen policies an example, so that a few examples are hundreds of derivations.
@settings(COMMON, max_examples=examples(15))
@given(events=books())
def test_every_knob(shared: Database, events: list[dict[str, Any]]) -> None:
    _check(shared, events, TURNED)
