"""What the synthetic business spends: on winning customers, and on serving them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Final

from tidemill.events import Event, make_event
from tidemill.payloads import Expense
from tidemill.periods import add_months
from tidemill.vocabulary import ExpenseCategory

__all__ = ["costs"]

# Category, channel (as customers name theirs), vendor, minor units for each customer who ever
# comes, over all months.
_COSTS: Final = (
    (ExpenseCategory.PROGRAM, "paid_search", "Search advertising", 11_000),
    (ExpenseCategory.PROGRAM, "content", "Magazine", 4_000),
    (ExpenseCategory.PROGRAM, "partner", "Commissions", 5_000),
    (ExpenseCategory.SALARIES, None, None, 22_000),
    (ExpenseCategory.TOOLS, None, "CRM", 3_000),
    (ExpenseCategory.COGS, None, "Hosting", 14_000),
)
# The last month's spend over the first one's, and how far a month strays from the line.
_GROWTH: Final = 4.0
_STRAY: Final = 0.12


def costs(
    customers: int = 500,
    months: int = 24,
    seed: int = 7,
    *,
    end: date,
    base: str = "USD",
    source: str = "demo",
) -> Iterator[Event]:
    """`expense.recorded` events on the last day of each of the business's months, in order of time.

    end:  the last day, as in `generate`.
    base: the currency of the costs; they have two decimals.
    """
    dice = Random(seed)
    shares = [1 + (_GROWTH - 1) * number / max(months - 1, 1) for number in range(months)]
    for number, share in enumerate(shares):
        day = add_months(end + timedelta(days=1), number + 1 - months) - timedelta(days=1)
        for category, channel, vendor, each in _COSTS:
            usual = customers * each * share / sum(shares)
            payload = Expense(
                id=f"{channel or category.value}_{day:%Y_%m}",
                day=day,
                amount=round(usual * (1 + dice.uniform(-_STRAY, _STRAY))),
                currency=base,
                category=category,
                channel=channel,
                vendor=vendor,
            )
            midnight = datetime.combine(day, time(), UTC)
            yield make_event(source, "expense.recorded", "", midnight, payload)
