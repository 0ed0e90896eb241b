"""What a delivery leaves open is read from Stripe's API, once, and never in the way of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.stripe import event, fixture, subscription
from tests.support.stripe_account import KEY, reading
from tests.support.webhooks import arrive, settle
from tidemill import quarantine
from tidemill.bookkeeping import FACTS
from tidemill.bus import PostgresBus
from tidemill.connectors.stripe.client import StripeClient
from tidemill.database import Database
from tidemill.doctor import check
from tidemill.engine import MetricsEngine, Tidemill
from tidemill.errors import ApiPermissionMissing
from tidemill.inbox.mending import mend
from tidemill.inbox.unsettled import unsettled
from tidemill.inbox.work import take_in
from tidemill.models import delivery
from tidemill.policy import Policy
from tidemill.state import Books
from tidemill.testing.stripe import FakeAccount, FakeStripe, Key
from tidemill.worker import drain

BOOKS = Books(FACTS, base_currency="USD")
UPDATED = "customer.subscription.updated"
APRIL = 1_775_001_600
NOW = APRIL + 20 * 86_400


def mrr(database: Database, at: str = "2026-04-30") -> Any:
    engine = MetricsEngine(database, base_currency="USD", policy=Policy.of())
    return Tidemill(database, engine).query("mrr", "current", at=at)


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(FakeAccount()) as server:
        yield server


def mended(database: Database, client: StripeClient | None) -> int:
    done = mend(database, lambda source, account: client, now=NOW)
    settle(database, BOOKS)
    return done


def items(*members: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": list(members), "has_more": has_more}


def item(number: int = 1, **changes: Any) -> dict[str, Any]:
    shown = fixture("subscription.new_shape")["items"]["data"][0]
    return {**shown, "object": "subscription_item", "id": f"si_{number}", **changes}


def hidden(price: dict[str, Any]) -> dict[str, Any]:
    return {**price, "tiers": None}


def test_tiers_are_read(database: Database, fake: FakeStripe) -> None:
    price = fixture("prices")["graduated"]
    whole = subscription(discounts=[], items=items(item(quantity=25, price=price)))
    fake.account.put(price)
    fake.account.put(whole)
    shown = {**whole, "items": items(item(quantity=25, price=hidden(price)))}
    arrive(database, [event(UPDATED, shown, created=APRIL)])
    assert settle(database, BOOKS).waiting == 1
    assert mended(database, None) == 0
    assert mrr(database).warnings
    with database.connect() as connection:
        ((found,), _) = unsettled(connection)
    assert not found.asked
    with reading(fake) as client:
        assert mended(database, client) == 1
        assert (mrr(database).rows[0]["mrr"], mrr(database).warnings) == (27_000, ())
        # They are known from now on: nothing is read again.
        seen = len(fake.seen)
        later = {**shown, "items": items(item(quantity=10, price=hidden(price)))}
        arrive(database, [event(UPDATED, later, id="evt_2", created=APRIL + 86_400)])
        settle(database, BOOKS)
        assert mended(database, client) == 0
        assert (mrr(database).rows[0]["mrr"], len(fake.seen)) == (15_000, seen)


def test_a_discount_that_is_only_named_is_read(database: Database, fake: FakeStripe) -> None:
    coupon = {"id": "HALF", "object": "coupon", "percent_off": 50, "duration": "forever"}
    discount = {
        "id": "di_1",
        "object": "discount",
        "start": APRIL,
        "end": None,
        "source": {"type": "coupon", "coupon": coupon},
    }
    whole = subscription(discounts=[discount], items=items(item(quantity=2)))
    fake.account.put(whole)
    arrive(database, [event(UPDATED, {**whole, "discounts": ["di_1"]}, created=APRIL)])
    assert settle(database, BOOKS).waiting == 1
    with reading(fake) as client:
        mended(database, client)
    assert mrr(database).rows[0]["mrr"] == 1500


def test_items_beyond_the_ten_of_an_event_are_read(database: Database, fake: FakeStripe) -> None:
    members = [item(number) for number in range(12)]
    whole = subscription(discounts=[], items=items(*members))
    fake.account.put(whole)
    for each in members:
        fake.account.put({**each, "subscription": whole["id"]})
    shown = {**whole, "items": items(*members[:10], has_more=True)}
    arrive(database, [event(UPDATED, shown, created=APRIL)])
    assert settle(database, BOOKS).waiting == 1
    with reading(fake) as client:
        mended(database, client)
    assert mrr(database).rows[0]["mrr"] == 12 * 1500 * members[0]["quantity"]


def test_thin_events_show_their_object_as_it_is_read(database: Database, fake: FakeStripe) -> None:
    """Of several of one object only the last is read: the others would show the same state."""
    thin = fixture("event.thin_v1_subscription_updated")["pushed_notification"]
    thin = {**thin, "livemode": True}
    fake.account.put(subscription(discounts=[], items=items(item(quantity=4))))
    first = {**thin, "id": "evt_thin_0", "created": "2026-04-15T00:00:00.000Z"}
    arrive(database, [first, thin])
    assert settle(database, BOOKS).waiting == 2
    with reading(fake) as client:
        assert mended(database, client) == 1
    with database.connect() as connection:
        states = connection.execute(select(delivery.c.event, delivery.c.state)).all()
        assert {row.event: row.state for row in states} == {
            "evt_thin_0": "ignored",
            thin["id"]: "stored",
        }
        assert quarantine.waiting(connection) == 0
    assert mrr(database, "2026-04-15").rows[0]["mrr"] == 0
    assert mrr(database, "2026-04-16").rows[0]["mrr"] == 6000


def tie(key: str, quantity: int) -> dict[str, Any]:
    found = subscription(discounts=[], items=items(item(quantity=quantity)))
    return event(UPDATED, found, id=key, created=APRIL)


def test_two_changes_of_one_second_that_nothing_orders(
    database: Database, fake: FakeStripe
) -> None:
    """They are held a while, then taken in by their ids and doubted, until the object tells."""
    fake.account.put(subscription(discounts=[], items=items(item(quantity=7))))
    arrive(database, [tie("evt_b", 3), tie("evt_a", 7)])
    bus = PostgresBus(database)
    assert take_in(database, bus).stored == 1
    drain(bus, BOOKS)
    with database.connect() as connection:
        held = select(delivery.c.event).where(delivery.c.state == "held")
        assert connection.execute(held).scalars().all() == ["evt_a"]
        assert unsettled(connection) == ([], [])
    take_in(database, bus, patience_s=0)
    drain(bus, BOOKS)
    assert mrr(database).rows[0]["mrr"] == 4500
    assert any("sub_T" in each for each in mrr(database).warnings)
    with reading(fake) as client:
        assert mended(database, client) == 1
    assert (mrr(database).rows[0]["mrr"], mrr(database).warnings) == (7 * 1500, ())
    assert mrr(database, "2026-04-01").rows[0]["mrr"] == 7 * 1500


def test_a_doubt_is_over_with_the_next_change(database: Database) -> None:
    arrive(database, [tie("evt_b", 3), tie("evt_a", 7)])
    bus = PostgresBus(database)
    take_in(database, bus, patience_s=0)
    later = {**tie("evt_c", 5), "created": APRIL + 60}
    arrive(database, [later])
    settle(database, BOOKS)
    assert (mrr(database).rows[0]["mrr"], mrr(database).warnings) == (7500, ())


def test_a_key_without_a_permission_is_said_and_asked_once(
    database: Database, fake: FakeStripe
) -> None:
    price = fixture("prices")["graduated"]
    shown = subscription(discounts=[], items=items(item(price=hidden(price))))
    arrive(database, [event(UPDATED, shown, created=APRIL)])
    settle(database, BOOKS)
    fake.keys[KEY] = Key(KEY, denied=frozenset({"subscriptions"}))
    with reading(fake) as client:
        with pytest.raises(ApiPermissionMissing, match="Subscriptions"):
            mended(database, client)
        seen = len(fake.seen)
        assert mended(database, client) == 0
        assert len(fake.seen) == seen
    with database.connect() as connection:
        assert quarantine.waiting(connection) == 1
        ((found,), _) = unsettled(connection)
    assert found.asked
    findings = check(database, PostgresBus(database), BOOKS)
    (hint,) = (each.hint for each in findings if each.about == "subscription sub_T")
    assert hint.startswith("Stripe's API was asked")
