"""What the planner knows about the tables while an import fills them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, column, func, select, table

from tidemill.bus.staging import Analyze
from tidemill.in_force import Books
from tidemill.ledger.facts import tables_of
from tidemill.models import (
    customer,
    invoice_line,
    invoice_version,
    payment,
    subscription,
    subscription_version,
    version_discount,
    version_item,
)

__all__ = ["keep_statistics"]

_CLASS: Final = table("pg_class", column("oid"), column("reltuples"))
_TABLES: Final = (
    customer,
    subscription,
    subscription_version,
    version_item,
    version_discount,
    invoice_version,
    invoice_line,
    payment,
)
# Most events end in one of these, as a row of its own.
_OF_EVENTS: Final = (subscription_version, invoice_version, payment)


def keep_statistics(connection: Connection, books: Books, added: int) -> bool:
    """Count the tables anew when `added` events are more than they were known to hold.

    The server does this by itself, but only every minute or so. An import fills empty tables within
    seconds, and meanwhile each batch would be planned as if there were hardly anything in them.
    Returns: whether it was done.
    """
    # Never counted is -1.
    counted = func.greatest(_CLASS.c.reltuples, 0)
    oids = [func.to_regclass(each.name) for each in _OF_EVENTS]
    known = select(func.sum(counted)).where(_CLASS.c.oid.in_(oids))
    if added < connection.execute(known).scalar_one():
        return False
    connection.execute(select(func.set_config("default_statistics_target", "100", True)))
    for each in (*_TABLES, *tables_of(books.facts)):
        connection.execute(Analyze(each))
    return True
