"""Rates against the replay: random books, every preset, and every knob of rates by itself.

Numerators and denominators of five months, in one statement a policy: building one takes longer
than running it on a small book.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from functools import cache
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


@pytest.fixture(scope="module")
def shared(new_database: NewDatabase) -> Iterator[Database]:
    """One database for all examples: emptying it is quicker than making another."""
    with new_database() as database:
        yield database


@cache
def _statement(policy: Policy) -> Select[Any]:
    relations = core_relations(base_currency=BASE)
    q = Query(
        rows=derive(relations, policy).cte("derived_movement"),
        relations=relations,
        policy=policy,
        cube=Churn.cube,
        question=Churn.questions()["series"],
        bound=Bound({}, (), (), (), Churn.cube),
    )
    retained = Retained(q, Windows.of(q, START, END, "month"))
    made = (
        retained.presence.logo_churn(),
        retained.nrr(),
        retained.grr(),
        retained.quick_ratio(),
    )
    return rate_table(q, retained.windows, zip(RATES, made, strict=True)).statement


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


COMMON = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@settings(COMMON, max_examples=25)
@given(events=books())
def test_every_preset(shared: Database, events: list[dict[str, Any]]) -> None:
    _check(shared, events, PRESETS)


@settings(COMMON, max_examples=15)
@given(events=books())
def test_every_knob_of_rates(shared: Database, events: list[dict[str, Any]]) -> None:
    _check(shared, events, TURNED)
