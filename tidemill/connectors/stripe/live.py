"""Deliveries of a webhook, one after the other, each with what earlier ones say about it.

A file shows all its events at once; a webhook shows one at a time, and never in a promised order.
What was translated before is in the log and stays there, so a later delivery finds its place among
what is there, and a state that turns out to be stale is answered, not taken back:

- events of one second and rank are given steps with room between them (`order.place`); one whose
  place nothing tells is held for a while, until a neighbour comes that does;
- what is dated after the end of its object, and shows it alive, is ignored; when the end arrives
  after it, the end is said once more at that later instant;
- what cannot be resolved yet waits, and is translated again once more is known.

Pure: the inbox keeps the deliveries, and brings what is remembered of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from tidemill.connectors.stripe.completing import completed, snapshot_type
from tidemill.connectors.stripe.envelope import is_thin
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.meanings import is_read
from tidemill.connectors.stripe.order import LAST_STEP, Place, is_final, place, rank_of, subject
from tidemill.connectors.stripe.translate import Setting, translate
from tidemill.events import Event
from tidemill.problems import Problem

__all__ = ["REREAD", "Delivered", "Memory", "Verdict", "decoded", "judge", "worth"]

REREAD: Final = "reread:"
"""How the id of an event begins that was made from reading an object again, to settle a doubt."""

_DECODER: Final = msgspec.json.Decoder()
_WORTH: Final = (
    *("status", "currency", "items", "discounts", "trial_end"),
    *("cancel_at", "cancel_at_period_end", "ended_at"),
)
_NO_OBJECT: Final = Problem("", "must be a JSON object", "Stripe sends one event a request.")
_THIN: Final = Problem(
    "object",
    "is a thin event, which names what changed without showing it",
    "Set STRIPE_API_KEY, so that it can be read; or set the event destination to snapshots.",
)

_Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery as the inbox keeps it."""

    position: int
    account: str
    body: bytes
    read: bytes | None = None
    """The object as the API showed it, if it was asked: JSON."""
    overdue: bool = False
    """Whether it has waited long enough for others of its second to tell its place."""


@dataclass(slots=True)
class Memory:
    """What earlier deliveries of a source say about those to come."""

    known: dict[str, Known] = field(default_factory=lambda: defaultdict(lambda: Known(grows=True)))
    """By account: prices, coupons and discounts."""
    placed: dict[tuple[str, str, int], list[tuple[_Raw, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By account, object and second: the events in the log with their steps."""
    over: dict[tuple[str, str], int] = field(default_factory=dict)
    """By account and object: the second of its end."""
    alive: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """By account and object: the seconds in which events in the log show it alive, as far as they
    are after those of the deliveries."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a delivery: events, or a reason to leave it out, or problems it waits with."""

    position: int
    events: tuple[Event, ...] = ()
    ignored: str | None = None
    problems: tuple[Problem, ...] = ()
    step: int = 0
    doubtful: bool = False
    """Nothing tells whether it comes before or after another event of its second."""
    final: bool = False
    """Its object has ended with it."""
    held: bool = False
    """Others of its second are there, and none tells its place: the one that does may yet come."""


def decoded(body: bytes) -> Any:
    """A body as JSON; None when it is none."""
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def judge(
    deliveries: Sequence[Delivered], memory: Memory, *, source: str, test_mode: bool = False
) -> list[Verdict]:
    """What each delivery means, in the order of arrival; `memory` goes on to know of them."""
    raws = [(each, _whole(each)) for each in deliveries]
    for each, raw in raws:
        if isinstance(raw, Mapping):
            memory.known[each.account].add(raw)
    verdicts: dict[int, Verdict] = {}
    left = raws
    while left:
        held = []
        for each, raw in left:
            verdict = _judged(each, raw, memory, source, test_mode=test_mode)
            verdicts[each.position] = verdict
            if verdict.held:
                held.append((each, raw))
        # What was held may have its neighbours now.
        left = held if len(held) < len(left) else []
    return [verdicts[each.position] for each in deliveries]


def _whole(delivery: Delivered) -> object:
    """The delivery as JSON, made whole by what the API was asked for because of it."""
    raw = decoded(delivery.body)
    if delivery.read is None or not isinstance(raw, dict):
        return raw
    return completed(raw, decoded(delivery.read))


def _judged(
    delivery: Delivered, raw: object, memory: Memory, source: str, *, test_mode: bool
) -> Verdict:
    if not isinstance(raw, Mapping):
        return Verdict(delivery.position, problems=(_NO_OBJECT,))
    if is_thin(raw):
        return _thin(delivery, raw)
    about = subject(raw)
    spot = None if about is None else _place(raw, memory.placed[about])
    if spot is not None and not spot.sure and not delivery.overdue:
        return Verdict(delivery.position, held=True)
    setting = Setting(
        source,
        test_mode,
        memory.known[delivery.account],
        0 if spot is None else spot.step,
        None if about is None else memory.over.get(about[:2]),
    )
    said = translate(raw, setting)
    if about is None or spot is None or not said.events:
        return Verdict(delivery.position, said.events, said.ignored, said.problems)
    memory.placed[about].append((raw, spot.step))
    final = is_final(str(raw.get("type")), _status(raw))
    again = _remember(raw, about, memory, setting, final=final)
    return Verdict(
        delivery.position,
        (*said.events, *again),
        step=spot.step,
        doubtful=not spot.sure,
        final=final,
    )


def _place(raw: _Raw, others: Iterable[tuple[_Raw, int]]) -> Place:
    """The place of an event among those of its object and second that are in the log."""
    if str(raw.get("id")).startswith(REREAD):
        return Place(LAST_STEP, sure=True)
    own = rank_of(raw)
    same = [(each, step) for each, step in others if rank_of(each) == own]
    below = [(rank_of(each), step, each) for each, step in others if rank_of(each) < own]
    before = max(below, key=lambda each: each[:2])[2] if below else None
    return place(raw, same, before)


def _remember(
    raw: _Raw, about: tuple[str, str, int], memory: Memory, setting: Setting, *, final: bool
) -> list[Event]:
    """Note an object's end or life; its end once more when it was shown alive after it."""
    key, created = about[:2], about[2]
    if not final:
        memory.alive[key].add(created)
        return []
    memory.over[key] = min(created, memory.over.get(key, created))
    last = replace(setting, step=LAST_STEP, over_since=None)
    return [
        made
        for later in sorted(memory.alive[key])
        if later > created
        for made in translate(_again(raw, later), last).events
    ]


def _again(raw: _Raw, at: int) -> _Raw:
    """The end of an object, told once more at an instant at which it was shown alive."""
    return {**raw, "id": f"{raw.get('id')}:again:{at}", "created": at}


def _thin(delivery: Delivered, raw: _Raw) -> Verdict:
    kind = snapshot_type(raw)
    if is_read(kind):
        return Verdict(delivery.position, problems=(_THIN,))
    return Verdict(delivery.position, ignored="not about subscriptions or their money")


def _status(raw: _Raw) -> object:
    data = raw.get("data")
    found = data.get("object") if isinstance(data, Mapping) else None
    return found.get("status") if isinstance(found, Mapping) else None


def worth(raw: object, known: Known) -> object:
    """What a subscription event says of the subscription's worth, in any shape Stripe gives it.

    None when it cannot be told. Equal for two events, it does not matter which of them came last.
    """
    if not isinstance(raw, Mapping):
        return None
    said = translate(raw, Setting("", known=known))
    if len(said.events) != 1:
        return None
    state = _DECODER.decode(said.events[0].data)
    return {key: state.get(key) for key in _WORTH} | {"paused": "paused_at" in state}
