"""Comparing policies: worked figures, by knob and by customer, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from tests.conftest import NewDatabase
from tests.support.asking import asked_of
from tests.support.cases import canonical_events, load_cases
from tests.support.known_book import EVENTS
from tidemill import models
from tidemill.database import Database
from tidemill.engine import Comparison, Tidemill
from tidemill.engine.comparison import CustomerChanges, Pair
from tidemill.engine.facade import compared_policies
from tidemill.engine.scratch import scratch_snapshot
from tidemill.errors import InvalidPolicy, InvalidQuery, KnobNotSupported, UnknownPolicy
from tidemill.policy import Policy

APRIL: dict[str, Any] = {"start": "2025-04-01", "end": "2025-04-30"}
LAST: dict[str, Any] = {"at": "2025-04-30"}


@pytest.fixture(scope="module")
def e40(new_database: NewDatabase) -> Iterator[Tidemill]:
    """The case whose churn every product tells differently."""
    case = next(each for each in load_cases() if each.id == "E40")
    with new_database() as database:
        yield Tidemill(database, asked_of(database, canonical_events(case)))


@pytest.fixture(scope="module")
def known(new_database: NewDatabase) -> Iterator[Tidemill]:
    """The book of `known_book`: ada in dollars, bert in euros."""
    with new_database() as database:
        yield Tidemill(database, asked_of(database, EVENTS))


def figures(comparison: Comparison) -> dict[str, object]:
    """Label → the one value of each side."""
    name = comparison.figure.name
    return {
        each.label: each.result.rows[0][name]
        for each in comparison.sides
        if each.result is not None
    }


def by_knob(pair: Pair) -> dict[str, object]:
    """Knobs → what they change the main figure by, where that is not nothing."""
    return {part.knobs: part.amount for part in pair.changes[0].parts if part.amount}


def listed(pair: Pair) -> CustomerChanges:
    """The customers of a pair that must have some."""
    assert pair.customers is not None
    return pair.customers


def test_mrr_by_knob_and_by_customer(e40: Tidemill) -> None:
    # b1, b4's first subscription and n1 were cancelled in April and are paid until May.
    found = e40.compare("mrr", presets=["default", "smsb", "maxio"], **LAST)
    assert figures(found) == {"default": 87_000, "smsb": 127_000, "maxio": 87_000}
    smsb, maxio = found.pairs
    assert by_knob(smsb) == {"churn_recognition": 40_000}
    assert [(each.customer, each.changes[0].difference) for each in listed(smsb).listed] == [
        ("n1", 20_000),
        ("b1", 10_000),
        ("b4", 10_000),
    ]
    lost = listed(smsb).listed[1].movements
    assert [(each.under, str(each.row["day"]), each.row["type"]) for each in lost] == [
        ("default", "2025-04-05", "churn")
    ]
    assert lost[0].row["amount"] == -10_000
    assert lost[0].row["cause"] == "event"
    assert lost[0].row["event_id"]
    assert by_knob(maxio) == {}
    assert listed(maxio).count == 0
    assert "logo_numerator" in maxio.idle


def test_a_ratio_by_knob_and_by_customer(e40: Tidemill) -> None:
    found = e40.compare("quick_ratio", presets=["default", "chartmogul"], **APRIL)
    [pair] = found.pairs
    ratio, numerator = pair.changes
    assert (numerator.baseline, numerator.other) == (50_000, 34_000)
    assert [part.knobs for part in ratio.parts if part.amount] == ["quick_ratio_reactivation"]
    assert [(each.customer, each.changes[0].difference) for each in listed(pair).listed] == [
        ("b4", -10_000),
        ("r1", -6_000),
    ]
    # Both have the same movements; they are counted differently.
    assert {each.under for each in listed(pair).listed[0].movements} == {None}


def test_logo_churn_as_every_product_tells_it(e40: Tidemill) -> None:
    """One book, one month, six rates: 12.5, 12.5, 25, 30, 37.5 and 0 per cent."""
    presets = ["default", "chartmogul", "maxio", "stripe", "baremetrics", "smsb"]
    found = e40.compare("churn", "logo", presets=presets, **APRIL)
    rates = ("0.125", "0.125", "0.25", "0.3", "0.375", "0")
    assert figures(found) == dict(zip(presets, map(Decimal, rates), strict=True))
    chartmogul, maxio, stripe, baremetrics, smsb = found.pairs
    assert by_knob(chartmogul) == {}
    assert by_knob(maxio) == {"logo_numerator": Decimal("0.125")}
    # Three churns of eight, then of the eight and the two who joined.
    assert by_knob(stripe) == {
        "logo_numerator": Decimal("0.25"),
        "logo_denominator": Decimal("-0.075"),
    }
    assert by_knob(baremetrics) == {"logo_numerator": Decimal("0.25")}
    assert by_knob(smsb) == {"churn_recognition": Decimal("-0.125")}
    who = {
        pair.other: {each.customer: each.changes[0].difference for each in listed(pair).listed}
        for pair in found.pairs
    }
    # b4 left and came back, n1 joined and left, n2 joined; b1 is paid until May.
    assert who == {
        "chartmogul": {},
        "maxio": {"b4": 1},
        "stripe": {"b4": 1, "n1": 1, "n2": 1},
        "baremetrics": {"b4": 1, "n1": 1},
        "smsb": {"b1": -1},
    }
    [gone] = listed(smsb).listed[0].movements
    assert (gone.under, str(gone.row["day"]), gone.row["type"]) == (
        "default",
        "2025-04-05",
        "churn",
    )


def test_customers_are_limited_and_the_rest_is_summed(e40: Tidemill) -> None:
    found = e40.compare("mrr", presets=["default", "smsb"], limit=1, **LAST)
    [pair] = found.pairs
    assert [each.customer for each in listed(pair).listed] == ["n1"]
    assert (listed(pair).count, listed(pair).others) == (3, 20_000)
    none = e40.compare("mrr", presets=["default", "smsb"], limit=0, **LAST).pairs[0]
    assert (listed(none).listed, listed(none).others) == ((), 40_000)


def test_every_period_and_group_stands_side_by_side(e40: Tidemill) -> None:
    found = e40.compare(
        "mrr", "waterfall", presets=["default", "smsb"], by=["interval"], grain="month", **APRIL
    )
    assert [each.name for each in found.keys] == ["interval", "period"]
    [pair] = found.pairs
    changed = {each.column.name: each.difference for each in pair.changes}
    # b4 has not left, so its return is no reactivation: the second subscription is expansion.
    assert changed == {
        "closing": 40_000,
        "churn": 40_000,
        "reactivation": -10_000,
        "expansion": 10_000,
    }
    for each in pair.changes:
        assert sum(part.amount for part in each.parts) == each.difference


def test_sides_may_be_written_with_overrides(e40: Tidemill) -> None:
    presets = ["default", "default;netting=month", "smsb ; churn_recognition=at_cancellation"]
    found = e40.compare("mrr", presets=presets, set={"rounding": "subscription"}, **LAST)
    policies = [each.policy for each in found.sides]
    assert [each.label for each in found.sides] == presets
    assert {each.rounding for each in policies} == {"subscription"}
    assert [each.netting for each in policies] == ["day", "month", "month"]
    assert set(figures(found).values()) == {Decimal(87_000)}
    own = compared_policies(Policy.of(), ["default", "smsb;netting=none"], {"netting": "day"})
    assert [each.netting for each in own.values()] == ["day", "none"]


def test_one_policy_is_compared_with_the_configured_one() -> None:
    configured = Policy.of("chartmogul", {"tz": "Asia/Kathmandu", "netting": "day"})
    policies = compared_policies(configured, ["stripe"])
    assert list(policies) == ["configured", "stripe"]
    assert policies["configured"] == configured
    assert policies["stripe"] == Policy.of("stripe", {"tz": "Asia/Kathmandu"})
    turned = compared_policies(configured, ["stripe", "configured;netting=month"])
    assert turned["configured;netting=month"] == configured.turned({"netting": "month"})


def test_what_cannot_be_compared_is_refused(e40: Tidemill) -> None:
    for presets in ([], ["default", "default"], ["configured"]):
        with pytest.raises(InvalidQuery, match="preset"):
            e40.compare("mrr", presets=presets, **LAST)
    with pytest.raises(UnknownPolicy):
        e40.compare("mrr", presets=["default", "strip"], **LAST)
    with pytest.raises(InvalidPolicy, match="no value"):
        e40.compare("mrr", presets=["default", "stripe;netting"], **LAST)
    with pytest.raises(InvalidQuery, match="is a list"):
        e40.compare("mrr", "movements", presets=["default", "stripe"], **APRIL)
    with pytest.raises(InvalidQuery, match="preset"):
        e40.compare("mrr", presets=["default", "stripe"], preset="smsb", **LAST)
    with pytest.raises(KnobNotSupported):
        e40.compare(
            "customers",
            presets=["default", "stripe"],
            set={"free_plans": "always"},
            by=["plan"],
            **LAST,
        )


def test_a_side_that_is_refused_is_named_and_the_others_stand(e40: Tidemill) -> None:
    presets = ["default", "default;free_plans=always", "smsb"]
    found = e40.compare("customers", presets=presets, by=["plan"], **LAST)
    assert isinstance(found.sides[1].error, KnobNotSupported)
    assert [each.other for each in found.pairs] == ["smsb"]
    assert not found.complete
    assert found.to_dict()["sides"][1]["error"]["code"] == "knob_not_supported"


def test_a_policy_half_way_that_has_no_answer(known: Tidemill) -> None:
    """With `fx` alone turned, the fixed day has no rate: its part is told with the next knob's."""
    presets = [
        "default;fx_constant_date=2020-01-01",
        "default;fx=constant;fx_constant_date=2025-01-10",
    ]
    [pair] = known.compare("mrr", presets=presets, at="2025-03-04").pairs
    # bert pays ten euros a month, worth 1.10 dollars each instead of 1.20.
    assert by_knob(pair) == {"fx + fx_constant_date": Decimal(-100)}
    [note] = pair.notes
    assert note.startswith("fx = constant cannot be turned by itself here")


def test_from_subscriptions_to_customers_kept_at_no_value(e40: Tidemill) -> None:
    """Half-way between maxio and chartmogul both are at once; each knob has a part of its own."""
    found = e40.compare("mrr", presets=["maxio", "chartmogul"], **LAST)
    [pair] = found.pairs
    assert [each.error for each in found.sides] == [None, None]
    assert [part.knobs for part in pair.changes[0].parts] == [
        "activation",
        "free_plans",
        "usage",
        "movement_level",
        "netting",
        "reactivation",
        "fx",
    ]
    assert pair.notes == ()


def test_an_undefined_figure_half_way(known: Tidemill) -> None:
    """In February nothing is lost; the ratio is undefined, its numerator is not."""
    february: dict[str, Any] = {"start": "2025-02-01", "end": "2025-02-28"}
    found = known.compare("quick_ratio", presets=["default", "smsb"], **february)
    [pair] = found.pairs
    assert pair.changes[0].difference is None
    assert pair.changes[0].parts == ()
    assert any("undefined" in each for each in found.warnings)


def test_counts(known: Tidemill) -> None:
    presets = ["default", "default;churn_recognition=at_period_end"]
    found = known.compare("customers", presets=presets, at="2025-03-31")
    assert figures(found) == {presets[0]: 1, presets[1]: 1}
    assert isinstance(found.pairs[0].changes[0].difference, int)


def test_days_left_out_are_the_baselines(e40: Tidemill) -> None:
    found = e40.compare("mrr", presets=["default", "default;tz=Pacific/Auckland"])
    assert {each.result.params["at"] for each in found.sides if each.result} == {found.params["at"]}


def test_ledgers_are_derived_once_and_nothing_else_is_written(e40: Tidemill) -> None:
    database = e40.database
    with scratch_snapshot(database, ["one", "two", "one"]) as scratch:
        assert len(scratch.free) == 2
        with pytest.raises(DBAPIError, match="read-only transaction"):
            scratch.connection.execute(insert(models.source), [{"name": "x", "kind": "files"}])


def test_without_the_right_to_temporary_tables(
    e40: Tidemill, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = e40.compare("mrr", presets=["default", "smsb"], **LAST)
    monkeypatch.setattr("tidemill.engine.scratch._possible", _never)
    found = e40.compare("mrr", presets=["default", "smsb"], **LAST)
    assert found.pairs == wanted.pairs


def _never(_: Database) -> bool:
    return False
