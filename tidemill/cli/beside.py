"""An answer with that of an earlier range beside it, for people: one row for each figure.

As columns, four for each figure, a comparison would be wider than any terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from tidemill.cli.tables import as_table
from tidemill.metrics.columns import Column
from tidemill.metrics.result import BESIDE, PERIODS, SIDES, Result, Row, shown

__all__ = ["beside_table", "change_text", "change_texts"]

_UNDEFINED: Final = "undefined"


def beside_table(result: Result) -> str:
    """A comparison (`Result.compared`): what each row is about, then figure, now, then, change."""
    figures = list(_figures(result.columns))
    beside = {f"{each.name}{end}" for each in figures for end in ("", *BESIDE)}
    about = [each for each in result.columns if each.name not in beside]
    names = [*(each.name for each in about), "", *_ranges(result), "change", ""]
    rows = [
        [*(shown(each, row) for each in about), *_figure(column, row)]
        for row in result.rows
        for column in figures
    ]
    return as_table(names, rows, right=[*[False] * (len(about) + 1), *[True] * 4])


def change_text(column: Column, change: Decimal | int | None) -> str:
    """A change in its own unit; of a share in points, as percent of percent mislead."""
    if column.share:
        return "" if change is None else f"{100 * change:+.2f} pp"
    return shown(replace(column, name="change"), {"change": change})


def change_texts(
    column: Column, change: Decimal | int | None, rate: Decimal | None
) -> tuple[str, str]:
    """A change in its own unit, and in percent where it is not of a share."""
    in_percent = "" if rate is None or column.share else f"{100 * rate:+.1f} %"
    return change_text(column, change), in_percent


def _figures(columns: Sequence[Column]) -> Iterator[Column]:
    names = {each.name for each in columns}
    return (
        each for each in columns if f"{each.name}_compared" in names and each.name not in PERIODS
    )


def _ranges(result: Result) -> tuple[str, str]:
    """The heads of the two columns of values: the days that each is of."""
    if result.compared is None or any(each.name in PERIODS for each in result.columns):
        return "value", "compared"  # each row names both periods
    now, then = (f"{days['start']}..{days['end']}" for days in (result.params, result.compared))
    return now, then


def _figure(column: Column, row: Row) -> tuple[str, ...]:
    then = replace(column, name=f"{column.name}_compared")
    label = column.name.replace("_", " ")
    values = (shown(column, row) or _UNDEFINED, shown(then, row) or _UNDEFINED)
    if column.name.endswith(SIDES):
        return (f"  {label.rpartition(' ')[2]}", *values, "", "")
    changes = change_texts(column, row[f"{column.name}_change"], row[f"{column.name}_change_rate"])
    return (label, *values, *changes)
