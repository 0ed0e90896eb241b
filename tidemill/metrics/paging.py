"""Pages of lists: a list is given a page at a time, and each page says where the next one begins.

A place in a list is what its rows are sorted by first, and how many rows of exactly that place were
given already. So a page costs no more for being a late one, and rows that come in before it move
nothing. Whoever follows the places to the end has every row once.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from json import dumps, loads
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    String,
    Text,
    and_,
    cast,
    collate,
    func,
    literal,
    or_,
    select,
    true,
)

from tidemill.errors import InvalidQuery, Issue

__all__ = [
    "ALL",
    "CURSOR",
    "ROWS_MAX",
    "Page",
    "Paged",
    "Place",
    "cut",
    "more_rows",
    "paged",
    "read_page",
    "without_places",
]

ROWS_MAX: Final = 1_000
"""How many rows of a list are given when nobody says how many."""

ALL: Final = "all"
"""As the limit: every row."""

# More rows than any list has: the database counts them in eight bytes.
_GIVEN_MAX: Final = 1 << 62

CURSOR: Final = "page_place"
"""The column in which a statement says at which place each row stands."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list: what it is sorted by first, and how many rows of it were given."""

    keys: tuple[str, ...]
    given: int

    def written(self) -> str:
        """The place as people pass it on."""
        return urlsafe_b64encode(dumps([self.given, *self.keys]).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, written: str) -> Place:
        """The place that was written so.

        Raises: ValueError.
        """
        padded = written + "=" * (-len(written) % 4)
        given, *keys = loads(urlsafe_b64decode(padded.encode("ascii")))
        counts = type(given) is int and 0 < given < _GIVEN_MAX
        if not (counts and all(isinstance(each, str) for each in keys)):
            raise ValueError(written)
        return cls(tuple(keys), given)


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a list: at most so many (None: all), from a place on."""

    limit: int | None = None
    after: Place | None = None


def read_page(limit: int | str | None, after: str | None) -> tuple[Page, list[Issue]]:
    """The page that is asked for, with every problem."""
    issues, rows, place = [], ROWS_MAX, None
    written = str(ROWS_MAX if limit is None else limit).strip()
    if written.isascii() and written.isdigit() and int(written[:9]) > 0:
        rows = int(written[:9])
    elif written != ALL:
        issues.append(Issue("limit", f"{limit!r} is no number of rows", f"Such as 50, or {ALL}."))
    if after is not None:
        try:
            place = Place.read(after)
        except (ValueError, TypeError):
            issues.append(_no_place(after))
    return Page(None if written == ALL else rows, place), issues


@dataclass(frozen=True, slots=True)
class Paged:
    """The rows of a page, and one more if there is one.

    order:  what they are to be sorted by.
    places: the column with their places, where the page may end before the list.
    """

    rows: CTE
    order: tuple[ColumnElement[Any], ...]
    places: tuple[ColumnElement[Any], ...]


def paged(
    every: FromClause,
    keys: Mapping[str, bool],
    ties: Callable[[FromClause], Sequence[ColumnElement[Any]]],
    page: Page,
    name: str,
) -> Paged:
    """A page of all rows of a list.

    keys: the columns that rows are sorted by first, never null → whether the largest comes first.
    ties: what decides, of rows that have these columns, between those that are equal in `keys`.
    Raises: InvalidQuery when the page begins at a place that is none of this list.
    """
    first = [(_alike(every.c[key]), falling) for key, falling in keys.items()]
    found = select(every)
    if page != Page():  # all rows are sorted once, at the end
        found = found.order_by(*_order(every, keys, ties))
    if page.after is not None:
        found = found.where(_from(first, page.after)).offset(page.after.given)
    if page.limit is not None:
        place = func.json_build_array(*(cast(each, Text) for each, _ in first))
        found = found.add_columns(place.label(CURSOR)).limit(page.limit + 1)
    rows = found.cte(name)
    places = () if page.limit is None else (rows.c[CURSOR],)
    return Paged(rows, tuple(_order(rows, keys, ties)), places)


def _order(
    of: FromClause,
    keys: Mapping[str, bool],
    ties: Callable[[FromClause], Sequence[ColumnElement[Any]]],
) -> list[ColumnElement[Any]]:
    first = [(_alike(of.c[key]), falling) for key, falling in keys.items()]
    return [*(each.desc() if falling else each for each, falling in first), *map(_alike, ties(of))]


def _alike(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value to sort by; texts sort alike on every server."""
    return collate(cast(value, Text), "C") if isinstance(value.type, String) else value


def cut(rows: list[dict[str, Any]], page: Page) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of a page without their places, and where the next page begins, if there is one."""
    places = [tuple(row.pop(CURSOR)) for row in rows] if page.limit is not None else []
    if page.limit is None or len(rows) <= page.limit:
        return rows, None
    given = places[: page.limit]
    last, count = given[-1], given.count(given[-1])
    if page.after is not None and page.after.keys == last:
        count += page.after.given
    return rows[: page.limit], Place(last, count).written()


def more_rows(listing: str, shown: int, following: str) -> str:
    """The warning that a page is not the whole list, which `listing` names."""
    return (
        f"Only {shown:,} rows are shown: {listing} goes on with after={following}, and gives all "
        f"with limit={ALL}."
    )


def without_places(statement: Select[Any]) -> Select[Any]:
    """The statement of a page as people are shown it: with nothing but its rows."""
    if CURSOR not in statement.selected_columns:
        return statement
    shown = [each for each in statement.selected_columns if each.key != CURSOR]
    return statement.with_only_columns(*shown, maintain_column_froms=True)


def _from(order: Sequence[tuple[ColumnElement[Any], bool]], place: Place) -> ColumnElement[bool]:
    """Whether a row stands at a place or behind it."""
    if len(order) != len(place.keys):
        raise InvalidQuery([_no_place(place.written())])
    found: ColumnElement[bool] = true()
    for (column, falling), key in reversed([*zip(order, place.keys, strict=True)]):
        value = _value(column, key, place)
        beyond, behind = (
            (column < value, column <= value) if falling else (column > value, column >= value)
        )
        # What holds of the first column alone is said by itself: an index may serve it.
        found = and_(behind, or_(beyond, found))
    return found


def _value(column: ColumnElement[Any], key: str, place: Place) -> ColumnElement[Any]:
    """A key of a place as a value of its column."""
    try:
        return literal(_READ[column.type.python_type](key), column.type)
    except (ValueError, InvalidOperation) as error:
        raise InvalidQuery([_no_place(place.written())]) from error


def _text(key: str) -> str:
    # PostgreSQL takes neither; without this the driver would fail in its own words.
    if "\0" in key or any("\ud800" <= letter <= "\udfff" for letter in key):
        raise ValueError(key)
    return key


_READ: Final[Mapping[type, Callable[[str], Any]]] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    Decimal: Decimal,
    str: _text,
}


def _no_place(written: str) -> Issue:
    hint = "Pass on what the page before gave as `next`, with the same question."
    return Issue("after", f"{written!r} is no place in this list", hint)
