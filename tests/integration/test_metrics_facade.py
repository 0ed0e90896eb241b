"""`tidemill.connect()` and what hangs on it, as in a notebook."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

import tidemill
from tests.support.hand_ledger import AS_OF, HandLedger
from tidemill.database import Database
from tidemill.engine import choose_policy
from tidemill.errors import InvalidSettings, UnknownPolicy
from tidemill.metrics import METRICS
from tidemill.policy import Policy


@pytest.fixture(name="t")
def connected(database: Database, monkeypatch: pytest.MonkeyPatch) -> tidemill.Tidemill:
    ledger = HandLedger(database)
    ledger.move("2025-01-15", "ann", "new", 1_245_000)
    ledger.move("2025-02-10", "bob", "new", 5_000, plan="team")
    ledger.move("2025-05-20", "bob", "churn", -5_000, plan="team")
    return tidemill.Tidemill(database, ledger.engine())


def test_a_number(t: tidemill.Tidemill) -> None:
    result = t.mrr.current(at="2025-06-30")
    assert result.value == Decimal(1_245_000)
    assert result.money == "$12,450.00"
    assert t.mrr().params == {"at": date(2025, 7, 1)}
    assert t.query("customers").value == 1


def test_cutting_and_other_policies(t: tidemill.Tidemill) -> None:
    flow = t.mrr.waterfall(start="2025-01-01", end="2025-06-30", by=["plan"], grain="year")
    assert [(row["plan"], row["closing"]) for row in flow.rows] == [
        ("basic", 1_245_000),
        ("team", 0),
    ]
    assert t.mrr.current(at="2025-03-31", where={"plan": "team"}).value == 5_000
    assert t.mrr.current(at="2025-03-31", where=["plan!=team"]).value == 1_245_000
    spec = tidemill.QuerySpec(dimensions=["plan"])
    both = t.mrr.current(at="2025-03-31", spec=spec, by="country", where="plan=team")
    assert both.rows == ({"plan": "team", "country": "unknown", "mrr": 5_000},)
    ratio = t.quick_ratio(
        start="2025-01-01", end="2025-06-30", set={"quick_ratio_reactivation": "no"}
    )
    assert ratio.policy.overrides == {"quick_ratio_reactivation": "no"}
    # These books were written by hand: no history to derive them from under another policy.
    assert t.mrr.current(preset="stripe").policy.preset == "stripe"
    assert t.mrr.current(known_at="2025-03-01T00:00:00Z").known_at is not None
    with pytest.raises(UnknownPolicy):
        t.mrr.current(preset="strip")


def test_explaining_and_summing_up(t: tidemill.Tidemill) -> None:
    told = t.explain("mrr", at="2025-06-30", customer="bob")
    assert told.result.value == 0
    assert len(told.behind.rows) == 2
    assert t.summary("2025-06-30").headlines[0].value == 1_245_000
    assert t.freshness()[0].source == "stripe"
    assert list(t.catalogue()) == [metric.name for metric in METRICS]


def test_what_is_there_shows_up_in_a_notebook(t: tidemill.Tidemill) -> None:
    assert {"mrr", "arr", "customers", "quick_ratio", "summary"} <= set(dir(t))
    assert "waterfall" in dir(t.mrr)
    assert repr(t.arr) == "<Annual recurring revenue: current, series>"
    assert not hasattr(t, "mmr")


def test_connecting(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    HandLedger(database).move("2025-01-15", "ann", "new", 1_000, currency="EUR")
    monkeypatch.setenv("TIDEMILL_BASE_CURRENCY", "GBP")
    settings = {"base_currency": "EUR", "timezone": "Asia/Kathmandu", "as_of": AS_OF}
    with tidemill.connect(url, policy_set={"netting": "month"}, **settings) as t:
        assert t.engine.base_currency == "EUR"
        assert (t.engine.policy.tz, t.engine.policy.netting) == ("Asia/Kathmandu", "month")
        # 05:45 on the first of July: the last of June is over.
        assert t.customers.current(at="2025-06-30", set={"netting": "day"}).complete
    with tidemill.connect(url) as t:
        assert t.engine.base_currency == "GBP"
    with pytest.raises(InvalidSettings):
        tidemill.connect(url, base_currency="XXX")


def test_a_preset_keeps_the_configured_time_zone() -> None:
    configured = Policy.of("default", {"tz": "Europe/Prague", "netting": "month"})
    assert choose_policy(configured) is configured
    assert choose_policy(configured, None, {"tax": "include"}).overrides == {
        "tz": "Europe/Prague",
        "netting": "month",
        "tax": "include",
    }
    assert choose_policy(configured, "stripe").overrides == {"tz": "Europe/Prague"}
    assert choose_policy(configured, "stripe", {"tz": "UTC"}).tz == "UTC"
