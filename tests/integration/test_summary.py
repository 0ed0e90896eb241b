"""The summary: each headline is what its own metric answers, whichever way it was made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event

from tests.conftest import NewDatabase
from tests.support.asking import asked_of
from tests.support.books import random_book
from tests.support.weight import first
from tidemill.engine import MetricsEngine
from tidemill.engine.summary import HEADLINES
from tidemill.policy import Policy

AT = date(2025, 6, 20)
DAYS = {"value": AT, "previous": date(2025, 5, 20), "year_ago": date(2024, 6, 20)}


@pytest.fixture(scope="module")
def engine(new_database: NewDatabase) -> Iterator[MetricsEngine]:
    with new_database() as database:
        yield asked_of(database, random_book(31, customers=14))


@pytest.mark.parametrize(
    "policy",
    first(
        3,
        (
            Policy.of(),
            # What the statement for all of them cannot tell.
            Policy.of(
                "default",
                {"window": "rolling_30d", "ltv_churn": "trailing:3", "past_due": "after:5"},
            ),
            Policy.of("smsb"),
            Policy.of("baremetrics"),
            Policy.of("chartmogul"),
            Policy.of("default", {"nrr_window": "12m_cohort"}),
        ),
    ),
    ids=lambda policy: f"{policy.preset} {policy.nrr_window} {policy.window}",
)
def test_each_headline_is_what_its_metric_answers(engine: MetricsEngine, policy: Policy) -> None:
    summary = engine.summary(AT, policy=policy)
    known = engine.catalogue()
    there = [each for each in HEADLINES if each.metric in known]
    assert {each.name for each in summary.headlines} <= {each.name for each in there}
    assert len(summary.headlines) >= 11
    wanted: dict[str, Any]
    for headline in summary.headlines:
        named = next(each for each in HEADLINES if each.name == headline.name)
        params = {each.name for each in known[named.metric].question(named.question).params}
        if headline.error is not None:
            # Named with the error that the question itself gives, such as a margin that is needed.
            wanted = {"at": AT, "start": AT.replace(day=1), "end": AT}
            wanted = {name: value for name, value in wanted.items() if name in params}
            with pytest.raises(type(headline.error), match=re.escape(headline.error.message)):
                engine.query(named.metric, named.question, policy=policy, **wanted)
            assert (headline.name, policy.preset) == ("ltv", "smsb"), headline
            continue
        for part, day in DAYS.items():
            wanted = {"at": day, "start": day.replace(day=1), "end": day}
            wanted = {name: value for name, value in wanted.items() if name in params}
            answer = engine.query(named.metric, named.question, policy=policy, **wanted)
            expected = answer.rows[0][named.column]
            found = getattr(headline, part)
            near = expected is not None and abs(found - expected) < Decimal("0.000001")
            assert found is expected or near, (headline.name, part, found, expected)


def test_headlines_of_movements_take_two_statements(engine: MetricsEngine) -> None:
    """One for all of them and one for the waterfall; the others say what to warn of."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(engine.database.engine, "before_cursor_execute", note)
    try:
        summary = engine.summary(AT)
    finally:
        event.remove(engine.database.engine, "before_cursor_execute", note)
    shared = [each for each in statements if "metric_mrr_" in each]
    assert len(shared) == 2
    apart = {each.name for each in HEADLINES if each.shared is None}
    assert apart == {"trial_conversion", "trial_mrr"}
    # Those of three days each, and what to warn of.
    assert len(statements) <= 2 + 3 * len(apart & {each.name for each in summary.headlines}) + 2


def test_changes_are_of_a_month_and_of_a_year_and_have_no_rate_from_zero(
    engine: MetricsEngine,
) -> None:
    summary = engine.summary(AT)
    assert (summary.previous_at, summary.year_ago_at) == (DAYS["previous"], DAYS["year_ago"])
    mrr = summary.to_dict()["headlines"][0]
    assert summary.headlines[0].year_ago == 0
    assert mrr["year_change"] == mrr["value"]
    assert mrr["year_change_rate"] is None
    assert mrr["change_rate"] is not None


def test_a_day_that_is_not_over_is_flagged(new_database: NewDatabase) -> None:
    with new_database() as database:
        engine = asked_of(database, random_book(31, customers=4))
        summary = engine.summary("2028-01-20")
        assert not summary.complete
        assert not any(each.complete for each in summary.headlines)
