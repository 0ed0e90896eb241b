"""A billing system's hot standby answers as its primary does, and follows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

import tidemill
from tests.support.in_place import reader_of
from tests.support.killbill import create_killbill
from tests.support.lago import create_lago
from tests.support.standby import Pair, primary_and_standby
from tidemill.bookkeeping import FACTS
from tidemill.connectors.of_databases import DATABASE_CONNECTORS
from tidemill.copying.refreshing import Billing, refresh
from tidemill.database import Database, connect
from tidemill.policy import Policy
from tidemill.state import Books

# Two servers are started, and one is copied.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with primary_and_standby(tmp_path_factory.mktemp("servers")) as pair:
        yield pair


@pytest.fixture
def billing(pair: Pair, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database on the primary."""
    name = f"billing_{request.node.callspec.params['connector']}"
    with psycopg.connect(pair.primary.url(), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    with connect(pair.primary.url(name), migrate=False) as database:
        yield database


def begin(connector: str, database: Database) -> Any:
    """A book with one subscription of 20.00 from 10 January."""
    if connector == "lago":
        lago = create_lago(database)
        lago.subscription(lago.customer("c"), lago.plan("pro", 2000), "s", "2024-01-10")
        lago.save()
        return lago
    killbill = create_killbill(database)
    killbill.subscription(killbill.account(), ("CREATE", "2024-01-10", {"plan": "basic-monthly"}))
    killbill.save()
    return killbill


def add(connector: str, book: Any) -> None:
    """Another one of 50.00 from 10 February."""
    if connector == "lago":
        book.subscription(book.customer("d"), book.plan("scale", 5000), "t", "2024-02-10")
    else:
        book.subscription(book.account("d"), ("CREATE", "2024-02-10", {"plan": "pro-monthly"}))
    book.save()


@pytest.mark.parametrize("connector", ["lago", "killbill"])
def test_standby(pair: Pair, billing: Database, connector: str) -> None:
    book = begin(connector, billing)
    with reader_of(billing, connector) as address:
        pair.catch_up()
        how: dict[str, Any] = {
            "connector": connector,
            "base_currency": "EUR" if connector == "lago" else "USD",
            "as_of": datetime(2024, 6, 1, tzinfo=UTC),
        }
        with tidemill.connect(pair.standby_url(address), **how) as books:
            with books.database.connect() as connection:
                recovering = connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar()
                assert recovering is True
            assert books.mrr(at="2024-05-31").value == 2000
            add(connector, book)
            pair.catch_up()
            assert books.mrr(at="2024-05-31").value == 7000
            months = books.mrr.waterfall(start="2024-01-01", end="2024-03-31").rows
            assert [(row["new"], row["closing"]) for row in months] == [
                (2000, 2000),
                (5000, 7000),
                (0, 7000),
            ]
            told = books.compare("mrr", presets=["default", "chartmogul"], at="2024-05-31")
            assert [side.error for side in told.sides] == [None, None]
            assert books.timeline("c" if connector == "lago" else "c-1").versions
        copied(pair, connector, pair.standby_url(address), how)


def copied(pair: Pair, connector: str, standby: str, how: dict[str, Any]) -> None:
    """A copy of what the standby holds, in a database of our own."""
    name = f"copy_of_{connector}"
    with psycopg.connect(pair.primary.url(), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    found = next(each for each in DATABASE_CONNECTORS if each.name == connector)
    own = pair.primary.url(name)
    with (
        connect(own, migrate=True) as store,
        connect(standby, migrate=False, read_only=True) as source,
    ):
        books = Books(FACTS, Policy.of(), how["base_currency"])
        assert refresh(store, Billing(source, found), books).changed == 2
        assert refresh(store, Billing(source, found), books, full=True).changed == 0
    with tidemill.connect(own, source_url=standby, **how) as asked:
        assert asked.engine.provider.keeps_facts
        assert asked.mrr(at="2024-05-31").value == 7000
