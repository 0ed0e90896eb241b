"""Of every invoice the last word counts, and is marked as such, whoever hears what in which order.

Relations of a knowledge date look for the last word and know of no marks: both must agree.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from alembic import command
from sqlalchemy import Boolean, Text, column, func, insert, select, table

from tests.contract.bus_contract import strangers
from tests.support.happenings import at
from tidemill import migrations
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event, parse_event
from tidemill.ingest import ingest
from tidemill.migrations.schema import migrate
from tidemill.models import invoice_version
from tidemill.policy import Policy
from tidemill.relations import core_relations
from tidemill.state import Books, apply
from tidemill.worker import CONSUMER

LATER: Final = datetime(2100, 1, 1, tzinfo=UTC)
LOCKS: Final = table("pg_locks", column("locktype", Text), column("granted", Boolean))
FROM_USAGE: Final = Policy.of("default", {"usage": "last_invoice"})


def _event(number: int, kind: str, day: int = 10, **changes: Any) -> Event:
    """An event of one invoice, of ten of usage for each day of the month."""
    status = {"created": "draft", "finalized": "open", "voided": "void"}.get(kind, kind)
    line = {"id": "il_1", "kind": "usage", "amount": day * 10}
    data = {
        "id": changes.pop("invoice", "in_1"),
        "subscription": "sub_1",
        "status": status,
        "currency": "usd",
        "subtotal": 10,
        "tax": 0,
        "total": day,
        "issued_at": at(10),
        "lines": [line],
    }
    event = {
        "id": str(UUID(int=number)),
        "source": "stripe",
        "type": f"invoice.{kind}",
        "customer": "cus_1",
        "occurred_at": at(day),
        "recorded_at": at(30),
        "data": data,
    }
    return parse_event(event | changes)


def _agreed(database: Database) -> Counter[Any]:
    """The invoices in force, having found that marks and search say the same of all of them."""
    marked, searched = (
        core_relations(base_currency="USD", known_at=each) for each in (None, LATER)
    )
    with database.connect() as connection:
        for name in ("invoices", "usage_lines"):
            rows = (connection.execute(select(getattr(each, name))) for each in (marked, searched))
            assert Counter(map(tuple, next(rows))) == Counter(map(tuple, next(rows))), name
        invoice = marked.invoices
        found = select(invoice.c.invoice, invoice.c.status, invoice.c.total)
        return Counter(map(tuple, connection.execute(found)))


@pytest.mark.parametrize("batch", [1, 2, 3, 20])
@pytest.mark.parametrize("seed", range(3))
def test_the_last_word_counts_whatever_the_order(database: Database, batch: int, seed: int) -> None:
    events = [
        _event(1, "created", 10),
        _event(2, "finalized", 11),
        _event(3, "paid", 12),
        _event(4, "finalized", 12),
        _event(5, "created", 14, livemode=False),
        _event(6, "finalized", 13, livemode=False),
        # Of another invoice the number of the event decides.
        _event(7, "finalized", 11, invoice="in_2"),
        _event(8, "finalized", 11, invoice="in_2", sequence=1),
        _event(9, "finalized", 11, invoice="in_2", sequence=1),
        _event(10, "voided", 11, invoice="in_3", source="other"),
        _event(11, "created", 12, invoice="in_1", source="other"),
    ]
    Random(seed).shuffle(events)
    for first in range(0, len(events), batch):
        ingest(database, PostgresBus(database), events[first : first + batch], Books())
        _agreed(database)
    assert sorted(_agreed(database)) == [
        ("in_1", "draft", 12), ("in_1", "paid", 12), ("in_2", "open", 11), ("in_3", "void", 11),
    ]  # fmt: skip
    with database.connect() as connection:
        marks = select(func.count()).where(invoice_version.c.superseded)
        assert connection.execute(marks).scalar_one() == 5


@pytest.mark.parametrize("policy", [Policy.of(), FROM_USAGE])
def test_two_workers_tell_of_one_invoice_one_after_the_other(
    database: Database, policy: Policy
) -> None:
    """It changed customers, which travel in different partitions."""
    one, other = strangers(2)
    bus, books = PostgresBus(database), Books(FACTS, policy, "USD")
    # Whoever is the first of all waits for other reasons.
    ingest(database, bus, [_event(1, "created", 9, invoice="in_0")], books)
    waiting = select(func.count()).where(LOCKS.c.locktype == "advisory", ~LOCKS.c.granted)

    def work() -> None:
        with bus.claim(CONSUMER, 10) as delivery:
            assert delivery is not None
            apply(delivery.connection, delivery.rows, books)

    with ThreadPoolExecutor(1) as pool, database.connect() as watching:
        bus.append([_event(2, "finalized", 11, customer=one)])
        with bus.claim(CONSUMER, 10, partitions=1) as delivery:
            assert delivery is not None
            apply(delivery.connection, delivery.rows, books)
            bus.append([_event(3, "paid", 12, customer=other)])
            second = pool.submit(work)
            while not (watching.execute(waiting).scalar_one() or second.done()):
                watching.rollback()
            assert not second.done(), "the other worker did not wait"
        second.result(timeout=30)
    assert sorted(_agreed(database)) == [("in_0", "draft", 9), ("in_1", "paid", 12)]


def test_an_older_store_is_marked_when_it_is_migrated(empty_database: Database) -> None:
    told = [("draft", 0, True), ("open", 1, True), ("paid", 1, True), ("open", 2, False)]
    rows = [
        {
            "id": place,
            "source_id": 1,
            "external_id": "in_1",
            "customer_id": 1,
            "event_id": UUID(int=9 - place),
            "occurred_at": LATER.replace(year=2025),
            "sequence": sequence,
            "recorded_at": LATER.replace(year=2026),
            "livemode": live,
            "status": status,
            "currency": "USD",
            "subtotal": 1,
            "tax": 0,
            "total": place,
            "issued_at": LATER.replace(year=2025),
        }
        for place, (status, sequence, live) in enumerate(told)
    ]
    with empty_database.begin() as connection:
        command.upgrade(migrations.config(connection), "0020")
        connection.execute(insert(invoice_version), rows)
    migrate(empty_database.engine)
    assert sorted(_agreed(empty_database)) == [("in_1", "paid", 2)]
