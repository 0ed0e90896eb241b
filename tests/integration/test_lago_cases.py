"""The worked cases told by Lago's rows: the figures are those of ingested events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import tidemill
from tests.conftest import NewDatabase
from tests.integration.test_cases_by_engine import (
    _check_levels,
    _check_movements,
    _check_quick_ratio,
    _check_total,
)
from tests.support.cases import BASE_CURRENCY, Case, Expectation, canonical_events, load_cases
from tests.support.lago import LagoBook, create_lago
from tests.support.lago_cases import NOT_HELD, write_case
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import parse_event
from tidemill.ingest import ingest
from tidemill.policy import Policy
from tidemill.state import Books

# Every case is asked a dozen questions, and each derives the ledger anew.
pytestmark = pytest.mark.slow

AS_OF = datetime(2028, 1, 1, tzinfo=UTC)


def url_of(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    with new_database(schema=False) as database:
        yield create_lago(database)


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
    # Lago ends a subscription at once and gives the rest back: there is no paid-up date after it.
    if policy.churn_recognition == "at_period_end" and "immediate" in ends:
        return False
    return "at_period_end" not in ends or policy.churn_recognition != "when_scheduled"


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.id)
def test_case(case: Case, lago: LagoBook, own: Database) -> None:
    if case.id in NOT_HELD:
        pytest.skip(NOT_HELD[case.id])
    with lago.database.begin() as connection:
        for table in ("customers", "plans", "subscriptions", "coupons", "applied_coupons"):
            connection.exec_driver_sql(f"TRUNCATE {table}")
    write_case(lago, case)
    rates = [each for each in canonical_events(case) if each["type"] == "fx_rate.published"]
    if rates:
        books = Books(FACTS, Policy.of(), BASE_CURRENCY)
        ingest(own, PostgresBus(own), [parse_event(each) for each in rates], books)
    asked = [each for each in case.expectations if askable(case, each)]
    assert asked or case.id == "E35"
    for expected in asked:
        with tidemill.connect(
            url_of(own),
            source_url=url_of(lago.database),
            connector="lago",
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
