"""Time: instants, inclusive ranges of calendar days, and the periods they fall into.

The public range is inclusive days in a named IANA zone. :func:`instants` turns it into half-open
UTC instants, once; inside Tidemill nothing else exists. A day lasts from its first instant to the
first instant of the next one: 23, 24 or 25 hours later, in a few places some other time.

Nothing here reads the clock: whoever asks about "today" passes it in.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from tidemill.errors import InvalidDay, InvalidInstant, InvalidRange, UnknownTimeZone

__all__ = [
    "EARLIEST",
    "GRAINS",
    "LATEST",
    "Grain",
    "Instants",
    "Period",
    "add_months",
    "day_of",
    "day_start",
    "instants",
    "is_zone",
    "label",
    "next_period_start",
    "parse_day",
    "parse_instant",
    "period_start",
    "periods",
    "zone",
]

Grain = Literal["day", "week", "month", "quarter", "year"]
"""How long the periods of a series are."""

GRAINS: tuple[Grain, ...] = get_args(Grain)
"""Every grain, finest first."""

EARLIEST = date(1900, 1, 1)
LATEST = date(2200, 12, 31)
"""Days outside these are taken for typing errors."""

_ONE_DAY = timedelta(days=1)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # 2025-06-30, not 20250630 or 2025-W27-1
_MONTHS_OF: dict[str, int] = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True)
class Instants:
    """A half-open range of UTC instants: `start` belongs to it, `end_exclusive` does not."""

    start: datetime
    end_exclusive: datetime

    def __contains__(self, instant: datetime) -> bool:
        """Whether an aware instant falls into the range."""
        return self.start <= instant < self.end_exclusive


@dataclass(frozen=True, slots=True)
class Period:
    """One period of a series.

    ``key`` is the first day of the calendar period (1 June for any part of June); ``start`` and
    ``end`` are the days asked for, both included; ``complete_at`` is the UTC instant from which on
    nothing more can happen in them.
    """

    key: date
    start: date
    end: date
    complete_at: datetime

    @property
    def day_count(self) -> int:
        """How many calendar days of the period were asked for."""
        return (self.end - self.start).days + 1


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name.

    Raises: UnknownTimeZone, suggesting a near name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UnknownTimeZone(name, available_timezones()) from error


def is_zone(name: str) -> bool:
    """Whether an IANA time zone has this name."""
    try:
        zone(name)
    except UnknownTimeZone:
        return False
    return True


def day_start(day: date, tz: str | ZoneInfo) -> datetime:
    """The first instant of a calendar day in a zone, in UTC.

    Where clocks go back across midnight the first of the two midnights counts; where midnight is
    skipped, the instant of the jump.

    >>> day_start(date(2025, 11, 1), "America/New_York").isoformat()
    '2025-11-01T04:00:00+00:00'
    >>> day_start(date(2025, 4, 1), "Asia/Kathmandu").isoformat()
    '2025-03-31T18:15:00+00:00'
    """
    place = zone(tz) if isinstance(tz, str) else tz
    return datetime.combine(day, time.min, tzinfo=place).astimezone(UTC)


def day_of(instant: datetime, tz: str | ZoneInfo) -> date:
    """The calendar day an aware instant falls on in a zone.

    >>> day_of(datetime(2025, 3, 10, 3, 30, tzinfo=UTC), "America/New_York").isoformat()
    '2025-03-09'
    """
    place = zone(tz) if isinstance(tz, str) else tz
    assert instant.tzinfo is not None, "an instant needs its offset"
    return instant.astimezone(place).date()


def instants(start: date, end: date, tz: str | ZoneInfo) -> Instants:
    """The UTC instants of a range of days, both included.

    >>> spring = instants(date(2025, 3, 30), date(2025, 3, 30), "Europe/Prague")
    >>> (spring.end_exclusive - spring.start).total_seconds() / 3600
    23.0

    Raises: InvalidRange when the range ends before it starts.
    """
    if end < start:
        raise InvalidRange(start, end)
    return Instants(day_start(start, tz), day_start(end + _ONE_DAY, tz))


def period_start(day: date, grain: Grain, *, week_start: int = 0) -> date:
    """The first day of the calendar period that contains a day.

    Weeks start on Monday unless `week_start` says otherwise (0 Monday … 6 Sunday).

    >>> period_start(date(2025, 5, 15), "quarter"), period_start(date(2025, 6, 1), "week")
    (datetime.date(2025, 4, 1), datetime.date(2025, 5, 26))
    """
    match grain:
        case "day":
            return day
        case "week":
            return day - timedelta(days=(day.weekday() - week_start) % 7)
        case "month":
            return day.replace(day=1)
        case "quarter":
            return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
        case "year":
            return date(day.year, 1, 1)


def next_period_start(start: date, grain: Grain) -> date:
    """The first day of the period after the one that starts on `start`.

    >>> next_period_start(date(2025, 12, 1), "month")
    datetime.date(2026, 1, 1)
    """
    if grain in _MONTHS_OF:
        return add_months(start, _MONTHS_OF[grain])
    return start + (_ONE_DAY if grain == "day" else 7 * _ONE_DAY)


def periods(
    start: date, end: date, grain: Grain, *, tz: str | ZoneInfo = "UTC", week_start: int = 0
) -> list[Period]:
    """The periods a range of days falls into: none missing, none overlapping, in order.

    The first and the last are clipped to the range but keep the key of their calendar period.

    >>> [
    ...     (str(p.key), str(p.start), p.day_count)
    ...     for p in periods(date(2025, 1, 20), date(2025, 2, 28), "month")
    ... ]
    [('2025-01-01', '2025-01-20', 12), ('2025-02-01', '2025-02-01', 28)]

    Raises: InvalidRange when the range ends before it starts.
    """
    if end < start:
        raise InvalidRange(start, end)
    return list(_clipped(start, end, grain, tz=tz, week_start=week_start))


def _clipped(
    start: date, end: date, grain: Grain, *, tz: str | ZoneInfo, week_start: int
) -> Iterator[Period]:
    key = period_start(start, grain, week_start=week_start)
    while key <= end:
        following = next_period_start(key, grain)
        last = min(end, following - _ONE_DAY)
        yield Period(key, max(start, key), last, day_start(last + _ONE_DAY, tz))
        key = following


def label(start: date, grain: Grain) -> str:
    """How results name a period: its first day, whatever the grain.

    >>> label(date(2025, 6, 1), "month")
    '2025-06-01'
    """
    assert grain in GRAINS, grain
    return start.isoformat()


def add_months(day: date, months: int) -> date:
    """The same day of the month, some months on; the month's last day where there is no such day.

    >>> add_months(date(2024, 1, 31), 1), add_months(date(2024, 2, 29), -12)
    (datetime.date(2024, 2, 29), datetime.date(2023, 2, 28))
    """
    years, month0 = divmod(day.month - 1 + months, 12)
    first = date(day.year + years, month0 + 1, 1)
    return first.replace(day=min(day.day, monthrange(first.year, first.month)[1]))


def parse_day(text: str | date) -> date:
    """A calendar day from its text, YYYY-MM-DD. A date is passed through.

    Raises: InvalidDay for anything else, an instant included, and for days that are surely a typing
    error (before 1900, after 2200).
    """
    if isinstance(text, datetime):
        raise InvalidDay(text)
    if isinstance(text, date):
        return text
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not EARLIEST <= day <= LATEST:
        raise InvalidDay(text)
    return day


def parse_instant(text: str | datetime) -> datetime:
    """An instant from its ISO 8601 text, in UTC. An aware datetime is passed through, in UTC.

    >>> parse_instant("2025-06-30T12:00:00+02:00").isoformat()
    '2025-06-30T10:00:00+00:00'

    Raises: InvalidInstant when it cannot be read or has no offset.
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInstant(text) from error
    if moment.tzinfo is None or not EARLIEST <= moment.date() <= LATEST:
        raise InvalidInstant(text)
    return moment.astimezone(UTC)
