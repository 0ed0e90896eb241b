"""What other objects of the same account say about one that leaves something open.

An event holds one object, and Stripe leaves parts of it out: discounts are often only ids, coupons
too, a tiered price comes without its tiers. Whoever has more at hand (the other events of a file,
the answers of the API) collects it here and passes it to the translation, which stays pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Known"]

Object = Mapping[str, Any]


@dataclass(slots=True)
class Known:
    """Coupons, discounts and prices by their ids, as raw Stripe objects of any version.

    The newest object of an id wins, by the `created` of the event that brought it, then by the
    event's id: the order of collecting changes nothing.
    """

    coupons: dict[str, Object] = field(default_factory=dict)
    discounts: dict[str, Object] = field(default_factory=dict)
    prices: dict[str, Object] = field(default_factory=dict)
    _ages: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, raw: Object) -> None:
        """Keep what a raw event brings, if anything; never raises."""
        kind = raw.get("type")
        shelf = self._shelf(kind) if isinstance(kind, str) else None
        data = raw.get("data")
        found = data.get("object") if isinstance(data, Mapping) else None
        if shelf is None or not isinstance(found, Mapping):
            return
        key, created = found.get("id"), raw.get("created")
        age = (created if isinstance(created, int) else 0, str(raw.get("id")))
        if isinstance(key, str) and age > self._ages.get((str(found.get("object")), key), (-1, "")):
            self._ages[str(found.get("object")), key] = age
            shelf[key] = found

    def _shelf(self, kind: str) -> dict[str, Object] | None:
        if kind.startswith("coupon."):
            return self.coupons
        if kind.startswith("customer.discount."):
            return self.discounts
        return self.prices if kind.startswith(("price.", "plan.")) else None
