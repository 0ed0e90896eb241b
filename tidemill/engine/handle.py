"""A metric in hand: its questions as functions, for notebooks and for completion in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tidemill.metrics.catalogue import MetricInfo
from tidemill.metrics.result import Result

__all__ = ["MetricHandle"]


class MetricHandle:
    """A metric's questions as functions: ``handle.series(…)``; ``handle()`` asks the default."""

    def __init__(self, query: Callable[..., Result], info: MetricInfo) -> None:
        """Bind a metric to the function that asks."""
        self._query = query
        self._info = info

    def __call__(self, **arguments: Any) -> Result:
        """Ask the default question."""
        return self._query(self._info.name, None, **arguments)

    def __getattr__(self, name: str) -> Callable[..., Result]:
        """A question by attribute.

        Raises: UnknownQuestion, suggesting a near name.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._query, self._info.name, self._info.question(name).name)

    def __dir__(self) -> list[str]:
        """The questions, for completion in notebooks."""
        return [each.name for each in self._info.questions]

    def __repr__(self) -> str:
        """The metric and its questions."""
        return f"<{self._info.title}: {', '.join(dir(self))}>"
