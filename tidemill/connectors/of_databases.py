"""The connectors that read a billing system's own database."""

from __future__ import annotations

from typing import Final

from tidemill.connectors.database import DatabaseConnector
from tidemill.connectors.killbill.connector import KillBill
from tidemill.connectors.lago.connector import Lago

__all__ = ["DATABASE_CONNECTORS"]

DATABASE_CONNECTORS: Final[tuple[DatabaseConnector, ...]] = (KillBill(), Lago())
"""Every connector that reads a billing system's own database in place."""
