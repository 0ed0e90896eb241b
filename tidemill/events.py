"""Canonical events, version 1: reading them, making them, and their deterministic ids.

An event is one JSON object. :func:`parse_event` turns it into an :class:`Event` or refuses it with
every problem it has. Payloads are checked in full but carried on as the text they came in, so keys
nobody knows yet stay in the log. What passes here is accepted by PostgreSQL's ``jsonb`` and by the
casts of the state layer; when a key is repeated the last one counts, there as here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

import msgspec
from msgspec import Struct

from tidemill.errors import InvalidEvent, Problem, did_you_mean
from tidemill.payloads import (
    CATALOGUE_TYPES,
    EVENT_TYPES,
    Allocation,
    AttributePinned,
    Customer,
    CustomerAttributes,
    CustomerMerged,
    CustomerRef,
    Discount,
    Envelope,
    Expense,
    FxRate,
    Invoice,
    InvoiceLine,
    Item,
    Payload,
    Payment,
    Plan,
    Product,
    Subscription,
)
from tidemill.validation import (
    field_problems,
    keepable_number,
    likely_type,
    repeated_keys,
    rule_problems,
    text_problems,
)

__all__ = [
    "CATALOGUE_TYPES",
    "EVENT_TYPES",
    "NAMESPACE",
    "SCHEMA_VERSION",
    "Allocation",
    "AttributePinned",
    "Customer",
    "CustomerAttributes",
    "CustomerMerged",
    "CustomerRef",
    "Discount",
    "Event",
    "EventExtras",
    "Expense",
    "FxRate",
    "Invoice",
    "InvoiceLine",
    "Item",
    "Payload",
    "Payment",
    "Plan",
    "Product",
    "Subscription",
    "event_id",
    "event_line",
    "make_event",
    "parse_event",
]

SCHEMA_VERSION = 1
"""Version of the event contract that this module reads and writes."""

NAMESPACE = UUID("d1b8c9f6-6c0f-5a0e-9d0a-2f6a7c1e4b57")
"""Namespace of all ids made here. It must never change: ids are how duplicates are known."""


_PROBLEMS_MAX = 100  # a list of ten thousand bad items is one mistake, made often
_NAMESPACE_BYTES = NAMESPACE.bytes


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """A valid event.

    Instants are UTC. `subject` is the vendor id of what the event is about. `customer` is empty for
    catalogue events. `recorded_at` None means: now, by the log. `data` is the payload's JSON text.
    """

    id: UUID
    source: str
    type: str
    occurred_at: datetime
    sequence: int
    recorded_at: datetime | None
    customer: str
    livemode: bool
    subject: str
    data: bytes


class EventExtras(TypedDict, total=False):
    """What :func:`make_event` may be told besides the facts."""

    sequence: int
    """Order among events of one subject at the same instant; higher wins. Default 0."""
    native_id: str
    """The source's own id of its event; it becomes part of the event's id."""
    recorded_at: datetime | None
    """When Tidemill learned it; the log stamps it when absent."""
    livemode: bool
    """False for test mode. Default True."""


def _sound_number(literal: str) -> None:
    if not keepable_number(literal):
        raise ValueError(literal)


_ENVELOPES = msgspec.json.Decoder(Envelope)
_ANYTHING = msgspec.json.Decoder(float_hook=float)
# PostgreSQL's numbers have limits that JSON's do not, and decoders let 1e-20000 pass as zero.
_SOUND = msgspec.json.Decoder(float_hook=_sound_number)
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_PAYLOADS: dict[str, msgspec.json.Decoder[Payload]] = {
    name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()
}


def event_id(
    source: str,
    type: str,
    subject: str,
    occurred_at: datetime,
    sequence: int,
    native_id: str = "",
) -> UUID:
    """The id of an event that brings none: the same facts always give the same id.

    It is the UUIDv5 of `NAMESPACE` and the JSON array of source, type, subject, occurred_at (in UTC
    with a Z, and with microseconds when there are any) and sequence, without spaces, such as
    ``["stripe","plan.created","p1","2025-04-01T00:00:00Z",0]``. The source's own event id joins it
    at the end when there is one.

    >>> moment = datetime(2025, 4, 1, tzinfo=UTC)
    >>> event_id("stripe", "subscription.created", "sub_1", moment, 0)
    UUID('...')
    """
    facts = [source, type, subject, occurred_at.astimezone(UTC), sequence]
    name = _ENCODER.encode([*facts, native_id] if native_id else facts)
    digest = hashlib.sha1(_NAMESPACE_BYTES + name, usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


def parse_event(raw: bytes | Mapping[str, Any], *, default_source: str | None = None) -> Event:
    """The event that a JSON text, or an object already read from one, stands for.

    `default_source` names the source of events that do not name theirs.

    Raises: InvalidEvent with every problem found.
    """
    text = raw if isinstance(raw, bytes) else _encoded(raw)
    try:
        envelope = _ENVELOPES.decode(text)
        data = bytes(envelope.data)
        payload = _PAYLOADS[envelope.type].decode(data)
        _SOUND.decode(data)  # keys nobody knows must be sound as well
        source = envelope.source or default_source or ""
        doubtful = (
            (b"\\" in text and b"\\u0000" in text)
            or rule_problems(payload, EVENT_TYPES[envelope.type], "data")
            or _envelope_problems(envelope, payload, source)
        )
    except (msgspec.DecodeError, KeyError, UnicodeDecodeError, RecursionError) as error:
        problems = _problems(text, default_source) or repeated_keys(text)
        raise InvalidEvent(problems or [Problem("", str(error))]) from None
    if doubtful and (problems := _problems(text, default_source)):
        raise InvalidEvent(problems)
    subject = _subject(payload)
    occurred_at = envelope.occurred_at.astimezone(UTC)
    recorded_at = envelope.recorded_at
    return Event(
        id=envelope.id or event_id(source, envelope.type, subject, occurred_at, envelope.sequence),
        source=source,
        type=envelope.type,
        occurred_at=occurred_at,
        sequence=envelope.sequence,
        recorded_at=recorded_at and recorded_at.astimezone(UTC),
        customer=envelope.customer or _own_customer(payload),
        livemode=envelope.livemode,
        subject=subject,
        data=data,
    )


def make_event(
    source: str,
    type: str,
    customer: str,
    occurred_at: datetime,
    payload: Payload,
    **extras: Unpack[EventExtras],
) -> Event:
    """The event of a connector: the same checks as for one that was read.

    Raises: InvalidEvent with every problem found.
    """
    sequence, native_id = extras.get("sequence", 0), extras.get("native_id", "")
    subject = _subject(payload)
    written = {
        "id": event_id(source, type, subject, occurred_at, sequence, native_id),
        "source": source,
        "type": type,
        "occurred_at": occurred_at,
        "sequence": sequence,
        "recorded_at": extras.get("recorded_at"),
        "customer": customer,
        "livemode": extras.get("livemode", True),
        "data": payload,
    }
    return parse_event(_ENCODER.encode(written))


def event_line(event: Event) -> bytes:
    """The event as one line of canonical JSON; `parse_event` reads the same event from it."""
    envelope = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "occurred_at": event.occurred_at,
        "sequence": event.sequence,
        "recorded_at": event.recorded_at,
        "customer": event.customer,
        "livemode": event.livemode,
    }
    # The payload goes in as text: numbers in it must not pass through floats.
    return b'%s,"data":%s}' % (_ENCODER.encode(envelope)[:-1], event.data)


def _subject(payload: Payload) -> str:
    if isinstance(payload, FxRate):
        return f"{payload.base.upper()}/{payload.quote.upper()}/{payload.day.isoformat()}"
    # Every other kind of payload has an id; their common base has no fields.
    subject: str = payload.id  # type: ignore[attr-defined]
    return subject


def _own_customer(payload: Any) -> str:
    """Events about a customer travel with that customer, also when the envelope leaves it out."""
    own = isinstance(payload, Customer | CustomerAttributes | CustomerMerged)
    return payload.id if own else ""


def _encoded(value: Mapping[str, Any]) -> bytes:
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent([Problem("", f"cannot be written as JSON: {error}")]) from None
    if b"null" in text and (path := _not_finite(value)):
        raise InvalidEvent([Problem(path, "is not a finite number")])
    return text


def _not_finite(value: Any, path: str = "") -> str:
    """Where a NaN or an infinity is; JSON has none, and the encoder writes null for them."""
    inside: Any = ()
    if isinstance(value, float) and not math.isfinite(value):
        return path
    if isinstance(value, Mapping):
        inside = ((f"{path}.{name}" if path else str(name), each) for name, each in value.items())
    elif isinstance(value, list | tuple):
        inside = ((f"{path}[{index}]", each) for index, each in enumerate(value))
    return next((found for name, each in inside if (found := _not_finite(each, name))), "")


# --- all problems --------------------------------------------------------------------------------


def _envelope_problems(envelope: Any, payload: Any, source: str) -> list[Problem]:
    """What is wrong between the envelope and its payload; either may be a stand-in."""
    found = rule_problems(envelope, Envelope, "")
    if not source and envelope.source == "":
        found.append(Problem("source", "is missing", "Name the connected source, such as stripe."))
    customer, about = envelope.customer, envelope.type
    if about in CATALOGUE_TYPES:
        if customer:
            found.append(Problem("customer", f"must be empty for {about}"))
    elif about in EVENT_TYPES and not about.startswith("customer."):
        if customer == "":
            found.append(Problem("customer", "is missing", "Give the vendor's customer id."))
    elif customer and payload is not None and payload.id not in {customer, None}:
        found.append(Problem("customer", f"is {customer!r}, but data.id is {payload.id!r}"))
    if about == "customer.merged" and payload is not None and payload.into is not None:
        into = payload.into
        if (into.source, into.customer) == (source, payload.id):
            found.append(Problem("data.into", "is the same customer"))
    return found


def _problems(text: bytes, default_source: str | None) -> list[Problem]:
    """Everything that is wrong with an event; empty when nothing is."""
    try:
        value = _ANYTHING.decode(text)
        if not isinstance(value, dict):
            return [Problem("", "must be a JSON object")]
        found = _object_problems(value, default_source) + text_problems(text)
    except UnicodeDecodeError:
        return [Problem("", "is not UTF-8", "Save the file as UTF-8.")]
    except RecursionError:
        return [Problem("", "is nested too deeply")]
    except msgspec.ValidationError as error:
        return [Problem("", f"holds a number out of range ({error})")]
    except msgspec.DecodeError as error:
        return [Problem("", f"is not one JSON object: {error}")]
    more = len(found) - _PROBLEMS_MAX
    return found[:_PROBLEMS_MAX] + ([Problem("", f"has {more} more problems")] if more > 0 else [])


def _object_problems(value: dict[str, Any], default_source: str | None) -> list[Problem]:
    found, envelope = field_problems(value, Envelope)
    payload = None
    kind = EVENT_TYPES.get(envelope.type or "")
    if envelope.type is not None and kind is None:
        name = envelope.type[:100]
        hint = did_you_mean(name, EVENT_TYPES, otherwise="See the event contract.")
        found.append(Problem("type", f"no event type is named {name!r}", hint))
    data = value.get("data", {})
    if not isinstance(data, dict):
        found.append(Problem("data", "must be an object"))
    elif "data" in value and kind is not None:
        inside, payload = field_problems(data, kind, "data")
        mistaken = likely_type(data, envelope.type)
        found += [*([mistaken] if mistaken else []), *inside, *rule_problems(payload, kind, "data")]
    return found + _envelope_problems(envelope, payload, envelope.source or default_source or "")
