"""`tidemill fx`: exchange rates into the books, and what is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table
from tidemill.connectors.files.rates import RATES_SOURCE, read_rates
from tidemill.doctor import Rates, rates
from tidemill.ingest import ingest

__all__ = ["app"]

app = typer.Typer(
    name="fx",
    help="Exchange rates to the base currency.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


@app.command("load")
def _load(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV with day, quote, rate, perhaps base; or -.")
    ],
    how: Printed = "table",
) -> None:
    """Take in daily rates: one unit of quote is worth so many units of base, from that day on."""
    session = session_of(context)
    events = read_rates(file, base=session.settings.base_currency)
    with session.store() as store:
        desk = session.desk(store, beside=True)
        done = ingest(store, desk.bus, events, desk.books, source_kind=RATES_SOURCE)
    words = f"Read {done.read:,} rates: {done.applied:,} new, {done.duplicate:,} known before."
    say(as_json(done.document()) if how == "json" else words)


@app.command("show")
def _show(context: typer.Context, how: Printed = "table") -> None:
    """Which rates there are, and from which day on the books need them."""
    session = session_of(context)
    base = session.settings.base_currency
    with session.store() as store, store.snapshot() as connection:
        found = rates(connection, base)
    if how == "json":
        document = [
            {name: value if isinstance(value, int | str) else value and str(value)
             for name, value in asdict(each).items()}
            for each in found
        ]  # fmt: skip
        say(as_json({"base": base, "rates": document}))
    elif not found:
        say(f"No rates to {base}, and none needed.")
    else:
        names = ("currency", "days", "first", "last", "needed from", "")
        say(as_table(names, (_row(each) for each in found), right=(False, True)))


def _row(found: Rates) -> tuple[str, ...]:
    days = (found.first_on, found.last_on, found.needed_from)
    first, last, needed = ("" if day is None else str(day) for day in days)
    missing = needed and (not first or first > needed)
    return (found.currency, f"{found.published:,}", first, last, needed, "missing" * bool(missing))
