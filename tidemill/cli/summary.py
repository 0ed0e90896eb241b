"""`tidemill summary`: the headline numbers, each with its change, and how MRR moved."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import typer

from tidemill.cli.beside import change_texts
from tidemill.cli.errors import exit_code_of, written
from tidemill.cli.generating import command_of, option
from tidemill.cli.options import POLICY, TABLE_OR_JSON
from tidemill.cli.output import as_json, complain, note, result_table, say
from tidemill.cli.session import session_of
from tidemill.cli.tables import as_table
from tidemill.engine import Headline, Summary
from tidemill.metrics.earlier import change_rate
from tidemill.metrics.result import shown
from tidemill.policy import read_overrides

__all__ = ["app", "summary_text"]

_UNDEFINED: Final = "undefined"
_HELP = (
    "The headline numbers of a day, with their changes in a month and in a year, and how MRR moved."
)


def _summary(context: typer.Context, values: dict[str, Any]) -> None:
    with session_of(context).open() as tidemill:
        summary = tidemill.summary(
            values["at"],
            preset=values["preset"],
            set=read_overrides(values["set"] or ()),
            known_at=values["known_at"],
        )
    if values["format"] == "json":
        say(as_json(summary.to_dict()))
    else:
        say(summary_text(summary))
        for warning in summary.warnings:
            note(f"warning: {warning}")
    errors = [each.error for each in summary.headlines if each.error]
    errors += [summary.waterfall_error] if summary.waterfall_error else []
    for text in dict.fromkeys(written(error.document()) for error in errors):
        complain(text)
    if errors:
        raise typer.Exit(exit_code_of(errors[0]))


_AT = option("at", "--at", metavar="DAY", help="The day.", show_default="today")

app = command_of("summary", _summary, _HELP, (_AT, *POLICY, TABLE_OR_JSON))
"""The command."""


def summary_text(summary: Summary) -> str:
    """A summary for people: a table of the headlines, and the waterfall below it."""
    rows = [_row(each) for each in summary.headlines]
    days = (str(summary.at), str(summary.previous_at), str(summary.year_ago_at))
    names = ("", days[0], days[1], "change", "", days[2], "change", "")
    parts = [as_table(names, rows, right=(False, *[True] * 7))]
    if summary.waterfall is not None:
        parts.append(result_table(summary.waterfall))
    return "\n\n".join(parts)


def _row(headline: Headline) -> tuple[str, ...]:
    label = headline.name.replace("_", " ")
    column = headline.column
    if column is None:
        return (label, "not known", *[""] * 6)
    column = replace(column, name="value")

    def text(value: Decimal | int | None) -> str:
        return shown(column, {"value": value})

    def change(change: Decimal | int | None, before: Decimal | int | None) -> tuple[str, str]:
        return change_texts(column, change, change_rate(change, before))

    return (
        label,
        (text(headline.value) or _UNDEFINED) + ("" if headline.complete else "*"),
        text(headline.previous),
        *change(headline.change, headline.previous),
        text(headline.year_ago),
        *change(headline.year_change, headline.year_ago),
    )
