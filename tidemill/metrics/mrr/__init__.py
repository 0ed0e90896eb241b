"""The metric `mrr`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.mrr.metric import Mrr

__all__ = ["Mrr"]
