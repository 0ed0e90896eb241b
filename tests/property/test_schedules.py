"""A ledger with plans in it is that of a book in which they had been told as events."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from tests.support.books import FIRST_DAY, random_book
from tests.support.kept import differences, keep
from tests.support.ledger import derived_rows
from tests.support.weight import first
from tidemill.database import Database
from tidemill.events import Event, parse_event
from tidemill.policy import Policy
from tidemill.presets import PRESETS

_Json = dict[str, Any]
_START: Final = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
_DEMANDING: Final = (
    "default;identity=per_source;netting=month",
    "default;free_plans=after_paid",
    "default;event_time=recorded",
    "default;late_events=book_when_received",
)
_KNOWN: Final = _START + timedelta(days=150)


@pytest.mark.parametrize("seed", first(2, range(301, 321)))
def test_a_plan_is_what_its_events_would_have_been(
    database: Database, new_database: Any, seed: int
) -> None:
    dice = random.Random(seed)
    told = [_parsed(each) for each in random_book(seed, customers=8)]
    plans = list(_plans(told, dice))
    assert plans
    shuffled = dice.sample([*told, *plans], len(told) + len(plans))
    keep(database, shuffled, Policy.of("default"), [7, 1, 60])
    assert differences(database, Policy.of("default")) == []
    for known_at in (None, _KNOWN):
        with new_database() as other:
            heard = [each for each in told if known_at is None or _recorded(each) <= known_at]
            made = [each for each in plans if known_at is None or _recorded(each) <= known_at]
            keep(other, [*heard, *_as_events(heard, made)], Policy.of("default"), [999])
            for text in (*PRESETS, *_DEMANDING):
                policy = Policy.parse(text)
                assert _rows(database, policy, known_at) == _rows(other, policy, None), text


def _rows(database: Database, policy: Policy, known_at: datetime | None) -> list[Any]:
    """The movements, without the keys that two databases give on their own."""
    with database.connect() as connection:
        rows = derived_rows(connection, policy, known_at=known_at)
    return sorted(
        (
            row.customer, row.subscription, row.occurred_at, row.day, row.type, row.amount,
            row.currency, row.customer_delta, row.cause, row.churn_reason or "",
        )
        for row in rows
    )  # fmt: skip


def _parsed(event: _Json) -> Event:
    return parse_event({key: value for key, value in event.items() if value is not None})


def _recorded(event: Event) -> datetime:
    return event.recorded_at or event.occurred_at


def _state(event: Event) -> _Json:
    found: _Json = msgspec.json.decode(event.data)
    return found


def _states(events: Iterable[Event]) -> dict[tuple[str, str], list[Event]]:
    """The events of each subscription, by source and id."""
    found: dict[tuple[str, str], list[Event]] = {}
    for each in events:
        if each.type.startswith("subscription."):
            found.setdefault((each.source, each.subject), []).append(each)
    return found


def _plans(told: list[Event], dice: random.Random) -> Iterable[Event]:
    """Schedules for most subscriptions, some of them changed or emptied later."""
    for number, ((source, key), events) in enumerate(sorted(_states(told).items())):
        for change in range(dice.choice((0, 1, 1, 2, 3))):
            at = _START + timedelta(days=dice.randrange(0, 200))
            items = _state(dice.choice(events))["items"]
            days = sorted(dice.sample(range(1, 200), dice.choice((0, 1, 2, 3))))
            phases = [
                {
                    "starts_at": (at + timedelta(days=day)).isoformat(),
                    "items": [
                        {**each, "quantity": str(dice.randrange(0, 5))}
                        for each in items[: dice.choice((1, 1, 2))]
                    ],
                }
                for day in days
            ]
            ends = at + timedelta(days=days[-1] + 30) if days and dice.random() < 0.4 else None
            yield _parsed(
                {
                    "source": source,
                    "type": "schedule.changed",
                    "id": str(UUID(int=(number << 8) + change + 1)),
                    "occurred_at": at.isoformat(),
                    "recorded_at": (at + timedelta(hours=dice.randrange(0, 90))).isoformat(),
                    "customer": events[0].customer,
                    "data": {
                        "id": f"sched_{key}",
                        "subscription": key,
                        "phases": phases,
                        "ends_at": None if ends is None else ends.isoformat(),
                    },
                }
            )


def _order(event: Event) -> tuple[Any, ...]:
    over = event.type.startswith("subscription.") and _state(event)["status"] == "canceled"
    return (event.occurred_at, event.sequence, over, _recorded(event), event.id)


def _as_events(told: list[Event], plans: list[Event]) -> Iterable[Event]:
    """What the latest plan of each subscription comes to after its latest state, as events."""
    latest: dict[tuple[str, str], Event] = {}
    for plan in sorted(plans, key=_order):
        latest[plan.source, _state(plan)["subscription"]] = plan
    states = _states(told)
    for number, (about, plan) in enumerate(sorted(latest.items())):
        held = max(states.get(about, ()), key=_order, default=None)
        if held is None or _state(held)["status"] == "canceled":
            continue
        said, state = _state(plan), _state(held)
        steps = [(each["starts_at"], each["items"], state["status"]) for each in said["phases"]]
        if said.get("ends_at"):
            steps.append((said["ends_at"], [], "canceled"))
        for place, (starts_at, items, status) in enumerate(steps):
            starts = datetime.fromisoformat(starts_at)
            if starts > held.occurred_at:
                planned = {"items": items, "discounts": [], "status": status}
                yield _parsed(
                    {
                        "source": held.source,
                        "type": "subscription.updated",
                        "id": str(UUID(int=(1 << 100) + (number << 8) + place)),
                        "occurred_at": starts_at,
                        "recorded_at": max(_recorded(plan), starts).isoformat(),
                        "customer": held.customer,
                        "data": {
                            **state, **planned, "cancel_at": None, "cancel_at_period_end": False,
                        },
                    }
                )  # fmt: skip
