"""The configured policy decides the facts, and no table ever holds the facts of two policies."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
from sqlalchemy import Connection, Text, cast, literal_column, select

from tests.conftest import NewDatabase
from tests.support.books import random_book
from tests.support.cli import Cli, inside, keep_known_book
from tests.support.happenings import at, merged, rated, state
from tidemill import aside
from tidemill.bookkeeping import FACTS, differing, settle
from tidemill.bus import PostgresBus
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine
from tidemill.events import Event, parse_event
from tidemill.ingest import ingest
from tidemill.ledger import derive
from tidemill.models import metric_mrr_movement, policy_in_use
from tidemill.policy import Policy
from tidemill.rebuilding import rebuild_facts
from tidemill.relations import core_relations
from tidemill.state import Books, apply, fill
from tidemill.worker import drain

BEFORE: Final = Books(FACTS, Policy.of(), "USD")
AFTER: Final = Books(FACTS, Policy.of("chartmogul", {"tz": "Asia/Kathmandu"}), "USD")
PATIENCE_S: Final = 60


@contextmanager
def another(database: Database) -> Iterator[Database]:
    """The same store as another process has it."""
    url = database.engine.url.set(drivername="postgresql")
    with connect(url.render_as_string(hide_password=False)) as other:
        yield other


def rows(database: Database, books: Books | None = None) -> Counter[tuple[Any, ...]]:
    """The facts as they are kept, or as these books would have them."""
    query: Any = select(metric_mrr_movement)
    if books is not None:
        query = derive(core_relations(base_currency=books.base_currency), books.policy)
    names = [column.name for column in metric_mrr_movement.columns]
    with database.connect() as connection:
        found = connection.execute(query)
        return Counter(tuple(getattr(row, name) for name in names) for row in found)


def noted(database: Database) -> list[str]:
    """The policies that were in force, the first one first."""
    with database.connect() as connection:
        return list(
            connection.scalars(select(policy_in_use.c.hash).order_by(policy_in_use.c.configured_at))
        )


def book(seed: int = 5) -> list[Event]:
    events = [parse_event(each) for each in random_book(seed, customers=8)]
    random.Random(seed).shuffle(events)
    return events


def test_a_reader_configured_otherwise_derives_and_says_so(database: Database) -> None:
    bus = PostgresBus(database)
    settle(database, bus, BEFORE)
    ingest(database, bus, book(), BEFORE)
    reader = MetricsEngine(database, base_currency="USD", policy=AFTER.policy)
    asked: dict[str, Any] = {"at": "2025-06-30"}
    stale = reader.mrr.current(**asked)
    [said] = [each for each in stale.warnings if "another policy" in each]
    assert "tz" in said
    assert "netting" in said
    # Not where another policy was asked for by name: nobody expects its facts to be kept.
    others = (
        reader.mrr.current(policy=BEFORE.policy, **asked),
        reader.mrr.current(policy=AFTER.policy, known_at="2026-01-01T00:00:00Z", **asked),
    )
    assert not [each for one in others for each in one.warnings if "another policy" in each]
    assert settle(database, bus, AFTER)
    fresh = reader.mrr.current(**asked)
    assert not [each for each in fresh.warnings if "another policy" in each]
    assert fresh.rows == stale.rows


def test_a_writer_configured_before_follows_the_policy_in_force(database: Database) -> None:
    events = book()
    bus = PostgresBus(database)
    settle(database, bus, BEFORE)
    ingest(database, bus, events[:100], BEFORE)
    with another(database) as other:
        assert settle(other, PostgresBus(other), AFTER)
    ingest(database, bus, events[100:], BEFORE)
    assert rows(database) == rows(database, AFTER)
    assert noted(database) == [BEFORE.policy.hash, AFTER.policy.hash]
    assert set(differing(database, BEFORE)) > {"tz", "netting"}
    assert differing(database, AFTER) == ()


def test_workers_go_on_while_another_policy_is_put_in_force(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = book()
    bus = PostgresBus(database)
    settle(database, bus, BEFORE)
    ingest(database, bus, events[:100], BEFORE)

    def meanwhile(connection: Connection, books: Books) -> None:
        fill(connection, books)
        with another(database) as other:
            ingest(other, PostgresBus(other), events[100:], BEFORE)
        assert noted(database) == [BEFORE.policy.hash]
        assert rows(database) == rows(database, BEFORE)

    monkeypatch.setattr("tidemill.rebuilding.fill", meanwhile)
    assert settle(database, bus, AFTER)
    assert rows(database) == rows(database, AFTER)


def test_a_role_that_may_not_make_schemas_still_changes_its_policy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = PostgresBus(database)
    settle(database, bus, BEFORE)
    ingest(database, bus, book(), BEFORE)
    monkeypatch.setattr(aside, "SCHEMA", "pg_reserved")
    assert settle(database, bus, AFTER)
    assert rows(database) == rows(database, AFTER)


def test_deriving_all_under_another_policy_puts_it_in_force(database: Database) -> None:
    bus = PostgresBus(database)
    ingest(database, bus, book(), BEFORE)
    assert noted(database) == [BEFORE.policy.hash], "whoever keeps facts first says under what"
    rebuild_facts(database, bus, AFTER)
    assert noted(database) == [BEFORE.policy.hash, AFTER.policy.hash]
    assert not settle(database, bus, AFTER)


def test_knobs_that_facts_do_not_rest_on_are_noted_and_nothing_is_derived(
    database: Database,
) -> None:
    bus = PostgresBus(database)
    settle(database, bus, BEFORE)
    ingest(database, bus, book(), BEFORE)

    def written() -> list[str]:
        """The transactions that wrote the facts."""
        xmin = cast(literal_column("xmin"), Text)
        with database.connect() as connection:
            return sorted(connection.scalars(select(xmin).select_from(metric_mrr_movement)))

    before = written()
    other = replace(BEFORE, policy=Policy.of("default", {"window": "rolling_30d"}))
    assert not settle(database, bus, other, telling=lambda _: pytest.fail("nothing to derive"))
    assert written() == before
    assert noted(database) == [BEFORE.policy.hash, other.policy.hash]


def test_another_base_currency_is_another_ledger(database: Database) -> None:
    """A day on which dollars go and euros come is up or down by the rates to the base currency."""
    bus = PostgresBus(database)
    euros: dict[str, Any] = {"data": {"currency": "eur"}, "subscription": "sub_2"}
    events = [
        rated("2025-01-01", "1.2", at(1)),
        state("ann", at(1), amount=1_000),
        state("ann", at(5), "canceled", amount=1_000),
        state("ann", at(5), amount=900, **euros),
    ]
    settle(database, bus, BEFORE)
    ingest(database, bus, events, BEFORE)
    in_euros = replace(BEFORE, base_currency="EUR")
    reader = MetricsEngine(database, base_currency="EUR", policy=BEFORE.policy)
    assert any("base_currency" in each for each in reader.mrr.current(at="2025-01-31").warnings)
    told: list[tuple[str, ...]] = []
    assert settle(database, bus, in_euros, telling=told.append)
    assert told == [("base_currency",)]
    ingest(database, bus, [state("bob", at(3))], BEFORE)
    assert rows(database) == rows(database, in_euros)


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_that_begin_at_once_with_two_policies_end_with_one(
    new_database: NewDatabase, seed: int
) -> None:
    """Two kinds of workers apply the same log while each puts its own policy in force."""
    with new_database() as database:
        PostgresBus(database).append(book(seed))
        failures: list[BaseException] = []

        def work(books: Books) -> None:
            try:
                with another(database) as store:
                    bus = PostgresBus(store)
                    settle(store, bus, books)
                    drain(bus, books)
            except BaseException as error:  # noqa: BLE001 - told by the test
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(books,)) for books in (BEFORE, AFTER, BEFORE, AFTER)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        kept = {BEFORE.policy.hash: BEFORE, AFTER.policy.hash: AFTER}[noted(database)[-1]]
        assert rows(database) == rows(database, kept)


def test_two_workers_on_two_customers_of_one_company_lose_no_refresh(database: Database) -> None:
    """Each would derive the company without seeing what the other is about to commit."""
    bus = PostgresBus(database)
    names = [f"c{number}" for number in range(12)]
    merges = [merged(name, names[0], at(2)) for name in names[1:]]
    ingest(database, bus, [*(state(name, at(1)) for name in names), *merges], BEFORE)
    bus.append([state(name, at(10 + step), amount=100 * step) for name in names for step in (1, 2)])

    def work() -> None:
        with another(database) as store:
            own = PostgresBus(store)
            # One partition at a time, so that both always have something to do.
            while True:
                with own.claim("state", 1, partitions=1) as delivery:
                    if delivery is None:
                        break
                    apply(delivery.connection, delivery.rows, BEFORE)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drain(bus, BEFORE)
    assert rows(database) == rows(database, BEFORE)
    with database.connect() as connection:
        owners = connection.scalars(select(metric_mrr_movement.c.customer_id).distinct()).all()
    assert len(owners) == 1


def test_the_command_line_says_what_becomes_of_the_facts(
    database: Database, tmp_path: Path
) -> None:
    prompt = inside(tmp_path, database)
    keep_known_book(prompt)
    other = replace(prompt, settings={"TIDEMILL_POLICY_SET": "netting=month"})
    question = ("mrr", "--at", "2025-02-28")
    stale = other.run(*question)
    assert "another policy" in stale.stderr
    assert "netting" in stale.stderr
    again = other.run("import", "events", "-")
    assert "netting" in again.stderr
    assert "derived again" in again.stderr
    assert "another policy" not in other.run(*question).stderr
    assert "derived again" not in other.run("import", "events", "-").stderr
    assert "another policy" in prompt.run(*question).stderr
    prompt.text("rebuild", "--metric", "mrr")
    assert "another policy" not in prompt.run(*question).stderr


def test_serving_under_another_policy_derives_the_facts_in_the_background(tmp_path: Path) -> None:
    """It answers from the start, first with the warning and then without it."""
    keep_known_book(Cli(tmp_path))
    serving = Cli(tmp_path, {"TIDEMILL_POLICY": "chartmogul"})
    with serving.start("serve", "--port", "0") as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[3].rstrip(",")
            deadline = time.monotonic() + PATIENCE_S
            while True:
                with urlopen(f"{url}/mrr?at=2025-01-31", timeout=PATIENCE_S) as answer:  # noqa: S310 - our own
                    document = json.load(answer)
                assert document["policy"]["preset"] == "chartmogul"
                if not any("another policy" in each for each in document["warnings"]):
                    break
                assert time.monotonic() < deadline
        finally:
            process.terminate()
            _, stderr = process.communicate(timeout=PATIENCE_S)
    assert "derived again" in stderr
