"""Laws of policies that hold for every choice of knobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.knobs import KNOB_NAMES, KNOBS
from tidemill.policy import Policy
from tidemill.presets import PRESETS

_OTHER = {
    "ratio": ["52/12", "365/12", "4", "4.33", "30.44", "7/2"],
    "day": ["", "2025-01-31", "2024-02-29"],
    "zone": ["UTC", "Asia/Kathmandu", "America/New_York"],
    "number": ["0", "3", "12"],
}
_VALUES = {
    knob.name: _OTHER.get(knob.kind) or [v.replace(":N", ":30") for v in knob.values]
    for knob in KNOBS
}

presets = st.sampled_from(sorted(PRESETS))
turns = st.dictionaries(st.sampled_from(sorted(_VALUES)), st.integers(0, 5)).map(
    lambda chosen: {name: _VALUES[name][i % len(_VALUES[name])] for name, i in chosen.items()}
)


@given(presets, turns)
def test_a_policy_is_its_preset_and_its_overrides(preset: str, turned: dict[str, str]) -> None:
    policy = Policy.of(preset, turned)
    again = Policy.of(policy.preset, policy.overrides)
    assert again == policy
    assert again.hash == policy.hash
    text = ";".join([preset, *(f"{name}={value}" for name, value in turned.items())])
    assert Policy.parse(text) == policy


@given(presets, turns, presets, turns)
def test_equal_hash_equal_policy_no_differences(
    one: str, turned: dict[str, str], other: str, turned_other: dict[str, str]
) -> None:
    a, b = Policy.of(one, turned), Policy.of(other, turned_other)
    assert (a.hash == b.hash) == (a == b) == (not a.differences(b))


@given(presets, turns, presets, turns)
def test_turning_the_differing_knobs_in_order_leads_from_one_to_the_other(
    one: str, turned: dict[str, str], other: str, turned_other: dict[str, str]
) -> None:
    a, b = Policy.of(one, turned), Policy.of(other, turned_other)
    step = a
    for difference in a.differences(b):
        step = step.turned({difference.knob: difference.other})
    assert step == b


@given(st.sampled_from(sorted(KNOB_NAMES)), st.text(max_size=20))
def test_reading_a_value_is_idempotent_or_refused(name: str, text: str) -> None:
    knob = KNOB_NAMES[name]
    try:
        canonical = knob.read(text)
    except ValueError:
        return
    assert knob.read(canonical) == canonical
