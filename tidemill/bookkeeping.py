"""The books as configured: which facts are kept, under which policy, and whose data is in them.

Facts are a cache of one policy. `settle` notes that policy in the database (``policy_in_use``) and
derives them again when the configured one has become another. Whoever writes meanwhile follows the
policy noted, and whoever reads trusts the facts of no other, so nobody mixes the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, select

from tidemill.bus import PostgresBus
from tidemill.database import Database
from tidemill.errors import MigrationRefused
from tidemill.in_force import differing_knobs, kept_document, kept_facts, note
from tidemill.ledger import Fact, tables_of, trials
from tidemill.metrics.movement_cube import MRR_MOVEMENTS
from tidemill.metrics.payment_cube import PAYMENT_SUMS
from tidemill.metrics.payments.attempts import FAILURE_SUMS
from tidemill.models import (
    consumer_position,
    delivery,
    metadata,
    metric_trial,
    policy_in_use,
    segment,
    source,
    vendor_object,
    worker,
)
from tidemill.quarantine import set_aside
from tidemill.rebuilding import put_in_force
from tidemill.settings import Settings
from tidemill.state import Books, derive_all
from tidemill.worker import CONSUMER

__all__ = [
    "DEMO",
    "FACTS",
    "books_of",
    "bus_of",
    "clear",
    "differing",
    "make_topics",
    "settle",
    "source_kinds",
]

FACTS: Final = (
    MRR_MOVEMENTS,
    Fact(metric_trial, trials),
    PAYMENT_SUMS,
    FAILURE_SUMS,
)
"""Every table that is kept up to date, with its derivation."""

DEMO: Final = "demo"
"""The kind, and the name, of the source that the synthetic business comes from."""


def books_of(settings: Settings) -> Books:
    """What is kept up to date under these settings, and by which rules."""
    return Books(FACTS, settings.configured_policy(), settings.base_currency)


def bus_of(settings: Settings, database: Database) -> PostgresBus:
    """The bus under these settings: the log in the database, behind Kafka where there are brokers.

    Raises: MissingExtra.
    """
    if settings.kafka_bootstrap_servers is None:
        return PostgresBus(database)
    from tidemill.bus.kafka import KafkaBus

    return KafkaBus(
        database,
        settings.kafka_bootstrap_servers,
        set_aside,
        topic=settings.kafka_topic,
        member=settings.worker_name,
    )


def make_topics(settings: Settings) -> tuple[str, ...]:
    """Make the topics that the brokers in the settings lack; the names of those made.

    Raises: MissingExtra, BrokerUnreachable, BrokerMisconfigured.
    """
    if settings.kafka_bootstrap_servers is None:
        return ()
    from tidemill.bus.kafka import create_topics

    return create_topics(settings.kafka_bootstrap_servers, settings.kafka_topic)


def differing(database: Database, books: Books) -> tuple[str, ...]:
    """On what the ledger as configured differs from the facts that are kept; names of knobs."""
    with database.connect() as connection:
        kept = kept_document(connection)
    return () if kept is None else differing_knobs(books.policy, books.base_currency, kept)


def settle(
    database: Database,
    bus: PostgresBus,
    books: Books,
    *,
    telling: Callable[[tuple[str, ...]], None] | None = None,
) -> bool:
    """Make the facts those of the configured policy, and whole; whether they were derived again.

    Beside the live tables, so workers go on meanwhile; until the change readers derive what they
    are asked. Cheap when nothing has changed, or nothing that the facts rest on.

    telling: called before the facts are derived again, with what differs.
    """
    with database.connect() as connection:
        if kept_document(connection) == books.document():
            return False
    with database.begin() as connection:
        bus.hold(connection, CONSUMER)
        kept = kept_document(connection)  # another process may have been faster
        if kept is None:
            # Books that begin: there is next to nothing to derive.
            derive_all(connection, books)
            return False
        differs = differing_knobs(books.policy, books.base_currency, kept)
        wanted = {table.name for table in tables_of(books.facts)}
        if not differs and kept_facts(kept) >= wanted:
            note(connection, books)
            return False
    if differs and telling is not None:
        telling(differs)
    try:
        return put_in_force(database, bus, books)
    except MigrationRefused:
        # Where the role may not make the place beside, they are derived in place.
        with database.begin() as connection:
            bus.hold(connection, CONSUMER)
            derive_all(connection, books)
        return True


def source_kinds(connection: Connection) -> dict[str, str]:
    """Source → kind of every source that has ever sent anything."""
    found = connection.execute(select(source.c.name, source.c.kind).order_by(source.c.name))
    return {row.name: row.kind for row in found}


def clear(database: Database, bus: PostgresBus) -> None:
    """Empty the books: log, quarantine and all that was made from them. In one transaction.

    Meant for books in which nothing but the demo stands; the schema stays, and so do sources that
    were connected meanwhile.
    """
    with database.begin() as connection:
        bus.hold(connection, CONSUMER)
        for table in reversed(metadata.sorted_tables):
            # Positions of the log only ever rise, so readers may stay where they are; and facts of
            # nothing are facts of any policy. The demo has no inbox: what is in there is real. And
            # segments are somebody's work, not data, and workers go on working.
            kept = (consumer_position, policy_in_use, delivery, vendor_object, source)
            if table not in (*kept, segment, worker):
                connection.execute(delete(table))
        connection.execute(delete(source).where(source.c.kind == DEMO))
