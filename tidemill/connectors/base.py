"""What every connector offers, and what can become of a piece of its input.

A connector is the only place that knows a vendor's words. It turns one raw object of the vendor
into canonical events: a pure function without I/O, clock or memory, so the same input gives the
same events forever. Input that gives no event is never dropped in silence: it has either problems,
all of them named, or a reason why it is of no interest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tidemill.events import Event
from tidemill.intake import Ignored, Rejected
from tidemill.problems import Problem

__all__ = ["EventConnector", "Ignored", "Item", "Rejected", "Translation"]


# What reading a source gives, piece by piece.
Item = Event | Rejected | Ignored


@dataclass(frozen=True, slots=True)
class Translation:
    """What one raw object of a vendor means.

    Exactly one of the three is filled: an object with a problem gives no events at all, so that it
    can be replayed as a whole once the problem is solved.
    """

    events: tuple[Event, ...] = ()
    ignored: str | None = None
    """The reason when the object is understood and of no interest here."""
    problems: tuple[Problem, ...] = ()


class EventConnector(Protocol):
    """A connector that turns a vendor's payloads into canonical events."""

    name: ClassVar[str]
    """Stable name: of its folder, and of the source unless the user names it otherwise."""
    title: ClassVar[str]
    """The vendor's name as people write it."""

    def translate(
        self, raw: Mapping[str, Any], *, source: str, test_mode: bool = False
    ) -> Translation:
        """Say what one raw object of the vendor means.

        source:    name of the connected source the events will belong to.
        test_mode: True makes the vendor's test-mode objects the books; False keeps them apart
                   (`livemode` of the events is false, and no metric counts them).
        Never raises for anything that is JSON: what cannot be understood is a problem.
        """
        ...

    def translate_many(
        self, raw: Iterable[Mapping[str, Any]], *, source: str, test_mode: bool = False
    ) -> Iterator[Translation]:
        """Translate objects that are all at hand, in an order of their own.

        What one object leaves open (which of two changes within a second came first, what a coupon
        takes off) is answered from the others. The result does not depend on the order of `raw`.
        """
        ...
