"""The metric `asp`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.asp.metric import Asp

__all__ = ["Asp"]
