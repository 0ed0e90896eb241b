"""Between events and messages: one event is one line of canonical JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message
from msgspec.structs import replace

from tidemill.bus.log import PARTITIONS, partition_of
from tidemill.errors import InvalidEvent
from tidemill.events import Event, event_line, parse_event
from tidemill.intake import Rejected

__all__ = ["Incoming", "Outgoing", "event_of", "incoming", "outgoing", "rejected"]

_KIND: Final = "kind"
_BODY_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be: which partition, what, under which key, from what kind of source."""

    partition: int
    value: bytes
    key: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def outgoing(events: Iterable[Event], source_kind: str) -> Iterator[Outgoing]:
    """The messages of events, in the same order."""
    headers = ((_KIND, source_kind.encode()),)
    for each in events:
        partition = partition_of(each.source, each.customer) % PARTITIONS
        yield Outgoing(partition, event_line(each), _key(each.source, each.customer), headers)


def _key(source: str, customer: str) -> bytes:
    return f"{source}\0{customer}".encode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it was read. `taken_at` is when the brokers took it; None if they do not say."""

    topic: str
    partition: int
    offset: int
    value: bytes
    key: bytes
    kind: str
    taken_at: datetime | None


def incoming(message: Message) -> Incoming:
    """What matters of a message that is no error."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None, "a message that was read has a place"
    assert offset is not None, "a message that was read has a place"
    kind = dict(message.headers() or []).get(_KIND)
    known, milliseconds = message.timestamp()
    return Incoming(
        topic=message.topic() or "",
        partition=partition,
        offset=offset,
        value=_bytes(message.value()),
        key=_bytes(message.key()),
        kind=_bytes(kind).decode(errors="replace") or "files",
        taken_at=None
        if known == TIMESTAMP_NOT_AVAILABLE
        else datetime.fromtimestamp(milliseconds / 1000, UTC),
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def event_of(message: Incoming) -> Event:
    """The event in a message; learned when the brokers took it, unless it says otherwise.

    Raises: InvalidEvent with every problem.
    """
    event = parse_event(message.value)
    if event.recorded_at is not None or message.taken_at is None:
        return event
    return replace(event, recorded_at=message.taken_at)


def rejected(message: Incoming, error: InvalidEvent) -> Rejected:
    """A message that is no event, as the quarantine keeps it."""
    text = message.value.decode(errors="backslashreplace")
    source = message.key.decode(errors="backslashreplace").partition("\0")[0]
    origin = f"{message.topic}/{message.partition}/{message.offset}"
    return Rejected(origin, source, "events", text[:_BODY_MAX], error.problems)
