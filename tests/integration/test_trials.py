"""Trials: the worked case under every way of counting, and a book worked out by hand.

ann   1 April to the 15th, longer until the 29th, then active
bob   3 April, expires on the 17th
cyd   20 April, active on 4 May
dot   10 April, paused on the 24th (nothing decided), active on 8 May
eve   28 March, active on 5 April; canceled in May, which changes nothing
fay   12 April, still trying
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.asking import settled
from tests.support.books import FIRST_DAY, LAST_DAY, random_book
from tests.support.calendars import month_range
from tests.support.cases import canonical_events, load_cases, preset_policy, presets
from tests.support.ledger import keep_books
from tests.support.replay import replay
from tests.support.telling import LATER, Told, described, subscribed
from tidemill.database import Database
from tidemill.errors import InvalidQuery
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy

APRIL: dict[str, Any] = {"start": "2025-04-01", "end": "2025-04-30"}
RATES = ("start_cohort", "ended_in_window", "started_in_window")


@pytest.fixture(scope="module")
def told(new_database: NewDatabase) -> Iterator[Told]:
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            described("ann", "2025-04-01", country="US"),
            subscribed("ann", "2025-04-01", status="trialing", trial_end="2025-04-15T12:00:00Z"),
            subscribed("ann", "2025-04-12", status="trialing", trial_end="2025-04-29T12:00:00Z"),
            subscribed("ann", "2025-04-29"),
            subscribed("bob", "2025-04-03", status="trialing"),
            subscribed("bob", "2025-04-17", status="canceled"),
            subscribed("cyd", "2025-04-20", status="trialing"),
            subscribed("cyd", "2025-05-04"),
            subscribed("dot", "2025-04-10", status="trialing"),
            subscribed("dot", "2025-04-24", status="paused"),
            subscribed("dot", "2025-05-08"),
            subscribed("eve", "2025-03-28", status="trialing"),
            subscribed("eve", "2025-04-05"),
            subscribed("eve", "2025-05-20", status="canceled"),
            subscribed("fay", "2025-04-12", status="trialing"),
        )
        yield told


def funnel(told: Told, **how: Any) -> tuple[int, ...]:
    (row,) = told.ask("trials", "funnel", **{**APRIL, **how}).rows
    assert row["started"] == row["converted"] + row["expired"] + row["pending"]
    return tuple(row[name] for name in ("started", "converted", "expired", "pending"))


def sides(told: Told, **how: Any) -> tuple[int, int]:
    (row,) = told.ask("trials", "rate", **{**APRIL, **how}).rows
    return row["rate_numerator"], row["rate_denominator"]


def test_the_worked_case_under_every_preset(database: Database) -> None:
    case = next(each for each in load_cases() if each.id == "E23")
    keep_books(database, canonical_events(case))
    told_for = 0
    for expected in case.expectations:
        engine = settled(database, Policy.of(expected.preset, expected.overrides))
        for key, wanted in expected.trial_conversion.items():
            month, _, as_of = key.partition("@")
            start, end = month_range(month)
            (row,) = engine.trials.rate(start=start, end=end, until=as_of or end).rows
            assert [row["rate_numerator"], row["rate_denominator"]] == wanted, (key, expected.key)
            told_for += 1
    assert told_for == 3


def test_funnel_is_restated_as_trials_are_decided(told: Told) -> None:
    assert funnel(told, until="2025-04-16") == (5, 0, 0, 5)
    assert funnel(told, until="2025-04-30") == (5, 1, 1, 3)
    assert funnel(told, until="2025-05-31") == (5, 3, 1, 1)
    assert funnel(told) == (5, 3, 1, 1)


def test_what_was_known_then(told: Told) -> None:
    """Derived from the history of that date, not from the facts kept now."""
    assert funnel(told, known_at="2025-04-30T00:00:00Z") == (5, 1, 1, 3)
    assert funnel(told, known_at=LATER) == funnel(told)


def test_within_days(told: Told) -> None:
    """Ann took 28 days, Cyd 14 and Dot 28; who comes later has expired, unless time is left."""
    assert funnel(told, within=28) == (5, 3, 2, 0)
    assert funnel(told, within=27) == (5, 1, 4, 0)
    assert funnel(told, within=14, until="2025-04-30") == (5, 0, 4, 1)


def test_every_denominator(told: Told) -> None:
    found = {rate: sides(told, trial_rate=rate) for rate in RATES}
    assert found == {
        "start_cohort": (3, 5),
        # Ended: Ann, Bob, Dot (paused), Eve. Converted inside: Ann and Eve.
        "ended_in_window": (2, 4),
        "started_in_window": (2, 5),
    }
    # The 30 days to 28 April: Eve's trial, of 28 March, ended on 5 April.
    rolled = {"window": "rolling_30d", "start": "2025-04-01", "end": "2025-04-28"}
    assert sides(told, trial_rate="ended_in_window", **rolled) == (1, 3)


def test_series_and_groups(told: Told) -> None:
    span = {"start": "2025-03-01", "end": "2025-05-31"}
    rows = told.ask("trials", "series", **span).rows
    assert [(row["period"].month, row["started"], row["converted"]) for row in rows] == [
        (3, 1, 1),
        (4, 5, 3),
        (5, 0, 0),
    ]
    assert rows[-1]["rate"] is None
    cut = told.ask("trials", "funnel", "country", **APRIL).rows
    assert [(row["country"], row["started"]) for row in cut] == [("US", 1), ("unknown", 4)]


def test_time_to_convert(told: Told) -> None:
    (row,) = told.ask("trials", "time_to_convert", **APRIL).rows
    assert (row["converted"], row["median_days"], row["p90_days"]) == (3, 28, 28)
    assert round(row["mean_days"], 6) == Decimal("23.333333")
    nobody = told.ask("trials", "time_to_convert", start="2024-01-01", end="2024-01-31")
    assert nobody.rows[0]["median_days"] is None


def test_each_with_what_began_it(told: Told) -> None:
    rows = told.ask("trials", "list", **APRIL).rows
    assert [(row["customer"], row["outcome"]) for row in rows] == [
        ("ann", "converted"),
        ("bob", "expired"),
        ("dot", "converted"),
        ("fay", "pending"),
        ("cyd", "converted"),
    ]
    assert all(row["event_id"] for row in rows)
    behind = told.engine.query("trials", "rate", **APRIL).rows_behind()
    assert behind.rows == rows


def test_compared_and_restated(told: Told) -> None:
    found = told.engine.compare(
        "trials",
        "rate",
        policies={name: Policy.of(name) for name in ("default", "stripe")},
        **APRIL,
        until="2025-05-31",
    )
    [pair] = found.pairs
    assert {change.column.name for change in pair.changes} >= {"rate"}
    diff = told.engine.diff("trials", "rate", known_at=["2025-04-30T00:00:00Z"], **APRIL)
    assert {each.column.name for each in diff.figures} == {"rate", "rate_numerator"}
    assert len(diff.movements) == 4


def test_nothing_to_convert(told: Told) -> None:
    answer = told.ask("trials", "rate", start="2024-01-01", end="2024-01-31")
    assert answer.value is None
    assert answer.warnings == ("rate is undefined: there was no trial to convert.",)
    with pytest.raises(InvalidQuery, match="not a whole number"):
        told.ask("trials", "rate", within="soon")


@pytest.mark.parametrize("seed", [51, 52])
def test_random_books_equal_the_replay(seed: int, database: Database) -> None:
    """Under every preset and every way of counting, kept and as known at the end."""
    events = random_book(seed, customers=16)
    keep_books(database, events)
    for preset in presets():
        engine = settled(database, Policy.of(preset))
        for rate in RATES:
            policy = engine.policy.turned({"trial_rate": rate})
            judge = replay(events, preset_policy(preset, {"trial_rate": rate}))
            for row in engine.trials.series(start=FIRST_DAY, end=LAST_DAY, policy=policy).rows:
                month = row["period"].strftime("%Y-%m")
                wanted = judge.trial_conversion(month, LAST_DAY)
                found = (row["rate_numerator"], row["rate_denominator"])
                assert found == (wanted or (found[0], 0)), (preset, rate, month)
                assert row["started"] == row["converted"] + row["expired"] + row["pending"]
        whole = engine.trials.funnel(start=FIRST_DAY, end=LAST_DAY).rows[0]
        for dimension in ("plan", "source", "country", "customer"):
            cut = engine.trials.funnel(
                start=FIRST_DAY, end=LAST_DAY, spec=QuerySpec([dimension])
            ).rows
            for name in ("started", "converted", "expired", "pending"):
                assert sum(each[name] for each in cut) == whole[name], (preset, dimension, name)
