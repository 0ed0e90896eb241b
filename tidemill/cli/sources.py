"""`tidemill sources`: where the books come from, and how to connect Stripe."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from tidemill.api.webhooks import PATH
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table, printable
from tidemill.sources import Connected, connect_source, overview, webhook_help

__all__ = ["app"]

app = typer.Typer(
    name="sources",
    help="Where the books come from, and how to connect Stripe.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
)


@app.callback()
def _sources(
    context: typer.Context,
    how: Printed = "table",
) -> None:
    """Every connected source, what came from it and how fresh it is."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    with session.store() as store, store.snapshot() as connection:
        found = overview(connection, session.settings.stripe_webhook_secrets)
    if how == "json":
        say(as_json({"sources": found}))
    elif not found:
        say("No source yet: see `tidemill import --help`, or try `tidemill demo`.")
    else:
        names = ("source", "kind", "events", "customers", "latest event", "recorded", "webhook")
        right = (False, False, True, True)
        say(as_table(names, (_row(each) for each in found), right=right))


@app.command("add")
def _add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    *,
    kind: Annotated[str, typer.Option(help="The connector.")] = "stripe",
    test_mode: Annotated[
        bool, typer.Option("--test-mode", help="Take the vendor's test mode for its books.")
    ] = False,
    how: Printed = "table",
) -> None:
    """Connect a source before anything comes from it, to say that its test mode is its books."""
    with session_of(context).store() as store, store.begin() as connection:
        made = connect_source(connection, Connected(name, kind, test_mode))
    said = f"{made.name} is connected: {made.kind}, {'test' if made.test_mode else 'live'} mode."
    say(as_json(asdict(made)) if how == "json" else said)


@app.command("webhook")
def _webhook(how: Printed = "table") -> None:
    """How Stripe is to be set up: where to send what."""
    told = webhook_help(PATH)["stripe"]
    if how == "json":
        say(as_json(told))
        return
    say(
        f"""In Stripe's dashboard, under Developers, Webhooks, add an endpoint:

  URL          https://your-host{told["path"]}
               ({told["path_of_another_source"]} for another source than `stripe`)
  payload      {told["payload_style"]}
  API version  {told["api_version"]}
  events       {len(told["events"])}, below

Then set {told["secret"]} to the endpoint's signing secret, and start `tidemill serve`.

{chr(10).join(told["events"])}"""
    )


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    times = (found.get("last_event_at"), found.get("last_recorded_at"))
    latest, recorded = ("" if at is None else f"{at[:10]} {at[11:16]}" for at in times)
    counts = (f"{found['events']:,}", f"{found['customers']:,}")
    return (printable(found["name"]), found["kind"], *counts, latest, recorded, _webhook_row(found))


def _webhook_row(found: dict[str, Any]) -> str:
    webhook = found["webhook"]
    received, waiting = webhook.get("received", 0), webhook.get("states", {}).get("waiting", 0)
    if not received:
        return "ready" if webhook["secret_configured"] else ""
    return f"{received:,} received" + (f", {waiting:,} waiting" if waiting else "")
