"""Days, months and time zones: which period an instant belongs to, and that none is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from sqlalchemy import event, func, select

from tests.support.telling import LATER, Told, rate, subscribed
from tidemill.database import Database
from tidemill.policy import Policy

STEPS = ("opening", "new", "expansion", "reactivation", "contraction", "churn", "fx", "closing")


def steps(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in STEPS)


def test_t23_opening_is_the_level_before_the_range(told: Told) -> None:
    """A waterfall from the middle of history, with quiet months in it and at its end."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("bob", "2025-03-10", 5_000),
        subscribed("bob", "2025-05-10", 5_000, "canceled"),
    )
    rows = told.waterfall("2025-02-01", "2025-07-31").rows
    assert [(row["period"].month, *steps(row)) for row in rows] == [
        (2, 10_000, 0, 0, 0, 0, 0, 0, 10_000),
        (3, 10_000, 5_000, 0, 0, 0, 0, 0, 15_000),
        (4, 15_000, 0, 0, 0, 0, 0, 0, 15_000),
        (5, 15_000, 0, 0, 0, 0, -5_000, 0, 10_000),
        (6, 10_000, 0, 0, 0, 0, 0, 0, 10_000),
        (7, 10_000, 0, 0, 0, 0, 0, 0, 10_000),
    ]
    (middle,) = told.waterfall("2025-03-11", "2025-03-20").rows
    assert steps(middle) == (15_000, 0, 0, 0, 0, 0, 0, 15_000)
    before = told.ask("mrr", "series", start="2024-11-01", end="2025-01-31").rows
    assert [row["mrr"] for row in before] == [0, 0, 10_000]


def test_t23_quiet_group_is_in_every_period(told: Told) -> None:
    """A customer nothing happens to in the range has a row for every month all the same."""
    told.hear(subscribed("quiet", "2024-05-10"), subscribed("loud", "2025-03-10", 5_000))
    rows = told.waterfall("2025-02-01", "2025-04-30", "customer").rows
    assert [(row["customer"], row["period"].month, row["closing"]) for row in rows] == [
        *(("loud", 2, 0), ("loud", 3, 5_000), ("loud", 4, 5_000)),
        *(("quiet", 2, 10_000), ("quiet", 3, 10_000), ("quiet", 4, 10_000)),
    ]


@pytest.mark.parametrize("tz", ["UTC", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("second", [-1, 0])
def test_t25_boundary_belongs_to_one_month(told: Told, tz: str, second: int) -> None:
    """A churn in the last second of June, or the first of July, is in one of them and once.

    Months asked one by one add up to the range, whatever the zone in which midnight is.
    """
    midnight = {
        "UTC": ("2025-06-30T23:59:59Z", "2025-07-01T00:00:00Z"),
        "Asia/Kathmandu": ("2025-06-30T18:14:59Z", "2025-06-30T18:15:00Z"),
        "America/New_York": ("2025-07-01T03:59:59Z", "2025-07-01T04:00:00Z"),
    }[tz]
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("bob", "2025-01-10", 4_000),
        subscribed("ann", midnight[second + 1], status="canceled"),
    )

    def churned(start: str, end: str) -> int:
        rows = told.ask("mrr", "breakdown", start=start, end=end, tz=tz).rows
        return int({row["type"]: row["amount"] for row in rows}["churn"])

    june, july = churned("2025-06-01", "2025-06-30"), churned("2025-07-01", "2025-07-31")
    assert (june, july) == ((-10_000, 0) if second else (0, -10_000))
    assert june + july == churned("2025-06-01", "2025-07-31") == -10_000
    assert told.mrr("2025-06-30", tz=tz) == (4_000 if second else 14_000)
    assert told.mrr("2025-07-01", tz=tz) == 4_000
    lost = [
        told.ask("quick_ratio", "current", start=start, end=end, tz=tz).rows[0]
        for start, end in (("2025-06-01", "2025-06-30"), ("2025-07-01", "2025-07-31"))
    ]
    assert sum(row["quick_ratio_denominator"] for row in lost) == 10_000
    days = told.waterfall("2025-06-29", "2025-07-02", grain="day", tz=tz).rows
    assert [row["churn"] for row in days] == [0, *([-10_000, 0] if second else [0, -10_000]), 0]


def far_from_utc(told: Told) -> None:
    """What happens in the hours in which it is another day, or month, in some zones."""
    told.hear(
        rate("2025-01-01", "1.10"),
        rate("2025-02-01", "1.20"),
        subscribed("ann", "2025-01-31T20:00:00Z", 10_000),
        subscribed("bob", "2025-02-01T03:00:00Z", 5_000),
        subscribed("eva", "2025-01-31T23:59:59.999Z", 1_000, currency="EUR"),
        subscribed(
            "cyd", "2025-02-27T22:00:00Z", 700,
            discounts=[{"id": "d", "duration": "repeating", "percent_off": "50",
                        "ends_at": "2025-03-31T21:00:00Z"}],
        ),
    )  # fmt: skip


@contextmanager
def sessions_in(database: Database, zone: str) -> Iterator[None]:
    """All sessions of an open database stand in another time zone than ours."""

    def elsewhere(connection: Any, _: Any) -> None:
        connection.execute("SELECT set_config('TimeZone', %s, false)", [zone])
        connection.commit()

    event.listen(database.engine, "connect", elsewhere)
    database.engine.dispose()
    try:
        with database.connect() as connection:
            assert connection.execute(select(func.current_setting("TimeZone"))).scalar() == zone
        yield
    finally:
        event.remove(database.engine, "connect", elsewhere)
        database.engine.dispose()


def test_t26_session_time_zone_does_not_show(told: Told) -> None:
    """Events taken in, and questions asked, in sessions of another zone: the same in all."""

    def answers(books: Told) -> list[Any]:
        far_from_utc(books)
        span = {"start": "2025-01-30", "end": "2025-04-01"}
        return [books.moved()] + [
            books.ask(metric, question, *by, grain=grain, tz=tz, **span).rows
            for tz in ("UTC", "Asia/Kathmandu")
            for metric, question, *by in (
                ("mrr", "waterfall"), ("customers", "series"), ("mrr", "series", "cohort_month"),
            )
            for grain in ("day", "month")
        ]  # fmt: skip

    in_utc = answers(told)
    for zone in ("Asia/Kathmandu", "America/New_York"):
        with sessions_in(told.database, zone):
            there = told.afresh()
            assert answers(there) == in_utc, zone
            assert there.mrr("2025-01-31") == 11_100
            assert there.mrr("2025-02-28") == 16_550


@pytest.mark.parametrize(
    ("tz", "january", "february"),
    [
        ("UTC", 11_100, 16_550),  # Ann and Eva, then Bob and Cyd
        ("Asia/Kathmandu", 0, 16_550),  # it is February there already
        ("America/New_York", 16_100, 16_550),  # and here still January when Bob comes
    ],
)
def test_t26_months_are_those_of_the_reporting_zone(
    told: Told, tz: str, january: int, february: int
) -> None:
    """The knob `tz`, and nothing else, says where a day begins; a month is never empty of days."""
    far_from_utc(told)
    span = {"start": "2025-01-01", "end": "2025-04-30", "tz": tz}
    levels = [row["mrr"] for row in told.ask("mrr", "series", **span).rows]
    # Cyd's coupon ends on 31 March UTC, which is 1 April in Kathmandu.
    march = 16_550 if tz == "Asia/Kathmandu" else 16_900
    assert levels == [january, february, march, 16_900]


@pytest.mark.parametrize("grain", ["day", "week", "month", "quarter", "year"])
@pytest.mark.parametrize(("day", "level"), [("2025-01-09", 0), ("2025-01-10", 10_000)])
def test_t27_single_day_is_one_row(told: Told, grain: str, day: str, level: int) -> None:
    """A range of one day has one period in every grain, and the answer of that day."""
    told.hear(subscribed("ann", "2025-01-10"))
    span = {"start": day, "end": day, "grain": grain}
    for metric, column, value in (
        ("mrr", "mrr", level), ("arr", "arr", 12 * level), ("customers", "customers", level > 0),
    ):  # fmt: skip
        (row,) = told.ask(metric, "series", **span).rows
        assert row[column] == value, metric
    (flow,) = told.ask("mrr", "waterfall", **span).rows
    assert (flow["opening"], flow["new"], flow["closing"]) == (0, level, level)
    assert len(told.ask("quick_ratio", "series", **span).rows) == 1


@pytest.mark.parametrize(
    ("start", "hours"), [("2025-03-09", 23), ("2025-11-02", 25), ("2025-07-01", 24)]
)
def test_days_of_23_and_25_hours_are_one_day(told: Told, start: str, hours: int) -> None:
    """In New York each hour of such a day is in it; the ones before and after are not.

    The first instant of the day and the last are changes of one customer, netted as one day's.
    """
    day = date.fromisoformat(start)
    first = {"2025-03-09": "T05", "2025-11-02": "T04", "2025-07-01": "T04"}[start]
    next_day = str(day.replace(day=day.day + 1))
    last = {23: "T03", 25: "T04", 24: "T03"}[hours]
    told.hear(
        subscribed("ann", f"{start}{first}:00:00Z", 1_000),
        subscribed("ann", f"{start}T12:00:00Z", 5_000),
        subscribed("ann", f"{next_day}{last}:59:59Z", 3_000),
        subscribed("bob", f"{start}{_hour_before(first)}:59:59Z", 7_000),
    )
    tz = "America/New_York"
    before = str(day.replace(day=day.day - 1)) if day.day > 1 else "2025-06-30"
    assert told.moved(tz=tz) == [(before, "new", 7_000), (start, "new", 3_000)]
    daily = told.ask("mrr", "series", start=before, end=next_day, grain="day", tz=tz).rows
    assert [row["mrr"] for row in daily] == [7_000, 10_000, 10_000]
    assert len(told.moved(tz=tz, netting="none")) == 4 - (hours == 0)


def _hour_before(hour: str) -> str:
    return f"T{int(hour[1:]) - 1:02}"


def test_hour_that_comes_twice_is_in_order(told: Told) -> None:
    """01:30 in New York on 2 November, and 01:30 again an hour later: two instants, in order."""
    told.hear(
        subscribed("ann", "2025-11-02T06:30:00Z", 5_000),
        subscribed("ann", "2025-11-02T05:30:00Z", 9_000),
    )
    moved = told.ask(
        "mrr", "movements", start="2025-11-02", end="2025-11-02", tz="America/New_York",
        netting="none",
    )  # fmt: skip
    assert [(row["type"], row["amount"]) for row in moved.rows] == [
        ("new", 9_000),
        ("contraction", -4_000),
    ]
    assert told.mrr("2025-11-02", tz="America/New_York") == 5_000


@pytest.mark.parametrize(
    ("tz", "day"), [("UTC", "2025-03-31"), ("America/New_York", "2025-03-30"),
                    ("Asia/Kathmandu", "2025-03-31"), ("Pacific/Kiritimati", "2025-03-31")],
)  # fmt: skip
def test_timers_run_in_hours_and_are_dated_in_the_zone(told: Told, tz: str, day: str) -> None:
    """30 days past due, over a change of clocks, are 720 hours; the churn is on the local day."""
    told.hear(
        subscribed("ann", "2025-01-10"),
        subscribed("ann", "2025-03-01T02:00:00Z", status="past_due"),
    )
    moved = told.moved(tz=tz, past_due="after:30")
    assert moved[-1] == (day, "churn", -10_000)


def test_unfinished_period_says_so(told: Told) -> None:
    """A day that is not over in the reporting zone is not passed off as final."""
    told.hear(subscribed("ann", "2027-12-31T12:00:00Z"))
    assert LATER.date() == date(2028, 1, 1)
    assert told.ask("mrr", "current", at="2027-12-31").complete
    there = Policy.of("default", {"tz": "America/New_York"})
    assert not told.engine.mrr.current(at="2027-12-31", policy=there).complete
