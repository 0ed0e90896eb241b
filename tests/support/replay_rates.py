"""Exchange rates of the replay: one native minor unit in base minor units, on a day."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import date
from fractions import Fraction

from tests.support.replay_book import Book
from tests.support.replay_levels import Rules

__all__ = ["Rates"]

# Minor units of the currencies that books in tests use, where it is not 2.
_EXPONENTS = {"JPY": 0, "KRW": 0, "CLP": 0, "KWD": 3, "BHD": 3}


class Rates:
    """Step functions: a rate is in force from its day until the next published one."""

    def __init__(self, book: Book, base: str, rules: Rules) -> None:
        self.base = base
        self.rules = rules
        self.steps: dict[str, list[tuple[date, Fraction]]] = {}
        for (one, other), rates in book.rates.items():
            if one == base and other != base:
                self.steps[other] = sorted(rates.items())
        # A pair published only the other way round is inverted.
        for (one, other), rates in book.rates.items():
            if other == base and one != base and one not in self.steps:
                self.steps[one] = sorted((day, 1 / rate) for day, rate in rates.items())

    def market(self, currency: str, day: date) -> Fraction:
        """The factor into base minor units at the rate in force on a day.

        Raises: LookupError when no rate was published by then; it is never taken to be 1.
        """
        if currency == self.base:
            return Fraction(1)
        steps = self.steps.get(currency, [])
        place = bisect_right(steps, day, key=lambda step: step[0])
        if not place:
            raise LookupError(f"no rate of {currency} in {self.base} on {day}")
        return steps[place - 1][1] * self._scale(currency)

    def factor(self, currency: str, day: date) -> Fraction:
        """The factor that the policy values a day with: of the day, or of the one fixed day."""
        if self.rules["fx"] != "constant" or currency == self.base:
            return self.market(currency, day)
        fixed = self.rules["fx_constant_date"]
        if fixed:
            return self.market(currency, date.fromisoformat(fixed))
        if currency not in self.steps:
            raise LookupError(f"no rate of {currency} in {self.base}")
        # No day was chosen: the first rate ever known.
        return self.steps[currency][0][1] * self._scale(currency)

    def to_base(self, native: Mapping[str, Fraction], day: date) -> Fraction:
        """Native amounts in base minor units, as the policy values that day."""
        amounts = (amount * self.factor(currency, day) for currency, amount in native.items())
        return sum(amounts, Fraction(0))

    def _scale(self, currency: str) -> Fraction:
        return Fraction(10) ** (_EXPONENTS.get(self.base, 2) - _EXPONENTS.get(currency, 2))
