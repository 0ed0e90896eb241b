"""`tidemill reconcile`: whether the books agree with the billing system."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.stripe_accounts import client_for
from tidemill.cli.tables import as_table
from tidemill.sync import Asked, Into, Reconciled, compare_export, reconcile_stripe

__all__ = ["app"]

app = typer.Typer(
    name="reconcile",
    help="Compare the books with the billing system.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_SHOWN_MAX: Final = 50


@app.callback()
def _reconcile() -> None:
    """Compare the books with the billing system."""


@app.command("stripe")
def _stripe(
    context: typer.Context,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Correct the books by events, dated as well as may be.")
    ] = False,
    source: Annotated[str, typer.Option(metavar="NAME", help="Name of this source.")] = "stripe",
    test_mode: Annotated[
        bool, typer.Option("--test-mode", help="Take Stripe's test mode for the books.")
    ] = False,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Compare with an export of subscriptions from the dashboard instead. Repeatable.",
        ),
    ] = None,
    how: Printed = "table",
) -> None:
    """Every subscription as Stripe shows it now against the books; exit code 1 when they differ."""
    session = session_of(context)
    if export:
        if fix:
            message = "An export shows too little to correct the books by; leave out --fix."
            raise typer.BadParameter(message)
        with session.store() as store:
            desk = session.desk(store)
            into = Into(store, desk.bus, desk.books)
            done = compare_export(into, export, source, datetime.now(UTC))
    else:
        with client_for(session.settings, source) as client, session.store() as store:
            desk = session.desk(store)
            asked = Asked(source, test_mode=test_mode)
            done = reconcile_stripe(Into(store, desk.bus, desk.books), client, asked, fix=fix)
    say(as_json(done.document()) if how == "json" else _in_words(done))
    if done.left:
        raise typer.Exit(1)


def _in_words(done: Reconciled) -> str:
    if not done.differences:
        return (
            f"The books agree with Stripe on all {done.subscriptions:,} subscriptions, and on what "
            "is planned for them."
        )
    differing = len({each.subscription for each in done.differences})
    verb = "differs" if differing == 1 else "differ"
    rows = [
        (each.subscription, each.customer, each.field, each.ours, each.theirs)
        for each in done.differences[:_SHOWN_MAX]
    ]
    names = ("subscription", "customer", "about", "the books", "Stripe")
    lines = [
        f"{differing:,} of {done.subscriptions:,} subscriptions {verb}.",
        "",
        as_table(names, rows),
    ]
    hidden = len(done.differences) - _SHOWN_MAX
    if hidden > 0:
        lines.append(f"… and {hidden:,} more; --format json lists them.")
    if done.taken is not None:
        left = f" {len(done.left):,} are left; see why in the last column." if done.left else ""
        applied = done.taken.applied
        noun = "correction was" if applied == 1 else "corrections were"
        lines += ["", f"{applied:,} {noun} applied.{left}"]
    else:
        lines += ["", "`tidemill reconcile stripe --fix` corrects the books."]
    return "\n".join(lines)
