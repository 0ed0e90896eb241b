"""The Stripe connector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from tidemill.connectors.base import Translation
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.order import ends, subject, ties
from tidemill.connectors.stripe.translate import Setting, translate

__all__ = ["Stripe"]


class Stripe:
    """Turns Stripe's snapshot events, of any API version since 2020, into canonical events."""

    name: ClassVar[str] = "stripe"
    title: ClassVar[str] = "Stripe"

    def translate(
        self, raw: Mapping[str, Any], *, source: str, test_mode: bool = False
    ) -> Translation:
        """Say what one raw event means, on its own; see `EventConnector.translate`."""
        return translate(raw, Setting(source, test_mode=test_mode))

    def translate_many(
        self, raw: Iterable[Mapping[str, Any]], *, source: str, test_mode: bool = False
    ) -> Iterator[Translation]:
        """Translate events that are all at hand; see `EventConnector.translate_many`.

        Copies of an event are left out. Discounts, coupons and prices that other events show are
        used where an event only names them.
        """
        events: dict[object, Mapping[str, Any]] = {}
        for event in raw:
            key = event.get("id")
            # What has no id is translated all the same, for its problems.
            events.setdefault(key if isinstance(key, str) else id(event), event)
        known = Known()
        for event in events.values():
            known.add(event)
        steps, over = ties(events.values()), ends(events.values())
        for event in events.values():
            step, about = steps.get(str(event.get("id")), 0), subject(event)
            over_since = None if about is None else over.get(about[:2])
            yield translate(event, Setting(source, test_mode, known, step, over_since))
