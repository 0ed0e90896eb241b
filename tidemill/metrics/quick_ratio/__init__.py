"""The metric `quick_ratio`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.quick_ratio.metric import QuickRatio

__all__ = ["QuickRatio"]
