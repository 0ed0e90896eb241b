"""A first look at many events, so that each can then be translated on its own, in any order.

Three things about an event stand in others: which of two changes within one second came first,
what a discount, coupon or price that is only named says, and whose money a refund or dispute is
about. `Survey` finds them without holding more than the few events that matter, so a file may be
larger than memory. It looks at every event once (`look`), and, only if some share a second or name
nobody, once more (`settle`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tidemill.connectors.base import Translation
from tidemill.connectors.stripe.known import Known, unowned
from tidemill.connectors.stripe.order import is_final, rank, subject, ties
from tidemill.connectors.stripe.translate import Setting, translate

__all__ = ["Survey"]


class _Object(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    payment_intent: Any = None


class _Data(msgspec.Struct):
    object: _Object


class _Glance(msgspec.Struct):
    """The few keys of an event that the first look is about."""

    id: str
    type: str
    created: int
    data: _Data
    account: str | None = None


_MONEY: Final = ("refund.", "charge.")
_GLANCES: Final = msgspec.json.Decoder(_Glance)
_OBJECTS: Final = msgspec.json.Decoder(dict[str, Any])


class Survey:
    """What the events of one import say about each other."""

    def __init__(self) -> None:
        self.known = Known()
        self.steps: dict[str, int] = {}
        # Hashes, not keys: millions of events cost some tens of megabytes, and two different
        # subjects that happen to share one are only looked at more closely.
        self._seen: dict[int, int] = {}
        self._tied: set[int] = set()
        self._over: dict[int, int] = {}
        self.unowned: set[str] = set()

    def look(self, body: bytes) -> None:
        """Take note of an event; what is no event is passed over."""
        glance = _glance(body)
        if glance is None:
            return
        if Known.teaches(glance.type):
            self.known.add(_OBJECTS.decode(body))
        if glance.type.startswith(_MONEY) and (payment := unowned(_OBJECTS.decode(body))):
            self.unowned.add(payment.reference)
        place, one = _place(glance), hash(glance.id)
        if self._seen.setdefault(place, one) != one:
            self._tied.add(_second(glance))
        if is_final(glance.type, glance.data.object.status):
            about = _about(glance.account, glance.data.object.id)
            self._over[about] = min(glance.created, self._over.get(about, glance.created))

    @property
    def unsettled(self) -> bool:
        """Whether some events share object, second and rank, or name nobody: look once more."""
        return bool(self._tied or self.unowned)

    def settle(self, bodies: Iterable[bytes]) -> None:
        """Find the order of events that share a second, and who paid, from a second look at all."""
        close = []
        for body in bodies:
            glance = _glance(body)
            if glance is None:
                continue
            if _second(glance) in self._tied:
                close.append(_OBJECTS.decode(body))
            found = glance.data.object
            paying = found.payment_intent if isinstance(found.payment_intent, str) else found.id
            if glance.type.startswith("charge.") and paying in self.unowned:
                self.known.add(_OBJECTS.decode(body))
        self.steps = ties(close)

    def translate(self, raw: dict[str, Any], *, source: str, test_mode: bool) -> Translation:
        """Translate one of the events with all that is known by now."""
        step = self.steps.get(str(raw.get("id")), 0)
        about = subject(raw)
        over_since = None if about is None else self._over.get(_about(*about[:2]))
        return translate(raw, Setting(source, test_mode, self.known, step, over_since))


def _glance(body: bytes) -> _Glance | None:
    try:
        return _GLANCES.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _about(account: str | None, key: str | None) -> int:
    return hash((account or "", key))


def _second(glance: _Glance) -> int:
    return hash((glance.account or "", glance.data.object.id, glance.created))


def _place(glance: _Glance) -> int:
    about = (glance.account or "", glance.data.object.id, glance.created)
    return hash((about, rank(glance.type, glance.data.object.status)))
