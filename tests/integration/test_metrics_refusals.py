"""What the engine refuses: missing rates, unknown names, impossible ranges; all at once."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.support.hand_ledger import HandLedger
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import (
    InvalidQuery,
    KnobNotSupported,
    MissingRate,
    NotOneValue,
    UnknownMetric,
    UnknownQuestion,
)
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy


@pytest.fixture(name="ledger")
def hand_ledger(database: Database) -> HandLedger:
    return HandLedger(database)


@pytest.fixture(name="engine")
def two_currencies(ledger: HandLedger) -> MetricsEngine:
    """Euro rates begin on 1 March; the yen has none."""
    ledger.rate("2025-03-01", "EUR", "1.10")
    ledger.move("2025-01-15", "eva", "new", 10_000, currency="EUR")
    ledger.move("2025-02-10", "yuki", "new", 1_000, currency="JPY")
    ledger.move("2025-02-20", "yuki", "churn", -1_000, currency="JPY")
    ledger.move("2025-02-25", "uma", "new", 2_000)
    return ledger.engine()


def missing(error: pytest.ExceptionInfo[MissingRate]) -> list[tuple[str, str]]:
    return [(each["currency"], each["day"]) for each in error.value.context["missing"]]


def test_a_missing_rate_is_an_error_that_names_currency_and_day(engine: MetricsEngine) -> None:
    with pytest.raises(MissingRate, match="from EUR for 2025-02-28") as error:
        engine.mrr.current(at="2025-02-28")
    assert (error.value.currency, error.value.day) == ("EUR", date(2025, 2, 28))
    assert engine.mrr.current(at="2025-03-01").value == 13_000
    with pytest.raises(MissingRate):
        engine.arr.current(at="2025-02-28", spec=QuerySpec(["plan"]))


def test_all_missing_rates_are_named(engine: MetricsEngine) -> None:
    with pytest.raises(MissingRate) as error:
        engine.mrr.series(start="2025-01-01", end="2025-04-30")
    assert missing(error) == [("EUR", "2025-01-31"), ("EUR", "2025-02-28")]
    with pytest.raises(MissingRate) as error:
        engine.mrr.waterfall(start="2025-01-01", end="2025-04-30")
    assert missing(error) == [
        *(("EUR", "2025-01-15"), ("EUR", "2025-01-31"), ("EUR", "2025-02-28")),
        *(("JPY", "2025-02-10"), ("JPY", "2025-02-20")),
    ]
    assert "from JPY for 2025-02-10, 2025-02-20" in error.value.message
    with pytest.raises(MissingRate) as error:
        engine.mrr.movements(start="2025-02-01", end="2025-02-28")
    assert missing(error) == [("JPY", "2025-02-10"), ("JPY", "2025-02-20")]
    with pytest.raises(MissingRate):
        engine.quick_ratio(start="2025-01-01", end="2025-02-28")
    with pytest.raises(MissingRate):
        engine.mrr.breakdown(start="2025-02-01", end="2025-02-28")


def test_the_opening_of_a_waterfall_needs_its_rate(engine: MetricsEngine) -> None:
    with pytest.raises(MissingRate) as error:
        engine.mrr.waterfall(start="2025-03-01", end="2025-03-31")
    assert missing(error) == [("EUR", "2025-02-28")]
    assert engine.mrr.waterfall(start="2025-03-02", end="2025-03-31").rows[0]["closing"] == 13_000


def test_what_is_not_there_needs_no_rate(engine: MetricsEngine) -> None:
    assert engine.mrr.current(at="2025-03-31").value == 13_000  # no yen is left
    spec = QuerySpec(filters=["currency=USD"])
    assert engine.mrr.waterfall(start="2025-01-01", end="2025-04-30", spec=spec).rows
    assert engine.customers.current(at="2025-02-15").value == 2


@pytest.mark.parametrize("spec", [QuerySpec(["mrr_band"]), QuerySpec(filters=["mrr_band=<10"])])
def test_a_band_that_cannot_be_known_is_refused(engine: MetricsEngine, spec: QuerySpec) -> None:
    """Without the check, a filter would silently leave those customers out."""
    with pytest.raises(MissingRate) as error:
        engine.customers.current(at="2025-02-28", spec=spec)
    assert missing(error) == [("EUR", "2025-02-28")]


def test_a_constant_rate_needs_its_day(engine: MetricsEngine) -> None:
    def under(day: str) -> Policy:
        return Policy.of("default", {"fx": "constant", "fx_constant_date": day})

    first = Policy.of("default", {"fx": "constant"})
    constant = {"at": "2025-01-31", "spec": QuerySpec(filters=["currency=EUR"])}
    settled = engine.policy.turned({"fx": "constant"})
    # The ledger is another one under another fx, and has to be derived; these books are by hand.
    by_hand = MetricsEngine(
        engine.database, base_currency="USD", policy=settled, as_of=engine.query("mrr").as_of
    )
    assert by_hand.mrr.current(**constant, policy=first).value == 11_000
    for day, found in (("2025-03-01", 11_000), ("2025-02-28", None)):
        configured = MetricsEngine(engine.database, base_currency="USD", policy=under(day))
        if found is None:
            with pytest.raises(MissingRate):
                configured.mrr.current(**constant)
        else:
            assert configured.mrr.current(**constant).value == found


def issues(engine: MetricsEngine, metric: str, question: str, **arguments: Any) -> list[str]:
    with pytest.raises(InvalidQuery) as error:
        engine.query(metric, question, **arguments)
    return [str(issue) for issue in error.value.issues]


def test_all_problems_at_once_each_with_a_near_name(engine: MetricsEngine) -> None:
    spec = QuerySpec(
        ["contry", "type", "plan"], ["prodct=x", "plan", "type=chrn", "cohort_month=soon"]
    )
    days = {"start": "2025-06-31", "end": "yesterday"}
    found = issues(engine, "mrr", "series", **days, grain="moth", hello=1, spec=spec)
    movements_only = (
        "'type' describes movements and cannot cut mrr series. Ask mrr net_new or movements for it."
    )
    grains = "Choose one of day, week, month, quarter, year."
    assert found == [
        "hello: is not a parameter of mrr series. Parameters: start, end, grain.",
        "end: 'yesterday' is not a calendar day. Write YYYY-MM-DD.",
        "start: '2025-06-31' is not a calendar day. Write YYYY-MM-DD.",
        f"grain: 'moth' is not possible. Did you mean 'month'? {grains}",
        "dimensions: no dimension is named 'contry'. Did you mean 'country'?",
        f"dimensions: {movements_only}",
        "where: 'plan' is not a filter. Write DIM=VALUE, DIM!=VALUE or DIM~=TEXT.",
        "where: no dimension is named 'prodct'. Did you mean 'product'?",
        f"where: {movements_only}",
        "where cohort_month=soon: 'soon' is not a cohort_month. Write YYYY-MM.",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"start": "2025-03-01", "end": "2025-02-01"}, "before it starts"),
        ({"start": "1900-01-02", "end": "2200-01-01", "grain": "day"}, "more than 5000 periods"),
        ({"start": "0001-01-01"}, "is not a calendar day"),
        ({"start": date(1, 1, 1)}, "is out of reach"),
        ({"end": date(9999, 12, 31)}, "is out of reach"),
        ({"start": 20250101}, "is not a calendar day"),
        ({"grain": "month'); DROP TABLE customer; --"}, "is not possible"),
        ({"spec": QuerySpec(grain="week"), "grain": "day"}, "is given twice"),
        ({"spec": QuerySpec(filters=["plan="])}, "the value is empty"),
        ({"spec": QuerySpec(filters=["plan=a\0b"])}, "a character no text can hold"),
        ({"spec": QuerySpec(filters=["plan=\ud800"])}, "a character no text can hold"),
        ({"spec": QuerySpec(filters=["mrr_band=10-60"])}, "Did you mean '10-50'?"),
        ({"spec": QuerySpec(filters=["cohort_month~=2025"])}, "contains no text"),
        ({"spec": QuerySpec(filters=["1; DROP TABLE customer=1"])}, "no dimension is named"),
    ],
)
def test_impossible_questions(engine: MetricsEngine, arguments: dict[str, Any], said: str) -> None:
    """D03, D04: only what the catalogue knows gets anywhere near SQL."""
    assert said in " ".join(issues(engine, "mrr", "series", **arguments))


def test_questions_without_periods_have_no_grain(engine: MetricsEngine) -> None:
    assert issues(engine, "mrr", "current", spec=QuerySpec(grain="week")) == [
        "grain: current has no periods."
    ]


def test_a_spec_brings_the_grain(engine: MetricsEngine) -> None:
    spec = QuerySpec(grain="quarter")
    result = engine.customers.series(start="2025-01-01", end="2025-06-30", spec=spec)
    assert result.params["grain"] == "quarter"
    assert len(result.rows) == 2


def test_unknown_metrics_and_questions(engine: MetricsEngine) -> None:
    with pytest.raises(UnknownMetric, match="Did you mean 'mrr'"):
        engine.query("mmr")
    with pytest.raises(UnknownQuestion, match="Did you mean 'waterfall'"):
        engine.mrr.watrfall()
    with pytest.raises(AttributeError):
        _ = engine.mmr
    assert engine.query("quick-ratio").metric == "quick_ratio"


def test_knobs_that_are_not_honoured_are_refused(engine: MetricsEngine) -> None:
    free = Policy.of("default", {"free_plans": "always"})
    with pytest.raises(KnobNotSupported, match="free_plans"):
        engine.customers.current(policy=free, spec=QuerySpec(["plan"]))
    other = Policy.of("default", {"arr_basis": "contract_value"})
    with pytest.raises(KnobNotSupported, match="arr_basis"):
        engine.arr.current(at="2025-03-31", policy=other, spec=QuerySpec(["mrr_band"]))


def test_several_rows_are_not_one_value(engine: MetricsEngine) -> None:
    result = engine.customers.series(start="2025-01-01", end="2025-06-30")
    with pytest.raises(NotOneValue, match="6 rows"):
        _ = result.value
    with pytest.raises(NotOneValue, match="answers with a count"):
        _ = engine.customers.current().money
