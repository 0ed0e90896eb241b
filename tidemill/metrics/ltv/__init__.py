"""The metric `ltv`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.ltv.metric import Ltv

__all__ = ["Ltv"]
