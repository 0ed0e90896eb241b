"""Which invoice a payment is for, wherever Stripe says so.

Until 2025-03-31.basil a charge named its invoice, and the invoice its charge and payment intent.
Since then only invoice payments name both: in the invoice's `payments`, which must be asked for,
and in `invoice_payment.paid`. They name no customer, and come before or after the charge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.shapes import listed
from tidemill.payloads import Allocation

__all__ = ["Allocated", "invoice_allocations", "read_invoice_payment"]

# What pays an invoice, by the key under which it is named; the later ones only where others lack.
_PAYERS: Final = ("payment_intent", "charge", "payment_record")


@dataclass(frozen=True, slots=True)
class Allocated:
    """An allocation, and since when it is so."""

    at: datetime
    payload: Allocation


def invoice_allocations(invoice: Fields, *, paid: bool) -> Iterator[Allocated]:
    """What an invoice says of its payments.

    paid: whether the event is the one of its payment, the only one of an old version that is asked:
          each of them names the payment intent again.
    """
    for each in listed(invoice, "payments"):
        read = read_invoice_payment(each)
        if read is not None:
            yield read
    key, at = invoice.reference("id"), invoice.instant("created") or invoice.instant("date")
    reference = _paying(invoice)
    if paid and reference is not None and key is not None and at is not None:
        payload = Allocation(id=f"{key}/{reference}", reference=reference, invoice=key)
        yield Allocated(at, payload)


def read_invoice_payment(found: Fields) -> Allocated | None:
    """What an invoice payment says; None when it names no payment, or no invoice."""
    key, invoice = found.reference("id"), found.reference("invoice")
    reference, at = _paying(found.fields("payment")), found.instant("created")
    if key is None or invoice is None or reference is None or at is None:
        return None
    return Allocated(at, Allocation(id=key, reference=reference, invoice=invoice))


def _paying(found: Fields) -> str | None:
    named = (found.reference(key) for key in _PAYERS)
    return next((each for each in named if each is not None), None)
