"""From a raw Stripe event to a canonical one: a pure function over JSON of any API version.

An event gives one canonical event, or problems that keep it aside, or a reason why it is of no
interest. Its id is made from the source, the account and Stripe's own event id, so the same event
always becomes the same one, wherever it is read and whatever is read with it. What an invoice says
of its payments besides becomes events of their own; it does so often, so their ids come from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as dataclass_replace
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from msgspec.structs import replace

from tidemill.connectors.base import Translation
from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe import payments
from tidemill.connectors.stripe.allocations import (
    Allocated,
    invoice_allocations,
    read_invoice_payment,
)
from tidemill.connectors.stripe.changes import Change, subscription_label
from tidemill.connectors.stripe.invoices import read_invoice
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.order import LAST_STEP, STEPS_MAX, is_final, rank
from tidemill.connectors.stripe.parties import read_customer, read_plan, read_product
from tidemill.connectors.stripe.shapes import customer_key
from tidemill.connectors.stripe.subscriptions import read_subscription
from tidemill.errors import InvalidEvent
from tidemill.events import NAMESPACE, make_event
from tidemill.payloads import Payload, Payment
from tidemill.problems import Problem
from tidemill.vocabulary import Confidence

__all__ = ["EVENT_TYPES", "Setting", "account_source", "is_read", "source_account", "translate"]

_THIN: Final = (
    "a thin event: it names an object without showing it; set the event destination to snapshot "
    "payloads"
)
_STALE: Final = "an old state, dated after the end of what it is about"
_REFUNDS_UNDONE: Final = frozenset({"failed", "canceled"})
_ONE_OFF: Final = "a payment that belongs to no customer"
_CONFIDENCES: Final = frozenset(Confidence)
_PAID_OTHERWISE: Final = "it names no payment, or no invoice"
# How the ids of connected accounts begin.
_ACCOUNT: Final = "acct_"
_NOT_RECURRING: Final = "a price that does not recur"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a translation is told besides the event."""

    source: str
    """Name of the connected source the events belong to."""
    test_mode: bool = False
    """Whether test-mode objects are the books; if not they are kept apart from every metric."""
    known: Known = field(default_factory=Known)
    """What other objects of the account say."""
    step: int = 0
    """Place among events of one object, second and rank (`order.ties`, `order.place`)."""
    over_since: int | None = None
    """The second in which the object ended for good (`order.ends`); None while it has not."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A canonical event without its envelope."""

    type: str
    customer: str
    payload: Payload
    allocated: tuple[Allocated, ...] = ()
    """Which payments are for the invoice that it is about."""


# A draft; which invoice a payment is for; why the event is of no interest; None after problems.
_Outcome = _Draft | Allocated | str | None
_Handler = Callable[[Fields, Change, Fields, Known], _Outcome]


def translate(raw: Mapping[str, Any], setting: Setting) -> Translation:
    """Say what one raw Stripe event means.

    Never raises, whatever JSON it is given: what cannot be understood becomes a problem.
    """
    try:
        return _translate(Fields(raw), setting)
    except RecursionError:
        return Translation(problems=(Problem("", "is nested too deeply"),))


def is_read(kind: str) -> bool:
    """Whether events of a type become canonical ones."""
    return kind in _HANDLERS


def _translate(event: Fields, setting: Setting) -> Translation:
    kind = event.needed("type")
    if event.value.get("object") == "v2.core.event" or kind.startswith(("v1.", "v2.")):
        return Translation(ignored=_THIN)
    handler = _handler(kind)
    if isinstance(handler, str):
        return Translation(ignored=handler)
    event.needed("id")
    at = event.instant("created")
    if at is None and not event.has("created"):
        event.refuse("created", "is missing")
    data = event.fields("data")
    found = data.fields("object")
    if not data.has("object"):
        data.refuse("object", "is missing", "Give whole events, as Stripe sends them.")
    if handler is None or at is None or event.problems:
        return Translation(problems=tuple(event.problems))
    # What was before only hints at what happened; nothing is refused because of it.
    change = Change(kind, at, Fields(_mapping(data.value.get("previous_attributes"))))
    if _is_stale(event, found, setting.over_since):
        return Translation(ignored=_STALE)
    live = _is_live(event, found)
    outcome = handler(found, change, event, setting.known)
    if isinstance(outcome, str):
        return Translation(ignored=outcome)
    if outcome is None or event.problems:
        return Translation(problems=tuple(event.problems))
    place = rank(kind, found.value.get("status")) * STEPS_MAX
    # What is read from a connected account's own lists is of it, though it does not say so.
    source, account = source_account(setting.source)
    envelope = _Envelope(
        account=event.text("account") or account,
        key=event.needed("id"),
        livemode=live or setting.test_mode,
        sequence=place + max(-LAST_STEP, min(setting.step, LAST_STEP)),
    )
    if isinstance(outcome, Allocated):
        return _joined([_allocation(outcome, envelope, source)])
    beside = [_allocation(each, envelope, source) for each in outcome.allocated]
    return _joined([_sealed(outcome, change.at, envelope, source), *beside])


def _joined(parts: Sequence[Translation]) -> Translation:
    """One translation of several; with a problem in any of them none gives an event."""
    problems = tuple(each for part in parts for each in part.problems)
    if problems:
        return Translation(problems=problems)
    return Translation(events=tuple(each for part in parts for each in part.events))


def _allocation(allocated: Allocated, envelope: _Envelope, source: str) -> Translation:
    """It is so since the invoice has this payment, whichever event says so."""
    payload = allocated.payload
    draft = _Draft("allocation.recorded", "", payload)
    own = dataclass_replace(envelope, key=payload.id, sequence=0)
    return _sealed(draft, allocated.at, own, source)


def _is_stale(event: Fields, found: Fields, over_since: int | None) -> bool:
    """Whether it shows an object alive at an instant after its end."""
    created, kind = event.value.get("created"), str(event.value.get("type"))
    if over_since is None or type(created) is not int or created <= over_since:
        return False
    return not is_final(kind, found.value.get("status"))


def account_source(source: str, account: str) -> str:
    """The source that the events of an account belong to.

    What belongs to a connected account is another business: a source of its own.
    """
    return f"{source}:{account}" if account else source


def source_account(source: str) -> tuple[str, str]:
    """The source a connected account came in by, and the account; empty for the source's own.

    >>> source_account("eu:acct_1"), source_account("eu")
    (('eu', 'acct_1'), ('eu', ''))
    """
    name, _, account = source.partition(f":{_ACCOUNT}")
    return name, f"{_ACCOUNT}{account}" if account else ""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What goes around a draft."""

    account: str
    key: str
    livemode: bool
    sequence: int


def _sealed(draft: _Draft, at: datetime, envelope: _Envelope, source: str) -> Translation:
    """The draft in its envelope, checked like any other event."""
    account = envelope.account
    try:
        made = make_event(
            account_source(source, account),
            draft.type,
            draft.customer,
            at,
            draft.payload,
            sequence=envelope.sequence,
            livemode=envelope.livemode,
        )
    except InvalidEvent as error:
        return Translation(problems=error.problems)
    except UnicodeEncodeError:
        return Translation(problems=(Problem("", "holds broken Unicode"),))
    # Neither the label nor the place is part of the identity: both may become better known. But
    # an event kept apart and the same event taken for the books are two.
    facts = (
        source,
        envelope.account,
        envelope.key,
        draft.type.partition(".")[0],
        "books" if envelope.livemode else "test",
    )
    return Translation(events=(replace(made, id=uuid5(NAMESPACE, "\0".join(facts))),))


def _is_live(event: Fields, found: Fields) -> bool:
    """Whether it is about real money: neither in test mode nor on a simulated clock."""
    live = event.flag("livemode")
    if live is None:
        live = found.flag("livemode")
    return live is not False and not found.has("test_clock")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# --- what each type of event means ----------------------------------------------------------------


def _handler(kind: str) -> _Handler | str | None:
    """How to read a type of event; a reason when it is of no interest; None when it has no name."""
    if not kind:
        return None
    return _HANDLERS.get(kind) or _REASONS.get(kind) or "not about subscriptions or their money"


def _payer(found: Fields) -> str:
    """The customer an object belongs to; empty after noting that it names none."""
    payer = customer_key(found)
    if payer is None:
        found.refuse("customer", "is missing")
    return payer or ""


def _subscription(found: Fields, change: Change, event: Fields, known: Known) -> _Outcome:
    payer, state = _payer(found), read_subscription(found, change, known)
    if state is None:
        return None
    sure = event.text("confidence")
    if sure in _CONFIDENCES:
        # Stripe never sends this; what is reconstructed from its objects says it (`told`).
        state = replace(state, confidence=Confidence(sure))
    return _Draft(f"subscription.{subscription_label(found, change)}", payer, state)


def _invoice(verb: str) -> _Handler:
    def read(found: Fields, change: Change, _: Fields, known: Known) -> _Outcome:
        payer, state = _payer(found), read_invoice(found, change.at, known)
        allocated = tuple(invoice_allocations(found, paid=verb == "paid"))
        return None if state is None else _Draft(f"invoice.{verb}", payer, state, allocated)

    return read


def _deleted_draft(found: Fields, change: Change, _: Fields, known: Known) -> _Outcome:
    """A draft that was thrown away: void, as if never written."""
    shown = Fields({**found.value, "status": "void"}, found.path, found.problems)
    payer, state = _payer(shown), read_invoice(shown, change.at, known)
    return None if state is None else _Draft("invoice.voided", payer, state)


def _charge(verb: str) -> _Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> _Outcome:
        payer = customer_key(found)
        if payer is None and not found.problems:
            return _ONE_OFF
        if verb == "succeeded" and found.flag("captured") is False:
            return "a payment that is only reserved; its capture has an event of its own"
        state = payments.read_charge(found)
        return None if state is None else _Draft(f"payment.{verb}", payer or "", state)

    return read


def _charge_refunded(found: Fields, change: Change, event: Fields, _: Known) -> _Outcome:
    if payments.refund_names_payer(event.text("api_version")):
        return "told by refund.created"
    payer = customer_key(found)
    if payer is None and not found.problems:
        return _ONE_OFF
    state = payments.read_charge_refund(found, change)
    return None if state is None else _Draft("payment.refunded", payer or "", state)


def _refund(found: Fields, _: Change, event: Fields, __: Known) -> _Outcome:
    if not payments.refund_names_payer(event.text("api_version")):
        return "told by charge.refunded"
    payer = customer_key(found)
    if payer is None and not found.problems:
        return _ONE_OFF
    state = payments.read_refund(found)
    return None if state is None else _Draft("payment.refunded", payer or "", state)


def _refund_fate(found: Fields, _: Change, event: Fields, known: Known) -> _Outcome:
    """What became of a refund: told only when it failed, or was called off."""
    if found.value.get("status") not in _REFUNDS_UNDONE:
        return "a refund that is under way, or has arrived"
    if payments.refund_names_payer(event.text("api_version")) and customer_key(found) is None:
        return _ONE_OFF
    return _given("payment.refund_failed", payments.read_refund(found), found, known)


def _dispute(found: Fields, _: Change, __: Fields, known: Known) -> _Outcome:
    if payments.takes_no_money(found):
        return "an inquiry, or a dispute that was prevented: no money has moved"
    return _given("payment.disputed", payments.read_dispute(found), found, known)


def _dispute_closed(found: Fields, change: Change, event: Fields, known: Known) -> _Outcome:
    if not payments.money_is_back(found):
        return "a dispute that brought nothing back"
    return _money_back(found, change, event, known)


def _money_back(found: Fields, _: Change, __: Fields, known: Known) -> _Outcome:
    state = payments.read_dispute(found, back=True)
    return _given("payment.dispute_won", state, found, known)


def _given(kind: str, state: Payment | None, found: Fields, known: Known) -> _Outcome:
    """Money that went back or came again, of whoever paid it."""
    payer = payments.payer_of(found, known)
    if payer is None and not found.problems:
        return _ONE_OFF
    return None if state is None else _Draft(kind, payer or "", state)


def _invoice_payment(found: Fields, _: Change, __: Fields, ___: Known) -> _Outcome:
    read = read_invoice_payment(found)
    return read or (None if found.problems else _PAID_OTHERWISE)


def _customer(verb: str) -> _Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> _Outcome:
        state = read_customer(found)
        return None if state is None else _Draft(f"customer.{verb}", state.id, state)

    return read


def _product(verb: str) -> _Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> _Outcome:
        state = read_product(found)
        return None if state is None else _Draft(f"product.{verb}", "", state)

    return read


def _plan(verb: str) -> _Handler:
    def read(found: Fields, _: Change, __: Fields, known: Known) -> _Outcome:
        if found.text("type") == "one_time":
            return _NOT_RECURRING
        state = read_plan(found, known)
        return None if state is None else _Draft(f"plan.{verb}", "", state)

    return read


_CHANGES: Final = ("created", "updated", "deleted")

_HANDLERS: Final[dict[str, _Handler]] = {
    **{f"customer.{verb}": _customer(verb) for verb in _CHANGES},
    **{f"product.{verb}": _product(verb) for verb in _CHANGES},
    **{f"price.{verb}": _plan(verb) for verb in _CHANGES},
    **{f"plan.{verb}": _plan(verb) for verb in _CHANGES},
    **{f"customer.subscription.{verb}": _subscription for verb in _CHANGES},
    "customer.subscription.paused": _subscription,
    "customer.subscription.resumed": _subscription,
    "customer.subscription.pending_update_applied": _subscription,
    "customer.subscription.pending_update_expired": _subscription,
    "invoice.created": _invoice("created"),
    "invoice.updated": _invoice("updated"),
    "invoice.finalized": _invoice("finalized"),
    "invoice.paid": _invoice("paid"),
    "invoice.voided": _invoice("voided"),
    "invoice.marked_uncollectible": _invoice("uncollectible"),
    "invoice.deleted": _deleted_draft,
    "invoice_payment.paid": _invoice_payment,
    "charge.succeeded": _charge("succeeded"),
    "charge.captured": _charge("succeeded"),
    "charge.failed": _charge("failed"),
    "charge.refunded": _charge_refunded,
    "charge.dispute.created": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _money_back,
    "charge.dispute.closed": _dispute_closed,
    "charge.refund.updated": _refund_fate,
    "refund.created": _refund,
    "refund.failed": _refund_fate,
    "refund.updated": _refund_fate,
}

_REASONS: Final = {
    # It shows the subscription as it was before the change it announces, so as a state it would be
    # stale; the change has an event of its own.
    "customer.subscription.trial_will_end": "an announcement; the change has its own event",
    "invoice.upcoming": "an announcement; the invoice has its own events",
    "invoice.payment_succeeded": "told by invoice.paid",
    "invoice.payment_failed": "told by charge.failed",
    **dict.fromkeys(
        ("customer.discount.created", "customer.discount.updated", "customer.discount.deleted"),
        "told by the subscription",
    ),
    **dict.fromkeys(
        ("coupon.created", "coupon.updated", "coupon.deleted"),
        "told by the subscriptions that use it",
    ),
    "charge.dispute.updated": "an answer to the bank; what money does has events of its own",
    **dict.fromkeys(
        ("credit_note.created", "credit_note.updated", "credit_note.voided"),
        "credit notes are not read yet; what is given back is told by its refund",
    ),
    **dict.fromkeys(
        (
            *("subscription_schedule.created", "subscription_schedule.updated"),
            *("subscription_schedule.released", "subscription_schedule.canceled"),
            *("subscription_schedule.completed", "subscription_schedule.aborted"),
            "subscription_schedule.expiring",
        ),
        "a plan for later; each phase that starts is told by the subscription",
    ),
}

EVENT_TYPES: Final = tuple(
    sorted({*_HANDLERS, *(kind for kind in _REASONS if Known.teaches(kind))})
)
"""What a webhook should subscribe to: everything that becomes events, or explains others."""
