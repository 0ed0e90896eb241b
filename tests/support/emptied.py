"""Emptying a database between tests: quicker than making another, and compiled SQL is kept."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete

from tidemill import models
from tidemill.database import Database

__all__ = ["emptied"]

# All in one message: sent one by one they would take ten times as long as the server needs.
_EVERYTHING: Final = "; ".join(
    str(delete(table)) for table in reversed(models.metadata.sorted_tables)
)


def emptied(database: Database) -> Database:
    """The database without any row: no log, no reader's position, no noted policy."""
    with database.begin() as connection:
        connection.exec_driver_sql(_EVERYTHING)
    return database
