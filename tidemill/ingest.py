"""Taking in what files and connectors read: into the log, into the quarantine, into the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

from tidemill import quarantine, worker
from tidemill.bus import Bus
from tidemill.database import Database
from tidemill.events import Event
from tidemill.intake import Ignored, Rejected
from tidemill.state import Books

__all__ = ["Ingested", "ingest"]

_Item = Event | Rejected | Ignored

# A chunk is what one transaction puts into the log, and all of the input that is held in memory.
_CHUNK_EVENTS_MAX: Final = 10_000
_CHUNK_BYTES_MAX: Final = 16_000_000

# The tables are brought up to the log at the end, and on the way whenever so many times more events
# wait as are applied. Each time derives the customers anew that got new events, which in a long
# import are most of them: done after every chunk, its cost would grow with the square of the input.
_BACKLOG_MIN: Final = 50_000
_BACKLOG_RATIO: Final = 3


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the input so far; `read` is the sum of the others once all is applied.

    read:        pieces of input: events, rejected and ignored ones.
    applied:     new events that are now in the tables.
    duplicate:   events the log had already.
    quarantined: rejected by the reader, by the log or by the tables.
    ignored:     understood, and of no interest.
    """

    read: int = 0
    applied: int = 0
    duplicate: int = 0
    quarantined: int = 0
    ignored: int = 0

    def document(self) -> dict[str, int]:
        """The counts as a JSON object."""
        return asdict(self)


def ingest(
    database: Database,
    bus: Bus,
    items: Iterable[Event | Rejected | Ignored],
    books: Books,
    *,
    source_kind: str = "files",
    progress: Callable[[Ingested], None] | None = None,
) -> Ingested:
    """Take in everything, in the order given, and bring the tables up to it.

    Stopping it at any moment loses nothing and doubles nothing: each chunk is in the log, and what
    is bad of it in the quarantine, or it is not. Running the same input again completes it.

    source_kind: the connector's name, kept with a source that is seen for the first time.
    progress:    called after each step with the counts so far.
    """
    # What an earlier, interrupted run left in the log is not counted as ours.
    worker.drain(bus, books)
    run = _Run(database, bus, books, source_kind, progress)
    for chunk in _chunks(items):
        run.store(chunk)
        if run.backlog >= max(_BACKLOG_MIN, _BACKLOG_RATIO * run.applied):
            run.drain()
    run.drain()
    return run.counts()


class _Run:
    """The counts of an import while it goes on."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        books: Books,
        source_kind: str,
        progress: Callable[[Ingested], None] | None,
    ) -> None:
        self._database = database
        self._bus = bus
        self._books = books
        self._source_kind = source_kind
        self._progress = progress
        self._read = 0
        self._duplicate = 0
        self._rejected = 0
        self._ignored = 0
        self.backlog = 0
        self.applied = 0

    def counts(self) -> Ingested:
        """What became of the input so far."""
        return Ingested(self._read, self.applied, self._duplicate, self._rejected, self._ignored)

    def store(self, chunk: list[_Item]) -> None:
        """Make a chunk durable: its events in the log, what is bad of it in the quarantine."""
        events = [item for item in chunk if isinstance(item, Event)]
        rejected = [item for item in chunk if isinstance(item, Rejected)]
        with self._database.begin() as connection:
            appended = self._bus.append(
                events, source_kind=self._source_kind, connection=connection
            )
            aside = quarantine.set_aside(connection, rejected, appended.refused)
        self.backlog += appended.stored
        self._read += len(chunk)
        self._duplicate += appended.duplicate
        self._rejected += aside
        self._ignored += sum(isinstance(item, Ignored) for item in chunk)
        self._report()

    def drain(self) -> None:
        """Bring the tables up to the log."""
        applied, rejected = self.applied, self._rejected

        def advance(drained: worker.Drained) -> None:
            self.applied = applied + drained.applied
            self._rejected = rejected + drained.quarantined
            self._report()

        drained = worker.drain(self._bus, self._books, progress=advance)
        # Another worker may have taken some of it off our hands: applied is what is not refused.
        self.applied = applied + self.backlog - drained.quarantined
        self.backlog = 0

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.counts())


def _chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Cut the input into chunks that fit into memory."""
    chunk: list[_Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += len(item.data) if isinstance(item, Event) else 0
        size += len(item.body) if isinstance(item, Rejected) else 0
        if len(chunk) >= _CHUNK_EVENTS_MAX or size >= _CHUNK_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
