"""`tidemill doctor`: a check-up of the books, with the remedy of everything that is wrong."""

from __future__ import annotations

import typer

from tidemill.bookkeeping import books_of, bus_of
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import printable
from tidemill.doctor import Finding, check

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_MARKS = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  "}


@app.command("doctor")
def _doctor(
    context: typer.Context,
    how: Printed = "table",
) -> None:
    """Check everything and say what to do; exit code 1 when something is wrong."""
    session = session_of(context)
    # The schema of somebody's own server is looked at, not brought up to date.
    with session.store(migrate=False if session.settings.database_url else None) as store:
        bus = bus_of(session.settings, store)
        findings = list(check(store, bus, books_of(session.settings)))
    wrong = any(each.level == "wrong" for each in findings)
    if how == "json":
        say(as_json({"ok": not wrong, "findings": [each.document() for each in findings]}))
    else:
        say("\n".join(_line(each) for each in findings))
    if wrong:
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    hint = f"\n         hint: {finding.hint}" if finding.hint else ""
    return f"{_MARKS[finding.level]}  {printable(f'{finding.about}: {finding.found}')}{hint}"
