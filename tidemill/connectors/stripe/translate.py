"""From a raw Stripe event to a canonical one: a pure function over JSON of any API version.

An event gives one canonical event, or problems that keep it aside, or a reason why it is of no
interest. Its id is made from the source, the account and Stripe's own event id, so the same event
always becomes the same one, wherever it is read and whatever is read with it. What an invoice says
of its payments besides becomes events of their own; it does so often, so their ids come from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as dataclass_replace
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from msgspec.structs import replace

from tidemill.connectors.base import Translation
from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.accounts import account_source, source_account
from tidemill.connectors.stripe.allocations import (
    Allocated,
)
from tidemill.connectors.stripe.changes import Change
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.meanings import Draft, handler_of
from tidemill.connectors.stripe.order import LAST_STEP, STEPS_MAX, is_final, rank
from tidemill.errors import InvalidEvent
from tidemill.events import NAMESPACE, make_event
from tidemill.problems import Problem

__all__ = ["Setting", "translate"]

_THIN: Final = (
    "a thin event: it names an object without showing it; set the event destination to snapshot "
    "payloads"
)
_STALE: Final = "an old state, dated after the end of what it is about"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a translation is told besides the event."""

    source: str
    """Name of the connected source the events belong to."""
    test_mode: bool = False
    """Whether test-mode objects are the books; if not they are kept apart from every metric."""
    known: Known = field(default_factory=Known)
    """What other objects of the account say."""
    step: int = 0
    """Place among events of one object, second and rank (`order.ties`, `order.place`)."""
    over_since: int | None = None
    """The second in which the object ended for good (`order.ends`); None while it has not."""


def translate(raw: Mapping[str, Any], setting: Setting) -> Translation:
    """Say what one raw Stripe event means.

    Never raises, whatever JSON it is given: what cannot be understood becomes a problem.
    """
    try:
        return _translate(Fields(raw), setting)
    except RecursionError:
        return Translation(problems=(Problem("", "is nested too deeply"),))


def _translate(event: Fields, setting: Setting) -> Translation:
    kind = event.needed("type")
    if event.value.get("object") == "v2.core.event" or kind.startswith(("v1.", "v2.")):
        return Translation(ignored=_THIN)
    handler = handler_of(kind)
    if isinstance(handler, str):
        return Translation(ignored=handler)
    event.needed("id")
    at = event.instant("created")
    if at is None and not event.has("created"):
        event.refuse("created", "is missing")
    data = event.fields("data")
    found = data.fields("object")
    if not data.has("object"):
        data.refuse("object", "is missing", "Give whole events, as Stripe sends them.")
    if handler is None or at is None or event.problems:
        return Translation(problems=tuple(event.problems))
    # What was before only hints at what happened; nothing is refused because of it.
    change = Change(kind, at, Fields(_mapping(data.value.get("previous_attributes"))))
    if _is_stale(event, found, setting.over_since):
        return Translation(ignored=_STALE)
    live = _is_live(event, found)
    outcome = handler(found, change, event, setting.known)
    if isinstance(outcome, str):
        return Translation(ignored=outcome)
    if outcome is None or event.problems:
        return Translation(problems=tuple(event.problems))
    place = rank(kind, found.value.get("status")) * STEPS_MAX
    # What is read from a connected account's own lists is of it, though it does not say so.
    source, account = source_account(setting.source)
    envelope = _Envelope(
        account=event.text("account") or account,
        key=event.needed("id"),
        livemode=live or setting.test_mode,
        sequence=place + max(-LAST_STEP, min(setting.step, LAST_STEP)),
    )
    if isinstance(outcome, Allocated):
        return _joined([_allocation(outcome, envelope, source)])
    beside = [_allocation(each, envelope, source) for each in outcome.allocated]
    if outcome.beside is not None:
        beside.append(_sealed(outcome.beside, outcome.beside.at or change.at, envelope, source))
    return _joined([_sealed(outcome, change.at, envelope, source), *beside])


def _joined(parts: Sequence[Translation]) -> Translation:
    """One translation of several; with a problem in any of them none gives an event."""
    problems = tuple(each for part in parts for each in part.problems)
    if problems:
        return Translation(problems=problems)
    return Translation(events=tuple(each for part in parts for each in part.events))


def _allocation(allocated: Allocated, envelope: _Envelope, source: str) -> Translation:
    """It is so since the invoice has this payment, whichever event says so."""
    payload = allocated.payload
    draft = Draft("allocation.recorded", "", payload)
    own = dataclass_replace(envelope, key=payload.id, sequence=0)
    return _sealed(draft, allocated.at, own, source)


def _is_stale(event: Fields, found: Fields, over_since: int | None) -> bool:
    """Whether it shows an object alive at an instant after its end."""
    created, kind = event.value.get("created"), str(event.value.get("type"))
    if over_since is None or type(created) is not int or created <= over_since:
        return False
    return not is_final(kind, found.value.get("status"))


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What goes around a draft."""

    account: str
    key: str
    livemode: bool
    sequence: int


def _sealed(draft: Draft, at: datetime, envelope: _Envelope, source: str) -> Translation:
    """The draft in its envelope, checked like any other event."""
    account = envelope.account
    try:
        made = make_event(
            account_source(source, account),
            draft.type,
            draft.customer,
            at,
            draft.payload,
            sequence=envelope.sequence,
            livemode=envelope.livemode,
        )
    except InvalidEvent as error:
        return Translation(problems=error.problems)
    except UnicodeEncodeError:
        return Translation(problems=(Problem("", "holds broken Unicode"),))
    # Neither the label nor the place is part of the identity: both may become better known. But
    # an event kept apart and the same event taken for the books are two.
    facts = (
        source,
        envelope.account,
        envelope.key,
        draft.type.partition(".")[0],
        "books" if envelope.livemode else "test",
    )
    return Translation(events=(replace(made, id=uuid5(NAMESPACE, "\0".join(facts))),))


def _is_live(event: Fields, found: Fields) -> bool:
    """Whether it is about real money: neither in test mode nor on a simulated clock."""
    live = event.flag("livemode")
    if live is None:
        live = found.flag("livemode")
    return live is not False and not found.has("test_clock")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
