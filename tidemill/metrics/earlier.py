"""Which range of days another one is compared with: the one before it, or a year ago.

Periods are aligned by their place, so the range compared with has as many, of the same grain. A
range that stops in the middle of a month is compared with one that stops on the same day of its
month: a month to date with the same days of the month before.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Context, Decimal
from typing import Final

from tidemill.errors import InvalidDay, InvalidQuery, Issue
from tidemill.periods import EARLIEST, Grain, add_months, parse_day, periods
from tidemill.problems import did_you_mean

__all__ = ["change_rate", "earlier_range"]

_DAY: Final = timedelta(days=1)
_MONTHS: Final[dict[Grain, int]] = {"month": 1, "quarter": 3, "year": 12}
_YEAR_OF_WEEKS: Final = timedelta(weeks=52)
_RANGE: Final = re.compile(r"(\S+?)\.\.(\S+)")
# More digits than anyone reads, few enough to divide with.
_RATE: Final = Context(prec=40)
_WAYS: Final = ("previous", "year_ago")
_WRITE: Final = "Write previous, year_ago or DAY..DAY."


def earlier_range(to: str, start: date, end: date, grain: Grain | None) -> tuple[date, date]:
    """The range that `start` to `end` (both included) is compared with.

    to: ``previous``, ``year_ago``, or ``DAY..DAY``.

    >>> earlier_range("previous", date(2025, 11, 1), date(2025, 11, 26), None)
    (datetime.date(2025, 10, 1), datetime.date(2025, 10, 26))
    >>> earlier_range("previous", date(2025, 1, 1), date(2025, 2, 28), "month")
    (datetime.date(2024, 11, 1), datetime.date(2024, 12, 31))
    >>> earlier_range("previous", date(2025, 11, 10), date(2025, 11, 16), None)
    (datetime.date(2025, 11, 3), datetime.date(2025, 11, 9))

    Raises: InvalidQuery.
    """
    way = to.strip().replace("-", "_") if ".." not in to else to
    found = _RANGE.fullmatch(to.strip())
    if found is not None:
        return _written(found[1], found[2])
    if way not in _WAYS:
        hint = f"{did_you_mean(way, _WAYS)} {_WRITE}".strip()
        raise InvalidQuery([Issue("compare_to", f"{to!r} is no range of days", hint)])
    if way == "year_ago" and grain == "week":
        # Whole weeks, so that weeks stay weeks.
        moved = start - _YEAR_OF_WEEKS, end - _YEAR_OF_WEEKS
    elif way == "year_ago":
        moved = _months_back(start, end, 12)
    else:
        moved = _before(start, end, grain)
    if moved[0] <= EARLIEST:
        raise InvalidQuery([Issue("compare_to", f"{moved[0]} is out of reach")])
    return moved


def _written(first: str, last: str) -> tuple[date, date]:
    try:
        start, end = parse_day(first), parse_day(last)
    except InvalidDay as error:
        raise InvalidQuery([Issue("compare_to", error.message, _WRITE)]) from error
    if end < start:
        hint = "Both ends are included; for a single day give it twice."
        problem = f"the range ends on {end}, before it starts on {start}"
        raise InvalidQuery([Issue("compare_to", problem, hint)])
    return start, end


def _before(start: date, end: date, grain: Grain | None) -> tuple[date, date]:
    if grain is None and start.day == 1:
        grain = "month"
    if grain in _MONTHS:
        count = len(periods(start, end, grain))
        return _months_back(start, end, count * _MONTHS[grain])
    length = end - start + _DAY
    if grain == "week":
        length = timedelta(weeks=len(periods(start, end, grain)))
    return start - length, end - length


def _months_back(start: date, end: date, months: int) -> tuple[date, date]:
    """Both ends so many months earlier; a month's last day stays one."""
    last = add_months(end, -months)
    if (end + _DAY).day == 1:
        last = add_months(end + _DAY, -months) - _DAY
    return add_months(start, -months), last


def change_rate(change: Decimal | int | None, before: Decimal | int | None) -> Decimal | None:
    """A change over what was, whatever its sign; None where there was nothing, or it is not known.

    >>> change_rate(50, -200), change_rate(5, 0)
    (Decimal('0.25'), None)
    """
    if change is None or not before:
        return None
    return _RATE.divide(Decimal(change), abs(Decimal(before)))
