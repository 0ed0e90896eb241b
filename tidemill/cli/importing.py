"""`tidemill import`: files of events into the books."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from tidemill.bookkeeping import DEMO, clear, source_kinds
from tidemill.cli import importing_csv
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, complain, note, say
from tidemill.cli.progress import counting
from tidemill.cli.session import Desk, session_of
from tidemill.cli.tables import printable
from tidemill.connectors.base import Item
from tidemill.connectors.files import read_events, read_stripe_events
from tidemill.errors import UnreadableFile
from tidemill.events import Event, event_line
from tidemill.ingest import Ingested, ingest
from tidemill.intake import Rejected

__all__ = ["app"]

app = typer.Typer(
    name="import",
    help="Take in billing data from files; - is standard input.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

# So many refused lines are shown one by one; the quarantine lists all of them.
_SHOWN_MAX: Final = 20

_Files = Annotated[
    list[str], typer.Argument(metavar="FILE…", help="JSON Lines, also gzipped; - reads stdin.")
]


@app.command("events")
def _events(
    context: typer.Context,
    files: _Files,
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Source of events that do not name theirs.")
    ] = "files",
    how: Printed = "table",
) -> None:
    """Canonical events, one JSON object a line."""
    _import(context, files, how, "files", lambda file: read_events(file, source=source))


@app.command("stripe-events")
def _stripe_events(
    context: typer.Context,
    files: _Files,
    *,
    source: Annotated[str, typer.Option(metavar="NAME", help="Name of this source.")] = "stripe",
    test_mode: Annotated[
        bool, typer.Option("--test-mode", help="Take Stripe's test mode for the books.")
    ] = False,
    how: Printed = "table",
) -> None:
    """Raw Stripe event objects, one a line, as webhooks deliver them or the API lists them."""
    _import(
        context,
        files,
        how,
        "stripe",
        lambda file: read_stripe_events(file, source=source, test_mode=test_mode),
    )


@app.command("csv")
def _csv(
    context: typer.Context,
    what: importing_csv.What,
    source: importing_csv.Source,
    *,
    at: importing_csv.At = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be understood.")
    ] = False,
    how: Printed = "table",
) -> None:
    """Tables with a header line; when anything is wrong in a file, nothing is taken in."""
    _all_there(what[1:])
    events = importing_csv.reading(what, source, at)
    if not dry_run:
        kind = what[0] if what[0] in {"stripe", "chartmogul"} else "files"
        _take_in(context, events, how, kind)
    elif how == "json":
        say(as_json({"events": [json.loads(event_line(each)) for each in events]}))
    else:
        say(importing_csv.understood(events))


def _import(
    context: typer.Context,
    files: list[str],
    how: str,
    kind: str,
    read: Callable[[str], Iterator[Item]],
) -> None:
    _all_there(files)
    _take_in(context, (item for file in files for item in read(file)), how, kind)


def _all_there(files: Iterable[str]) -> None:
    """Before anything is taken in: a misspelt name must not leave half an import behind."""
    for file in files:
        if file != "-" and not Path(file).exists():
            raise UnreadableFile(file, "there is no such file")


def _take_in(context: typer.Context, found: Iterable[Item], how: str, kind: str) -> None:
    session = session_of(context)
    with session.store() as store, counting("Importing") as progress:
        desk = session.desk(store)
        items = _reported(found)
        done = ingest(
            store,
            desk.bus,
            _without_demo(items, desk),
            desk.books,
            source_kind=kind,
            progress=progress,
        )
    say(as_json(done.document()) if how == "json" else _in_words(done))
    if done.quarantined:
        raise typer.Exit(1)


def _reported(items: Iterable[Item]) -> Iterator[Item]:
    """The items, while what is refused is named on standard error."""
    refused = 0
    for item in items:
        if isinstance(item, Rejected):
            refused += 1
            if refused <= _SHOWN_MAX:
                problems = " ".join(str(problem) for problem in item.problems)
                complain(printable(f"{item.origin}: {problems}"))
        yield item
    if refused > _SHOWN_MAX:
        hidden = refused - _SHOWN_MAX
        complain(f"… and {hidden:,} more; `tidemill quarantine list` shows all of them.")


def _without_demo(items: Iterable[Item], desk: Desk) -> Iterator[Item]:
    """The items; the demo business makes room for the first event, so that no number mixes both."""
    with desk.store.connect() as connection:
        stands_in = DEMO in source_kinds(connection).values()
    for item in items:
        if stands_in and isinstance(item, Event):
            clear(desk.store, desk.bus)
            note("The demo business was in these books; it has been removed.")
            stands_in = False
        yield item


def _in_words(done: Ingested) -> str:
    said = (
        f"Read {done.read:,}: {done.applied:,} applied, {done.duplicate:,} duplicate, "
        f"{done.quarantined:,} quarantined, {done.ignored:,} ignored."
    )
    return said + ("\nSee `tidemill quarantine list`." if done.quarantined else "")
