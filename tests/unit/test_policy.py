"""Policies: names and values of the definitions, one canonical form, one hash, all problems."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from tests.support.cases import DECIDED
from tidemill.errors import InvalidPolicy, UnknownKnob, UnknownPolicy
from tidemill.knobs import KNOB_NAMES, KNOBS, KnobLayer
from tidemill.policy import Difference, Policy, fraction, parameter
from tidemill.presets import EVIDENCE, PRESETS, SOURCES

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "edge_cases.json").read_text(encoding="utf-8")
)
POLICIES_OF_CASES = sorted({key for case in CASES["cases"] for key in case["expect"]})
DEFAULT_HASH = "sha256:2ccf977f18518664dbd09abe8ca78da117869d610af397f83e2716f20cc86b51"


# --- the definitions -----------------------------------------------------------------------------


def test_defaults_are_those_of_the_worked_cases() -> None:
    policy = Policy.of()
    assert {name: getattr(policy, name) for name in CASES["knob_defaults"]} == (
        CASES["knob_defaults"]
    )


@pytest.mark.parametrize("name", CASES["presets"])
def test_presets_are_those_of_the_worked_cases(name: str) -> None:
    ours = {k: v for k, v in PRESETS[name].overrides.items() if k in CASES["knob_defaults"]}
    assert ours == CASES["presets"][name] | DECIDED.get(name, {})


def test_presets_say_more_only_on_knobs_without_worked_cases() -> None:
    more = {
        name: {k: v for k, v in preset.overrides.items() if k not in CASES["knob_defaults"]}
        for name, preset in PRESETS.items()
    }
    assert {name: each for name, each in more.items() if each} == {
        "chartmogul": {"ltv_churn": "trailing:6", "partial_period": "linear"},
        "smsb": {"ltv_numerator": "arpa_x_margin"},
    }


@pytest.mark.parametrize("key", POLICIES_OF_CASES)
def test_every_policy_of_the_worked_cases_can_be_made(key: str) -> None:
    preset, *settings = key.split(";")
    policy = Policy.parse(key)
    for setting in settings:
        knob, value = setting.split("=")
        assert str(getattr(policy, knob)) == value
    assert policy.preset == preset


# The table of knobs in the definitions: knob, then its values, the default first.
DEFINED = """
identity merged per_source
event_time effective recorded
late_events restate book_when_received
close_lag_days 3
tz UTC
activation status_active invoice_paid invoice_issued partly_paid
trials_in_mrr exclude include shadow
churn_recognition at_cancellation at_period_end when_scheduled
annual_refund_churns no yes
refunds ignore as_if_unpaid
past_due active after:N exclude
paused churn contraction active
free_plans never after_paid always
discounts exclude_once include_all forever_only exclude
tax exclude include
usage exclude last_invoice trailing:N
weeks_per_month 52/12
days_per_month 365/12
rounding exact subscription
movement_level customer subscription
netting day none window:N month
join_churn_same_month count ignore
reactivation forever within:N never
fx period_end at_movement at_renewal constant
fx_constant_date -
arr_basis mrr_x12 contract_value contract_days
window calendar rolling_30d
logo_numerator net_start_cohort events_start_cohort events_all
logo_denominator start start_plus_new
rate_population start_cohort all_movements
grr_method cohort_min movements
reactivation_in_nrr yes no
quick_ratio_reactivation yes no
nrr_window month 12m_cohort chained
trial_rate start_cohort ended_in_window started_in_window
cohort_key first_paid signup
cohort_activity at_close any_in_period
ltv_churn current trailing:N
ltv_numerator arpa arpa_x_margin
partial_period none linear compound
cac_scope fully_loaded programme
cac_lag_months 0
"""


def test_knobs_their_values_and_their_order_are_fixed() -> None:
    rows = [row.split() for row in DEFINED.strip().splitlines()]
    defined = [(name, [value.replace("-", "") for value in values]) for name, *values in rows]
    assert [(knob.name, list(knob.values)) for knob in KNOBS] == defined


def test_knobs_follow_the_order_of_the_derivation() -> None:
    layers = get_args(KnobLayer)
    order = [layers.index(knob.layer) for knob in KNOBS]
    assert order == sorted(order)


def test_every_knob_has_a_default_in_canonical_form_and_an_effect() -> None:
    for knob in KNOBS:
        assert knob.read(knob.default) == knob.default
        assert knob.effect.endswith(".")


def test_attributes_and_knobs_are_the_same() -> None:
    attributes = [each.name for each in dataclasses.fields(Policy) if each.name != "preset"]
    assert attributes == [knob.name for knob in KNOBS]
    hints = get_type_hints(Policy)
    for knob in KNOBS:
        if get_origin(hints[knob.name]) is Literal:
            assert set(get_args(hints[knob.name])) == set(knob.values), knob.name
        else:
            assert hints[knob.name] is (int if knob.kind == "number" else str)
            assert knob.kind != "choice" or any(value.endswith(":N") for value in knob.values)


# --- making one ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knob", "given", "canonical"),
    [
        ("past_due", "after:030", "after:30"),
        ("netting", " month ", "month"),
        ("netting", "window:60", "window:60"),
        ("weeks_per_month", "52/12", "52/12"),
        ("weeks_per_month", "13/3", "52/12"),
        ("weeks_per_month", "4.330", "4.33"),
        ("weeks_per_month", "4.0", "4"),
        ("weeks_per_month", 4, "4"),
        ("weeks_per_month", "26/6", "52/12"),
        ("days_per_month", "30.44", "30.44"),
        ("days_per_month", "61/2", "61/2"),
        ("fx_constant_date", "2025-01-31", "2025-01-31"),
        ("fx_constant_date", "", ""),
        ("tz", "Asia/Kathmandu", "Asia/Kathmandu"),
    ],
)
def test_values_have_one_canonical_form(knob: str, given: object, canonical: str) -> None:
    assert getattr(Policy.of("default", {knob: given}), knob) == canonical


def test_counts_are_whole_numbers() -> None:
    policy = Policy.of("default", {"close_lag_days": "07", "cac_lag_months": 2})
    assert (policy.close_lag_days, policy.cac_lag_months) == (7, 2)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("netting", "week"),
        ("netting", "window"),
        ("netting", "window:N"),
        ("netting", "window:"),
        ("netting", "window:0"),
        ("netting", "window:-5"),
        ("netting", "window:1e3"),
        ("netting", "window:99999999"),
        ("past_due", "after:"),
        ("past_due", "within:30"),
        ("discounts", "Include_All"),
        ("discounts", None),
        ("weeks_per_month", "0"),
        ("weeks_per_month", "1/0"),
        ("weeks_per_month", "-4"),
        ("weeks_per_month", "nan"),
        ("weeks_per_month", ""),
        ("weeks_per_month", "4,33"),
        ("weeks_per_month", "\u0664"),
        ("fx_constant_date", "2025-13-01"),
        ("fx_constant_date", "yesterday"),
        ("tz", "Mars/Olympus"),
        ("close_lag_days", "-1"),
        ("close_lag_days", "3.5"),
        ("cac_lag_months", "1000"),
        ("reactivation_in_nrr", True),
    ],
)
def test_impossible_values_are_refused(knob: str, value: object) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        Policy.of("default", {knob: value})
    (problem,) = caught.value.problems
    assert problem.path == knob
    assert problem.hint


def test_all_problems_come_at_once_with_near_names() -> None:
    with pytest.raises(InvalidPolicy) as caught:
        Policy.of("chartmogl", {"neting": "month", "discounts": "include-all", "tax": "maybe"})
    preset, knob, near, other = caught.value.problems
    assert preset.hint == "Did you mean 'chartmogul'?"
    assert (knob.path, knob.hint) == ("neting", "Did you mean 'netting'?")
    assert near.hint.startswith("Did you mean 'include_all'?")
    assert other.hint == "Values: exclude, include."


def test_a_single_unknown_name_has_its_own_error() -> None:
    with pytest.raises(UnknownPolicy, match="Did you mean 'stripe'"):
        Policy.of("strip")
    with pytest.raises(UnknownKnob, match="Did you mean 'rounding'"):
        Policy.of("default", {"roundng": "exact"})


@pytest.mark.parametrize("text", ["", ";", "default;", "default;netting", "default;=day"])
def test_texts_that_are_no_policy_are_refused(text: str) -> None:
    with pytest.raises((InvalidPolicy, UnknownPolicy, UnknownKnob)):
        Policy.parse(text)


def test_a_policy_cannot_be_made_around_the_checks() -> None:
    with pytest.raises(InvalidPolicy):
        Policy(netting="week")
    with pytest.raises(InvalidPolicy):
        Policy(weeks_per_month="4.330")
    with pytest.raises(InvalidPolicy):
        Policy(preset="nobody")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy.of().netting = "month"  # type: ignore[misc]  # the case


# --- what it says about itself -------------------------------------------------------------------


def test_the_hash_is_of_the_definition_not_of_its_name() -> None:
    stripe = Policy.of("stripe")
    spelled_out = Policy.of("default", PRESETS["stripe"].overrides)
    assert stripe.hash == spelled_out.hash
    assert stripe == spelled_out
    assert hash(stripe) == hash(spelled_out)
    assert (stripe.overrides, spelled_out.overrides) == ({}, PRESETS["stripe"].overrides)


def test_the_hash_of_the_default_never_changes() -> None:
    assert Policy.of().hash == DEFAULT_HASH
    assert Policy().hash == DEFAULT_HASH
    assert Policy.of("default", {"netting": "day"}).hash == DEFAULT_HASH


def test_any_turned_knob_changes_the_hash() -> None:
    other = {"ratio": "4", "day": "2025-01-31", "zone": "Europe/Prague", "number": "1"}
    hashes = {Policy.of().hash}
    for knob in KNOBS:
        values = [v.replace(":N", ":7") for v in knob.values[1:]] or [other[knob.kind]]
        hashes |= {Policy.of("default", {knob.name: value}).hash for value in values}
    turns = sum(max(len(knob.values) - 1, 1) for knob in KNOBS)
    assert len(hashes) == turns + 1


def test_presets_are_different_definitions() -> None:
    assert len({Policy.of(name).hash for name in PRESETS}) == len(PRESETS)


def test_the_document_is_json_and_whole() -> None:
    document = json.loads(json.dumps(Policy.of("maxio").document()))
    assert list(document["knobs"]) == [knob.name for knob in KNOBS]
    assert document["version"] == 1
    assert document["knobs"]["reactivation"] == "within:90"
    assert Policy.of("default", document["knobs"]) == Policy.of("maxio")


def test_overrides_are_the_differences_from_the_preset() -> None:
    policy = Policy.of("chartmogul", {"netting": "day", "fx": "at_renewal"})
    assert policy.overrides == {"netting": "day"}
    assert Policy.of(policy.preset, policy.overrides) == policy


def test_differences_come_in_the_order_of_the_derivation() -> None:
    differences = Policy.of().differences(Policy.of("profitwell"))
    assert [each.knob for each in differences] == [
        knob.name for knob in KNOBS if knob.name in PRESETS["profitwell"].overrides
    ]
    assert Difference("netting", "day", "none") in differences
    assert Policy.of("maxio").differences(Policy.of("maxio")) == ()


def test_turning_further_keeps_the_preset() -> None:
    policy = Policy.of("chartmogul", {"tz": "Asia/Tokyo"}).turned({"netting": "month"})
    assert policy.preset == "chartmogul"
    assert policy.overrides == {"tz": "Asia/Tokyo", "netting": "month"}


def test_values_are_taken_apart() -> None:
    assert fraction(Policy.of().weeks_per_month) == Fraction(13, 3)
    assert fraction("30.44") == Fraction(761, 25)
    assert parameter("window:60") == ("window", 60)
    assert parameter("month") == ("month", None)


# --- evidence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "default"])
def test_every_difference_has_evidence(name: str) -> None:
    preset = PRESETS[name]
    assert sum(preset.evidence_count.values()) == len(preset.choices)
    for choice in preset.choices:
        assert choice.evidence in EVIDENCE
        assert set(choice.references) <= SOURCES.keys()
        assert KNOB_NAMES[choice.knob].read(choice.value) == choice.value
        assert choice.is_default == (choice.value == KNOB_NAMES[choice.knob].default)
        # What is said to be documented can be looked up; what is unknown cannot.
        assert bool(choice.references) >= (choice.evidence in {"documented", "third_party"})
        assert not choice.references or choice.evidence != "unknown"


def test_knobs_of_the_vendors_are_each_judged_once() -> None:
    for preset in PRESETS.values():
        names = [choice.knob for choice in preset.choices]
        assert len(names) == len(set(names))
    assert PRESETS["chartmogul"].evidence["netting"].evidence == "documented"
    assert PRESETS["baremetrics"].evidence["paused"].evidence == "unknown"
    assert PRESETS["stripe"].evidence["churn_recognition"].evidence == "third_party"


def test_every_reference_is_used_by_a_preset() -> None:
    used = {ref for preset in PRESETS.values() for c in preset.choices for ref in c.references}
    assert used == set(SOURCES)
