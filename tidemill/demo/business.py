"""All customers of the synthetic business, side by side in time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from hashlib import blake2b
from random import Random
from typing import Any, Final

from tidemill.demo import records
from tidemill.demo.account import Moments, World
from tidemill.demo.calendar import DAY, start_of_day
from tidemill.demo.catalogue import Catalogue
from tidemill.demo.life import Life
from tidemill.periods import add_months

__all__ = ["generate"]

# Customers that are there in the first days already, and how much faster they come at the end.
_FOUNDERS: Final = 0.06
_GROWTH: Final = 4.0

# When the next event of a story happens, the story's number, the event, and what follows it.
_Turn = tuple[int, int, Callable[[], dict[str, Any]], Moments]


def generate(
    customers: int = 500, months: int = 24, seed: int = 7, *, end: date
) -> Iterator[dict[str, Any]]:
    """Stripe events of a business that grew over some months, in order of time.

    end: the last day (UTC); nothing happens after it, though cancellations may be announced for it.
    The objects inside events are shared between them: read, do not change. Only customers who have
    begun and not yet ended are held in memory, so a stream of millions of events is fine.
    """
    start = start_of_day(add_months(end, -months) + timedelta(days=1))
    limit = start_of_day(end) + DAY
    world = World(Random(seed), Catalogue(start), _tag(customers, months, seed, end))
    yield from _catalogue(world, start)
    stage: list[_Turn] = []
    for number, arrival in enumerate(_arrivals(world.dice, customers, start, limit), 1):
        yield from _until(world, stage, arrival)
        _enter(world, stage, Life(world, number, arrival).run())
    yield from _until(world, stage, limit)


def _until(world: World, stage: list[_Turn], limit: int) -> Iterator[dict[str, Any]]:
    """Let everyone on stage go on until an instant, in turn."""
    while stage and stage[0][0] < limit:
        _, number, event, story = stage[0]
        yield event()
        following = next(story, None)
        if following is None:
            heapq.heappop(stage)
        else:
            heapq.heapreplace(stage, (following[0], number, following[1], story))
        while world.aside:
            _enter(world, stage, world.aside.pop())


def _enter(world: World, stage: list[_Turn], story: Moments) -> None:
    """A story begins."""
    at, event = next(story)
    heapq.heappush(stage, (at, next(world.numbers), event, story))


def _arrivals(dice: Random, customers: int, start: int, limit: int) -> Iterator[int]:
    """When customers come: some at once, the others ever faster. In order of time.

    Instant x of the whole time (0 to 1) sees arrivals with density g^x; the n-th of N arrivals is
    where that density has been used up to n/N.
    """
    founders = round(customers * _FOUNDERS)
    early = sorted(dice.randrange(start, start + 5 * DAY) for _ in range(founders))
    yield from early
    first, rest = start + 5 * DAY, customers - founders
    for number in range(rest):
        share = (number + dice.random()) / rest
        place = math.log1p(share * (_GROWTH - 1)) / math.log(_GROWTH)
        yield first + int(place * (limit - first - DAY))


def _catalogue(world: World, at: int) -> Iterator[dict[str, Any]]:
    """The products, prices and coupons, created before anything else."""
    catalogue = world.catalogue
    found = [
        *(("product.created", each) for each in catalogue.products.values()),
        *(("price.created", each) for each in catalogue.prices.values()),
        *(("coupon.created", each) for each in catalogue.coupons.values()),
    ]
    for number, (kind, each) in enumerate(found):
        yield records.event(f"evt_{world.tag}_{number:03d}", kind, at, each)


def _tag(customers: int, months: int, seed: int, end: date) -> str:
    """A few letters that tell runs with different arguments apart."""
    said = f"{customers} {months} {seed} {end}".encode()
    return blake2b(said, digest_size=3).hexdigest()
