"""The metric `cac`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.cac.metric import Cac

__all__ = ["Cac"]
