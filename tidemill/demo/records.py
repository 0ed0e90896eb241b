"""Stripe objects and events as plain dictionaries, in the shape of the newest API version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidemill.demo.contract import Contract, Item
from tidemill.demo.profiles import Profile

__all__ = [
    "API_VERSION",
    "Invoice",
    "balance_transaction",
    "charge",
    "customer",
    "cycle_line",
    "discount",
    "dispute",
    "event",
    "invoice_payment",
    "proration_line",
    "refund",
    "usage_line",
]

API_VERSION: Final = "2026-10-28.endive"

_Object = dict[str, Any]

# Of a payment, a share and some minor units; of a dispute, minor units.
_FEE_SHARE: Final = 0.029
_FEE_FIXED: Final = 30
_DISPUTE_FEE: Final = 1_500


@dataclass(frozen=True, slots=True)
class Invoice:
    """A bill: its lines, what is taken off, and what is due (minor units)."""

    id: str
    contract: Contract
    reason: str
    created: int
    lines: Sequence[_Object]
    discounted: Sequence[tuple[str, int]] = ()
    """Discount id and the amount it takes off."""

    @property
    def total(self) -> int:
        """What the customer owes; credits beyond the charges are not paid out."""
        subtotal: int = sum(line["amount"] for line in self.lines)
        return max(0, subtotal - sum(amount for _, amount in self.discounted))

    def render(
        self, status: str, *, finalized: int | None = None, ended: int | None = None
    ) -> _Object:
        """The invoice in a status; `ended` is when it was paid, voided or given up."""
        subtotal, total = sum(line["amount"] for line in self.lines), self.total
        paid = total if status == "paid" else 0
        return {
            "id": self.id,
            "object": "invoice",
            "amount_due": total,
            "amount_overpaid": 0,
            "amount_paid": paid,
            "amount_remaining": total - paid,
            "auto_advance": status in {"draft", "open"},
            "billing_reason": self.reason,
            "collection_method": self.contract.collection_method,
            "created": self.created,
            "currency": self.contract.currency,
            "customer": self.contract.customer,
            "customer_account": None,
            "discounts": [key for key, _ in self.discounted],
            "lines": {
                "object": "list",
                "data": self.lines,
                "has_more": False,
                "url": f"/v1/invoices/{self.id}/lines",
            },
            "livemode": True,
            "metadata": {},
            "number": None if status == "draft" else self.id.upper(),
            "parent": {
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {"subscription": self.contract.id, "metadata": {}},
            },
            "period_end": self.created,
            "period_start": self.created,
            "status": status,
            "status_transitions": {
                "finalized_at": finalized,
                "marked_uncollectible_at": ended if status == "uncollectible" else None,
                "paid_at": ended if status == "paid" else None,
                "voided_at": ended if status == "void" else None,
            },
            "subtotal": subtotal,
            "test_clock": None,
            "total": total,
            "total_discount_amounts": [
                {"amount": amount, "discount": key} for key, amount in self.discounted
            ],
            "total_excluding_tax": total,
            "total_taxes": [],
        }


def event(
    key: str,
    kind: str,
    at: int,
    found: _Object,
    previous: _Object | None = None,
    *,
    asked: bool = True,
) -> _Object:
    """The envelope of an event; `asked` is False for what Stripe did of its own accord."""
    data = {"object": found}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": key,
        "object": "event",
        "api_version": API_VERSION,
        "created": at,
        "data": data,
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": f"req_{key}" if asked else None, "idempotency_key": None},
        "type": kind,
    }


def customer(key: str, profile: Profile, created: int) -> _Object:
    """A customer who has just signed up."""
    return {
        "id": key,
        "object": "customer",
        "address": {"country": profile.country, "city": None, "line1": None, "postal_code": None},
        "created": created,
        "currency": None,
        "delinquent": False,
        "discount": None,
        "email": profile.email,
        "livemode": True,
        "metadata": {
            "channel": profile.channel,
            "company_size": profile.size,
        },
        "name": profile.name,
        "phone": None,
        "test_clock": None,
    }


def discount(key: str, coupon: _Object, contract: Contract, start: int, end: int | None) -> _Object:
    """A coupon at work on a subscription."""
    return {
        "id": key,
        "object": "discount",
        "checkout_session": None,
        "customer": contract.customer,
        "customer_account": None,
        "end": end,
        "promotion_code": None,
        "source": {"type": "coupon", "coupon": coupon},
        "start": start,
        "subscription": contract.id,
        "subscription_item": None,
    }


def cycle_line(contract: Contract, item: Item) -> _Object:
    """The charge for an item's whole billing period."""
    detail = {"subscription_item": item.id, "invoice_item": None}
    line = _line(contract, item, contract.amount(item), proration=False)
    line["parent"] = _parent("subscription_item_details", contract, detail, proration=False)
    line["period"] = {"start": contract.period_start, "end": contract.period_end}
    return line


def usage_line(contract: Contract, item: Item, used: int, start: int, end: int) -> _Object:
    """The charge for what was used of a metered item in a period that is over."""
    line = cycle_line(contract, item)
    line["period"] = {"start": start, "end": end}
    line["quantity"], line["quantity_decimal"] = used, str(used)
    line["amount"] = line["subtotal"] = contract.amount(item, used)
    return line


def proration_line(contract: Contract, item: Item, amount: int, at: int) -> _Object:
    """The charge or credit for what is left of a billing period after a change inside it."""
    detail = {"invoice_item": f"ii_{item.id}_{at}"}
    line = _line(contract, item, amount, proration=True)
    line["parent"] = _parent("invoice_item_details", contract, detail, proration=True)
    line["period"] = {"start": at, "end": contract.period_end}
    return line


def charge(key: str, invoice: Invoice, at: int, method: str, failure: str | None = None) -> _Object:
    """An attempt to take the money of an invoice, with what Stripe keeps of it.

    The balance transaction stands here whole, as the API shows it to those who ask for it: the
    message of a webhook only names it.
    """
    fee = round(invoice.total * _FEE_SHARE) + _FEE_FIXED
    kept = balance_transaction(f"txn_{key}", "charge", invoice.total, fee, invoice.contract)
    return {
        "id": key,
        "object": "charge",
        "amount": invoice.total,
        "amount_captured": 0 if failure else invoice.total,
        "amount_refunded": 0,
        "balance_transaction": None if failure else kept,
        "captured": failure is None,
        "created": at,
        "currency": invoice.contract.currency,
        "customer": invoice.contract.customer,
        "disputed": False,
        "failure_code": failure,
        "failure_message": None,
        "livemode": True,
        "metadata": {},
        "paid": failure is None,
        "payment_intent": f"pi_{invoice.id}",
        "payment_method_details": {"type": method},
        "refunded": False,
        "status": "failed" if failure else "succeeded",
    }


def invoice_payment(taken: _Object, invoice: Invoice) -> _Object:
    """What connects the payment of a charge with the invoice it is for, once it is paid."""
    return {
        "id": f"inpay_{invoice.id}",
        "object": "invoice_payment",
        "amount_paid": taken["amount"],
        "amount_requested": taken["amount"],
        "created": invoice.created,
        "currency": taken["currency"],
        "invoice": invoice.id,
        "is_default": True,
        "livemode": True,
        "payment": {"type": "payment_intent", "payment_intent": taken["payment_intent"]},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": taken["created"]},
    }


def refund(key: str, taken: _Object, at: int) -> _Object:
    """The whole amount of a charge, given back."""
    return {
        "id": key,
        "object": "refund",
        "amount": taken["amount"],
        "balance_transaction": f"txn_{key}",
        "charge": taken["id"],
        "created": at,
        "currency": taken["currency"],
        "customer": taken["customer"],
        "customer_account": None,
        "metadata": {},
        "payment_intent": taken["payment_intent"],
        "reason": "requested_by_customer",
        "status": "succeeded",
    }


def dispute(taken: _Object, contract: Contract, at: int) -> _Object:
    """The customer's bank asks for the whole amount of a charge, and gets it for the time being."""
    key, amount = f"du_{taken['id']}", taken["amount"]
    moved = balance_transaction(f"txn_{key}", "adjustment", -amount, _DISPUTE_FEE, contract)
    return {
        "id": key,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [moved],
        "charge": taken["id"],
        "created": at,
        "currency": taken["currency"],
        "is_charge_refundable": False,
        "livemode": True,
        "metadata": {},
        "payment_intent": taken["payment_intent"],
        "reason": "fraudulent",
        "status": "needs_response",
    }


def balance_transaction(key: str, kind: str, amount: int, fee: int, contract: Contract) -> _Object:
    """Money that came or went, and the fee for it; both in the currency of the subscription."""
    return {
        "id": key,
        "object": "balance_transaction",
        "amount": amount,
        "currency": contract.currency,
        "exchange_rate": None,
        "fee": fee,
        "net": amount - fee,
        "type": kind,
    }


def _line(contract: Contract, item: Item, amount: int, *, proration: bool) -> _Object:
    """A line whose `id` and `invoice` are filled in when it is put on a bill."""
    price = contract.catalogue.prices[item.plan.key, contract.currency]
    return {
        "id": "",
        "object": "line_item",
        "amount": amount,
        "currency": contract.currency,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "invoice": "",
        "livemode": True,
        "metadata": {},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item.quantity,
        "quantity_decimal": str(item.quantity),
        "subscription": contract.id,
        "subtotal": amount,
        "taxes": [],
    }


def _parent(kind: str, contract: Contract, detail: _Object, *, proration: bool) -> _Object:
    common = {"subscription": contract.id, "proration": proration, "proration_details": None}
    other = {
        "subscription_item_details": "invoice_item_details",
        "invoice_item_details": "subscription_item_details",
    }[kind]
    return {"type": kind, kind: {**common, **detail}, other: None}
