"""The metric `efficiency`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.efficiency.metric import Efficiency

__all__ = ["Efficiency"]
