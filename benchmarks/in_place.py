"""``python -m benchmarks in-place``: a billing system's own database, asked from the command line.

The database is made on the embedded server and asked as a user would: a new process with two
settings. The method is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from rich.console import Console
from sqlalchemy import MetaData, Table, func, update

from benchmarks.billing import Book
from benchmarks.billing_killbill import write_killbill
from benchmarks.billing_lago import write_lago
from benchmarks.measure import Measurement, once, process
from benchmarks.report import RESULTS, save, show
from tidemill.database import connect
from tidemill.embedded import EmbeddedServer

__all__ = ["main", "measure"]

_LAST_DAY: Final = date(2025, 12, 31)
_WRITERS: Final = {"killbill": write_killbill, "lago": write_lago}
# What is asked → its command, and how many seconds it may take of 100,000 subscriptions.
_QUESTIONS: Final = {
    "mrr": (["mrr", "--at", f"{_LAST_DAY}"], 2.0),
    "waterfall of 36 months": (
        ["mrr", "waterfall", "--start", "2023-01-01", "--end", f"{_LAST_DAY}"],
        4.0,
    ),
}
_TARGET_SIZE: Final = 100_000
# One subscription in so many changes between two refreshes.
_CHANGED: Final = 100
# What says when a subscription was changed, and a name of it that can be changed.
_MARKS: Final = {
    "killbill": ("updated_date", "external_key"),
    "lago": ("updated_at", "external_id"),
}


def measure(
    connector: str,
    book: Book,
    repeat: int,
    folder: Path,
    say: Callable[[str], None],
    *,
    copies: str = "also",
) -> Iterator[Measurement]:
    """Make the connector's database when the folder has none of this size, and ask it.

    say:    called with what is being done.
    copies: whether a copy is made and asked, too: also, none, or only that.
    """
    with EmbeddedServer(folder) as server:
        say(f"making up {book.subscriptions:,} subscriptions of {connector}")
        url = _filled(server, connector, book)
        environment = {
            "TIDEMILL_CONNECTOR": connector,
            "TIDEMILL_DATABASE_URL": url,
            "TIDEMILL_BASE_CURRENCY": "EUR",
        }
        program = str(Path(sys.executable).with_name("tidemill"))

        def asked(of: str, settings: Mapping[str, str]) -> Iterator[Measurement]:
            for name, (command, target) in _QUESTIONS.items():
                say(f"asking {of} for {name}")
                median, worst = process([program, *command], environment=settings, repeat=repeat)
                is_sized = book.subscriptions == _TARGET_SIZE
                yield Measurement(
                    f"{of}: {name}", median, "s", f"worst {worst:.2f} s",
                    target if is_sized else None,
                )  # fmt: skip

        if copies != "only":
            yield from asked(connector, environment)
        if copies == "none":
            return
        environment |= {
            "TIDEMILL_SOURCE_URL": url,
            "TIDEMILL_DATABASE_URL": _empty_store(server, connector),
        }
        yield from _refreshed(program, connector, url, environment, say)
        yield from asked(f"{connector} copied", environment)


def _refreshed(
    program: str,
    connector: str,
    url: str,
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[Measurement]:
    """The first copy, one of what has changed, one of nothing, and a comparison of everybody."""

    def refresh(name: str, *more: str) -> Measurement:
        say(f"{connector}: {name}")
        command = [program, "refresh", "--format", "json", *more]
        taken, done = once(
            lambda: subprocess.run(
                command, env={**os.environ, **environment}, check=True, capture_output=True
            )
        )
        told = json.loads(done.stdout)
        said = f"{told['read']:,} customers read, {told['changed']:,} differed"
        return Measurement(f"{connector}: {name}", taken, "s", said)

    yield refresh("first copy")
    _change(url, connector)
    yield refresh("refresh of 1% changed")
    yield refresh("refresh of nothing changed")
    yield refresh("comparison of everybody", "--full")


def _change(url: str, connector: str) -> None:
    """Change one subscription in a hundred: it gets another name, and a mark of today."""
    mark, name = _MARKS[connector]
    with connect(url, migrate=False) as database, database.begin() as connection:
        row = Table("subscriptions", MetaData(), autoload_with=connection)
        chosen = func.hashtext(row.c[name]) % _CHANGED == 0
        again = {name: func.concat(row.c[name], "x"), mark: func.timezone("UTC", func.now())}
        connection.execute(update(row).where(chosen).values(again))


def _empty_store(server: EmbeddedServer, connector: str) -> str:
    """The address of a new database with our schema."""
    name = f"copy_of_{connector}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        for statement in ("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}"):
            admin.execute(sql.SQL(statement).format(sql.Identifier(name)))
    connect(server.url(name), migrate=True).close()
    return server.url(name)


def _filled(server: EmbeddedServer, connector: str, book: Book) -> str:
    """The address of the connector's database of this size."""
    name = f"{connector}_{book.subscriptions}_{book.months}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        found = admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is not None:
            return server.url(name)
        making = f"{name}_making"
        for statement in ("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}"):
            admin.execute(sql.SQL(statement).format(sql.Identifier(making)))
        with connect(server.url(making), migrate=False) as database:
            _WRITERS[connector](database, book)
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        admin.execute(rename.format(sql.Identifier(making), sql.Identifier(name)))
    return server.url(name)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as name:
        yield Path(name) / "data"


def main(arguments: list[str]) -> int:
    """Measure, print a table, save the JSON; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=in-place", description=__doc__)
    parser.add_argument("--connector", nargs="+", choices=[*_WRITERS], default=[*_WRITERS])
    parser.add_argument("--subscriptions", type=int, default=10_000)
    parser.add_argument("--months", type=int, default=12, help="months that each was billed for")
    parser.add_argument("--repeat", type=int, default=5, help="times that each question is asked")
    parser.add_argument("--folder", type=Path, help="keeps the databases for later runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    choices = ["also", "none", "only"]
    parser.add_argument("--copies", choices=choices, default="also", help="ask a copy of each")
    given = parser.parse_args(arguments)
    book = Book(given.subscriptions, given.months)
    console = Console(width=None if sys.stdout.isatty() else 120)
    begun = datetime.now(UTC)
    with _place(given.folder) as place, console.status("") as status:
        done = [
            each
            for connector in given.connector
            for each in measure(
                connector, book, given.repeat, place, status.update, copies=given.copies
            )
        ]
    show(done, console)
    path = save(done, parameters=asdict(book), at=begun, folder=given.results)
    console.print(f"Saved as {path.name} in {given.results.name}.")
    return 0
