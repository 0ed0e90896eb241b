"""Reading several of Stripe's lists at once, and giving what they hold in one order all the same.

Most of the time of a reading is spent waiting for answers. So up to four units are read at once,
each page by page; what came is given unit by unit, in the order of the units, as if they had been
read one after the other. Events are begun only when everything before them is there: nothing that
changes meanwhile may be missed by both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from queue import Full, Queue
from threading import Event
from typing import Final

from tidemill.connectors.stripe.backfill import Reading, Unit, read_unit
from tidemill.connectors.stripe.client import StripeClient

__all__ = ["IN_FLIGHT", "read_units"]

IN_FLIGHT: Final = 4
"""How many requests are under way at once."""

# Pages of a unit that wait to be given before its reading rests.
_PAGES_AHEAD: Final = 4
_LOOK_UP_S: Final = 0.1

_Pages = Queue[Reading | BaseException | None]


def read_units(
    client: StripeClient, units: Sequence[Unit], first: int = 0, after: str | None = None
) -> Iterator[tuple[int, Reading]]:
    """The pages of units with the unit's place, from a place on, in the order of the units.

    first: the place of the unit to begin with.
    after: the object of that unit after which to go on.
    Raises: as `StripeClient.get`, when it is the turn of what could not be read.
    """
    left = list(enumerate(units))[first:]
    for _, stretch in groupby(left, key=lambda each: each[1].kind == "event"):
        yield from _read_together(client, list(stretch), first, after)


def _read_together(
    client: StripeClient, units: Sequence[tuple[int, Unit]], first: int, after: str | None
) -> Iterator[tuple[int, Reading]]:
    stop = Event()
    waiting: list[_Pages] = [Queue(_PAGES_AHEAD) for _ in units]
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="stripe") as pool:
        try:
            # They are begun in order, so the one whose turn it is never waits for a later one.
            for (number, unit), pages in zip(units, waiting, strict=True):
                begin = after if number == first else None
                pool.submit(_fill, client, unit, begin, pages, stop)
            for (number, _), pages in zip(units, waiting, strict=True):
                while (page := pages.get()) is not None:
                    if isinstance(page, BaseException):
                        raise page
                    yield number, page
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _fill(client: StripeClient, unit: Unit, after: str | None, pages: _Pages, stop: Event) -> None:
    """Read a unit into a queue, with None or the error at its end, until told to stop."""
    last: BaseException | None = None
    try:
        for page in read_unit(client, unit, after):
            if not _put(pages, page, stop):
                return
    except BaseException as error:  # noqa: BLE001 - it is raised again where the page is missed
        last = error
    _put(pages, last, stop)


def _put(pages: _Pages, page: Reading | BaseException | None, stop: Event) -> bool:
    while not stop.is_set():
        try:
            pages.put(page, timeout=_LOOK_UP_S)
        except Full:
            continue
        return True
    return False
