"""What one subscription is worth at one instant, from the whole state in force then.

Every function asks "at t?" and answers from scratch; nothing is carried from one instant to the
next. The letters in the comments are the decisions that the SQL ledger follows too:

a. Versions are ordered by (occurred_at, sequence, canceled last, recorded_at, event id); one is in
   force until the next; those of no length vanish. Nothing counts before `started_at`.
b. Active counts, past due and paused by knob, trials only with `trials_in_mrr=include`; unpaid,
   incomplete and canceled never (but see e). A status `paused` can count only if the subscription
   was active or past due in an earlier version: a trial that was paused never counted.
c. A cancellation is scheduled by `cancel_at`, else by `cancel_at_period_end`.
d. Discounts: those of an item first, then those of the whole subscription, in order; each on what
   is left, never below zero.
e. `at_period_end`: what counted until it was canceled goes on counting until the paid-up date.
f. Past due counts for N x 24 hours, then it is involuntary churn.
g. Activation: nothing counts before the first invoice's payment (or issue), if there is such an
   invoice in the first billing period.
h. Usage: of the last usage invoice, or the mean of the last N, until the next; only while counting,
   and never below zero.
i. `rounding=subscription`: the subscription's total, half away from zero, to whole minor units.
p. By the recorded clock a version begins when it was recorded, if later; one that is overtaken by
   then never comes into force.
r. `refunds=as_if_unpaid`: nothing counts in the period of an invoice that was refunded in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from zoneinfo import ZoneInfo

from tests.support.calendars import add_interval, last_renewal
from tests.support.replay_book import (
    Book,
    Discount,
    Invoice,
    Item,
    Key,
    Subscription,
    Version,
)

__all__ = ["Level", "Rules", "Span", "SubscriptionLevels"]

_ZERO = Fraction(0)
_MOMENT = timedelta(microseconds=1)  # instants are no finer, so t - _MOMENT is "just before t"
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_PER_MONTH = {"month": Fraction(1), "year": Fraction(1, 12)}
_DISCOUNTS = {
    "include_all": {"once", "repeating", "forever"},
    "exclude_once": {"repeating", "forever"},
    "forever_only": {"forever"},
    "exclude": set[str](),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy's knobs, with the parametrised ones taken apart."""

    knobs: Mapping[str, str | int]

    def __getitem__(self, knob: str) -> str:
        return str(self.knobs[knob])

    def number(self, knob: str) -> int | None:
        """N of a value such as `after:N`; None when the value has none."""
        _, colon, number = self[knob].partition(":")
        return int(number) if colon else None

    @property
    def zone(self) -> ZoneInfo:
        """The zone whose midnights cut days and months."""
        return ZoneInfo(self["tz"])

    def monthly(self, interval: str, count: int) -> Fraction:
        """How many billing periods of this length make a month."""
        if interval == "week":
            return Fraction(self["weeks_per_month"]) / count
        if interval == "day":
            return Fraction(self["days_per_month"]) / count
        return _PER_MONTH[interval] / count


@dataclass(frozen=True, slots=True)
class Span:
    """A version and the time it is in force: from `begin` until just before `end`."""

    version: Version
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Level:
    """What a subscription is from an instant on.

    `value` is monthly, in minor units of `currency`. `kept`: it does not count, but a pause that
    the policy takes for contraction keeps its customer.
    """

    at: datetime
    currency: str
    value: Fraction
    counted: bool
    kept: bool


class SubscriptionLevels:
    """One subscription under one policy."""

    def __init__(self, book: Book, subscription: Subscription, rules: Rules) -> None:
        self.key = subscription.key
        self.customer = subscription.customer
        self.rules = rules
        self.spans = _spans(subscription, rules)
        invoices = [i for i in book.invoices.values() if i.subscription == self.key]
        refunded = _refunded(book) if rules["refunds"] == "as_if_unpaid" else set()
        self.gate = self._gate(book, invoices, refunded)
        self.unpaid_periods = [
            (i.period_start, i.period_end)
            for i in invoices
            if i.key in refunded and i.period_start and i.period_end
        ]
        self.usage_invoices = sorted(
            (i.issued_at, i.usage[self.key])
            for i in book.invoices.values()
            if self.key in i.usage and i.status in {"open", "paid", "uncollectible"}
        )

    # --- the level at an instant

    @cached_property
    def levels(self) -> list[Level]:
        """The level at every instant at which it could change, the last one lasting for ever."""
        return [
            self._level(place, at)
            for place, span in enumerate(self.spans)
            for at in sorted({span.begin, *self._instants(span)})
            if span.begin <= at < span.end
        ]

    def value(self, at: datetime) -> Fraction:
        """Monthly value at an instant; 0 while it does not count."""
        place = self._place(at)
        return _ZERO if place is None else self._level(place, at).value

    def yearly(self, at: datetime, basis: str) -> Fraction:
        """Annualised value at an instant, unrounded (decision s); 0 while it does not count."""
        place = self._place(at)
        if place is None or not self._counts(place, at, pause_counts=self._pause_counts):
            return _ZERO
        span = self.spans[place]
        total = 12 * self._usage(span.version, at)
        for item, amount in self._amounts(span, at):
            if basis == "contract_value":
                total += 12 * amount * self.rules.monthly(item.interval, item.count)
            else:
                start = _period_start(span)
                term = add_interval(start, item.interval, item.count) - start
                total += amount / term.days * 365
        return total

    def renewed_at(self, at: datetime) -> datetime:
        """The last renewal before or at an instant (decision o).

        Periods are counted from the `current_period_start` of the version in force, by the interval
        of its first item. A change inside a period keeps that start and so is no renewal.
        """
        place = self._place(at)
        assert place is not None
        span = self.spans[place]
        start = _period_start(span)
        if not span.version.items:
            return start
        item = span.version.items[0]
        return last_renewal(start, item.interval, item.count, at)

    def reason(self, at: datetime) -> str:
        """Why it does not count at this instant: involuntary, voluntary or unknown."""
        place = self._place(at)
        assert place is not None
        span = self.spans[place]
        left_at, given_up_at = self._left_at(span), self._given_up_at(span)
        if given_up_at <= at and given_up_at <= left_at:
            return "involuntary"
        voluntary = span.version.voluntary
        has_left = span.version.status == "canceled" or left_at <= at
        if not has_left or voluntary is None:
            return "unknown"
        return "voluntary" if voluntary else "involuntary"

    def _left_at(self, span: Span) -> datetime:
        """When a scheduled cancellation takes effect under the policy."""
        end = self._scheduled_end(span.version)
        if end is None:
            return _NEVER
        return span.begin if self.rules["churn_recognition"] == "when_scheduled" else end

    def _given_up_at(self, span: Span) -> datetime:
        """When nobody waits for money any longer."""
        match span.version.status:
            case "unpaid":
                return span.begin
            case "past_due":
                return self._past_due_until(span)
            case _:
                return _NEVER

    def _place(self, at: datetime) -> int | None:
        for place, span in enumerate(self.spans):
            if span.begin <= at < span.end:
                return place
        return None

    @property
    def _pause_counts(self) -> bool:
        return self.rules["paused"] == "active"

    def _level(self, place: int, at: datetime) -> Level:
        span = self.spans[place]
        version = span.version
        counted = self._counts(place, at, pause_counts=self._pause_counts)
        kept = (
            self.rules["paused"] == "contraction"
            and version.paused
            and self._counts(place, at, pause_counts=True)
        )
        value = _ZERO
        if counted:
            value = self._usage(version, at) + sum(
                amount * self.rules.monthly(item.interval, item.count)
                for item, amount in self._amounts(span, at)
            )
            if self.rules["rounding"] == "subscription":
                value = _rounded(value)
        return Level(at, version.currency, value, counted, kept)

    # --- whether it counts

    def _counts(self, place: int, at: datetime, *, pause_counts: bool) -> bool:
        span = self.spans[place]
        version = span.version
        if version.started_at is not None and at < version.started_at:
            return False
        if at < self.gate or any(start <= at < end for start, end in self.unpaid_periods):
            return False
        if version.status == "canceled":
            return self._paid_up(place, at)
        if self._schedule_reached(version, at) or (version.paused and not pause_counts):
            return False
        match version.status:
            case "active":
                return True
            case "paused":
                # Decision b: only what has counted before can be paused.
                return any(s.version.status in {"active", "past_due"} for s in self.spans[:place])
            case "past_due":
                return at < self._past_due_until(span)
            case "trialing":
                return self.rules["trials_in_mrr"] == "include"
            case _:
                return False

    def _paid_up(self, place: int, at: datetime) -> bool:
        """Decision e, for a canceled version."""
        version = self.spans[place].version
        if self.rules["churn_recognition"] != "at_period_end":
            return False
        if version.period_end is None or at >= version.period_end:
            return False
        yearly = all(item.interval == "year" for item in version.items)
        if self.rules["annual_refund_churns"] == "yes" and version.refunded and yearly:
            return False
        before = [p for p in range(place) if self.spans[p].version.status != "canceled"]
        if not before:
            return False
        last = before[-1]
        return self._counts(last, self.spans[last].end - _MOMENT, pause_counts=self._pause_counts)

    def _scheduled_end(self, version: Version) -> datetime | None:
        """When a scheduled cancellation takes effect; None when none is scheduled."""
        end = version.cancel_at
        if end is None and version.cancel_at_period_end:
            end = version.period_end
        if end is None or version.status == "canceled":
            return None
        if self.rules["churn_recognition"] == "at_period_end" and version.period_end is not None:
            return max(end, version.period_end)
        return end

    def _schedule_reached(self, version: Version, at: datetime) -> bool:
        end = self._scheduled_end(version)
        if end is None:
            return False
        return self.rules["churn_recognition"] == "when_scheduled" or at >= end

    def _past_due_until(self, span: Span) -> datetime:
        """Decision f: when a past-due version stops counting."""
        if self.rules["past_due"] == "active":
            return _NEVER
        if self.rules["past_due"] == "exclude":
            return span.begin
        days = self.rules.number("past_due")
        assert days is not None
        return (span.version.past_due_since or span.begin) + timedelta(days=days)

    def _gate(self, book: Book, invoices: list[Invoice], refunded: set[Key]) -> datetime:
        """Decision g: the instant before which nothing counts."""
        billed = [s for s in self.spans if s.version.status in {"active", "past_due"}]
        if self.rules["activation"] == "status_active" or not billed:
            return _ALWAYS
        first = billed[0]
        until = first.version.period_end
        if until is None and first.version.items:
            item = first.version.items[0]
            until = add_interval(first.begin, item.interval, item.count)
        issued = [
            i
            for i in invoices
            if i.status not in {"draft", "void"} and i.total > 0
            if until is None or i.issued_at < until
        ]
        if not issued:
            return _ALWAYS
        invoice = min(issued, key=lambda i: (i.issued_at, i.key))
        return max(first.begin, self._invoice_instant(book, invoice, refunded))

    def _invoice_instant(self, book: Book, invoice: Invoice, refunded: set[Key]) -> datetime:
        """When the first invoice was issued, or paid as the policy asks; never is far away."""
        if self.rules["activation"] == "invoice_issued":
            return invoice.issued_at
        if invoice.key in refunded:
            return _NEVER
        paid = [invoice.paid_at] if invoice.status == "paid" and invoice.paid_at else []
        if self.rules["activation"] == "partly_paid":
            paid += [
                p.at
                for p in book.payments.values()
                if p.kind == "succeeded" and p.amount > 0 and p.invoice == invoice.key
            ]
        return min(paid, default=_NEVER)

    # --- what it is worth

    def _amounts(self, span: Span, at: datetime) -> list[tuple[Item, Fraction]]:
        """Each licensed item with its amount for one period, after tax and discounts."""
        taxed = self.rules["tax"] == "include"
        items = [item for item in span.version.items if not item.metered]
        left = [max(_ZERO, item.gross - (_ZERO if taxed else item.tax)) for item in items]
        lowering = _DISCOUNTS[self.rules["discounts"]]
        discounts = [
            discount
            for discount in span.version.discounts
            if discount.duration in lowering and _applies(discount, span, at)
        ]
        for discount in sorted(discounts, key=lambda d: d.item is None):  # stable: array order
            places = [p for p, item in enumerate(items) if discount.item in {None, item.id}]
            base = sum((left[p] for p in places), _ZERO)
            off = _off(discount, base)
            for place in places:
                # Spread over the items in proportion of what is left of each.
                left[place] -= off * left[place] / base if base else _ZERO
        return list(zip(items, left, strict=True))

    def _usage(self, version: Version, at: datetime) -> Fraction:
        """Decision h: the usage part of the monthly value."""
        if self.rules["usage"] == "exclude":
            return _ZERO
        amounts = [amount for issued_at, amount in self.usage_invoices if issued_at <= at]
        looked_at = amounts[-(self.rules.number("usage") or 1) :]
        if not looked_at:
            return _ZERO
        metered = [item for item in version.items if item.metered]
        monthly = self.rules.monthly(metered[0].interval, metered[0].count) if metered else 1
        return max(_ZERO, sum(looked_at, _ZERO) / len(looked_at) * monthly)

    # --- when it may change

    def _instants(self, span: Span) -> Iterator[datetime]:
        version = span.version
        yield self.gate
        yield from (edge for period in self.unpaid_periods for edge in period)
        yield from (issued_at for issued_at, _ in self.usage_invoices)
        ends = (version.started_at, version.cancel_at, version.period_end)
        yield from (at for at in ends if at is not None)
        if version.status == "past_due":
            yield self._past_due_until(span)
        for discount in version.discounts:
            yield _starts_at(discount, span)
            yield _ends_at(discount, span)


def _spans(subscription: Subscription, rules: Rules) -> list[Span]:
    """The versions that come into force, each with its time (decisions a and p)."""
    begun = sorted((_begin(v, rules), v.order, v) for v in subscription.versions)
    in_force: list[tuple[datetime, Version]] = []
    for begin, order, version in begun:
        if not in_force or order > in_force[-1][1].order:
            in_force.append((begin, version))
    ends = [begin for begin, _ in in_force[1:]] + [_NEVER]
    return [
        Span(version, begin, end)
        for (begin, version), end in zip(in_force, ends, strict=True)
        if begin < end
    ]


def _begin(version: Version, rules: Rules) -> datetime:
    late = max(version.occurred_at, version.recorded_at)
    if rules["event_time"] == "recorded":
        return late
    if rules["late_events"] == "book_when_received":
        # The books of a month close some days after its end, at midnight of the reporting zone.
        day = version.occurred_at.astimezone(rules.zone)
        year, month = divmod(day.year * 12 + day.month, 12)
        closing = date(year, month + 1, 1) + timedelta(days=int(rules["close_lag_days"]))
        closed_at = datetime(closing.year, closing.month, closing.day, tzinfo=rules.zone)
        if version.recorded_at > closed_at:
            return late
    return version.occurred_at


def _refunded(book: Book) -> set[Key]:
    """Invoices of which everything was given back."""
    back: dict[Key, Fraction] = {}
    for payment in book.payments.values():
        sign = {"refunded": 1, "refund_failed": -1}.get(payment.kind)
        if sign is not None and payment.invoice is not None:
            back[payment.invoice] = back.get(payment.invoice, _ZERO) + sign * payment.amount
    known = ((key, book.invoices[key].total) for key in back if key in book.invoices)
    return {key for key, total in known if total > 0 and back[key] >= total}


def _period_start(span: Span) -> datetime:
    return span.version.period_start or span.version.started_at or span.begin


def _starts_at(discount: Discount, span: Span) -> datetime:
    return discount.starts_at or span.version.started_at or span.begin


def _ends_at(discount: Discount, span: Span) -> datetime:
    """Decision d: `once` lasts one billing interval of its item, else of the first item."""
    if discount.ends_at is not None:
        return discount.ends_at
    items = span.version.items
    if discount.duration != "once" or not items:
        return _NEVER
    item = next((item for item in items if item.id == discount.item), items[0])
    return add_interval(_starts_at(discount, span), item.interval, item.count)


def _applies(discount: Discount, span: Span, at: datetime) -> bool:
    return _starts_at(discount, span) <= at < _ends_at(discount, span)


def _off(discount: Discount, base: Fraction) -> Fraction:
    """What a discount takes off an amount; never more than there is."""
    off = _ZERO if discount.amount is None else discount.amount
    if discount.percent is not None:
        off += base * discount.percent / 100
    return min(off, base)


def _rounded(value: Fraction) -> Fraction:
    """Whole minor units, half away from zero."""
    whole = (abs(value) * 2 + 1) // 2
    return Fraction(whole if value >= 0 else -whole)
