"""In any order, copies and portions events arrive at a webhook: one and the same ledger.

Facts are compared row by row, with the events that caused them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import NewDatabase
from tests.support.stripe import event, fixture, subscription
from tests.support.tables import named_tables
from tests.support.webhooks import arrive, settle
from tests.support.weight import examples
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.connector import Stripe
from tidemill.ingest import ingest
from tidemill.models import metric_mrr_movement
from tidemill.state import Books

BOOKS = Books(FACTS, base_currency="USD")
CREATED, UPDATED, DELETED = (
    f"customer.subscription.{verb}" for verb in ("created", "updated", "deleted")
)
APRIL = 1_775_001_600
DAY = 86_400
_Raws = Sequence[dict[str, Any]]


def seats(quantity: int) -> dict[str, Any]:
    """The items of a subscription with so many seats, at 15.00 each."""
    item = fixture("subscription.new_shape")["items"]["data"][0]
    return {"object": "list", "data": [{**item, "quantity": quantity}]}


def told(key: str, created: int, kind: str = UPDATED, **changes: Any) -> dict[str, Any]:
    previous = changes.pop("previous", None)
    extra = {} if previous is None else {"previous": previous}
    found = subscription(**{"discounts": [], **changes})
    return event(kind, found, id=key, created=created, **extra)


def live(raws: _Raws) -> list[dict[str, Any]]:
    return [{**each, "livemode": True} for each in raws]


def climb(steps: int) -> list[dict[str, Any]]:
    """More seats each time, all in one second; the ids are against the order."""
    first = told("evt_z", APRIL, CREATED, items=seats(1))
    return [first] + [
        told(
            f"evt_{chr(ord('y') - n)}",
            APRIL + DAY,
            items=seats(n + 2),
            previous={"items": seats(n + 1)},
        )
        for n in range(steps)
    ]


ENDED = {"status": "canceled", "ended_at": APRIL + 5 * DAY, "canceled_at": APRIL + 5 * DAY}
STORIES: dict[str, list[dict[str, Any]]] = {
    "the story": live(fixture("events.subscription_story")["events"]),
    "a trial that ends in the second of its announcement": live(
        fixture("events.trial_same_second")["events"]
    ),
    "four changes in one second": climb(4),
    "stale states after the end": [
        told("evt_d", APRIL, CREATED, items=seats(2)),
        told("evt_c", APRIL + 2 * DAY, items=seats(5), previous={"items": seats(2)}),
        told("evt_b", APRIL + 5 * DAY, DELETED, items=seats(5), **ENDED),
        told("evt_a", APRIL + 5 * DAY + 1, items=seats(5), previous={"metadata": {}}),
        told("evt_9", APRIL + 8 * DAY, items=seats(7), previous={"metadata": {"a": "b"}}),
    ],
    "a coupon and a price that come when they like": [
        event(
            "coupon.created",
            {"id": "HALF", "object": "coupon", "percent_off": 50, "duration": "forever"},
            id="evt_1",
            created=APRIL,
        ),
        event(
            "customer.discount.created",
            {"id": "di_1", "object": "discount", "start": APRIL, "end": None, "coupon": "HALF"},
            id="evt_2",
            created=APRIL,
        ),
        event("price.created", fixture("prices")["graduated"], id="evt_3", created=APRIL),
        told("evt_4", APRIL + 1, CREATED, items=seats(2), discounts=["di_1"]),
        told(
            "evt_5",
            APRIL + DAY,
            items={
                "object": "list",
                "data": [
                    {
                        **seats(25)["data"][0],
                        "price": {**fixture("prices")["graduated"], "tiers": None},
                    }
                ],
            },
            discounts=["di_1"],
        ),
    ],
}


def facts(database: Any) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return named_tables(connection)[metric_mrr_movement.name]


@pytest.fixture(scope="module")
def undisturbed(new_database: NewDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """The facts of each story, told at once and in order, as an import of a file does."""
    made = {}
    for name, raws in STORIES.items():
        with new_database() as database:
            translated = list(Stripe().translate_many(raws, source="stripe"))
            assert not any(each.problems for each in translated)
            events = [one for each in translated for one in each.events]
            ingest(database, PostgresBus(database), events, BOOKS, source_kind="stripe")
            made[name] = facts(database)
    return made


@pytest.mark.parametrize("name", STORIES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(6), phases=[Phase.explicit, Phase.generate])
def test_any_order_copies_and_portions(
    new_database: NewDatabase,
    undisturbed: dict[str, list[tuple[Any, ...]]],
    name: str,
    seed: int,
) -> None:
    chance, raws = random.Random(seed), list(STORIES[name])
    raws += chance.choices(raws, k=chance.randrange(3))
    chance.shuffle(raws)
    with new_database() as database:
        while raws:
            portion = chance.randint(1, len(raws))
            arrive(database, raws[:portion])
            raws = raws[portion:]
            if chance.random() < 0.7:
                settle(database, BOOKS)
        settle(database, BOOKS)
        assert facts(database) == undisturbed[name]


def test_the_stories_are_worth_telling(undisturbed: dict[str, list[tuple[Any, ...]]]) -> None:
    """What they all must agree on is not nothing."""
    assert all(undisturbed.values())
    assert len({str(each) for each in undisturbed.values()}) == len(STORIES)
