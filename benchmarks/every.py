"""``python -m benchmarks questions``: every question there is, on books of several sizes."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.derive import exponent
from benchmarks.duck import AGGREGATIONS, Aggregation, Duck
from benchmarks.histories import BASE, History, write, write_costs, write_payments
from benchmarks.measure import Measurement, median_of
from benchmarks.report import RESULTS, save, show
from tidemill.bookkeeping import books_of, settle
from tidemill.bus import PostgresBus
from tidemill.database import Database, connect
from tidemill.engine import MetricsEngine
from tidemill.errors import TidemillError
from tidemill.metrics.catalogue import QuestionInfo
from tidemill.metrics.spec import QuerySpec
from tidemill.periods import add_months
from tidemill.rebuilding import rebuild_facts
from tidemill.settings import Settings

__all__ = ["main", "measure"]

LAST_DAY: Final = date(2025, 9, 30)
"""The day asked about: a month's last, near the end of the histories."""
_MONTHS: Final = 36
_FIRST_DAY: Final = add_months(LAST_DAY + timedelta(days=1), -_MONTHS)
_MONTH: Final = LAST_DAY.replace(day=1)

# Near the end of the histories nobody is past due or on trial any more.
_MIDDLE: Final = date(2023, 6, 30)
_BESIDE: Final = frozenset({"at_risk", "trial"})

_VERSIONS: Final = 6
_AT_MOST_MS: Final = {100_000: 150.0, 1_000_000: 1_500.0}
_SUMMARY_MS: Final = {100_000: 300.0}
# How many times as long as DuckDB: where a roll-up covers the question, and where none does.
_AT_MOST_TIMES: Final = {True: 2.0, False: 4.0}
_SUMMARY: Final = "summary"
# What some questions cannot do without.
_MORE: Final[Mapping[str, Mapping[str, Any]]] = {
    "ltv": {"margin": "0.8"},
    "cac": {"margin": "0.8"},
    "efficiency": {"margin": "0.2"},
}


@dataclass(frozen=True)
class Plan:
    """What to measure: sizes are numbers of customers, smallest first; the median of `repeat`.

    only:   ask nothing but the questions whose names begin like this.
    duckdb: also add up the same in DuckDB.
    paid:   for how many months the customers of a new book have paid.
    """

    sizes: Sequence[int]
    repeat: int
    only: str = ""
    duckdb: bool = False
    paid: int = 36


def measure(plan: Plan, folder: Path, say: Callable[[str], None]) -> Iterator[Measurement]:
    """Every question on every size, in a database each; then how each grew.

    folder: a directory for the databases; books that are in it already are taken as they are.
    say:    called with what is being done.
    """
    found: dict[str, list[float]] = {}
    for size in plan.sizes:
        data_dir, filled = folder / f"book-{size}", folder / f"book-{size}.filled"
        with connect(None, data_dir=data_dir) as database:
            if not filled.exists():
                say(f"making up {size:,} customers")
                _fill(database, size, plan.paid, Settings(data_dir=data_dir))
                filled.touch()
            # What a later Tidemill keeps beside it.
            settle(database, PostgresBus(database), books_of(Settings(data_dir=data_dir)))
            for each in _ask(database, size, plan, say):
                yield each
                found.setdefault(each.name.partition(": ")[2], []).append(each.value)
            if plan.duckdb:
                yield from _beside(database, size, plan, folder)
    if len(plan.sizes) > 1:
        for name, values in found.items():
            if len(values) == len(plan.sizes):
                yield Measurement(f"growth: {name}", exponent(plan.sizes, values), "exponent")


def _fill(database: Database, size: int, paid: int, settings: Settings) -> None:
    history = History(size, _VERSIONS)
    write(database, history)
    first = add_months(LAST_DAY + timedelta(days=1), -paid)
    write_payments(database, history, first, months=paid)
    write_costs(database, _FIRST_DAY, months=_MONTHS)
    rebuild_facts(database, PostgresBus(database), books_of(settings))
    with database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")


def _ask(
    database: Database, size: int, plan: Plan, say: Callable[[str], None]
) -> Iterator[Measurement]:
    engine = _engine(database)
    for metric, info in engine.catalogue().items():
        for question in info.questions:
            name = f"{metric} {question.name}"
            if not name.startswith(plan.only):
                continue
            say(f"asking {size:,} customers for {name}")
            arguments = _arguments(metric, question)

            def ask(
                metric: str = metric,
                question: QuestionInfo = question,
                arguments: Mapping[str, Any] = arguments,
            ) -> int:
                return len(engine.query(metric, question.name, **arguments).rows)

            try:
                rows = ask()
            except TidemillError as refused:
                yield Measurement(f"ask {size:,}: {name}", float("nan"), "ms", str(refused))
                continue
            median, worst = median_of(ask, repeat=plan.repeat)
            detail = f"{rows:,} rows, worst {worst * 1_000:.0f} ms"
            target = _AT_MOST_MS.get(size)
            yield Measurement(f"ask {size:,}: {name}", median * 1_000, "ms", detail, target)
    if not _SUMMARY.startswith(plan.only):
        return
    median, worst = median_of(lambda: engine.summary(LAST_DAY), repeat=plan.repeat)
    detail = f"worst {worst * 1_000:.0f} ms"
    target = _SUMMARY_MS.get(size)
    yield Measurement(f"ask {size:,}: {_SUMMARY}", median * 1_000, "ms", detail, target)


def _beside(database: Database, size: int, plan: Plan, folder: Path) -> Iterator[Measurement]:
    """The same aggregations on the same rows in DuckDB, and how many times as long we take."""
    engine, duck = _engine(database), Duck(database, folder)
    for each in AGGREGATIONS:
        if not each.name.startswith(plan.only):
            continue
        question = engine.catalogue()[each.metric].question(each.question)
        spec, arguments = QuerySpec(dimensions=each.by), _arguments(each.metric, question)

        def ask(
            each: Aggregation = each, spec: QuerySpec = spec, arguments: Any = arguments
        ) -> Sequence[Any]:
            return engine.query(each.metric, each.question, spec=spec, **arguments).rows

        first, last = arguments.get("start", _FIRST_DAY), arguments.get("at", LAST_DAY)
        add_up = duck.asking(each, first, last)
        answer, sums = ask(), add_up()
        # A month in which nothing moved is no row of theirs; in a book of some size there is none.
        if len(answer) == len(sums):
            ours, theirs = answer[-1][each.column], sums[-1]
            same = math.isclose(float(ours), theirs[min(1, len(theirs) - 1)], rel_tol=1e-6)
            assert same, f"{each.name}: DuckDB says {theirs}, we say {ours}"
        (took, _), (limit, _) = (median_of(call, repeat=plan.repeat) for call in (ask, add_up))
        detail = f"{took * 1_000:.1f} ms, DuckDB {limit * 1_000:.1f} ms"
        target = _AT_MOST_TIMES[each.covered]
        yield Measurement(f"beside {size:,}: {each.name}", took / limit, "times", detail, target)
    duck.close()


def _engine(database: Database) -> MetricsEngine:
    at = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, 23, 59, tzinfo=UTC)
    return MetricsEngine(database, base_currency=BASE, as_of=at)


def _arguments(metric: str, question: QuestionInfo) -> dict[str, Any]:
    """The last day, the last month, or three years of periods where a question tells of periods."""
    names = {each.name for each in question.params}
    start = _FIRST_DAY if "grain" in names else _MONTH
    at = _MIDDLE if question.name in _BESIDE else LAST_DAY
    given = {"at": at, "start": start, "end": LAST_DAY} | dict(_MORE.get(metric, {}))
    return {name: value for name, value in given.items() if name in names}


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=questions", description=__doc__)
    parser.add_argument("--customers", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--repeat", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    parser.add_argument("--folder", type=Path, help="keep the books here, and ask them again")
    parser.add_argument("--only", default="", help="only questions that begin so: “mrr series”")
    parser.add_argument("--duckdb", action="store_true", help="and the same sums in DuckDB")
    parser.add_argument("--paid", type=int, default=36, help="months of payments in a new book")
    given = parser.parse_args(arguments)
    sizes = sorted(given.customers)
    plan = Plan(sizes, given.repeat, given.only, given.duckdb, given.paid)
    console = Console(width=None if sys.stdout.isatty() else 120)
    begun = datetime.now(UTC)
    folder = tempfile.TemporaryDirectory(prefix="tidemill-bench-")
    with folder as name, console.status("") as status:
        done = list(measure(plan, given.folder or Path(name), status.update))
    show(done, console)
    for size in plan.sizes:
        asked = [each.value for each in done if each.name.startswith(f"ask {size:,}")]
        if asked:
            middle = statistics.median(asked)
            console.print(f"{size:,} customers: median of all questions {middle:.1f} ms.")
    path = save(done, parameters=asdict(plan), at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0
