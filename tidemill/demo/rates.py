"""Exchange rates of the synthetic business: a random walk from month to month, a row a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from tidemill.events import Event, make_event
from tidemill.payloads import FxRate
from tidemill.periods import add_months

__all__ = ["fx_rates"]

# What one major unit was worth in dollars on the first day, and how far a month may move it.
_IN_DOLLARS: Final = {"USD": 1.0, "EUR": 1.09, "GBP": 1.27}
_STEP: Final = 0.018
_PLACES: Final = Decimal("0.000001")


def fx_rates(
    months: int = 24, seed: int = 7, *, end: date, base: str = "USD", source: str = "demo"
) -> Iterator[Event]:
    """`fx_rate.published` events for every day of the business, in order of time.

    end:  the last day, as in `generate`.
    base: the reporting currency, USD, EUR or GBP; the rates of the other two against it are given.
    """
    start = add_months(end, -months)
    anchors = _walk(Random(seed), months + 2)
    for offset in range((end - start).days + 1):
        day = start + timedelta(days=offset)
        in_dollars = _between(anchors, start, day)
        for quote in _IN_DOLLARS:
            if quote != base:
                rate = Decimal(in_dollars[quote] / in_dollars[base]).quantize(_PLACES)
                payload = FxRate(base=base, quote=quote, day=day, rate=str(rate))
                midnight = datetime.combine(day, time(), UTC)
                yield make_event(source, "fx_rate.published", "", midnight, payload)


def _walk(dice: Random, months: int) -> list[dict[str, float]]:
    """Dollars a unit at the first of each month."""
    anchors = [dict(_IN_DOLLARS)]
    for _ in range(months):
        moved = {code: rate * (1 + dice.gauss(0, _STEP)) for code, rate in anchors[-1].items()}
        anchors.append({**moved, "USD": 1.0})
    return anchors


def _between(anchors: list[dict[str, float]], start: date, day: date) -> dict[str, float]:
    """The rates of a day: on the straight line between the two months' anchors."""
    months = (day.year - start.year) * 12 + day.month - start.month
    left = add_months(day, 1).replace(day=1) - day
    share = 1 - left.days / (add_months(day, 1).replace(day=1) - day.replace(day=1)).days
    now, then = anchors[months], anchors[months + 1]
    return {code: now[code] + (then[code] - now[code]) * share for code in now}
