"""Policies: which definition of every metric is used, as one immutable, hashed document.

A policy is a value for each of the *knobs*. It starts from a preset and changes some of them:

>>> policy = Policy.of("chartmogul", {"tz": "America/New_York"})
>>> policy.discounts, policy.netting, policy.tz
('include_all', 'window:60', 'America/New_York')

Values are strings in one canonical form (``after:30``, ``52/12``), whole numbers for the two knobs
that count; :func:`parameter` and :func:`fraction` take them apart. Every result carries the hash of
its policy, so that two numbers can be known to follow the same definition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from tidemill.errors import InvalidPolicy, Problem, UnknownKnob, UnknownPolicy, did_you_mean
from tidemill.knobs import KNOB_NAMES, KNOBS, Knob, fraction, parameter
from tidemill.presets import PRESETS

__all__ = [
    "KNOBS",
    "POLICY_VERSION",
    "Difference",
    "Knob",
    "Policy",
    "fraction",
    "parameter",
    "read_overrides",
]

POLICY_VERSION = 1
"""Version of the policy document; it rises when a knob's value changes its meaning."""

_YesNo = Literal["yes", "no"]


class Difference(NamedTuple):
    """A knob on which two policies differ, with the value of each."""

    knob: str
    value: str
    other: str


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A value for every knob; two policies with equal values are equal, whatever their preset.

    Make one with :meth:`of` or :meth:`parse`. What each knob does is said in `KNOBS`.
    """

    identity: Literal["merged", "per_source"] = "merged"
    event_time: Literal["effective", "recorded"] = "effective"
    late_events: Literal["restate", "book_when_received"] = "restate"
    close_lag_days: int = 3
    tz: str = "UTC"
    activation: Literal["status_active", "invoice_paid", "invoice_issued", "partly_paid"] = (
        "status_active"
    )
    trials_in_mrr: Literal["exclude", "include", "shadow"] = "exclude"
    churn_recognition: Literal["at_cancellation", "at_period_end", "when_scheduled"] = (
        "at_cancellation"
    )
    annual_refund_churns: _YesNo = "no"
    refunds: Literal["ignore", "as_if_unpaid"] = "ignore"
    past_due: str = "active"
    paused: Literal["churn", "contraction", "active"] = "churn"
    free_plans: Literal["never", "after_paid", "always"] = "never"
    discounts: Literal["exclude_once", "include_all", "forever_only", "exclude"] = "exclude_once"
    tax: Literal["exclude", "include"] = "exclude"
    usage: str = "exclude"
    weeks_per_month: str = "52/12"
    days_per_month: str = "365/12"
    rounding: Literal["exact", "subscription"] = "exact"
    movement_level: Literal["customer", "subscription"] = "customer"
    netting: str = "day"
    join_churn_same_month: Literal["count", "ignore"] = "count"
    reactivation: str = "forever"
    fx: Literal["period_end", "at_movement", "at_renewal", "constant"] = "period_end"
    fx_constant_date: str = ""
    arr_basis: Literal["mrr_x12", "contract_value", "contract_days"] = "mrr_x12"
    window: Literal["calendar", "rolling_30d"] = "calendar"
    logo_numerator: Literal["net_start_cohort", "events_start_cohort", "events_all"] = (
        "net_start_cohort"
    )
    logo_denominator: Literal["start", "start_plus_new"] = "start"
    rate_population: Literal["start_cohort", "all_movements"] = "start_cohort"
    grr_method: Literal["cohort_min", "movements"] = "cohort_min"
    reactivation_in_nrr: _YesNo = "yes"
    quick_ratio_reactivation: _YesNo = "yes"
    nrr_window: Literal["month", "12m_cohort", "chained"] = "month"
    trial_rate: Literal["start_cohort", "ended_in_window", "started_in_window"] = "start_cohort"
    cohort_key: Literal["first_paid", "signup"] = "first_paid"
    cohort_activity: Literal["at_close", "any_in_period"] = "at_close"
    ltv_churn: str = "current"
    ltv_numerator: Literal["arpa", "arpa_x_margin"] = "arpa"
    partial_period: Literal["none", "linear", "compound"] = "none"
    cac_scope: Literal["fully_loaded", "programme"] = "fully_loaded"
    cac_lag_months: int = 0
    preset: str = field(default="default", compare=False)

    def __post_init__(self) -> None:
        """Refuse values that are not canonical, however the policy was made."""
        problems = []
        if self.preset not in PRESETS:
            problems.append(Problem("preset", f"no policy preset is named {self.preset!r}"))
        for knob in KNOBS:
            value = str(getattr(self, knob.name))
            try:
                canonical = knob.read(value)
            except ValueError as error:
                problems.append(Problem(knob.name, *error.args))
                continue
            if canonical != value:
                problems.append(Problem(knob.name, f"is written {canonical!r}, not {value!r}"))
        if problems:
            raise InvalidPolicy(problems)

    @classmethod
    def of(cls, preset: str = "default", overrides: Mapping[str, object] | None = None) -> Policy:
        """A preset with some knobs turned.

        Raises: UnknownPolicy or UnknownKnob when that is all that is wrong, else InvalidPolicy with
        every problem.
        """
        problems: list[Problem] = []
        values: dict[str, str] = {}
        if preset not in PRESETS:
            hint = did_you_mean(preset, PRESETS, otherwise="See `tidemill policies`.")
            problems.append(Problem("preset", f"no policy preset is named {preset!r}", hint))
        else:
            values |= PRESETS[preset].overrides
        for name, value in (overrides or {}).items():
            if name not in KNOB_NAMES:
                hint = did_you_mean(name, KNOB_NAMES, otherwise="See `tidemill policies default`.")
                problems.append(Problem(name, "no policy knob has this name", hint))
                continue
            try:
                values[name] = KNOB_NAMES[name].read(value)
            except ValueError as error:
                problems.append(Problem(name, *error.args))
        if problems:
            raise _refusal(preset, problems)
        return cls(**_attributes(values), preset=preset)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """A policy from ``preset;knob=value;knob=value``.

        >>> Policy.parse("default;netting=month").netting
        'month'

        Raises: as :meth:`of`.
        """
        preset, *settings = text.split(";")
        return cls.of(preset.strip(), read_overrides(settings))

    def turned(self, overrides: Mapping[str, object]) -> Policy:
        """This policy with some knobs turned further; the preset's name stays.

        Raises: as :meth:`of`.
        """
        return Policy.of(self.preset, self.overrides | dict(overrides))

    @property
    def overrides(self) -> dict[str, str]:
        """Knob → value, where this policy differs from its preset."""
        preset = PRESETS[self.preset].overrides
        return {
            knob.name: value
            for knob in KNOBS
            if (value := str(getattr(self, knob.name))) != preset.get(knob.name, knob.default)
        }

    def document(self) -> dict[str, Any]:
        """The whole policy as JSON: its version, and every knob with its value."""
        return {
            "version": POLICY_VERSION,
            "knobs": {knob.name: getattr(self, knob.name) for knob in KNOBS},
        }

    @cached_property
    def hash(self) -> str:
        """``sha256:`` and the digest of the document's canonical JSON; the preset's name is not in.

        Canonical: keys sorted, no spaces, UTF-8.
        """
        text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def differences(self, other: Policy) -> tuple[Difference, ...]:
        """The knobs on which two policies differ, in the fixed order of `KNOBS`.

        >>> [d.knob for d in Policy.of("smsb").differences(Policy.parse("smsb;netting=day"))]
        ['netting']
        """
        pairs = (
            Difference(knob.name, str(getattr(self, knob.name)), str(getattr(other, knob.name)))
            for knob in KNOBS
        )
        return tuple(pair for pair in pairs if pair.value != pair.other)


def read_overrides(texts: Iterable[str]) -> dict[str, str]:
    """Knob → value from texts such as ``netting=month``; neither is looked at yet.

    Raises: InvalidPolicy naming every text without a value.
    """
    pairs = [each.partition("=") for each in texts]
    bare = [name.strip() for name, equals, _ in pairs if not equals]
    if bare:
        raise InvalidPolicy(
            [Problem(name, "has no value", f"Write {name}=VALUE.") for name in bare]
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


_COUNTS = frozenset(knob.name for knob in KNOBS if knob.kind == "number")


def _attributes(values: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(value) if name in _COUNTS else value for name, value in values.items()}


def _refusal(preset: str, problems: list[Problem]) -> UnknownPolicy | UnknownKnob | InvalidPolicy:
    """The most specific error that still says everything."""
    if len(problems) > 1:
        return InvalidPolicy(problems)
    if preset not in PRESETS:
        return UnknownPolicy(preset, PRESETS)
    if problems[0].path not in KNOB_NAMES:
        return UnknownKnob(problems[0].path, KNOB_NAMES)
    return InvalidPolicy(problems)
