"""The worked cases told by Lago's rows: the figures are those of ingested events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.support.cases import Case, Expectation, load_cases
from tests.support.in_place import askable, check_case
from tests.support.lago import LagoBook, create_lago
from tests.support.lago_cases import NOT_HELD, write_case
from tidemill.database import Database

# Every case is asked a dozen questions, and each derives the ledger anew.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    with new_database(schema=False) as database:
        yield create_lago(database)


@pytest.fixture(scope="module")
def own(new_database: NewDatabase) -> Iterator[Database]:
    with new_database() as database:
        yield database


def told(case: Case, expected: Expectation) -> bool:
    """Not told: when an end was asked for that comes with the period's."""
    scheduled = any(each.get("mode") == "at_period_end" for each in case.history)
    return not scheduled or expected.policy["churn_recognition"] != "when_scheduled"


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.id)
def test_case(case: Case, lago: LagoBook, own: Database) -> None:
    if case.id in NOT_HELD:
        pytest.skip(NOT_HELD[case.id])
    with lago.database.begin() as connection:
        connection.exec_driver_sql("TRUNCATE customers, plans, subscriptions, invoices, fees")
        connection.exec_driver_sql("TRUNCATE coupons, applied_coupons")
    write_case(lago, case)
    asked = [each for each in case.expectations if askable(case, each) and told(case, each)]
    assert asked or case.id == "E35"
    check_case("lago", lago.database, own, case, asked)
