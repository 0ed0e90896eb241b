"""What every bus promises; an implementation passes by inheriting these tests.

It gives the fixture `bus`, with an empty log.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import select

from tests.support.happenings import at, priced, state
from tidemill.bus import PARTITIONS, Bus, Delivery, partition_of
from tidemill.events import Event

__all__ = ["Broken", "BusContract", "read", "story", "strangers", "subjects"]


class Broken(Exception):
    """Something that goes wrong in the middle of a batch."""


def subjects(delivery: Delivery) -> list[tuple[str, int]]:
    """The events of a delivery, as (customer, sequence) in the order of their positions."""
    rows = delivery.rows
    query = select(rows.c.customer, rows.c.sequence).order_by(rows.c.position)
    return [(row.customer, row.sequence) for row in delivery.connection.execute(query)]


def read(bus: Bus, consumer: str = "reader", limit: int = 100) -> list[tuple[str, int]]:
    """Everything a reader has not had yet, claim by claim."""
    found: list[tuple[str, int]] = []
    while True:
        with bus.claim(consumer, limit) as delivery:
            if delivery is None:
                return found
            assert delivery.count <= limit
            found += subjects(delivery)


def story(customer: str, length: int) -> list[Event]:
    """Events of one customer at one instant, told apart by their sequence."""
    return [state(customer, at(1), sequence=number) for number in range(length)]


def strangers(count: int) -> list[str]:
    """Customers in so many different partitions."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        number += 1
        found.setdefault(partition_of("stripe", f"cus_{number}"), f"cus_{number}")
    return list(found.values())


class BusContract:
    """The promises of `tidemill.bus.log`, as tests."""

    #: Whether `append` knows at once which events are in the log already.
    counts_duplicates = True

    @pytest.fixture
    def bus(self) -> Bus:
        """The implementation under test, with an empty log."""
        raise NotImplementedError

    def test_nothing_to_read_is_none(self, bus: Bus) -> None:
        with bus.claim("reader", 10) as delivery:
            assert delivery is None

    def test_an_event_is_in_the_log_once(self, bus: Bus) -> None:
        first, second = story("a", 2)
        appended = bus.append([first, first, second])
        assert (appended.stored, appended.duplicate) == (
            (2, 1) if self.counts_duplicates else (3, 0)
        )
        appended = bus.append([second, first])
        assert (appended.stored, appended.duplicate) == (
            (0, 2) if self.counts_duplicates else (2, 0)
        )
        assert read(bus) == [("a", 0), ("a", 1)]

    def test_appending_nothing_is_nothing(self, bus: Bus) -> None:
        appended = bus.append([])
        assert (appended.stored, appended.duplicate, appended.refused) == (0, 0, ())

    def test_a_customers_events_come_in_the_order_appended(self, bus: Bus) -> None:
        events = story("a", 30)
        backwards = events[::-1]
        for start in range(0, 30, 7):
            bus.append(backwards[start : start + 7])
        assert read(bus, limit=4) == [("a", number) for number in range(29, -1, -1)]

    @pytest.mark.parametrize("limit", [1, 7, 1000])
    def test_every_event_comes_once_whatever_the_limit(self, bus: Bus, limit: int) -> None:
        events = [event for name in strangers(PARTITIONS) for event in story(name, 3)]
        bus.append([*events, priced("plan_1", at(1))])
        found = read(bus, limit=limit)
        assert Counter(found) == Counter([(e.customer, e.sequence) for e in events] + [("", 0)])
        for name in strangers(PARTITIONS):
            assert [number for customer, number in found if customer == name] == [0, 1, 2]

    def test_a_new_reader_starts_at_the_beginning(self, bus: Bus) -> None:
        bus.append(story("a", 3))
        assert len(read(bus, "one")) == 3
        bus.append(story("b", 2))
        assert len(read(bus, "one")) == 2
        assert len(read(bus, "another")) == 5

    def test_what_fails_is_delivered_again(self, bus: Bus) -> None:
        bus.append(story("a", 3))

        def fail() -> None:
            with bus.claim("reader", 10) as delivery:
                assert delivery is not None
                raise Broken

        with pytest.raises(Broken):
            fail()
        assert read(bus) == [("a", 0), ("a", 1), ("a", 2)]
        assert read(bus) == []

    def test_workers_share_the_log(self, bus: Bus) -> None:
        names = strangers(4)
        bus.append([event for name in names for event in story(name, 2)])
        with bus.claim("reader", 100, partitions=2) as one, bus.claim("reader", 100) as other:
            assert one is not None
            assert other is not None
            mine, theirs = subjects(one), subjects(other)
            with bus.claim("reader", 100) as third:
                assert third is None
        assert not {name for name, _ in mine} & {name for name, _ in theirs}
        assert sorted(mine + theirs) == sorted((name, n) for name in names for n in (0, 1))

    def test_waiting_sees_what_other_workers_give_back(self, bus: Bus) -> None:
        bus.append(story("a", 2))

        def wait() -> int:
            with bus.claim("reader", 100, wait=True) as delivery:
                return delivery.count if delivery else 0

        def fail() -> Future[int]:
            with suppress(Broken), bus.claim("reader", 100) as delivery:
                assert delivery is not None
                late = pool.submit(wait)
                raise Broken
            return late

        with ThreadPoolExecutor(1) as pool:
            assert fail().result(timeout=30) == 2

    def test_readers_skip_nothing_while_writers_write(self, bus: Bus) -> None:
        """Writers of several sizes at once, two readers beside them: all once, in order."""
        names = [f"cus_{number}" for number in range(12)]
        writers = 4
        done = threading.Event()
        found: dict[str, list[int]] = defaultdict(list)
        guard = threading.Lock()

        def write(part: int) -> None:
            mine = names[part::writers]
            for start in range(0, 60, part + 2):
                batch = [
                    state(name, at(1), sequence=number)
                    for number in range(start, min(start + part + 2, 60))
                    for name in mine
                ]
                bus.append(batch)

        def follow() -> None:
            last = False
            while True:
                with bus.claim("reader", 25, partitions=9) as delivery:
                    if delivery is not None:
                        rows = subjects(delivery)
                        # Still inside the transaction: no other reader has these partitions.
                        with guard:
                            for name, number in rows:
                                found[name].append(number)
                        continue
                if last:
                    return
                last = done.is_set()

        with ThreadPoolExecutor(writers + 2) as pool:
            readers = [pool.submit(follow) for _ in range(2)]
            for future in [pool.submit(write, part) for part in range(writers)]:
                future.result(timeout=60)
            done.set()
            for future in readers:
                future.result(timeout=60)
        assert dict(found) == {name: list(range(60)) for name in names}
