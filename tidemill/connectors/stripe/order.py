"""Which of two events of one object came first, when both carry the same second.

Stripe dates events to the second and delivers them in any order. Within a second the order is
(stripe.md §2.7): by what kind of event it is (`rank`), then by the chain of previous attributes
(`chained`), then by the event's id. The first two make up the `sequence` of a canonical event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["STEPS_MAX", "chained", "rank", "subject", "ties"]

_Event = Mapping[str, Any]

STEPS_MAX: Final = 1000
"""How many events of one rank fit into one second of one object."""

_CREATED, _OTHER, _BEFORE, _UPDATED, _ENDED, _DELETED = range(1, 7)
_TERMINAL: Final = frozenset({"canceled", "incomplete_expired"})
# An invoice only ever moves forward through these, so they order its events whatever their types.
_INVOICE_STAGES: Final = {"draft": 0, "open": 1, "uncollectible": 2, "void": 3, "paid": 3}
_INVOICE_PLACES: Final = 10


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


def _steps(group: Sequence[_Event]) -> dict[str, int]:
    """Steps within one second of one object, rank after rank."""
    ranks: dict[int, list[_Event]] = {}
    for event in group:
        ranks.setdefault(_rank_of(event), []).append(event)
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


def _rank_of(event: _Event) -> int:
    kind = event.get("type")
    return rank(kind, _object(event).get("status")) if isinstance(kind, str) else 0


def _object(event: _Event) -> Mapping[str, Any]:
    data = event.get("data")
    found = data.get("object") if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}
