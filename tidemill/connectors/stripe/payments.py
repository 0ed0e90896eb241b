"""Money that moved, or failed to: charges, refunds and disputes.

The charge is the payment. An invoice's own `invoice.payment_failed` tells of the same money again
and is ignored, so that nothing counts twice. Each attempt, refund and dispute has an id of its own;
what belongs together shares the payment intent (`shapes.payment_reference`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.changes import Change
from tidemill.connectors.stripe.shapes import customer_key, payment_reference
from tidemill.connectors.stripe.wire import currency, minor, whole_amount
from tidemill.payloads import Payment
from tidemill.vocabulary import PaymentMethod

__all__ = ["read_charge", "read_charge_refund", "read_dispute", "read_refund", "refund_names_payer"]

_METHODS: Final = {
    **dict.fromkeys(("card", "card_present", "interac_present"), PaymentMethod.CARD),
    **dict.fromkeys(
        ("customer_balance", "ach_credit_transfer", "wire", "multibanco", "sofort", "ideal"),
        PaymentMethod.BANK_TRANSFER,
    ),
    **dict.fromkeys(("bancontact", "eps", "p24", "giropay", "pix"), PaymentMethod.BANK_TRANSFER),
    **dict.fromkeys(
        ("us_bank_account", "ach_debit", "sepa_debit", "bacs_debit", "au_becs_debit"),
        PaymentMethod.DIRECT_DEBIT,
    ),
    **dict.fromkeys(("acss_debit", "nz_bank_account"), PaymentMethod.DIRECT_DEBIT),
    **dict.fromkeys(
        ("link", "alipay", "wechat_pay", "cashapp", "amazon_pay", "revolut_pay", "grabpay"),
        PaymentMethod.WALLET,
    ),
    "paypal": PaymentMethod.PAYPAL,
    "crypto": PaymentMethod.CRYPTO,
}
# The first version whose refunds say whose money it was.
_REFUNDS_NAME_PAYER: Final = "2026-09-30"
_EXPAND_CHARGE: Final = "Import it with expand[]=charge, which names the customer."


def refund_names_payer(api_version: str | None) -> bool:
    """Whether refunds of an API version name the customer.

    If so they tell of the refund; if not, the `charge.refunded` that always comes beside them does.
    One of the two must be left out, and the version says which, because one endpoint renders both.

    >>> refund_names_payer("2026-10-28.endive"), refund_names_payer("2025-08-27.basil")
    (True, False)
    """
    return api_version is not None and api_version[:10] >= _REFUNDS_NAME_PAYER


def read_charge(charge: Fields) -> Payment | None:
    """An attempt to take money, that worked or failed."""
    before = len(charge.problems)
    key, code = charge.needed("id"), currency(charge)
    captured = whole_amount(charge, "amount_captured", code)
    amount = captured or _needed_amount(charge, "amount", code)
    failure = charge.text("failure_code") or charge.fields("outcome").text("reason")
    if amount is None or len(charge.problems) > before:
        return None
    return Payment(
        id=key,
        invoice=charge.reference("invoice"),
        reference=payment_reference(charge),
        amount=amount,
        currency=code,
        fee=_fee(charge, code),
        method=_method(charge),
        failure_reason=failure if charge.text("status") == "failed" else None,
    )


def read_refund(refund: Fields) -> Payment | None:
    """Money given back, as the refund itself tells it."""
    before = len(refund.problems)
    key, code = refund.needed("id"), currency(refund)
    amount = _needed_amount(refund, "amount", code)
    if amount is None or len(refund.problems) > before:
        return None
    return Payment(id=key, amount=amount, currency=code, reference=payment_reference(refund))


def read_charge_refund(charge: Fields, change: Change) -> Payment | None:
    """Money given back, as the charge tells it: by how much more of it is refunded than before."""
    before = len(charge.problems)
    key, code = charge.needed("id"), currency(charge)
    whole = charge.integer("amount_refunded")
    prior = change.before.integer("amount_refunded") or 0
    if whole is None or whole < prior:
        charge.refuse("amount_refunded", "does not tell how much was given back")
    if whole is None or len(charge.problems) > before:
        return None
    amount = int(minor(Decimal(whole - prior), code))
    # Refunds of one charge are told apart by how much they bring the total to.
    return Payment(
        id=f"{key}/refunded/{whole}",
        amount=amount,
        currency=code,
        invoice=charge.reference("invoice"),
        reference=payment_reference(charge),
    )


def read_dispute(dispute: Fields) -> tuple[Payment | None, str | None]:
    """Money the customer's bank took back, and whose it was, when the charge is shown."""
    before = len(dispute.problems)
    key, code = dispute.needed("id"), currency(dispute)
    amount = _needed_amount(dispute, "amount", code)
    shown = isinstance(dispute.value.get("charge"), dict)
    charge = dispute.fields("charge") if shown else Fields(None, "", dispute.problems)
    payer = customer_key(dispute) or customer_key(charge)
    if payer is None:
        dispute.refuse("charge", "does not say whose payment it was", _EXPAND_CHARGE)
    if amount is None or len(dispute.problems) > before:
        return None, None
    payment = Payment(
        id=key,
        amount=amount,
        currency=code,
        invoice=charge.reference("invoice"),
        reference=payment_reference(dispute) or payment_reference(charge),
        failure_reason=dispute.text("reason"),
    )
    return payment, payer


def _needed_amount(found: Fields, key: str, code: str) -> int | None:
    amount = whole_amount(found, key, code)
    if amount is None and not found.has(key):
        found.refuse(key, "is missing")
    return amount


def _method(charge: Fields) -> PaymentMethod | None:
    details = charge.fields("payment_method_details")
    kind = details.text("type")
    if kind is None:
        return None
    if kind == "card" and details.fields("card").has("wallet"):
        return PaymentMethod.WALLET
    return _METHODS.get(kind, PaymentMethod.OTHER)


def _fee(charge: Fields, code: str) -> int | None:
    """What Stripe kept, when the balance transaction is shown and in the same currency."""
    if not isinstance(charge.value.get("balance_transaction"), dict):
        return None
    entry = charge.fields("balance_transaction")
    same = (entry.text("currency") or "").upper() == code
    return whole_amount(entry, "fee", code) if same else None
