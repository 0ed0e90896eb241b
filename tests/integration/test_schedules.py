"""What a schedule plans is committed MRR; what begins, changes or is called off takes its place."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.asking import settled
from tests.support.kept import differences, keep
from tests.support.ledger import Row, derived_rows
from tests.support.stripe import event, fixture, subscription
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.connector import Stripe
from tidemill.database import Database
from tidemill.events import Event
from tidemill.ingest import ingest
from tidemill.metrics import FACTS
from tidemill.policy import Policy
from tidemill.state import Books

_Json = dict[str, Any]

PRICES = [event("price.created", each) for each in fixture("prices").values()]


def at(day: str) -> int:
    """Midnight UTC, in Unix seconds."""
    return int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


def phase(start: str, end: str, quantity: int, **more: Any) -> _Json:
    """A phase of so many seats at 15.00 a month."""
    items = [{"price": "price_seat_usd_month", "quantity": quantity, "discounts": []}]
    return {"start_date": at(start), "end_date": at(end), "items": items, "discounts": [], **more}


def schedule(verb: str, day: str, *phases: _Json, **more: Any) -> _Json:
    """An event of a schedule."""
    found = {**fixture("subscription_schedule"), "livemode": True, "created": at("2026-04-10")}
    found |= {"phases": list(phases)} | more
    kind = f"subscription_schedule.{verb}"
    return event(kind, found, id=f"evt_s_{verb}_{day}", created=at(day))


def seats(verb: str, day: str, quantity: int, **more: Any) -> _Json:
    """An event of the subscription itself, which has begun on 1 April with one seat."""
    found = copy.deepcopy(subscription(livemode=True, discounts=[], **more))
    found["items"]["data"][0]["quantity"] = quantity
    kind = f"customer.subscription.{verb}"
    return event(kind, found, id=f"evt_{verb}_{day}", created=at(day))


FIRST = phase("2026-04-01", "2026-05-01", 1)
SECOND = phase("2026-05-01", "2026-06-01", 3)
CREATED = seats("created", "2026-04-01", 1)
PLANNED = schedule("created", "2026-04-10", FIRST, SECOND)


def canonical(raw: Iterable[_Json]) -> list[Event]:
    """What the events mean, each recorded when it happened."""
    made = list(Stripe().translate_many([*PRICES, *raw], source="stripe"))
    assert not [each for said in made for each in said.problems]
    return [replace(each, recorded_at=each.occurred_at) for said in made for each in said.events]


def take_in(database: Database, *raw: _Json) -> None:
    books = Books(FACTS, Policy.of("default"), "USD")
    ingest(database, PostgresBus(database), canonical(raw), books)


def ledger(database: Database, known_at: datetime | None = None) -> list[tuple[str, str, int]]:
    """Day, type and amount of each movement, on the fly."""
    with database.connect() as connection:
        rows = derived_rows(connection, Policy.of("default"), known_at=known_at)
    return told(rows)


def told(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    """The sums of a day and type: a phase has no items' ids, so what goes and comes is two rows."""
    sums: Counter[tuple[str, str]] = Counter()
    for row in rows:
        sums[f"{row.day:%m-%d}", row.type] += int(row.amount)
    return [(*about, amount) for about, amount in sums.items()]


def test_a_phase_to_come_is_a_movement_to_come(database: Database) -> None:
    take_in(database, CREATED, PLANNED)
    assert ledger(database) == [("04-01", "new", 1500), ("05-01", "expansion", 3000)]


def test_a_phase_that_has_begun_is_told_by_the_subscription(database: Database) -> None:
    begun = schedule("updated", "2026-05-01", FIRST, SECOND)
    take_in(database, CREATED, PLANNED, begun, seats("updated", "2026-05-01", 3))
    assert ledger(database) == [("04-01", "new", 1500), ("05-01", "expansion", 3000)]


@pytest.mark.parametrize("verb", ["released", "canceled", "completed", "aborted"])
def test_what_is_called_off_does_not_come(database: Database, verb: str) -> None:
    status = "canceled" if verb == "aborted" else verb
    off = schedule(verb, "2026-04-20", FIRST, SECOND, status=status)
    take_in(database, CREATED, PLANNED, off)
    assert ledger(database) == [("04-01", "new", 1500)]


def test_the_next_schedule_may_come_in_the_second_that_releases_the_first(
    database: Database,
) -> None:
    off = schedule("released", "2026-04-20", FIRST, SECOND, status="released", subscription=None)
    off["data"]["object"]["released_subscription"] = "sub_T"
    following = schedule(
        "created", "2026-04-20", FIRST, phase("2026-05-01", "2026-06-01", 2), id="sub_sched_U"
    )
    take_in(database, CREATED, PLANNED, off, following)
    assert ledger(database) == [("04-01", "new", 1500), ("05-01", "expansion", 1500)]


def test_a_schedule_may_go_over_to_another_subscription(database: Database) -> None:
    policy = Policy.of("default")
    other = seats("created", "2026-04-02", 1, id="sub_U", customer="cus_U")
    keep(database, canonical([CREATED, other, PLANNED]), policy, [9])
    moved = schedule("updated", "2026-04-20", FIRST, SECOND, subscription="sub_U", customer="cus_U")
    keep(database, canonical([moved]), policy, [9])
    assert differences(database, policy) == []
    with database.connect() as connection:
        rows = derived_rows(connection, policy)
    assert {row.subscription for row in rows if row.day > date(2026, 4, 30)} == {"sub_U"}


def test_another_plan_takes_the_place_of_the_first(database: Database) -> None:
    later = phase("2026-05-15", "2026-07-01", 2)
    take_in(database, CREATED, PLANNED, schedule("updated", "2026-04-20", FIRST, later))
    assert ledger(database) == [("04-01", "new", 1500), ("05-15", "expansion", 1500)]


def test_a_change_before_the_phase_leaves_it_as_it_is_planned(database: Database) -> None:
    take_in(database, CREATED, PLANNED, seats("updated", "2026-04-20", 2))
    assert ledger(database) == [
        ("04-01", "new", 1500), ("04-20", "expansion", 1500), ("05-01", "expansion", 1500),
    ]  # fmt: skip


def test_a_schedule_may_end_the_subscription(database: Database) -> None:
    take_in(
        database, CREATED, schedule("created", "2026-04-10", FIRST, SECOND, end_behavior="cancel")
    )
    assert ledger(database)[-1] == ("06-01", "churn", -4500)
    gone = seats("deleted", "2026-04-25", 1, status="canceled", ended_at=at("2026-04-25"))
    take_in(database, gone)
    assert ledger(database) == [("04-01", "new", 1500), ("04-25", "churn", -1500)]


LATER = {"subscription": None, "status": "not_started", "current_phase": None}
TO_BEGIN = schedule(
    "created", "2026-04-10",
    phase("2026-06-01", "2026-07-01", 2), phase("2026-07-01", "2026-08-01", 4), **LATER,
)  # fmt: skip


def test_a_schedule_for_later_is_a_customer_to_come(database: Database) -> None:
    take_in(database, TO_BEGIN)
    assert ledger(database) == [("06-01", "new", 3000), ("07-01", "expansion", 3000)]
    begun = [
        schedule(
            "updated", "2026-06-01",
            phase("2026-06-01", "2026-07-01", 2), phase("2026-07-01", "2026-08-01", 4),
        ),
        seats("created", "2026-06-01", 2, start_date=at("2026-06-01"), created=at("2026-06-01")),
    ]  # fmt: skip
    take_in(database, *begun)
    assert ledger(database) == [("06-01", "new", 3000), ("07-01", "expansion", 3000)]


def test_a_schedule_for_later_may_be_called_off(database: Database) -> None:
    off = copy.deepcopy(TO_BEGIN["data"]["object"]) | {"status": "canceled"}
    take_in(
        database, TO_BEGIN,
        event("subscription_schedule.canceled", off, id="evt_off", created=at("2026-05-01")),
    )  # fmt: skip
    assert ledger(database) == []


def test_a_phase_takes_its_coupon_along(database: Database) -> None:
    coupon = {"id": "HALF", "object": "coupon", "percent_off": 50.0, "duration": "forever"}
    half = phase("2026-05-01", "2026-06-01", 4)
    half["discounts"] = [{"coupon": "HALF", "discount": None, "promotion_code": None}]
    known = event("coupon.created", coupon, id="evt_c")
    take_in(database, known, CREATED, schedule("created", "2026-04-10", FIRST, half))
    assert ledger(database)[-1] == ("05-01", "expansion", 1500)


def test_a_trial_in_a_phase_is_not_paid_for(database: Database) -> None:
    tried = phase("2026-05-01", "2026-06-01", 3, trial_end=at("2026-05-15"))
    take_in(database, CREATED, schedule("created", "2026-04-10", FIRST, tried))
    assert ledger(database)[-1] == ("05-15", "expansion", 3000)


def test_the_order_of_arrival_does_not_show(database: Database) -> None:
    everything = [
        CREATED, PLANNED,
        schedule("updated", "2026-04-20", FIRST, phase("2026-05-01", "2026-06-01", 5)),
        seats("updated", "2026-04-25", 2),
    ]  # fmt: skip
    wanted = [("04-01", "new", 1500), ("04-25", "expansion", 1500), ("05-01", "expansion", 4500)]
    for number, order in enumerate(itertools.permutations(everything)):
        renamed = [
            {**each, "id": f"{each['id']}_{number}", "data": _renamed(each["data"], number)}
            for each in order
        ]
        for each in (*renamed, renamed[0]):
            take_in(database, each)
    rows = _rows(database)
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.subscription, []).append(row)
    assert len(by_name) == 24
    assert {str(told(each)) for each in by_name.values()} == {str(wanted)}


def _rows(database: Database) -> list[Row]:
    with database.connect() as connection:
        return derived_rows(connection, Policy.of("default"))


def _renamed(data: _Json, number: int) -> _Json:
    """The same objects of another customer."""
    found = copy.deepcopy(data)
    shown = found["object"]
    shown["customer"] = f"cus_{number}"
    key = "subscription" if shown["object"] == "subscription_schedule" else "id"
    shown[key] = f"sub_{number}"
    if key == "subscription":
        shown["id"] = f"sched_{number}"
    return found


def test_what_was_planned_later_was_not_known_before(database: Database) -> None:
    take_in(database, CREATED, PLANNED, schedule("released", "2026-04-20", status="released"))
    new = ("04-01", "new", 1500)
    assert ledger(database, datetime(2026, 4, 9, tzinfo=UTC)) == [new]
    assert ledger(database, datetime(2026, 4, 15, tzinfo=UTC)) == [
        new, ("05-01", "expansion", 3000),
    ]  # fmt: skip
    assert ledger(database, datetime(2026, 4, 21, tzinfo=UTC)) == [new]


def test_committed_mrr_shows_it_and_says_where_from(database: Database) -> None:
    take_in(database, CREATED, PLANNED)
    engine = settled(database, as_of=datetime(2026, 4, 20, tzinfo=UTC))
    rows = engine.mrr.committed(start="2026-04-15", end="2026-06-30").rows
    assert [row["mrr"] for row in rows] == [1500, 4500, 4500]
    moved = engine.mrr.movements(start="2026-05-01", end="2026-05-31").rows
    assert {(row["day"], row["type"]) for row in moved} == {(date(2026, 5, 1), "expansion")}
    assert sum(row["amount"] for row in moved) == 3000
    (told,) = [each for each in canonical([PLANNED]) if each.type == "schedule.changed"]
    behind = engine.explain("mrr", "current", at="2026-05-31").behind.rows
    assert {row["event_id"] for row in behind if row["day"] > date(2026, 4, 30)} == {str(told.id)}
    timeline = engine.timeline("cus_T")
    assert timeline.versions[-1].type == "schedule.changed"


def test_a_price_that_is_not_known_is_named(database: Database) -> None:
    (said,) = Stripe().translate_many([PLANNED], source="stripe")
    (problem,) = said.problems
    assert problem.path == "data.object.phases[1].items[0].price"
    assert "price_seat_usd_month" in problem.problem


@pytest.mark.parametrize("sizes", [[1], [2], [3, 1], [50]])
def test_facts_follow_in_any_batch_size(database: Database, sizes: list[int]) -> None:
    policy = Policy.of("default")
    events = canonical(
        [
            PLANNED,
            schedule("updated", "2026-04-20", FIRST, phase("2026-05-01", "2026-06-01", 5)),
            CREATED,
            TO_BEGIN["data"]
            and {**TO_BEGIN, "id": "evt_other", "data": _renamed(TO_BEGIN["data"], 2)},
            seats("updated", "2026-04-25", 2),
            seats("updated", "2026-05-01", 5),
        ]
    )
    keep(database, events, policy, sizes)
    assert differences(database, policy) == []
