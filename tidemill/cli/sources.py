"""`tidemill sources`: where the books come from."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer

from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, as_table, say
from tidemill.cli.session import session_of
from tidemill.doctor import Source, sources
from tidemill.metrics.result import utc_text

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command("sources")
def _sources(
    context: typer.Context,
    how: Printed = "table",
) -> None:
    """Every connected source, what came from it and how fresh it is."""
    with session_of(context).store() as store, store.snapshot() as connection:
        found = sources(connection)
    if how == "json":
        say(as_json({"sources": [_document(each) for each in found]}))
    elif not found:
        say("No source yet: see `tidemill import --help`, or try `tidemill demo`.")
    else:
        names = ("source", "kind", "events", "customers", "latest event", "recorded")
        right = (False, False, True, True)
        say(as_table(names, (_row(each) for each in found), right=right))


def _document(found: Source) -> dict[str, Any]:
    return {
        name: utc_text(value) if isinstance(value, datetime) else value
        for name, value in asdict(found).items()
    }


def _row(found: Source) -> tuple[str, ...]:
    times = (found.last_event_at, found.last_recorded_at)
    latest, recorded = ("" if at is None else f"{at:%Y-%m-%d %H:%M}" for at in times)
    counts = (f"{found.events:,}", f"{found.customers:,}")
    return (found.name, found.kind, *counts, latest, recorded)
