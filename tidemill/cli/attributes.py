"""`tidemill attributes`: what the business knows of its customers, and of which kind it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from tidemill.attributes import AttributeInfo
from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, note, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table, printable
from tidemill.engine.attributes import VALUES_MAX as ATTRIBUTE_VALUES_MAX
from tidemill.errors import InvalidQuery, Issue

__all__ = ["app"]

app = typer.Typer(
    name="attributes",
    help="What is known of customers beyond what billing needs; each can group and filter.",
    add_completion=False,
    rich_markup_mode="rich",
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the attribute.")]
_KnownAt = Annotated[
    str | None, typer.Option("--known-at", metavar="INSTANT", help="As it was known then.")
]
_NONE: Final = "none"


@app.callback(invoke_without_command=True)
def _attributes(context: typer.Context) -> None:
    """What is known of customers beyond what billing needs; each can group and filter."""
    if context.invoked_subcommand is None:
        _list(context)


@app.command("list")
def _list(context: typer.Context, known_at: _KnownAt = None, how: Printed = "table") -> None:
    """Every attribute with its kind, and how many customers have a value."""
    with session_of(context).open() as tidemill:
        found = tidemill.attributes.list(known_at=known_at)
    if how == "json":
        say(as_json({"attributes": [each.document() for each in found]}))
        return
    if not found:
        say("No customer has an attribute: see `tidemill import csv attributes --help`.")
        return
    rows = [
        (
            printable(each.name),
            f"{each.kind}{' (pinned)' if each.pinned else ''}",
            f"{each.customers:,}",
            f"{each.values:,}",
            f"{each.misfits:,}",
        )
        for each in found
    ]
    names = ("attribute", "kind", "customers", "values", "misfits")
    say(as_table(names, rows, right=(False, False, True, True, True)))
    for each in found:
        _remark(each)


@app.command("show")
def _show(
    context: typer.Context, name: _Name, known_at: _KnownAt = None, how: Printed = "table"
) -> None:
    """One attribute: its kind, why it is of that kind, and its most frequent values."""
    with session_of(context).open() as tidemill:
        info = tidemill.attributes.show(name, known_at=known_at)
        values = tidemill.attributes.values(name, limit=10, known_at=known_at)
    if how == "json":
        most = [each.document() for each in values]
        say(as_json(info.document() | {"most_frequent": most}))
        return
    first = "it never had a value" if info.first_kind is None else f"first seen: {info.first_kind}"
    say(f"{printable(info.name)}: {info.kind} ({'pinned; ' if info.pinned else ''}{first})")
    say(f"{info.customers:,} customers have one of {info.values:,} values.\n")
    say(_values_table((each.value, each.customers) for each in values))
    _remark(info)


@app.command("values")
def _values(
    context: typer.Context,
    name: _Name,
    *,
    like: Annotated[str, typer.Option(metavar="TEXT", help="Only values that contain it.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many.")] = ATTRIBUTE_VALUES_MAX,
    known_at: _KnownAt = None,
    how: Printed = "table",
) -> None:
    """The different values of an attribute, the most frequent first."""
    with session_of(context).open() as tidemill:
        found = tidemill.attributes.values(name, like=like, limit=limit, known_at=known_at)
    if how == "json":
        say(as_json({"attribute": name, "values": [each.document() for each in found]}))
    else:
        say(_values_table((each.value, each.customers) for each in found))


@app.command("pin")
def _pin(
    context: typer.Context,
    name: _Name,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="string, number, bool or instant; none lets the first value decide again.",
        ),
    ],
    how: Printed = "table",
) -> None:
    """Say of which kind an attribute is, whatever its first value was."""
    with session_of(context).open() as tidemill:
        info = tidemill.attributes.pin(name, None if kind == _NONE else kind)
    if how == "json":
        say(as_json(info.document()))
        return
    say(f"{printable(info.name)} is of kind {info.kind}{', pinned' if info.pinned else ''}.")
    _remark(info)


@app.command("set")
def _set(
    context: typer.Context,
    customer: Annotated[
        str, typer.Argument(metavar="SOURCE:ID", help="The customer, such as stripe:cus_1.")
    ],
    values: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE…", help="What to set; NAME= takes it back."),
    ],
    how: Printed = "table",
) -> None:
    """Set attributes of a customer; they stand before what the billing system says."""
    pairs = [each.partition("=") for each in values]
    wrong = [name for name, equals, _ in pairs if not equals or not name]
    if wrong:
        raise InvalidQuery([Issue("values", f"{each!r} is not NAME=VALUE") for each in wrong])
    given = {name: value or None for name, _, value in pairs}
    with session_of(context).open() as tidemill:
        tidemill.attributes.set(customer, given)
    if how == "json":
        say(as_json({"customer": customer, "attributes": given}))
    else:
        say(printable(f"Set for {customer}: {', '.join(given)}."))


def _values_table(rows: Iterable[tuple[str, int]]) -> str:
    shown = [(printable(value), f"{customers:,}") for value, customers in rows]
    return as_table(("value", "customers"), shown, right=(False, True))


def _remark(info: AttributeInfo) -> None:
    if info.misfits:
        note(
            f"warning: {info.misfits:,} values of {info.name} cannot be read as {info.kind} and "
            f"are unknown; `tidemill attributes pin {info.name} string` takes all as texts."
        )
