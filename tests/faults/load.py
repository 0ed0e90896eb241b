"""What arrives during a run: webhooks at the API, and events that a producer puts on the bus.

Both are shuffled within bounds and some come twice; whoever sends goes on until it is acknowledged.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError

from tests.support.books import random_book
from tests.support.happenings import at, poisoned
from tidemill.bus import PostgresBus
from tidemill.demo import generate
from tidemill.errors import TidemillError
from tidemill.events import Event, parse_event
from tidemill.following import may_pass

__all__ = ["EventStorm", "Load", "load"]

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Load:
    """What is sent, in the order of sending.

    poison: ids of those of the events that no table can hold.
    """

    raws: list[dict[str, Any]]
    events: list[Event]
    poison: frozenset[str]


def load(chance: random.Random, customers: int) -> Load:
    """A made-up business by webhook, and a random book by the bus."""
    seed = chance.randrange(1_000_000)
    raws = list(generate(customers=customers, months=5, seed=seed, end=date(2026, 6, 30)))
    lines = random_book(seed, customers=customers // 2)
    told = [parse_event({k: v for k, v in each.items() if v is not None}) for each in lines]
    bad = [poisoned(f"poisoned_{number}", at(1)) for number in range(3)]
    events = [*told, *bad]
    chance.shuffle(events)
    poison = frozenset(str(each.id) for each in bad)
    return Load(_astray(raws, chance), _twice(events, chance), poison)


def _twice(things: Sequence[Thing], chance: random.Random) -> list[Thing]:
    """Some of them again, later."""
    found = list(things)
    for each in chance.sample(list(things), len(things) // 10):
        found.insert(chance.randrange(len(found)), each)
    return found


def _astray(things: Sequence[Thing], chance: random.Random) -> list[Thing]:
    """Neighbours in another order, and some twice."""
    places = {number: number + chance.uniform(0, 8) for number in range(len(things))}
    return _twice([things[number] for number in sorted(places, key=places.__getitem__)], chance)


class EventStorm:
    """Puts events on the bus, a few at a time, until all are acknowledged."""

    def __init__(self, bus: PostgresBus, events: Sequence[Event], chance: random.Random) -> None:
        self.acknowledged: set[str] = set()
        self.failure: Exception | None = None
        self._bus = bus
        self._given_up = threading.Event()
        self._batches = []
        start = 0
        while start < len(events):
            size = chance.choice((1, 3, 10, 30))
            self._batches.append(list(events[start : start + size]))
            start += size
        self._thread = threading.Thread(target=self._send)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_sending(self) -> bool:
        """Whether anything is left that is not acknowledged."""
        return self._thread.is_alive()

    def give_up(self) -> None:
        """Send nothing again, and return when nothing is under way any more."""
        self._given_up.set()
        self._thread.join()

    def _send(self) -> None:
        try:
            for batch in self._batches:
                while not self._appended(batch):
                    if self._given_up.is_set():
                        return
                    time.sleep(0.02)
                time.sleep(0.05)
        except Exception as error:  # noqa: BLE001 - told where it is waited for
            self.failure = error

    def _appended(self, batch: list[Event]) -> bool:
        try:
            done = self._bus.append(batch)
        except (TidemillError, DBAPIError, psycopg.Error) as error:
            if not may_pass(error):
                raise
            return False
        assert not done.refused
        self.acknowledged |= {str(each.id) for each in batch}
        return True
