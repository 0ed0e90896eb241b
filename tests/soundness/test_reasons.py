"""Why a churn was one: only what ended a subscription says so, and nothing else about it.

Each history is told to the ledger and to the replay, and both must say what was worked out by hand.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from tests.support.cases import preset_policy
from tests.support.ledger import derived_rows, keep_books
from tests.support.replay import replay
from tidemill.database import Database
from tidemill.policy import Policy

_YEAR = (date(2025, 1, 1), date(2025, 12, 31))
_LEAVING = {"cancel_at": "2025-03-01T00:00:00Z", "voluntary": True}
_LATE = {"status": "past_due", "past_due_since": "2025-02-01T00:00:00Z"}

# Of a subscription worth 100: what is said of it, the knobs, when it ends and why.
_ENDS: dict[str, tuple[list[dict[str, Any]], dict[str, str], str, str]] = {
    "a date that was asked for ends one that is past due": (
        [{"at": "02-01", **_LATE, **_LEAVING}],
        {},
        "03-01",
        "voluntary",
    ),
    "patience ends before a date that was asked for": (
        [{"at": "02-01", **_LATE, **_LEAVING}],
        {"past_due": "after:10"},
        "02-11",
        "involuntary",
    ),
    "a date that was asked for comes before patience ends": (
        [{"at": "02-01", **_LATE, **_LEAVING}],
        {"past_due": "after:40"},
        "03-01",
        "voluntary",
    ),
    "patience ends at the instant that was asked for": (
        [{"at": "02-01", **_LATE, **_LEAVING}],
        {"past_due": "after:28"},
        "03-01",
        "involuntary",
    ),
    "past due is reason enough, whatever is planned": (
        [{"at": "02-01", **_LATE, **_LEAVING}],
        {"past_due": "exclude"},
        "02-01",
        "involuntary",
    ),
    "the click ends one that is past due": (
        [{"at": "02-01", **_LATE}, {"at": "02-05", **_LEAVING}],
        {"churn_recognition": "when_scheduled"},
        "02-05",
        "voluntary",
    ),
    "patience was over before the news of it came": (
        [{"at": "03-05", **_LATE, **_LEAVING}],
        {"past_due": "after:10"},
        "03-05",
        "involuntary",
    ),
    "the date was over before the news of it came": (
        [{"at": "03-20", **_LATE, **_LEAVING}],
        {"past_due": "after:40"},
        "03-20",
        "voluntary",
    ),
    "paid up by one that was past due": (
        [
            {"at": "02-01", **_LATE, "current_period_end": "2025-04-01T00:00:00Z"},
            {"at": "02-20", "status": "canceled", "voluntary": True},
        ],
        {"churn_recognition": "at_period_end"},
        "04-01",
        "voluntary",
    ),
    "unpaid before a date that was asked for": (
        [{"at": "02-01", **_LATE, **_LEAVING}, {"at": "02-20", "status": "unpaid"}],
        {},
        "02-20",
        "involuntary",
    ),
    "a price of nothing while a cancellation is planned": (
        [{"at": "02-01", **_LEAVING}, {"at": "02-10", "amount": 0}],
        {},
        "02-10",
        "unknown",
    ),
    "a price of nothing while past due": (
        [{"at": "02-01", **_LATE}, {"at": "02-10", "amount": 0}],
        {},
        "02-10",
        "unknown",
    ),
    "a pause while a cancellation is planned": (
        [{"at": "02-01", **_LEAVING}, {"at": "02-10", "status": "paused"}],
        {},
        "02-10",
        "unknown",
    ),
    "a word about leaving that was never acted on": (
        [{"at": "02-01", "voluntary": True}, {"at": "02-10", "amount": 0}],
        {},
        "02-10",
        "unknown",
    ),
    "cancelled for the customer": (
        [{"at": "02-01", "status": "canceled", "voluntary": False}],
        {},
        "02-01",
        "involuntary",
    ),
    "cancelled, and nobody says why": (
        [{"at": "02-01", "status": "canceled"}],
        {},
        "02-01",
        "unknown",
    ),
}


@pytest.mark.parametrize(("states", "knobs", "day", "reason"), _ENDS.values(), ids=_ENDS)
@pytest.mark.parametrize("netting", ["day", "none"])
def test_a_churn_has_the_reason_of_what_ended_it(
    states: list[dict[str, Any]],
    knobs: dict[str, str],
    day: str,
    reason: str,
    netting: str,
    database: Database,
) -> None:
    events = _told({"at": "01-01"}, *states)
    knobs = {"netting": netting, **knobs}
    judge = replay(events, preset_policy("default", knobs), base_currency="USD")
    (ended,) = [each for each in judge.movements if each.type == "churn"]
    assert (f"{ended.day:%m-%d}", judge.churn_reasons(*_YEAR)) == (day, {reason: Fraction(-100)})
    keep_books(database, events)
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default", knobs))
    found = [(f"{row.day:%m-%d}", row.churn_reason, row.amount) for row in rows if row.churn_reason]
    assert found == [(day, reason, Decimal(-100))]


def _told(*states: dict[str, Any]) -> list[dict[str, Any]]:
    """What a subscription is from midnight of each day on; each changes the one before."""
    whole: dict[str, Any] = {"id": "s1", "status": "active", "currency": "USD", "voluntary": None}
    amount = 100
    events = []
    for state in states:
        at = f"2025-{state['at']}T00:00:00Z"
        amount = state.get("amount", amount)
        item = {"id": "i1", "quantity": 1, "unit_amount": str(amount), "interval": "month"}
        whole |= {name: value for name, value in state.items() if name not in {"at", "amount"}}
        events.append(
            {
                "id": str(uuid5(NAMESPACE_URL, at)),
                "source": "book",
                "type": "subscription.updated",
                "occurred_at": at,
                "sequence": 0,
                "recorded_at": at,
                "customer": "c1",
                "data": {**whole, "items": [{**item, "interval_count": 1}]},
            }
        )
    return events
