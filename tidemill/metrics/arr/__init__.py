"""The metric `arr`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.arr.metric import Arr

__all__ = ["Arr"]
