"""The metric `cash`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.cash.metric import Cash

__all__ = ["Cash"]
