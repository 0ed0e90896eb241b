"""A CSV file as rows with named cells, and every problem of every line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from tidemill.connectors.files.lines import opened
from tidemill.errors import InvalidFile, TidemillError, UnreadableFile
from tidemill.events import Event
from tidemill.money import currency_code, exponent
from tidemill.problems import Problem, did_you_mean

__all__ = ["Cells", "Sheet", "all_or_none", "read_sheet"]

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_UTC: Final = re.compile(r"\s*\(utc\)$")


@dataclass(frozen=True, slots=True)
class Cells:
    """One line: its filled cells by column, and what is wrong with it.

    Reading methods give None for an empty cell, and note a problem where a cell cannot be read.
    """

    origin: str
    """File and line, ``subscriptions.csv:17``."""
    cells: Mapping[str, str]
    problems: list[Problem]

    def refuse(self, column: str, problem: str, hint: str = "") -> None:
        """Note a problem with a cell."""
        self.problems.append(Problem(f"{self.origin} {column}", problem, hint))

    def text(self, *columns: str) -> str | None:
        """The first filled cell of some columns."""
        return next((self.cells[each] for each in columns if each in self.cells), None)

    def needed(self, *columns: str) -> str:
        """A cell that must be filled; empty after noting the problem."""
        found = self.text(*columns)
        if found is None:
            self.refuse(columns[0], "is empty")
        return found or ""

    def instant(self, *columns: str) -> datetime | None:
        """A day or a time; without an offset it is UTC."""
        found = self.text(*columns)
        if found is None:
            return None
        try:
            at = datetime.fromisoformat(found)
        except ValueError:
            hint = "Write 2026-06-30, 2026-06-30 12:00 or 2026-06-30T12:00:00Z."
            self.refuse(columns[0], f"{found[:40]!r} is not a day or time", hint)
            return None
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)

    def number(self, *columns: str) -> Decimal | None:
        """An exact number; 1,234.50 is read, 1.234,50 is not."""
        found = self.text(*columns)
        if found is None:
            return None
        try:
            number = Decimal(re.sub(r",(?=\d{3}(\D|$))", "", found))
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            self.refuse(columns[0], f"{found[:40]!r} is not a number", "Write 1234.50.")
            return None
        return number

    def whole(self, *columns: str) -> int | None:
        """A whole number."""
        number = self.number(*columns)
        if number is not None and number != number.to_integral_value():
            self.refuse(columns[0], f"{number} is not a whole number")
            return None
        return None if number is None else int(number)

    def flag(self, *columns: str) -> bool:
        """Yes or no; an empty cell is no."""
        return (self.text(*columns) or "").lower() in {"true", "yes", "1"}

    def currency(self, *columns: str) -> str:
        """An upper-case ISO 4217 code; empty after noting the problem."""
        found = self.needed(*columns)
        try:
            return currency_code(found) if found else ""
        except TidemillError as error:
            self.refuse(columns[0], error.message.rstrip("."), error.hint)
            return ""

    def minor(self, code: str, *columns: str) -> Decimal | None:
        """An amount in major units, as minor units of a currency: 12.50 USD is 1250."""
        number = self.number(*columns)
        return None if number is None or not code else number.scaleb(exponent(code))


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file: its columns in lower case, its lines, and one list of problems for all of them."""

    name: str
    columns: tuple[str, ...]
    lines: tuple[Cells, ...]
    problems: list[Problem] = field(default_factory=list)

    def has(self, *columns: str) -> bool:
        """Whether all of these columns are there."""
        return set(columns) <= set(self.columns)

    def must_have(self, *columns: str) -> None:
        """Note every column that is missing."""
        for each in columns:
            if each not in self.columns:
                hint = did_you_mean(each, self.columns, otherwise="")
                self.problems.append(Problem(self.name, f"has no column {each}", hint))


def read_sheet(file: str) -> Sheet:
    """A CSV file (``-`` is standard input) with a header line.

    Columns are known in lower case and without ``(UTC)``, so that exports and files made by hand
    are read alike. Raises: InvalidFile when it is no CSV; UnreadableFile.
    """
    with opened(file) as (name, stream):
        try:
            text = stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableFile(name, f"it is not UTF-8 (byte {error.start})") from None
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise InvalidFile([Problem(f"{name}:{reader.line_num}", f"is not CSV: {error}")]) from None
    if not rows:
        raise InvalidFile([Problem(name, "is empty", "Begin it with a line of column names.")])
    columns = tuple(_UTC.sub("", each.strip().lower()) for each in rows[0][1])
    problems: list[Problem] = []
    lines = tuple(_line(f"{name}:{at}", columns, cells, problems) for at, cells in rows[1:])
    return Sheet(name, columns, lines, problems)


def _line(
    origin: str, columns: Sequence[str], cells: Sequence[str], problems: list[Problem]
) -> Cells:
    if len(cells) > len(columns):
        what = f"has {len(cells)} cells, and the first line has {len(columns)}"
        problems.append(Problem(origin, what, "Put a cell that holds a comma in quotes."))
    filled = {
        name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()
    }
    return Cells(origin, filled, problems)


def all_or_none(events: Iterator[Event], *sheets: Sheet) -> list[Event]:
    """All events of some files, or an error with every problem of every line.

    Raises: InvalidFile.
    """
    made = list(events)
    problems = [each for sheet in sheets for each in sheet.problems]
    if problems:
        raise InvalidFile(problems)
    return made
