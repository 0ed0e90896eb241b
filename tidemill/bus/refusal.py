"""Telling trouble with a value from trouble with the server: only the first is quarantined."""

from __future__ import annotations

from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from tidemill.errors import Problem

__all__ = ["REFUSALS", "refusal"]

REFUSALS: Final = (DBAPIError, psycopg.Error, ValueError, OverflowError)
"""What a statement may raise over a value; `refusal` says whether it did."""

# SQLSTATE classes of trouble that lies in the data: data exceptions, broken constraints, and values
# over a limit of the server (a key too long for an index, JSON nested too deep).
_OF_THE_DATA: Final = ("22", "23", "54")


def refusal(error: Exception) -> Problem | None:
    """Why PostgreSQL, or the driver on its behalf, refused a value.

    None when the trouble is elsewhere: a lost connection, a deadlock, a mistake in our SQL. Then
    the whole batch must be undone and tried again; quarantine would blame the wrong thing.
    """
    origin = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(origin, psycopg.Error):
        return Problem("data", f"it cannot be stored: {origin}")
    state = origin.sqlstate
    if state is None:
        # It comes from psycopg itself: a value it could not convert, or a broken connection.
        of_the_data = isinstance(origin, psycopg.DataError)
    else:
        of_the_data = state.startswith(_OF_THE_DATA)
    if not of_the_data:
        return None
    what = origin.diag.message_primary or str(origin)
    return Problem("data", f"the database refuses it: {what}", origin.diag.message_detail or "")
