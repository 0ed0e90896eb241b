"""Giving a copy up."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from tidemill import models
from tidemill.bookkeeping import FACTS
from tidemill.copying.holding import COPIED, Copy, copy_in
from tidemill.ledger import tables_of
from tidemill.models import copied_source

__all__ = ["drop_copy"]


def drop_copy(connection: Connection) -> Copy | None:
    """Remove the copy and the facts derived from it; which it was, if there was one."""
    held = copy_in(connection)
    if held is not None:
        for table in (*COPIED.values(), models.copied_plan, models.copied_product, copied_source):
            connection.execute(delete(table))
        for table in tables_of(FACTS):
            connection.execute(delete(table))
    return held
