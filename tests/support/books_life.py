"""The random life of one subscription, told as canonical events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.support.books_billing import Billing, Log, written
from tests.support.calendars import add_interval, last_renewal

__all__ = ["FIRST_INSTANT", "Life"]

FIRST_INSTANT: Final = datetime(2025, 1, 1, tzinfo=UTC)

_AMOUNTS: Final = ("10", "100", "0", "1", "5", "12", "30", "1250", "3999", "7.5", "0.3333")
_PERIODS: Final = (
    ("month", 1), ("month", 1), ("month", 1), ("year", 1), ("year", 1), ("month", 3), ("week", 1),
    ("day", 1), ("week", 2), ("month", 2), ("year", 2), ("day", 30),
)  # fmt: skip
_GAPS: Final = (
    timedelta(days=7), timedelta(days=30), timedelta(days=1), timedelta(hours=3), timedelta(0),
    timedelta(seconds=90), timedelta(minutes=60), timedelta(minutes=61), timedelta(days=14),
    timedelta(days=45, hours=9), timedelta(days=100), timedelta(hours=14, minutes=30),
)  # fmt: skip


class Life:
    """One subscription, acted upon at random until its story ends."""

    def __init__(self, log: Log, owner: tuple[str, str], name: str, currency: str) -> None:
        self.log = log
        self.choices = log.choices
        self.owner = owner
        self.name = name
        self.currency = currency
        self.anchor = FIRST_INSTANT
        self.state: dict[str, Any] = {}
        self.at = FIRST_INSTANT
        self.instants: list[datetime] = []
        self.billing = Billing(log, owner, name, currency)

    def live(self, start: datetime, actions: int) -> None:
        """Subscribes at an instant, then does so many more things, none before the last."""
        self.at = start
        self._subscribe()
        for _ in range(actions):
            self.at += self.choices.pick(_GAPS)
            status = "paused" if self.state["paused_at"] else self.state["status"]
            self.choices.pick(_ACTIONS[status])(self)
        if self.state["items"][0]["usage_type"] == "metered" or self.choices.chance(10):
            self.billing.bill_usage(start)

    # --- beginnings

    def _subscribe(self) -> None:
        status = self.choices.pick(("active", "active", "active", "trialing", "incomplete"))
        starts_later = status == "active" and self.choices.chance(10)
        starts = self.at + timedelta(days=self.choices.integer(1, 40)) if starts_later else self.at
        self.anchor = starts
        self.state = {
            "id": self.name,
            "status": status,
            "currency": self.currency.lower() if self.choices.chance(20) else self.currency,
            "items": [self._item(n) for n in range(self.choices.pick((1, 1, 1, 2, 3)))],
            "discounts": [],
            "started_at": None if self.choices.chance(5) else written(starts),
            "trial_start": None,
            "trial_end": None,
            "past_due_since": None,
            "paused_at": None,
            "current_period_start": None,
            "current_period_end": None,
            "cancel_at_period_end": False,
            "cancel_at": None,
            "canceled_at": None,
            "ended_at": None,
            "voluntary": None,
            "refunded_at_cancellation": False,
        }
        if status == "trialing":
            ends = self.at + timedelta(days=self.choices.integer(1, 30))
            self.state |= {"trial_start": written(self.at), "trial_end": written(ends)}
        if self.choices.chance(25):
            self._add_discount()
        self._tell("created")
        if status == "active":
            self.bill()

    def _item(self, number: int) -> dict[str, Any]:
        interval, count = self.choices.pick(_PERIODS)
        amount = self.choices.pick(_AMOUNTS)
        taxed = amount in {"10", "100", "1250"} and self.choices.chance(15)
        return {
            "id": f"si_{self.name}_{number}",
            "plan": self.choices.pick(("basic", "pro", "team")),
            "product": self.choices.pick((None, "app")),
            "quantity": self.choices.pick((1, 1, 1, 2, 3, 0)),
            "unit_amount": amount,
            "interval": interval,
            "interval_count": count,
            "usage_type": "metered" if self.choices.chance(12) else "licensed",
            "tax_inclusive_amount": self.choices.pick(("1", "2", "1.9")) if taxed else "0",
        }

    def activate(self) -> None:
        """A trial converts, or the first payment of an incomplete subscription succeeds."""
        self.anchor = self.at
        self._change("activated", status="active")
        self.bill()

    def extend_trial(self) -> None:
        """The trial gets longer."""
        ends = self.at + timedelta(days=self.choices.integer(1, 20))
        self._change("trial_extended", trial_end=written(ends))

    def expire(self) -> None:
        """It ends without ever having been paid."""
        at = written(self.at)
        self._change("trial_expired", status="canceled", canceled_at=at, ended_at=at)

    def bill(self) -> None:
        """An invoice of the running period, and what becomes of it."""
        start, end = (self.state[f"current_period_{edge}"] for edge in ("start", "end"))
        self.billing.bill(datetime.fromisoformat(start), datetime.fromisoformat(end))

    # --- changes of what is bought

    def touch(self) -> None:
        """The vendor repeats itself: nothing changed."""
        self._change("updated")

    def change_price(self) -> None:
        """Another amount for one item."""
        self._change_item(unit_amount=self.choices.pick(_AMOUNTS), tax_inclusive_amount="0")

    def change_quantity(self) -> None:
        """More or fewer seats."""
        self._change_item(quantity=self.choices.pick((1, 2, 3, 0, "2.5")))

    def change_plan(self) -> None:
        """Another plan; it may cost the same."""
        self._change_item(plan=self.choices.pick(("basic", "pro", "team")))

    def change_interval(self) -> None:
        """Another billing interval, from now on."""
        interval, count = self.choices.pick(_PERIODS)
        self.anchor = self.at
        self._change_item(interval=interval, interval_count=count)

    def change_items(self) -> None:
        """One item more, or one less."""
        items = self.state["items"]
        if len(items) > 1 and self.choices.chance(50):
            items = items[1:] if self.choices.chance(30) else items[:-1]
        else:
            items = [*items, self._item(len(self.log.events))]
        self._change("changed", items=items)

    def discount(self) -> None:
        """A coupon is redeemed."""
        self._add_discount()
        self._change("updated")

    def undiscount(self) -> None:
        """The oldest coupon is taken away."""
        self._change("updated", discounts=self.state["discounts"][1:])

    # --- trouble and pauses

    def pause(self) -> None:
        """By status, or by not collecting."""
        status = self.choices.pick(("paused", self.state["status"]))
        self._change("paused", status=status, paused_at=written(self.at))

    def pause_by_status(self) -> None:
        """The status says paused and no date does."""
        self._change("paused", status="paused")

    def resume(self) -> None:
        """A pause ends."""
        self._change("resumed", status="active", paused_at=None, past_due_since=None)

    def fail(self) -> None:
        """A payment failed, now or some days ago, or nobody says when."""
        since = self.at - timedelta(days=self.choices.pick((0, 0, 0, 3)))
        known = None if self.choices.chance(15) else written(since)
        self._change("past_due", status="past_due", past_due_since=known)

    def recover(self) -> None:
        """The payment succeeded after all."""
        self._change("recovered", status="active", past_due_since=None)

    def give_up(self) -> None:
        """Dunning ends without the money."""
        self._change("updated", status="unpaid")

    # --- ends

    def schedule(self) -> None:
        """The customer asks to leave later: at the period's end, on a date, or both."""
        self.state["canceled_at"] = written(self.at)
        self.state["voluntary"] = self.choices.pick((None, True, False))
        how = self.choices.pick(("period_end", "period_end", "date", "both"))
        later = self.at + timedelta(days=self.choices.integer(0, 60))
        self._change(
            "updated",
            cancel_at_period_end=how != "date",
            cancel_at=None if how == "period_end" else written(later),
        )

    def unschedule(self) -> None:
        """… and changes their mind."""
        self._change("uncanceled", cancel_at_period_end=False, cancel_at=None, canceled_at=None)

    def cancel(self) -> None:
        """It ends now; what was paid for may last longer."""
        at = written(self.at)
        self.state |= {"status": "canceled", "canceled_at": at, "ended_at": at, "paused_at": None}
        self.state |= {"cancel_at_period_end": False, "cancel_at": None}
        self.state["voluntary"] = self.choices.pick((None, True, False))
        self.state["refunded_at_cancellation"] = self.choices.chance(30)
        self._roll()
        if self.choices.chance(40):
            paid_up = self.at + timedelta(days=self.choices.pick((0, 1, 12, 50)))
            self._end_period(paid_up)
        self._tell("canceled")

    def correct_end(self) -> None:
        """A canceled subscription is told again, with another paid-up date or item."""
        if self.choices.chance(50):
            self._end_period(self.at + timedelta(days=self.choices.pick((0, 3, 30))))
            self._tell("updated")
        else:
            self.change_price()

    def come_back(self) -> None:
        """The same subscription id starts anew."""
        self._subscribe()

    # --- writing down

    def _change_item(self, **changes: Any) -> None:
        items = list(self.state["items"])
        place = self.choices.integer(0, len(items) - 1)
        items[place] = {**items[place], **changes}
        self._change("changed", items=items)

    def _change(self, label: str, **changes: Any) -> None:
        self.state |= changes
        if self.state["status"] != "canceled":
            self._roll()
        self._tell(label)

    def _roll(self) -> None:
        """The billing period that holds this instant."""
        item = self.state["items"][0]
        start = last_renewal(self.anchor, item["interval"], item["interval_count"], self.at)
        end = add_interval(start, item["interval"], item["interval_count"])
        self.state["current_period_start"] = written(start)
        self.state["current_period_end"] = written(end)

    def _end_period(self, at: datetime) -> None:
        start = datetime.fromisoformat(self.state["current_period_start"])
        self.state["current_period_end"] = written(max(start, at))

    def _tell(self, label: str) -> None:
        if self.state["current_period_start"] is None:
            self._roll()
        self.instants.append(self.at)
        self.log.add(self.owner, f"subscription.{label}", self.at, dict(self.state))

    def _add_discount(self) -> None:
        duration = self.choices.pick(("repeating", "forever", "once"))
        percent = self.choices.pick(("50", "10", "100", "33.3", "0"))
        starts = self.at + self.choices.pick((timedelta(0), timedelta(0), timedelta(days=9)))
        ends = None
        if duration == "repeating" or self.choices.chance(10):
            ends = written(add_interval(starts, "month", self.choices.integer(1, 3)))
        by_percent = self.choices.chance(60)
        item = self.choices.pick(self.state["items"])["id"] if self.choices.chance(30) else None
        self.state["discounts"] = [
            *self.state["discounts"],
            {
                "id": self.log.number("di"),
                "item": item,
                "percent_off": percent if by_percent else None,
                "amount_off": None if by_percent else self.choices.pick(("5", "1", "20", "2000")),
                "duration": duration,
                "starts_at": None if self.choices.chance(10) else written(starts),
                "ends_at": ends,
            },
        ]


_CHANGES: Final = (
    Life.change_price,
    Life.change_price,
    Life.change_quantity,
    Life.change_plan,
    Life.change_interval,
    Life.change_items,
    Life.discount,
    Life.undiscount,
    Life.touch,
)
_ACTIONS: Final[dict[str, tuple[Callable[[Life], None], ...]]] = {
    "incomplete": (Life.activate, Life.activate, Life.expire, Life.change_price),
    "trialing": (
        Life.activate,
        Life.activate,
        Life.extend_trial,
        Life.expire,
        Life.pause,
        Life.schedule,
        Life.discount,
        Life.fail,
    ),
    "active": (
        *_CHANGES,
        Life.cancel,
        Life.cancel,
        Life.schedule,
        Life.schedule,
        Life.unschedule,
        Life.pause,
        Life.pause_by_status,
        Life.fail,
        Life.fail,
        Life.bill,
    ),
    "past_due": (Life.recover, Life.recover, Life.give_up, Life.cancel, Life.pause, *_CHANGES[:3]),
    "paused": (Life.resume, Life.resume, Life.cancel, Life.change_price, Life.schedule, Life.fail),
    "unpaid": (Life.recover, Life.cancel, Life.touch),
    "canceled": (Life.come_back, Life.come_back, Life.correct_end, Life.touch),
}
