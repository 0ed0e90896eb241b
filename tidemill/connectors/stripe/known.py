"""What other objects of the same account say about one that leaves something open.

An event holds one object, and Stripe leaves parts of it out: discounts are often only ids, coupons
too, a tiered price comes without its tiers. Whoever has more at hand (the other events of a file,
the answers of the API) collects it here and passes it to the translation, which stays pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.envelope import key_of
from tidemill.connectors.stripe.shapes import customer_key, payment_reference

__all__ = ["GOING_BACK", "NAMING", "Known", "KnownObject", "Unowned", "references", "unowned"]

_Object = Mapping[str, Any]

# Kinds of objects that are kept, by how the types of their events begin.
_FAMILIES: Final = {
    "coupon.": "coupon",
    "customer.discount.": "discount",
    "price.": "price",
    "plan.": "price",
}
_KINDS: Final = {"coupon": "coupon", "discount": "discount", "price": "price", "plan": "price"}
# Objects that show the prices of what they are about; of some a line of an invoice has only the id.
_SHOW_PRICES: Final = ("customer.subscription.", "invoice.")
# What is sent only when it was asked for, and never changes once it is there (or rarely): a newer
# copy that came without it does not take it away.
_ONLY_IF_ASKED: Final = ("tiers", "currency_options", "applies_to")
# Under which keys an event names what is kept here, by its id alone.
_NAMES: Final = {
    "price": "price",
    "plan": "price",
    "coupon": "coupon",
    "discount": "discount",
    "discounts": "discount",
}
# Events about money that goes back, whose objects may name nobody.
GOING_BACK: Final = ("refund.", "charge.dispute.", "charge.refund.")
"""How the types of such events begin."""

# Events whose objects may name a price without showing it.
NAMING: Final = ("invoice.",)
"""How the types of such events begin."""

_DEPTH_MAX: Final = 24


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object as it was seen last."""

    kind: str
    """price, coupon or discount."""
    id: str
    seen: int
    """In Unix seconds of Stripe's clock."""
    body: _Object


@dataclass(slots=True)
class Known:
    """Coupons, discounts and prices by their ids, as raw Stripe objects of any version.

    The newest object of an id wins, by the `created` of the event that brought it, then by the
    event's id: the order of collecting changes nothing.
    """

    coupons: dict[str, _Object] = field(default_factory=dict)
    discounts: dict[str, _Object] = field(default_factory=dict)
    prices: dict[str, _Object] = field(default_factory=dict)
    payers: dict[str, str] = field(default_factory=dict)
    """Reference of a payment (`shapes.payment_reference`) → who paid; it never changes."""
    grows: bool = False
    """Whether more may come to be known: then nothing is assumed that another event may tell."""
    _ages: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    _fresh: set[tuple[str, str]] = field(default_factory=set)
    _new: set[tuple[str, str]] = field(default_factory=set)

    @staticmethod
    def teaches(kind: str) -> bool:
        """Whether events of a type bring something that is kept here."""
        return Known.kind_of(kind) is not None

    @staticmethod
    def kind_of(kind: str) -> str | None:
        """What events of a type bring: price, coupon or discount; None when nothing of it."""
        return next((_FAMILIES[each] for each in _FAMILIES if kind.startswith(each)), None)

    def add(self, raw: _Object) -> None:
        """Keep what a raw event brings, if anything; never raises."""
        named = raw.get("type")
        kind = self.kind_of(named) if isinstance(named, str) else None
        data = raw.get("data")
        found = data.get("object") if isinstance(data, Mapping) else None
        if not isinstance(found, Mapping):
            return
        if kind is not None:
            self._keep(kind, found, _age(raw))
        elif found.get("object") == "charge":
            self.pay(found)
        elif isinstance(named, str) and named.startswith(_SHOW_PRICES):
            self._glimpse(found, _age(raw))

    def pay(self, charge: _Object) -> None:
        """Remember who paid a charge, if it says so."""
        found = Fields(charge)
        reference, payer = payment_reference(found), customer_key(found)
        if reference is not None and payer is not None:
            self.payers[reference] = payer

    def learn(self, found: object, seen: int) -> None:
        """Keep every price, coupon and discount that an object shows, at any depth.

        seen: when the object was as it is, in Unix seconds.
        """
        for kind, each in _shown(found):
            self._keep(kind, each, (seen, ""))

    def take(self, known: KnownObject) -> None:
        """Remember an object that was kept before."""
        self._keep(known.kind, known.body, (known.seen, ""))
        self._fresh.discard((known.kind, known.id))
        self._new.discard((known.kind, known.id))

    @property
    def gained(self) -> bool:
        """Whether there is an object by now of which nothing was known."""
        return bool(self._new)

    def fresh(self) -> Iterator[KnownObject]:
        """What was learned since, for keeping it elsewhere."""
        for kind, key in sorted(self._fresh):
            yield KnownObject(kind, key, self._ages[kind, key][0], self._shelf(kind)[key])

    def _glimpse(self, found: _Object, age: tuple[int, str]) -> None:
        """Keep the prices that an object shows, of which nothing is known."""
        for kind, each in _shown(found):
            if kind == "price" and key_of(each.get("id")) not in self.prices:
                self._keep(kind, each, age)

    def _keep(self, kind: str, found: _Object, age: tuple[int, str]) -> None:
        key = key_of(found.get("id"))
        if not key or found.get("deleted") is True:
            return
        shelf = self._shelf(kind)
        old = shelf.get(key)
        if old is None:
            self._new.add((kind, key))
        if age >= self._ages.get((kind, key), (-1, "")):
            self._ages[kind, key] = age
            newer, older = found, old
        else:
            newer, older = shelf[key], found
        missing = {
            name: older[name]
            for name in _ONLY_IF_ASKED
            if older is not None and older.get(name) is not None and newer.get(name) is None
        }
        shelf[key] = {**newer, **missing} if missing else newer
        self._fresh.add((kind, key))

    def _shelf(self, kind: str) -> dict[str, _Object]:
        if kind == "coupon":
            return self.coupons
        return self.discounts if kind == "discount" else self.prices


def _shown(found: object, depth: int = 0) -> Iterator[tuple[str, _Object]]:
    """The prices, coupons and discounts that an object shows, at any depth, each with its kind."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(found, Mapping):
        kind = found.get("object")
        if isinstance(kind, str) and kind in _KINDS:
            yield _KINDS[kind], found
        for each in found.values():
            yield from _shown(each, depth + 1)
    elif isinstance(found, list):
        for each in found:
            yield from _shown(each, depth + 1)


class Unowned(NamedTuple):
    """What a refund or dispute names that does not say whose money it was."""

    reference: str
    charge: str


def unowned(raw: _Object) -> Unowned | None:
    """What a refund or dispute names, if it does not say whose money it was."""
    kind, data = raw.get("type"), raw.get("data")
    found = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or not kind.startswith(GOING_BACK):
        return None
    if not isinstance(found, Mapping) or customer_key(Fields(found)) is not None:
        return None
    reference, charge = payment_reference(Fields(found)), Fields(found).reference("charge")
    if not (key_of(reference) and key_of(charge)):
        return None
    return Unowned(key_of(reference), key_of(charge))


def references(found: object) -> set[tuple[str, str]]:
    """What an object speaks of that may be known from elsewhere: kinds and ids.

    >>> sorted(references({"discounts": ["di_1"], "items": {"data": [{"price": {"id": "p_1"}}]}}))
    [('discount', 'di_1'), ('price', 'p_1')]
    """
    named: set[tuple[str, str]] = set()
    _refer(found, named, 0)
    return named


def _refer(found: object, named: set[tuple[str, str]], depth: int) -> None:
    if depth > _DEPTH_MAX:
        return
    if isinstance(found, list):
        for each in found:
            _refer(each, named, depth + 1)
    elif isinstance(found, Mapping):
        for key, value in found.items():
            if key in _NAMES:
                for each in value if isinstance(value, list) else [value]:
                    shown = each.get("id") if isinstance(each, Mapping) else each
                    if key_of(shown):
                        named.add((_NAMES[key], key_of(shown)))
            if isinstance(value, Mapping | list):
                _refer(value, named, depth + 1)


def _age(raw: _Object) -> tuple[int, str]:
    created = raw.get("created")
    return (created if isinstance(created, int) else 0, str(raw.get("id")))
