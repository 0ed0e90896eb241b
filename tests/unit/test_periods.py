"""Days in zones, the periods they fall into, and reading them from text."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import get_args

import pytest

from tidemill.errors import InvalidDay, InvalidInstant, InvalidRange, UnknownTimeZone
from tidemill.periods import (
    GRAINS,
    Grain,
    Instants,
    Period,
    add_months,
    day_of,
    day_start,
    instants,
    is_zone,
    label,
    next_period_start,
    parse_day,
    parse_instant,
    period_start,
    periods,
    zone,
)


@pytest.mark.parametrize(
    ("day", "tz", "hours"),
    [
        ("2025-03-30", "Europe/Prague", 23),
        ("2025-10-26", "Europe/Prague", 25),
        ("2025-03-09", "America/New_York", 23),
        ("2025-11-02", "America/New_York", 25),
        ("2025-06-30", "Europe/Prague", 24),
        ("2025-04-06", "Australia/Lord_Howe", 24.5),
        ("2025-10-05", "Australia/Lord_Howe", 23.5),
        ("2025-06-30", "Asia/Kathmandu", 24),
        ("2018-11-04", "America/Sao_Paulo", 23),  # midnight itself is skipped
        ("2024-11-03", "America/Havana", 25),  # midnight comes twice
        ("2011-12-30", "Pacific/Apia", 0),  # the day that never was
    ],
)
def test_a_day_lasts_from_its_first_instant_to_the_next_days(
    day: str, tz: str, hours: float
) -> None:
    one = date.fromisoformat(day)
    span = instants(one, one, tz)
    assert (span.end_exclusive - span.start) / timedelta(hours=1) == hours


@pytest.mark.parametrize(
    ("tz", "start"),
    [
        ("UTC", "2025-04-01T00:00:00+00:00"),
        ("Asia/Kathmandu", "2025-03-31T18:15:00+00:00"),
        ("Asia/Kolkata", "2025-03-31T18:30:00+00:00"),
        ("Pacific/Chatham", "2025-03-31T10:15:00+00:00"),
        ("America/New_York", "2025-04-01T04:00:00+00:00"),
        ("America/St_Johns", "2025-04-01T02:30:00+00:00"),
        ("Pacific/Kiritimati", "2025-03-31T10:00:00+00:00"),
        ("Etc/GMT+12", "2025-04-01T12:00:00+00:00"),
    ],
)
def test_first_instants(tz: str, start: str) -> None:
    assert day_start(date(2025, 4, 1), tz).isoformat() == start
    assert day_start(date(2025, 4, 1), zone(tz)).utcoffset() == timedelta(0)


def test_the_range_includes_both_days_and_nothing_else() -> None:
    june = instants(date(2025, 6, 1), date(2025, 6, 30), "UTC")
    assert june == Instants(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
    assert datetime(2025, 6, 1, tzinfo=UTC) in june
    assert datetime(2025, 6, 30, 23, 59, 59, 999999, tzinfo=UTC) in june
    assert datetime(2025, 7, 1, tzinfo=UTC) not in june


def test_a_range_must_not_end_before_it_starts() -> None:
    with pytest.raises(InvalidRange):
        instants(date(2025, 6, 2), date(2025, 6, 1), "UTC")
    with pytest.raises(InvalidRange):
        periods(date(2025, 6, 2), date(2025, 6, 1), "day")


@pytest.mark.parametrize(
    ("instant", "tz", "day"),
    [  # E33: a fixed offset of five hours would put the two in March on one day
        ("2025-11-01T03:30:00+00:00", "America/New_York", "2025-10-31"),
        ("2025-03-10T04:30:00+00:00", "America/New_York", "2025-03-10"),
        ("2025-03-10T03:30:00+00:00", "America/New_York", "2025-03-09"),
        ("2025-03-10T03:30:00+00:00", "UTC", "2025-03-10"),
        ("2025-03-31T18:14:59+00:00", "Asia/Kathmandu", "2025-03-31"),
        ("2025-03-31T18:15:00+00:00", "Asia/Kathmandu", "2025-04-01"),
    ],
)
def test_the_day_an_instant_falls_on(instant: str, tz: str, day: str) -> None:
    assert day_of(datetime.fromisoformat(instant), tz).isoformat() == day


@pytest.mark.parametrize(
    "name", ["Europe/Praha", "", "../../etc/passwd", "/etc/localtime", "UTC+1", "a" * 300, "x\0y"]
)
def test_unknown_zones_are_refused(name: str) -> None:
    assert not is_zone(name)
    with pytest.raises(UnknownTimeZone):
        zone(name)


def test_an_unknown_zone_gets_a_near_one() -> None:
    with pytest.raises(UnknownTimeZone, match="Did you mean 'Europe/Prague'"):
        zone("europe/prage")


@pytest.mark.parametrize(
    ("day", "grain", "first", "following"),
    [
        ("2025-05-15", "day", "2025-05-15", "2025-05-16"),
        ("2025-05-15", "week", "2025-05-12", "2025-05-19"),
        ("2025-06-01", "week", "2025-05-26", "2025-06-02"),
        ("2025-05-15", "month", "2025-05-01", "2025-06-01"),
        ("2025-12-31", "month", "2025-12-01", "2026-01-01"),
        ("2025-05-15", "quarter", "2025-04-01", "2025-07-01"),
        ("2025-12-31", "quarter", "2025-10-01", "2026-01-01"),
        ("2025-05-15", "year", "2025-01-01", "2026-01-01"),
    ],
)
def test_calendar_periods(day: str, grain: Grain, first: str, following: str) -> None:
    start = period_start(date.fromisoformat(day), grain)
    assert start.isoformat() == first
    assert next_period_start(start, grain).isoformat() == following


def test_weeks_may_start_on_another_day() -> None:
    sunday = 6
    assert period_start(date(2025, 6, 1), "week", week_start=sunday) == date(2025, 6, 1)
    assert period_start(date(2025, 5, 31), "week", week_start=sunday) == date(2025, 5, 25)


def test_periods_are_clipped_but_keep_their_key() -> None:
    assert periods(date(2025, 1, 20), date(2025, 3, 5), "month", tz="Asia/Kathmandu") == [
        Period(date(2025, 1, 1), date(2025, 1, 20), date(2025, 1, 31), _kathmandu(2025, 2, 1)),
        Period(date(2025, 2, 1), date(2025, 2, 1), date(2025, 2, 28), _kathmandu(2025, 3, 1)),
        Period(date(2025, 3, 1), date(2025, 3, 1), date(2025, 3, 5), _kathmandu(2025, 3, 6)),
    ]


def _kathmandu(year: int, month: int, day: int) -> datetime:
    midnight = datetime(year, month, day, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    return midnight.astimezone(UTC)


def test_a_single_day_is_one_period_of_every_grain() -> None:
    day = date(2025, 6, 30)
    for grain in GRAINS:
        (only,) = periods(day, day, grain)
        assert (only.start, only.end, only.day_count) == (day, day, 1)


def test_labels_are_first_days() -> None:
    assert {label(date(2025, 6, 1), grain) for grain in GRAINS} == {"2025-06-01"}
    assert get_args(Grain) == GRAINS


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2024-01-31", 1, "2024-02-29"),
        ("2025-01-31", 1, "2025-02-28"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2025-03-31", -1, "2025-02-28"),
        ("2025-12-15", 1, "2026-01-15"),
        ("2025-01-15", -1, "2024-12-15"),
        ("2025-05-31", 0, "2025-05-31"),
        ("2025-05-31", -25, "2023-04-30"),
    ],
)
def test_months_on_the_same_day_or_the_last(day: str, months: int, expected: str) -> None:
    assert add_months(date.fromisoformat(day), months).isoformat() == expected


def test_days_are_read_strictly() -> None:
    assert parse_day("2025-06-30") == date(2025, 6, 30)
    assert parse_day(date(2025, 6, 30)) == date(2025, 6, 30)


@pytest.mark.parametrize(
    "text",
    ["", "today", "2025-6-30", "20250630", "2025-W27-1", "2025-02-30", "2025-06-30T00:00:00Z",
     " 2025-06-30", "2025-06-30\n", "0001-01-01", "9999-12-31", "٢٠٢٥-٠٦-٣٠"],
)  # fmt: skip
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InvalidDay):
        parse_day(text)


def test_an_instant_is_no_day() -> None:
    with pytest.raises(InvalidDay):
        parse_day(datetime(2025, 6, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    ["2025-06-30T10:00:00Z", "2025-06-30T12:00:00+02:00", "2025-06-30 10:00:00+00:00",
     "2025-06-30T10:00Z"],
)  # fmt: skip
def test_instants_are_read_into_utc(text: str) -> None:
    moment = parse_instant(text)
    assert moment == datetime(2025, 6, 30, 10, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "now", "2025-06-30", "2025-06-30T10:00:00", "2025-06-30T25:00:00Z", "1751277600",
     "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInstant):
        parse_instant(text)


def test_a_naive_datetime_is_no_instant() -> None:
    with pytest.raises(InvalidInstant):
        parse_instant(datetime(2025, 6, 30))  # noqa: DTZ001 - the case
