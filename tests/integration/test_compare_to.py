"""Comparison periods: aligned by their place, exact, and silent about nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.support.cli import Inside
from tests.support.http import serving
from tests.support.telling import Told, described, spent, subscribed
from tidemill.database import connect
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.errors import InvalidQuery
from tidemill.metrics.earlier import earlier_range
from tidemill.policy import Policy


@pytest.mark.parametrize(
    ("to", "start", "end", "grain", "wanted"),
    [
        # Whole months, also where their lengths differ.
        ("previous", "2025-03-01", "2025-03-31", None, "2025-02-01 2025-02-28"),
        ("previous", "2025-01-01", "2025-03-31", "month", "2024-10-01 2024-12-31"),
        ("previous", "2025-02-01", "2025-02-28", "quarter", "2024-11-01 2024-11-30"),
        # A month to date: the same days of the month before, as far as it has them.
        ("previous", "2025-03-01", "2025-03-30", None, "2025-02-01 2025-02-28"),
        ("previous", "2025-11-01", "2025-11-26", "month", "2025-10-01 2025-10-26"),
        # Neither whole months nor from a month's start: as many days.
        ("previous", "2025-03-10", "2025-03-16", None, "2025-03-03 2025-03-09"),
        ("previous", "2025-03-01", "2025-03-10", "day", "2025-02-19 2025-02-28"),
        ("previous", "2025-03-03", "2025-03-20", "week", "2025-02-10 2025-02-27"),
        ("year_ago", "2024-02-01", "2024-02-29", None, "2023-02-01 2023-02-28"),
        ("year-ago", "2025-02-01", "2025-02-28", "month", "2024-02-01 2024-02-29"),
        ("year_ago", "2025-03-03", "2025-03-16", "week", "2024-03-04 2024-03-17"),
        ("2020-01-05..2020-02-06", "2025-03-03", "2025-03-16", "week", "2020-01-05 2020-02-06"),
    ],
)
def test_ranges_compared_with(to: str, start: str, end: str, grain: Any, wanted: str) -> None:
    found = earlier_range(to, date.fromisoformat(start), date.fromisoformat(end), grain)
    assert " ".join(map(str, found)) == wanted


@pytest.mark.parametrize("to", ["last_year", "previos", "2025-01-01", "2025-02-30..2025-03-01",
                                "2025-03-01..2025-02-01", "..", ""])  # fmt: skip
def test_what_is_no_range_is_refused(to: str) -> None:
    with pytest.raises(InvalidQuery, match="compare_to"):
        earlier_range(to, date(2025, 1, 1), date(2025, 1, 31), None)


@pytest.fixture(scope="module")
def told(new_database: NewDatabase) -> Iterator[Told]:
    """Ada pays 100 from January 2025 and 150 from March; Bert 40 in February alone."""
    with new_database() as database:
        told = Told(database)
        told.hear_together(
            *(spent(f"2024-{month:02}-01", 100) for month in range(1, 13)),
            spent("2025-02-01", 100),
            spent("2025-03-01", 100),
            described("ada", "2025-01-01", country="DE"),
            described("bert", "2025-01-01", country="AT"),
            subscribed("ada", "2025-01-10", 10_000),
            subscribed("bert", "2025-02-05", 4_000),
            subscribed("bert", "2025-02-25", status="canceled", ended_at="2025-02-25T12:00:00Z"),
            subscribed("ada", "2025-03-10", 15_000),
        )
        yield told


@pytest.fixture(scope="module")
def books(told: Told) -> Tidemill:
    return Tidemill(told.database, told.engine)


def test_a_series_stands_beside_the_earlier_one(books: Tidemill) -> None:
    asked = {"start": "2025-02-01", "end": "2025-03-31"}
    result = books.mrr.series(**asked, compare_to="previous")
    before = books.mrr.series(start="2024-12-01", end="2025-01-31")
    assert [row["mrr_compared"] for row in result.rows] == [row["mrr"] for row in before.rows]
    assert [tuple(row.values()) for row in result.rows] == [
        (date(2025, 2, 1), date(2024, 12, 1), 10_000, 0, 10_000, None),
        (date(2025, 3, 1), date(2025, 1, 1), 15_000, 10_000, 5_000, Decimal("0.5")),
    ]
    assert [each.name for each in result.columns] == [
        "period", "period_compared", "mrr", "mrr_compared", "mrr_change", "mrr_change_rate",
    ]  # fmt: skip
    assert result.compared == {"start": date(2024, 12, 1), "end": date(2025, 1, 31)}
    assert "Compared with 2024-12-01 to 2025-01-31." in result.warnings
    assert any("mrr_change_rate is undefined for 2025-02-01" in each for each in result.warnings)


def test_a_rate_changes_by_points_and_its_sides_only_stand_by(books: Tidemill) -> None:
    result = books.churn.logo(start="2025-03-01", end="2025-03-31", compare_to="previous")
    (row,) = result.rows
    assert (row["logo_churn"], row["logo_churn_compared"]) == (0, 0)
    assert (row["logo_churn_denominator"], row["logo_churn_denominator_compared"]) == (1, 1)
    assert "logo_churn_denominator_change" not in row
    assert row["logo_churn_change_rate"] is None


def test_losses_change_over_what_was_whatever_its_sign(books: Tidemill) -> None:
    asked = {"start": "2025-03-01", "end": "2025-03-31", "compare_to": "previous"}
    rows = {row["type"]: row for row in books.mrr.breakdown(**asked).rows}
    assert rows["churn"]["amount_change"] == 4_000
    assert rows["churn"]["amount_change_rate"] == 1
    assert rows["expansion"]["amount_change_rate"] is None


def test_groups_are_matched_and_none_is_lost(books: Tidemill) -> None:
    asked = {"start": "2025-03-01", "end": "2025-03-31", "compare_to": "previous"}
    rows = books.mrr.series(**asked, by=["customer"]).rows
    found = {row["customer"]: (row["mrr"], row["mrr_compared"]) for row in rows}
    assert found == {"ada": (15_000, 10_000), "bert": (None, 0)}
    net = books.mrr.net_new(**asked, by=["customer"]).rows
    assert {(r["customer"], r["net_new"], r["net_new_compared"]) for r in net} == {
        ("ada", 5_000, None),
        ("bert", None, 0),
    }


def test_ranges_of_other_lengths_are_matched_by_place(books: Tidemill) -> None:
    result = books.mrr.series(
        start="2025-02-01", end="2025-03-31", compare_to="2025-01-01..2025-01-31"
    )
    assert [row["mrr_compared"] for row in result.rows] == [10_000, None]
    assert any("has 2 periods" in each for each in result.warnings)


def test_an_unfinished_period_is_not_compared_in_silence(told: Told) -> None:
    now = datetime(2025, 3, 20, 12, tzinfo=UTC)
    engine = MetricsEngine(told.database, base_currency="USD", policy=Policy.of(), as_of=now)
    books = Tidemill(told.database, engine)
    result = books.mrr.series(start="2025-03-01", end="2025-03-31", compare_to="year_ago")
    assert not result.complete
    assert any("not over is compared with one that is" in each for each in result.warnings)


def test_what_cannot_be_compared_is_refused(books: Tidemill) -> None:
    with pytest.raises(InvalidQuery, match="no range of days"):
        books.mrr.current(compare_to="previous")
    with pytest.raises(InvalidQuery, match="lists rows"):
        books.mrr.movements(compare_to="previous")
    with pytest.raises(InvalidQuery, match="compare_to"):
        books.explain("mrr", "series", compare_to="previous")
    with pytest.raises(InvalidQuery, match="compare_to"):
        books.compare("mrr", "series", presets=["default", "stripe"], compare_to="previous")


def test_every_question_with_a_range_can_be_compared(books: Tidemill) -> None:
    asked = {"start": "2025-03-01", "end": "2025-03-31", "compare_to": "previous"}
    compared = set()
    for name, info in books.catalogue().items():
        for question in info.questions:
            if {"start", "end"} <= {each.name for each in question.params}:
                if question.lists:
                    with pytest.raises(InvalidQuery, match="lists rows"):
                        books.query(name, question.name, **asked)
                    continue
                result = books.query(name, question.name, **asked)
                compared.add(f"{name} {question.name}")
                assert any(each.name.endswith("_compared") for each in result.columns)
    assert {"mrr waterfall", "churn series", "retention nrr", "quick_ratio current"} <= compared
    assert {"retention cohorts", "retention at_age", "ltv cohort"} <= compared


def test_cohorts_are_matched_by_place_and_age(books: Tidemill) -> None:
    """Ada, of January, stayed through February and March; Bert, of February, left in it."""
    asked = {"start": "2025-02-01", "end": "2025-03-31", "compare_to": "previous"}
    found = books.retention.cohorts(**asked)
    assert [each.name for each in found.columns][:3] == ["cohort", "cohort_compared", "size"]
    shown = ("cohort", "cohort_compared", "offset", "size", "size_compared", "value")
    assert [tuple(row[name] for name in (*shown, "value_compared")) for row in found.rows] == [
        # The range before has only its second month's cohort, of January.
        (date(2025, 2, 1), date(2024, 12, 1), 0, 1, None, 0, None),
        (date(2025, 2, 1), date(2024, 12, 1), 1, 1, None, 0, None),
        (date(2025, 3, 1), date(2025, 1, 1), 0, None, 1, None, 1),
    ]
    lines = books.retention.at_age(start="2025-02-01", end="2025-02-28", age=0,
                                   compare_to="previous").rows  # fmt: skip
    assert [(row["rate"], row["rate_compared"], row["rate_change"]) for row in lines] == [
        (0, 1, -1)
    ]
    text = books.ltv.cohort(**asked)
    assert [row["cohort_compared"] for row in text.rows] == [date(2024, 12, 1), date(2025, 1, 1)]


def test_both_fronts_compare(told: Told, tmp_path_factory: pytest.TempPathFactory) -> None:
    url = told.database.engine.url.set(drivername="postgresql")
    prompt = Inside(tmp_path_factory.mktemp("prompt"), url.render_as_string(hide_password=False))
    flags = ("--start", "2025-03-01", "--end", "2025-03-31", "--compare-to", "previous")
    shown = prompt.text("mrr", "series", *flags)
    head, _, figure = (line.split() for line in shown.splitlines())
    assert head == ["period", "period_compared", "value", "compared", "change"]
    assert " ".join(figure) == "2025-03-01 2025-02-01 mrr $150.00 $100.00 $50.00 +50.0 %"
    table = prompt.text("churn", "logo", *flags)
    head, _, *rows = (line.split() for line in table.splitlines())
    assert head == ["2025-03-01..2025-03-31", "2025-02-01..2025-02-28", "change"]
    assert rows == [
        ["logo", "churn", "0.00", "%", "0.00", "%", "+0.00", "pp"],
        ["numerator", "0", "0"],
        ["denominator", "1", "1"],
    ]
    assert prompt.run("explain", "mrr", "series", *flags).returncode == 2
    with connect(prompt.url, read_only=True) as database:
        engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
        with serving(Tidemill(database, engine)) as client:
            params = {"start": "2025-03-01", "end": "2025-03-31", "compare_to": "previous"}
            answer = client.get("/api/metrics/mrr/series", params=params).json()
            assert answer["compared"] == {"start": "2025-02-01", "end": "2025-02-28"}
            assert answer["rows"][0]["mrr_change_rate"] == "0.5"
            refused = client.get("/api/explain/mrr/series", params=params)
            assert refused.status_code == 400
