"""Lists that are read at once come as if they had been read one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tidemill.connectors.stripe.ahead import IN_FLIGHT, read_units
from tidemill.connectors.stripe.backfill import Unit, money_units
from tidemill.connectors.stripe.client import StripeClient, Throttle
from tidemill.errors import ApiRequestRefused
from tidemill.testing.stripe import FakeAccount, FakeStripe, Fault, Seen

DAY = 86_400
FIRST = 1_775_001_600


def account() -> FakeAccount:
    """Fifty charges a day for three days, ten events."""
    charges = [
        {
            "id": f"ch_{number:04}",
            "object": "charge",
            "created": FIRST + number * 1_700,
            "balance_transaction": None,
        }
        for number in range(150)
    ]
    events = [
        {"id": f"evt_{number}", "object": "event", "type": "charge.failed", "created": FIRST}
        for number in range(10)
    ]
    return FakeAccount([*charges, *events])


def units() -> list[Unit]:
    days = range(FIRST, FIRST + 4 * DAY, DAY // 2)
    windows = [{"created": {"gte": day, "lt": day + DAY // 2}, "limit": 7} for day in days]
    charges = [Unit("charge", "/v1/charges", each) for each in windows]
    return [*charges, Unit("event", "/v1/events", {"type": "charge.*"})]


def client(fake: FakeStripe) -> StripeClient:
    return StripeClient("rk_live_x", base_url=fake.url, throttle=Throttle(0, sleep=lambda _: None))


def read(reader: StripeClient, first: int = 0, after: str | None = None) -> list[tuple[int, str]]:
    found = read_units(reader, units(), first, after)
    return [(place, each.id) for place, page in found for each in page.objects]


def test_they_come_in_the_order_of_the_units_however_slow_each_is() -> None:
    with FakeStripe(account()) as fake, client(fake) as reader:
        alone = [
            (place, each["id"])
            for place, unit in enumerate(units())
            for each in reader.listed(unit.path, unit.params)
        ]
        fake.faults = [
            Fault(0, path="/v1/charges", times=5, after=each, delay_s=0.02) for each in (0, 9)
        ]
        assert read(reader) == alone
        assert read(reader, 2) == [each for each in alone if each[0] >= 2]
        third = [key for place, key in alone if place == 2]
        assert read(reader, 2, third[3])[: len(third) - 4] == [(2, key) for key in third[4:]]


def meeting() -> Callable[[Seen], None]:
    """Lets nobody through before four are there."""
    barrier = threading.Barrier(IN_FLIGHT)

    def wait(seen: Seen) -> None:
        if seen.path == "/v1/charges" and not barrier.broken:
            barrier.wait(timeout=5)

    return wait


def test_four_requests_are_under_way_and_events_wait_for_all_of_them() -> None:
    with FakeStripe(account()) as fake, client(fake) as reader:
        # The fake answers one at a time; what counts is how many have come to its door.
        arrived = meeting()
        inner = fake.answer
        fake.answer = lambda seen, secret: (arrived(seen), inner(seen, secret))[1]  # type: ignore[method-assign]  # in its place
        windows = [each for each in units() if each.kind == "charge"][:IN_FLIGHT]
        assert len(list(read_units(reader, windows))) >= IN_FLIGHT
    with FakeStripe(account()) as fake, client(fake) as reader:
        read(reader)
        paths = [each.path for each in fake.seen]
        assert paths == sorted(paths), "charges, and then events"


def test_what_cannot_be_read_stops_it_at_its_place() -> None:
    with FakeStripe(account()) as fake, client(fake) as reader:
        broken = [*units()[:2], Unit("charge", "/v1/nonsense"), *units()[2:]]
        places: list[int] = []
        with pytest.raises(ApiRequestRefused):
            places.extend(place for place, _ in read_units(reader, broken))
        assert set(places) == {0, 1}


def test_windows_of_money_are_units_of_their_own() -> None:
    """So there is something to read at once."""
    assert (
        len([each for each in money_units(FIRST, FIRST + 365 * DAY) if each.kind == "charge"]) == 13
    )
