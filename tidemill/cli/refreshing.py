"""`tidemill refresh`: a copy of a billing database in our own, brought up to date."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Annotated, Final

import typer

from tidemill.bookkeeping import DEMO, books_of, clear, source_kinds
from tidemill.bus import PostgresBus
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, complain, note, say
from tidemill.cli.session import Session, session_of
from tidemill.cli.signals import end_in_good_order
from tidemill.cli.tables import printable
from tidemill.copying.dropping import drop_copy
from tidemill.copying.refreshing import Billing, Refreshed, refresh
from tidemill.database import Database
from tidemill.engine.opening import asked_of, connector_of, open_source
from tidemill.errors import InvalidSettings, TidemillError
from tidemill.following import may_pass
from tidemill.problems import Problem

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

# The whole of a large table is read in one statement, unlike by a question.
_STATEMENT_S: Final = 600.0
_MODES: Final = {
    "first": "Copied everything",
    "everybody": "Compared everybody",
    "changes": "Looked for what has changed",
}
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600}


@app.command("refresh")
def _refresh(
    context: typer.Context,
    *,
    full: Annotated[
        bool,
        typer.Option("--full", help="Compare every customer: also finds what was deleted."),
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Again and again until Ctrl-C, such as every 5m."),
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Remove the copy; questions are answered in place then.")
    ] = False,
    how: Printed = "table",
) -> None:
    """Copy what has changed in the billing database, and keep facts of it in our own.

    The first time copies everything. Questions are answered from the copy from then on; nothing is
    ever written to the billing database.
    """
    session = session_of(context)
    pause_s = None if every is None else _seconds(every)
    if drop:
        _drop(session)
        return
    _require_both(session)
    with session.store() as store:
        _without_demo(store)
        if pause_s is None:
            say(_told(_once(session, store, full=full), how))
        else:
            _repeat(session, store, pause_s, lambda done: say(_told(done, how)), full=full)


def _require_both(session: Session) -> None:
    """Raise InvalidSettings unless a billing database is configured, and one beside it."""
    settings = session.settings
    if not settings.reads_in_place:
        hint = "Set it to `lago` or `killbill`, and TIDEMILL_SOURCE_URL to its database."
        raise InvalidSettings([Problem("TIDEMILL_CONNECTOR", "names no billing database", hint)])
    if not settings.source_url:
        hint = (
            "Set it to the billing system's database. TIDEMILL_DATABASE_URL is that of the copy; "
            "without it the copy stands in the embedded database."
        )
        raise InvalidSettings([Problem("TIDEMILL_SOURCE_URL", "is needed to copy from", hint)])


def _once(session: Session, store: Database, *, full: bool) -> Refreshed:
    settings = session.settings
    with open_source(settings, statement_timeout_s=_STATEMENT_S) as source, _watched() as telling:
        return refresh(
            store,
            Billing(source, connector_of(settings), asked_of(settings)),
            books_of(settings),
            full=full,
            telling=telling,
        )


def _repeat(
    session: Session,
    store: Database,
    pause_s: float,
    tell: Callable[[Refreshed], None],
    *,
    full: bool,
) -> None:
    """Refresh until a signal comes; the one under way is finished first."""
    stop = Event()
    end_in_good_order(stop)
    while not stop.is_set():
        try:
            tell(_once(session, store, full=full))
            full = False
        except Exception as error:
            if not may_pass(error):
                raise
            said = error.message if isinstance(error, TidemillError) else str(error)
            complain(printable(f"{said.partition(chr(10))[0]} Trying again in {pause_s:g} s."))
        stop.wait(pause_s)
    note("Ended in good order.")


def _drop(session: Session) -> None:
    with session.store() as store, store.begin() as connection:
        held = drop_copy(connection)
    say("There was no copy." if held is None else f"The copy of {held.title} is removed.")


def _without_demo(store: Database) -> None:
    """Let the demo business make room, as before any import."""
    with store.connect() as connection:
        stands_in = DEMO in source_kinds(connection).values()
    if stands_in:
        clear(store, PostgresBus(store))
        note("The demo business was in this database; it has been removed.")


@contextmanager
def _watched() -> Iterator[Callable[[str], None] | None]:
    """What is being done, on standard error; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda doing: status.update(f"{doing[0].upper()}{doing[1:]} …")


def _told(done: Refreshed, how: str) -> str:
    if how == "json":
        return as_json(done.document())
    return (
        f"{_MODES[done.how]} in {done.title} as of {done.copied_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"{done.read:,} customers read, {done.changed:,} differed; {done.rows:,} rows written, "
        f"the facts of {done.derived:,} customers derived."
    )


def _seconds(text: str) -> float:
    """``5m`` as seconds.

    Raises: typer.BadParameter.
    """
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    if not number.isdigit() or int(number) == 0:
        raise typer.BadParameter("write a time such as 30s, 5m or 1h", param_hint="--every")
    return float(int(number) * _UNITS[unit])
