"""`tidemill customers merge`, `unmerge` and `suggest`: which customers are one company.

They stand beside the questions of the metric of that name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table, printable
from tidemill.companies import Named, merge, suggestions, unmerge

__all__ = ["app"]

app = typer.Typer(name="customers", add_completion=False, rich_markup_mode="rich")


_Merged = Annotated[
    Named,
    typer.Argument(
        metavar="SOURCE:ID", parser=Named.read, help="The customer, such as stripe:cus_1."
    ),
]
_Into = Annotated[
    Named,
    typer.Argument(
        metavar="INTO_SOURCE:ID", parser=Named.read, help="The customer whose books it joins."
    ),
]


@app.command("merge")
def _merge(
    context: typer.Context,
    merged: _Merged,
    into: _Into,
    how: Printed = "table",
) -> None:
    """Make two customers one company, in all of their history; --set identity=per_source undoes it.

    It is an event of the log like any other: unmerge takes it back, and a report as of an earlier
    date (--known-at) does not know of it.
    """
    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store)
        done = merge(desk.store, desk.bus, desk.books, merged, into, datetime.now(UTC))
    words = f"{merged} and {into} are one company" + (" now." if done else " already.")
    document = {"customer": merged.document(), "into": into.document(), "merged": done}
    say(as_json(document) if how == "json" else printable(words))


@app.command("unmerge")
def _unmerge(context: typer.Context, merged: _Merged, how: Printed = "table") -> None:
    """Take the merge of a customer back; those merged into it stay with it."""
    session = session_of(context)
    with session.store() as store:
        desk = session.desk(store)
        done = unmerge(desk.store, desk.bus, desk.books, merged, datetime.now(UTC))
    words = "is a company of its own again." if done else "was merged into no other customer."
    document = {"customer": merged.document(), "unmerged": done}
    say(as_json(document) if how == "json" else printable(f"{merged} {words}"))


@app.command("suggest")
def _suggest(context: typer.Context, how: Printed = "table") -> None:
    """Customers of different sources with the same e-mail, or the same company's e-mail domain."""
    with session_of(context).store() as store, store.snapshot() as connection:
        found = suggestions(connection)
    if how == "json":
        say(as_json({"suggestions": [each.document() for each in found]}))
    elif not found:
        say("No customers of different sources share an e-mail or a company's domain.")
    else:
        rows = [
            tuple(map(printable, (str(each.customer), str(each.into), each.because, each.value)))
            for each in found
        ]
        say(as_table(("customer", "into", "because", ""), rows))
        say("Merge those that are one company: tidemill customers merge CUSTOMER INTO")
