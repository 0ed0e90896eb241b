"""Billing calendar in Unix seconds: when a period that began on some day ends."""

from __future__ import annotations

from datetime import date
from typing import Final

from tidemill.periods import add_months

__all__ = ["DAY", "HOUR", "months_later", "start_of_day"]

HOUR: Final = 3_600
DAY: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()


def start_of_day(day: date) -> int:
    """The UTC midnight a day begins with.

    >>> start_of_day(date(2025, 1, 31))
    1738281600
    """
    return (day.toordinal() - _EPOCH) * DAY


def months_later(anchor: int, months: int) -> int:
    """The instant some months after an anchor, at the same time of day.

    Counted from the anchor each time, as billing systems do, so that the 31st of January is
    followed by the 28th of February and then by the 31st of March.

    >>> [months_later(1738281600, n) - 1738281600 for n in (1, 2)] == [28 * DAY, 59 * DAY]
    True
    """
    day = date.fromordinal(_EPOCH + anchor // DAY)
    return start_of_day(add_months(day, months)) + anchor % DAY
