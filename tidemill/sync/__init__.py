"""Reading a billing system through its API into the books, and comparing the two."""

from __future__ import annotations

from tidemill.sync.reading import Asked, Into, Progress, Synced, count_only, sync_stripe

__all__ = ["Asked", "Into", "Progress", "Synced", "count_only", "sync_stripe"]
