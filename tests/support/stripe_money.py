"""Raw Stripe events about money, in the shape of today and in that of before 2025-03-31.basil."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["NEW", "OLD", "Money", "seconds"]

NEW: Final = "2026-10-28.endive"
OLD: Final = "2024-06-20"

_Json = dict[str, Any]


def seconds(when: str) -> int:
    """Noon of a day, as Stripe writes it."""
    return int(datetime.fromisoformat(f"{when}T12:00:00+00:00").astimezone(UTC).timestamp())


class Money:
    """A customer's money as one API version tells of it; days are text, amounts cents.

    Invoice ``in_1`` is paid by the payment intent ``pi_in_1``. In the new shape only
    `linked` says so; in the old one charges and invoices do.
    """

    def __init__(self, version: str, customer: str = "cus_T") -> None:
        self.old = version < "2025-03-31"
        self.version = version
        self.customer = customer

    def event(self, kind: str, when: str, found: _Json, previous: _Json | None = None) -> _Json:
        """An event of a day around an object; its id says what it tells."""
        data = {"object": found} | ({} if previous is None else {"previous_attributes": previous})
        return {
            "id": f"evt_{kind}_{found['id']}_{when}",
            "object": "event",
            "api_version": self.version,
            "created": seconds(when),
            "livemode": True,
            "type": kind,
            "data": data,
        }

    def invoice(
        self, when: str, amount: int, invoice: str, *, status: str = "paid", **more: Any
    ) -> _Json:
        """``invoice.paid``, or ``invoice.finalized`` while it is open, for the month from then."""
        at = seconds(when)
        line = {
            "id": f"il_{invoice}",
            "object": "line_item",
            "amount": amount,
            "currency": "usd",
            "period": {"start": at, "end": at + 30 * 86_400},
            "subscription": "sub_T",
        }
        found: _Json = {
            "id": invoice,
            "object": "invoice",
            "customer": self.customer,
            "status": status,
            "currency": "usd",
            "created": at,
            "subtotal": amount,
            "total": amount,
            "amount_paid": amount if status == "paid" else 0,
            "lines": {"object": "list", "data": [line], "has_more": False},
        }
        if self.old:
            line |= {"type": "subscription", "subscription_item": "si_T"}
            found |= {"subscription": "sub_T", "payment_intent": f"pi_{invoice}"}
        else:
            item = {"subscription": "sub_T", "subscription_item": "si_T"}
            parent = {"type": "subscription_item_details", "subscription_item_details": item}
            line |= {"parent": parent}
            details = {"subscription": "sub_T"}
            found |= {"parent": {"type": "subscription_details", "subscription_details": details}}
        kind = "invoice.paid" if status == "paid" else "invoice.finalized"
        return self.event(kind, when, found | more)

    def past_stripe(self, amount: int) -> _Json:
        """What a paid invoice says when some of it came another way; all of it in the old shape."""
        return {"paid_out_of_band": True} if self.old else {"amount_paid_off_stripe": amount}

    def credited(self, when: str, amount: int, invoice: str, **more: Any) -> _Json:
        """``credit_note.created`` for an invoice; what becomes of the amount is `more`."""
        found: _Json = {
            "id": f"cn_{invoice}_{when}",
            "object": "credit_note",
            "amount": amount,
            "created": seconds(when),
            "currency": "usd",
            "customer": self.customer,
            "customer_balance_transaction": None,
            "invoice": invoice,
            "out_of_band_amount": None,
            "status": "issued",
            "total": amount,
        }
        found["refund" if self.old else "refunds"] = None if self.old else []
        return self.event("credit_note.created", when, found | more)

    def charged(self, when: str, amount: int, invoice: str, *, failure: str = "") -> _Json:
        """``charge.succeeded``, or ``charge.failed`` for a reason."""
        status = "failed" if failure else "succeeded"
        found = self._charge(amount, invoice, when) | {
            "status": status,
            "failure_code": failure or None,
            "amount_captured": 0 if failure else amount,
        }
        return self.event(f"charge.{status}", when, found)

    def linked(self, when: str, amount: int, invoice: str) -> list[_Json]:
        """``invoice_payment.paid``, where there is such a thing."""
        if self.old:
            return []
        found = {
            "id": f"inpay_{invoice}",
            "object": "invoice_payment",
            "amount_paid": amount,
            "amount_requested": amount,
            "created": seconds(when),
            "currency": "usd",
            "invoice": invoice,
            "livemode": True,
            "payment": {"type": "payment_intent", "payment_intent": f"pi_{invoice}"},
            "status": "paid",
        }
        return [self.event("invoice_payment.paid", when, found)]

    def refunded(self, when: str, amount: int, invoice: str, charged: str) -> _Json:
        """A whole refund of the charge of a day: by itself, or by the charge in the old shape."""
        charge = self._charge(amount, invoice, charged)
        if self.old:
            before = {"amount_refunded": 0}
            return self.event("charge.refunded", when, charge | {"amount_refunded": amount}, before)
        return self.event("refund.created", when, self.refund(when, amount, invoice, charged))

    def refund(self, when: str, amount: int, invoice: str, charged: str) -> _Json:
        """A refund of the charge of a day, as an object."""
        charge = self._charge(amount, invoice, charged)
        return {
            "id": f"re_{charge['id']}_{when}",
            "object": "refund",
            "amount": amount,
            "charge": charge["id"],
            "created": seconds(when),
            "currency": "usd",
            "customer": None if self.old else self.customer,
            "payment_intent": charge["payment_intent"],
            "status": "succeeded",
        }

    def refund_failed(
        self, when: str, amount: int, invoice: str, charged: str, refunded: str
    ) -> _Json:
        """The bank sends back what was refunded on a day of the charge of another."""
        found = self.refund(refunded, amount, invoice, charged) | {"status": "failed"}
        return self.event("charge.refund.updated" if self.old else "refund.failed", when, found)

    def disputed(self, when: str, amount: int, invoice: str, charged: str, **more: Any) -> _Json:
        """The customer's bank takes the money of the charge of a day, and Stripe 15.00."""
        found = self._dispute(amount, invoice, charged, -amount, 1_500)
        return self.event("charge.dispute.created", when, found | more)

    def dispute_won(self, when: str, amount: int, invoice: str, charged: str, back: int) -> _Json:
        """Some of the money that a dispute of the charge of a day had taken comes again."""
        found = self._dispute(amount, invoice, charged, back, 0) | {"status": "won"}
        return self.event("charge.dispute.funds_reinstated", when, found)

    def _dispute(self, amount: int, invoice: str, charged: str, moved: int, fee: int) -> _Json:
        charge = self._charge(amount, invoice, charged)
        entry = {"object": "balance_transaction", "amount": moved, "fee": fee, "currency": "usd"}
        return {
            "id": f"du_{charge['id']}",
            "object": "dispute",
            "amount": amount,
            "balance_transactions": [entry],
            "charge": charge["id"],
            "currency": "usd",
            "payment_intent": charge["payment_intent"],
            "reason": "fraudulent",
            "status": "needs_response",
        }

    def _charge(self, amount: int, invoice: str, when: str) -> _Json:
        found: _Json = {
            "id": f"ch_{invoice}_{when}",
            "object": "charge",
            "amount": amount,
            "amount_captured": amount,
            "amount_refunded": 0,
            "captured": True,
            "created": seconds(when),
            "currency": "usd",
            "customer": self.customer,
            "payment_intent": f"pi_{invoice}",
            "status": "succeeded",
        }
        return found | ({"invoice": invoice} if self.old else {})
