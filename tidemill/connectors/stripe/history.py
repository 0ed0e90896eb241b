"""A subscription's past, put together from what Stripe still shows of it.

Stripe keeps no history of subscriptions. What can be told is told by dates on the subscription
itself, by invoices (`history_points`), by past phases of a schedule and by discounts with their
dates (stripe.md §4.4). Out of these a list of versions is made, each the whole raw subscription as
it was from an instant on. From the first event on that Stripe still has, events tell the rest.

Each version says how sure it is: *reconstructed* when its instant and state are proven, *inferred*
when something was only seen later than it began, or had to be assumed. What could not be told is
counted under a name in `UNKNOWN`, so that it can be said to people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tidemill.connectors.stripe.history_evidence import Bill, Evidence, bills_of, phases_of
from tidemill.connectors.stripe.history_points import Point, points_of, price_from
from tidemill.connectors.stripe.history_terms import Change, discount_changes, status_changes
from tidemill.vocabulary import Confidence

__all__ = ["UNKNOWN", "History", "Version", "reconstruct", "rewound"]

_Json = Mapping[str, Any]

UNKNOWN: Final = {
    "undated_change": "changes of price or quantity that no proration dates; they count from the "
    "first invoice, or the day, at which they are seen",
    "undated_removal": "items taken off without a credit; they count until their paid period ended",
    "undated_status": "changes of status that nothing dates; they count from the last evidence on",
    "no_invoice": "subscriptions without an invoice of their first items; these are taken to be as "
    "first seen",
    "lost_price": "prices that Stripe does not show any more; their amounts are those charged",
    "guessed_pause": "pauses that only show in invoices that were voided automatically",
    "lost_discount": "discounts that were taken off again on a day nothing tells",
}
"""What a reconstruction may have to leave open, by name, as people are told it."""


@dataclass(frozen=True, slots=True)
class Version:
    """The subscription as it was from an instant (Unix seconds) on."""

    at: int
    kind: str
    """The Stripe event type that would have told it: ``customer.subscription.updated``."""
    state: dict[str, Any]
    previous: dict[str, Any]
    """What the changed attributes were before, as events show it."""
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class History:
    """The versions in order of time, and what could not be told, by names of `UNKNOWN`."""

    versions: tuple[Version, ...]
    unknown: Mapping[str, int]


@dataclass(slots=True)
class _Past:
    """What is being put together."""

    anchor: _Json
    start: int
    horizon: int
    """Nothing at or after it is told here."""
    quiet_from: int
    """Nothing happened from here to the horizon, or an event would tell."""
    evidence: Evidence
    bills: Sequence[Bill]
    unknown: dict[str, int] = field(default_factory=dict)

    def miss(self, name: str) -> None:
        """Note that something could not be told."""
        self.unknown[name] = self.unknown.get(name, 0) + 1

    def late(self, last: int) -> int:
        """When something is taken to have changed that happened after the `last` evidence."""
        return max(last, min(self.quiet_from, self.horizon - 1))


def rewound(event: _Json) -> dict[str, Any] | None:
    """The object just before an event, by its previous attributes; None before it existed.

    >>> rewound(
    ...     {
    ...         "type": "customer.subscription.updated",
    ...         "data": {
    ...             "object": {"id": "sub_1", "status": "active"},
    ...             "previous_attributes": {"status": "trialing"},
    ...         },
    ...     }
    ... )
    {'id': 'sub_1', 'status': 'trialing'}
    """
    if str(event.get("type")).endswith(".created"):
        return None
    data = event.get("data") or {}
    return _merged(data.get("object") or {}, data.get("previous_attributes") or {})


def _merged(found: _Json, previous: _Json) -> dict[str, Any]:
    merged = dict(found)
    for key, value in previous.items():
        held = found.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            merged[key] = _merged(held, value)
        else:
            merged[key] = value
    return merged


def reconstruct(anchor: _Json, evidence: Evidence, *, until: int, quiet_from: int) -> History:
    """The versions of a subscription from its start up to, and without, an instant.

    anchor:     the subscription as it was just before `until`: as it is now when no event of it is
                known, else as it was before the first (`rewound`).
    until:      the instant of that event, or of reading.
    quiet_from: since when every event is known (Stripe keeps thirty days), so that nothing happened
                between it and `until`.
    Pure: the same evidence gives the same versions, in whatever order it comes.
    """
    start = _int(anchor, "start_date") or _int(anchor, "start") or _int(anchor, "created")
    if start is None or start >= until:
        return History((), {})
    ended = _int(anchor, "ended_at")
    horizon = until if ended is None else min(until, ended)
    bills = bills_of(str(anchor.get("id")), evidence)
    past = _Past(anchor, start, horizon, quiet_from, evidence, bills)
    changes = [*_item_changes(past), *_term_changes(past)]
    versions = list(_versions(past, changes))
    if ended is not None and ended < until and versions:
        versions.append(_ended(past, versions[-1], ended))
    return History(tuple(versions), past.unknown)


# --- items ----------------------------------------------------------------------------------------


def _item_changes(past: _Past) -> Iterator[Change]:
    """Changes of items: each sets, or removes, one item of the state."""
    held = {str(each.get("id")): each for each in _items(past.anchor)}
    points = points_of(past.bills, held, past.evidence, past.start)
    if not points:
        past.miss("no_invoice")
    for item in {**points, **held}:
        known = [each for each in points.get(item, ()) if each.at < past.horizon]
        yield from _life_of(past, item, known, held.get(item))


def _life_of(
    past: _Past, item: str, points: Sequence[Point], held: _Json | None
) -> Iterator[Change]:
    """The changes of one item, from its first evidence to the state at the end."""
    state: tuple[object, object] | None = None
    last = past.start
    for number, point in enumerate(points):
        fresh = None if point.gone else (point.price, point.quantity)
        if fresh == state:
            last = point.at
            continue
        at, sure = point.at, point.exact
        if not number:
            at, sure = _begin(past, point, held)
        elif not sure:
            at, sure = _planned(past, point, last)
            if not sure:
                past.miss("undated_change")
        yield Change(at, ("item", item), None if point.gone else _raw_item(past, item, point), sure)
        state, last = fresh, point.at
    yield from _last_change(past, item, points, held, last)


def _begin(past: _Past, point: Point, held: _Json | None) -> tuple[int, bool]:
    """When an item began that an invoice first shows."""
    if point.at == past.start or point.exact:
        return point.at, True
    created = _int(held or {}, "created")
    if created is not None and past.start < created <= point.at:
        return created, True
    if point.at == min((line.start for b in past.bills for line in b.lines), default=point.at):
        # The first invoice there is: what came before was like it, as far as anybody can tell.
        past.miss("no_invoice")
        return past.start, False
    past.miss("undated_change")
    return point.at, False


def _planned(past: _Past, point: Point, last: int) -> tuple[int, bool]:
    """When a change took effect that a schedule had planned between two invoices."""
    for start, items in phases_of(past.evidence.schedule):
        if last < start <= point.at and any(price == point.price for price, _ in items):
            return start, True
    return point.at, False


def _last_change(
    past: _Past, item: str, points: Sequence[Point], held: _Json | None, last: int
) -> Iterator[Change]:
    """From the last evidence to the state at the end."""
    final = points[-1] if points else None
    if held is None:
        if final is not None and not final.gone:
            past.miss("undated_removal")
            yield Change(min(max(final.end, last), past.late(last)), ("item", item), None, False)
        return
    if final is None:
        created = _int(held, "created")
        inside = created is not None and past.start < created < past.horizon
        at = created if inside and created is not None else past.start
        yield Change(at, ("item", item), dict(held), inside)
        return
    price = held.get("price") or held.get("plan") or {}
    if (price.get("id"), held.get("quantity")) == (final.price, final.quantity):
        # The item as Stripe shows it says more than a line of an invoice: discounts, tax rates.
        return
    metered = (price.get("recurring") or price).get("usage_type") == "metered"
    if metered and price.get("id") == final.price:
        return
    at, sure = past.late(last), False
    for start, items in phases_of(past.evidence.schedule):
        if last < start < past.horizon and (price.get("id"), held.get("quantity")) in items:
            at, sure = start, True
    if not sure:
        past.miss("undated_change")
    yield Change(at, ("item", item), dict(held), sure)


def _raw_item(past: _Past, item: str, point: Point) -> dict[str, Any]:
    """The raw item in the state that a point proves."""
    held = next((each for each in _items(past.anchor) if each.get("id") == item), {})
    price = past.evidence.prices.get(point.price or "")
    now = held.get("price") or held.get("plan")
    if price is None and now and now.get("id") == point.price:
        price = now
    if price is None:
        past.miss("lost_price")
        price = price_from(point, str(past.anchor.get("currency") or ""))
    quantity = point.quantity
    if (price.get("recurring") or price).get("usage_type") == "metered":
        quantity = None
    own = {"id": item, "object": "subscription_item", "price": price, "quantity": quantity}
    # An item that is there no more does not say when it came; when it was first seen, then.
    return {"created": point.at, **held, **own}


# --- versions -------------------------------------------------------------------------------------


def _term_changes(past: _Past) -> Iterator[Change]:
    for change in (
        *status_changes(past.anchor, past.bills, past.start, past.horizon, past.late),
        *discount_changes(past.anchor, past.bills, past.start, past.horizon),
    ):
        if change.missed:
            past.miss(change.missed)
        yield change


def _versions(past: _Past, changes: Sequence[Change]) -> Iterator[Version]:
    """One version for each instant at which something changed."""
    moments: dict[int, list[Change]] = {}
    for change in changes:
        moments.setdefault(max(change.at, past.start), []).append(change)
    moments.setdefault(past.start, [])
    terms: dict[tuple[str, str], Any] = {}
    before: dict[str, Any] | None = None
    for at in sorted(each for each in moments if each < past.horizon):
        for change in moments[at]:
            terms[change.about] = change.value
        state = _state(past, terms, at)
        comparable = _without_periods(state)
        if before is not None and comparable == _without_periods(before):
            continue
        sure = all(change.sure for change in moments[at])
        yield Version(
            at=at,
            kind="customer.subscription." + ("created" if before is None else "updated"),
            state=state,
            previous={} if before is None else _difference(before, state),
            confidence=Confidence.RECONSTRUCTED if sure else Confidence.INFERRED,
        )
        before = state


def _state(past: _Past, terms: Mapping[tuple[str, str], Any], at: int) -> dict[str, Any]:
    """The whole raw subscription as it was, given what has changed by an instant."""
    state = {
        **past.anchor,
        "ended_at": None,
        "current_period_start": None,
        "current_period_end": None,
        "discount": None,
        "pending_update": None,
    }
    # The single-item fields of old versions speak of now.
    state.pop("plan", None)
    state.pop("quantity", None)
    items, discounts = [], []
    for (kind, name), value in terms.items():
        if kind == "item" and value is not None:
            start, end = _period(past, name, at)
            items.append({**value, "current_period_start": start, "current_period_end": end})
        elif kind == "discount" and value is not None:
            discounts.append(value)
        elif kind == "term":
            state[name] = value
    for found in discounts:
        target = found.get("subscription_item")
        for each in items:
            if each["id"] == target:
                each["discounts"] = [*_other_discounts(each, found), found]
    state["discounts"] = [each for each in discounts if not each.get("subscription_item")]
    for each in items:
        own = each.get("discounts") or ()
        each["discounts"] = [found for found in own if found in discounts]
    items.sort(key=lambda each: (each.get("created") or 0, str(each["id"])))
    state["items"] = {"object": "list", "data": items, "has_more": False}
    if (past.anchor.get("automatic_tax") or {}).get("enabled"):
        told = [bill.raw for bill in past.bills if bill.raw and bill.counts and bill.created <= at]
        state["latest_invoice"] = told[-1] if told else past.anchor.get("latest_invoice")
    return state


def _other_discounts(item: _Json, found: _Json) -> list[Any]:
    return [
        each
        for each in item.get("discounts") or ()
        if (each.get("id") if isinstance(each, Mapping) else each) != found.get("id")
    ]


def _period(past: _Past, item: str, at: int) -> tuple[int | None, int | None]:
    """The billing period an item was in: as charged, else of the trial, else as far as known."""
    lines = [line for bill in past.bills for line in bill.lines if line.start <= at < line.end]
    own = [line for line in lines if line.item == item and not line.proration]
    for line in (own or [line for line in lines if not line.proration])[-1:]:
        return line.start, line.end
    trial = _int(past.anchor, "trial_start"), _int(past.anchor, "trial_end")
    if trial[0] is not None and trial[1] is not None and trial[0] <= at < trial[1]:
        return trial
    held = next((each for each in _items(past.anchor) if each.get("id") == item), past.anchor)
    start, end = _int(held, "current_period_start"), _int(held, "current_period_end")
    if start is not None and end is not None and start <= at < end:
        return start, end
    return None, None


def _ended(past: _Past, last: Version, at: int) -> Version:
    """The end, which the subscription itself tells."""
    final = {
        **last.state,
        "status": past.anchor.get("status"),
        "ended_at": at,
        "canceled_at": past.anchor.get("canceled_at"),
        "cancel_at": past.anchor.get("cancel_at"),
        "cancel_at_period_end": past.anchor.get("cancel_at_period_end"),
        "cancellation_details": past.anchor.get("cancellation_details"),
        "pause_collection": None,
    }
    return Version(
        at=at,
        kind="customer.subscription.deleted",
        state=final,
        previous=_difference(last.state, final),
        confidence=Confidence.RECONSTRUCTED,
    )


def _without_periods(state: _Json) -> dict[str, Any]:
    """What counts as a change: not the passing of billing periods."""
    items = [
        {key: value for key, value in each.items() if not key.startswith("current_period_")}
        for each in _items(state)
    ]
    return {**state, "items": items, "latest_invoice": None}


def _difference(before: _Json, after: _Json) -> dict[str, Any]:
    same = _without_periods(before), _without_periods(after)
    return {key: before.get(key) for key in after if same[0].get(key) != same[1].get(key)}


def _items(subscription: _Json) -> list[_Json]:
    items = subscription.get("items")
    data = items.get("data") if isinstance(items, Mapping) else items
    return [each for each in data or () if isinstance(each, Mapping)]


def _int(found: _Json, key: str) -> int | None:
    value = found.get(key)
    return value if type(value) is int else None
