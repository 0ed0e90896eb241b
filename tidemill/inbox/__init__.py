"""The inbox: what vendors send to webhooks, kept before it is acknowledged, then taken in.

A delivery is stored byte by byte and acknowledged; that is all that happens while the vendor waits.
Whoever works afterwards (`work`) translates deliveries in the order of their arrival, puts their
events into the log and notes what became of each, in one transaction.
"""

from __future__ import annotations

from tidemill.inbox.following import follow_inbox
from tidemill.inbox.mending import Readers, mend
from tidemill.inbox.report import Report, Unresolved, report, unsettled
from tidemill.inbox.store import Kept, Received, keep, retry
from tidemill.inbox.work import ORIGIN, Worked, take_in

__all__ = [
    "ORIGIN",
    "Kept",
    "Readers",
    "Received",
    "Report",
    "Unresolved",
    "Worked",
    "follow_inbox",
    "keep",
    "mend",
    "report",
    "retry",
    "take_in",
    "unsettled",
]
