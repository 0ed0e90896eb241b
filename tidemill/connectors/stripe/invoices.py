"""An invoice's whole state after a change, from any shape Stripe has given it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.shapes import (
    invoice_subscription,
    invoice_tax,
    line_detail,
    line_is_proration,
    line_item,
    line_price,
    line_subscription,
    listed,
    refuse_if_cut,
)
from tidemill.connectors.stripe.wire import currency, plain, whole_amount
from tidemill.payloads import Invoice, InvoiceLine
from tidemill.vocabulary import InvoiceStatus, LineKind

__all__ = ["read_invoice"]

_STATUSES: Final = {each.value: each for each in InvoiceStatus} | {
    # A draft that was deleted; as if never written.
    "deleted": InvoiceStatus.VOID,
}
_SHOW_PRICE: Final = (
    "It is tried again when an event shows the price: its own, or one of its subscription. Set "
    "STRIPE_API_KEY, so that it can be read."
)
_FETCH_LINES: Final = "Import the whole list, as in GET /v1/invoices/{id}/lines."


def read_invoice(found: Fields, at: datetime, known: Known) -> Invoice | None:
    """The canonical state of an invoice; None after noting everything that is wrong.

    Its period is that of the service charged for, which the lines tell: `period_start` and
    `period_end` of a Stripe invoice are the window in which it collected items.
    """
    before = len(found.problems)
    key, code = found.needed("id"), currency(found)
    named = found.needed("status")
    status = _STATUSES.get(named)
    if named and status is None:
        found.refuse("status", f"{named[:40]!r} is a status this version does not know")
    refuse_if_cut(found, "lines", _FETCH_LINES)
    raw_lines = listed(found, "lines")
    read = [_line(raw, code, known) for raw in raw_lines]
    lines = [each for each in read if each is not None]
    turns = found.fields("status_transitions")
    # `finalized_at` stood on the invoice itself, and `created` was `date`, before 2019-03-14.
    created = found.instant("created") or found.instant("date") or at
    issued_at = turns.instant("finalized_at") or found.instant("finalized_at") or created
    total = whole_amount(found, "total", code)
    subtotal = whole_amount(found, "subtotal", code)
    starts, ends = _service(lines)
    paid_at = turns.instant("paid_at")
    if total is None and not found.has("total"):
        found.refuse("total", "is missing")
    amount_paid, tax = whole_amount(found, "amount_paid", code), _tax(found, code)
    subscription = invoice_subscription(found, raw_lines)
    if status is None or total is None or len(found.problems) > before:
        return None
    return Invoice(
        id=key,
        subscription=subscription,
        status=status,
        currency=code,
        subtotal=total if subtotal is None else subtotal,
        tax=tax,
        total=total,
        amount_paid=amount_paid,
        period_start=starts,
        period_end=ends,
        issued_at=issued_at,
        paid_at=(paid_at or at) if status is InvoiceStatus.PAID else None,
        lines=lines,
    )


def _tax(found: Fields, code: str) -> int:
    amounts = [whole_amount(each, "amount", code) or 0 for each in invoice_tax(found)]
    return sum(amounts) if amounts else whole_amount(found, "tax", code) or 0


def _service(lines: Sequence[InvoiceLine]) -> tuple[datetime | None, datetime | None]:
    """The period of service: that of the recurring charges, not of what is made up for."""
    charged = [line for line in lines if line.kind is LineKind.SUBSCRIPTION] or lines
    starts = [line.period_start for line in charged if line.period_start is not None]
    ends = [line.period_end for line in charged if line.period_end is not None]
    return min(starts, default=None), max(ends, default=None)


def _line(raw: Fields, code: str, known: Known) -> InvoiceLine | None:
    before = len(raw.problems)
    key, amount = raw.needed("id"), whole_amount(raw, "amount", code)
    if amount is None and not raw.has("amount"):
        raw.refuse("amount", "is missing")
    price_id, price = line_price(raw)
    period = raw.fields("period")
    starts, ends = period.instant("start"), period.instant("end")
    quantity = raw.decimal("quantity_decimal")
    quantity = raw.decimal("quantity") if quantity is None else quantity
    detail = line_detail(raw)
    item, subscription = line_item(raw, detail), line_subscription(raw, detail)
    shown = price or Fields(known.prices.get(price_id or ""))
    kind = _kind(raw, detail, shown)
    if known.grows and kind is LineKind.SUBSCRIPTION and price_id is not None and not shown:
        told = f"names the price {price_id[:40]!r}, and nothing has told yet whether it is metered"
        raw.refuse("pricing", told, _SHOW_PRICE)
    if amount is None or len(raw.problems) > before:
        return None
    return InvoiceLine(
        id=key,
        kind=kind,
        subscription=subscription,
        item=item,
        plan=price_id,
        amount=amount,
        quantity=_quantity(quantity),
        period_start=starts,
        # Old one-off lines have a period that ends a moment before it starts.
        period_end=ends if starts is None or ends is None or ends >= starts else starts,
    )


def _kind(line: Fields, detail: Fields, price: Fields) -> LineKind:
    """What a line charges for. A proration never counts as a recurring charge."""
    if line_is_proration(line, detail):
        return LineKind.PRORATION
    recurring = price.fields("recurring") or price
    if recurring.text("usage_type") == "metered":
        return LineKind.USAGE
    subscribed = line.text("type") == "subscription" or line_item(line, detail) is not None
    if subscribed and not detail.has("invoice_item"):
        return LineKind.SUBSCRIPTION
    # A manual line: a one-off charge, or a credit when it is in the customer's favour.
    amount = line.decimal("amount") or Decimal(0)
    return LineKind.CREDIT if amount < 0 else LineKind.ADDON


def _quantity(quantity: Decimal | None) -> str | None:
    return None if quantity is None or quantity < 0 else plain(quantity)
