"""Rates against the replay: random books, every preset, and every knob of rates by itself.

Numerators and denominators of five months, in one statement a policy: building one takes longer
than running it on a small book.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Select

from tests.conftest import NewDatabase
from tests.support.books import books
from tests.support.cases import preset_policy
from tests.support.emptied import emptied
from tests.support.ledger import BASE, keep_books
from tests.support.replay import Replay, replay
from tests.support.replay_book import read_book
from tests.support.replay_ratios import Ratio
from tests.support.weight import examples
from tidemill.database import Database
from tidemill.ledger import derive
from tidemill.metrics.binding import Bound
from tidemill.metrics.churn import Churn
from tidemill.metrics.query import Query
from tidemill.metrics.retained import Retained
from tidemill.metrics.windows import Windows, rate_table
from tidemill.policy import Policy
from tidemill.relations import core_relations

PRESETS = ["default", "chartmogul", "baremetrics", "stripe", "profitwell", "smsb", "maxio"]
TURNED = [
    "default;logo_numerator=events_start_cohort;grr_method=movements;netting=none",
    "default;logo_numerator=events_all;logo_denominator=start_plus_new;window=rolling_30d",
    "default;rate_population=all_movements;reactivation_in_nrr=no",
    "default;grr_method=movements;fx=at_renewal;quick_ratio_reactivation=no",
    "default;free_plans=after_paid;paused=contraction;tz=Asia/Kathmandu",
    "maxio;logo_denominator=start_plus_new;rate_population=start_cohort",
]
START, END = date(2025, 2, 1), date(2025, 6, 30)
RATES = ("logo_churn", "nrr", "grr", "quick_ratio")
# Divisions in SQL keep some twenty digits; the replay's fractions keep all.
TOLERANCE = Fraction(1, 10**6)
COMMON = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    """One database for all examples: emptying it is quicker than making another."""
    with new_database() as database:
        yield database


def _query(policy: Policy) -> Query:
    relations = core_relations(base_currency=BASE)
    return Query(
        rows=derive(relations, policy).cte("derived_movement"),
        relations=relations,
        policy=policy,
        cube=Churn.cube,
        question=Churn.questions()["series"],
        bound=Bound({}, (), (), (), Churn.cube),
    )


@cache
def _statement(policy: Policy) -> Select[Any]:
    q = _query(policy)
    retained = Retained(q, Windows.of(q, START, END, "month"))
    made = (
        retained.presence.logo_churn(),
        retained.nrr(),
        retained.grr(),
        retained.quick_ratio(),
    )
    return rate_table(q, retained.windows, zip(RATES, made, strict=True)).statement


LATE = (date(2026, 1, 1), date(2026, 4, 30))
YEARS = [
    f"{text};nrr_window={window}"
    for text in ("default", "chartmogul", "default;window=rolling_30d;fx=at_movement")
    for window in ("12m_cohort", "chained")
]


@cache
def _yearly(policy: Policy) -> Select[Any]:
    """Net revenue retention beside rates that look at the months themselves."""
    q = _query(policy)
    retained = Retained(q, Windows.of(q, *LATE, "month", nrr=True))
    rates = [("nrr", retained.nrr()), ("logo_churn", retained.presence.logo_churn())]
    return rate_table(q, retained.windows, rates).statement


def _over_a_year(judge: Replay, window: str, month: date) -> Ratio | None:
    """What twelve months made of the opening MRR; one after another, where they are chained."""
    last = [each - timedelta(days=1) for each in _firsts(month)]
    if window == "12m_cohort":
        return judge.rates_between(last[0], last[-1])["nrr"]
    found = [judge.rates_between(*pair)["nrr"] for pair in pairwise(last)]
    if found[0] is None:
        return None
    top = Fraction(found[0][1])
    for each in found:
        if each is None:
            return None
        top = top * each[0] / each[1]
    return top, found[0][1]


def _firsts(month: date) -> list[date]:
    """The first days of a month, of the eleven before it and of the one after it, in order."""
    places = [month.year * 12 + month.month - 1 + step for step in range(-11, 2)]
    return [date(place // 12, place % 12 + 1, 1) for place in places]


@settings(COMMON, max_examples=examples(12))
@given(events=books())
def test_net_revenue_retention_over_a_year(shared: Database, events: list[dict[str, Any]]) -> None:
    keep_books(emptied(shared), events)
    for text in YEARS:
        policy = Policy.parse(text)
        knobs = {each: policy.overrides[each] for each in policy.overrides if each != "nrr_window"}
        judge = replay(events, preset_policy(policy.preset, knobs), base_currency=BASE)
        with shared.connect() as connection:
            rows = [dict(row) for row in connection.execute(_yearly(policy)).mappings()]
        assert len(rows) == 4
        for row in rows:
            wanted = _over_a_year(judge, policy.nrr_window, row["period"])
            if wanted is None or not wanted[1]:
                assert row["nrr"] is None, (text, row)
                continue
            assert abs(Fraction(row["nrr_denominator"]) - wanted[1]) <= TOLERANCE, (text, row)
            assert abs(Fraction(row["nrr_numerator"]) - wanted[0]) <= TOLERANCE, (text, row)
            churn = judge.rates(row["period"].strftime("%Y-%m"))["logo_churn"]
            assert (row["logo_churn"] is None) == (churn is None), (text, row)
            assert churn is None or row["logo_churn_numerator"] == churn[0], (text, row)


def _differences(rows: list[dict[str, Any]], judge: Replay) -> list[object]:
    found: list[object] = []
    assert len(rows) == 5
    for row in rows:
        for name, wanted in judge.rates(row["period"].strftime("%Y-%m")).items():
            sides = (Fraction(row[f"{name}_numerator"]), Fraction(row[f"{name}_denominator"]))
            assert (row[name] is None) == (sides[1] == 0)
            if wanted is None:
                same = row[name] is None
            else:
                same = all(
                    abs(one - other) <= TOLERANCE for one, other in zip(sides, wanted, strict=True)
                )
            if not same:
                found.append((row["period"], name, sides, wanted))
    return found


def _check(database: Database, events: list[dict[str, Any]], policies: list[str]) -> None:
    keep_books(emptied(database), events)
    book = read_book(events, None)
    for text in policies:
        policy = Policy.parse(text)
        judge = replay(book, preset_policy(policy.preset, policy.overrides), base_currency=BASE)
        with database.connect() as connection:
            rows = [dict(row) for row in connection.execute(_statement(policy)).mappings()]
        assert not _differences(rows, judge), text


@settings(COMMON, max_examples=examples(20))
@given(events=books())
def test_every_preset(shared: Database, events: list[dict[str, Any]]) -> None:
    _check(shared, events, PRESETS)


@settings(COMMON, max_examples=examples(12))
@given(events=books())
def test_every_knob_of_rates(shared: Database, events: list[dict[str, Any]]) -> None:
    _check(shared, events, TURNED)
