"""`tidemill doctor`: a check-up of the books, with the remedy of everything that is wrong."""

from __future__ import annotations

import typer

from tidemill.billing_doctor import check_billing
from tidemill.bookkeeping import books_of, bus_of
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import Session, session_of
from tidemill.cli.tables import printable
from tidemill.doctor import Finding, check
from tidemill.engine.opening import (
    SOURCE_TIMEOUT_S,
    asked_of,
    connector_of,
    has_own_store,
    open_source,
)
from tidemill.errors import DatabaseUnreachable

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_MARKS = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  "}


@app.command("doctor")
def _doctor(
    context: typer.Context,
    how: Printed = "table",
) -> None:
    """Check everything and say what to do; exit code 1 when something is wrong."""
    findings = _found(session_of(context))
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


def _found(session: Session) -> list[Finding]:
    """What is found in the billing database, where one is read in place, and in our own."""
    settings = session.settings
    findings: list[Finding] = []
    if settings.reads_in_place:
        asked, connector = asked_of(settings), connector_of(settings)
        policy = settings.configured_policy()
        try:
            with open_source(settings, statement_timeout_s=SOURCE_TIMEOUT_S) as source:
                given = (connector, asked.schema, asked.tenant, policy)
                findings += check_billing(source, *given)
        except DatabaseUnreachable as error:
            about = f"database of {connector.title}"
            findings.append(Finding(about, "wrong", error.message, error.hint))
        if not has_own_store(settings):
            return findings
    # The schema of somebody's own server is looked at, not brought up to date.
    with session.store(migrate=False if settings.database_url else None) as store:
        return findings + list(check(store, bus_of(settings, store), books_of(settings)))
