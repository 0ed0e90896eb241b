"""Laws of days and periods, in every time zone there is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

from hypothesis import assume, given
from hypothesis import strategies as st

from tidemill.periods import (
    GRAINS,
    Grain,
    add_months,
    day_of,
    day_start,
    instants,
    next_period_start,
    parse_day,
    parse_instant,
    period_start,
    periods,
    zone,
)

ONE_DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)

zones = st.sampled_from(sorted(available_timezones()))
days = st.dates(date(1995, 1, 3), date(2100, 12, 31))
grains: st.SearchStrategy[Grain] = st.sampled_from(GRAINS)
moments = st.datetimes(
    datetime(1995, 1, 3), datetime(2100, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001 - bounds, which take no zone
)  # fmt: skip


@given(days, zones)
def test_days_meet_without_gap_or_overlap(day: date, tz: str) -> None:
    assert instants(day, day, tz).end_exclusive == instants(day + ONE_DAY, day + ONE_DAY, tz).start


@given(days, zones)
def test_a_day_starts_with_its_first_instant(day: date, tz: str) -> None:
    start, end = day_start(day, tz), day_start(day + ONE_DAY, tz)
    assume(start < end)  # Samoa crossed the date line: 2011-12-30 does not exist there
    assert day_of(start, tz) == day
    assert day_of(end - TICK, tz) == day


@given(moments, zones)
def test_an_instant_lies_in_its_own_day(moment: datetime, tz: str) -> None:
    # Where clocks once went back across midnight, the minute before it happened on the next day.
    assume(moment.astimezone(zone(tz)).fold == 0)
    assert moment in instants(day_of(moment, tz), day_of(moment, tz), tz)


@given(days, zones)
def test_days_last_about_a_day(day: date, tz: str) -> None:
    span = instants(day, day, tz)
    assert timedelta(0) <= span.end_exclusive - span.start <= timedelta(hours=48)


@given(days, st.integers(0, 900), grains, st.integers(0, 6))
def test_periods_cover_the_range_exactly(
    start: date, length: int, grain: Grain, week_start: int
) -> None:
    end = start + timedelta(days=length)
    cut = periods(start, end, grain, week_start=week_start)
    assert (cut[0].start, cut[-1].end) == (start, end)
    assert all(b.start - a.end == ONE_DAY for a, b in pairwise(cut))
    assert sum(each.day_count for each in cut) == length + 1
    assert [each.key for each in cut] == sorted({each.key for each in cut})
    for each in cut:
        assert each.key == period_start(each.start, grain, week_start=week_start)
        assert each.key == period_start(each.end, grain, week_start=week_start)
        assert each.complete_at == day_start(each.end + ONE_DAY, "UTC")


@given(days, grains)
def test_the_next_period_starts_after_this_one(day: date, grain: Grain) -> None:
    start = period_start(day, grain)
    following = next_period_start(start, grain)
    assert start <= day < following
    assert period_start(following, grain) == following
    assert period_start(following - ONE_DAY, grain) == start


@given(days)
def test_finer_grains_nest_in_coarser_ones(day: date) -> None:
    nested: tuple[Grain, ...] = ("day", "month", "quarter", "year")
    for finer, coarser in pairwise(nested):
        assert period_start(period_start(day, finer), coarser) == period_start(day, coarser)


@given(days, st.integers(-600, 600))
def test_months_add_up_but_for_the_length_of_months(day: date, months: int) -> None:
    assume(day.day <= 28)
    there = add_months(day, months)
    assert add_months(there, -months) == day
    assert (there.year * 12 + there.month) - (day.year * 12 + day.month) == months


@given(days)
def test_days_survive_their_text(day: date) -> None:
    assert parse_day(day.isoformat()) == day


@given(moments, zones)
def test_instants_survive_their_text(moment: datetime, tz: str) -> None:
    local = moment.astimezone(zone(tz))
    assume(local.utcoffset() is not None)
    assert parse_instant(local.isoformat()) == moment
