"""State: from events to core tables, version history and facts, a batch in a transaction."""

from __future__ import annotations

from tidemill.in_force import Books, note
from tidemill.state.apply import LOGGED, Applied, apply, subjects
from tidemill.state.facts import derive_all, fill, refill_payments, refresh
from tidemill.state.payment_sums import PAYMENT_SUBJECTS
from tidemill.state.rollups import Cells
from tidemill.state.statistics import keep_statistics

__all__ = [
    "LOGGED",
    "PAYMENT_SUBJECTS",
    "Applied",
    "Books",
    "Cells",
    "apply",
    "derive_all",
    "fill",
    "keep_statistics",
    "note",
    "refill_payments",
    "refresh",
    "subjects",
]
