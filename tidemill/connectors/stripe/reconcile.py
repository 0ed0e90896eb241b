"""Whether the books and Stripe agree on what MRR depends on, now and in the time to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

__all__ = ["Difference", "compare", "compare_plans", "planned", "summary"]

_Payload = Mapping[str, Any]

_PLAIN: Final = ("status", "currency", "cancel_at_period_end", "cancel_at", "ended_at", "trial_end")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something the books have otherwise than the billing system.

    field: what it is about: ``status``, ``items``, ``discounts``, …; ``plan`` when it is what a
           schedule plans; ``missing`` when the books do not know the subscription; ``unresolved``
           when it cannot be translated.
    ours, theirs: the two values, as people read them.
    """

    subscription: str
    customer: str
    field: str
    ours: str
    theirs: str

    def document(self) -> dict[str, str]:
        """The difference as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def compare(ours: _Payload, theirs: _Payload, *, customer: str, now: datetime) -> list[Difference]:
    """Every MRR-relevant difference between two states (payloads of subscription events).

    now: discounts that have ended by then count on neither side, whoever still lists them.
    """
    one, two = summary(ours, now), summary(theirs, now)
    return [
        Difference(str(theirs.get("id")), customer, name, one[name], two[name])
        for name in one
        if one[name] != two[name]
    ]


def compare_plans(
    ours: _Payload | None, theirs: _Payload, *, customer: str, now: datetime
) -> list[Difference]:
    """The difference between two plans (payloads of ``schedule.changed``), if there is one.

    ours: None when the books know no such plan, which is as if it planned nothing.
    now:  only what lies ahead of it counts.
    """
    one, two = planned(ours or {}, now), planned(theirs, now)
    if one == two:
        return []
    return [Difference(str(theirs.get("subscription")), customer, "plan", one, two)]


def planned(payload: _Payload, now: datetime) -> str:
    """What a schedule plans after an instant, as a text that is equal exactly when the facts are.

    >>> phase = {
    ...     "starts_at": "2026-03-01T00:00:00+00:00",
    ...     "items": [{"plan": "p", "quantity": "2", "unit_amount": "15", "interval": "month"}],
    ... }
    >>> planned({"subscription": "sub_1", "phases": [phase]}, datetime(2026, 1, 1, tzinfo=UTC))
    'sub_1: from 2026-03-01 00:00:00 2 × p at 15 a month'
    """
    steps = [
        f"from {_plain('starts_at', phase['starts_at'])} {_phase(phase)}"
        for phase in payload.get("phases") or ()
        if _instant(phase["starts_at"]) > now
    ]
    ends_at = payload.get("ends_at")
    if ends_at and _instant(ends_at) > now:
        steps.append(f"the end on {_plain('ends_at', ends_at)}")
    return f"{payload.get('subscription')}: {', then '.join(steps)}" if steps else "nothing"


def _phase(phase: _Payload) -> str:
    starts_at = _instant(phase["starts_at"])
    off = ", ".join(sorted(_discounts(phase.get("discounts") or (), starts_at)))
    items = ", ".join(sorted(map(_item, phase.get("items") or ()))) or "none"
    return f"{items} less {off}" if off else items


def summary(payload: _Payload, now: datetime) -> dict[str, str]:
    """What MRR depends on, each as a text that is equal exactly when the facts are.

    >>> made = {
    ...     "status": "active",
    ...     "currency": "usd",
    ...     "items": [{"plan": "p", "quantity": "2", "unit_amount": "15.00", "interval": "month"}],
    ... }
    >>> summary(made, datetime(2026, 1, 1, tzinfo=UTC))["items"]
    '2 × p at 15 a month'
    """
    plain = {name: _plain(name, payload.get(name)) for name in _PLAIN}
    # An ending that has come is told by ended_at; how it was announced no longer matters.
    if payload.get("status") == "canceled":
        plain["cancel_at"] = plain["cancel_at_period_end"] = plain["trial_end"] = "-"
    return {
        **plain,
        "paused": "yes" if payload.get("paused_at") or payload.get("status") == "paused" else "no",
        "items": ", ".join(sorted(map(_item, payload.get("items") or ()))) or "none",
        "discounts": ", ".join(sorted(_discounts(payload.get("discounts") or (), now))) or "none",
    }


def _plain(name: str, value: object) -> str:
    if value is None or value is False:
        return "-"
    if name.endswith(("_at", "_end")) and isinstance(value, str):
        return f"{_instant(value):%Y-%m-%d %H:%M:%S}"
    return str(value).upper() if name == "currency" else str(value)


def _item(item: _Payload) -> str:
    count = int(item.get("interval_count") or 1)
    interval = str(item.get("interval")) if count == 1 else f"{count} {item.get('interval')}s"
    metered = " (metered)" if item.get("usage_type") == "metered" else ""
    quantity, amount = _number(item.get("quantity")), _number(item.get("unit_amount"))
    return f"{quantity} × {item.get('plan')} at {amount} a {interval}{metered}"


def _discounts(discounts: Sequence[_Payload], now: datetime) -> Iterator[str]:
    for each in discounts:
        ends_at = each.get("ends_at")
        # Stripe takes a discount for one invoice off once it is spent; the books let it end.
        if each.get("duration") == "once" or (ends_at and _instant(ends_at) <= now):
            continue
        percent, amount = each.get("percent_off"), each.get("amount_off")
        off = f"{_number(percent)} %" if percent is not None else _number(amount)
        until = f" until {_instant(ends_at):%Y-%m-%d}" if ends_at else ""
        on = f" on {each['item']}" if each.get("item") else ""
        yield f"{each.get('coupon')} ({off}{until}{on})"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _number(value: object) -> str:
    number = Decimal(str(value or 0))
    return format(number.normalize() if number else Decimal(0), "f")
