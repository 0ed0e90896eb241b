"""What is refused is kept with every reason, and a replay makes it as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import pytest
from sqlalchemy import Connection, update

from tests.conftest import NewDatabase
from tests.support.happenings import at, known_as, poisoned, state
from tests.support.tables import exact_tables, named_tables
from tidemill import quarantine
from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.errors import InvalidEvent, Problem, UnknownQuarantined
from tidemill.events import Event, parse_event
from tidemill.ingest import ingest
from tidemill.intake import Ignored, Rejected
from tidemill.ledger import Fact, derive
from tidemill.models import event_log, metric_mrr_movement
from tidemill.quarantine import Quarantined
from tidemill.rebuilding import rebuild
from tidemill.replay import replay
from tidemill.state import Books
from tidemill.worker import drain

BOOKS: Final = Books(facts=(Fact(metric_mrr_movement, derive),))
BAD: Final = Rejected(
    "books.jsonl:3", "stripe", "events", '{"id": 1', (Problem("", "is not JSON", "Look at it."),)
)


def _listed(database: Database) -> list[Quarantined]:
    with database.connect() as connection:
        return quarantine.listed(connection)


def _read(item: Quarantined) -> Iterable[Event | Rejected | Ignored]:
    """Reads canonical events, as the command line does."""
    try:
        return [parse_event(item.body.encode())]
    except InvalidEvent as error:
        return [Rejected(item.origin, item.source, item.kind, item.body, error.problems)]


def _mend(connection: Connection, position: int) -> None:
    """Put right in the log what `poisoned` left out, as a new version of the program might."""
    log = event_log
    fixed = log.c.data.concat({"status": "active"})
    connection.execute(update(log).where(log.c.position == position).values(data=fixed))


def test_the_same_bad_input_is_kept_once(database: Database) -> None:
    again = Rejected("other.jsonl:9", BAD.source, BAD.kind, BAD.body, (Problem("x", "is wrong"),))
    with database.begin() as connection:
        quarantine.keep(connection, [BAD, BAD])
        quarantine.keep(connection, [again])
        quarantine.keep(connection, [])
        assert quarantine.waiting(connection) == 1
    (found,) = _listed(database)
    assert (found.origin, found.body) == (BAD.origin, BAD.body)
    assert found.problems == again.problems


def test_what_is_no_text_is_kept_as_escapes(database: Database) -> None:
    nasty = "a\0b\udcff"
    with database.begin() as connection:
        quarantine.keep(
            connection, [Rejected(nasty, nasty, "events", nasty, (Problem(nasty, nasty, nasty),))]
        )
    (found,) = _listed(database)
    assert found.body == found.source == found.problems[0].problem == "a\\x00b\\udcff"


def test_a_thousand_and_more_at_once(database: Database) -> None:
    many = [
        Rejected(f"f:{n}", "stripe", "events", str(n), (Problem("", "bad"),)) for n in range(2500)
    ]
    with database.begin() as connection:
        quarantine.keep(connection, many)
        assert quarantine.waiting(connection) == 2500
        assert [each.body for each in quarantine.listed(connection, limit=2)] == ["0", "1"]


def test_unknown_numbers_are_named(database: Database) -> None:
    with database.begin() as connection:
        quarantine.keep(connection, [BAD])
        (known,) = quarantine.listed(connection)
        assert quarantine.find(connection, [known.id]) == [known]
        with pytest.raises(UnknownQuarantined, match="4711, 4712"):
            quarantine.find(connection, [4711, known.id, 4712])


@pytest.mark.parametrize("place", [0, 7, 15])
def test_a_poison_event_is_set_aside_and_the_rest_applied(
    database: Database, new_database: NewDatabase, place: int
) -> None:
    """D05: in one transaction with the position, so that it is neither lost nor blocks the rest."""
    good = [state(f"c{number % 4}", at(1 + number)) for number in range(15)]
    bad = poisoned("c1", at(3))
    PostgresBus(database).append([*good[:place], bad, *good[place:]])
    done = drain(PostgresBus(database), BOOKS)
    assert (done.applied, done.quarantined) == (15, 1)
    (found,) = _listed(database)
    assert found.kind == "events"
    assert found.origin == f"log:{place + 1}"
    assert "status" in found.problems[0].problem
    envelope = json.loads(found.body)
    assert envelope["id"] == str(bad.id)
    assert envelope["data"]["items"] == json.loads(bad.data)["items"]
    with new_database() as other:
        ingest(other, PostgresBus(other), good, BOOKS)
        with database.connect() as one, other.connect() as two:
            assert named_tables(one) == named_tables(two)


def test_several_poison_events_in_a_batch(database: Database) -> None:
    events = [
        poisoned(f"c{number}", at(1)) if number % 7 == 0 else state(f"c{number}", at(1))
        for number in range(50)
    ]
    PostgresBus(database).append(events)
    done = drain(PostgresBus(database), BOOKS)
    assert (done.applied, done.quarantined) == (42, 8)
    assert drain(PostgresBus(database), BOOKS).applied == 0


def test_poison_does_not_block_its_customer(database: Database) -> None:
    ingest(
        database,
        PostgresBus(database),
        [poisoned("c", at(1)), state("c", at(2), "active", 500), state("c", at(3), "active", 700)],
        BOOKS,
    )
    with database.connect() as connection:
        rows = exact_tables(connection)["metric_mrr_movement"]
    assert len(rows) == 2


def test_a_replayed_event_is_as_if_it_had_never_been_refused(
    database: Database, new_database: NewDatabase
) -> None:
    """T09: set aside, put right, replayed: the rows of an undisturbed run, keys and all."""
    before, after = known_as("c", at(1), "Ada"), state("c", at(9), "active", 700)
    bad = poisoned("c", at(2))
    bus = PostgresBus(database)
    done = ingest(database, bus, [before, bad, after], BOOKS)
    assert (done.applied, done.quarantined) == (2, 1)
    assert replay(database, bus, BOOKS, _read).refused == 1
    with database.begin() as connection:
        (item,) = quarantine.listed(connection)
        _mend(connection, position=2)

    def mended(item: Quarantined) -> Iterable[Event]:
        return [parse_event(item.body.replace('"status": null', '"status": "active"').encode())]

    outcome = replay(database, bus, BOOKS, mended, ids=[item.id])
    assert (outcome.replayed, outcome.refused) == (1, 0)
    with new_database() as other:
        healthy = mended(item)
        ingest(other, PostgresBus(other), [before, *healthy, after], BOOKS)
        with database.connect() as one, other.connect() as two:
            assert exact_tables(one) == exact_tables(two)
    assert _listed(database) == []
    with database.connect() as connection:
        (item,) = quarantine.listed(connection, everything=True)
        assert item.replayed_at is not None


def test_a_bad_line_put_right_is_as_if_it_had_been_good(
    database: Database, new_database: NewDatabase
) -> None:
    """T09, for input that never was in the log."""
    events = [state("c", at(1)), state("c", at(5), "active", 300), state("c", at(9), "canceled")]
    bus = PostgresBus(database)
    ingest(database, bus, [events[0], BAD, events[2]], BOOKS)
    outcome = replay(database, bus, BOOKS, lambda _: [events[1]])
    assert (outcome.replayed, outcome.refused) == (1, 0)
    with new_database() as other:
        ingest(other, PostgresBus(other), events, BOOKS)
        with database.connect() as one, other.connect() as two:
            assert named_tables(one) == named_tables(two)


def test_what_is_still_bad_stays_with_its_new_problems(database: Database) -> None:
    bus = PostgresBus(database)
    ingest(database, bus, [BAD], BOOKS)
    outcome = replay(database, bus, BOOKS, _read)
    assert (outcome.replayed, outcome.refused) == (0, 1)
    (found,) = _listed(database)
    assert found.problems != BAD.problems


def test_refused_again_after_a_replay_it_waits_again(database: Database) -> None:
    bus = PostgresBus(database)
    ingest(database, bus, [BAD], BOOKS)
    replay(database, bus, BOOKS, lambda _: [])
    assert _listed(database) == []
    ingest(database, bus, [BAD], BOOKS)
    assert len(_listed(database)) == 1


def test_a_rebuild_sets_the_same_events_aside(database: Database) -> None:
    bus = PostgresBus(database)
    ingest(database, bus, [state("a", at(1)), poisoned("b", at(1)), state("c", at(1))], BOOKS)
    with database.connect() as connection:
        expected = exact_tables(connection)
    done = rebuild(database, bus, BOOKS)
    assert (done.applied, done.quarantined) == (2, 1)
    with database.connect() as connection:
        assert exact_tables(connection) == expected
    assert len(_listed(database)) == 1
