"""How random books choose: by Hypothesis, which can shrink it, or by a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

__all__ = ["Choices", "Drawn", "Seeded"]

_T = TypeVar("_T")


class Choices(Protocol):
    """Where a book's choices come from; the first option is the simplest."""

    def integer(self, low: int, high: int) -> int:
        """A whole number between two, both included."""
        ...

    def pick(self, options: Sequence[_T]) -> _T:
        """One of several; name an option twice to make it likelier."""
        ...

    def chance(self, percent: int) -> bool:
        """True in about so many of a hundred cases."""
        ...


class Drawn:
    """Choices drawn by Hypothesis."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """See `Choices`."""
        number: int = self._draw(st.integers(low, high))
        return number

    def pick(self, options: Sequence[_T]) -> _T:
        """See `Choices`."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """See `Choices`; shrinks towards False."""
        return self.integer(0, 99) >= 100 - percent


class Seeded:
    """Choices of a seeded generator: the same seed makes the same book."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """See `Choices`."""
        return self._random.randint(low, high)

    def pick(self, options: Sequence[_T]) -> _T:
        """See `Choices`."""
        return self._random.choice(options)

    def chance(self, percent: int) -> bool:
        """See `Choices`."""
        return self._random.randrange(100) < percent
