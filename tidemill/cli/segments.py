"""`tidemill segments`: saved conditions on customers, for any question."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from tidemill.cli.options import Printed
from tidemill.cli.output import as_json, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table, printable
from tidemill.connectors.files.lines import opened
from tidemill.errors import InvalidSegment, Problem
from tidemill.metrics.result import utc_text

__all__ = ["app"]

app = typer.Typer(
    name="segments",
    help="Saved conditions on customers: --segment NAME, --compare-segment NAME.",
    add_completion=False,
    rich_markup_mode="rich",
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the segment.")]


@app.callback(invoke_without_command=True)
def _segments(context: typer.Context) -> None:
    """Saved conditions on customers: --segment NAME, --compare-segment NAME."""
    if context.invoked_subcommand is None:
        _list(context)


@app.command("list")
def _list(context: typer.Context, how: Printed = "table") -> None:
    """Every segment."""
    with session_of(context).open() as tidemill:
        found = tidemill.segments.list()
    if how == "json":
        say(as_json({"segments": [each.document() for each in found]}))
    elif not found:
        say("No segment is saved yet: see `tidemill segments save --help`.")
    else:
        rows = [
            (each.name, str(each.version), utc_text(each.saved_at)[:10], each.description)
            for each in found
        ]
        shown = [tuple(map(printable, row)) for row in rows]
        say(as_table(("segment", "version", "saved", ""), shown, right=(False, True)))


@app.command("show")
def _show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Name of the segment.")],
    *,
    history: Annotated[bool, typer.Option("--history", help="All of its versions.")] = False,
) -> None:
    """The definition of a segment, as JSON."""
    with session_of(context).open() as tidemill:
        if history:
            versions = [each.document() for each in tidemill.segments.history(name)]
            say(as_json({"versions": versions}))
        else:
            say(as_json(tidemill.segments.show(name).document()))


@app.command("save")
def _save(
    context: typer.Context,
    name: _Name,
    definition: Annotated[
        str, typer.Argument(metavar="JSON", help="The conditions as JSON; @FILE or - reads them.")
    ],
    *,
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong.")] = False,
    how: Printed = "table",
) -> None:
    """Save a segment; under a name that exists it becomes the next version.

    {"field": "mrr", "operator": ">=", "value": 100}, or "and", "or" and "not" over such conditions.
    """
    tree = _read(definition)
    with session_of(context).open() as tidemill:
        if check:
            tidemill.segments.check(tree)
            say("The definition is fine; nothing was saved.")
            return
        saved = tidemill.segments.save(name, tree, description=description)
    said = f"Saved {saved.name}, version {saved.version}: --segment {saved.name}"
    say(as_json(saved.document()) if how == "json" else printable(said))


@app.command("delete")
def _delete(context: typer.Context, name: _Name, how: Printed = "table") -> None:
    """Delete a segment; its versions can still be asked for as NAME@2."""
    with session_of(context).open() as tidemill:
        tidemill.segments.delete(name)
    said = printable(f"Deleted {name}; earlier versions can be asked for as {name}@1.")
    say(as_json({"name": name, "deleted": True}) if how == "json" else said)


@app.command("fields")
def _fields(context: typer.Context, how: Printed = "table") -> None:
    """Everything that conditions may speak of, with the operators that fit."""
    with session_of(context).open() as tidemill:
        found = tidemill.segments.fields()
    if how == "json":
        say(as_json({"fields": [each.document() for each in found]}))
        return
    rows = [(printable(each.name), each.kind, printable(each.doc)) for each in found]
    say(as_table(("field", "kind", "meaning"), rows))


def _read(text: str) -> Any:
    """The JSON that is given: as it stands, from a file, or from standard input.

    Raises: InvalidSegment when it is none; UnreadableFile.
    """
    raw = text.encode(errors="replace")
    if text == "-" or text.startswith("@"):
        with opened(text.removeprefix("@")) as (_, stream):
            raw = stream.read()
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSegment([Problem("", f"is not JSON: {error}")]) from None
