"""`tidemill quarantine`: what was refused and why, and trying it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tidemill import quarantine
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, as_table, printable, say
from tidemill.cli.session import session_of
from tidemill.connectors.files import read_again
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

    def read(item: Quarantined) -> Any:
        return read_again(item.kind, item.body, source=item.source, test_mode=test_mode)

    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store)
        outcome = replay(store, desk.bus, desk.books, read, ids=ids or None)
    counts = {"replayed": outcome.replayed, "refused": outcome.refused}
    words = f"{outcome.replayed:,} replayed, {outcome.refused:,} still refused."
    say(as_json(counts) if how == "json" else words)
    if outcome.refused:
        raise typer.Exit(1)


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
