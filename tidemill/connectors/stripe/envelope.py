"""The outside of a delivery: what must be known to keep it, before anybody looks inside.

Reading it never fails. Whatever is not as Stripe sends it is left empty, and the translation says
later what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

__all__ = ["THIN", "Envelope", "is_thin", "key_of", "read_envelope", "thin_seconds"]

THIN: Final = "v2.core.event"
"""What a thin event says it is: it names an object without showing it."""

_TEXT_MAX: Final = 255
_SECONDS_MAX: Final = 2**40


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a delivery is called and what it is about."""

    event: str
    """Stripe's id of the event; when it has none, one made from the body."""
    account: str
    """The connected account it belongs to; empty for the source's own."""
    livemode: bool
    type: str
    object: str
    """Id of the object it is about; empty when it names none."""
    created: int
    """Unix seconds, by Stripe's clock; 0 when it does not say."""


def read_envelope(raw: object, body: bytes) -> Envelope:
    """The outside of a delivery.

    raw:  the body as JSON.
    body: the bytes as they came.
    """
    event: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    data = event.get("data")
    inside = event.get("related_object") if is_thin(event) else _inside(data)
    created = thin_seconds(event) if is_thin(event) else event.get("created")
    seconds = type(created) is int and 0 <= created < _SECONDS_MAX
    account = event.get("context") if is_thin(event) else event.get("account")
    return Envelope(
        event=key_of(event.get("id")) or f"sha256:{hashlib.sha256(body).hexdigest()}",
        account=key_of(account),
        livemode=event.get("livemode") is not False,
        type=key_of(event.get("type")),
        object=key_of(inside.get("id")) if isinstance(inside, Mapping) else "",
        created=created if seconds and isinstance(created, int) else 0,
    )


def is_thin(event: Mapping[str, Any]) -> bool:
    """Whether an event only names its object."""
    return event.get("object") == THIN


def thin_seconds(event: Mapping[str, Any]) -> int | None:
    """When a thin event was created, in Unix seconds; it says so as ISO 8601 text."""
    created = event.get("created")
    if not isinstance(created, str) or len(created) > _TEXT_MAX:
        return None
    try:
        at = datetime.fromisoformat(created)
        return int(at.timestamp()) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _inside(data: object) -> object:
    return data.get("object") if isinstance(data, Mapping) else None


def key_of(value: object) -> str:
    """A short printable text, or nothing: ids go into an index, and NUL into no database."""
    fits = isinstance(value, str) and len(value) <= _TEXT_MAX and value.isprintable()
    return value if fits and isinstance(value, str) else ""
