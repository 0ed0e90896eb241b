"""The metric `customers`: see `definition.md`."""

from __future__ import annotations

from tidemill.metrics.customers.metric import Customers

__all__ = ["Customers"]
