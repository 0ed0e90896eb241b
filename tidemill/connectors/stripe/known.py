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

_Object = Mapping[str, Any]


@dataclass(slots=True)
class Known:
    """Coupons, discounts and prices by their ids, as raw Stripe objects of any version.

    The newest object of an id wins, by the `created` of the event that brought it, then by the
    event's id: the order of collecting changes nothing.
    """

    coupons: dict[str, _Object] = field(default_factory=dict)
    discounts: dict[str, _Object] = field(default_factory=dict)
    prices: dict[str, _Object] = field(default_factory=dict)
    _ages: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    @staticmethod
    def teaches(kind: str) -> bool:
        """Whether events of a type bring something that is kept here."""
        return kind.startswith(("coupon.", "customer.discount.", "price.", "plan."))

    def add(self, raw: _Object) -> None:
        """Keep what a raw event brings, if anything; never raises."""
        kind = raw.get("type")
        if not isinstance(kind, str) or not self.teaches(kind):
            return
        data = raw.get("data")
        found = data.get("object") if isinstance(data, Mapping) else None
        key = found.get("id") if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not isinstance(key, str):
            return
        created = raw.get("created")
        age = (created if isinstance(created, int) else 0, str(raw.get("id")))
        family = kind.partition(".")[0]
        if age >= self._ages.get((family, key), (-1, "")):
            self._ages[family, key] = age
            self._shelf(family)[key] = found

    def _shelf(self, family: str) -> dict[str, _Object]:
        if family == "coupon":
            return self.coupons
        return self.discounts if family == "customer" else self.prices
