"""Metrics: one folder each, and the list of them.

A metric is declared (`base`) over a cube (`cube`): its questions are methods that describe a table
and one SELECT. Adding one touches its own folder and one line here.
"""

from __future__ import annotations

from typing import Final

from tidemill.ledger import Fact
from tidemill.metrics.arpa import Arpa
from tidemill.metrics.arr import Arr
from tidemill.metrics.asp import Asp
from tidemill.metrics.base import Metric
from tidemill.metrics.cac import Cac
from tidemill.metrics.cash import Cash
from tidemill.metrics.churn import Churn
from tidemill.metrics.customers import Customers
from tidemill.metrics.efficiency import Efficiency
from tidemill.metrics.ltv import Ltv
from tidemill.metrics.mrr import Mrr
from tidemill.metrics.payments import Payments
from tidemill.metrics.quick_ratio import QuickRatio
from tidemill.metrics.retention import Retention
from tidemill.metrics.trials import Trials
from tidemill.metrics.usage_revenue import UsageRevenue

__all__ = ["FACTS", "METRICS"]

METRICS: Final[tuple[type[Metric], ...]] = (
    Mrr,
    Arr,
    Customers,
    Arpa,
    Asp,
    Churn,
    Retention,
    QuickRatio,
    Ltv,
    UsageRevenue,
    Cash,
    Payments,
    Trials,
    Cac,
    Efficiency,
)
"""Every metric, in the order of the catalogue."""

FACTS: Final[tuple[Fact, ...]] = tuple(
    dict.fromkeys(fact for each in METRICS for fact in each.facts)
)
"""Every table that some metric stands on, once, with its derivation."""
