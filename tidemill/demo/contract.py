"""One synthetic subscription: what is true of it now, and how Stripe would show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tidemill.demo.calendar import DAY, months_later
from tidemill.demo.catalogue import Catalogue, Plan

__all__ = ["Contract", "Item", "difference"]

_WEEK: Final = 7 * DAY
_MONTHS_A_YEAR: Final = 12


@dataclass(slots=True)
class Item:
    """A line of a subscription."""

    id: str
    plan: Plan
    quantity: int
    created: int


@dataclass(slots=True)
class Contract:
    """A subscription's present state. Instants in Unix seconds; names are Stripe's where shared."""

    id: str
    customer: str
    currency: str
    catalogue: Catalogue
    created: int
    items: list[Item]
    status: str = "active"
    collection_method: str = "charge_automatically"
    # Billing periods are counted in steps from the anchor; it moves when a plan's interval changes.
    anchor: int = 0
    steps: int = 0
    period_start: int = 0
    period_end: int = 0
    discounts: list[dict[str, Any]] = field(default_factory=list)
    trial_start: int | None = None
    trial_end: int | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    reason: str | None = None
    feedback: str | None = None
    pause_collection: dict[str, Any] | None = None
    status_details: dict[str, Any] | None = None
    latest_invoice: str | None = None

    @property
    def main(self) -> Item:
        """The plan itself; what follows it are additions."""
        return self.items[0]

    @property
    def interval(self) -> str:
        """week, month or year."""
        return self.main.plan.interval

    @property
    def leaving(self) -> bool:
        """Whether a cancellation is scheduled."""
        return self.cancel_at is not None

    def after(self, anchor: int, steps: int) -> int:
        """The instant some steps after an anchor: weeks for weekly plans, else months."""
        if self.interval == "week":
            return anchor + steps * _WEEK
        return months_later(anchor, steps)

    def step_end(self) -> int:
        """When the present month (or week) of the subscription ends."""
        return self.after(self.anchor, self.steps + 1)

    def period_from(self, start: int) -> dict[str, Any]:
        """The attributes of a billing period that begins with a new anchor."""
        end = self.after(start, self._steps_a_period())
        return {"anchor": start, "steps": 0, "period_start": start, "period_end": end}

    def next_period(self) -> dict[str, Any]:
        """The attributes of the billing period that follows the present one."""
        end = self.after(self.anchor, self.steps + self._steps_a_period())
        return {"period_start": self.period_end, "period_end": end}

    def period_before(self) -> tuple[int, int] | None:
        """Start and end of the month (or week) before the present one, counted from the anchor."""
        return (self.after(self.anchor, self.steps - 1), self.period_start) if self.steps else None

    def set(self, **changes: Any) -> None:
        """Change attributes without telling anyone."""
        for name, value in changes.items():
            setattr(self, name, value)

    def amount(self, item: Item, quantity: int | None = None) -> int:
        """What an item, or another quantity of it, costs a billing period before discounts."""
        price = self.catalogue.prices[item.plan.key, self.currency]
        units = item.quantity if quantity is None else quantity
        return round(float(price["unit_amount_decimal"]) * units)

    def addition(self, product: str) -> Item | None:
        """What is subscribed to beside the plan, if it is of this product."""
        found = (item for item in self.items[1:] if item.plan.product == product)
        return next(found, None)

    def render(self) -> dict[str, Any]:
        """The subscription as the newest Stripe API version shows it."""
        return {
            "id": self.id,
            "object": "subscription",
            "automatic_tax": {"enabled": False, "liability": None, "disabled_reason": None},
            "billing_cycle_anchor": self.anchor,
            "billing_mode": {"type": "flexible", "updated_at": self.created},
            "billing_schedules": [],
            "cancel_at": self.cancel_at,
            "cancel_at_period_end": self.cancel_at_period_end,
            "canceled_at": self.canceled_at,
            "cancellation_details": {
                "comment": None,
                "feedback": self.feedback,
                "feedback_option": None,
                "reason": self.reason,
            },
            "collection_method": self.collection_method,
            "created": self.created,
            "currency": self.currency,
            "customer": self.customer,
            "customer_account": None,
            "days_until_due": 30 if self.collection_method == "send_invoice" else None,
            "default_tax_rates": [],
            "description": None,
            "discounts": self.discounts,
            "ended_at": self.ended_at,
            "items": {
                "object": "list",
                "data": [self._item(item) for item in self.items],
                "has_more": False,
                "url": f"/v1/subscription_items?subscription={self.id}",
            },
            "latest_invoice": self.latest_invoice,
            "livemode": True,
            "metadata": {},
            "pause_collection": self.pause_collection,
            "pending_update": None,
            "schedule": None,
            "start_date": self.created,
            "status": self.status,
            "status_details": self.status_details,
            "test_clock": None,
            "trial_end": self.trial_end,
            "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
            "trial_start": self.trial_start,
        }

    def _steps_a_period(self) -> int:
        return _MONTHS_A_YEAR if self.interval == "year" else 1

    def _item(self, item: Item) -> dict[str, Any]:
        quantity = {} if item.plan.metered else {"quantity": item.quantity}
        return {
            **quantity,
            "id": item.id,
            "object": "subscription_item",
            "billing_thresholds": None,
            "created": item.created,
            "current_period_end": self.period_end,
            "current_period_start": self.period_start,
            "current_trial": None,
            "discounts": [],
            "metadata": {},
            "price": self.catalogue.prices[item.plan.key, self.currency],
            "subscription": self.id,
            "tax_rates": [],
        }


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The `previous_attributes` Stripe would send: prior values; of nested objects, changed keys.

    >>> difference({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4, "d": 3}})
    {'b': {'c': 2}}
    """
    changed: dict[str, Any] = {}
    for key, value in after.items():
        prior = before.get(key)
        if prior != value:
            if isinstance(prior, dict) and isinstance(value, dict):
                changed[key] = difference(prior, value)
            else:
                changed[key] = prior
    return changed
