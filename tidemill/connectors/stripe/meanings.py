"""What each type of Stripe event means: how it is read, or why it is of no interest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

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
from tidemill.connectors.stripe.parties import read_customer, read_plan, read_product
from tidemill.connectors.stripe.schedules import read_schedule
from tidemill.connectors.stripe.shapes import customer_key
from tidemill.connectors.stripe.subscriptions import read_subscription
from tidemill.payloads import Payload, Payment
from tidemill.vocabulary import Confidence

__all__ = ["EVENT_TYPES", "Draft", "Handler", "Outcome", "handler_of", "is_read"]

_REFUNDS_UNDONE: Final = frozenset({"failed", "canceled"})
_ONE_OFF: Final = "a payment that belongs to no customer"
_CONFIDENCES: Final = frozenset(Confidence)
_PAID_OTHERWISE: Final = "it names no payment, or no invoice"
_CREDITED: Final = "told by its refund, or by an invoice that is paid less"
_NOT_RECURRING: Final = "a price that does not recur"


@dataclass(frozen=True, slots=True)
class Draft:
    """A canonical event without its envelope."""

    type: str
    customer: str
    payload: Payload
    allocated: tuple[Allocated, ...] = ()
    """Which payments are for the invoice that it is about."""
    beside: Draft | None = None
    """What else the event says."""
    at: datetime | None = None
    """Since when it is so, if not since the event."""


# A draft; which invoice a payment is for; why the event is of no interest; None after problems.
Outcome = Draft | Allocated | str | None
Handler = Callable[[Fields, Change, Fields, Known], Outcome]


def is_read(kind: str) -> bool:
    """Whether events of a type become canonical ones."""
    return kind in _HANDLERS


def handler_of(kind: str) -> Handler | str | None:
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


def _subscription(found: Fields, change: Change, event: Fields, known: Known) -> Outcome:
    payer, state = _payer(found), read_subscription(found, change, known)
    if state is None:
        return None
    sure = event.text("confidence")
    if sure in _CONFIDENCES:
        # Stripe never sends this; what is reconstructed from its objects says it (`told`).
        state = replace(state, confidence=Confidence(sure))
    return Draft(f"subscription.{subscription_label(found, change)}", payer, state)


def _invoice(verb: str) -> Handler:
    def read(found: Fields, change: Change, _: Fields, known: Known) -> Outcome:
        payer, state = _payer(found), read_invoice(found, change.at, known)
        allocated = tuple(invoice_allocations(found, paid=verb == "paid"))
        if state is None:
            return None
        money = payments.read_paid_otherwise(found) if verb == "paid" else None
        beside = None
        if money is not None:
            beside = Draft("payment.succeeded", payer, money, at=state.paid_at)
        return Draft(f"invoice.{verb}", payer, state, allocated, beside)

    return read


def _deleted_draft(found: Fields, change: Change, _: Fields, known: Known) -> Outcome:
    """A draft that was thrown away: void, as if never written."""
    shown = Fields({**found.value, "status": "void"}, found.path, found.problems)
    payer, state = _payer(shown), read_invoice(shown, change.at, known)
    return None if state is None else Draft("invoice.voided", payer, state)


def _charge(verb: str) -> Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> Outcome:
        payer = customer_key(found)
        if payer is None and not found.problems:
            return _ONE_OFF
        if verb == "succeeded" and found.flag("captured") is False:
            return "a payment that is only reserved; its capture has an event of its own"
        state = payments.read_charge(found)
        return None if state is None else Draft(f"payment.{verb}", payer or "", state)

    return read


def _charge_refunded(found: Fields, change: Change, event: Fields, _: Known) -> Outcome:
    if payments.refund_names_payer(event.text("api_version")):
        return "told by refund.created"
    payer = customer_key(found)
    if payer is None and not found.problems:
        return _ONE_OFF
    state = payments.read_charge_refund(found, change, event)
    return None if state is None else Draft("payment.refunded", payer or "", state)


def _refund(found: Fields, _: Change, event: Fields, __: Known) -> Outcome:
    if not payments.refund_names_payer(event.text("api_version")):
        return "told by charge.refunded"
    payer = customer_key(found)
    if payer is None and not found.problems:
        return _ONE_OFF
    state = payments.read_refund(found)
    return None if state is None else Draft("payment.refunded", payer or "", state)


def _refund_fate(found: Fields, _: Change, event: Fields, known: Known) -> Outcome:
    """What became of a refund: told only when it failed, or was called off."""
    if str(found.value.get("status")) not in _REFUNDS_UNDONE:
        return "a refund that is under way, or has arrived"
    if payments.refund_names_payer(event.text("api_version")) and customer_key(found) is None:
        return _ONE_OFF
    return _given("payment.refund_failed", payments.read_refund(found), found, known)


def _credit_note(verb: str) -> Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> Outcome:
        payer, state = _payer(found), payments.read_credit_note(found)
        if state is None or state.amount:
            return None if state is None else Draft(f"payment.{verb}", payer, state)
        return _CREDITED

    return read


def _dispute(found: Fields, _: Change, __: Fields, known: Known) -> Outcome:
    if payments.takes_no_money(found):
        return "an inquiry, or a dispute that was prevented: no money has moved"
    return _given("payment.disputed", payments.read_dispute(found), found, known)


def _dispute_closed(found: Fields, change: Change, event: Fields, known: Known) -> Outcome:
    if not payments.money_is_back(found):
        return "a dispute that brought nothing back"
    return _money_back(found, change, event, known)


def _money_back(found: Fields, _: Change, __: Fields, known: Known) -> Outcome:
    state = payments.read_dispute(found, back=True)
    return _given("payment.dispute_won", state, found, known)


def _given(kind: str, state: Payment | None, found: Fields, known: Known) -> Outcome:
    """Money that went back or came again, of whoever paid it."""
    payer = payments.payer_of(found, known)
    if payer is None and not found.problems:
        return _ONE_OFF
    return None if state is None else Draft(kind, payer or "", state)


def _invoice_payment(found: Fields, _: Change, __: Fields, ___: Known) -> Outcome:
    read = read_invoice_payment(found)
    return read or (None if found.problems else _PAID_OTHERWISE)


def _schedule(found: Fields, change: Change, _: Fields, known: Known) -> Outcome:
    payer, planned = _payer(found), read_schedule(found, change, known)
    if planned is None:
        return None
    beside = None
    if planned.begins is not None:
        since, state = planned.begins
        beside = Draft("subscription.updated", payer, state, at=since)
    return Draft("schedule.changed", payer, planned.schedule, beside=beside)


def _customer(verb: str) -> Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> Outcome:
        state = read_customer(found)
        return None if state is None else Draft(f"customer.{verb}", state.id, state)

    return read


def _product(verb: str) -> Handler:
    def read(found: Fields, _: Change, __: Fields, ___: Known) -> Outcome:
        state = read_product(found)
        return None if state is None else Draft(f"product.{verb}", "", state)

    return read


def _plan(verb: str) -> Handler:
    def read(found: Fields, _: Change, __: Fields, known: Known) -> Outcome:
        if found.text("type") == "one_time":
            return _NOT_RECURRING
        state = read_plan(found, known)
        return None if state is None else Draft(f"plan.{verb}", "", state)

    return read


_CHANGES: Final = ("created", "updated", "deleted")

_HANDLERS: Final[dict[str, Handler]] = {
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
    "credit_note.created": _credit_note("refunded"),
    "credit_note.voided": _credit_note("refund_failed"),
    "refund.created": _refund,
    "refund.failed": _refund_fate,
    "refund.updated": _refund_fate,
    **{
        f"subscription_schedule.{verb}": _schedule
        for verb in ("created", "updated", "released", "canceled", "completed", "aborted")
    },
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
    "credit_note.updated": "only what is written on it can change",
    "subscription_schedule.expiring": "an announcement; the change has its own event",
}

EVENT_TYPES: Final = tuple(
    sorted({*_HANDLERS, *(kind for kind in _REASONS if Known.teaches(kind))})
)
"""What a webhook should subscribe to: everything that becomes events, or explains others."""
