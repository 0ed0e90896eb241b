"""`tidemill sync stripe`: everything of an account into the books, once, and then what is new.

A run first reads (pages into ``sync_object``), then tells (objects become events, events go into
the log and the tables like all others). Both go on where they were stopped, because the place is
kept with the pages, and because the events' ids come from what they tell.

Live webhooks may come in all the while. Reading ends with the events of the last thirty days, read
after everything else, and the past is put together up to each subscription's first known event
only; so nothing is lost between the two and nothing told twice (stripe.md §4.3).
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from tidemill.bus import Bus
from tidemill.connectors.stripe.accounts import source_account
from tidemill.connectors.stripe.ahead import read_units
from tidemill.connectors.stripe.backfill import (
    EVENTS_KEPT_S,
    Staged,
    Unit,
    basic_units,
    event_units,
    money_units,
    staged,
    subscription_unit,
)
from tidemill.connectors.stripe.client import StripeClient
from tidemill.database import Database
from tidemill.errors import SyncUnderway
from tidemill.inbox.work import learned
from tidemill.ingest import Ingested, ingest
from tidemill.state import Books
from tidemill.sync import runs
from tidemill.sync.runs import Run
from tidemill.sync.telling import shown, tell, teller_for

__all__ = [
    "KIND",
    "Asked",
    "Into",
    "Progress",
    "Synced",
    "alone",
    "count_only",
    "sync_stripe",
]

KIND: Final = "stripe"
"""The connector's name, kept with a source that is read."""

# Two readings of one source would only get in each other's way: "sync" in ASCII, and the source.
_LOCK: Final = int.from_bytes(b"sync", "big")
_LOCK_PATIENCE_S: Final = 5.0
# A run older than this is begun anew: what it has read says too little of today.
_RUN_KEPT: Final = timedelta(days=3)
# Events may become visible a little later than their date (as tap-stripe looks back).
_LOOK_BACK_S: Final = 600


@dataclass(frozen=True, slots=True)
class Asked:
    """What to read.

    source:    name of the source in the books.
    since:     how far back invoices and payments are read. Given, everything is read again, also
               where events would tell what is new; None reads everything the first time only.
    test_mode: whether the account's test mode is the books.
    """

    source: str = "stripe"
    since: date | None = None
    test_mode: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: what it does, the share of its units done, and objects read so far."""

    doing: str
    share: float
    objects: int


@dataclass(frozen=True, slots=True)
class Synced:
    """What a run came to.

    objects:  how many objects of each kind were read (by this run, also before an interruption).
    taken:    what became of the events they told.
    versions: versions of subscriptions that were reconstructed, by confidence.
    unknown:  what could not be told, by the names of `history.UNKNOWN`.
    """

    objects: dict[str, int]
    taken: Ingested
    mode: str
    events_from: datetime
    subscriptions: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return asdict(self) | {"events_from": self.events_from.isoformat()}


@dataclass(frozen=True, slots=True)
class Into:
    """The books that are read into."""

    database: Database
    bus: Bus
    books: Books


def sync_stripe(
    into: Into,
    client: StripeClient,
    asked: Asked,
    *,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Synced:
    """Read an account into the books; an interrupted run goes on where it was.

    Raises: ApiKeyWrongMode before anything is read; SyncUnderway while another process reads the
            same source; else as `StripeClient.get`, with what was read so far kept.
    """
    client.check_mode(asked.source, test_mode=asked.test_mode)
    sync = _Sync(into, client, asked, progress or (lambda _: None), clock)
    with alone(into.database, asked.source):
        return sync.tell(sync.read(sync.run()))


def count_only(client: StripeClient, asked: Asked, now: datetime) -> dict[str, int]:
    """How many objects of each kind there are to read; nothing is written anywhere.

    Raises: as `StripeClient.get`.
    """
    client.check_mode(asked.source, test_mode=asked.test_mode)
    counted: Counter[str] = Counter()
    first = int(now.timestamp())
    units = basic_units()
    for number in range(2):
        for place, reading in read_units(client, units):
            counted[units[place].kind] += len(reading.objects)
            first = min(first, *(each.created or first for each in reading.objects), first)
        if not number:
            start = first if asked.since is None else _midnight(asked.since)
            last = int(now.timestamp()) + 1
            units = [*money_units(start, last), *event_units(last - EVENTS_KEPT_S)]
    return dict(counted)


# --- a run ----------------------------------------------------------------------------------------


@contextmanager
def alone(database: Database, name: str) -> Iterator[None]:
    """Hold the source for this process; one that was just killed lets go within moments."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    key = zlib.crc32(name.encode()) - 2**31
    with database.begin() as connection:
        while not connection.execute(
            select(func.pg_try_advisory_xact_lock(_LOCK, key))
        ).scalar_one():
            if time.monotonic() > deadline:
                raise SyncUnderway(name)
            time.sleep(0.05)
        yield


def _reaches_further(asked: date | None, had: date | None) -> bool:
    """Whether a reading since a day goes further back than another one did."""
    return asked is not None and had is not None and asked < had


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _at(run: Run, place: dict[str, Any]) -> Run:
    return Run(**{**asdict(run), "place": place})


def _units(run: Run) -> list[Unit]:
    """All units of a run, as far as they are known: how far back goes by what was read first."""
    early = basic_units() if run.whole else [subscription_unit()]
    first = run.place.get("first")
    if first is None:
        return early
    events = event_units(int(run.place["events_from"]))
    if not run.whole:
        return [*early, *events]
    return [*early, *money_units(int(first), int(run.started_at.timestamp()) + 1), *events]


@dataclass(frozen=True, slots=True)
class _Sync:
    """A run while it goes on."""

    into: Into
    client: StripeClient
    asked: Asked
    report: Callable[[Progress], None]
    clock: Callable[[], datetime]

    def run(self) -> Run:
        """The run to go on with, or a new one and how it is meant."""
        asked, now = self.asked, self.clock()
        with self.into.database.begin() as connection:
            run = runs.unfinished(connection, asked.source)
            if run is not None and _fits(run, asked, now):
                return run
            mode, since, kept = _meant(connection, asked, now)
            whole = mode != "catch-up"
            run = runs.begin(connection, asked.source, now, since=asked.since, whole=whole)
            place = {
                "mode": mode,
                "test_mode": asked.test_mode,
                "events_from": kept,
                "gap": _gap(connection, asked.source, now),
                "heard": runs.last_position(connection),
                "since": None if since is None else _midnight(since),
            }
            runs.move(connection, run, place)
        return _at(run, place)

    def read(self, run: Run) -> Run:
        """Read every unit that is left, page by page, several at once."""
        if "read_at" in run.place:
            return run
        with self.into.database.connect() as connection:
            read = sum(runs.counts(connection, run).values())
        while (number := int(run.place.get("unit", 0))) < len(_units(run)) or _early(run):
            if number >= len(_units(run)):
                run = self._find_the_beginning(run)
                continue
            units, early = _units(run), 0.1 if _early(run) else 1
            for place_of, reading in read_units(self.client, units, number, run.place.get("after")):
                done = reading.after is None
                place = {**run.place, "unit": place_of + done, "after": reading.after}
                run = self._keep(run, reading.objects, place)
                read += len(reading.objects)
                kind, share = units[place_of].kind, (place_of + done) / len(units) * early
                self.report(Progress(f"Reading {kind.replace('_', ' ')}s", share, read))
        return self._keep(run, (), {**run.place, "read_at": int(self.clock().timestamp())})

    def tell(self, run: Run) -> Synced:
        """Put what was read into the books, and end the run."""
        into = self.into
        with into.database.connect() as connection:
            objects = runs.counts(connection, run)
            read = sum(objects.values())
            teller = teller_for(connection, run, test_mode=self.asked.test_mode)

            def advance(done: Ingested) -> None:
                share = (done.read + done.applied + done.duplicate) / max(2 * read, 1)
                self.report(Progress("Telling", min(share, 1.0), read))

            items = tell(connection, run, teller)
            taken = ingest(
                into.database, into.bus, items, into.books, source_kind=KIND, progress=advance
            )
        synced = Synced(
            objects=objects,
            taken=taken,
            mode=str(run.place["mode"]),
            events_from=datetime.fromtimestamp(teller.events_from, UTC),
            subscriptions=teller.told.subscriptions,
            versions=dict(teller.told.versions),
            unknown=dict(teller.told.unknown),
        )
        name, account = source_account(run.source)
        with into.database.begin() as connection:
            learned(connection, name, {account: shown(connection, run)})
            runs.finish(connection, run, self.clock(), synced.document())
        return synced

    def _keep(self, run: Run, objects: Sequence[Staged], place: dict[str, Any]) -> Run:
        """Keep a page together with the place to go on from."""
        with self.into.database.begin() as connection:
            runs.keep(connection, run, objects)
            runs.move(connection, run, place)
        return _at(run, place)

    def _find_the_beginning(self, run: Run) -> Run:
        """How far back there is anything, and who was deleted and is in no list."""
        with self.into.database.connect() as connection:
            missing = runs.unlisted_customers(connection, run) if run.whole else {}
            created = runs.first_created(connection, run)
        found: list[Staged] = []
        for key in missing:
            stub = {"id": key, "object": "customer", "deleted": True}
            found += staged("customer", [self.client.find(f"/v1/customers/{key}") or stub])
        since, started = run.place.get("since"), int(run.started_at.timestamp())
        first = min(since if since is not None else created or started, started)
        return self._keep(run, found, {**run.place, "first": first})


def _fits(run: Run, asked: Asked, now: datetime) -> bool:
    """Whether a run that was interrupted is the one that is asked for."""
    recent = now - run.started_at < _RUN_KEPT
    return recent and run.since == asked.since


def _meant(connection: Connection, asked: Asked, now: datetime) -> tuple[str, date | None, int]:
    """How a new run is meant: its mode, how far back it reads money, and since when events."""
    kept = int(now.timestamp()) - EVENTS_KEPT_S
    whole = runs.last_finished(connection, asked.source, whole=True)
    last = runs.last_finished(connection, asked.source)
    if whole is None or last is None or _reaches_further(asked.since, whole.since):
        return "first", asked.since, kept
    if _gap(connection, asked.source, now):
        # Events that would tell of the time between are gone: read all that was charged since.
        return "again", asked.since or last.started_at.date() - timedelta(days=60), kept
    if asked.since is not None:
        return "again", asked.since, kept
    return "catch-up", None, max(kept, int(last.started_at.timestamp()) - _LOOK_BACK_S)


def _gap(connection: Connection, name: str, now: datetime) -> bool:
    """Whether events since the last reading are gone by now."""
    last = runs.last_finished(connection, name)
    return last is not None and now - last.started_at >= timedelta(seconds=EVENTS_KEPT_S)


def _early(run: Run) -> bool:
    """Whether it is not known yet how far back there is anything to read."""
    return "first" not in run.place
