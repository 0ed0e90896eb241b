"""Attributes of customers from CSV: a column ``customer``, and one for each attribute."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Final

from tidemill.connectors.files.lines import opened
from tidemill.errors import InvalidEvent, InvalidFile, UnreadableFile
from tidemill.events import CustomerAttributes, Event, make_event
from tidemill.problems import Problem

__all__ = ["read_attributes"]

_CUSTOMER: Final = "customer"
_BEGIN: Final = "Begin the file with a line such as customer,plan_tier,seats."


def read_attributes(file: str, *, source: str, at: datetime) -> list[Event]:
    """What a file (``-`` is standard input) says of customers as events, all of them or none.

    Values are texts; which kind an attribute is of is decided by its first value, or pinned. An
    empty cell says nothing. Of several lines about one customer, each cell of the last one counts.

    source: whose customers they are.
    at:     when it became so; of two things said about a customer the later one counts.
    Raises: InvalidFile with every problem of every line; UnreadableFile.
    """
    with opened(file) as (name, stream):
        try:
            text = stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableFile(name, f"it is not UTF-8 (byte {error.start})") from None
    lines = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        rows = [(lines.line_num, cells) for cells in lines if any(map(str.strip, cells))]
    except csv.Error as error:
        raise InvalidFile([Problem(f"{name}:{lines.line_num}", f"is not CSV: {error}")]) from None
    columns = [each.strip() for each in rows[0][1]] if rows else []
    problems = list(_header_problems(name, columns))
    if problems:
        raise InvalidFile(problems)
    said: dict[str, dict[str, str]] = {}
    for number, cells in rows[1:]:
        customer, values, wrong = _line(f"{name}:{number}", columns, cells)
        problems += wrong
        said.setdefault(customer, {}).update(values)
    events = [] if problems else _events(name, said, source, at, problems)
    if problems:
        raise InvalidFile(problems)
    return events


def _header_problems(name: str, columns: Sequence[str]) -> Iterator[Problem]:
    if _CUSTOMER not in columns:
        yield Problem(name, "has no column customer", _BEGIN)
    elif len(columns) == 1:
        yield Problem(name, "has no attribute", _BEGIN)
    if "" in columns:
        yield Problem(name, "has a column without a name", _BEGIN)
    for one, other in pairwise(sorted(filter(None, columns))):
        if one == other:
            yield Problem(name, f"has the column {one} more than once")


def _line(
    origin: str, columns: Sequence[str], cells: Sequence[str]
) -> tuple[str, Mapping[str, str], list[Problem]]:
    """Whom a line is about, what it says, and what is wrong with it."""
    if len(cells) > len(columns):
        what = f"has {len(cells)} cells, and the first line has {len(columns)}"
        return "", {}, [Problem(origin, what, "Put a cell that holds a comma in quotes.")]
    # What is missing at a line's end is empty.
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    customer = values.pop(_CUSTOMER, "")
    filled = {name: value for name, value in values.items() if value}
    wrong = [] if customer else [Problem(origin, "names no customer")]
    return customer, filled, wrong


def _events(
    name: str,
    said: Mapping[str, Mapping[str, str]],
    source: str,
    at: datetime,
    problems: list[Problem],
) -> list[Event]:
    events = []
    for customer, values in said.items():
        if not values:
            continue
        # What is said is part of the identity: other words at the same instant are another event.
        words = "\0".join(f"{key}\0{value}" for key, value in sorted(values.items()))
        native_id = sha256(words.encode(errors="replace")).hexdigest()
        payload = CustomerAttributes(id=customer, attributes=dict(values))
        try:
            events.append(
                make_event(
                    source, "customer.attributes_set", customer, at, payload, native_id=native_id
                )
            )
        except InvalidEvent as error:
            for each in error.problems:
                what = f"{each.path.removeprefix('data.')} {each.problem}"
                problems.append(Problem(f"{name}, customer {customer}", what, each.hint))
    return events
