"""The metric `usage_revenue`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.usage_revenue.metric import UsageRevenue

__all__ = ["UsageRevenue"]
