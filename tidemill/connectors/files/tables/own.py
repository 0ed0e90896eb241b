"""Our own tables: who pays, and what each subscription was from when on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

from tidemill.connectors.files.tables.making import interval_of, made, plain
from tidemill.connectors.files.tables.sheet import Cells, Sheet, all_or_none, read_sheet
from tidemill.events import Event
from tidemill.payloads import Customer, Item, Subscription
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["read_customers", "read_subscriptions"]

_STATUSES = {each.value: each for each in SubscriptionStatus}


def read_customers(files: Sequence[str], source: str, at: datetime) -> list[Event]:
    """Customers: ``customer``, and perhaps ``name``, ``email``, ``country``, ``created_at``.

    at: when it became so, where a line has no ``created_at``.
    """
    sheets = [read_sheet(file) for file in files]
    for sheet in sheets:
        sheet.must_have("customer")
    lines = (line for sheet in sheets for line in sheet.lines)
    return all_or_none((e for line in lines for e in _customer(line, source, at)), *sheets)


def _customer(line: Cells, source: str, at: datetime) -> Iterator[Event]:
    key, created = line.needed("customer"), line.instant("created_at")
    if not key:
        return
    payload = Customer(
        id=key,
        name=line.text("name"),
        email=line.text("email"),
        country=line.text("country"),
        created_at=created,
    )
    yield from made(line, source, "customer.created", key, created or at, payload)


def read_subscriptions(files: Sequence[str], source: str, at: datetime) -> list[Event]:
    """Subscriptions, a line for each item of each state.

    Columns ``subscription``, ``customer``, ``from`` (when it began), ``status``, ``currency``,
    ``amount`` (of one unit and interval, in major units), ``interval``; and perhaps ``quantity``,
    ``interval_count``, ``plan``, ``item``, ``trial_end``. Lines of one subscription with the same
    ``from`` are the items of one state. A line with status ``canceled`` ends it.
    """
    del at  # every line says since when
    sheets = [read_sheet(file) for file in files]
    for sheet in sheets:
        sheet.must_have("subscription", "customer", "from", "status", "currency")
    return all_or_none((e for sheet in sheets for e in _states(sheet, source)), *sheets)


def _states(sheet: Sheet, source: str) -> Iterator[Event]:
    dated = [(line.needed("subscription"), line.instant("from"), line) for line in sheet.lines]
    for key, at, line in dated:
        if key and at is None and line.text("from") is None:
            line.refuse("from", "is empty")
    known = [(key, at, line) for key, at, line in dated if key and at is not None]
    known.sort(key=lambda each: (each[0], each[1]))
    for key, rows in groupby(known, key=lambda each: each[0]):
        states = [(at, [each[2] for each in of]) for at, of in groupby(rows, key=lambda e: e[1])]
        for at, lines in states:
            yield from _state(key, at, lines, source, states[0][0])


def _state(
    key: str, at: datetime, lines: Sequence[Cells], source: str, first: datetime
) -> Iterator[Event]:
    head, new = lines[0], at == first
    customer, code = head.needed("customer"), head.currency("currency")
    status = _STATUSES.get((head.needed("status")).lower())
    if status is None:
        head.refuse("status", "is none of " + ", ".join(_STATUSES))
    over = status is SubscriptionStatus.CANCELED
    items = [] if over else [each for line in lines if (each := _item(line, code)) is not None]
    for line in lines[1:]:
        for column in ("customer", "currency", "status"):
            if line.text(column) != head.text(column):
                line.refuse(column, f"differs from that of {head.origin}, the same state")
    if status is None or not code or not customer:
        return
    payload = Subscription(
        id=key,
        status=status,
        currency=code,
        items=items,
        started_at=first,
        trial_end=head.instant("trial_end"),
        ended_at=at if over else None,
        canceled_at=at if over else None,
    )
    label = "churned" if over else "created" if new else "changed"
    yield from made(head, source, f"subscription.{label}", customer, at, payload)


def _item(line: Cells, code: str) -> Item | None:
    amount, quantity = line.minor(code, "amount"), line.number("quantity")
    if line.text("amount") is None:
        line.refuse("amount", "is empty")
    interval = interval_of(line, line.text("interval"), line.whole("interval_count"))
    if amount is None or interval is None:
        return None
    plan = line.text("plan")
    return Item(
        id=line.text("item") or plan or "item",
        plan=plan,
        quantity=plain(quantity) if quantity is not None else "1",
        unit_amount=plain(amount),
        interval=interval[0],
        interval_count=interval[1],
    )
