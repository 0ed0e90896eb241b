"""What reading an import can turn up besides events: input that is refused, or of no interest.

Connectors and file readers hand these on next to events; the import quarantines the rejected and
counts the ignored. They stand below connectors and state because both speak of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.errors import Problem

__all__ = ["Ignored", "Rejected"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A piece of input that could not become events; kept in the quarantine with every problem."""

    origin: str
    """Where it came from, for people: ``events.jsonl:17``, ``log:4711``."""
    source: str
    """Name of the source it was meant for."""
    kind: str
    """How to read `body` again: the name of an import (``events``, ``stripe-events``)."""
    body: str
    """The input as text; the beginning only when it was too long to keep."""
    problems: tuple[Problem, ...]
    """Everything that is wrong with it, at least one."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A piece of input that is understood and says nothing about subscriptions."""

    origin: str
    """Where it came from, for people: ``events.jsonl:17``."""
    type: str
    """The vendor's name for what it is; empty when it has none."""
    reason: str
    """Why it is left out, as a sentence without a full stop."""
