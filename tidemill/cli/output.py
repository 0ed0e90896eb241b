"""What commands print: answers as tables, JSON or CSV on standard output, remarks on the other one.

Values are formatted by the unit of their column and by nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import typer

from tidemill.metrics.base import Column
from tidemill.metrics.result import Result, Row, json_value
from tidemill.money import round_minor, to_major

__all__ = [
    "Format",
    "as_csv",
    "as_json",
    "as_table",
    "complain",
    "note",
    "printable",
    "result_table",
    "say",
    "show",
]

Format = Literal["table", "json", "csv"]

_NUMBERS: Final = frozenset({"money", "ratio", "count"})
_UNDEFINED: Final = "undefined"
# What could move a terminal's cursor, colour it or break a row in two.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Tables are as wide as they need to be, like those of psql: folded cells cannot be read or piped.
_WIDTH: Final = 10_000
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
        from tidemill.cli.beside import beside_table  # which makes its table here

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


def as_table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[bool] = ()
) -> str:
    """Rows for people, below their column names; `right` says which columns align to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    sides = [*right, *[False] * (len(names) - len(right))]
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name, is_right in zip(names, sides, strict=True):
        made.add_column(Text(name), justify="right" if is_right else "left", no_wrap=True)
    for row in rows:
        # Text, not markup: a plan may be called "[red]".
        made.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=_WIDTH, file=io.StringIO(), force_terminal=sys.stdout.isatty())
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def printable(text: str) -> str:
    r"""The text with control characters as escapes, so that data cannot drive the terminal.

    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
