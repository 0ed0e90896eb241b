"""Traps of order, repetition and identity, as the core tables must come out. See README.md."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.happenings import at, deleted, known_as, poisoned, state
from tests.support.tables import exact_tables, named_tables
from tidemill import models, quarantine
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.events import Event
from tidemill.ledger.versions import versions_in_force
from tidemill.policy import Policy
from tidemill.rebuilding import rebuild
from tidemill.relations import core_relations
from tidemill.state import Books
from tidemill.worker import drain


def _take_in(database: Database, *events: Event) -> None:
    """Append each event on its own and apply it, as webhooks come in."""
    bus = PostgresBus(database)
    for event in events:
        bus.append([event])
        drain(bus, Books())


def _history(database: Database, customer: str = "c") -> list[tuple[str, int]]:
    """(status, amount) of a customer's versions that were ever in force, the current one last."""
    version = versions_in_force(core_relations(base_currency="USD"), Policy.of())
    item = models.version_item
    query = (
        select(version.c.status, item.c.unit_amount)
        .join(item, item.c.version_id == version.c.version_id)
        .join(models.customer, models.customer.c.id == version.c.customer_id)
        .where(models.customer.c.external_id == customer)
        .order_by(version.c.valid_from)
    )
    with database.connect() as connection:
        return [(row.status, int(row.unit_amount)) for row in connection.execute(query)]


def _versions(database: Database) -> int:
    with database.connect() as connection:
        return len(exact_tables(connection)["subscription_version"])


def test_t01_a_change_that_arrives_before_the_creation(database: Database) -> None:
    created, changed = state("c", at(1), "active", 10_000), state("c", at(2), "active", 15_000)
    _take_in(database, changed, created)
    assert _history(database) == [("active", 10_000), ("active", 15_000)]


@pytest.mark.parametrize("again", [0, 1])
def test_t02_churn_before_activation_and_an_old_activation_again(
    database: Database, again: int
) -> None:
    active, churned = state("c", at(1)), state("c", at(5), "canceled")
    _take_in(database, churned, active, *[active] * again)
    assert _history(database)[-1][0] == "canceled"
    assert _versions(database) == 2


def test_t03_the_same_event_twice(database: Database) -> None:
    event = state("c", at(1))
    _take_in(database, event, event)
    bus = PostgresBus(database)
    bus.append([event] * 5)
    assert drain(bus, Books()).applied == 0
    assert _versions(database) == 1


def test_t04_a_subscription_before_its_customer(database: Database) -> None:
    _take_in(database, state("c", at(1)))
    with database.connect() as connection:
        (mentioned,) = connection.execute(select(models.customer))
    assert (mentioned.external_id, mentioned.name, mentioned.state_at) == ("c", None, None)
    _take_in(database, known_as("c", at(2), "Ada", data={"country": "cz", "currency": "eur"}))
    with database.connect() as connection:
        (known,) = connection.execute(select(models.customer))
    assert (known.id, known.name) == (mentioned.id, "Ada")
    assert (known.country, known.currency) == ("CZ", "EUR")


@pytest.mark.parametrize("trouble", ["past_due", "unpaid"])
def test_t16_a_second_recovery_is_not_the_first_again(database: Database, trouble: str) -> None:
    statuses = ["active", trouble, "active", trouble, "active"]
    events = [
        state("c", at(1 + day), status, type="subscription.recovered")
        for day, status in enumerate(statuses)
    ]
    assert len({event.id for event in events}) == 5
    _take_in(database, *events)
    assert [status for status, _ in _history(database)] == statuses


def test_t17_two_changes_in_one_second(database: Database) -> None:
    first = state("c", at(1), "active", 20_000, sequence=1)
    second = state("c", at(1), "active", 50_000, sequence=2)
    assert first.id != second.id
    for order in permutations([first, second, state("c", at(1), "active", 10_000)]):
        _take_in(database, *order)
    assert _versions(database) == 3
    assert _history(database)[-1] == ("active", 50_000)


@pytest.mark.parametrize("status", ["incomplete", "past_due", "trialing", "unpaid", "paused"])
def test_t18_a_subscription_may_begin_in_any_status(database: Database, status: str) -> None:
    _take_in(database, state("c", at(1), status, type="subscription.created"))
    assert _history(database) == [(status, 10_000)]
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 0


def test_t34_a_burst_with_equal_timestamps(database: Database) -> None:
    """At one instant the terminal state is the last, then what was learned last."""
    for number, order in enumerate(permutations([("active", 9), ("canceled", 4), ("past_due", 8)])):
        customer = f"c{number}"
        burst = [
            state(customer, at(3), status, nickname=(customer, status), recorded_at=at(learned))
            for status, learned in order
        ]
        _take_in(database, *burst)
        assert _history(database, customer)[-1][0] == "canceled"
    assert _versions(database) == 6 * 3


def test_t34_of_two_equals_the_one_learned_later(database: Database) -> None:
    for customer, order in (("one", [(100, 9), (200, 8)]), ("two", [(200, 8), (100, 9)])):
        equals = [
            state(customer, at(3), amount=amount, nickname=(customer, amount), recorded_at=at(day))
            for amount, day in order
        ]
        _take_in(database, *equals)
        assert _history(database, customer)[-1] == ("active", 100)


def test_t35_the_same_kind_of_change_twice(database: Database) -> None:
    events = [state("c", at(day), "active", 10_000 + day) for day in (1, 2, 3)]
    assert len({event.id for event in events}) == 3
    _take_in(database, *events)
    assert [amount for _, amount in _history(database)] == [10_001, 10_002, 10_003]


def test_t38_a_reader_added_later_starts_at_the_beginning(database: Database) -> None:
    _take_in(database, state("a", at(1)), state("b", at(1)))
    bus = PostgresBus(database)
    assert drain(bus, Books(), consumer="added_later").applied == 2
    with database.begin() as connection:
        bus.rewind(connection, "added_later")
    assert drain(bus, Books(), consumer="added_later").applied == 2


def _customer(database: Database, name: str) -> Any:
    table = models.customer
    with database.connect() as connection:
        return connection.execute(select(table).where(table.c.external_id == name)).one()


def test_t39_a_deleted_customer_keeps_row_and_history(database: Database) -> None:
    for number, order in enumerate(permutations(range(3))):
        name = f"c{number}"
        events = [known_as(name, at(1), "Ada"), state(name, at(2)), deleted(name, at(5))]
        _take_in(database, *(events[place] for place in order))
        customer = _customer(database, name)
        assert (customer.name, customer.deleted_at) == ("Ada", at(5))
        assert _history(database, name) == [("active", 10_000)]


def test_t39_deleted_and_heard_of_again(database: Database) -> None:
    for number, order in enumerate(permutations(range(3))):
        name = f"c{number}"
        events = [known_as(name, at(1), "Ada"), deleted(name, at(3)), known_as(name, at(4), "Eva")]
        _take_in(database, *(events[place] for place in order))
        customer = _customer(database, name)
        assert (customer.name, customer.deleted_at) == ("Eva", None)


def test_t42_a_rebuild_is_bit_for_bit_the_same(database: Database) -> None:
    tied = [
        state("c", at(3), "active", amount, nickname=str(amount), recorded_at=at(4))
        for amount in (100, 200, 300)
    ]
    names = [known_as("c", at(1), name, nickname=name) for name in ("Ada", "Bea", "Eva")]
    _take_in(database, *tied, *names)
    with database.connect() as connection:
        before = exact_tables(connection)
    current = _history(database)
    rebuild(database, PostgresBus(database), Books())
    with database.connect() as connection:
        assert exact_tables(connection) == before
    assert _history(database) == current


def test_d05_nothing_moves_on_when_setting_aside_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = state("a", at(1)), poisoned("b", at(1))
    bus = PostgresBus(database)
    bus.append([good, bad])

    def broken(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "keep", broken)
        with pytest.raises(OSError, match="no space"):
            drain(bus, Books())
    with database.connect() as connection:
        assert bus.pending(connection, "state") == 2
        assert named_tables(connection)["subscription_version"] == []
    done = drain(bus, Books())
    assert (done.applied, done.quarantined) == (1, 1)
