"""Canonical events out of lines, with whatever the event contract refuses noted at the line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

import msgspec

from tidemill.connectors.files.tables.sheet import Cells
from tidemill.errors import InvalidEvent
from tidemill.events import Event, make_event
from tidemill.payloads import Payload
from tidemill.vocabulary import Interval

__all__ = ["interval_of", "made", "plain"]

_INTERVALS = {
    **{each.value: (each, 1) for each in Interval},
    "daily": (Interval.DAY, 1),
    "weekly": (Interval.WEEK, 1),
    "monthly": (Interval.MONTH, 1),
    "quarterly": (Interval.MONTH, 3),
    "quarter": (Interval.MONTH, 3),
    "yearly": (Interval.YEAR, 1),
    "annual": (Interval.YEAR, 1),
    "annually": (Interval.YEAR, 1),
}


def made(
    line: Cells, source: str, type: str, customer: str, at: datetime, payload: Payload
) -> Iterator[Event]:
    """The event a line stands for; nothing after noting what the contract refuses.

    What it says is part of its id: the same line again is a duplicate, a corrected one another
    event, and of the two the later one counts.
    """
    said = sha256(msgspec.json.encode(payload)).hexdigest()
    try:
        yield make_event(source, type, customer, at, payload, native_id=said)
    except InvalidEvent as error:
        for each in error.problems:
            line.refuse(each.path.removeprefix("data."), each.problem, each.hint)


def interval_of(line: Cells, text: str | None, count: int | None) -> tuple[Interval, int] | None:
    """The interval and its count: ``month``, ``quarterly``, ``every 3 months`` or ``3 months``."""
    words = (text or "").lower().removeprefix("every ").split()
    times = 1
    if len(words) == 2 and words[0].isdigit():  # noqa: PLR2004 - a number and a unit
        times, words = int(words[0]), words[1:]
    found = _INTERVALS.get(words[0].rstrip("s") if words else "") or _INTERVALS.get(" ".join(words))
    if found is None:
        line.refuse("interval", f"{(text or '')[:40]!r} is not an interval", "Write month or year.")
        return None
    return found[0], found[1] * times * (count or 1)


def plain(number: Decimal) -> str:
    """Plain digits, without an exponent and without zeros at the end."""
    return format(number.normalize() if number else Decimal(0), "f")
