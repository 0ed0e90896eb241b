"""Charts of answers that an engine gave: what is drawn is what the books say."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

import tidemill
from tests.support.hand_ledger import HandLedger
from tidemill.database import Database
from tidemill.errors import CostDataMissing, NoChart
from tidemill.reports import styled

HALF = {"start": "2025-01-01", "end": "2025-06-30"}


@pytest.fixture(name="t")
def connected(database: Database) -> tidemill.Tidemill:
    ledger = HandLedger(database)
    for month, rate in (("01", "1.10"), ("02", "1.20"), ("03", "1.00")):
        ledger.rate(f"2025-{month}-01", "EUR", rate)
    ledger.move("2025-01-15", "eva", "new", 10_000, currency="EUR")
    ledger.move("2025-02-10", "eva", "expansion", 5_000, currency="EUR")
    ledger.move("2025-03-20", "eva", "churn", -15_000, currency="EUR")
    ledger.move("2025-01-20", "uma", "new", 2_000, plan="team")
    return tidemill.Tidemill(database, ledger.engine(as_of=ledger_day(2025, 6, 15)))


def ledger_day(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def test_a_number(t: tidemill.Tidemill) -> None:
    figure = t.mrr.current(at="2025-02-28").plot()
    assert [each.text for each in figure.layout.annotations] == ["$200.00"]


def test_series_by_plan(t: tidemill.Tidemill) -> None:
    basic, basic_rest, team, team_rest = t.mrr.series(**HALF, by="plan").plot().data
    assert (basic.name, basic.y) == ("basic", (110.0, 180.0, 0.0, 0.0, 0.0))
    assert (team.name, team.y) == ("team", (20.0,) * 5)
    assert basic_rest.x == team_rest.x == (date(2025, 5, 1), date(2025, 6, 1))
    assert basic_rest.line.dash == team_rest.line.dash == "dash"


def test_waterfall_with_exchange_rates(t: tidemill.Tidemill) -> None:
    answer = t.mrr.waterfall(**HALF)
    (trace,) = answer.plot().data
    steps = list(zip(*trace.x, trace.y, strict=True))
    assert [step[1:] for step in steps if step[0] == "2025-03-01"] == [
        ("new", 0.0), ("expansion", 0.0), ("churn", -150.0), ("fx", -30.0), ("closing", 20.0),
    ]  # fmt: skip
    assert trace.x[0][-1] == "2025-06-01*"
    assert "-$150.00" in styled(answer).to_html()


def test_breakdown_beside_the_range_before(t: tidemill.Tidemill) -> None:
    asked = t.mrr.breakdown(start="2025-03-01", end="2025-03-31", compare_to="previous")
    now, then = asked.plot().data
    drawn = dict(zip(now.y, zip(now.text, then.text, strict=True), strict=True))
    assert drawn["churn"][0] == "-$150.00"
    assert drawn["expansion"][1] == "$60.00"


def test_an_explained_answer_is_drawn_too(t: tidemill.Tidemill) -> None:
    told = t.explain("mrr", at="2025-02-28")
    assert told.result.plot().layout.title.text == "mrr current"
    with pytest.raises(NoChart, match="is a list"):
        told.behind.plot()


def test_every_question_has_a_chart_or_is_a_list(t: tidemill.Tidemill) -> None:
    """New metrics too: whatever is not about single customers can be drawn."""
    for metric, info in t.catalogue().items():
        for question in info.questions:
            try:
                answer = t.query(metric, question.name)
            except CostDataMissing:  # a refusal, not an answer: there is nothing to draw
                continue
            if "customer" in {each.name for each in answer.columns}:
                with pytest.raises(NoChart, match="is a list"):
                    answer.plot()
            else:
                head = answer.plot().layout.title.text
                assert head == f"{metric} {question.name}".replace("_", " ")


def test_amounts_are_exact_until_they_are_drawn(t: tidemill.Tidemill) -> None:
    answer = t.mrr.series(start="2025-01-01", end="2025-01-31")
    assert answer.rows[0]["mrr"] == Decimal(13_000)
    assert answer.plot().data[0].y == (130.0,)
