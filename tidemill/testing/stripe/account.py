"""The objects of a fake Stripe account, as its events have made them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

__all__ = ["FakeAccount"]

_Json = dict[str, Any]

# What a list forgets when it is deleted; the object itself can still be asked for, as a stub.
_FORGOTTEN: Final = frozenset({"customer", "product", "price", "plan", "coupon", "invoiceitem"})
# Objects that stand inside others and can be shown, or named, by them.
_INSIDE: Final = (
    *("discounts", "latest_invoice", "source", "coupon", "items", "data", "charge"),
    *("payments",),
)
_OWN_PLACE: Final = frozenset({"discount", "coupon", "invoice", "charge", "invoice_payment"})


class FakeAccount:
    """An account to read from. Objects are the newest API version's, and are not changed in here.

    >>> account = FakeAccount([{"id": "prod_1", "object": "product", "created": 1, "name": "One"}])
    >>> [each["id"] for each in account.listed("product")]
    ['prod_1']
    """

    def __init__(self, objects: Iterable[_Json] = ()) -> None:
        self._shelves: dict[str, dict[str, _Json]] = {}
        self._order: dict[tuple[str, str], int] = {}
        self._gone: dict[str, _Json] = {}
        self._lists: dict[str, list[_Json]] = {}
        self._payments: dict[str, dict[str, _Json]] = {}
        self._invoices: dict[str, str] = {}
        self._count = itertools.count()
        for each in objects:
            self.put(each)

    @classmethod
    def of_events(cls, events: Iterable[Mapping[str, Any]]) -> FakeAccount:
        """An account in which these events have happened, in the order given."""
        account = cls()
        for event in events:
            account.happen(event)
        return account

    def happen(self, event: Mapping[str, Any]) -> None:
        """Keep an event, and what it says of its object."""
        self.put(dict(event))
        kind, found = str(event["type"]), event["data"]["object"]
        if kind.endswith(".deleted") and found.get("object") in _FORGOTTEN:
            self.delete(str(found["object"]), str(found["id"]))
        elif kind == "invoice.deleted":
            self.delete("invoice", str(found["id"]))
        else:
            self.put(found)

    def put(self, found: _Json) -> None:
        """Keep an object in its newest state; what stands inside it is kept, too."""
        kind, key = str(found["object"]), str(found["id"])
        self._shelves.setdefault(kind, {})[key] = found
        self._lists.pop(kind, None)
        self._order.setdefault((kind, key), next(self._count))
        if kind == "invoice_payment":
            self._payments.setdefault(found["invoice"], {})[key] = found
            self._invoices[str(_payer(found["payment"]))] = found["invoice"]
        if kind != "event":
            for inner in _inside(found):
                held = self._shelves.setdefault(inner["object"], {})
                if inner["object"] != "invoice" or inner["id"] not in held:
                    self.put(inner)

    def delete(self, kind: str, key: str) -> None:
        """Delete an object: it is in no list any more, and a stub when asked for."""
        self._shelves.get(kind, {}).pop(key, None)
        self._lists.pop(kind, None)
        self._gone[key] = {"id": key, "object": kind, "deleted": True}

    def find(self, key: str, kind: str | None = None) -> _Json | None:
        """An object by its id, or the stub of one that was deleted."""
        shelves = self._shelves.values() if kind is None else [self._shelves.get(kind, {})]
        held = next((shelf[key] for shelf in shelves if key in shelf), None)
        return held or self._gone.get(key)

    def whole(self, found: _Json) -> _Json:
        """An object with what others say of it: an invoice's payments, a charge's invoice."""
        if found.get("object") == "invoice" and not found.get("payments"):
            paid = list(self._payments.get(str(found["id"]), {}).values())
            return {**found, "payments": _list_of("/v1/invoice_payments", paid)}
        if found.get("object") == "charge":
            return {**found, "invoice": self._invoices.get(str(_payer(found)))}
        return found

    def listed(self, kind: str) -> list[_Json]:
        """All objects of a kind, newest first; of one second, the one made last."""
        if kind not in self._lists:
            self._lists[kind] = sorted(
                self._shelves.get(kind, {}).values(),
                key=lambda each: (each.get("created", 0), self._order[kind, str(each["id"])]),
                reverse=True,
            )
        return self._lists[kind]

    def count(self, *kinds: str) -> int:
        """How many objects of some kinds there are."""
        return sum(len(self._shelves.get(kind, {})) for kind in kinds)


def _payer(found: Mapping[str, Any]) -> object:
    """The payment intent of a charge or of an invoice payment; without one, the charge."""
    return found.get("payment_intent") or found.get("charge") or found.get("id")


def _list_of(url: str, members: list[_Json]) -> _Json:
    return {"object": "list", "url": url, "has_more": False, "data": members}


def _inside(found: Mapping[str, Any]) -> Iterator[_Json]:
    """Objects that are shown inside another one and have a place of their own."""
    for name in _INSIDE:
        value = found.get(name)
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                continue
            if each.get("object") in _OWN_PLACE and "id" in each:
                yield each
            elif each.get("object") in {None, "list", "subscription_item"}:
                yield from _inside(each)
