"""A synthetic customer's account: its clock, the events it tells, its bills and their payment."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final

from tidemill.demo import records
from tidemill.demo.calendar import DAY, HOUR
from tidemill.demo.catalogue import Catalogue
from tidemill.demo.contract import Contract, Item, difference
from tidemill.demo.profiles import Profile, draw_profile
from tidemill.demo.records import Invoice

__all__ = ["Account", "Moment", "Moments", "World"]

_Object = dict[str, Any]

Moment = tuple[int, Callable[[], _Object]]
"""When an event happens (Unix seconds), and what makes it; to be called once, in its turn.

Thousands of customers wait for their turn at any time. Making an event only then keeps what waits
small, and nothing of a customer changes in between.
"""

Moments = Generator[Moment, None, None]
"""Events of one customer, in order of time."""

_PAYMENT_FAILS: Final = 0.055
_RETRY_WORKS: Final = 0.36
_GIVEN_UP_UNPAID: Final = 0.3
_UNPAID_PAYS: Final = 0.35
_REFUND: Final = 0.012
_DISPUTE: Final = 0.004
_DISPUTE_WON: Final = 0.4

# Days between the attempts to take a payment that failed.
_RETRY_DAYS: Final = {"week": (1, 2, 2), "month": (3, 4, 5), "year": (3, 4, 5)}
_FAILURES: Final = ("card_declined", "insufficient_funds", "expired_card", "processing_error")
_METHODS: Final = {
    "usd": ("card", "card", "card", "card", "us_bank_account", "link"),
    "eur": ("card", "card", "sepa_debit", "sepa_debit", "paypal"),
    "gbp": ("card", "card", "card", "bacs_debit"),
}


@dataclass(frozen=True, slots=True)
class World:
    """What all customers of a run share."""

    dice: Random
    catalogue: Catalogue
    tag: str
    """Part of every id, so that two different runs never share one."""
    numbers: Iterator[int] = field(default_factory=count)
    """Of the stories, in the order in which they begin."""
    aside: list[Moments] = field(default_factory=list)
    """What began just now and goes on beside the life that it is a part of."""

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return self.dice.random() < share


class Account:
    """A customer with at most one running subscription. `now` is its clock, in Unix seconds."""

    __slots__ = (
        "_bills",
        "_events",
        "_method",
        "_waiting",
        "contract",
        "id",
        "key",
        "now",
        "profile",
        "world",
    )

    def __init__(self, world: World, number: int, start: int) -> None:
        self.world = world
        self.key = f"{world.tag}{number:06d}"
        self.id = f"cus_{self.key}"
        self.now = start
        self.profile: Profile = draw_profile(world.dice, number)
        self.contract: Contract
        self._bills = self._events = 0
        self._method: str = world.dice.choice(_METHODS[self.profile.currency])
        # Proration lines that wait for the next bill.
        self._waiting: list[_Object] = []

    # --- the clock and the voice --------------------------------------------------------------

    def wait(self, least: int, most: int) -> None:
        """Let a random time go by."""
        self.now += self.world.dice.randint(least, most)

    def tell(
        self,
        kind: str,
        found: _Object | Callable[[], _Object],
        previous: _Object | None = None,
        *,
        asked: bool = True,
    ) -> Moment:
        """An event that happens now; `asked` is False for what Stripe does of its own accord.

        found: the object, or what renders it when the event's turn comes.
        """
        at, key = self.now, self._next_event()

        def event() -> _Object:
            shown = found() if callable(found) else found
            return records.event(key, kind, at, shown, previous, asked=asked)

        return at, event

    def change(self, *, asked: bool = True, **changes: Any) -> Moment:
        """Change attributes of the subscription and tell it, both when the event's turn comes."""
        at, key, contract = self.now, self._next_event(), self.contract

        def event() -> _Object:
            before = contract.render()
            contract.set(**changes)
            after = contract.render()
            kind = "customer.subscription.updated"
            return records.event(key, kind, at, after, difference(before, after), asked=asked)

        return at, event

    def _next_event(self) -> str:
        self._events += 1
        return f"evt_{self.key}_{self._events:04d}"

    def end(self, *, asked: bool, reason: str | None, feedback: str | None = None) -> Moment:
        """The subscription ends here and now."""
        contract = self.contract
        contract.status = "canceled"
        contract.ended_at = self.now
        contract.canceled_at = contract.canceled_at or self.now
        contract.reason = reason or contract.reason
        contract.feedback = feedback or contract.feedback
        contract.pause_collection = contract.status_details = None
        self._waiting = []
        return self.tell("customer.subscription.deleted", contract.render, asked=asked)

    # --- bills --------------------------------------------------------------------------------

    @property
    def next_bill(self) -> str:
        """The id of the next invoice; the subscription names it in the event that leads to it."""
        return f"in_{self.key}_{self._bills + 1:04d}"

    def prorate(self, old: Item | None, new: Item | None) -> None:
        """Put the rest of the period on the next bill: credit for the old, charge for the new."""
        contract = self.contract
        whole = contract.period_end - contract.period_start
        left = max(contract.period_end - self.now, 0)
        for item, sign in ((old, -1), (new, 1)):
            if item is not None and left and not item.plan.metered:
                amount = sign * (contract.amount(item) * left // whole)
                self._waiting.append(records.proration_line(contract, item, amount, self.now))

    def bill(self, reason: str, *, cycle: bool = True) -> Moments:
        """Write an invoice for the period that begins (or, without `cycle`, for what waits)."""
        contract, key = self.contract, self.next_bill
        self._bills += 1
        charges = list(self._charges()) if cycle else []
        if contract.status == "trialing":
            charges = [dict(line, amount=0, subtotal=0) for line in charges]
        lines, self._waiting = [*self._waiting, *charges], []
        for place, line in enumerate(lines):
            line["id"], line["invoice"] = f"il_{key}_{place}", key
        off = _discounted(contract, sum(line["amount"] for line in charges), self.now)
        invoice = Invoice(key, contract, reason, self.now, lines, off)
        yield self.tell("invoice.created", partial(invoice.render, "draft"), asked=False)
        if contract.pause_collection is not None:
            self.now += HOUR
            voided = partial(invoice.render, "void", ended=self.now)
            yield self.tell("invoice.voided", voided, asked=False)
        elif contract.collection_method == "send_invoice":
            yield from self._send(invoice)
        else:
            yield from self._collect(invoice)

    def _charges(self) -> Iterator[_Object]:
        """What a period costs that begins now, and what was used in the month before it."""
        contract = self.contract
        for item in contract.items:
            if not item.plan.metered:
                yield records.cycle_line(contract, item)
            elif over := contract.period_before():
                used = self.profile.seats * self.world.dice.randint(300, 3_000)
                yield records.usage_line(contract, item, used, *over)

    def _send(self, invoice: Invoice) -> Moments:
        """Mail the invoice and wait for the transfer."""
        self.now += HOUR
        finalized = self.now
        found = partial(invoice.render, "open", finalized=finalized)
        yield self.tell("invoice.finalized", found, asked=False)
        self.wait(2 * DAY, 24 * DAY)
        yield from self._paid(invoice, finalized, "customer_balance")

    def _collect(self, invoice: Invoice) -> Moments:
        """Charge the stored payment method: at once for a new subscription, else after an hour."""
        first = invoice.reason == "subscription_create"
        self.now += 2 if first else HOUR
        finalized = self.now
        if not first:
            found = partial(invoice.render, "open", finalized=finalized)
            yield self.tell("invoice.finalized", found, asked=False)
        if not invoice.total or first or not self.world.chance(_PAYMENT_FAILS):
            yield from self._paid(invoice, finalized, self._method)
        else:
            yield from self._dun(invoice, finalized)

    def _paid(self, invoice: Invoice, finalized: int, method: str) -> Moments:
        asked = invoice.reason == "subscription_create"
        taken = None
        if invoice.total:
            taken = records.charge(f"ch_{invoice.id}_{self._events}", invoice, self.now, method)
            yield self.tell("charge.succeeded", taken, asked=asked)
        found = partial(invoice.render, "paid", finalized=finalized, ended=self.now)
        yield self.tell("invoice.paid", found, asked=asked)
        if taken is not None:
            yield self._allocated(taken, invoice, asked=asked)
        if taken is not None and self.world.chance(_REFUND):
            self.wait(HOUR, 2 * DAY)
            given_back = records.refund(f"re_{taken['id']}", taken, self.now)
            yield self.tell("refund.created", given_back)
            after = dict(taken, amount_refunded=taken["amount"], refunded=True)
            yield self.tell("charge.refunded", after, {"amount_refunded": 0, "refunded": False})
        elif taken is not None and self.world.chance(_DISPUTE):
            self.world.aside.append(self._disputed(taken, self.now))

    def _allocated(self, taken: dict[str, Any], invoice: Invoice, *, asked: bool) -> Moment:
        """Which invoice the money was for."""
        found = records.invoice_payment(taken, invoice)
        kind, key = "invoice_payment.paid", f"evt_{found['id']}"
        return self.now, partial(records.event, key, kind, self.now, found, asked=asked)

    def _disputed(self, taken: _Object, at: int) -> Moments:
        """The customer's bank takes the money back; life goes on until the bank has decided."""
        dice, contract = self.world.dice, self.contract
        at += dice.randint(4 * DAY, 40 * DAY)
        asked = records.dispute(taken, contract, at)
        yield at, partial(self._about, asked, "created", at)
        yield at, partial(self._about, asked, "funds_withdrawn", at)
        at += dice.randint(30 * DAY, 70 * DAY)
        won = self.world.chance(_DISPUTE_WON)
        closed = dict(asked, status="won" if won else "lost")
        if won:
            (lost,) = asked["balance_transactions"]
            back = records.balance_transaction(
                f"{lost['id']}_back", "adjustment", taken["amount"], 0, contract
            )
            closed["balance_transactions"] = [lost, back]
            yield at, partial(self._about, closed, "funds_reinstated", at)
        yield at, partial(self._about, closed, "closed", at)

    def _about(self, dispute: _Object, what: str, at: int) -> _Object:
        kind = f"charge.dispute.{what}"
        return records.event(f"evt_{dispute['id']}_{what}", kind, at, dispute, asked=False)

    # --- dunning ------------------------------------------------------------------------------

    def _dun(self, invoice: Invoice, finalized: int) -> Moments:
        """A payment failed: try again some days apart, then give up."""
        yield self._failed(invoice)
        yield self.change(asked=False, status="past_due")
        for days in _RETRY_DAYS[self.contract.interval]:
            self.now += days * DAY
            if self.world.chance(_RETRY_WORKS):
                yield from self._paid(invoice, finalized, self._method)
                yield self.change(asked=False, status="active")
                return
            yield self._failed(invoice)
        if self.contract.interval != "week" and self.world.chance(_GIVEN_UP_UNPAID):
            yield self.change(asked=False, status="unpaid")
            self.wait(2 * DAY, 9 * DAY)
            if self.world.chance(_UNPAID_PAYS):
                yield from self._paid(invoice, finalized, self._method)
                yield self.change(asked=False, status="active")
                return
        given_up = partial(invoice.render, "uncollectible", finalized=finalized, ended=self.now)
        yield self.tell("invoice.marked_uncollectible", given_up, asked=False)
        yield self.end(asked=False, reason="payment_failed")

    def _failed(self, invoice: Invoice) -> Moment:
        why = self.world.dice.choice(_FAILURES)
        key = f"ch_{invoice.id}_{self._events}"
        taken = records.charge(key, invoice, self.now, self._method, why)
        return self.tell("charge.failed", taken, asked=False)


def _discounted(contract: Contract, charged: int, at: int) -> list[tuple[str, int]]:
    """What each discount takes off the recurring charges of a bill written at an instant."""
    taken = []
    for found in contract.discounts:
        coupon = found["source"]["coupon"]
        if found["end"] is None or at < found["end"]:
            if coupon["percent_off"] is not None:
                amount = round(charged * coupon["percent_off"] / 100)
            else:
                amount = coupon["currency_options"][contract.currency]["amount_off"]
            taken.append((found["id"], min(amount, charged)))
            charged -= min(amount, charged)
    return taken
