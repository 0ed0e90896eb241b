"""``python -m benchmarks``: measure, print, save. The method is in benchmarks/README.md."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import derive, every, in_place, live, soak, stripe
from benchmarks.books import LAST_DAY, Size, Store, write_events
from benchmarks.measure import Measurement, median_of, once, process
from benchmarks.report import RESULTS, save, show
from benchmarks.usual import QUESTIONS
from tidemill.engine import connect
from tidemill.metrics.result import Result

__all__ = ["main", "measure"]

_TABLES = {
    "events": "event_log",
    "versions": "subscription_version",
    "movements": "metric_mrr_movement",
}

_OTHERS = {
    "derive": derive.main,
    "in-place": in_place.main,
    "live": live.main,
    "questions": every.main,
    "soak": soak.main,
    "stripe": stripe.main,
}


def measure(
    size: Size, repeat: int, folder: Path, say: Callable[[str], None]
) -> Iterator[Measurement]:
    """Everything there is to measure, in order.

    folder: an empty directory for the run's files and database.
    say:    called with what is being done.
    """
    say("making up a business")
    path = folder / "events.jsonl"
    elapsed, raw = once(lambda: write_events(size, path))
    yield Measurement("generate", raw / elapsed, "events/s", f"{raw:,} Stripe events")
    data_dir = folder / "data"
    say("starting PostgreSQL")
    started, store = once(lambda: Store.fresh(data_dir))
    yield Measurement("first start", started, "s", "server, database and schema")
    with store.database:
        yield from _write(store, path, size, say)
        yield from _ask(data_dir, repeat, say)
        yield from _processes(data_dir, repeat, say)


def _write(
    store: Store, path: Path, size: Size, say: Callable[[str], None]
) -> Iterator[Measurement]:
    say("reading and translating")
    elapsed, count = once(lambda: store.translate(path))
    yield Measurement("read and translate", count / elapsed, "events/s", "the part before the log")
    say("ingesting")
    elapsed, done = once(lambda: store.ingest(path, size))
    assert not done.quarantined, done
    yield Measurement("ingest", done.applied / elapsed, "events/s", f"{elapsed:.1f} s", 5_000)
    say("rebuilding")
    elapsed, drained = once(store.rebuild)
    counts = ", ".join(f"{count:,} {label}" for label, count in store.rows(_TABLES).items())
    yield Measurement("rebuild", drained.applied / elapsed, "events/s", counts)


def _ask(data_dir: Path, repeat: int, say: Callable[[str], None]) -> Iterator[Measurement]:
    at = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, 23, 59, tzinfo=UTC)
    with connect(data_dir=data_dir, as_of=at) as books:
        for name, (metric, question, arguments) in QUESTIONS.items():
            say(f"asking for {name}")

            def ask(
                metric: str = metric, question: str = question, arguments: object = arguments
            ) -> Result:
                assert isinstance(arguments, dict)
                return books.query(metric, question, **arguments)

            rows = len(ask().rows)
            median, worst = median_of(ask, repeat=repeat)
            detail = f"{rows:,} rows, worst {worst * 1000:.0f} ms"
            yield Measurement(f"question: {name}", median * 1000, "ms", detail)


def _processes(data_dir: Path, repeat: int, say: Callable[[str], None]) -> Iterator[Measurement]:
    say("starting processes")
    environment = {"TIDEMILL_DATA_DIR": str(data_dir)}
    python = [sys.executable, "-c"]
    bare, _ = process([*python, "pass"], environment=environment, repeat=repeat)
    full, _ = process([*python, "import tidemill"], environment=environment, repeat=repeat)
    yield Measurement("import tidemill", full - bare, "s", f"of {full:.2f} s", 0.3)
    eager = "import tidemill; tidemill.connect"
    full, _ = process([*python, eager], environment=environment, repeat=repeat)
    yield Measurement("import with the engine", full - bare, "s", f"of {full:.2f} s")
    program = str(Path(sys.executable).with_name("tidemill"))
    command = [program, "mrr", "--at", LAST_DAY.isoformat()]
    median, worst = process(command, environment=environment, repeat=repeat)
    yield Measurement("tidemill mrr", median, "s", f"worst {worst:.2f} s", 1.0)


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    if arguments and arguments[0] in _OTHERS:
        return _OTHERS[arguments[0]](arguments[1:])
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=7, help="times that each question is asked")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    given = parser.parse_args(arguments)
    size = Size(given.customers, given.months, given.seed)
    # A file or a pipe has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else 120)
    begun = datetime.now(UTC)
    folder = tempfile.TemporaryDirectory(prefix="tidemill-bench-")
    with folder as name, console.status("") as status:
        done = list(measure(size, given.repeat, Path(name), status.update))
    show(done, console)
    asked = [each.value for each in done if each.name.startswith("question")]
    console.print(f"All questions: median {statistics.median(asked):.1f} ms.")
    parameters = asdict(size) | {"repeat": given.repeat}
    path = save(done, parameters=parameters, at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
