"""Money that moved, or failed to: charges, refunds and disputes, and what went past Stripe.

The charge is the payment. An invoice's own `invoice.payment_failed` tells of the same money again
and is ignored, so that nothing counts twice. Each attempt, refund and dispute has an id of its own;
what belongs together shares the payment intent (`shapes.payment_reference`).

Only the invoice knows of money that came another way, and only the credit note of what was given
back another way. Whatever else a credit note does, others tell: its refunds, and invoices that are
paid less.
"""

from __future__ import annotations

from collections.abc import Container
from decimal import Decimal
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.changes import Change
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.shapes import customer_key, payment_reference
from tidemill.connectors.stripe.wire import currency, minor, whole_amount
from tidemill.payloads import Payment
from tidemill.vocabulary import PaymentMethod

__all__ = [
    "money_is_back",
    "payer_of",
    "read_charge",
    "read_charge_refund",
    "read_credit_note",
    "read_dispute",
    "read_paid_otherwise",
    "read_refund",
    "refund_names_payer",
    "takes_no_money",
]

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
# Known, and of no kind that is told apart.
_OTHER_METHODS: Final = frozenset(
    {
        *("affirm", "afterpay_clearpay", "alma", "billie", "klarna", "scalapay", "zip", "sunbit"),
        *("blik", "boleto", "customer_credit", "fpx", "konbini", "oxxo", "paynow", "payco"),
        *("promptpay", "swish", "twint", "mobilepay", "mb_way", "nz_bank_transfer", "paypay"),
        *("pay_by_bank", "kr_card", "kakao_pay", "naver_pay", "samsung_pay", "satispay"),
        *("stripe_account", "interac", "rechnung", "gift_card", "upi", "bizum", "stablecoin"),
    }
)
_KNOWN_METHODS: Final = frozenset({*_METHODS, *_OTHER_METHODS})
# The first version whose refunds say whose money it was.
_REFUNDS_NAME_PAYER: Final = "2026-09-30"
# Disputes that ask before they take, or were settled before they could; no money has moved.
_ASKING: Final = frozenset(
    {"warning_needs_response", "warning_under_review", "warning_closed", "prevented"}
)
# Of any other status it is told that money was taken, and that its word is not known.
_DISPUTES: Final = frozenset(
    {
        *_ASKING,
        *("needs_response", "under_review", "won", "lost", "charge_refunded"),
        *("appeal_needs_response", "appeal_under_review"),
    }
)
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
        unknown=_unknown("method", charge.fields("payment_method_details"), "type", _KNOWN_METHODS),
    )


def read_refund(refund: Fields) -> Payment | None:
    """Money given back, as the refund itself tells it."""
    before = len(refund.problems)
    key, code = refund.needed("id"), currency(refund)
    amount = _needed_amount(refund, "amount", code)
    if amount is None or len(refund.problems) > before:
        return None
    return Payment(id=key, amount=amount, currency=code, reference=payment_reference(refund))


def read_charge_refund(charge: Fields, change: Change, event: Fields) -> Payment | None:
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
    # Refunds of one charge are told apart by how much they bring the total to, and by the request
    # that asked for them: one that failed lowers the total, and is then given again up to the same.
    # Two events of one refund, which Stripe sends at times, share the request.
    asked = event.reference("request") or f"{change.at:%Y%m%dT%H%M%SZ}"
    return Payment(
        id=f"{key}/refunded/{whole}/{asked}",
        amount=amount,
        currency=code,
        invoice=charge.reference("invoice"),
        reference=payment_reference(charge),
    )


def read_paid_otherwise(invoice: Fields) -> Payment | None:
    """What of a paid invoice came by cheque, bank or cash, past Stripe; None when nothing did.

    Until 2025-03-31.basil all of it or nothing, and since 2026-03-25.dahlia as much as it says. The
    versions in between do not tell.
    """
    before = len(invoice.problems)
    key, code = invoice.needed("id"), currency(invoice)
    amount = whole_amount(invoice, "amount_paid_off_stripe", code)
    if amount is None and invoice.flag("paid_out_of_band"):
        amount = whole_amount(invoice, "amount_paid", code)
    if not amount or len(invoice.problems) > before:
        return None
    name = f"{key}/paid_otherwise"
    return Payment(id=name, amount=amount, currency=code, invoice=key, method=PaymentMethod.OTHER)


def read_credit_note(note: Fields) -> Payment | None:
    """What a credit note gave back past Stripe, which may be nothing."""
    before = len(note.problems)
    key, code = note.needed("id"), currency(note)
    amounts = [whole_amount(note, "out_of_band_amount", code)]
    amounts += [
        whole_amount(each, "amount_refunded", code)
        for each in note.entries("refunds")
        if each.text("type") == "payment_record_refund"
    ]
    invoice, amount = note.reference("invoice"), sum(each or 0 for each in amounts)
    if len(note.problems) > before:
        return None
    return Payment(id=key, amount=amount, currency=code, invoice=invoice)


def takes_no_money(dispute: Fields) -> bool:
    """Whether a dispute is only an inquiry, or was prevented."""
    return str(dispute.value.get("status")) in _ASKING


def money_is_back(dispute: Fields) -> bool:
    """Whether money that a dispute had taken has come again, by its status or its account."""
    return dispute.value.get("status") == "won" or bool(_entries(dispute, back=True))


def read_dispute(dispute: Fields, *, back: bool = False) -> Payment | None:
    """Money the customer's bank took, or (`back`) what of it came again.

    The balance transactions say what came again, which may be a part, and what Stripe kept; as far
    as they are in the currency of the dispute.
    """
    before = len(dispute.problems)
    key, code = dispute.needed("id"), currency(dispute)
    amount = _needed_amount(dispute, "amount", code)
    charge = dispute.fields("charge") if _shows_charge(dispute) else Fields(None)
    entries = [
        each
        for each in _entries(dispute, back=back)
        if (each.text("currency") or "").upper() == code
    ]
    if back and entries:
        amount = sum(whole_amount(each, "amount", code) or 0 for each in entries)
    fees = [whole_amount(each, "fee", code) or 0 for each in entries]
    if amount is None or len(dispute.problems) > before:
        return None
    return Payment(
        id=key,
        amount=amount,
        currency=code,
        fee=sum(fees) or None,
        invoice=charge.reference("invoice"),
        reference=payment_reference(dispute) or payment_reference(charge),
        failure_reason=dispute.text("reason"),
        unknown=_unknown("status", dispute, "status", _DISPUTES),
    )


def _entries(dispute: Fields, *, back: bool) -> list[Fields]:
    """The balance transactions of a dispute that took money, or that brought it back."""
    entries = dispute.entries("balance_transactions")
    return (
        [each for each in entries if (each.integer("amount") or 0) > 0]
        if back
        else [each for each in entries if (each.integer("amount") or 0) < 0]
    )


def payer_of(found: Fields, known: Known) -> str | None:
    """Whose money a refund or dispute is about; None for a charge that is shown and names nobody.

    Notes a problem when only the charge could tell and it is not there.
    """
    payer = customer_key(found)
    if payer is None and _shows_charge(found):
        return customer_key(found.fields("charge"))
    payer = payer or known.payers.get(payment_reference(found) or "")
    if payer is None:
        found.refuse("charge", "does not say whose payment it was", _EXPAND_CHARGE)
    return payer


def _shows_charge(found: Fields) -> bool:
    return isinstance(found.value.get("charge"), dict)


def _unknown(name: str, found: Fields, key: str, known: Container[str]) -> dict[str, str] | None:
    """A word that is not known, by the canonical key it bears on; None when it is."""
    word = found.word(key, known)
    return {name: word[key]} if word else None


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
