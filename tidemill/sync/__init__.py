"""Reading a billing system through its API into the books, and comparing the two."""

from __future__ import annotations

from tidemill.sync.reading import Asked, Into, Progress, Synced, count_only, sync_stripe
from tidemill.sync.reconciliations import due, latest
from tidemill.sync.reconciling import Reconciled, compare_export, reconcile_stripe

__all__ = [
    "Asked",
    "Into",
    "Progress",
    "Reconciled",
    "Synced",
    "compare_export",
    "count_only",
    "due",
    "latest",
    "reconcile_stripe",
    "sync_stripe",
]
