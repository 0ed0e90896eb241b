"""The metric `churn`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.churn.metric import Churn

__all__ = ["Churn"]
