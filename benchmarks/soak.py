"""``python -m benchmarks soak``: millions of events through one worker, in a store that grows.

One business of 10,000 customers is made up and told again and again, each time of other customers:
once, then nine times at the same time, so that the store has ten times as many, and so on. What an
event costs is looked at in the last fifth of each, when most customers have some history.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final
from zlib import crc32

from rich.console import Console

from benchmarks.books import LAST_DAY
from benchmarks.live import alive, running_workers, translated, wait
from benchmarks.measure import Measurement
from benchmarks.processes import of_server, peak_mb, used_s
from benchmarks.report import RESULTS, save, show
from tidemill.bookkeeping import books_of, settle
from tidemill.bus import PostgresBus
from tidemill.database import Database, connect
from tidemill.demo import fx_rates, generate
from tidemill.events import Event, event_line, parse_event
from tidemill.ingest import ingest
from tidemill.settings import Settings
from tidemill.worker import CONSUMER

__all__ = ["main"]

_BASE: Final = 10_000
_MONTHS: Final = 3
_SEED: Final = 7
_CHUNK: Final = 5_000
# The producer waits for the worker here: all of a day's events are not there in the morning.
_AHEAD_MAX: Final = 30_000
_LATE: Final = 0.8

_GROWTH_MAX: Final = 1.3
_MEMORY_MAX_MB: Final = 400.0


@dataclass(frozen=True)
class Story:
    """The events of one business, to be told of any number of customers."""

    lines: list[bytes]
    tag: bytes

    @classmethod
    def made_up(cls, customers: int) -> Story:
        """The events of a business, in the order of time."""
        raw = list(generate(customers, _MONTHS, _SEED, end=LAST_DAY))
        first = next(each for each in raw if each["type"] == "customer.created")
        # Ids of customers and of what is theirs are "cus_", a tag of the business, and a number.
        tag = first["data"]["object"]["id"].removeprefix("cus_")[:6]
        lines = [event_line(each) for each in translated(iter(raw))]
        return cls(lines, tag.encode())

    def told(self, copies: range, *, late: bool) -> Iterator[Event]:
        """The first four fifths, or the last one, of the events of some copies at the same time."""
        cut = int(len(self.lines) * _LATE)
        for line in self.lines[cut:] if late else self.lines[:cut]:
            if self.tag in line:
                for copy in copies:
                    yield parse_event(self._of(line, copy))
            elif 0 in copies:
                # Products and plans are there once.
                yield parse_event(line)

    def _of(self, line: bytes, copy: int) -> bytes:
        if not copy:
            return line
        # Ids of events stay as random as they are, or they would all go to one place in an index.
        start = len(b'{"id":"')
        number = int(line[start : start + 8], 16) ^ crc32(b"%d" % copy)
        other = line[:start] + b"%08x" % number + line[start + 8 :]
        return other.replace(self.tag, b"%06x" % copy)


def measure(
    data_dir: Path, sizes: Sequence[int], say: Callable[[str], None]
) -> Iterator[Measurement]:
    """Events a second and processor time of an event at each size; growth and memory at the end."""
    say("making up a business")
    base = min(sizes)
    story = Story.made_up(base)
    settings = Settings(data_dir=data_dir)
    spent: list[float] = []
    with connect(None, data_dir=data_dir) as store:
        books = books_of(settings)
        settle(store, PostgresBus(store), books)
        rates = fx_rates(_MONTHS, _SEED, end=LAST_DAY, source="benchmark")
        ingest(store, PostgresBus(store), [*rates], books, source_kind="stripe")
        with running_workers(settings, 1) as (worker,):
            wait(lambda: alive(store) == 1)
            sent, told, memory = 0, 0, 0.0
            for size in sizes:
                copies = range(told, told := size // base)
                say(f"up to {size:,} customers")
                sent += _arrive(store, story.told(copies, late=False))
                processor, started = _used_s(store, worker.pid), time.perf_counter()
                count = _arrive(store, story.told(copies, late=True))
                elapsed = time.perf_counter() - started
                cost = (_used_s(store, worker.pid) - processor) / count
                sent, spent = sent + count, [*spent, cost]
                memory = peak_mb(worker.pid)
                detail = f"{1e6 * cost:.0f} µs of processor time, {sent:,} events, {memory:.0f} MB"
                yield Measurement(f"soak {size}", count / elapsed, "events/s", detail)
    growth = spent[-1] / spent[0]
    detail = f"processor time of an event, {sizes[0]:,} to {sizes[-1]:,} customers"
    yield Measurement("soak growth", growth, "times", detail, _GROWTH_MAX)
    yield Measurement("soak memory", memory, "MB", f"{sent:,} events", _MEMORY_MAX_MB)


def _arrive(store: Database, events: Iterable[Event]) -> int:
    """Put events in the log, never too far ahead, and wait until they are applied; how many."""
    bus, count, stream = PostgresBus(store), 0, iter(events)
    while chunk := list(islice(stream, _CHUNK)):
        wait(lambda: _pending(store) < _AHEAD_MAX)
        count += bus.append(chunk, source_kind="stripe").stored
    wait(lambda: not _pending(store))
    return count


def _pending(store: Database) -> int:
    with store.connect() as connection:
        return PostgresBus(store).pending(connection, CONSUMER)


def _used_s(store: Database, worker: int) -> float:
    """What the worker and all processes of the server have used so far."""
    return used_s([worker, *of_server(store)])


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--customers", type=int, nargs="+", default=[_BASE, 10 * _BASE, 100 * _BASE]
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    given = parser.parse_args(arguments)
    begun = datetime.now(UTC)
    console = Console(width=None if sys.stdout.isatty() else 120)
    done = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-bench-"))
        status = stack.enter_context(console.status(""))
        for each in measure(Path(folder) / "data", sorted(given.customers), status.update):
            done.append(each)
            console.print(f"{each.name}: {each.value:,.1f} {each.unit}, {each.detail}")
    show(done, console)
    parameters = {"customers": given.customers, "months": _MONTHS}
    path = save(done, parameters=parameters, at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0
