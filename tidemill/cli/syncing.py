"""`tidemill sync`: a billing system's account into the books, through its API."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from tidemill.bookkeeping import DEMO, clear, source_kinds
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, note, say
from tidemill.cli.session import Desk, session_of
from tidemill.cli.stripe_accounts import client_for
from tidemill.cli.tables import as_table
from tidemill.connectors.stripe.history import UNKNOWN
from tidemill.periods import parse_day
from tidemill.sync import Asked, Into, Progress, Synced, count_only, sync_stripe

__all__ = ["app", "without_demo"]

app = typer.Typer(
    name="sync",
    help="Read a billing system's account through its API.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_MODES: Final = {
    "first": "Read the whole account.",
    "again": "Read the account again.",
    "catch-up": "Read what has happened since the last time.",
}


@app.callback()
def _sync() -> None:
    """Read a billing system's account through its API."""


@app.command("stripe")
def _stripe(
    context: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DAY", help="Read everything (again), invoices and payments from this day on."
        ),
    ] = None,
    source: Annotated[str, typer.Option(metavar="NAME", help="Name of this source.")] = "stripe",
    test_mode: Annotated[
        bool, typer.Option("--test-mode", help="Take Stripe's test mode for the books.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what there is to read.")
    ] = False,
    how: Printed = "table",
) -> None:
    """Subscriptions with their past, invoices and payments of a Stripe account.

    The first time it reads everything, and puts the past together from invoices; afterwards, unless
    a day is given, what is new. It may be interrupted and run again.
    """
    session = session_of(context)
    day = None if since is None else parse_day(since)
    asked = Asked(source, day, test_mode=test_mode)
    with client_for(session.settings, source) as client:
        if dry_run:
            counts = count_only(client, asked, datetime.now(UTC))
            say(as_json({"objects": counts}) if how == "json" else _counted(counts))
            return
        client.check_mode(source, test_mode=test_mode)
        with session.store() as store, _watched() as progress:
            desk = session.desk(store)
            without_demo(desk)
            into = Into(store, desk.bus, desk.books)
            done = sync_stripe(into, client, asked, progress=progress)
    say(as_json(done.document()) if how == "json" else _in_words(done))
    if done.taken.quarantined:
        raise typer.Exit(1)


def without_demo(desk: Desk) -> None:
    """Let the demo business make room, so that no number mixes both."""
    with desk.store.connect() as connection:
        stands_in = DEMO in source_kinds(connection).values()
    if stands_in:
        clear(desk.store, desk.bus)
        note("The demo business was in these books; it has been removed.")


@contextmanager
def _watched() -> Iterator[Callable[[Progress], None] | None]:
    """A bar with an estimate on standard error; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[objects]:,} objects"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Reading", total=1.0, objects=0)

        def report(done: Progress) -> None:
            # Reading takes most of the time: it is what Stripe's limits slow down.
            share = 0.8 * done.share if done.doing != "Telling" else 0.8 + 0.2 * done.share
            progress.update(task, completed=share, description=done.doing, objects=done.objects)

        yield report


def _counted(counts: dict[str, int]) -> str:
    rows = [(kind.replace("_", " "), f"{number:,}") for kind, number in counts.items()]
    return as_table(("objects", "count"), rows, right=(False, True))


def _in_words(done: Synced) -> str:
    """What was read, what became of it, and an account of what could not be known."""
    taken = done.taken
    lines = [
        _MODES[done.mode],
        (
            f"{sum(done.objects.values()):,} objects told {taken.read:,} events: {taken.applied:,} "
            f"applied, {taken.duplicate:,} known already, {taken.quarantined:,} quarantined, "
            f"{taken.ignored:,} ignored."
        ),
    ]
    if taken.quarantined:
        lines.append("What is in quarantine is counted nowhere: see `tidemill quarantine list`.")
    if done.subscriptions:
        lines += ["", *_account(done)]
    return "\n".join(lines)


def _account(done: Synced) -> Iterator[str]:
    """What was put together of the past, and what could not be known of it."""
    sure, guessed = (done.versions.get(each, 0) for each in ("reconstructed", "inferred"))
    yield (
        f"The past of {done.subscriptions:,} subscriptions was put together: {sure:,} states that "
        f"invoices or dates prove, {guessed:,} that had to be inferred."
    )
    day = f"{done.events_from:%Y-%m-%d}"
    yield f"From {day} on events tell what happened. Before, this could not be known:"
    for name, number in sorted(done.unknown.items()):
        yield f"- {number:,} {UNKNOWN[name]}"
    yield (
        "- cancellations that were taken back, quantities that went up and down again between two "
        "invoices, and earlier names of products and prices"
    )
