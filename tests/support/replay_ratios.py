"""Churn, retention and trial rates of the replay, as numerators and denominators.

Decision t: the window is the month, or the 30 days that end with it. `S` are the customers active
at its opening. Events (churns, new customers) are counted for customers at every `movement_level`;
amounts come from the movements of the level. A cohort's retention is valued at the rates of the
opening day on both sides, so that no exchange rate ever looks like retention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from tests.support.calendars import day_close, day_of, month_range
from tests.support.replay_book import Key
from tests.support.replay_levels import Rules, Span
from tests.support.replay_movements import Money, Movement

__all__ = [
    "Ratio",
    "Trial",
    "Window",
    "grr",
    "logo_churn",
    "nrr",
    "quick_ratio",
    "trials",
    "window",
]

Ratio = tuple[Fraction, Fraction]
"""Numerator and denominator."""

_ZERO = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Everything that the rates of one window are made of.

    `opening` and `closing` are the customers' values in base currency at the rates of the opening
    day. `events` are the movements of customers, `movements` those of the policy's level.
    """

    rules: Rules
    active_before: frozenset[Key]
    active_after: frozenset[Key]
    opening: Mapping[Key, Fraction]
    closing: Mapping[Key, Fraction]
    opening_mrr: Fraction
    movements: Sequence[Movement]
    events: Sequence[Movement]

    def total(self, *types: str, of: Iterable[Key] | None = None) -> Fraction:
        """Sum of the signed amounts of some types, of everybody or of some customers."""
        among = None if of is None else set(of)
        return sum(
            (
                movement.base
                for movement in self.movements
                if movement.type in types and (among is None or movement.customer in among)
            ),
            _ZERO,
        )


def window(rules: Rules, month: str) -> tuple[date, date]:
    """The day at whose close the window of a month opens, and its last day."""
    first, last = month_range(month)
    if rules["window"] == "rolling_30d":
        return last - timedelta(days=30), last
    return first - timedelta(days=1), last


def logo_churn(w: Window) -> Ratio | None:
    """Customers lost over customers there were."""
    churns = [event.customer for event in w.events if event.type == "churn"]
    match w.rules["logo_numerator"]:
        case "net_start_cohort":
            lost = len(w.active_before - w.active_after)
        case "events_start_cohort":
            lost = sum(customer in w.active_before for customer in churns)
        case _:
            lost = len(churns)
    there = len(w.active_before)
    if w.rules["logo_denominator"] == "start_plus_new":
        there += sum(event.type == "new" for event in w.events)
    return _ratio(Fraction(lost), Fraction(there))


def nrr(w: Window) -> Ratio | None:
    """What the opening MRR has become."""
    if w.rules["rate_population"] == "start_cohort":
        kept = sum((w.closing.get(c, _ZERO) for c in w.active_before), _ZERO)
        return _ratio(kept, _opening(w))
    kept = w.opening_mrr + w.total("expansion", "contraction", "churn")
    if w.rules["reactivation_in_nrr"] == "yes":
        kept += w.total("reactivation")
    return _ratio(kept, w.opening_mrr)


def grr(w: Window) -> Ratio | None:
    """What is left of the opening MRR, growth put aside."""
    if w.rules["grr_method"] == "cohort_min":
        values = ((w.opening.get(c, _ZERO), w.closing.get(c, _ZERO)) for c in w.active_before)
        return _ratio(sum((min(pair) for pair in values), _ZERO), _opening(w))
    if w.rules["rate_population"] == "start_cohort":
        lost = w.total("contraction", "churn", of=w.active_before)
        return _ratio(_opening(w) + lost, _opening(w))
    return _ratio(w.opening_mrr + w.total("contraction", "churn"), w.opening_mrr)


def quick_ratio(w: Window) -> Ratio | None:
    """MRR won over MRR lost."""
    won = w.total("new", "expansion")
    if w.rules["quick_ratio_reactivation"] == "yes":
        won += w.total("reactivation")
    return _ratio(won, -w.total("contraction", "churn"))


def _opening(w: Window) -> Fraction:
    return sum((w.opening.get(customer, _ZERO) for customer in w.active_before), _ZERO)


def _ratio(numerator: Fraction, denominator: Fraction) -> Ratio | None:
    return (numerator, denominator) if denominator else None


# --- trials


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a subscription; None for what has not happened."""

    started_at: datetime
    ended_at: datetime | None
    converted_at: datetime | None


def trials(spans: Sequence[Span]) -> Iterator[Trial]:
    """The trials in a subscription's history.

    A trial starts with the first version that says so and ends with the next that does not. It was
    converted when the subscription was active (or past due) before it was anything terminal.
    """
    for place, span in enumerate(spans):
        if span.version.status != "trialing":
            continue
        if place and spans[place - 1].version.status == "trialing":
            continue
        after = [s for s in spans[place:] if s.version.status != "trialing"]
        converted_at = None
        for later in after:
            if later.version.status in {"active", "past_due"}:
                converted_at = later.begin
            if later.version.status not in {"paused", "incomplete"}:
                break
        yield Trial(span.begin, after[0].begin if after else None, converted_at)


def trial_conversion(
    known: Sequence[Trial], rules: Rules, month: str, as_of: date | None = None
) -> Ratio | None:
    """Trials converted over trials, by the knob `trial_rate`; `as_of` None: the month's end."""
    zone = rules.zone
    if rules["trial_rate"] == "start_cohort":
        first, last = month_range(month)
        until = day_close(as_of or last, zone)
        begun = [t for t in known if first <= day_of(t.started_at, zone) <= last]
        won = [t for t in begun if t.converted_at is not None and t.converted_at < until]
        return _ratio(Fraction(len(won)), Fraction(len(begun)))

    opening, last = window(rules, month)

    def inside(at: datetime | None) -> bool:
        return at is not None and opening < day_of(at, zone) <= last

    converted = [t for t in known if inside(t.converted_at)]
    if rules["trial_rate"] == "ended_in_window":
        ended = [t for t in known if inside(t.ended_at)]
        won = [t for t in ended if inside(t.converted_at)]
        return _ratio(Fraction(len(won)), Fraction(len(ended)))
    begun = [t for t in known if inside(t.started_at)]
    return _ratio(Fraction(len(converted)), Fraction(len(begun)))


def by_customer(values: Iterable[tuple[Key, Money]]) -> dict[Key, Money]:
    """Adds up the native values of each customer's units."""
    total: dict[Key, Money] = {}
    for customer, native in values:
        mine = total.setdefault(customer, {})
        for currency, amount in native.items():
            mine[currency] = mine.get(currency, _ZERO) + amount
    return total
