"""What was read from the API, told as events: the same canonical events that webhooks become.

An object that was read is put into an event as Stripe would have sent it, at the time the object
itself gives, and translated like any other. Its id is made from the object's id and that time, so
reading again tells nothing new. A subscription becomes as many events as its past has versions
(`history`); from the first real event on that is known of it, real events tell the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from tidemill.connectors.base import Item, Translation
from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.backfill import Staged
from tidemill.connectors.stripe.client import API_VERSION, Json
from tidemill.connectors.stripe.history import reconstruct, rewound
from tidemill.connectors.stripe.history_evidence import Evidence
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.order import chained, rank
from tidemill.connectors.stripe.payments import money_is_back
from tidemill.connectors.stripe.reconcile import compare
from tidemill.connectors.stripe.shapes import coupon_of, customer_key, discounts_of, listed
from tidemill.connectors.stripe.translate import Setting, translate
from tidemill.events import Event
from tidemill.intake import Ignored, Rejected
from tidemill.vocabulary import Confidence

__all__ = ["Teller", "Told", "first_events", "items_of", "learn", "slim", "wrapped"]

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])

# The status of an invoice → the type of the event that brought it there, and the instant it names.
_INVOICES: Final = {
    "draft": ("invoice.created", "created"),
    "open": ("invoice.finalized", "finalized_at"),
    "paid": ("invoice.paid", "paid_at"),
    "void": ("invoice.voided", "voided_at"),
    "uncollectible": ("invoice.marked_uncollectible", "marked_uncollectible_at"),
}
_KINDS: Final = {
    "product": "product.created",
    "price": "price.created",
    "customer": "customer.created",
    "refund": "refund.created",
    "dispute": "charge.dispute.created",
    "credit_note": "credit_note.created",
}
# What tells of a subscription's past from the side of money.
_BILLED: Final = frozenset({"invoice", "invoiceitem"})
# The instants at which a schedule changed, and what it says of the time to come.
_TURNS: Final = ("created", "canceled_at", "completed_at", "released_at")
_PLANNED: Final = ("status", "subscription", "end_behavior", "phases")
# Events that show a subscription as it was before what they announce.
_ANNOUNCEMENTS: Final = frozenset({"customer.subscription.trial_will_end"})


@dataclass(slots=True)
class Told:
    """What a reconstruction came to: versions by confidence, and what could not be told."""

    subscriptions: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def learn(known: Known, found: Staged) -> None:
    """Let the translation know an object that others only name."""
    raw = found.value()
    age = found.created or 0
    if found.kind in {"price", "coupon"}:
        known.add(wrapped(f"{found.kind}.created", found.id, age, raw))
    elif found.kind in {"subscription", "invoice"}:
        whole = Fields(raw)
        for holder in (whole, *listed(whole, "items")):
            for each in discounts_of(holder)[1]:
                if isinstance(each, Mapping):
                    key, coupon = coupon_of(Fields(each))
                    known.add(
                        wrapped("customer.discount.created", found.id, age, _named(each, key))
                    )
                    if isinstance(coupon, Mapping):
                        # As it stands here it lacks what only the coupon's own list shows, so that
                        # one wins; but one that was deleted is shown nowhere else.
                        known.add(wrapped("coupon.created", found.id, 0, coupon))


def _named(discount: Mapping[str, Any], key: str) -> Json:
    """The discount with its coupon as an id, under the key it stands under."""
    if key == "coupon":
        return {**discount, "coupon": Fields(discount).reference("coupon")}
    source = Fields(discount).fields("source")
    return {**discount, "source": {**source.value, "coupon": source.reference("coupon")}}


def slim(subscription: Json) -> Json:
    """The subscription, or invoice, with the coupons of its discounts as ids.

    A coupon that stands inside a discount lacks what only its own list shows, such as its amounts
    in other currencies; `Known` has it whole once it has learned.
    """

    def slimmed(holder: Mapping[str, Any]) -> Json:
        found = holder.get("discounts")
        if not isinstance(found, list):
            return dict(holder)
        named = [
            _named(each, coupon_of(Fields(each))[0]) if isinstance(each, Mapping) else each
            for each in found
        ]
        return {**holder, "discounts": named}

    slim = slimmed(subscription)
    items = slim.get("items")
    if isinstance(items, Mapping):
        data = [slimmed(e) if isinstance(e, Mapping) else e for e in items.get("data") or ()]
        slim["items"] = {**items, "data": data}
    return slim


def wrapped(
    kind: str,
    key: str,
    at: int,
    found: Mapping[str, Any],
    *,
    previous: Mapping[str, Any] | None = None,
) -> Json:
    """The event that would have told of an object at an instant (Unix seconds)."""
    data: Json = {"object": found}
    if previous is not None:
        data["previous_attributes"] = previous
    event = {
        "id": key,
        "object": "event",
        "api_version": API_VERSION,
        "created": at,
        "type": kind,
        "data": data,
    }
    return event | ({"livemode": found["livemode"]} if "livemode" in found else {})


@dataclass(slots=True)
class Teller:
    """Tells what was read from one account.

    events_from: since when Stripe still has events, in Unix seconds.
    read_at:     when reading ended.
    observed:    subscription → its first event that is in the books already, in Unix seconds.
    """

    source: str
    test_mode: bool
    known: Known
    events_from: int
    read_at: int
    observed: Mapping[str, int] = field(default_factory=dict)
    told: Told = field(default_factory=Told)

    # --- objects ------------------------------------------------------------------------------

    def thing(self, found: Staged, *, as_of: int | None = None) -> Iterator[Item]:
        """An object other than a subscription, as the event that brought it to where it is.

        as_of: dates a state that came to be so at a time nothing tells, of an object the books
               have in another state.
        """
        raw = found.value()
        kind, at = _event_of(found.kind, raw)
        if kind is None or at is None:
            yield Ignored(f"api:{found.id}", found.kind, "nothing has come of it yet")
            return
        if as_of is not None:
            kind, at = f"{kind.rpartition('.')[0]}.updated", as_of
        yield from self._wrapped(kind, found.id, at, raw)

    def undone(self, found: Staged) -> Iterator[Item]:
        """What became of a refund, dispute or credit note in the end, if it came to nothing."""
        raw = found.value()
        undone = _undone(found.kind, raw)
        if undone is not None:
            kind, at = undone
            yield from self._wrapped(kind, found.id, at, raw)

    def _wrapped(self, kind: str, key: str, at: int, raw: Json) -> Iterator[Item]:
        yield from self._items(wrapped(kind, f"api/{key}/{kind}/{at}", at, raw))

    def plan(self, found: Staged) -> Iterator[Item]:
        """What a schedule plans; told again when it has changed, at the last instant it names."""
        raw = found.value()
        phase = raw.get("current_phase")
        instants = [_int(raw, name) for name in _TURNS]
        instants.append(_int(phase, "start_date") if isinstance(phase, Mapping) else None)
        at = max((each for each in instants if each is not None), default=None)
        if at is not None:
            said = blake2b(_ENCODER.encode([raw.get(name) for name in _PLANNED]), digest_size=8)
            kind = "subscription_schedule.updated"
            key = f"api/{found.id}/{kind}/{at}/{said.hexdigest()}"
            yield from self._items(wrapped(kind, key, at, raw))

    def deleted_customer(self, key: str, at: int) -> Iterator[Item]:
        """A customer of whom Stripe only knows that it was deleted; not when."""
        yield from self._wrapped("customer.deleted", key, at, {"id": key, "object": "customer"})

    # --- subscriptions ------------------------------------------------------------------------

    def histories(
        self,
        objects: Sequence[Staged],
        *,
        after: Mapping[str, int],
        had: Mapping[str, Json] | None = None,
    ) -> Iterator[Item]:
        """The past of every subscription among the objects of some customers.

        after: subscription → nothing up to this instant is told: the books have it.
        had:   subscription → the state (payload of its event) that the books have at that instant.
        """
        kinds: dict[str, list[Json]] = {}
        # By customer: nobody's invoices say anything of what another one has.
        billed: dict[tuple[str, str | None], list[Json]] = {}
        for each in objects:
            raw = each.value()
            kinds.setdefault(each.kind, []).append(raw)
            if each.kind in _BILLED:
                shown = slim(raw) if each.kind == "invoice" else raw
                billed.setdefault((each.kind, each.owner), []).append(shown)
        events = first_events(kinds.get("event", ()))
        schedules = {str(each.get("id")): each for each in kinds.get("subscription_schedule", ())}
        for subscription in map(slim, kinds.get("subscription", ())):
            payer = customer_key(Fields(subscription))
            evidence = Evidence(
                invoices=billed.get(("invoice", payer), ()),
                pending=billed.get(("invoiceitem", payer), ()),
                schedule=schedules.get(Fields(subscription).reference("schedule") or ""),
                prices=self.known.prices,
            )
            key = str(subscription.get("id"))
            first, since = events.get(key), after.get(key, -1)
            told = list(self._history(subscription, first, evidence, after=since))
            yield from told or self._since(subscription, first, since, (had or {}).get(key))

    def _history(
        self, subscription: Json, first: Json | None, evidence: Evidence, *, after: int
    ) -> Iterator[Item]:
        key = str(subscription.get("id"))
        anchor: Json | None = subscription
        until = self.read_at
        if first is not None:
            until = first["created"]
            before = rewound(first)
            anchor = before and slim(before)
        observed = self.observed.get(key)
        if anchor is None or (observed is not None and observed <= after):
            return
        history = reconstruct(anchor, evidence, until=until, quiet_from=self.events_from)
        self.told.subscriptions += 1
        self.told.unknown.update(history.unknown)
        for version in history.versions:
            if version.at <= after or (observed is not None and version.at >= observed):
                continue
            self.told.versions[version.confidence.value] += 1
            name = f"api/{key}/{version.kind}/{version.at}"
            event = wrapped(
                version.kind, name, version.at, version.state, previous=version.previous
            )
            yield from self._items({**event, "confidence": version.confidence.value})

    def _since(
        self, subscription: Json, first: Json | None, after: int, had: Json | None
    ) -> Iterator[Item]:
        """What changed since the books last heard of a subscription, when no evidence dates it."""
        anchor = subscription if first is None else rewound(first)
        key = str(subscription.get("id"))
        if had is None or anchor is None or key in self.observed:
            return
        until = self.read_at if first is None else first["created"]
        at = max(after + 1, min(self.events_from, until - 1))
        kind = "customer.subscription.updated"
        event = wrapped(kind, f"api/{key}/{kind}/{at}", at, slim(anchor))
        items = list(self._items({**event, "confidence": Confidence.INFERRED.value}))
        said = next((_DECODER.decode(each.data) for each in items if isinstance(each, Event)), had)
        if compare(had, said, customer="", now=datetime.fromtimestamp(at, UTC)):
            self.told.versions[Confidence.INFERRED.value] += 1
            self.told.unknown["undated_change"] += 1
            yield from items

    def _items(self, event: Json) -> Iterator[Item]:
        translation = translate(event, Setting(self.source, self.test_mode, self.known))
        yield from items_of(event, translation, self.source)


def items_of(event: Mapping[str, Any], translation: Translation, source: str) -> Iterator[Item]:
    """What a raw event came to, piece by piece."""
    yield from translation.events
    origin = f"api:{event.get('id')}"
    if translation.problems:
        body = _ENCODER.encode(event).decode()
        yield Rejected(origin, source, "stripe-events", body, translation.problems)
    elif translation.ignored is not None:
        yield Ignored(origin, str(event.get("type")), translation.ignored)


def first_events(events: Sequence[Json]) -> dict[str, Json]:
    """The first event of each subscription, by its id; announcements are none."""
    groups: dict[str, list[Json]] = {}
    for event in events:
        kind, created = event.get("type"), event.get("created")
        if not isinstance(kind, str) or type(created) is not int or kind in _ANNOUNCEMENTS:
            continue
        if kind.startswith("customer.subscription."):
            found = Fields(event).fields("data").fields("object")
            groups.setdefault(found.text("id") or "", []).append(event)
    return {key: _first(group) for key, group in groups.items()}


def _first(events: Sequence[Json]) -> Json:
    def place(event: Json) -> tuple[int, int]:
        found = event["data"]["object"]
        return event["created"], rank(event["type"], found.get("status"))

    least = min(map(place, events))
    return dict(chained([each for each in events if place(each) == least])[0])


def _event_of(kind: str, raw: Json) -> tuple[str | None, int | None]:
    """The event that brought an object to where it is, and when that was."""
    created = _int(raw, "created")
    if kind == "invoice":
        name, instant = _INVOICES.get(str(raw.get("status")), (None, ""))
        turns = raw.get("status_transitions")
        at = _int(turns, instant) if isinstance(turns, Mapping) else None
        return name, at or created
    if kind == "charge":
        status = raw.get("status")
        settled = {"succeeded": "charge.succeeded", "failed": "charge.failed"}
        return settled.get(str(status)), created
    if kind == "product":
        # A product says when it was last changed; a price or a customer does not.
        return "product.created", _int(raw, "updated") or created
    return _KINDS.get(kind), created


def _undone(kind: str, raw: Json) -> tuple[str, int] | None:
    """The event by which money that had gone back came again, and its instant.

    That of a refund or dispute is its balance transaction's. Where nothing says when it was it is
    as if it had never gone.
    """
    created = _int(raw, "created")
    if kind == "credit_note" and raw.get("status") == "void":
        at = _int(raw, "voided_at") or created
        return None if at is None else ("credit_note.voided", at)
    if kind == "refund" and raw.get("status") in ("failed", "canceled"):
        entry = raw.get("failure_balance_transaction")
        at = _int(entry, "created") if isinstance(entry, Mapping) else None
        when = at or created
        return None if when is None else ("refund.failed", when)
    if kind == "dispute" and money_is_back(Fields(raw)):
        entries = Fields(raw).entries("balance_transactions")
        times = [_int(each.value, "created") for each in entries if _is_income(each)]
        at = max((each for each in times if each is not None), default=created)
        return None if at is None else ("charge.dispute.funds_reinstated", at)
    return None


def _is_income(entry: Fields) -> bool:
    return (entry.integer("amount") or 0) > 0


def _int(found: Mapping[str, Any], key: str) -> int | None:
    value = found.get(key)
    return value if type(value) is int else None
