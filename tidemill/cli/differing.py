"""`tidemill diff METRIC [QUESTION] …`: what was restated between two knowledge dates, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import typer

from tidemill.cli.beside import change_text
from tidemill.cli.generating import option
from tidemill.cli.options import CUTTING, POLICY, TABLE_OR_JSON
from tidemill.cli.output import as_json, note, say
from tidemill.cli.reading import Resolved, engine_arguments, require_source, resolve_about
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table
from tidemill.engine import Restatement
from tidemill.engine.restatement import Figure
from tidemill.metrics.columns import Column
from tidemill.metrics.result import shown, utc_text

__all__ = ["resolve_diff"]

_DIFF: Final = """What was restated between two knowledge dates: which figures, because of what.

It takes the options of the question it is about: see `tidemill METRIC QUESTION --help`."""
# More rows than this are read by programs, not by people.
_SHOWN_MAX: Final = 50
_MOVED: Final = ("day", "customer", "subscription", "type", "outcome", "amount", "cause")

_OPTIONS: Final = (
    option(
        "known_at",
        "--known-at",
        kind=list[str] | None,
        metavar="INSTANT",
        help="The two knowledge dates; one alone is compared with now.",
    ),
    *(each for each in POLICY if each.name != "known_at"),
    *CUTTING,
    TABLE_OR_JSON,
)


def resolve_diff(arguments: list[str]) -> Resolved:
    """The command for `tidemill diff METRIC [QUESTION] …`.

    Raises: UnknownMetric, UnknownQuestion.
    """
    return resolve_about("diff", arguments, _diff, _OPTIONS, help_text=_DIFF)


def _diff(context: typer.Context, values: dict[str, Any]) -> None:
    asked = engine_arguments(values) | {"known_at": values["known_at"] or ()}
    with session_of(context).open() as tidemill:
        found = tidemill.diff(**asked)
    require_source(values["source"], found.after.freshness)
    if values["format"] == "json":
        say(as_json(found.to_dict()))
        return
    say("\n\n".join(f"{heading}\n\n{text}" for heading, text in _sections(found)))
    for warning in found.warnings:
        note(f"warning: {warning}")


def _sections(found: Restatement) -> Iterator[tuple[str, str]]:
    known = [utc_text(each.known_at) for each in (found.before, found.after) if each.known_at]
    heading = f"{found.after.metric} {found.after.question}, known at {known[0]} and at {known[1]}"
    if not found.figures and not found.movements:
        yield heading, "Nothing was restated."
        return
    yield heading, _figures(found.figures) if found.figures else "No figure was restated."
    if found.events:
        yield "Late events", _events(found)
    if found.movements:
        yield "Movements", _movements(found)


def _figures(figures: tuple[Figure, ...]) -> str:
    rows = [
        (
            *(str("" if value is None else value) for value in each.key.values()),
            each.column.name,
            *(_value(each.column, value) for value in (each.before, each.after)),
            change_text(each.column, each.change),
        )
        for each in figures
    ]
    keys = tuple(figures[0].key)
    names = (*keys, "figure", "before", "after", "change")
    return as_table(names, rows, right=(*[False] * (len(keys) + 1), True, True, True))


def _value(column: Column, value: Any) -> str:
    return shown(column, {column.name: value})


def _events(found: Restatement) -> str:
    amount = next((each for each in found.movement_columns if each.name == "amount"), None)
    rows = [
        (
            utc_text(each.recorded_at),
            utc_text(each.occurred_at),
            each.type,
            each.customer or "",
            each.subject,
            "" if amount is None else _value(amount, each.amount),
            each.id,
        )
        for each in found.events[:_SHOWN_MAX]
    ]
    names = ("recorded at", "occurred at", "type", "customer", "subject", "amount", "event_id")
    table = as_table(names, rows, right=(*[False] * 5, True))
    return table + _more(len(found.events))


def _movements(found: Restatement) -> str:
    columns = [each for each in found.movement_columns if each.name in _MOVED]
    rows = [
        (each.what, *(shown(column, each.row) for column in columns), each.because or "")
        for each in found.movements[:_SHOWN_MAX]
    ]
    names = ("", *(column.name for column in columns), "because of")
    right = (False, *(column.unit == "money" for column in columns))
    return as_table(names, rows, right=right) + _more(len(found.movements))


def _more(count: int) -> str:
    return f"\n… and {count - _SHOWN_MAX:,} more, with --format json" if count > _SHOWN_MAX else ""
