"""The worked cases as canonical events and expected figures.

`tests/data/edge_cases.json` tells each history as actions ("subscribe", "cancel", …). Here every
action becomes the canonical event a connector would send: the *whole* state of the subscription
after the change. What time does by itself (a coupon's end, the end of a paid period) is left out on
purpose, because the ledger has to find it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from tests.support.calendars import add_interval, instant, last_renewal

__all__ = [
    "BASE_CURRENCY",
    "Case",
    "Expectation",
    "canonical_events",
    "customer_label",
    "load_cases",
    "preset_policy",
    "presets",
]

BASE_CURRENCY: Final = "USD"
_SOURCE: Final = "book"
_FILE: Final = Path(__file__).parents[1] / "data" / "edge_cases.json"

# Knobs that the definitions name and no worked case sets.
_MORE_DEFAULTS: Final[dict[str, str | int]] = {"refunds": "ignore", "trials_in_mrr": "exclude"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one policy must say about one case; a figure that is not stated is empty or None."""

    case: str
    key: str
    preset: str
    overrides: Mapping[str, str]
    policy: Mapping[str, str | int]
    movements: tuple[Mapping[str, Any], ...] | None
    mrr_at: Mapping[str, Decimal | int]
    customers_at: Mapping[str, int]
    arr_at: Mapping[str, Decimal | int]
    rates: Mapping[str, Mapping[str, list[int] | None]]
    trial_conversion: Mapping[str, list[int]]
    cash: Mapping[str, int]
    usage_revenue: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.case}:{self.key}"


@dataclass(frozen=True, slots=True)
class Case:
    """One worked history with everything expected of it."""

    id: str
    title: str
    currency: str
    history: tuple[Mapping[str, Any], ...]
    fx: Mapping[str, list[list[str]]]
    fx_until: str | None
    aliases: Mapping[str, str]
    expectations: tuple[Expectation, ...]


@cache
def load_cases() -> list[Case]:
    """All forty cases in the order of the file; numbers with a fraction are Decimals."""
    return [_case(raw) for raw in _document()["cases"]]


@cache
def presets() -> list[str]:
    """Names of the presets that the cases use, `default` first."""
    return list(_document()["presets"])


DECIDED: Final = {"baremetrics": {"trial_rate": "started_in_window"}}
"""What presets say beyond the cases, which leave it: docs/decisions/0014-baremetrics-trials.md."""


def preset_policy(preset: str, overrides: Mapping[str, str] | None = None) -> dict[str, str | int]:
    """Every knob of a preset, resolved, as the replay wants it."""
    document = _document()
    known: dict[str, str | int] = {**_MORE_DEFAULTS, **document["knob_defaults"]}
    decided = DECIDED.get(preset, {})
    return {**known, **document["presets"][preset], **decided, **(overrides or {})}


def customer_label(source: str, customer: str) -> str:
    """The name a customer has in the cases: bare, except where a case spans two sources."""
    return customer if source == _SOURCE else f"{source}:{customer}"


def canonical_events(case: Case) -> list[dict[str, Any]]:
    """The case's history as canonical events (contracts, section 1), rates first."""
    return list(_Story(case).events())


@cache
def _document() -> dict[str, Any]:
    text = _FILE.read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return document


def _case(raw: Mapping[str, Any]) -> Case:
    return Case(
        id=raw["id"],
        title=raw["title"],
        currency=raw["currency"],
        history=tuple(raw["history"]),
        fx=raw.get("fx", {}),
        fx_until=raw.get("fx_until"),
        aliases=raw.get("customer_aliases", {}),
        expectations=tuple(
            _expectation(raw["id"], key, value) for key, value in raw["expect"].items()
        ),
    )


def _expectation(case: str, key: str, raw: Mapping[str, Any]) -> Expectation:
    movements = raw.get("movements")
    return Expectation(
        case=case,
        key=key,
        preset=raw["preset"],
        overrides=raw["overrides"],
        policy=preset_policy(raw["preset"], raw["overrides"]),
        movements=None if movements is None else tuple(movements),
        mrr_at=raw.get("mrr_at", {}),
        customers_at=raw.get("customers_at", {}),
        arr_at=raw.get("arr_at", {}),
        rates=raw.get("rates", {}),
        trial_conversion=raw.get("trial_conversion", {}),
        cash=raw.get("cash", {}),
        usage_revenue=raw.get("usage_revenue", {}),
    )


_Action: TypeAlias = Mapping[str, Any]


@dataclass(slots=True)
class _Subscription:
    """The running state of one subscription, and how to write it down."""

    state: dict[str, Any]
    interval: str
    interval_count: int
    anchor: str
    open_invoice: dict[str, Any] | None = None
    last_invoice: str | None = None
    discounts: int = 0

    def period(self, at: str) -> tuple[str, str]:
        """The billing period that holds `at`: anchored, rolled on to the renewal before it."""
        start = last_renewal(instant(self.anchor), self.interval, self.interval_count, instant(at))
        return _text(start), _text(add_interval(start, self.interval, self.interval_count))

    def roll(self, at: str) -> None:
        self.state["current_period_start"], self.state["current_period_end"] = self.period(at)

    def add_discount(self, raw: Mapping[str, Any], at: str) -> None:
        self.discounts += 1
        months = raw.get("months")
        until = None if months is None else _text(add_interval(instant(at), "month", int(months)))
        percent, amount = raw.get("percent_off"), raw.get("amount_off_cents")
        self.state["discounts"] = [
            *self.state["discounts"],
            {
                "id": f"di_{self.state['id']}_{self.discounts}",
                "coupon": None,
                "item": None,
                "percent_off": None if percent is None else str(percent),
                "amount_off": None if amount is None else str(amount),
                "duration": raw["duration"],
                "starts_at": at,
                "ends_at": until,
            },
        ]


@dataclass(slots=True)
class _Story:
    """Tells a case's history as events, one subscription state at a time."""

    case: Case
    subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)
    count: int = 0
    seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def events(self) -> Iterator[dict[str, Any]]:
        yield from self._rates()
        for action in self.case.history:
            yield from self._merge(action)
            yield from _ACTIONS[action["action"]](self, action)

    def _rates(self) -> Iterator[dict[str, Any]]:
        for pair, steps in self.case.fx.items():
            quote, base = pair.split("/")
            for day, rate in steps:
                at = f"{day}T00:00:00Z"
                data = {"base": base, "quote": quote, "day": day, "rate": rate}
                yield self._event("fx_rate.published", {"at": at}, data, f"{pair}:{day}")

    def _merge(self, action: _Action) -> Iterator[dict[str, Any]]:
        customer = action["customer"]
        if customer in self.case.aliases and customer not in self.merged:
            self.merged.add(customer)
            into = dict(
                zip(("source", "customer"), _owner(self.case.aliases[customer]), strict=True)
            )
            data = {"id": _owner(customer)[1], "into": into}
            yield self._event("customer.merged", action, data, f"merge:{customer}")

    def subscribe(self, action: _Action) -> Iterator[dict[str, Any]]:
        at, trial_end = action["at"], action.get("trial_end")
        known = _Subscription({}, action["interval"], action["interval_count"], at)
        known.state = _first_state(action)
        known.roll(at)
        if "discount" in action:
            known.add_discount(action["discount"], at)
        self.subscriptions[action["subscription"]] = known
        yield self._version("trial_started" if trial_end else "created", action)
        if action.get("unpaid"):
            amount = action["amount_cents"] * action["quantity"]
            known.open_invoice = self._invoice(action, amount, "open", "subscription")
            yield self._event("invoice.finalized", action, known.open_invoice)

    def change(self, action: _Action) -> Iterator[dict[str, Any]]:
        known = self.subscriptions[action["subscription"]]
        was = (known.interval, known.interval_count)
        known.interval = action.get("interval", known.interval)
        known.interval_count = action.get("interval_count", known.interval_count)
        if (known.interval, known.interval_count) != was:
            known.anchor = action["at"]
        item = dict(known.state["items"][0])
        item["interval"], item["interval_count"] = known.interval, known.interval_count
        item["unit_amount"] = str(action.get("amount_cents", item["unit_amount"]))
        item["quantity"] = action.get("quantity", item["quantity"])
        item["plan"] = _plan(item)
        known.state["items"] = [item]
        known.roll(action["at"])
        yield self._version("changed", action)

    def cancel(self, action: _Action) -> Iterator[dict[str, Any]]:
        known, at = self.subscriptions[action["subscription"]], action["at"]
        known.roll(at)
        known.state["canceled_at"] = at
        known.state["current_period_end"] = action["service_period_end"]
        if action["mode"] == "at_period_end":
            known.state["cancel_at_period_end"] = True
            yield self._version("updated", action)
        else:
            known.state["refunded_at_cancellation"] = action.get("refunded", False)
            known.state |= {"status": "canceled", "ended_at": at, "cancel_at_period_end": False}
            yield self._version("canceled", action)

    def uncancel(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "uncanceled", cancel_at_period_end=False, canceled_at=None)

    def pause(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "paused", status="paused", paused_at=action["at"])

    def resume(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "resumed", status="active", paused_at=None)

    def past_due(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "past_due", status="past_due", past_due_since=action["at"])

    def recovered(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "recovered", status="active", past_due_since=None)

    def unpaid(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "updated", status="unpaid")

    def trial_extend(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "trial_extended", trial_end=action["trial_end"])

    def trial_convert(self, action: _Action) -> Iterator[dict[str, Any]]:
        # Billing starts at the conversion, so the periods are counted from there.
        self.subscriptions[action["subscription"]].anchor = action["at"]
        yield self._update(action, "trial_converted", status="active")

    def trial_expire(self, action: _Action) -> Iterator[dict[str, Any]]:
        ended = {"canceled_at": action["at"], "ended_at": action["at"]}
        yield self._update(action, "trial_expired", status="canceled", **ended)

    def discount_add(self, action: _Action) -> Iterator[dict[str, Any]]:
        known = self.subscriptions[action["subscription"]]
        known.add_discount(action["discount"], action["at"])
        yield self._update(action, "updated")

    def discount_remove(self, action: _Action) -> Iterator[dict[str, Any]]:
        yield self._update(action, "updated", discounts=[])

    def invoice_paid(self, action: _Action) -> Iterator[dict[str, Any]]:
        known, amount = self.subscriptions[action["subscription"]], action["amount_cents"]
        invoice = known.open_invoice or self._invoice(action, amount, "paid", "subscription")
        paid = {"status": "paid", "amount_paid": amount, "paid_at": action["at"]}
        known.open_invoice, known.last_invoice = None, invoice["id"]
        yield self._event("invoice.paid", action, {**invoice, **paid})
        yield self._payment("succeeded", action, invoice["id"])

    def refund(self, action: _Action) -> Iterator[dict[str, Any]]:
        invoice = self.subscriptions[action["subscription"]].last_invoice
        yield self._payment("refunded", action, invoice)

    def usage_invoice(self, action: _Action) -> Iterator[dict[str, Any]]:
        invoice = self._invoice(action, action["amount_cents"], "paid", "usage")
        yield self._event("invoice.paid", action, invoice)

    def one_time(self, action: _Action) -> Iterator[dict[str, Any]]:
        invoice = self._invoice(action, action["amount_cents"], "paid", "addon")
        yield self._event("invoice.paid", action, invoice)
        yield self._payment("succeeded", action, invoice["id"])

    def _update(self, action: _Action, label: str, **changes: Any) -> dict[str, Any]:
        known = self.subscriptions[action["subscription"]]
        known.state |= changes
        known.roll(action["at"])
        return self._version(label, action)

    def _version(self, label: str, action: _Action) -> dict[str, Any]:
        state = dict(self.subscriptions[action["subscription"]].state)
        return self._event(f"subscription.{label}", action, state)

    def _invoice(self, action: _Action, amount: int, status: str, kind: str) -> dict[str, Any]:
        at, name = action["at"], action.get("subscription")
        paid = status == "paid"
        known = self.subscriptions[name] if name else None
        # A usage charge is for time already past; no case says which.
        dated = known is not None and kind == "subscription"
        start, end = known.period(at) if known is not None and dated else (None, None)
        number = f"in_{self.count + 1}"
        line = {"id": f"il_{number}", "kind": kind, "subscription": name, "amount": amount}
        if known is not None:
            line["item"] = known.state["items"][0]["id"]
        return {
            "id": number,
            "subscription": name,
            "status": status,
            "currency": known.state["currency"] if known else self.case.currency,
            "subtotal": amount,
            "tax": 0,
            "total": amount,
            "amount_paid": amount if paid else 0,
            "period_start": start,
            "period_end": end,
            "issued_at": at,
            "paid_at": at if paid else None,
            "lines": [{**line, "period_start": start, "period_end": end}],
        }

    def _payment(self, kind: str, action: _Action, invoice: str | None) -> dict[str, Any]:
        name = action.get("subscription")
        currency = self.subscriptions[name].state["currency"] if name else self.case.currency
        data = {
            "id": f"py_{self.count + 1}",
            "invoice": invoice,
            "amount": action["amount_cents"],
            "currency": currency,
        }
        return self._event(f"payment.{kind}", action, data)

    def _event(
        self, type: str, action: _Action, data: dict[str, Any], subject: str | None = None
    ) -> dict[str, Any]:
        self.count += 1
        at = action["at"]
        source, customer = _owner(action["customer"]) if "customer" in action else (_SOURCE, "")
        # A second event of one subject at the same instant comes after the first.
        place = (f"{type.partition('.')[0]}:{subject or data['id']}", at)
        self.seen[place] = self.seen.get(place, -1) + 1
        return {
            "id": str(uuid5(NAMESPACE_URL, f"tidemill:case:{self.case.id}:{self.count}")),
            "source": source,
            "type": type,
            "occurred_at": at,
            "sequence": self.seen[place],
            "recorded_at": action.get("recorded_at", at),
            "customer": customer,
            "livemode": True,
            "data": data,
        }


_ACTIONS: Final[dict[str, Callable[[_Story, _Action], Iterator[dict[str, Any]]]]] = {
    "subscribe": _Story.subscribe,
    "change": _Story.change,
    "cancel": _Story.cancel,
    "uncancel": _Story.uncancel,
    "pause": _Story.pause,
    "resume": _Story.resume,
    "past_due": _Story.past_due,
    "recovered": _Story.recovered,
    "unpaid": _Story.unpaid,
    "trial_extend": _Story.trial_extend,
    "trial_convert": _Story.trial_convert,
    "trial_expire": _Story.trial_expire,
    "discount_add": _Story.discount_add,
    "discount_remove": _Story.discount_remove,
    "invoice_paid": _Story.invoice_paid,
    "refund": _Story.refund,
    "usage_invoice": _Story.usage_invoice,
    "one_time": _Story.one_time,
}


def _first_state(action: _Action) -> dict[str, Any]:
    at, trial_end = action["at"], action.get("trial_end")
    item = {
        "id": f"si_{action['subscription']}",
        "plan": None,
        "product": None,
        "quantity": action["quantity"],
        "unit_amount": str(action["amount_cents"]),
        "interval": action["interval"],
        "interval_count": action["interval_count"],
        "usage_type": "metered" if action.get("metered") else "licensed",
        "tax_inclusive_amount": str(action.get("tax_cents", 0)),
    }
    item["plan"] = _plan(item)
    return {
        "id": action["subscription"],
        "status": "trialing" if trial_end else "active",
        "currency": action["currency"],
        "items": [item],
        "discounts": [],
        "started_at": at,
        "trial_start": at if trial_end else None,
        "trial_end": trial_end,
        "past_due_since": None,
        "paused_at": None,
        "current_period_start": None,
        "current_period_end": None,
        "cancel_at_period_end": False,
        "cancel_at": None,
        "canceled_at": None,
        "ended_at": None,
        "cancel_reason": None,
        "cancel_feedback": None,
        "voluntary": None,
        "refunded_at_cancellation": False,
        "collection_method": "charge_automatically",
        "confidence": "observed",
    }


def _plan(item: Mapping[str, Any]) -> str:
    """A plan per price: a connector would know the same price by the same id."""
    return f"plan_{item['unit_amount']}_{item['interval_count']}_{item['interval']}"


def _owner(customer: str) -> tuple[str, str]:
    """Source and vendor id; a case names the source only where there are two."""
    source, colon, name = customer.partition(":")
    return (source, name) if colon else (_SOURCE, customer)


def _text(at: Any) -> str:
    return str(at.strftime("%Y-%m-%dT%H:%M:%SZ"))
