"""The worked cases told by Kill Bill's rows: the figures are those of ingested events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.support.cases import Case, Expectation, load_cases
from tests.support.in_place import askable, check_case
from tests.support.killbill import KillBillBook, create_killbill
from tests.support.killbill_cases import NOT_HELD, write_case
from tidemill.database import Database

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


def told(case: Case, expected: Expectation) -> bool:
    """Not told: what was asked and undone again."""
    undone = any(each["action"] == "uncancel" for each in case.history)
    return not undone or expected.policy["churn_recognition"] != "when_scheduled"


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.id)
def test_case(case: Case, killbill: KillBillBook, own: Database) -> None:
    if case.id in NOT_HELD:
        pytest.skip(NOT_HELD[case.id])
    with killbill.database.begin() as connection:
        for table in ("accounts", "bundles", "subscriptions", "subscription_events"):
            connection.exec_driver_sql(f"TRUNCATE {table}")
        connection.exec_driver_sql("TRUNCATE blocking_states, tenant_kvs, invoices, invoice_items")
    write_case(killbill, case)
    asked = [each for each in case.expectations if askable(case, each) and told(case, each)]
    assert asked or case.id == "E35"
    check_case("killbill", killbill.database, own, case, asked)
