"""``python -m benchmarks live``: events that arrive in a full store, until they are in the facts.

A store is filled with most of a made-up business. What is left of its events then arrives on the
bus while workers, processes of their own, apply it. The method is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec
from rich.console import Console
from sqlalchemy import func, select

from benchmarks.books import LAST_DAY
from benchmarks.measure import Measurement
from benchmarks.processes import busy_s, of_server, peak_mb, used_s
from benchmarks.report import RESULTS, save, show
from tidemill.bookkeeping import books_of, bus_of, make_topics, settle
from tidemill.bus import Bus, PostgresBus
from tidemill.connectors.files import read_stripe_events
from tidemill.database import Database, connect
from tidemill.demo import fx_rates, generate
from tidemill.events import Event, event_line, parse_event
from tidemill.heartbeat import heard
from tidemill.ingest import ingest
from tidemill.models import event_log
from tidemill.rebuilding import rebuild
from tidemill.settings import Settings
from tidemill.worker import CONSUMER

__all__ = ["alive", "main", "running_workers", "translated", "wait"]

_MONTHS: Final = 24
_SEED: Final = 7
_CHUNK: Final = 2_000
_FEW: Final = 200
_SLICE_MAX: Final = 60_000
_SLICES: Final = 5
_PATIENCE_S: Final = 600.0

_TARGET: Final = 15_000.0
_TARGET_KAFKA: Final = 12_000.0
_TARGET_TWO: Final = 1.5
_TARGET_REBUILD: Final = 30_000.0
_GROWTH_MAX: Final = 1.3


@dataclass(frozen=True)
class Book:
    """A store with most of a business in it, and the rest of its events in files, slice by slice.

    Each measurement takes the next slice, so all find a store of about the same size.
    """

    folder: Path
    customers: int

    @classmethod
    def prepared(cls, folder: Path, customers: int) -> Book:
        """The book of so many customers in a folder; made when it is not there yet."""
        book = cls(folder / str(customers), customers)
        if not (book.folder / "ready").exists():
            book.folder.mkdir(parents=True)
            book._make()
        return book

    @property
    def settings(self) -> Settings:
        """Those of the store, with a topic of its own: messages belong to one log."""
        topic = (self.folder / "topic").read_text(encoding="utf-8")
        return Settings(data_dir=self.folder / "data", kafka_topic=topic)

    def next_slice(self) -> list[Event]:
        """Events that have not arrived yet, as a producer has them."""
        path = min(self.folder.glob("slice-*.jsonl"), default=None)
        assert path is not None, "every slice was used; take another folder"
        with path.open("rb") as lines:
            events = [parse_event(line) for line in lines]
        path.unlink()
        # Learned when they arrive: the lag would otherwise be that of a made-up past.
        return [msgspec.structs.replace(each, recorded_at=None) for each in events]

    def _make(self) -> None:
        (self.folder / "topic").write_text(f"benchmark.{uuid4()}", encoding="utf-8")
        raw = generate(self.customers, _MONTHS, _SEED, end=LAST_DAY)
        path = self.folder / "events.jsonl"
        with path.open("wb") as file:
            count = sum(1 for each in translated(raw) if file.write(event_line(each) + b"\n"))
        size = min(_SLICE_MAX, count // (2 * _SLICES))
        with path.open("rb") as lines, connect(None, data_dir=self.folder / "data") as store:
            books = books_of(self.settings)
            settle(store, PostgresBus(store), books)
            rates = fx_rates(_MONTHS, _SEED, end=LAST_DAY, source="benchmark")
            old = (parse_event(line) for line in islice(lines, count - size * _SLICES))
            ingest(store, PostgresBus(store), [*rates], books, source_kind="stripe")
            ingest(store, PostgresBus(store), old, books, source_kind="stripe")
            for number in range(_SLICES):
                part = b"".join(islice(lines, size))
                (self.folder / f"slice-{number}.jsonl").write_bytes(part)
        path.unlink()
        (self.folder / "ready").touch()


def translated(raws: Iterator[dict[str, Any]]) -> Iterator[Event]:
    """The canonical events of Stripe's, as an import would make them."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        for raw in raws:
            file.write(msgspec.json.encode(raw) + b"\n")
        file.flush()
        for item in read_stripe_events(file.name, source="benchmark"):
            if isinstance(item, Event):
                yield item


@dataclass(frozen=True)
class Arrived:
    """One measurement: how fast, what the busiest worker ever had in memory, and who was at work.

    used_s: processor time, of the producer, the workers, the database and the whole machine.
    """

    events: int
    elapsed_s: float
    memory_mb: float
    used_s: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.elapsed_s


def arrive(book: Book, servers: str | None, workers: int) -> Arrived:
    """Let the next slice arrive and wait until it is applied.

    servers: Kafka brokers to go through; None for the log in PostgreSQL alone.
    """
    settings = book.settings.model_copy(update={"kafka_bootstrap_servers": servers})
    make_topics(settings)
    events = book.next_slice()
    with connect(None, data_dir=settings.data_dir) as store:
        bus = bus_of(settings, store)
        before = _newest(store)
        with running_workers(settings, workers) as running:
            wait(lambda: _know_each_other(store, workers))
            first = _begun(store, bus, events, workers)
            wait(lambda: _applied(store, before, first))
            used, started = _used_s(store, running), time.perf_counter()
            for begin in range(first, len(events), _CHUNK):
                bus.append(events[begin : begin + _CHUNK], source_kind="stripe")
            wait(lambda: _applied(store, before, len(events)))
            elapsed = time.perf_counter() - started
            used = {name: now - used[name] for name, now in _used_s(store, running).items()}
            memory = max(peak_mb(each.pid) for each in running)
        bus.close()
    return Arrived(len(events) - first, elapsed, memory, used)


@contextmanager
def running_workers(settings: Settings, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many workers, each a process as in real life, until the block ends."""
    ours = ("TIDEMILL", "KAFKA", "DATABASE_URL", "STRIPE")
    clean = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    given = {"TIDEMILL_DATA_DIR": str(settings.data_dir)}
    if settings.kafka_bootstrap_servers:
        given["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
        given["TIDEMILL_KAFKA_TOPIC"] = settings.kafka_topic
    with ExitStack() as stack:
        said = stack.enter_context((settings.data_dir / "workers.log").open("ab"))
        command = [sys.executable, "-m", "tidemill", "worker"]
        running = [
            stack.enter_context(
                subprocess.Popen(command, env=clean | given, stdout=said, stderr=said)
            )
            for _ in range(count)
        ]
        try:
            yield running
        finally:
            for each in running:
                each.send_signal(signal.SIGTERM)


def _used_s(store: Database, workers: Sequence[subprocess.Popen[bytes]]) -> dict[str, float]:
    return {
        "producer": time.process_time(),
        "workers": used_s(each.pid for each in workers),
        "database": used_s(of_server(store)),
        "machine": busy_s(),
    }


def _newest(store: Database) -> int:
    """The last position of the log."""
    with store.connect() as connection:
        return int(connection.execute(select(func.max(event_log.c.position))).scalar_one())


def _applied(store: Database, since: int, count: int) -> bool:
    """Whether so many events after a position of the log have come, and are applied."""
    with store.connect() as connection:
        # Asked first, for it costs nothing: who measures must not keep the machine busy.
        if connection.execute(select(PostgresBus(store).oldest(CONSUMER))).scalar_one() is not None:
            return False
        come = select(func.count()).where(event_log.c.position > since)
        return connection.execute(come).scalar_one() >= count


def alive(store: Database) -> int:
    """How many workers are heard of."""
    with store.connect() as connection:
        return sum(not each.silent for each in heard(connection))


def _begun(store: Database, bus: Bus, events: list[Event], workers: int) -> int:
    """Send a few events after the other until every worker has applied some; how many it took.

    A worker that begins builds its statements, and a group gives out its partitions.
    """
    sent = 0
    while not _have_all_applied(store, workers):
        assert sent < len(events) // 5, "a worker gets nothing to do"
        bus.append(events[sent : sent + _FEW], source_kind="stripe")
        sent += _FEW
        time.sleep(0.5)
    return sent


def _have_all_applied(store: Database, workers: int) -> bool:
    with store.connect() as connection:
        return sum(each.applied > 0 for each in heard(connection) if not each.silent) == workers


def _know_each_other(store: Database, workers: int) -> bool:
    """Whether so many workers are heard of, and each heard of all: so they share the partitions."""
    with store.connect() as connection:
        known = [each for each in heard(connection) if not each.silent]
    if len(known) != workers:
        return False
    last = max(each.started_at for each in known)
    # The last one heard of all others with its first beat.
    return all(each.heard_at > last or each.started_at == last for each in known)


def wait(reached: Callable[[], bool]) -> None:
    """Come back when it is so."""
    deadline = time.monotonic() + _PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def measure(
    folder: Path, sizes: Sequence[int], servers: str | None, say: Callable[[str], None]
) -> Iterator[Measurement]:
    """Every size without a broker; the largest also with one, if there is one, and rebuilt."""
    cost: dict[int, float] = {}
    for customers in sizes:
        say(f"filling a store with {customers:,} customers")
        book = Book.prepared(folder, customers)
        say(f"{customers:,} customers: events arrive")
        # The first slice warms the server up, and is not counted.
        arrive(book, None, 1)
        yield (found := _told(f"live {customers}", arrive(book, None, 1), _TARGET))
        yield _told(f"live {customers}, 2 workers", arrive(book, None, 2), _TARGET)
        cost[customers] = 1 / found.value
    if len(cost) > 1:
        smallest, largest = min(cost), max(cost)
        growth = cost[largest] / cost[smallest]
        detail = f"cost of an event, {smallest:,} to {largest:,} customers"
        yield Measurement("live growth", growth, "times", detail, _GROWTH_MAX)
    book = Book.prepared(folder, max(sizes))
    if servers is not None:
        say("the same through Kafka")
        one = arrive(book, servers, 1)
        yield _told("live kafka, 1 worker", one, _TARGET_KAFKA)
        two = arrive(book, servers, 2)
        yield _told("live kafka, 2 workers", two, _TARGET_TWO * one.rate)
    say("rebuilding")
    with connect(None, data_dir=book.settings.data_dir) as store:
        started = time.perf_counter()
        done = rebuild(store, PostgresBus(store), books_of(book.settings))
        rate = done.applied / (time.perf_counter() - started)
    yield Measurement("rebuild", rate, "events/s", f"{done.applied:,} events", _TARGET_REBUILD)


def _told(name: str, arrived: Arrived, target: float) -> Measurement:
    each = {name: f"{1e6 * used / arrived.events:.0f}" for name, used in arrived.used_s.items()}
    detail = (
        f"{arrived.events:,} events, {arrived.elapsed_s:.1f} s, {arrived.memory_mb:.0f} MB; "
        f"µs of an event: {', '.join(f'{name} {used}' for name, used in each.items())}"
    )
    return Measurement(name, arrived.rate, "events/s", detail, target)


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--customers", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--kafka", metavar="SERVERS", help="brokers to go through as well")
    parser.add_argument("--folder", type=Path, help="where stores are kept for another run")
    parser.add_argument("--prepare", action="store_true", help="only fill the stores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    given = parser.parse_args(arguments)
    begun = datetime.now(UTC)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with ExitStack() as stack:
        folder = given.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-bench-"))
        )
        if given.prepare:
            for customers in given.customers:
                Book.prepared(folder, customers)
            return 0
        status = stack.enter_context(console.status(""))
        done = list(measure(folder, sorted(given.customers), given.kafka, status.update))
    show(done, console)
    parameters = {"customers": given.customers, "months": _MONTHS, "kafka": bool(given.kafka)}
    path = save(done, parameters=parameters, at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0
