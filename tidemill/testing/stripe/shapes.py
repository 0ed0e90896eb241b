"""How Stripe shows an object: what is only named unless asked for, and what older versions said.

Objects are kept in the newest version's shape with everything in them. An answer names other
objects by their ids, leaves out what must be asked for, and cuts nested lists after ten members.
Versions before 2025-09-30.clover and 2025-03-31.basil then have some facts in other places
(stripe.md §1.3 and §1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["BASIL", "CLOVER", "NESTED_MAX", "BadExpand", "expand_tree", "shown"]

_Json = dict[str, Any]
_Tree = dict[str, Any]
_Find = Callable[[str], _Json | None]

BASIL: Final = "2025-03-31"
CLOVER: Final = "2025-09-30"
NESTED_MAX: Final = 10
"""Members of a nested list that an answer holds."""

_DEPTH_MAX: Final = 4
# Fields that hold the id of another object unless it is asked for.
_NAMED: Final = frozenset(
    {
        *("customer", "latest_invoice", "schedule", "discounts", "product", "promotion_code"),
        *("invoice", "charge", "balance_transaction", "refunds", "payment_intent", "refund"),
        "failure_balance_transaction",
    }
)
# Fields that are not there at all while there is nothing to say.
_ABSENT: Final = frozenset({"failure_balance_transaction"})
# Fields that are there only when they are asked for.
_ASKED: Final = {
    "price": ("tiers", "currency_options"),
    "plan": ("tiers",),
    "coupon": ("applies_to", "currency_options"),
    "invoice": ("payments",),
}


class BadExpand(Exception):
    """An `expand` that Stripe refuses; the message is Stripe's."""


def expand_tree(paths: list[str]) -> _Tree:
    """The paths of `expand` as a tree.

    >>> expand_tree(["data.discounts", "data.price.tiers"])
    {'data': {'discounts': {}, 'price': {'tiers': {}}}}
    """
    tree: _Tree = {}
    for path in paths:
        parts = path.split(".")
        if len(parts) > _DEPTH_MAX:
            message = f"You cannot expand more than {_DEPTH_MAX} levels of a property ({path})."
            raise BadExpand(message)
        inner = tree
        for part in parts:
            inner = inner.setdefault(part, {})
    return tree


def shown(found: _Json, tree: _Tree, find: _Find, version: str) -> _Json:
    """An object as an API version shows it, with what was asked to be expanded."""
    new = _shown(found, tree, find)
    if version < CLOVER:
        new = _older(new, version)
    return new if version < BASIL else _without_invoices(new)


def _without_invoices(found: _Json) -> _Json:
    """As since basil: charges name no invoice, wherever they are shown."""
    shown = {
        name: _without_invoices(value) if isinstance(value, dict) else value
        for name, value in found.items()
    }
    if found.get("object") == "charge":
        shown.pop("invoice", None)
    return shown


def _shown(found: Mapping[str, Any], tree: _Tree, find: _Find) -> _Json:
    kind = found.get("object")
    asked = _ASKED.get(kind or "", ())
    missing = [name for name in tree if name not in {*found, *asked, *_ABSENT}]
    if missing:
        message = f"This property cannot be expanded ({missing[0]})."
        raise BadExpand(message)
    answer: _Json = {}
    for name, value in found.items():
        if name in asked and name not in tree:
            continue
        # The coupon of a discount is named, too; under `source` it has no object around it.
        if name in _NAMED or (name == "coupon" and kind in {None, "discount"}):
            answer[name] = _named(value, tree.get(name), find)
        else:
            answer[name] = _plain(value, tree.get(name, {}), find, cut=True)
    return answer


def _plain(value: object, tree: _Tree, find: _Find, *, cut: bool = False) -> object:
    if isinstance(value, list):
        return [_plain(each, tree, find) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("object") == "list":
        members = list(value.get("data", ()))
        kept = members[:NESTED_MAX] if cut else members
        data = [_plain(each, tree.get("data", {}), find) for each in kept]
        more = len(members) > len(kept) or value.get("has_more", False)
        return {**value, "data": data, "has_more": more}
    return _shown(value, tree, find)


def _named(value: object, tree: _Tree | None, find: _Find) -> object:
    """A reference: an id, or the object itself when it was asked for. Lists of them likewise."""
    if isinstance(value, list):
        return [_named(each, tree, find) for each in value]
    if not isinstance(value, dict | str):
        return value
    if isinstance(value, dict) and value.get("object") == "list":
        return _plain(value, tree or {}, find, cut=True)
    key = value if isinstance(value, str) else value["id"]
    if tree is None:
        return key
    held = find(key) or (value if isinstance(value, dict) else None)
    return key if held is None else _shown(held, tree, find)


# --- older versions -------------------------------------------------------------------------------


def _older(found: _Json, version: str) -> _Json:
    """An answer as versions before clover, or before basil, gave it."""
    moved: _Json = {name: _inner_older(value, version) for name, value in found.items()}
    kind = found.get("object")
    if kind == "discount" and isinstance(moved.get("source"), dict):
        moved["coupon"] = moved.pop("source").get("coupon")
    if version >= BASIL:
        return moved
    change = {"subscription": _old_subscription, "invoice": _old_invoice, "line_item": _old_line}
    return change[kind](moved) if kind in change else moved


def _inner_older(value: object, version: str) -> object:
    if isinstance(value, list):
        return [_inner_older(each, version) for each in value]
    return _older(value, version) if isinstance(value, dict) else value


def _old_subscription(found: _Json) -> _Json:
    items = found.get("items", {}).get("data", [])
    starts = [each.pop("current_period_start", None) for each in items]
    ends = [each.pop("current_period_end", None) for each in items]
    found["current_period_start"] = max((each for each in starts if each), default=None)
    found["current_period_end"] = min((each for each in ends if each), default=None)
    found["discount"] = next(iter(found.get("discounts") or ()), None)
    only = items[0] if len(items) == 1 else None
    found["quantity"] = only and only.get("quantity")
    return found


def _old_invoice(found: _Json) -> _Json:
    parent = found.pop("parent", None) or {}
    details = parent.get("subscription_details") or {}
    found["subscription"] = details.get("subscription")
    found["paid"] = found.get("status") == "paid"
    found["total_tax_amounts"] = found.pop("total_taxes", [])
    found["payment_intent"], found["charge"] = _old_payment(found.pop("payments", None))
    return found


def _old_payment(payments: _Json | None) -> tuple[str | None, str | None]:
    """The payment intent and the charge of an invoice, of which there was one in those days."""
    for each in (payments or {}).get("data", ()):
        return each["payment"].get("payment_intent"), each["payment"].get("charge")
    return None, None


def _old_line(found: _Json) -> _Json:
    parent = found.pop("parent", None) or {}
    detail = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    price = (found.pop("pricing", None) or {}).get("price_details") or {}
    found["type"] = "subscription" if detail.get("subscription_item") else "invoiceitem"
    found["subscription_item"] = detail.get("subscription_item")
    found["proration"] = bool(detail.get("proration"))
    found["price"] = {"id": price.get("price"), "object": "price", "product": price.get("product")}
    found["tax_amounts"] = found.pop("taxes", [])
    return found
