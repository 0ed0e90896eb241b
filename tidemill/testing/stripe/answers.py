"""What Stripe answers to a GET, apart from HTTP: lists with their filters, and single objects."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from tidemill.testing.stripe.account import FakeAccount
from tidemill.testing.stripe.shapes import BadExpand, expand_tree, shown

__all__ = ["Refusal", "answer_to"]

_Json = dict[str, Any]
_Query = Mapping[str, Sequence[str]]

_LIMIT_DEFAULT, _LIMIT_MAX = 10, 100
_TYPES_MAX: Final = 20


@dataclass(frozen=True)
class Refusal(Exception):
    """An answer that is an error of the request."""

    status: int
    message: str
    code: str = ""


_Test = Callable[[_Json], bool]
_ORDERINGS: Final = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_REFERENCES: Final = ("customer", "invoice", "charge", "product", "payment_intent", "email")
_PAGING: Final = frozenset({"limit", "starting_after", "ending_before", "expand[]"})
_CREATED: Final = frozenset(f"created[{each}]" for each in ("gt", "gte", "lt", "lte"))

# List → the kind of its objects and the filters it knows.
_LISTS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "products": ("product", _CREATED | {"active"}),
    "prices": ("price", _CREATED | {"active", "product", "type"}),
    "plans": ("plan", _CREATED | {"active", "product"}),
    "coupons": ("coupon", _CREATED),
    "promotion_codes": ("promotion_code", _CREATED | {"active", "coupon"}),
    "customers": ("customer", _CREATED | {"email"}),
    "subscriptions": ("subscription", _CREATED | {"status", "customer", "price"}),
    "subscription_items": ("", frozenset({"subscription"})),
    "subscription_schedules": ("subscription_schedule", _CREATED | {"customer", "scheduled"}),
    "invoices": ("invoice", _CREATED | {"status", "customer", "subscription"}),
    "invoice_payments": ("invoice_payment", _CREATED | {"invoice", "status"}),
    "invoiceitems": ("invoiceitem", _CREATED | {"pending", "customer", "invoice"}),
    "credit_notes": ("credit_note", _CREATED | {"customer", "invoice"}),
    "charges": ("charge", _CREATED | {"customer", "payment_intent"}),
    "refunds": ("refund", _CREATED | {"charge", "payment_intent"}),
    "disputes": ("dispute", _CREATED | {"charge", "payment_intent"}),
    "balance_transactions": ("balance_transaction", _CREATED | {"type", "source"}),
    "events": ("event", _CREATED | {"type", "types[]", "delivery_success"}),
}


def answer_to(account: FakeAccount, path: str, query: _Query, version: str) -> _Json:
    """The JSON that Stripe would answer with. Raises: Refusal."""
    parts = path.strip("/").split("/")
    try:
        match parts:
            case ["v2", "core", "events", key]:
                return _object(account, key, "v2.core.event", {}, version)
            case ["v1", "account"]:
                return {"id": "acct_fake", "object": "account"}
            case ["v1", "invoices", key, "lines"]:
                lines = _object_held(account, key, "invoice")["lines"]["data"]
                return _paged(account, path, lines, query, version)
            case ["v1", "subscription_items"]:
                return _items(account, path, query, version)
            case ["v1", name] if name in _LISTS:
                return _list(account, name, path, query, version)
            case ["v1", name, key] if name in _LISTS:
                _known(query, frozenset({"expand[]"}))
                return _object(account, key, _LISTS[name][0], query, version)
    except BadExpand as error:
        raise Refusal(400, str(error)) from None
    raise Refusal(404, f"Unrecognized request URL (GET: {path}).")


def _object_held(account: FakeAccount, key: str, kind: str) -> _Json:
    held = account.find(key, kind)
    if held is None:
        raise Refusal(404, f"No such {kind}: '{key}'", "resource_missing")
    return held


def _object(account: FakeAccount, key: str, kind: str, query: _Query, version: str) -> _Json:
    held = _object_held(account, key, kind)
    if held.get("deleted") or kind in {"event", "v2.core.event"}:
        return held
    tree = expand_tree(list(query.get("expand[]", ())))
    return shown(account.whole(held), tree, _finder(account), version)


def _finder(account: FakeAccount) -> Callable[[str], _Json | None]:
    def find(key: str) -> _Json | None:
        held = account.find(key)
        return held and account.whole(held)

    return find


def _items(account: FakeAccount, path: str, query: _Query, version: str) -> _Json:
    _known(query, _PAGING | {"subscription"})
    key = _one(query, "subscription")
    if key is None:
        raise Refusal(400, "Missing required param: subscription.", "parameter_missing")
    items = _object_held(account, key, "subscription")["items"]["data"]
    return _paged(account, path, items, query, version)


def _list(account: FakeAccount, name: str, path: str, query: _Query, version: str) -> _Json:
    kind, filters = _LISTS[name]
    _known(query, _PAGING | filters)
    if kind == "event" and any(path.startswith("data.data") for path in query.get("expand[]", ())):
        raise Refusal(400, "This property cannot be expanded (data).")
    return _paged(account, path, _filtered(account.listed(kind), name, query), query, version)


def _known(query: _Query, names: frozenset[str]) -> None:
    unknown = sorted(set(query) - names)
    if unknown:
        raise Refusal(400, f"Received unknown parameter: {unknown[0]}", "parameter_unknown")


def _filtered(objects: list[_Json], name: str, query: _Query) -> list[_Json]:
    tests = [
        *(
            _created(rule, bound)
            for rule in _ORDERINGS
            if (bound := _one(query, f"created[{rule}]"))
        ),
        *(_refers(key, wanted) for key in _REFERENCES if (wanted := _one(query, key))),
        *(_flagged(key, flag) for key in ("active", "pending") if (flag := _one(query, key))),
    ]
    status = _one(query, "status")
    if name == "subscriptions":
        tests.append(_has_status(status))
    elif status is not None:
        tests.append(lambda each: bool(each.get("status") == status))
    if name == "events" and (kinds := {*query.get("types[]", ()), *query.get("type", ())}):
        if len(kinds) > _TYPES_MAX:
            raise Refusal(400, f"You may pass at most {_TYPES_MAX} types.")
        tests.append(lambda each: any(fnmatchcase(each["type"], kind) for kind in kinds))
    return [each for each in objects if all(test(each) for test in tests)] if tests else objects


def _created(rule: str, bound: str) -> _Test:
    at = int(bound)
    return lambda each: bool(_ORDERINGS[rule](each["created"], at))


def _refers(key: str, wanted: str) -> _Test:
    return lambda each: _id(each.get(key)) == wanted


def _flagged(key: str, flag: str) -> _Test:
    return lambda each: str(_flag(each, key)).lower() == flag


def _has_status(status: str | None) -> _Test:
    """Without a status the list leaves out what was canceled, which has cost many an importer."""
    over = {"canceled", "incomplete_expired"}
    if status == "all":
        return lambda _: True
    if status is None:
        return lambda each: each["status"] not in over
    return lambda each: each["status"] == status or (status == "ended" and each["status"] in over)


def _flag(found: _Json, key: str) -> bool:
    return found.get("invoice") is None if key == "pending" else found.get(key, True) is True


def _paged(
    account: FakeAccount, path: str, objects: list[_Json], query: _Query, version: str
) -> _Json:
    limit = int(_one(query, "limit") or _LIMIT_DEFAULT)
    if not 1 <= limit <= _LIMIT_MAX:
        raise Refusal(400, "Invalid limit: must be between 1 and 100.", "parameter_invalid_integer")
    start, before = _one(query, "starting_after"), _one(query, "ending_before")
    keys = [str(each["id"]) for each in objects]
    for cursor in (start, before):
        if cursor is not None and cursor not in keys:
            raise Refusal(400, f"No such object: '{cursor}'", "resource_missing")
    if before is not None:
        behind = keys.index(before)
        first = max(0, behind - limit)
        chosen, more = objects[first:behind], first > 0
    else:
        first = keys.index(start) + 1 if start is not None else 0
        chosen, more = objects[first : first + limit], len(objects) > first + limit
    tree = expand_tree(list(query.get("expand[]", ())))
    inner = tree.pop("data", {})
    if tree:
        raise BadExpand(f"This property cannot be expanded ({next(iter(tree))}).")
    if path.endswith("/events"):
        data = chosen
    else:
        find = _finder(account)
        data = [shown(account.whole(each), inner, find, version) for each in chosen]
    return {"object": "list", "url": path, "has_more": more, "data": data}


def _one(query: _Query, name: str) -> str | None:
    values = query.get(name, ())
    return values[-1] if values else None


def _id(value: object) -> object:
    return value.get("id") if isinstance(value, dict) else value
