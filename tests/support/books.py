"""Random books of canonical events, valid and nasty, for comparing the ledger with the replay.

A book is some months in the life of a few customers: trials, coupons of every kind, pauses, failed
payments, cancellations asked for and withdrawn, returns, late recording, several currencies,
usage, unpaid first invoices, merged customers. Amounts are small, so that ties and zeros are
common, and instants are few, so that things coincide.

`books()` is the Hypothesis strategy, which shrinks; `random_book()` makes a book of any size from a
seed, for volume. Events are in no particular order of recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from tests.support.books_billing import Log, written
from tests.support.books_choices import Choices, Drawn, Seeded
from tests.support.books_life import FIRST_INSTANT, Life

__all__ = ["FIRST_DAY", "LAST_DAY", "Size", "books", "random_book"]

FIRST_DAY: Final = FIRST_INSTANT.date()
"""Nothing happens before this day."""

LAST_DAY: Final = date(2025, 9, 30)
"""Subscriptions begin well before this day; timers and late recording may reach beyond it."""

_RATES_FROM: Final = date(2024, 12, 1)
_LONG_BEFORE: Final = date(2023, 6, 1)
# Several decimals, so that changes in two currencies do not cancel out to the cent.
_RATES: Final = {"EUR": ("1.{:04d}7", 500, 2000), "JPY": ("0.006{:04d}3", 100, 1500)}


@dataclass(frozen=True, slots=True)
class Size:
    """How much there may be in a book."""

    customers_max: int = 3
    subscriptions_max: int = 3
    actions_max: int = 6


@st.composite
def books(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    size: Size = Size(),
) -> list[dict[str, Any]]:
    """Random books, as canonical events (contracts, section 1)."""
    choices = Drawn(draw)
    return _book(choices, choices.integer(1, size.customers_max), size)


def random_book(seed: int, customers: int = 20, size: Size = Size()) -> list[dict[str, Any]]:
    """The book that a seed stands for."""
    return _book(Seeded(seed), customers, size)


def _book(choices: Choices, customers: int, size: Size) -> list[dict[str, Any]]:
    log = Log(choices)
    lives: dict[tuple[str, str], list[Life]] = {}
    for number in range(customers):
        owner = (choices.pick(("stripe", "stripe", "lago")), f"c{number + 1}")
        lives[owner] = list(_customer(log, owner, size))
    _merge(log, lives)
    used = {life.currency for known in lives.values() for life in known}
    for currency in sorted(used & _RATES.keys()):
        _publish_rates(log, currency)
    return log.events


def _publish_rates(log: Log, currency: str) -> None:
    """A rate every week or every day, that moves up and down without anybody drawing it.

    And one of long before, because a yearly period may have begun before the book does.
    """
    form, low, high = _RATES[currency]
    step, seed = log.choices.pick((7, 7, 1)), log.choices.integer(0, 9999)
    days = range(0, (LAST_DAY - _RATES_FROM).days + 1, step)
    for place, day in enumerate((_LONG_BEFORE, *(_RATES_FROM + timedelta(days) for days in days))):
        rate = form.format(low + (seed + place * 7919) % (high - low))
        at = written(datetime.combine(day, datetime.min.time()))
        log.events.append(
            {
                "id": log.event_id(),
                "source": "rates",
                "type": "fx_rate.published",
                "occurred_at": at,
                "sequence": 0,
                "recorded_at": at,
                "customer": "",
                "livemode": True,
                "data": {"base": "USD", "quote": currency, "day": str(day), "rate": rate},
            }
        )


def _customer(log: Log, owner: tuple[str, str], size: Size) -> Iterator[Life]:
    """A customer's subscriptions; one may begin the very instant something happens to another."""
    choices = log.choices
    currency = choices.pick(("USD", "USD", "EUR", "JPY"))
    instants = [
        FIRST_INSTANT + timedelta(days=choices.integer(0, 120), hours=choices.integer(0, 23))
    ]
    if choices.chance(30):
        log.add(owner, "customer.created", instants[0], {"id": owner[1], "country": "CZ"})
    for _ in range(choices.integer(1, size.subscriptions_max)):
        if choices.chance(20):
            currency = choices.pick(("USD", "EUR", "JPY"))
        life = Life(log, owner, log.number("sub"), currency)
        gap = choices.pick((timedelta(0), timedelta(seconds=90), timedelta(hours=20)))
        life.live(choices.pick(instants) + gap, choices.integer(0, size.actions_max))
        instants += life.instants
        yield life


def _merge(log: Log, lives: dict[tuple[str, str], list[Life]]) -> None:
    """Some customers turn out to be one company; corrected and chained, but never in a circle."""
    choices = log.choices
    owners = list(lives)
    while len(owners) > 1 and choices.chance(25):
        place = choices.integer(1, len(owners) - 1)
        one, into = owners[place], owners[choices.integer(0, place - 1)]
        at = FIRST_INSTANT + timedelta(days=choices.integer(0, 200))
        data = {"id": one[1], "into": {"source": into[0], "customer": into[1]}}
        log.add(one, "customer.merged", at, data)
