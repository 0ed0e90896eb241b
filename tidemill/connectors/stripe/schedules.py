"""What a schedule plans for a subscription, or for one that is still to begin.

Phases that have begun are told by the subscription; here are those to come. A subscription that a
schedule is to begin later has no id yet: until it begins it goes by the schedule's, and is over on
the day on which the real one takes its place.

A phase names prices and coupons only; they must be known from elsewhere. One that starts with a
trial counts from the end of that. Automatic tax inside a price is not known before it is invoiced,
and not taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tidemill.connectors.fields import Fields
from tidemill.connectors.stripe.changes import Change
from tidemill.connectors.stripe.known import Known
from tidemill.connectors.stripe.subscriptions import read_subscription
from tidemill.payloads import Phase, Schedule, Subscription
from tidemill.vocabulary import SubscriptionStatus

__all__ = ["Planned", "read_schedule"]

_AHEAD: Final = frozenset({"active", "not_started"})
_OVER: Final = frozenset({"canceled", "completed", "released"})
_UNKNOWN_PRICE: Final = (
    "Import the price.* events in the same file, or the schedule with expand[]=phases.items.price."
)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a schedule comes to.

    schedule: what is planned for the subscription that there is, or for the one to begin.
    begins:   the subscription that is to begin, or was; with the instant from which it is so.
    """

    schedule: Schedule
    begins: tuple[datetime, Subscription] | None = None


def read_schedule(found: Fields, change: Change, known: Known) -> Planned | None:
    """What is planned from an event on; None after noting everything that is wrong."""
    before = len(found.problems)
    key, status = found.needed("id"), found.needed("status")
    if status and status not in _AHEAD | _OVER:
        found.refuse("status", f"{status[:40]!r} is a status this version does not know")
    subscription = found.reference("subscription") or found.reference("released_subscription")
    target = (subscription or key) if status != "not_started" else key
    phases = [
        (at, each)
        for each in (found.entries("phases") if status in _AHEAD else ())
        if (at := _start(each)) is not None and at > change.at
    ]
    states = [(at, _state(each, at, target, change, known)) for at, each in phases]
    ends_at = _end(found) if status in _AHEAD else None
    first = min((at for each in found.entries("phases") if (at := _start(each))), default=None)
    if len(found.problems) > before:
        return None
    told = [(at, state) for at, state in states if state is not None]
    begins = _begins(found, key, status, told, first, change)
    if status == "not_started":
        told = told[1:]
    plan = Schedule(
        id=key,
        subscription=target,
        phases=[
            Phase(starts_at=at, items=state.items, discounts=state.discounts) for at, state in told
        ],
        ends_at=ends_at if ends_at is not None and ends_at > change.at else None,
    )
    return Planned(plan, begins)


def _begins(
    found: Fields,
    key: str,
    status: str,
    told: Sequence[tuple[datetime, Subscription]],
    first: datetime | None,
    change: Change,
) -> tuple[datetime, Subscription] | None:
    """The subscription that a schedule for later stands for, as long as there is no real one."""
    if status == "not_started":
        return (change.at, told[0][1]) if told else None
    created = found.instant("created")
    if first is None or created is None or first <= created:
        return None
    over = min(first, change.at)
    gone = Subscription(
        id=key,
        status=SubscriptionStatus.CANCELED,
        currency=_currency(found),
        items=[],
        started_at=first,
        ended_at=over,
    )
    return over, gone


def _currency(found: Fields) -> str:
    """Of its first phase; what is over without ever having begun is worth nothing in any."""
    said = (each.text("currency") for each in found.entries("phases"))
    return next((code for code in said if code and len(code) == 3), "usd")  # noqa: PLR2004 - ISO


def _start(phase: Fields) -> datetime | None:
    """When a phase begins to be paid for."""
    start, trial_end = phase.instant("start_date"), phase.instant("trial_end")
    return max(start, trial_end) if start and trial_end else start


def _end(found: Fields) -> datetime | None:
    """When the subscription ends with its last phase."""
    ends = [each.instant("end_date") for each in found.entries("phases")]
    return ends[-1] if ends and found.text("end_behavior") == "cancel" else None


def _state(
    phase: Fields, at: datetime, target: str, change: Change, known: Known
) -> Subscription | None:
    """The subscription as Stripe would show it once the phase has begun, read as such."""
    start, before = int(at.timestamp()), len(phase.problems)
    items = _items(phase, start, known)
    if len(phase.problems) > before:
        return None
    shown: dict[str, Any] = {
        "id": target,
        "status": "active",
        "start_date": start,
        "items": {"object": "list", "data": items},
        "discounts": _discounts(phase, start),
        "default_tax_rates": phase.values("default_tax_rates"),
    }
    if phase.has("currency"):
        shown["currency"] = phase.value["currency"]
    return read_subscription(Fields(shown, phase.path, phase.problems), change, known)


def _items(phase: Fields, start: int, known: Known) -> list[dict[str, Any]]:
    items = []
    for number, each in enumerate(phase.entries("items")):
        key = each.reference("price") or each.reference("plan") or ""
        price = each.value.get("price") or each.value.get("plan")
        price = price if isinstance(price, dict) else known.prices.get(key)
        if price is None:
            each.refuse("price", f"{key[:60]!r} is not known", _UNKNOWN_PRICE)
            continue
        items.append(
            {
                "id": f"{key}/{number}" if number else key,
                "price": price,
                "quantity": each.value.get("quantity"),
                "discounts": _discounts(each, start),
                "tax_rates": each.values("tax_rates"),
            }
        )
    return items


def _discounts(holder: Fields, start: int) -> list[object]:
    """Discounts that run already by their ids; a coupon to come as the discount it makes."""
    found: list[object] = []
    for each in holder.entries("discounts"):
        coupon = each.value.get("coupon")
        key = each.reference("coupon") or ""
        made = {"id": key, "coupon": coupon, "start": start, "end": None}
        found.append(each.value.get("discount") or made)
    return found
