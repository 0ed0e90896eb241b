"""What must be so after a run, whatever happened in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

import psycopg
from sqlalchemy import Text, cast, func, select
from sqlalchemy.exc import DBAPIError

from tests.faults.load import EventStorm, Load
from tests.faults.world import BOOKS, PATIENCE_S, World
from tests.support.storm import Storm
from tests.support.tables import undated_tables
from tests.support.webhooks import arrive, settle
from tidemill import quarantine
from tidemill.bus import PostgresBus
from tidemill.database import Database, connect
from tidemill.errors import TidemillError
from tidemill.events import Event
from tidemill.following import may_pass
from tidemill.inbox.report import report
from tidemill.models import consumer_position, delivery, event_log
from tidemill.rebuilding import rebuild
from tidemill.worker import CONSUMER, drain

__all__ = ["faults_of", "wait_until_acknowledged", "wait_until_applied"]

_PAUSE_S: Final = 0.1


def wait_until_acknowledged(world: World, storm: Storm, events: EventStorm) -> None:
    """Return when everything that is sent is acknowledged, or never will be."""
    if not _comes_true(world, lambda: not (storm.is_sending or events.is_sending)):
        world.surprises.append(f"not everything was acknowledged; {_said(world)}")
        storm.give_up()
        events.give_up()
    if events.failure is not None:
        world.surprises.append(f"events were refused: {events.failure}")


def wait_until_applied(world: World, database: Database, bus: PostgresBus) -> None:
    """Return when the workers have taken everything in and applied it, or never will."""
    if not _comes_true(world, lambda: _applied(database, bus)):
        world.surprises.append(f"not everything was applied; {_said(world)}")


def _comes_true(world: World, condition: Callable[[], bool]) -> bool:
    """Whether it does in time, while whoever ends is started again as by a supervisor.

    One that was started while the server was away may end later than the injury.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        world.heal()
        time.sleep(_PAUSE_S)
    return True


def _said(world: World) -> str:
    return "; ".join(f"{name}: {world.last_words(name)}" for name in world.processes)


def _applied(database: Database, bus: PostgresBus) -> bool:
    try:
        with database.connect() as connection:
            new = sum(each.states.get("new", 0) for each in report(connection))
            return not new and not bus.pending(connection, CONSUMER)
    except (TidemillError, DBAPIError, psycopg.Error) as error:
        if not may_pass(error):
            raise
        return False


def faults_of(
    world: World,
    database: Database,
    sent: Load,
    acknowledged: AbstractSet[str],
) -> Iterator[str]:
    """Everything that is wrong, in words; nothing when all is well.

    sent: all of it is acknowledged. acknowledged: ids of events.
    """
    yield from world.surprises
    # What is no event is quarantined on its way from a topic into the log, else on its way out.
    outside = sent.poison if world.ground.broker is not None else frozenset()
    raws = {str(each["id"]): each for each in sent.raws}
    with database.connect() as connection:
        kept = connection.execute(select(func.count(), func.count(delivery.c.event.distinct())))
        if (found := tuple(kept.one())) != (len(raws), len(raws)):
            yield f"{len(raws)} deliveries were acknowledged; kept are (rows, events) {found}"
        ids = list(connection.scalars(select(cast(event_log.c.id, Text))))
        if len(ids) != len(set(ids)):
            yield "an event is in the log twice"
        if lost := acknowledged - outside - set(ids):
            yield f"{len(lost)} events were acknowledged and are not in the log"
        yield from _positions(world, database)
        arrived = select(delivery.c.event).order_by(delivery.c.position)
        order = {event: number for number, event in enumerate(connection.scalars(arrived))}
    by_arrival = [raws[event] for event in sorted(raws, key=order.__getitem__)]
    logged = [each for each in sent.events if str(each.id) not in outside]
    yield from _other_than_undisturbed(world, database, by_arrival, logged)
    with database.connect() as connection:
        if (aside := quarantine.waiting(connection)) != len(sent.poison):
            yield f"{aside} are in quarantine, and {len(sent.poison)} should be"
    done = rebuild(database, PostgresBus(database), BOOKS)
    if differed := {name: count for name, count in done.differed.items() if count}:
        yield f"a rebuild changes rows: {differed}"


def _positions(world: World, database: Database) -> Iterator[str]:
    """Readers stand at the last event of each partition, and offsets at the end of the topic."""
    last = (
        select(event_log.c.partition, func.max(event_log.c.position).label("last"))
        .group_by(event_log.c.partition)
        .subquery()
    )
    wrong = (
        select(consumer_position.c.partition)
        .join(last, last.c.partition == consumer_position.c.partition)
        .where(consumer_position.c.consumer == CONSUMER)
        .where(consumer_position.c.position != last.c.last)
    )
    with database.connect() as connection:
        if parts := list(connection.scalars(wrong)):
            yield f"positions are wrong in partitions {parts}"
        left = world.bus(database).pending(connection, CONSUMER)
        if left:
            yield f"{left} events were not applied"


def _other_than_undisturbed(
    world: World, database: Database, raws: list[dict[str, object]], events: list[Event]
) -> Iterator[str]:
    """How the tables differ from those of books to which nothing ever happened."""
    with world.ground.database() as url, connect(url, migrate=False) as calm:
        arrive(calm, raws)
        settle(calm, BOOKS)
        bus = PostgresBus(calm)
        bus.append(events)
        drain(bus, BOOKS)
        with database.connect() as one, calm.connect() as other:
            mine, theirs = undated_tables(one), undated_tables(other)
            for name, rows in theirs.items():
                if mine[name] != rows:
                    extra = [row for row in mine[name] if row not in rows][:2]
                    lacking = [row for row in rows if row not in mine[name]][:2]
                    yield f"{name} differs; only here {extra}, only undisturbed {lacking}"
            logs = tuple(
                each.execute(select(func.count()).select_from(event_log)).scalar_one()
                for each in (one, other)
            )
            if logs[0] != logs[1]:
                yield f"the log holds {logs[0]} events, undisturbed {logs[1]}"
