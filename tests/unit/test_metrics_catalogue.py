"""The catalogue: a question's signature is its interface, and every declaration is complete."""

from __future__ import annotations

import json
from datetime import date
from enum import StrEnum
from typing import Any, Literal

import pytest

from tidemill import bookkeeping
from tidemill.errors import UnknownMetric, UnknownQuestion
from tidemill.metrics import FACTS, METRICS
from tidemill.metrics.base import TODAY, Day, Grain, Metric, Table, metric, question
from tidemill.metrics.catalogue import catalogue
from tidemill.metrics.columns import money
from tidemill.metrics.movement_cube import MOVEMENTS
from tidemill.models import (
    metric_failure_daily,
    metric_mrr_movement,
    metric_payment_daily,
    metric_trial,
)
from tidemill.policy import KNOBS

CATALOGUE = catalogue(METRICS)
# The questions that what describes a movement, its type or its cause, can cut.
OF_MOVEMENTS = {"net_new", "movements", "reasons", "reasons_series"}
QUESTIONS = [(info, asked) for info in CATALOGUE.values() for asked in info.questions]


class Colour(StrEnum):
    """A closed list, as connectors have them."""

    RED = "red"
    BLUE = "blue"


@metric("sample", title="A sample")
class Sample(Metric):
    """What a metric declares. Nothing else is written anywhere."""

    cube = MOVEMENTS

    @question(money("sample"), default=True)
    def current(  # noqa: D417 - leaving one out is the case
        self,
        q: Any,
        name: str,
        at: Day = TODAY,
        grain: Grain = "week",
        measure: Literal["customers", "mrr"] = "mrr",
        colour: Colour = Colour.RED,
    ) -> Table:
        """A first line.

        More words, with a colon: like this.

        Args:
            name: a required text
                over two lines.
            at: the day.
            grain: how long.
            measure: of what.
            colour: in which colour.
        """
        raise NotImplementedError

    def helper(self) -> None:
        """No question."""


def test_a_signature_becomes_parameters() -> None:
    (asked,) = Sample.questions().values()
    assert asked.summary == "A first line."
    assert asked.doc == "A first line.\n\nMore words, with a colon: like this."
    assert asked.default
    shown = [param.document() for param in asked.params]
    assert [(each["name"], each["kind"], each["required"]) for each in shown] == [
        ("name", "text", True),
        ("at", "day", False),
        ("grain", "choice", False),
        ("measure", "choice", False),
        ("colour", "choice", False),
    ]
    assert shown[0]["doc"] == "a required text over two lines."
    assert [each["default"] for each in shown] == [None, "today", "week", "mrr", "red"]
    assert shown[2]["choices"] == ["day", "week", "month", "quarter", "year"]
    assert shown[3]["choices"] == ["customers", "mrr"]
    assert shown[4]["choices"] == ["red", "blue"]


def test_a_parameter_without_documentation_is_a_defect() -> None:
    class Bare(Metric):
        cube = MOVEMENTS

        @question(money("bare"), default=True)
        def current(self, q: Any, at: Day = TODAY) -> Table:
            """No Args section."""
            raise NotImplementedError

    with pytest.raises(AssertionError, match="'at' has no line"):
        Bare.questions()


def test_the_questions_of_the_contract_are_there() -> None:
    found = {
        info.name: {each.name: [c.name for c in each.columns] for each in info.questions}
        for info in CATALOGUE.values()
    }
    ratio = ["quick_ratio", "quick_ratio_numerator", "quick_ratio_denominator"]
    steps = ["opening", "new", "expansion", "reactivation", "contraction", "churn", "fx", "closing"]
    assert found["mrr"]["current"] == ["mrr"]
    assert found["mrr"]["series"] == ["period", "mrr"]
    assert found["mrr"]["breakdown"] == ["type", "amount"]
    assert found["mrr"]["waterfall"] == ["period", *steps]
    assert found["mrr"]["movements"] == [
        *("day", "occurred_at", "customer", "subscription", "plan", "type", "amount"),
        *("currency", "native_amount", "cause", "event_id"),
    ]
    assert found["arr"] == {"current": ["arr"], "series": ["period", "arr"]}
    assert found["customers"] == {"current": ["customers"], "series": ["period", "customers"]}
    assert found["quick_ratio"] == {"current": ratio, "series": ["period", *ratio]}


def test_every_metric_has_one_default_question_and_a_definition() -> None:
    for info in CATALOGUE.values():
        assert [asked.default for asked in info.questions].count(True) == 1, info.name
        assert info.summary.endswith(".")
        assert info.definition["Formula"]
        assert info.definition["Source"]
        assert info.kind.facts or info.kind.rows
        assert set(info.kind.knobs) <= {knob.name for knob in KNOBS}
    tables = [fact.table for fact in FACTS]
    assert tables == [
        metric_mrr_movement,
        metric_payment_daily,
        metric_failure_daily,
        metric_trial,
    ]
    assert set(bookkeeping.FACTS) == set(FACTS), "what metrics stand on is not what the books keep"


@pytest.mark.parametrize(("info", "asked"), QUESTIONS, ids=lambda each: each.name)
def test_every_question_can_be_shown(info: Any, asked: Any) -> None:
    assert asked.summary.endswith(".")
    assert len({column.name for column in asked.columns}) == len(asked.columns)
    assert all(param.doc.endswith(".") for param in asked.params)
    names = {each.name for each in asked.dimensions}
    assert not names & {param.name for param in asked.params}
    if not CATALOGUE[info.name].declared(asked.name).kinds:  # costs are nobody's
        assert info.name in {"cac", "efficiency"}
        assert not names
        return
    assert {"source", "currency", "country", "customer"} <= names
    if info.kind.cube is MOVEMENTS:
        assert {"plan", "product", "interval", "cohort_month", "mrr_band"} <= names
    assert ("type" in names) == (asked.name in OF_MOVEMENTS)


def test_the_catalogue_is_json() -> None:
    shown = json.loads(json.dumps(CATALOGUE.document()))
    assert [each["name"] for each in shown["metrics"]] == [kind.name for kind in METRICS]
    (mrr,) = [each for each in shown["metrics"] if each["name"] == "mrr"]
    assert mrr["default_question"] == "current"
    assert {each["name"]: each["kind"] for each in mrr["dimensions"]}["plan"] == "item"


def test_names_are_found_with_dashes_too() -> None:
    info = CATALOGUE.metric("quick-ratio")
    assert info.name == "quick_ratio"
    assert CATALOGUE.metric("mrr").question("net-new").name == "net_new"
    assert info.question().name == "current"
    with pytest.raises(UnknownMetric, match="'quick_ratio'"):
        CATALOGUE.metric("quikratio")
    with pytest.raises(UnknownQuestion, match="'series'"):
        info.question("serie")


def test_relative_defaults_count_back_from_the_end() -> None:
    start = CATALOGUE.metric("mrr").question("waterfall").params[0]
    assert start.default.resolve(date(2025, 7, 1), date(2025, 3, 31)) == date(2024, 4, 1)
    assert start.default_text == "the first day of the month eleven months before `end`"


def test_what_has_a_row_for_each_instant_is_a_list() -> None:
    """Everything else answers whole, so it must be about groups or periods."""
    for info in catalogue(METRICS).values():
        for each in info.questions:
            told = any(column.unit == "instant" for column in each.columns)
            assert each.lists == told, f"{info.name} {each.name}"
