"""A copy of a billing database: how it is used, what it refuses, and what a failure leaves."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

import tidemill
from tests.conftest import NewDatabase
from tests.support.cli import Cli, Inside
from tests.support.copies import books, differences, refresh
from tests.support.in_place import reader_of, rows_of, url_of
from tests.support.killbill import create_killbill
from tests.support.lago import LagoBook, create_lago
from tests.support.walks import KillBillWalk, LagoWalk, set_rows
from tidemill.bookkeeping import FACTS
from tidemill.connectors.of_databases import DATABASE_CONNECTORS
from tidemill.copying.dropping import drop_copy
from tidemill.copying.holding import Asked
from tidemill.copying.refreshing import Billing
from tidemill.copying.refreshing import refresh as bring_up
from tidemill.database import Database, connect
from tidemill.errors import (
    CopyOfAnother,
    CopyRemoved,
    HistoryNotKept,
    KnobNotSupported,
    SchemaNotUnderstood,
    SourceIsStore,
    StoreHoldsEvents,
    StoreIsCopy,
    TidemillError,
)
from tidemill.models import metadata
from tidemill.policy import Policy
from tidemill.state import Books

AS_OF = datetime(2024, 12, 31, tzinfo=UTC)
HELD = books("EUR")


@pytest.fixture
def lago(new_database: NewDatabase) -> Iterator[LagoBook]:
    """Three customers of 49.00, 99.00 and 20.00."""
    with new_database(schema=False) as made:
        book = create_lago(made)
        for name, price in (("c", 4900), ("d", 9900), ("e", 2000)):
            plan = book.plan(f"plan-{name}", price)
            book.subscription(book.customer(name), plan, f"s-{name}", "2024-01-10")
        book.save()
        yield book


@contextmanager
def asked(store: Database, lago: LagoBook, **settings: Any) -> Iterator[tidemill.Tidemill]:
    given = {"base_currency": "EUR", "connector": "lago", "as_of": AS_OF} | settings
    with tidemill.connect(url_of(store), source_url=url_of(lago.database), **given) as opened:
        yield opened


def end(lago: LagoBook, name: str) -> None:
    """A customer leaves, in the middle of the year."""
    at = datetime(2024, 7, 1)  # noqa: DTZ001 - Lago has no zone
    where = {"external_id": f"s-{name}"}
    set_rows(lago, "subscriptions", where, status=2, terminated_at=at, updated_at=at)


def kept_in(store: Database) -> dict[str, Counter[str]]:
    """Every row of every table."""
    with store.snapshot() as connection:
        return {
            name: Counter(map(repr, connection.execute(select(table))))
            for name, table in metadata.tables.items()
        }


def prompt_of(folder: Path, store: str, lago: LagoBook, **more: str) -> Inside:
    settings = {
        "TIDEMILL_CONNECTOR": "lago",
        "TIDEMILL_SOURCE_URL": url_of(lago.database),
        "TIDEMILL_BASE_CURRENCY": "EUR",
    }
    return Inside(folder, store, settings | more)


def test_answers_come_from_the_copy_once_there_is_one(database: Database, lago: LagoBook) -> None:
    with asked(database, lago) as opened:
        assert opened.mrr(at="2024-12-31").value == 16800
        assert not opened.engine.provider.keeps_facts
    refresh(database, lago.database, "lago", HELD)
    end(lago, "d")
    with asked(database, lago) as opened:
        told = opened.mrr(at="2024-12-31")
        assert told.value == 16800
        assert any("From the copy of Lago as it was at 20" in each for each in told.warnings)
        assert opened.freshness()[0].source == "lago"
        assert opened.timeline("d").versions
        assert "metric_mrr" in opened.explain("mrr", at="2024-12-31").result.sql
        told_twice = opened.compare("mrr", presets=["default", "lago_oss"], at="2024-12-31")
        assert [side.error for side in told_twice.sides] == [None, None]
    refresh(database, lago.database, "lago", HELD)
    with asked(database, lago) as opened:
        assert opened.mrr(at="2024-12-31").value == 6900
    # The billing database need not be there, nor be named.
    with tidemill.connect(url_of(database), base_currency="EUR", as_of=AS_OF) as opened:
        assert opened.mrr(at="2024-12-31").value == 6900


def test_what_the_copy_does_not_know_is_refused(database: Database, lago: LagoBook) -> None:
    refresh(database, lago.database, "lago", HELD)
    with asked(database, lago) as opened:
        with pytest.raises(HistoryNotKept):
            opened.mrr(known_at="2024-06-01T00:00:00Z")
        with pytest.raises(HistoryNotKept):
            opened.diff("mrr", known_at=["2024-06-01T00:00:00Z"])
        with pytest.raises(KnobNotSupported):
            opened.mrr(set={"event_time": "recorded"})
        with pytest.raises(StoreIsCopy, match="copy of Lago"):
            opened.merge_customers("lago:c", "lago:d")
        with pytest.raises(StoreIsCopy):
            _ = opened.attributes
    with pytest.raises(CopyOfAnother), asked(database, lago, source_tenant="Pied Piper"):
        pass
    recorded = Books(FACTS, Policy.of("default", {"event_time": "recorded"}), "EUR")
    with pytest.raises(KnobNotSupported):
        refresh(database, lago.database, "lago", recorded)
    with pytest.raises(CopyOfAnother):
        refresh(database, lago.database, "lago", HELD, asked=Asked(None, "Hooli"))


def test_a_copy_that_was_removed_gives_no_answer(database: Database, lago: LagoBook) -> None:
    refresh(database, lago.database, "lago", HELD)
    with asked(database, lago) as opened:
        assert opened.mrr(at="2024-12-31").value == 16800
        with database.begin() as connection:
            drop_copy(connection)
        with pytest.raises(CopyRemoved):
            opened.mrr(at="2024-12-31")
    with asked(database, lago) as opened:
        assert opened.mrr(at="2024-12-31").value == 16800


def test_who_comes_while_another_refreshes_waits(database: Database, lago: LagoBook) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(refresh, database, lago.database, "lago", HELD) for _ in range(4)]
        done = sorted((each.result().how, each.result().changed) for each in runs)
    assert done == [("changes", 0)] * 3 + [("first", 3)]
    assert differences(database, lago.database, "lago", HELD) == []


def test_again_and_again_until_it_is_ended(
    database: Database, lago: LagoBook, tmp_path: Path
) -> None:
    settings = {
        "TIDEMILL_CONNECTOR": "lago",
        "TIDEMILL_SOURCE_URL": url_of(lago.database),
        "TIDEMILL_DATABASE_URL": url_of(database),
    }
    with Cli(tmp_path, settings).start("refresh", "--every", "1s") as running:
        assert running.stdout is not None
        first, second = (running.stdout.readline() for _ in range(2))
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert "Copied everything in Lago" in first
    assert "0 differed" in second
    assert (running.returncode, "Ended in good order." in said) == (0, True)


def test_segments_are_kept_beside_a_copy(database: Database, lago: LagoBook) -> None:
    refresh(database, lago.database, "lago", HELD)
    with asked(database, lago) as opened:
        big = {"field": "mrr", "operator": ">=", "value": 50}
        opened.segments.save("big", big)
        assert opened.mrr(at="2024-12-31", segment="big").value == 9900


def test_a_store_is_one_or_the_other(database: Database, lago: LagoBook, tmp_path: Path) -> None:
    events = Inside(tmp_path, url_of(database), {"TIDEMILL_BASE_CURRENCY": "EUR"})
    events.text("demo", "--no-serve", "--customers", "3")
    # The demo makes room for what is real.
    prompt = prompt_of(tmp_path, url_of(database), lago)
    assert "Copied everything in Lago" in prompt.text("refresh")
    for command in (("rebuild",), ("worker", "--once"), ("demo", "--no-serve")):
        refused = prompt.run(*command)
        assert (refused.returncode, "copy of Lago" in refused.stderr) == (1, True), command
    assert "€168.00" in prompt.text("mrr", "--at", "2024-12-31")
    assert "The copy of Lago is removed." in prompt.text("refresh", "--drop")
    assert "There was no copy." in prompt.text("refresh", "--drop")
    with database.begin() as connection:
        row = "INSERT INTO customer (id, source_id, external_id) VALUES (1, 1, 'x')"
        connection.exec_driver_sql(row)
    with pytest.raises(StoreHoldsEvents, match="cannot hold a copy of Lago"):
        refresh(database, lago.database, "lago", HELD)


def test_the_billing_database_is_no_place_for_the_copy(
    database: Database, lago: LagoBook, tmp_path: Path
) -> None:
    with pytest.raises(SourceIsStore):
        refresh(database, database, "lago", HELD)
    for command in ("refresh", "migrate"):
        same = prompt_of(tmp_path, url_of(lago.database), lago).run(command)
        assert (same.returncode, "are the same" in same.stderr) == (1, True)
    alone = Inside(tmp_path, url_of(lago.database), {"TIDEMILL_CONNECTOR": "lago"})
    assert "TIDEMILL_SOURCE_URL" in alone.run("refresh").stderr
    none = Inside(tmp_path, url_of(database), {}).run("refresh")
    assert "TIDEMILL_CONNECTOR" in none.stderr
    prompt = prompt_of(tmp_path, url_of(database), lago)
    assert prompt.run("refresh", "--every", "soon").returncode == 2


@pytest.mark.parametrize("connector", ["lago", "killbill"])
def test_nothing_is_written_there(
    database: Database, new_database: NewDatabase, connector: str
) -> None:
    """The shipped role is enough for a first copy, for what changed, and for a comparison."""
    with new_database(schema=False) as billing:
        walk: Any
        if connector == "lago":
            walk = LagoWalk(3, book=create_lago(billing))
        else:
            walk = KillBillWalk(3, book=create_killbill(billing))
        walk.step(8)
        held = books("EUR" if connector == "lago" else "USD")
        found = next(each for each in DATABASE_CONNECTORS if each.name == connector)
        before = rows_of(billing)
        with reader_of(billing, connector) as address:
            for full in (False, False, True):
                with connect(address, migrate=False, read_only=True) as source:
                    bring_up(database, Billing(source, found), held, full=full)
        assert rows_of(billing) == before
        assert differences(database, billing, connector, held) == []


def test_a_role_that_may_not_read_is_told_what(database: Database, lago: LagoBook) -> None:
    with reader_of(lago.database, "lago") as address:
        name = address.split("//")[1].split(":")[0]
        with lago.database.begin() as connection:
            revoke = f'REVOKE SELECT ON fees FROM "{name}"'  # noqa: S608 - a name of our own
            connection.exec_driver_sql(revoke)
        found = next(each for each in DATABASE_CONNECTORS if each.name == "lago")
        with (
            connect(address, migrate=False, read_only=True) as source,
            pytest.raises(SchemaNotUnderstood, match=r"public\.fees"),
        ):
            bring_up(database, Billing(source, found), HELD)


def test_a_failure_leaves_the_copy_as_it_was(
    database: Database, lago: LagoBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh(database, lago.database, "lago", HELD)
    before = kept_in(database)
    end(lago, "d")

    def break_down(*_: object, **__: object) -> None:
        message = "out of luck"
        raise TidemillError(message)

    with monkeypatch.context() as patched:
        patched.setattr("tidemill.state.rollups.Cells.settle", break_down)
        with pytest.raises(TidemillError, match="out of luck"):
            refresh(database, lago.database, "lago", HELD)
    assert kept_in(database) == before
    assert refresh(database, lago.database, "lago", HELD).changed == 1
    assert differences(database, lago.database, "lago", HELD) == []


def test_refreshing_again_writes_only_when(database: Database, lago: LagoBook) -> None:
    refresh(database, lago.database, "lago", HELD)
    before = [each for each in rows_of(database) if each[0] != "copied_source"]
    for full in (False, True):
        done = refresh(database, lago.database, "lago", HELD, full=full)
        assert (done.changed, done.rows, done.derived) == (0, 0, 0)
    assert [each for each in rows_of(database) if each[0] != "copied_source"] == before


def test_as_many_statements_for_one_customer_as_for_all(
    database: Database, lago: LagoBook, new_database: NewDatabase
) -> None:
    counted: list[str] = []

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        counted.append(statement)

    for number in range(40):
        plan = lago.plan(f"plan-{number}", 100)
        lago.subscription(lago.customer(f"n-{number}"), plan, f"s-n-{number}", "2024-02-01")
    lago.save()
    event.listen(database.engine, "before_cursor_execute", count)
    refresh(database, lago.database, "lago", HELD)
    at = datetime(2024, 7, 1)  # noqa: DTZ001 - Lago has no zone
    told = []
    for names in (["n-1"], [f"n-{number}" for number in range(2, 14)]):
        for name in names:
            set_rows(lago, "customers", {"external_id": name}, name="Renamed", updated_at=at)
        counted.clear()
        assert refresh(database, lago.database, "lago", HELD).changed == len(names)
        told.append(len(counted))
        at = at.replace(month=at.month + 1)
    assert told[0] == told[1]


def test_another_policy_or_rates_derive_the_facts_again(
    database: Database, lago: LagoBook, tmp_path: Path
) -> None:
    refresh(database, lago.database, "lago", HELD)
    other = books("EUR", Policy.of("maxio"))
    assert refresh(database, lago.database, "lago", other).derived == 3
    assert differences(database, lago.database, "lago", other) == []
    # Until it is refreshed again, the configured policy is derived.
    with asked(database, lago) as opened:
        assert opened.mrr(at="2024-12-31").value == 16800
    rates = tmp_path / "rates.csv"
    rates.write_text("day,quote,rate\n2024-01-01,USD,0.9\n")
    prompt = prompt_of(tmp_path, url_of(database), lago, TIDEMILL_POLICY="maxio")
    prompt.text("fx", "load", str(rates))
    assert "rates have come since" in prompt.text("doctor")
    assert "€168.00" in prompt.text("mrr", "--at", "2024-12-31")
    assert prompt.json("refresh")["derived"] == 3
    said = prompt.text("doctor")
    assert "copy of Lago: as it was at 20" in said
    assert "facts: equal a new derivation" in said


def test_the_embedded_database_holds_a_copy(lago: LagoBook, tmp_path: Path) -> None:
    prompt = prompt_of(tmp_path, "", lago, TIDEMILL_DATA_DIR=str(tmp_path / "data"))
    assert "€168.00" in prompt.text("mrr", "--at", "2024-12-31")
    assert not (tmp_path / "data").exists()
    assert "3 customers read, 3 differed" in prompt.text("refresh")
    assert "From the copy of Lago" in prompt.run("mrr", "--at", "2024-12-31").stderr


def test_doctor_of_a_billing_database(lago: LagoBook, tmp_path: Path) -> None:
    alone = {"TIDEMILL_CONNECTOR": "lago", "TIDEMILL_BASE_CURRENCY": "EUR"}
    before = rows_of(lago.database)
    found = Inside(tmp_path, url_of(lago.database), alone).text("doctor")
    assert "transactions of the role" in found
    assert "could write 15 tables" in found
    assert "3 customers, 3 subscriptions, 3 states of them, 0 payments" in found
    with reader_of(lago.database, "lago") as address:
        assert "could write none" in Inside(tmp_path, address, alone).text("doctor")
    assert rows_of(lago.database) == before
    with lago.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE plans DROP COLUMN amount_cents")
    wrong = Inside(tmp_path, url_of(lago.database), alone).run("doctor")
    assert wrong.returncode == 1
    assert "public.plans.amount_cents" in wrong.stdout
    away = Inside(tmp_path, "postgresql://nobody@127.0.0.1:1/lago", alone).run("doctor")
    assert (away.returncode, "database of Lago" in away.stdout) == (1, True)
