"""How much of a proof the default run makes; `make test-all` makes all of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import pytest

__all__ = ["everything", "examples", "first", "thinned"]

_ALL: Final = "TIDEMILL_TEST_ALL"
_TIMES: Final = 10

_Value = TypeVar("_Value")


def everything() -> bool:
    """Whether this is `make test-all`."""
    return bool(os.environ.get(_ALL))


def examples(few: int) -> int:
    """How many examples of a property are drawn: `few`, and ten times as many in `make test-all`.

    The environment says which, because Hypothesis has to know before any marker is looked at.
    """
    return few * _TIMES if everything() else few


def first(count: int, values: Iterable[object]) -> list[Any]:
    """Parameters of a test of which all but the first `count` are slow; tuples are several."""
    return [
        value if place < count else pytest.param(*_several(value), marks=pytest.mark.slow)
        for place, value in enumerate(values)
    ]


def thinned(values: Iterable[_Value], step: int) -> list[_Value]:
    """What one test goes through: every so many of the values, and all in `make test-all`."""
    return list(values)[:: 1 if everything() else step]


def _several(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)
