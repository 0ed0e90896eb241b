"""The engine as a whole: what comes with a number, other policies, knowledge dates, snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, insert

from tests.support.asking import asked_of, settled
from tests.support.books import LAST_DAY, random_book
from tests.support.hand_ledger import HandLedger
from tidemill import models
from tidemill.database import Database
from tidemill.engine import MetricsEngine
from tidemill.errors import UnknownCustomer
from tidemill.metrics.spec import QuerySpec
from tidemill.policy import Policy


@pytest.fixture(name="ledger")
def hand_ledger(database: Database) -> HandLedger:
    return HandLedger(database)


@pytest.fixture(name="engine")
def small_business(ledger: HandLedger) -> MetricsEngine:
    ledger.customer("ann", name="<Ann & Co>")
    ledger.move("2025-01-15", "ann", "new", 10_000, logged=True)
    ledger.move("2025-02-10", "bob", "new", 5_000, logged=True)
    ledger.move("2025-05-20", "bob", "churn", -5_000, cause="past_due_timeout", logged=True)
    return ledger.engine()


# --- what comes with a number ---------------------------------------------------------------------


def test_the_json_of_a_result(engine: MetricsEngine) -> None:
    shown = engine.mrr.current(at="2025-06-30").to_dict()
    digest = shown["policy"].pop("hash")
    assert digest.startswith("sha256:")
    assert json.loads(json.dumps(shown)) == {
        "metric": "mrr",
        "question": "current",
        "params": {"at": "2025-06-30"},
        "dimensions": [],
        "filters": [],
        "segments": [],
        "compared": None,
        "columns": [{"name": "mrr", "unit": "money", "currency": "USD"}],
        "next": None,
        "rows": [{"mrr": "10000.000000"}],
        "policy": {"preset": "default", "set": {}},
        "as_of": "2025-07-01T00:00:00Z",
        "known_at": None,
        "complete": True,
        "warnings": [],
        "freshness": [{"source": "stripe", "last_event_at": "2025-05-20T12:00:00Z"}],
    }


def test_json_of_groups_periods_ratios_and_movements(engine: MetricsEngine) -> None:
    spec = QuerySpec(["customer"], ["customer=ann"])
    series = engine.mrr.series(start="2025-05-01", end="2025-05-31", spec=spec).to_dict()
    assert series["rows"] == [{"customer": "ann", "period": "2025-05-01", "mrr": "10000.000000"}]
    assert series["columns"][0] == {"name": "customer", "unit": "text", "dimension": True}
    assert series["filters"] == ["customer=ann"]
    ratio = engine.quick_ratio(start="2025-01-01", end="2025-05-31").to_dict()
    assert ratio["rows"] == [
        {
            "quick_ratio": "3",
            "quick_ratio_numerator": "15000.000000",
            "quick_ratio_denominator": "5000.000000",
        }
    ]
    moved = engine.mrr.movements(start="2025-05-01", end="2025-05-31").to_dict()
    assert moved["columns"][8] == {
        "name": "native_amount",
        "unit": "money",
        "currency": None,
        "currency_column": "currency",
    }
    assert moved["rows"][0]["occurred_at"] == "2025-05-20T12:00:00Z"
    assert moved["rows"][0]["native_amount"] == "-5000.000000"


def test_warnings_count_what_is_left_out(engine: MetricsEngine, ledger: HandLedger) -> None:
    refused = {"source": "stripe", "origin": "f:1", "kind": "events", "body": "{", "problems": []}
    with engine.database.begin() as connection:
        for number in range(2):
            row = refused | {"fingerprint": str(number)}
            connection.execute(insert(models.quarantine).values(row))
        replayed = refused | {"fingerprint": "3", "replayed_at": datetime(2025, 6, 1, tzinfo=UTC)}
        connection.execute(insert(models.quarantine).values(replayed))
    ledger.event("2025-06-20", livemode=False)
    assert engine.mrr.current(at="2025-06-30").warnings == (
        "2 events are in quarantine and not counted; see `tidemill quarantine list`.",
        "1 test-mode event is not counted.",
    )
    assert engine.warnings() == engine.mrr.current(at="2025-06-30").warnings


def test_freshness_is_that_of_live_events_as_known(
    engine: MetricsEngine, ledger: HandLedger
) -> None:
    ledger.event("2025-06-20", livemode=False)
    ledger.event("2025-03-01", "lago", recorded_at=datetime(2025, 3, 2, tzinfo=UTC))
    ledger.event("2025-06-01", "lago", recorded_at=datetime(2025, 6, 2, tzinfo=UTC))
    fresh = {each.source: each.last_event_at for each in engine.freshness()}
    assert fresh == {
        "stripe": datetime(2025, 5, 20, 12, tzinfo=UTC),
        "lago": datetime(2025, 6, 1, 12, tzinfo=UTC),
    }
    known = engine.mrr.current(known_at="2025-04-01T00:00:00Z").freshness
    assert {each.source: each.last_event_at for each in known} == {
        "stripe": None,
        "lago": datetime(2025, 3, 1, 12, tzinfo=UTC),
    }


def test_the_sql_that_is_shown_runs_and_gives_the_same(engine: MetricsEngine) -> None:
    tricky = QuerySpec(["plan", "mrr_band"], ["customer_name~=50%_o'Neil\\", "plan!=a:b%s"])
    questions: list[tuple[str, str, dict[str, Any]]] = [
        ("mrr", "current", {}),
        ("mrr", "current", {"spec": tricky}),
        ("mrr", "series", {}),
        ("mrr", "waterfall", {"spec": QuerySpec(["country"])}),
        ("mrr", "breakdown", {"start": "2025-01-01"}),
        ("mrr", "movements", {"start": "2025-01-01"}),
        ("customers", "series", {"spec": QuerySpec(["plan"])}),
        ("quick_ratio", "series", {}),
    ]
    for metric, question, arguments in questions:
        result = engine.query(metric, question, **arguments)
        with engine.database.connect() as connection:
            found = connection.exec_driver_sql(result.sql.replace("%", "%%"))
            rows = [dict(zip(found.keys(), row, strict=True)) for row in found]
        assert rows == list(result.rows), (metric, question)


def test_an_explanation(engine: MetricsEngine) -> None:
    told = engine.explain("mrr", "waterfall", start="2025-05-01", end="2025-05-31", customer="bob")
    assert told.title == "Monthly recurring revenue"
    assert "closing = opening" in told.formula
    assert "Stripe" in told.source
    assert told.policy == engine.policy
    assert "FROM metric_mrr_movement" in told.sql
    assert told.result.rows[0]["churn"] == -5_000
    (row,) = told.behind.rows
    assert (row["customer"], row["cause"]) == ("bob", "past_due_timeout")
    assert len(row["event_id"]) == 36
    shown = json.loads(json.dumps(told.to_dict()))
    assert shown["customer"] == "bob"
    assert shown["policy"]["knobs"]["netting"] == "day"
    assert shown["behind"]["rows"][0]["amount"] == "-5000.000000"


def test_explaining_a_customer_nobody_knows_is_refused(engine: MetricsEngine) -> None:
    for name in ("bobby", "", "a\0b", "\ud800"):
        with pytest.raises(UnknownCustomer):
            engine.explain("mrr", customer=name)


def test_a_merged_customer_is_explained_as_the_company_it_is(
    engine: MetricsEngine, ledger: HandLedger
) -> None:
    ledger.merge("ann", "bob")
    told = engine.explain("mrr", at="2025-03-31", customer="ann")
    assert told.result.filters == ("customer=bob",)
    apart = engine.explain(
        "customers", customer="ann", policy=engine.policy.turned({"identity": "per_source"})
    )
    assert apart.result.filters == ("customer=ann",)


def test_the_rows_behind_a_level_are_all_that_came_before(engine: MetricsEngine) -> None:
    result = engine.mrr.current(at="2025-05-31")
    behind = result.rows_behind()
    assert [row["type"] for row in behind.rows] == ["new", "new", "churn"]
    assert sum(row["amount"] for row in behind.rows) == result.value
    assert result.explain().behind.rows == behind.rows
    counted = engine.customers.current(at="2025-03-31", spec=QuerySpec(filters=["customer=ann"]))
    assert len(counted.rows_behind().rows) == 1


def test_an_explanation_says_when_it_shows_only_some_rows(
    engine: MetricsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.core.ROWS_MAX", 2)
    told = engine.explain("mrr", at="2025-05-31")
    assert len(told.behind.rows) == 2
    assert told.behind.following is not None
    assert any(each.startswith("Only 2 rows are shown: mrr movements goes on with after=")
               for each in told.behind.warnings)  # fmt: skip
    assert len(told.result.rows_behind().rows) == 3


def test_summary(engine: MetricsEngine) -> None:
    summary = engine.summary("2025-05-31")
    found = {each.name: (each.value, each.previous, each.change) for each in summary.headlines}
    assert (
        found.items()
        >= {
            "mrr": (10_000, 15_000, -5_000),
            "arr": (120_000, 180_000, -60_000),
            "customers": (1, 2, -1),
            "quick_ratio": (0, None, None),
            "net_new_mrr": (-5_000, 0, -5_000),
        }.items()
    )
    assert summary.previous_at == date(2025, 4, 30)
    assert summary.waterfall is not None
    assert [row["closing"] for row in summary.waterfall.rows] == [0, 10_000, *[15_000] * 3, 10_000]
    shown = json.loads(json.dumps(summary.to_dict()))
    assert shown["headlines"][0]["change"] == "-5000.000000"
    assert shown["complete"] is True


def test_a_summary_names_what_fails_and_shows_the_rest(
    engine: MetricsEngine, ledger: HandLedger
) -> None:
    """T41."""
    ledger.move("2025-05-01", "eva", "new", 1_000, currency="EUR")
    summary = engine.summary("2025-05-31")
    failed = {each.name: each.error.code for each in summary.headlines if each.error}
    names = ("mrr", "arr", "arpa", "net_new_mrr", "quick_ratio", "ltv")
    assert failed == dict.fromkeys(names, "missing_rate")
    assert [each.value for each in summary.headlines if each.name == "customers"] == [2]
    assert summary.waterfall is None
    assert summary.waterfall_error is not None
    assert not summary.complete
    assert summary.to_dict()["headlines"][0]["error"]["code"] == "missing_rate"


# --- other policies and knowledge dates -----------------------------------------------------------


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that reach the database."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def reads_facts(seen: list[str]) -> bool:
    kept = ("FROM metric_mrr_movement", "FROM metric_mrr_daily")
    return any(table in statement for statement in seen for table in kept)


def test_the_table_and_the_derivation_answer_alike(database: Database) -> None:
    """The facts are a cache of the derivation."""
    engine = asked_of(database, random_book(21))
    questions: list[tuple[str, str, dict[str, Any]]] = [
        ("mrr", "waterfall", {"spec": QuerySpec(["plan"])}),
        ("mrr", "movements", {"start": "2025-01-01"}),
        ("customers", "series", {"spec": QuerySpec(["country"])}),
        ("mrr", "current", {"spec": QuerySpec(["mrr_band"])}),
    ]
    for metric, question, arguments in questions:
        with statements(database) as seen:
            kept = (
                engine.query(metric, question, end=LAST_DAY, **arguments)
                if (question != "current")
                else engine.query(metric, question, at=LAST_DAY, **arguments)
            )
        assert reads_facts(seen)
        with statements(database) as seen:
            now = {"known_at": "2030-01-01T00:00:00Z", **kept.params, **arguments}
            derived = engine.query(metric, question, **now)
        assert not reads_facts(seen)
        assert derived.rows == kept.rows, (metric, question)


def test_facts_of_another_policy_are_not_used(database: Database) -> None:
    """A store kept under one policy derives to answer under another, whatever is configured."""
    engine = asked_of(database, random_book(22))
    other = Policy.of("default", {"discounts": "exclude"})
    under_other = engine.mrr.current(at=LAST_DAY, policy=other).value
    configured_later = MetricsEngine(
        database, base_currency="USD", policy=other, as_of=engine._as_of
    )
    with statements(database) as seen:
        assert configured_later.mrr.current(at=LAST_DAY).value == under_other
    assert not reads_facts(seen)
    settled(database, other)
    with statements(database) as seen:
        assert configured_later.mrr.current(at=LAST_DAY).value == under_other
    assert reads_facts(seen)


def test_knobs_outside_the_ledger_use_the_facts(engine: MetricsEngine) -> None:
    policy = engine.policy.turned({"quick_ratio_reactivation": "no"})
    with statements(engine.database) as seen:
        engine.quick_ratio(policy=policy)
    assert reads_facts(seen)


def test_as_it_was_known(database: Database) -> None:
    """A cancellation of 28 March that was recorded on 5 April."""
    start = {
        "source": "book",
        "type": "subscription.created",
        "occurred_at": "2025-01-10T00:00:00Z",
        "recorded_at": "2025-01-10T00:00:01Z",
        "customer": "c1",
        "data": _subscription("active"),
    }
    cancel = start | {
        "type": "subscription.churned",
        "occurred_at": "2025-03-28T00:00:00Z",
        "recorded_at": "2025-04-05T00:00:00Z",
        "data": _subscription("canceled"),
    }
    engine = asked_of(database, [start, cancel])
    assert engine.mrr.current(at="2025-03-31").value == 0
    known = engine.mrr.current(at="2025-03-31", known_at="2025-04-01T00:00:00Z")
    assert known.value == 1_000
    assert known.to_dict()["known_at"] == "2025-04-01T00:00:00Z"
    assert known.complete
    early = engine.mrr.current(at="2025-03-31", known_at="2025-03-30T00:00:00Z")
    assert not early.complete
    before = engine.mrr.current(at="2025-03-31", known_at="2025-01-01T00:00:00Z")
    assert before.value == 0
    assert "Nothing had been recorded yet at 2025-01-01T00:00:00Z." in before.warnings


def _subscription(status: str) -> dict[str, Any]:
    return {
        "id": "s1",
        "status": status,
        "currency": "usd",
        "items": [
            {
                "id": "i1",
                "plan": "p",
                "quantity": 1,
                "unit_amount": "1000",
                "interval": "month",
                "interval_count": 1,
                "usage_type": "licensed",
            }
        ],
        "started_at": "2025-01-10T00:00:00Z",
    }


# --- snapshots and sessions ---------------------------------------------------------------------


@pytest.mark.parametrize("session_zone", ["Asia/Kathmandu", "America/Los_Angeles"])
def test_the_sessions_time_zone_does_not_matter(database: Database, session_zone: str) -> None:
    """T26: the same rows in sessions far from UTC, from the facts and derived."""
    engine = asked_of(database, random_book(23))
    policies = [engine.policy, Policy.of("default", {"tz": "Europe/Prague"})]

    def answers() -> list[Any]:
        return [
            engine.query(metric, question, policy=policy, end=LAST_DAY, grain=grain).rows
            for policy in policies
            for metric, question in (("mrr", "waterfall"), ("customers", "series"))
            for grain in ("day", "month", "week")
        ]

    in_utc = answers()
    database.engine.dispose()

    @event.listens_for(database.engine, "connect")
    def elsewhere(connection: Any, _: Any) -> None:
        connection.execute("SELECT set_config('TimeZone', %s, false)", [session_zone])
        connection.commit()

    with database.connect() as connection:
        assert connection.execute(sa.select(sa.func.current_setting("TimeZone"))).scalar() == (
            session_zone
        )
    assert answers() == in_utc


def test_an_answer_reads_one_snapshot_and_writes_nothing(
    engine: MetricsEngine, ledger: HandLedger
) -> None:
    written: list[str] = []

    def write_meanwhile(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "metric_mrr_movement" in statement and not written:
            written.append(statement)
            ledger.move("2025-06-01", "cyd", "new", 1)

    event.listen(engine.database.engine, "after_cursor_execute", write_meanwhile)
    try:
        summary = engine.summary("2025-06-30")
    finally:
        event.remove(engine.database.engine, "after_cursor_execute", write_meanwhile)
    assert written
    assert summary.headlines[0].value == summary.headlines[1].value / 12 == 10_000  # type: ignore[operator]  # no None
    assert engine.mrr.current(at="2025-06-30").value == 10_001
    with engine.database.snapshot() as connection, pytest.raises(sa.exc.InternalError):
        connection.execute(insert(models.source).values(name="x", kind="y"))


def test_a_question_takes_few_statements(engine: MetricsEngine) -> None:
    """What to warn of, how fresh the data are, missing rates, the answer."""
    with statements(engine.database) as seen:
        engine.mrr.current()
    assert len([each for each in seen if each.startswith(("SELECT", "WITH"))]) <= 4


def test_engines_keep_their_own_instant(engine: MetricsEngine) -> None:
    assert engine.mrr.current().as_of == datetime(2025, 7, 1, tzinfo=UTC)
    live = MetricsEngine(engine.database, base_currency="USD")
    assert live.mrr.current().as_of > datetime(2025, 7, 1, tzinfo=UTC)


def test_values_are_what_json_says(ledger: HandLedger) -> None:
    ledger.move("2025-01-15", "ann", "new", Decimal(100_000) / 12)
    result = ledger.engine().mrr.current()
    assert result.value == Decimal(result.to_dict()["rows"][0]["mrr"]) == Decimal("8333.333333")
    assert replace(result).money == "$83.33"
