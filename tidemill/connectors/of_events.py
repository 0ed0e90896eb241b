"""The connectors that turn what a vendor says into events."""

from __future__ import annotations

from typing import Final

from tidemill.connectors.base import EventConnector
from tidemill.connectors.stripe.connector import Stripe

__all__ = ["CONNECTORS"]

CONNECTORS: Final[tuple[EventConnector, ...]] = (Stripe(),)
"""Every connector that turns a vendor's payloads into events."""
