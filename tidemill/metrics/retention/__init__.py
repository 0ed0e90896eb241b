"""The metric `retention`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.retention.metric import Retention

__all__ = ["Retention"]
