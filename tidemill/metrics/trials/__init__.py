"""The metric `trials`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.trials.metric import Trials

__all__ = ["Trials"]
