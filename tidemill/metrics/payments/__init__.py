"""The metric `payments`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.payments.metric import Payments

__all__ = ["Payments"]
