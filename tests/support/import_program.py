"""A program that imports a file of canonical events, to be killed while it does.

``python -m tests.support.import_program URL FILE`` prints a line when it begins and one after each
step, and the counts at the end. Chunks and batches are small, so that there are many moments to be
killed in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tidemill import ingest as importing
from tidemill import worker
from tidemill.bus import PostgresBus
from tidemill.database import connect
from tidemill.errors import InvalidEvent
from tidemill.events import Event, parse_event
from tidemill.intake import Rejected
from tidemill.ledger import Fact, derive
from tidemill.models import metric_mrr_movement
from tidemill.state import Books

__all__ = ["BOOKS", "main", "small_steps"]

BOOKS: Final = Books(facts=(Fact(metric_mrr_movement, derive),))


def small_steps() -> None:
    """Make chunks and batches small."""
    importing._CHUNK_EVENTS_MAX = 50  # type: ignore[misc]  # Final elsewhere
    importing._BACKLOG_MIN = 100  # type: ignore[misc]  # Final elsewhere
    worker.Pace.__init__.__defaults__ = (40, 1.0, 20, 40)


def items(path: Path) -> Iterator[Event | Rejected]:
    """The events of a file, and its bad lines."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_event(line)
            except InvalidEvent as error:
                origin = f"{path.name}:{number}"
                yield Rejected(origin, "stripe", "events", line.decode(), error.problems)


def main(url: str, path: str) -> None:
    """Import the file and say how far it is."""
    small_steps()
    print("begins", flush=True)
    with connect(url, migrate=False) as database:
        done = importing.ingest(
            database,
            PostgresBus(database),
            items(Path(path)),
            BOOKS,
            progress=lambda counts: print(json.dumps(counts.document()), flush=True),
        )
    print("done", json.dumps(done.document()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
