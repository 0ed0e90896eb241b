"""What reading an import can turn up besides an event: a line that is none, or one of no interest.

Connectors and file readers produce these next to events; `ingest` quarantines the rejected and counts
the ignored. They stand here, below connectors and bus, because both speak of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.errors import Problem

__all__ = ["Ignored", "Rejected"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that was read and could not become an event, with every reason.

    origin:   where it came from, for people: ``books.jsonl:17``, ``log:4711``.
    source:   name of the connected source.
    kind:     how to read `body` again: ``events``, ``stripe-events``, …
    body:     what was read, or the beginning of it when it was too long to keep.
    problems: never empty.
    """

    origin: str
    source: str
    kind: str
    body: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that was read, understood, and has no bearing on the books.

    origin: where it came from, for people.
    what:   the vendor's name for it, such as ``product_catalog.synced``; counted by this name.
    """

    origin: str
    what: str
