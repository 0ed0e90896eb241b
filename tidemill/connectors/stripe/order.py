"""Which of two events of one object came first, when both carry the same second.

Stripe dates events to the second and delivers them in any order. Within a second the order is
(stripe.md §2.7): by what kind of event it is (`rank`), then by the chain of previous attributes
(`chained`), then by the event's id. The first two make up the `sequence` of a canonical event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "LAST_STEP",
    "STEPS_MAX",
    "Place",
    "chained",
    "ends",
    "is_final",
    "place",
    "rank",
    "rank_of",
    "subject",
    "ties",
]

_Event = Mapping[str, Any]

STEPS_MAX: Final = 1000
"""How many events of one rank fit into one second of one object."""

LAST_STEP: Final = STEPS_MAX // 2 - 1
"""The last place in a rank; the first is as far below 0, where an event that is alone stands."""

# Room between two events of one rank for others that arrive later and belong in between.
_GAP: Final = 16

_CREATED, _OTHER, _BEFORE, _UPDATED, _ENDED, _DELETED = range(1, 7)
_TERMINAL: Final = frozenset({"canceled", "incomplete_expired"})
# An invoice only ever moves forward through these, so they order its events whatever their types.
_INVOICE_STAGES: Final = {"draft": 0, "open": 1, "uncollectible": 2, "void": 3, "paid": 3}
_INVOICE_PLACES: Final = 10
# What an object never comes back from, by the beginning of its events' types.
_FINAL: Final = {
    "customer.subscription.": _TERMINAL,
    "subscription_schedule.": frozenset({"canceled", "completed", "released"}),
    "invoice.": frozenset({"paid", "void"}),
}
# What a subscription is worth hangs on these. When two events of one second differ in nothing else,
# it does not matter which of them came first.
_WORTH: Final = (
    *("status", "items", "plan", "quantity", "discount", "discounts", "currency"),
    *("cancel_at", "cancel_at_period_end", "ended_at", "pause_collection", "trial_end"),
    *("phases", "end_behavior", "subscription"),
)


def rank(kind: str, status: object) -> int:
    """The place of an event within its second, by its type and the status its object shows.

    Created, then what only informs, then updates, then the end. A subscription that is still
    incomplete is not so any more once it was anything else; one that has ended stays so.
    """
    verb = kind.rpartition(".")[2]
    if kind.startswith("invoice."):
        stage = _INVOICE_STAGES.get(status, 0) if isinstance(status, str) else 0
        return (1 + stage) * _INVOICE_PLACES + _verb_rank(verb)
    if kind.startswith("customer.subscription.") and isinstance(status, str):
        if verb != "deleted" and status in _TERMINAL:
            return _ENDED
        if verb == "updated" and status == "incomplete":
            return _BEFORE
    if kind.startswith("subscription_schedule.") and is_final(kind, status):
        return _ENDED
    return _verb_rank(verb)


def _verb_rank(verb: str) -> int:
    return {"created": _CREATED, "updated": _UPDATED, "deleted": _DELETED}.get(verb, _OTHER)


def subject(event: _Event) -> tuple[str, str, int] | None:
    """What the event is about, and in which second: account, object id, created."""
    found, created = _object(event), event.get("created")
    key, account = found.get("id"), event.get("account")
    if not isinstance(key, str) or type(created) is not int:
        return None
    return (account if isinstance(account, str) else "", key, created)


def ties(events: Iterable[_Event]) -> dict[str, int]:
    """The steps of events that share subject, second and rank, by event id; 0 is not listed.

    The result depends on the set of events only: not on their order, nor on copies among them.
    """
    groups: dict[tuple[str, str, int], dict[str, _Event]] = {}
    for event in events:
        about, key = subject(event), event.get("id")
        if about is not None and isinstance(key, str):
            groups.setdefault(about, {})[key] = event
    steps: dict[str, int] = {}
    for group in groups.values():
        if len(group) > 1:
            steps.update(_steps(list(group.values())))
    return steps


def is_final(kind: str, status: object) -> bool:
    """Whether an object has ended for good once an event of this type shows this status."""
    return any(
        kind.startswith(family) and status in statuses
        for family, statuses in _FINAL.items()
        if isinstance(status, str)
    )


def ends(events: Iterable[_Event]) -> dict[tuple[str, str], int]:
    """Account and object → the second in which it ended for good, by the earliest event of that.

    A state that is dated after it and shows the object alive is stale: nothing comes back from
    there. The result does not depend on the order of the events.
    """
    found: dict[tuple[str, str], int] = {}
    for event in events:
        about, kind = subject(event), event.get("type")
        if about is None or not isinstance(kind, str):
            continue
        account, key, created = about
        if is_final(kind, _object(event).get("status")):
            found[account, key] = min(created, found.get((account, key), created))
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands within its second and rank."""

    step: int
    sure: bool
    """Whether its previous attributes, or those of its neighbours, say so; or it is all the same.
    """


def place(event: _Event, placed: Sequence[tuple[_Event, int]], before: _Event | None) -> Place:
    """Where an event belongs among those of its second and rank that have their places already.

    placed: the others with their steps, which stay as they are: what is in the log is not changed.
    before: the last event of the ranks below, if there is one.
    """
    if not placed:
        return Place(0, sure=True)
    steps = {id(other): step for other, step in placed}
    ordered = chained([*(other for other, _ in placed), event], before)
    at = next(i for i, each in enumerate(ordered) if each is event)
    below = max((steps[id(each)] for each in ordered[:at]), default=None)
    above = min((steps[id(each)] for each in ordered[at + 1 :]), default=None)
    step, fits = _between(below, above)
    pairs = [(ordered[i], ordered[i + 1]) for i in (at - 1, at) if 0 <= i < len(ordered) - 1]
    told = all(_precedes(one, other) or _worth_the_same(one, other) for one, other in pairs)
    return Place(step, sure=told and fits)


def _between(below: int | None, above: int | None) -> tuple[int, bool]:
    """A step between two others, and whether there was room; else behind both."""
    if above is None:
        step = (below or 0) + _GAP
        return min(step, LAST_STEP), step < LAST_STEP
    if below is None:
        step = above - _GAP
        return max(step, -LAST_STEP), step > -LAST_STEP
    if below + 1 < above:
        return (below + above) // 2, True
    return min(max(below, above) + _GAP, LAST_STEP), False


def _worth_the_same(one: _Event, other: _Event) -> bool:
    kind = one.get("type")
    if not isinstance(kind, str) or not kind.startswith("customer.subscription."):
        return True
    first, second = _object(one), _object(other)
    return all(first.get(key) == second.get(key) for key in _WORTH)


def _steps(group: Sequence[_Event]) -> dict[str, int]:
    """Steps within one second of one object, rank after rank."""
    ranks: dict[int, list[_Event]] = {}
    for event in group:
        ranks.setdefault(rank_of(event), []).append(event)
    steps: dict[str, int] = {}
    last: _Event | None = None
    for place in sorted(ranks):
        ordered = chained(ranks[place], last)
        steps.update((event["id"], step) for step, event in enumerate(ordered) if step)
        last = ordered[-1]
    return steps


def chained(events: Sequence[_Event], before: _Event | None = None) -> list[_Event]:
    """The events in the order their previous attributes tell; by id where they do not.

    A comes before B when B's previous attributes are what A's object says. `before` is the event
    that came last before all of them, if one is known: it tells which of a circle is the first.
    """
    left = sorted(events, key=lambda event: str(event.get("id")))
    ordered: list[_Event] = []
    last = before
    while left:
        first = [each for each in left if not any(_strictly(other, each) for other in left)]
        candidates = first or left
        following = [each for each in candidates if last is not None and _precedes(last, each)]
        last = (following or candidates)[0]
        ordered.append(last)
        left.remove(last)
    return ordered


def _strictly(one: _Event, other: _Event) -> bool:
    return one is not other and _precedes(one, other) and not _precedes(other, one)


def _precedes(one: _Event, other: _Event) -> bool:
    """Whether the other event's previous attributes are what the first one's object says."""
    data = other.get("data")
    previous = data.get("previous_attributes") if isinstance(data, Mapping) else None
    if not isinstance(previous, Mapping) or not previous:
        return False
    return _agrees(previous, _object(one))


def _agrees(previous: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    for key, value in previous.items():
        shown = found.get(key)
        if isinstance(value, Mapping) and isinstance(shown, Mapping):
            # Of a nested object only the changed keys are sent.
            if not _agrees(value, shown):
                return False
        elif value != shown:
            return False
    return True


def rank_of(event: _Event) -> int:
    """The rank of a raw event; 0 when it has no type."""
    kind = event.get("type")
    return rank(kind, _object(event).get("status")) if isinstance(kind, str) else 0


def _object(event: _Event) -> Mapping[str, Any]:
    data = event.get("data")
    found = data.get("object") if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}
