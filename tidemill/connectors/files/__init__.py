"""Files to import, read record by record: canonical events, and raw events of vendors."""

from __future__ import annotations

from tidemill.connectors.files.readers import (
    KINDS,
    read_again,
    read_events,
    read_stripe_events,
)

__all__ = ["KINDS", "read_again", "read_events", "read_stripe_events"]
