"""What is at hand about a subscription's past: its invoices, with the lines that speak of it.

They are only read here, as Stripe gave them. What they prove is the business of `history_points`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.shapes import (
    invoice_subscription,
    line_detail,
    line_is_proration,
    line_item,
    line_price,
    line_subscription,
    listed,
)

__all__ = ["Bill", "Charged", "Evidence", "bills_of", "phases_of"]

_Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is at hand about a customer's past, as Stripe gave it."""

    invoices: Sequence[_Json] = ()
    """With all lines, in any order."""
    pending: Sequence[_Json] = ()
    """Invoice items that wait for the next invoice."""
    schedule: _Json | None = None
    prices: Mapping[str, _Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Charged:
    """A line about a subscription item. Instants in Unix seconds, amounts as on the wire."""

    id: str
    item: str | None
    """None where a proration does not say which item it is about (since basil)."""
    price: str | None
    quantity: int | None
    amount: Decimal
    start: int
    end: int
    proration: bool
    shown: _Json
    """The price itself, when the line shows it; else empty."""
    product: str | None = None
    credited: tuple[str, ...] = ()
    """The lines that a credit takes back, by their ids."""


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice of the subscription, by what it proves."""

    id: str
    raw: _Json
    status: str
    reason: str
    created: int
    finalized_at: int | None
    paid_at: int | None
    ended_at: int | None
    """When it was voided or given up."""
    attempts: int
    lines: tuple[Charged, ...]

    @property
    def counts(self) -> bool:
        """Whether service was given for it: drafts and void invoices prove none."""
        return self.status in {"paid", "open", "uncollectible"}


def bills_of(subscription: str, evidence: Evidence) -> list[Bill]:
    """The invoices that speak of a subscription, oldest first, with the lines that do."""
    found = [_bill(each, subscription) for each in evidence.invoices]
    bills = [each for each in found if each is not None]
    pending = _pending(subscription, evidence.pending)
    if pending:
        last = max((line.start for line in pending), default=0)
        bills.append(Bill("", {}, "open", "pending", last, None, None, None, 0, tuple(pending)))
    return sorted(bills, key=lambda bill: (bill.created, bill.id))


def _bill(raw: _Json, subscription: str) -> Bill | None:
    found = Fields(raw)
    raw_lines = listed(found, "lines")
    mine = invoice_subscription(found, raw_lines) == subscription
    lines = [
        line for each in raw_lines if (line := _charged(each, subscription, mine=mine)) is not None
    ]
    created = _seconds(raw.get("created"))
    if created is None or not (mine or lines):
        return None
    turns = found.fields("status_transitions").value
    return Bill(
        id=found.text("id") or "",
        raw=raw,
        status=found.text("status") or "",
        reason=found.text("billing_reason") or "",
        created=created,
        finalized_at=_seconds(turns.get("finalized_at")),
        paid_at=_seconds(turns.get("paid_at")),
        ended_at=_seconds(turns.get("voided_at")) or _seconds(turns.get("marked_uncollectible_at")),
        attempts=found.integer("attempt_count") or 0,
        lines=tuple(lines),
    )


def _charged(line: Fields, subscription: str, *, mine: bool) -> Charged | None:
    """A line about an item of the subscription; None for what is not."""
    detail = line_detail(line)
    owner, item = line_subscription(line, detail), line_item(line, detail)
    proration = line_is_proration(line, detail)
    if (owner or (subscription if mine else None)) != subscription:
        return None
    price, shown = line_price(line)
    details = line.fields("pricing").fields("price_details")
    period = line.fields("period").value
    start, end = _seconds(period.get("start")), _seconds(period.get("end"))
    amount = line.decimal("amount")
    if start is None or end is None or amount is None or not (item or proration):
        return None
    holder = detail if detail.has("proration_details") else line
    credited = holder.fields("proration_details").fields("credited_items")
    return Charged(
        id=line.text("id") or "",
        item=item,
        price=price,
        quantity=line.integer("quantity"),
        amount=amount,
        start=start,
        end=end,
        proration=proration,
        shown=shown.value,
        product=shown.reference("product") or details.reference("product"),
        credited=tuple(each for each in credited.values("invoice_line_items") if each),
    )


def _pending(subscription: str, items: Iterable[_Json]) -> list[Charged]:
    """Proration items that are on no invoice yet."""
    charged = []
    for raw in items:
        found = Fields(raw)
        details = found.fields("parent").fields("subscription_details")
        owner = found.reference("subscription") or details.reference("subscription")
        item = found.reference("subscription_item") or details.reference("subscription_item")
        if owner == subscription and found.flag("proration"):
            own = {"subscription_item": item, "subscription": owner, "parent": None}
            line = _charged(Fields({**raw, **own}), subscription, mine=False)
            charged += [line] if line else []
    return charged


def phases_of(schedule: _Json | None) -> Iterator[tuple[int, list[tuple[str, int | None]]]]:
    """When each phase of a schedule began, and the prices and quantities of its items."""
    for phase in Fields(schedule).entries("phases") if schedule else ():
        start = _seconds(phase.value.get("start_date"))
        if start is not None:
            items = list(phase.entries("items"))
            yield (
                start,
                [(each.reference("price") or each.reference("plan") or "", each.integer("quantity"))
                 for each in items],
            )  # fmt: skip


def _seconds(value: object) -> int | None:
    return value if type(value) is int else None
