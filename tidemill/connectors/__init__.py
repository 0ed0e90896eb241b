"""Everything that knows a billing system's own words."""

from __future__ import annotations

from typing import Final

from tidemill.connectors.base import EventConnector
from tidemill.connectors.database import DatabaseConnector
from tidemill.connectors.killbill.connector import KillBill
from tidemill.connectors.lago.connector import Lago
from tidemill.connectors.stripe.connector import Stripe

__all__ = ["CONNECTORS", "DATABASE_CONNECTORS"]

CONNECTORS: Final[tuple[EventConnector, ...]] = (Stripe(),)
"""Every connector that turns a vendor's payloads into events."""

DATABASE_CONNECTORS: Final[tuple[DatabaseConnector, ...]] = (KillBill(), Lago())
"""Every connector that reads a billing system's own database in place."""
