"""The books as configured: which facts are kept, under which policy, and whose data is in them.

Facts are a cache of one policy. `settle` notes that policy in the database (``policy_in_use``) and
derives them again when the configured one has become another, so that nobody mixes the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.ledger import Fact, derive
from tidemill.models import (
    consumer_position,
    metadata,
    metric_mrr_movement,
    policy_in_use,
    source,
)
from tidemill.settings import Settings
from tidemill.state import Books, derive_all
from tidemill.worker import CONSUMER

__all__ = ["DEMO", "FACTS", "books_of", "clear", "settle", "source_kinds"]

FACTS: Final = (Fact(metric_mrr_movement, derive),)
"""Every table that is kept up to date, with its derivation."""

DEMO: Final = "demo"
"""The kind, and the name, of the source that the synthetic business comes from."""


def books_of(settings: Settings) -> Books:
    """What is kept up to date under these settings, and by which rules."""
    return Books(FACTS, settings.configured_policy(), settings.base_currency)


def settle(database: Database, bus: PostgresBus, books: Books) -> bool:
    """Make the facts those of the configured policy; whether they had to be derived again.

    One transaction; workers wait. Cheap when nothing has changed.
    """
    document = books.policy.document() | {"base_currency": books.base_currency}
    latest = (
        select(policy_in_use.c.document).order_by(policy_in_use.c.configured_at.desc()).limit(1)
    )
    with database.connect() as connection:
        if connection.execute(latest).scalar() == document:
            return False
    with database.begin() as connection:
        bus.hold(connection, CONSUMER)
        if connection.execute(latest).scalar() == document:
            return False  # another process was faster
        derive_all(connection, books)
        values = {"hash": books.policy.hash, "document": document}
        connection.execute(
            insert(policy_in_use).values(configured_at=func.clock_timestamp(), **values)
        )
    return True


def source_kinds(connection: Connection) -> dict[str, str]:
    """Source → kind of every source that has ever sent anything."""
    found = connection.execute(select(source.c.name, source.c.kind).order_by(source.c.name))
    return {row.name: row.kind for row in found}


def clear(database: Database, bus: PostgresBus) -> None:
    """Empty the books: log, quarantine and all that was made from them. In one transaction.

    Meant for books in which nothing but the demo stands; the schema stays.
    """
    with database.begin() as connection:
        bus.hold(connection, CONSUMER)
        for table in reversed(metadata.sorted_tables):
            # Positions of the log only ever rise, so readers may stay where they are; and facts of
            # nothing are facts of any policy.
            if table not in (consumer_position, policy_in_use):
                connection.execute(delete(table))
