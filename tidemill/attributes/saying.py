"""What people say about attributes, as events of the log: a rebuild knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from tidemill.events import AttributePinned, CustomerAttributes, Event, make_event
from tidemill.vocabulary import AttributeKind

__all__ = ["SOURCE", "Given", "pinning", "setting"]

Given = str | int | float | bool | None
"""A value as JSON has it; null takes back what was set."""

SOURCE: Final = "attributes"
"""The source of what is said about attributes themselves, and about no customer."""


def setting(source: str, customer: str, values: Mapping[str, Given], at: datetime) -> Event:
    """The event that sets attributes of a customer, each of them for itself.

    The values are part of its identity: saying other ones at the same instant is another event.
    Raises: InvalidEvent.
    """
    payload = CustomerAttributes(id=customer, attributes=dict(values))
    said = sha256(msgspec.json.encode(dict(values), order="sorted")).hexdigest()
    return make_event(source, "customer.attributes_set", customer, at, payload, native_id=said)


def pinning(name: str, kind: AttributeKind | None, at: datetime) -> Event:
    """The event that says of which kind an attribute is; None lets its first value say so again."""
    payload = AttributePinned(id=name, kind=kind)
    return make_event(SOURCE, "attribute.pinned", "", at, payload)
