"""What Stripe's dashboard exports: customers, subscriptions, invoices. Amounts in major units.

An export shows the present only. A subscription becomes its start, its end or its wish to end, and,
of its items, the one that the export shows; what it cost before is not there. Versions say so: they
are inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from tidemill.connectors.files.tables.making import interval_of, made, plain
from tidemill.connectors.files.tables.sheet import Cells, Sheet, all_or_none, read_sheet
from tidemill.events import Event
from tidemill.payloads import Customer, Invoice, InvoiceLine, Item, Subscription
from tidemill.problems import Problem
from tidemill.vocabulary import Confidence, InvoiceStatus, LineKind, SubscriptionStatus

__all__ = ["read_stripe_exports", "subscription_states"]

_Table = Callable[[Cells, str, datetime], Iterator[Event]]

_STATUSES: Final = {each.value: each for each in SubscriptionStatus} | {
    "incomplete_expired": SubscriptionStatus.CANCELED,
}
_INVOICES: Final = {each.value: each for each in InvoiceStatus}
_VERBS: Final = {
    InvoiceStatus.DRAFT: "created",
    InvoiceStatus.OPEN: "finalized",
    InvoiceStatus.PAID: "paid",
    InvoiceStatus.VOID: "voided",
    InvoiceStatus.UNCOLLECTIBLE: "uncollectible",
}


def read_stripe_exports(files: Sequence[str], source: str, at: datetime) -> list[Event]:
    """The events that exports stand for; which export a file is, is told by its columns.

    at: when it was exported, for what has no date of its own.
    """
    sheets = [read_sheet(file) for file in files]
    events = (e for sheet in sheets for e in _events(sheet, source, at))
    return all_or_none(events, *sheets)


def _events(sheet: Sheet, source: str, at: datetime) -> Iterator[Event]:
    table = _table(sheet)
    if table is None:
        shown = ", ".join(sheet.columns[:6])
        hint = "Export customers, subscriptions or invoices with all columns."
        sheet.problems.append(Problem(sheet.name, f"is no export that is known ({shown}, …)", hint))
        return
    for line in sheet.lines:
        yield from table(line, source, at)


def _table(sheet: Sheet) -> _Table | None:
    if sheet.has("id", "customer id", "status") and not sheet.has("amount due"):
        sheet.must_have("currency", "interval", "amount")
        return subscription_states
    if sheet.has("id", "customer", "total"):
        sheet.must_have("currency", "status")
        return _invoice
    return _customer if sheet.has("id", "email") else None


def _customer(line: Cells, source: str, at: datetime) -> Iterator[Event]:
    key, created = line.needed("id"), line.instant("created")
    payload = Customer(
        id=key or "-",
        name=line.text("name", "description"),
        email=line.text("email"),
        country=line.text("address country", "shipping address country", "card address country"),
        created_at=created,
    )
    if key:
        yield from made(line, source, "customer.created", key, created or at, payload)


def subscription_states(line: Cells, source: str, at: datetime) -> Iterator[Event]:
    """What a line of the subscriptions export tells: start, end of trial, wish to end, end."""
    key, customer, code = line.needed("id"), line.needed("customer id"), line.currency("currency")
    status = _STATUSES.get(line.needed("status"))
    if status is None:
        line.refuse("status", "is a status this version does not know")
    start = line.instant("start date", "start", "created")
    if start is None:
        line.refuse("start date", "is empty, and so is created")
    item = _item(line, code)
    if status is None or start is None or item is None or not (key and customer and code):
        return
    trial_end, ended = line.instant("trial end"), line.instant("ended at")
    asked, over = line.instant("canceled at"), status is SubscriptionStatus.CANCELED
    leaving = line.flag("cancel at period end")

    def state(now: SubscriptionStatus, **more: Any) -> Subscription:
        return Subscription(
            id=key,
            status=now,
            currency=code,
            items=[item],
            started_at=start,
            trial_start=line.instant("trial start"),
            trial_end=trial_end,
            current_period_start=line.instant("current period start"),
            current_period_end=line.instant("current period end"),
            confidence=Confidence.INFERRED,
            **more,
        )

    end = ended or (asked if over else None)
    trialed = trial_end is not None and trial_end > start
    early = SubscriptionStatus.TRIALING if trialed else SubscriptionStatus.ACTIVE
    yield from made(line, source, "subscription.created", customer, start, state(early))
    if trialed and trial_end is not None and trial_end < (end or at):
        converted = state(SubscriptionStatus.ACTIVE)
        yield from made(
            line, source, "subscription.trial_converted", customer, trial_end, converted
        )
    if over and end is not None:
        gone = state(status, ended_at=end, canceled_at=asked)
        yield from made(line, source, "subscription.churned", customer, max(end, start), gone)
        return
    cancel_at = line.instant("cancel at")
    now = state(status, cancel_at_period_end=leaving, cancel_at=cancel_at, canceled_at=asked)
    if status not in {early, SubscriptionStatus.ACTIVE} or leaving or cancel_at is not None:
        yield from made(line, source, "subscription.updated", customer, asked or at, now)


def _item(line: Cells, code: str) -> Item | None:
    amount, quantity = line.minor(code, "amount"), line.number("quantity")
    interval = interval_of(line, line.text("interval"), line.whole("interval count"))
    if amount is None and line.text("amount") is None:
        line.refuse("amount", "is empty", "A subscription of several items is exported without it.")
    if amount is None or interval is None:
        return None
    return Item(
        id=line.text("subscription item id", "plan", "price id") or "item",
        plan=line.text("plan", "price id"),
        product=line.text("product", "product id"),
        quantity=plain(quantity) if quantity is not None else "1",
        unit_amount=plain(amount),
        interval=interval[0],
        interval_count=interval[1],
    )


def _invoice(line: Cells, source: str, at: datetime) -> Iterator[Event]:
    key, customer, code = line.needed("id"), line.needed("customer"), line.currency("currency")
    status = _INVOICES.get(line.needed("status"))
    if status is None:
        line.refuse("status", "is a status this version does not know")
    total, tax = _minor(line, code, "total"), _minor(line, code, "tax") or 0
    subtotal, paid = _minor(line, code, "subtotal"), _minor(line, code, "amount paid")
    issued = line.instant("finalized at", "date", "created") or at
    if status is None or total is None or not (key and customer and code):
        return
    subscription = line.text("subscription")
    payload = Invoice(
        id=key,
        status=status,
        currency=code,
        subtotal=total - tax if subtotal is None else subtotal,
        tax=tax,
        total=total,
        amount_paid=paid,
        subscription=subscription,
        issued_at=issued,
        paid_at=(line.instant("paid at") or issued) if status is InvoiceStatus.PAID else None,
        period_start=line.instant("period start"),
        period_end=line.instant("period end"),
        # An export has no lines: the invoice stands as one.
        lines=[
            InvoiceLine(
                id=f"{key}/all",
                kind=LineKind.SUBSCRIPTION if subscription else LineKind.OTHER,
                subscription=subscription,
                amount=total - tax,
            )
        ],
    )
    yield from made(line, source, f"invoice.{_VERBS[status]}", customer, issued, payload)


def _minor(line: Cells, code: str, column: str) -> int | None:
    amount = line.minor(code, column)
    if amount is not None and amount != amount.to_integral_value():
        line.refuse(column, f"has more decimals than {code}")
        return None
    return None if amount is None else int(Decimal(amount))
