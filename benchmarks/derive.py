"""``python -m benchmarks derive``: how long the ledger takes to derive a whole book as a query."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Connection, Select, func, literal, select

from benchmarks.histories import BASE, History, customer_key, write
from benchmarks.measure import Measurement
from benchmarks.report import RESULTS, save, show
from tidemill.database import Database, connect
from tidemill.engine.side_by_side import derive_side_by_side
from tidemill.ledger import derive
from tidemill.policy import Policy
from tidemill.presets import PRESETS
from tidemill.relations import core_relations

__all__ = ["Plan", "Taken", "derivation", "exponent", "main", "measure", "timed", "whole_book"]

_VERSIONS = 6
_AT_MOST_S = {100_000: 6.0}
_ONE_CUSTOMER_MS = 50.0
_LONG_LIFE = 17


@dataclass(frozen=True)
class Taken:
    """The median of some runs, in seconds: by the wall clock, and of the server's processor.

    cpu: of the process that leads the statement, not of its parallel helpers; None where the server
         is another machine's.
    """

    wall: float
    cpu: float | None

    def __str__(self) -> str:
        """For a report's details."""
        return f"{self.wall:.3f} s" + ("" if self.cpu is None else f", processor {self.cpu:.2f} s")


@dataclass(frozen=True)
class Plan:
    """What to measure.

    sizes:  numbers of subscriptions, smallest first, of six versions each.
    long:   versions of the customer with a long history.
    repeat: runs of which the median counts.
    """

    sizes: Sequence[int]
    presets: Sequence[str]
    long: int
    repeat: int


def derivation(policy: Policy, customer: int | None = None) -> Select[Any]:
    """The ledger of the whole book or of one customer, by one process; counted, but not sent."""
    key: Select[Any] | None = None
    if customer is not None:
        key = select(literal(customer).label("customer_id"))
    relations = core_relations(base_currency=BASE, customers=key)
    return _counted(derive(relations, policy))


def whole_book(policy: Policy) -> Select[Any]:
    """The ledger of everyone, by two processes, as the engine derives it for a question."""
    return _counted(derive_side_by_side(core_relations(base_currency=BASE), policy))


def _counted(ledger: Select[Any]) -> Select[Any]:
    rows = ledger.subquery("movement")
    # Every column is asked for, or the planner would not work it out.
    counted: list[Any] = [func.count(column) for column in rows.c]
    return select(*counted)


def timed(connection: Connection, statement: Select[Any], repeat: int) -> Taken:
    """The median of some runs of a statement, after one that is not counted."""
    pid = connection.execute(select(func.pg_backend_pid())).scalar_one()
    walls, processors = [], []
    for _ in range(repeat + 1):
        spent, started = _processor(pid), time.perf_counter()
        connection.execute(statement).one()
        walls.append(time.perf_counter() - started)
        after = _processor(pid)
        processors.append(None if after is None or spent is None else after - spent)
    walls, processors = walls[-repeat:], processors[-repeat:]
    known = [each for each in processors if each is not None]
    return Taken(statistics.median(walls), statistics.median(known) if known else None)


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The slope of time over size, both as logarithms: 1 is linear, 2 quadratic.

    The least-squares line, because a single pair of sizes says little on a busy machine.
    """
    return statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(each) for each in times]
    ).slope


def measure(plan: Plan, folder: Path, say: Callable[[str], None]) -> Iterator[Measurement]:
    """Each preset on each size, in a database each; then one customer, and one with a long history.

    folder: a directory for the databases; books that are in it already are taken as they are.
    say:    called with what is being done.
    """
    sizes = plan.sizes
    found: dict[str, list[Taken]] = {preset: [] for preset in plan.presets}
    for size in sizes:
        name = f"book-{size}"
        with connect(None, data_dir=folder / name) as database:
            say(f"making up {size:,} subscriptions")
            _once(database, folder / f"{name}.filled", History(size, _VERSIONS))
            with database.connect() as connection:
                yield from _book(connection, size, found, plan.repeat, say)
            if size == sizes[-1]:
                for number, versions in _long_lives(plan).items():
                    mark = folder / f"{name}.long-{versions}"
                    _once(database, mark, History(1, versions, first=number))
                yield from _customers(database, plan, say)
    if len(sizes) > 1:
        for preset, taken in found.items():
            walls = exponent(sizes, [each.wall for each in taken])
            detail = f"over {', '.join(f'{size:,}' for size in sizes)} subscriptions"
            yield Measurement(f"growth: {preset}", walls, "exponent", detail)


def _once(database: Database, mark: Path, history: History) -> None:
    """Write a history into a database, if the mark does not say that it is there."""
    if not mark.exists():
        write(database, history)
        mark.touch()


def _long_lives(plan: Plan) -> dict[int, int]:
    """Customers with a long history, by number, which is one of no other, and their versions.

    They pay in yen by the month and are past due now and then: all have the same chances.
    """
    return {plan.sizes[-1] + each + _LONG_LIFE: each for each in (plan.long // 4, plan.long)}


def _book(
    connection: Connection,
    size: int,
    found: dict[str, list[Taken]],
    repeat: int,
    say: Callable[[str], None],
) -> Iterator[Measurement]:
    for preset, before in found.items():
        say(f"deriving {size:,} subscriptions under {preset}")
        unit = timed(connection, _reference(), 3)
        taken = timed(connection, whole_book(Policy.of(preset)), repeat)
        before.append(taken)
        detail = f"{taken}; {taken.wall / unit.wall:.0f} x reference"
        target = _AT_MOST_S.get(size)
        yield Measurement(f"derive {size:,}: {preset}", taken.wall, "s", detail, target)


def _customers(database: Database, plan: Plan, say: Callable[[str], None]) -> Iterator[Measurement]:
    size, repeat = plan.sizes[-1], plan.repeat
    lives = _long_lives(plan)
    lengths = [*lives.values()]
    with database.connect() as connection:
        for preset in plan.presets:
            say(f"deriving single customers under {preset}")
            policy = Policy.of(preset)
            one = timed(connection, derivation(policy, customer_key(size // 2)), max(repeat, 5))
            name = f"one customer: {preset}"
            yield Measurement(name, one.wall * 1_000, "ms", str(one), _ONE_CUSTOMER_MS)
            derived = [derivation(policy, customer_key(number)) for number in lives]
            taken = [timed(connection, each, repeat) for each in derived]
            growth = exponent(lengths, [each.wall for each in taken])
            detail = f"{taken[-1]}; exponent {growth:.2f} from {lengths[0]:,} versions"
            name = f"one customer of {plan.long:,} versions: {preset}"
            yield Measurement(name, taken[-1].wall, "s", detail)


def _reference() -> Select[Any]:
    """A fixed piece of work, to see how fast the machine is at the moment."""
    number = func.generate_series(1, 500_000).column_valued("number")
    return select(func.sum(func.sqrt(number)))


def _processor(pid: int) -> float | None:
    """Seconds of processor time that a local process has used; None where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=derive", description=__doc__)
    parser.add_argument("--subscriptions", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--preset", nargs="+", choices=[*PRESETS, "all"], default=["default"])
    parser.add_argument("--long", type=int, default=20_000, help="versions of the long history")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    parser.add_argument("--folder", type=Path, help="keep the books here, and derive them again")
    given = parser.parse_args(arguments)
    presets = list(PRESETS) if "all" in given.preset else given.preset
    plan = Plan(sorted(given.subscriptions), presets, given.long, given.repeat)
    console = Console(width=None if sys.stdout.isatty() else 120)
    begun = datetime.now(UTC)
    folder = tempfile.TemporaryDirectory(prefix="tidemill-bench-")
    with folder as name, console.status("") as status:
        done = list(measure(plan, given.folder or Path(name), status.update))
    show(done, console)
    path = save(done, parameters=asdict(plan), at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0
