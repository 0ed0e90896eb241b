"""The worked cases told by Kill Bill's rows: the figures are those of ingested events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.integration.test_cases_by_engine import (
    _check_levels,
    _check_movements,
    _check_quick_ratio,
    _check_total,
)
from tests.integration.test_lago_cases import AS_OF, url_of
from tests.support.cases import BASE_CURRENCY, Case, Expectation, canonical_events, load_cases
from tests.support.killbill import KillBillBook, create_killbill
from tests.support.killbill_cases import NOT_HELD, write_case
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import parse_event
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.state import Books

# Every case is asked a dozen questions, and each derives the ledger anew.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def killbill(new_database: NewDatabase) -> Iterator[KillBillBook]:
    with new_database(schema=False) as database:
        book = create_killbill(database)
        book.save()
        yield book


@pytest.fixture(scope="module")
def own(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


def askable(case: Case, expected: Expectation) -> bool:
    policy = Policy.of(expected.preset, expected.overrides)
    if (policy.event_time, policy.late_events) != ("effective", "restate"):
        return False
    if policy.activation != "status_active" or policy.refunds != "ignore":
        return False  # invoices are written for other tests
    ends = {each.get("mode") for each in case.history}
    # Kill Bill ends a subscription at once and gives the rest back.
    if policy.churn_recognition == "at_period_end" and "immediate" in ends:
        return False
    # What was asked and undone again is not told.
    undone = any(each["action"] == "uncancel" for each in case.history)
    return not undone or policy.churn_recognition != "when_scheduled"


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.id)
def test_case(case: Case, killbill: KillBillBook, own: Database) -> None:
    if case.id in NOT_HELD:
        pytest.skip(NOT_HELD[case.id])
    with killbill.database.begin() as connection:
        for table in ("accounts", "bundles", "subscriptions", "subscription_events"):
            connection.exec_driver_sql(f"TRUNCATE {table}")
        connection.exec_driver_sql("TRUNCATE blocking_states, tenant_kvs")
    write_case(killbill, case)
    rates = [each for each in canonical_events(case) if each["type"] == "fx_rate.published"]
    if rates:
        books = Books(FACTS, Policy.of(), BASE_CURRENCY)
        ingest(own, PostgresBus(own), [parse_event(each) for each in rates], books)
    asked = [each for each in case.expectations if askable(case, each)]
    assert asked or case.id == "E35"
    for expected in asked:
        with tidemill.connect(
            url_of(own),
            source_url=url_of(killbill.database),
            connector="killbill",
            base_currency=BASE_CURRENCY,
            policy=expected.preset,
            policy_set=dict(expected.overrides),
            as_of=AS_OF,
        ) as connected:
            try:
                _check_levels(connected, expected)
                _check_quick_ratio(connected, expected)
                _check_total(connected, expected)
                _check_movements(connected, expected)
            except AssertionError as error:
                error.add_note(f"{expected}: {case.title}")
                raise
