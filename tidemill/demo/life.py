"""The life of one synthetic customer, as the events Stripe would send about it.

A customer is a small state machine. `Life.run` walks it from the first day on and yields each event
with its instant, in order of time. All chances are drawn from one pair of dice that all customers
share; since they are advanced in order of time, the same seed gives the same business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from tidemill.demo import records
from tidemill.demo.account import Account, Moment, Moments, World
from tidemill.demo.calendar import DAY, HOUR, months_later
from tidemill.demo.catalogue import PLANS
from tidemill.demo.contract import Contract, Item

__all__ = ["Life"]

_TRIAL: Final = 0.38
_TRIAL_DAYS: Final = 14
_TRIAL_CANCELED: Final = 0.16
_TRIAL_EXPIRES: Final = 0.17
_ABANDONED: Final = 0.04
_FIRST_INCOMPLETE: Final = 0.5
_COUPON: Final = 0.22
_YEARLY: Final = 0.22
_BY_INVOICE: Final = 0.5
_LARGE_BUYS_BUSINESS: Final = 0.45
_SUPPORT_FROM_START: Final = 0.12
_SPRINT: Final = 0.14
_CALLS: Final = 0.3
_WITHDRAWN: Final = 0.18
_TALKED_ROUND: Final = 0.5
_AT_A_DATE: Final = 0.3
_NOT_RENEWED: Final = 0.13
_PAUSE_ENDS_IN_CHURN: Final = 0.2
_COMES_BACK: Final = 0.17
_DELETED_AFTERWARDS: Final = 0.05

_LARGER: Final = {"sprint": "starter", "starter": "team", "team": "business"}
_SMALLER: Final = {"business": "team", "team": "starter"}
_FEEDBACK: Final = (
    *("too_expensive", "missing_features", "switched_service", "unused", "customer_service"),
    *("too_complex", "low_quality", "other", None),
)


class Life(Account):
    """A customer and everything that happens to it."""

    __slots__ = ("_contracts",)

    def __init__(self, world: World, number: int, start: int) -> None:
        super().__init__(world, number, start)
        self._contracts = 0

    def run(self) -> Moments:
        """Everything that ever happens to the customer; the caller stops listening at the end."""
        found = records.customer(self.id, self.profile, self.now)
        yield self.tell("customer.created", found)
        if self.world.chance(_ABANDONED):
            yield from self._abandon()
            return
        self.wait(60, 3 * HOUR)
        found = dict(found, currency=self.profile.currency)
        yield self.tell("customer.updated", found, {"currency": None})
        yield from self._subscribe()
        while self.world.chance(_COMES_BACK):
            self.wait(20 * DAY, 200 * DAY)
            yield from self._subscribe()
        if self.world.chance(_DELETED_AFTERWARDS):
            self.wait(30 * DAY, 120 * DAY)
            yield self.tell("customer.deleted", found)

    # --- beginnings ---------------------------------------------------------------------------

    def _abandon(self) -> Moments:
        """The first payment never succeeds: the subscription expires within a day."""
        self.wait(60, HOUR)
        contract = self._open(trial=False)
        contract.status, contract.collection_method = "incomplete", "charge_automatically"
        yield self.tell("customer.subscription.created", contract.render)
        self.now += 23 * HOUR
        yield self.change(asked=False, status="incomplete_expired", ended_at=self.now)

    def _subscribe(self) -> Moments:
        """A whole subscription, from its first day until it ends."""
        self.wait(60, HOUR)
        contract = self._open(trial=not self._contracts and self.world.chance(_TRIAL))
        if self.world.chance(_COUPON):
            contract.discounts = [self._coupon(self._offer())]
        yield self.tell("customer.subscription.created", contract.render)
        for found in contract.discounts:
            yield self.tell("customer.discount.created", found)
        yield from self.bill("subscription_create")
        if contract.status == "incomplete":
            yield self.change(asked=False, status="active")
        elif contract.status == "trialing":
            yield from self._try()
        while contract.ended_at is None:
            yield from self._step()

    def _open(self, *, trial: bool) -> Contract:
        """The terms of a new subscription."""
        world, profile = self.world, self.profile
        self._contracts += 1
        key = f"{self.key}_{self._contracts}"
        items = [
            Item(f"si_{key}_{place}", PLANS[name], self._seats(name), self.now)
            for place, name in enumerate(self._choice(trial=trial), 1)
        ]
        contract = self.contract = Contract(
            f"sub_{key}", self.id, profile.currency, world.catalogue, self.now, items
        )
        contract.latest_invoice = self.next_bill
        if trial:
            contract.status = "trialing"
            contract.trial_start, contract.trial_end = self.now, self.now + _TRIAL_DAYS * DAY
            contract.period_start = self.now
            contract.anchor = contract.period_end = contract.trial_end
            return contract
        contract.set(**contract.period_from(self.now))
        if contract.main.plan.key == "business_year" and world.chance(_BY_INVOICE):
            contract.collection_method = "send_invoice"
        elif world.chance(_FIRST_INCOMPLETE):
            contract.status = "incomplete"
        return contract

    def _choice(self, *, trial: bool) -> Iterator[str]:
        """Plan keys: what suits the customer's size, and perhaps support."""
        world, size = self.world, self.profile.size
        if size == "1-10":
            product = "sprint" if not trial and world.chance(_SPRINT) else "starter"
        elif size == "201-1000" or (size == "51-200" and world.chance(_LARGE_BUYS_BUSINESS)):
            product = "business"
        else:
            product = "team"
        if product == "sprint":
            yield "sprint_week"
            return
        interval = "year" if world.chance(_YEARLY) else "month"
        yield f"{product}_{interval}"
        if product != "starter" and world.chance(_SUPPORT_FROM_START):
            yield f"support_{interval}"
        if product == "business" and interval == "month" and world.chance(_CALLS):
            yield "calls_month"

    def _seats(self, name: str) -> int:
        return self.profile.seats if PLANS[name].per_seat else 1

    def _offer(self) -> str:
        """The coupon a new customer may bring."""
        if self.profile.channel == "partner":
            return "PARTNER15"
        return self.world.dice.choice(("LAUNCH20", "LAUNCH20", "WELCOME50", "TENOFF"))

    def _coupon(self, name: str) -> dict[str, Any]:
        """A coupon put to work now."""
        coupon = self.world.catalogue.coupons[name]
        months = coupon["duration_in_months"]
        end = None if months is None else months_later(self.now, months)
        key = f"di_{self.key}_{self._events}"
        return records.discount(key, coupon, self.contract, self.now, end)

    def _try(self) -> Moments:
        """The trial: it is cancelled, runs out without a payment method, or becomes paid for."""
        contract = self.contract
        ends = contract.period_end
        if self.world.chance(_TRIAL_CANCELED):
            self.wait(DAY, 10 * DAY)
            yield self._cancel_later()
        self.now = ends - 3 * DAY
        yield self.tell("customer.subscription.trial_will_end", contract.render, asked=False)
        self.now = ends
        if contract.leaving or self.world.chance(_TRIAL_EXPIRES):
            yield self.end(asked=False, reason=contract.reason)
            return
        period = contract.period_from(ends)
        yield self.change(asked=False, status="active", latest_invoice=self.next_bill, **period)
        yield from self.bill("subscription_cycle")

    # --- one month after the other ------------------------------------------------------------

    def _step(self) -> Moments:
        """What happens in one month (or week) of a running subscription, and at its end."""
        contract = self.contract
        anchor, ends = contract.anchor, contract.step_end()
        if contract.pause_collection is not None:
            yield from self._resume_collection(ends)
        elif not contract.leaving and self.now + DAY < ends:
            happens = self._happens()
            if happens is not None:
                self.now = self._before(ends)
                yield from happens()
        # A subscription that ended, or began a new period, has no use for the end of this month.
        if contract.ended_at is not None or contract.anchor != anchor:
            return
        contract.steps += 1
        self.now = max(self.now, ends)
        if ends >= contract.period_end:
            yield from self._renew()

    def _before(self, end: int) -> int:
        """A random instant between now and the last hour before the end."""
        return self.world.dice.randint(self.now, max(self.now, end - HOUR))

    def _happens(self) -> Callable[[], Moments] | None:
        """What the dice say about this month; mostly nothing."""
        contract = self.contract
        last_month = contract.step_end() >= contract.period_end
        if contract.interval == "year" and last_month and self.world.chance(_NOT_RENEWED):
            return self._leave_later
        roll = self.world.dice.random() * _CALM[contract.interval]
        for share, name in _MONTHLY:
            if roll < share:
                happens: Callable[[], Moments] = getattr(self, name)
                return happens
            roll -= share
        return None

    def _renew(self) -> Moments:
        """The period is over: leave as announced, or begin the next one and pay for it."""
        contract = self.contract
        if contract.leaving:
            yield self.end(asked=False, reason=contract.reason)
            return
        running = [found for found in contract.discounts if self._runs_on(found)]
        period = contract.next_period()
        yield self.change(asked=False, discounts=running, latest_invoice=self.next_bill, **period)
        yield from self.bill("subscription_cycle")

    def _runs_on(self, found: dict[str, Any]) -> bool:
        """Whether a discount still counts in a period that begins now."""
        if found["source"]["coupon"]["duration"] == "once":
            return False
        return found["end"] is None or self.now < found["end"]

    # --- what may happen ----------------------------------------------------------------------

    def _leave_now(self) -> Moments:
        feedback = self.world.dice.choice(_FEEDBACK)
        yield self.end(asked=True, reason="cancellation_requested", feedback=feedback)

    def _leave_later(self) -> Moments:
        yield self._cancel_later()
        if not self.world.chance(_WITHDRAWN):
            return
        self.now = self._before(self.contract.step_end())
        stays: dict[str, Any] = {
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "reason": None,
            "feedback": None,
        }
        if self.world.chance(_TALKED_ROUND):
            found = self._coupon("STAY30")
            yield self.tell("customer.discount.created", found)
            stays["discounts"] = [*self.contract.discounts, found]
        yield self.change(**stays)

    def _cancel_later(self) -> Moment:
        """Ask to leave at the end of the period, by either of the two ways Stripe has."""
        return self.change(
            cancel_at=self.contract.period_end,
            cancel_at_period_end=not self.world.chance(_AT_A_DATE),
            canceled_at=self.now,
            reason="cancellation_requested",
            feedback=self.world.dice.choice(_FEEDBACK),
        )

    def _more_seats(self) -> Moments:
        main = self.contract.main
        if main.plan.per_seat:
            more = self.world.dice.randint(1, max(1, main.quantity // 4))
            yield from self._move(main.plan.key, main.quantity + more)

    def _fewer_seats(self) -> Moments:
        main = self.contract.main
        if main.plan.per_seat and main.quantity > 1:
            fewer = self.world.dice.randint(1, max(1, main.quantity // 4))
            yield from self._move(main.plan.key, main.quantity - fewer)

    def _upgrade(self) -> Moments:
        yield from self._change_product(_LARGER)

    def _downgrade(self) -> Moments:
        yield from self._change_product(_SMALLER)

    def _change_product(self, to: dict[str, str]) -> Moments:
        plan = self.contract.main.plan
        if plan.product in to:
            interval = "year" if plan.interval == "year" else "month"
            name = f"{to[plan.product]}_{interval}"
            yield from self._move(name, self._seats(name))

    def _go_yearly(self) -> Moments:
        main = self.contract.main
        if main.plan.interval == "month":
            yield from self._move(f"{main.plan.product}_year", main.quantity)

    def _add_support(self) -> Moments:
        contract = self.contract
        may = contract.main.plan.product in {"team", "business"}
        if may and contract.addition("support") is None:
            plan = PLANS[f"support_{contract.interval}"]
            added = Item(f"si_{self.key}_{self._events}", plan, 1, self.now)
            self.prorate(None, added)
            yield self.change(items=[*contract.items, added])

    def _drop_support(self) -> Moments:
        contract = self.contract
        support = contract.addition("support")
        if support is not None:
            self.prorate(support, None)
            yield self.change(items=[item for item in contract.items if item is not support])

    def _move(self, name: str, quantity: int) -> Moments:
        """Another plan or another number of seats; another interval begins a new period.

        What is metered by the month does not go along into another interval.
        """
        contract = self.contract
        main = contract.main
        moved = Item(main.id, PLANS[name], quantity, main.created)
        if moved.plan.interval == contract.interval:
            self.prorate(main, moved)
            yield self.change(items=[moved, *contract.items[1:]])
            return
        for item in contract.items:
            self.prorate(item, None)
        added = [
            Item(item.id, PLANS[f"{item.plan.product}_{moved.plan.interval}"], 1, item.created)
            for item in contract.items[1:]
            if not item.plan.metered
        ]
        # The length of the new period depends on the new plan, so that is put in place first.
        before = contract.items
        contract.items = [moved, *added]
        period = contract.period_from(self.now)
        contract.items = before
        yield self.change(items=[moved, *added], latest_invoice=self.next_bill, **period)
        yield from self.bill("subscription_update")

    def _stop_collection(self) -> Moments:
        """Collection is paused for some months; the subscription stays active."""
        days = self.world.dice.choice((30, 60, 90))
        behavior = self.world.dice.choice(("void", "void", "keep_as_draft", "mark_uncollectible"))
        paused = {"behavior": behavior, "resumes_at": self.now + days * DAY}
        yield self.change(pause_collection=paused)

    def _resume_collection(self, ends: int) -> Moments:
        paused = self.contract.pause_collection
        if paused is not None and paused["resumes_at"] < ends:
            self.now = max(self.now, paused["resumes_at"])
            yield self.change(asked=False, pause_collection=None)

    def _pause(self) -> Moments:
        """The subscription itself is paused, and taken up again or given up after some weeks."""
        why = {"type": "pause_requested"}
        paused = {"type": "subscription", "transitioned_at": self.now, "subscription": why}
        yield self.change(status="paused", status_details={"paused": paused})
        yield self.tell("customer.subscription.paused", self.contract.render)
        self.wait(20 * DAY, 100 * DAY)
        if self.world.chance(_PAUSE_ENDS_IN_CHURN):
            yield self.end(asked=True, reason="cancellation_requested")
            return
        changes = {**self.contract.period_from(self.now), "latest_invoice": self.next_bill}
        yield self.change(status="active", status_details=None, **changes)
        yield self.tell("customer.subscription.resumed", self.contract.render)
        yield from self.bill("subscription_cycle")

    def _new_address(self) -> Moments:
        before, after = self.profile.email, f"accounts+{self._events}@{self.key}.example"
        found = records.customer(self.id, self.profile, self.contract.created)
        found = dict(found, currency=self.profile.currency, email=after)
        yield self.tell("customer.updated", found, {"email": before})


# What may happen in one month, with its chance.
_MONTHLY: Final = (
    (0.085, "_more_seats"),
    (0.035, "_fewer_seats"),
    (0.020, "_upgrade"),
    (0.009, "_downgrade"),
    (0.010, "_go_yearly"),
    (0.014, "_add_support"),
    (0.012, "_drop_support"),
    (0.006, "_stop_collection"),
    (0.006, "_pause"),
    (0.006, "_new_address"),
    (0.009, "_leave_now"),
    (0.016, "_leave_later"),
)
# Weeks are shorter than months, and a year that is paid for is left less often: the larger the
# number, the less happens.
_CALM: Final = {"week": 3.0, "month": 1.0, "year": 1.6}
