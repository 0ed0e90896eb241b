"""`tidemill quarantine`: what was refused and why, and trying it again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from tidemill import quarantine
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import Desk, Session, session_of
from tidemill.cli.tables import as_table, printable
from tidemill.cli.working import readers_of
from tidemill.connectors.base import Item
from tidemill.connectors.files import read_again
from tidemill.inbox.mending import mend
from tidemill.inbox.store import retry
from tidemill.inbox.work import ORIGIN, take_in
from tidemill.intake import Rejected
from tidemill.metrics.result import utc_text
from tidemill.quarantine import Quarantined
from tidemill.replay import replay

__all__ = ["app"]

app = typer.Typer(
    name="quarantine",
    help="What was refused, with every reason, until it is replayed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_Ids = Annotated[list[int], typer.Argument(metavar="NUMBER…", show_default=False)]


@app.command("list")
def _list(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what has been replayed since.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    how: Printed = "table",
) -> None:
    """Everything that waits, oldest first."""
    with session_of(context).store() as store, store.connect() as connection:
        found = quarantine.listed(connection, everything=everything, limit=limit)
    if how == "json":
        say(as_json({"quarantined": [_document(each) for each in found]}))
    elif not found:
        say("Nothing is in quarantine.")
    else:
        rows = [
            (str(each.id), each.source, each.origin, " ".join(str(one) for one in each.problems))
            for each in found
        ]
        say(as_table(("number", "source", "origin", "problems"), rows, right=(True,)))


@app.command("show")
def _show(context: typer.Context, ids: _Ids, how: Printed = "table") -> None:
    """Everything known of some of them, with the input as it came."""
    with session_of(context).store() as store, store.connect() as connection:
        found = quarantine.find(connection, ids)
    if how == "json":
        say(as_json({"quarantined": [_document(each) for each in found]}))
    else:
        say("\n\n".join("\n".join(_in_words(each)) for each in found))


@app.command("replay")
def _replay(
    context: typer.Context,
    ids: Annotated[list[int] | None, typer.Argument(metavar="NUMBER…", show_default=False)] = None,
    *,
    test_mode: Annotated[
        bool, typer.Option("--test-mode", help="Take Stripe's test mode for the books.")
    ] = False,
    how: Printed = "table",
) -> None:
    """Try some of them again, or all; exit code 1 when something is still refused."""

    def read(item: Quarantined) -> Iterator[Item]:
        if not item.origin.startswith(ORIGIN):
            yield from read_again(item.kind, item.body, source=item.source, test_mode=test_mode)
        elif item.replayed_at is None:
            # It has just been tried, with all that the inbox knows, and still waits.
            yield Rejected(item.origin, item.source, item.kind, item.body, item.problems)

    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store)
        delivered = _deliveries_again(session, desk)
        outcome = replay(store, desk.bus, desk.books, read, ids=ids or None)
    replayed = outcome.replayed + (0 if ids else delivered)
    counts = {"replayed": replayed, "refused": outcome.refused}
    words = f"{replayed:,} replayed, {outcome.refused:,} still refused."
    say(as_json(counts) if how == "json" else words)
    if outcome.refused:
        raise typer.Exit(1)


def _deliveries_again(session: Session, desk: Desk) -> int:
    """Try again whatever of webhooks waits, asking the vendor where a key allows; how many did."""
    with desk.store.begin() as connection:
        retry(connection)
    done = take_in(desk.store, desk.bus, wait=True)
    with ExitStack() as stack:
        mend(desk.store, readers_of(session.settings, stack), now=int(time.time()))
    done += take_in(desk.store, desk.bus, wait=True)
    return done.stored + done.ignored


def _document(item: Quarantined) -> dict[str, Any]:
    return {
        "id": item.id,
        "source": item.source,
        "origin": item.origin,
        "kind": item.kind,
        "body": item.body,
        "problems": [problem.document() for problem in item.problems],
        "quarantined_at": utc_text(item.quarantined_at),
        "replayed_at": item.replayed_at and utc_text(item.replayed_at),
    }


def _in_words(item: Quarantined) -> Iterator[str]:
    replayed = f", replayed {utc_text(item.replayed_at)}" if item.replayed_at else ""
    yield f"{item.id}: {printable(item.origin)} of {printable(item.source)} ({item.kind})"
    yield f"  quarantined {utc_text(item.quarantined_at)}{replayed}"
    yield from (f"  - {printable(str(problem))}" for problem in item.problems)
    yield from (f"  {printable(line)}" for line in item.body.splitlines())
