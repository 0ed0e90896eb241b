"""What commands print: answers as tables, JSON or CSV on standard output, remarks on the other one.

Values are formatted by the unit of their column and by nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import typer

from tidemill.cli.beside import beside_table
from tidemill.cli.tables import as_table, printable
from tidemill.metrics.columns import Column
from tidemill.metrics.result import Result, Row, json_value
from tidemill.money import round_minor, to_major

__all__ = [
    "Format",
    "as_csv",
    "as_json",
    "complain",
    "note",
    "result_table",
    "say",
    "show",
]

Format = Literal["table", "json", "csv"]

_NUMBERS: Final = frozenset({"money", "ratio", "count"})
_UNDEFINED: Final = "undefined"
# As the shell counts a program that a closed pipe has ended: 128 and the number of the signal.
_PIPE_CLOSED: Final = 141


def say(text: str) -> None:
    """Print to standard output; when its reader has gone (`| head`), that is the end, quietly."""
    try:
        print(text, flush=True)  # noqa: T201 - the one place that prints
    except BrokenPipeError:
        # Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_PIPE_CLOSED) from None


def complain(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints


def note(text: str) -> None:
    """Print a remark to standard error, dim on a terminal."""
    if not sys.stderr.isatty():
        complain(printable(text))
        return
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(
        printable(text), style="dim", markup=False, highlight=False
    )


def show(result: Result, how: Format, *, exact: bool = False) -> None:
    """Print an answer; its warnings go to standard error, unless they are part of the JSON.

    exact: CSV shows money in minor units with all decimals, instead of rounded major units.
    """
    if how == "json":
        say(as_json(result.to_dict()))
        return
    if how == "csv":
        say(as_csv(result.columns, result.rows, exact=exact))
    else:
        say(result_table(result))
    for warning in result.warnings:
        note(f"warning: {warning}")


def result_table(result: Result) -> str:
    """An answer for people: its one value, or a table."""
    if result.compared is not None:
        return beside_table(result)
    if len(result.columns) == 1 and len(result.rows) == 1:
        [[cell]] = result.cells()
        return cell or _UNDEFINED
    names = [column.name for column in result.columns]
    right = [column.unit in _NUMBERS for column in result.columns]
    return as_table(names, result.cells(), right=right)


def as_json(document: Any) -> str:
    """A document as JSON; beyond ASCII only where standard output can carry it."""
    wide = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(document, indent=2, ensure_ascii=not wide)


def as_csv(columns: Sequence[Column], rows: Iterable[Row], *, exact: bool = False) -> str:
    """Rows as CSV with a header line and without a line end after the last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([_plain(column, row, exact=exact) for column in columns] for row in rows)
    return text.getvalue().removesuffix("\n")


def _plain(column: Column, row: Row, *, exact: bool) -> Any:
    value = row[column.name]
    if value is None or column.unit != "money" or exact:
        return json_value(value, column.unit)
    currency = column.currency or row[str(column.currency_column)]
    return f"{to_major(round_minor(value), currency):f}"
