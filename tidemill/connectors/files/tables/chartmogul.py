"""ChartMogul's import format: customers, plans, invoices, line items, cancellations, together.

ChartMogul makes subscriptions out of invoice lines, and so do we: a line for a service period says
that the subscription had this plan and quantity, and cost so much, from the period's start on. It
ends with its cancellation; or with its last period, when that ended before the export.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from tidemill.connectors.files.tables.making import interval_of, made, plain
from tidemill.connectors.files.tables.sheet import Cells, Sheet, all_or_none, read_sheet
from tidemill.events import Event
from tidemill.payloads import Customer, Item, Plan, Subscription
from tidemill.problems import Problem
from tidemill.vocabulary import Confidence, Interval, PricingModel, SubscriptionStatus, UsageType

__all__ = ["read_chartmogul"]

# How late the next period may begin, to be the same subscription going on.
_GRACE: Final = timedelta(days=1)


@dataclass(slots=True)
class _Book:
    """Everything the files say, by kind."""

    customers: list[Cells]
    plans: dict[str, tuple[Cells, Interval, int]]
    invoices: dict[str, Cells]
    lines: list[Cells]
    cancellations: dict[str, datetime]


@dataclass(frozen=True, slots=True)
class _Period:
    """A line for a service period."""

    line: Cells
    customer: str
    currency: str
    start: datetime
    end: datetime
    item: Item


def read_chartmogul(files: Sequence[str], source: str, at: datetime) -> list[Event]:
    """The events that ChartMogul's files stand for; which file is which is told by the columns.

    at: the time of the export; a subscription whose last period is over by then has ended.
    """
    sheets = [read_sheet(file) for file in files]
    return all_or_none(_events(sheets, source, at), *sheets)


def _events(sheets: Sequence[Sheet], source: str, at: datetime) -> Iterator[Event]:
    book = _Book([], {}, {}, [], {})
    for sheet in sheets:
        _sort(sheet, book)
    for line in book.customers:
        yield from _customer(line, source, at)
    periods: dict[str, list[_Period]] = defaultdict(list)
    currencies: dict[str, tuple[str, datetime]] = {}
    for line in book.lines:
        period = _period(line, book)
        if period is not None:
            periods[line.needed("subscription external id")].append(period)
            currencies.setdefault(period.item.plan or "", (period.currency, period.start))
    for key, (line, interval, count) in book.plans.items():
        if key in currencies:
            code, since = currencies[key]
            yield from _plan(line, key, (interval, count), code, source, since)
    for key, found in periods.items():
        yield from _subscription(key, found, book.cancellations.get(key), source, at)


def _sort(sheet: Sheet, book: _Book) -> None:
    """Put the lines of a file where they belong."""
    if sheet.has("invoice external id", "service period start") or sheet.has("amount in cents"):
        sheet.must_have("invoice external id", "subscription external id", "amount in cents")
        sheet.must_have("service period start", "service period end")
        book.lines += sheet.lines
    elif sheet.has("invoiced at") or sheet.has("date", "customer external id"):
        for line in sheet.lines:
            book.invoices[line.needed("external id", "invoice external id")] = line
    elif sheet.has("interval unit"):
        for line in sheet.lines:
            key = line.needed("external id", "name")
            count = line.whole("interval count")
            interval = interval_of(line, line.text("interval unit"), count)
            if interval is not None:
                book.plans[key] = (line, *interval)
    elif sheet.has("subscription external id"):
        for line in sheet.lines:
            ended = line.instant("cancelled at", "canceled at", "cancellation date", "event date")
            if ended is not None:
                book.cancellations[line.needed("subscription external id")] = ended
    elif sheet.has("external id", "name"):
        book.customers += sheet.lines
    else:
        shown = ", ".join(sheet.columns[:6])
        sheet.problems.append(Problem(sheet.name, f"is no file of ChartMogul's ({shown}, …)"))


def _customer(line: Cells, source: str, at: datetime) -> Iterator[Event]:
    key = line.needed("external id")
    created = line.instant("lead created at", "free trial started at")
    country = line.text("country")
    payload = Customer(
        id=key or "-",
        name=line.text("company", "name"),
        email=line.text("email"),
        country=country if country and len(country) == 2 else None,  # noqa: PLR2004 - ISO 3166
        created_at=created,
    )
    if key:
        yield from made(line, source, "customer.created", key, created or at, payload)


def _plan(
    line: Cells, key: str, interval: tuple[Interval, int], code: str, source: str, since: datetime
) -> Iterator[Event]:
    payload = Plan(
        id=key,
        name=line.text("name"),
        currency=code,
        interval=interval[0],
        interval_count=interval[1],
        # A plan of ChartMogul's has no price; its invoices have.
        unit_amount="0",
        pricing_model=PricingModel.FLAT,
        usage_type=UsageType.LICENSED,
    )
    yield from made(line, source, "plan.created", "", since, payload)


def _period(line: Cells, book: _Book) -> _Period | None:
    """A line of an invoice as a period of a subscription; None for one-off charges, prorations."""
    if (line.text("type") or "subscription").lower() not in {"subscription", "recurring"}:
        return None
    if line.flag("proration", "prorated"):
        return None
    invoice = book.invoices.get(line.needed("invoice external id"))
    if invoice is None:
        hint = "Give the file of invoices together with that of their lines."
        line.refuse("invoice external id", "is the id of no invoice in these files", hint)
    subscription = line.needed("subscription external id")
    key = line.needed("plan", "plan external id", "plan name")
    plan = book.plans.get(key)
    if key and plan is None:
        hint = "Give the file of plans together with that of lines."
        line.refuse("plan", f"{key!r} is no plan in these files", hint)
    start, end = line.instant("service period start"), line.instant("service period end")
    cents, quantity = line.number("amount in cents"), line.number("quantity") or Decimal(1)
    tax = line.number("tax amount in cents") or Decimal(0)
    if start is None or end is None or cents is None or not subscription:
        return None
    if invoice is None or plan is None:
        return None
    customer = invoice.needed("customer external id", "customer")
    code = invoice.currency("currency")
    # The amount is of the whole line, discounts taken off, tax included where there is any.
    unit = (cents - tax) / quantity if cents > 0 and quantity else Decimal(0)
    item = Item(
        id=key,
        plan=key,
        quantity=plain(quantity),
        unit_amount=plain(round(unit, 12)),
        interval=plan[1],
        interval_count=plan[2],
    )
    return _Period(line, customer, code, start, end, item) if customer and code else None


def _subscription(
    key: str, periods: Sequence[_Period], canceled: datetime | None, source: str, at: datetime
) -> Iterator[Event]:
    """The states of a subscription: by period, with an end wherever nothing follows in time."""
    by_start: Mapping[datetime, list[_Period]] = defaultdict(list)
    for each in periods:
        by_start[each.start].append(each)
    starts = sorted(by_start)
    first = starts[0]
    for number, start in enumerate(starts):
        here = by_start[start]
        end = max(each.end for each in here)
        following = starts[number + 1] if number + 1 < len(starts) else None
        state = _state(key, here, first)
        label = "created" if not number else "updated"
        head = here[0]
        yield from made(head.line, source, f"subscription.{label}", head.customer, start, state)
        stops = following is None or following - end > _GRACE
        over = canceled if following is None and canceled is not None else None
        if stops and over is None and end <= at:
            over = end
        if over is not None and (following is None or over < following):
            gone = _state(key, here, first, ended=max(over, start))
            yield from made(
                head.line, source, "subscription.churned", head.customer, max(over, start), gone
            )


def _state(
    key: str, periods: Sequence[_Period], first: datetime, *, ended: datetime | None = None
) -> Subscription:
    head = periods[0]
    status = SubscriptionStatus.ACTIVE if ended is None else SubscriptionStatus.CANCELED
    return Subscription(
        id=key,
        status=status,
        currency=head.currency,
        items=[each.item for each in periods],
        started_at=first,
        current_period_start=head.start,
        current_period_end=max(each.end for each in periods),
        ended_at=ended,
        canceled_at=ended,
        confidence=Confidence.RECONSTRUCTED,
    )
