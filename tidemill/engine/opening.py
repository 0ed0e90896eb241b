"""From settings to an open store with its engine: the one place that knows the two ways in."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from tidemill import database
from tidemill.connectors.database import DatabaseConnector
from tidemill.connectors.of_databases import DATABASE_CONNECTORS
from tidemill.copying.holding import Asked, copy_in, require_same
from tidemill.engine.copied import Copied
from tidemill.engine.core import MetricsEngine
from tidemill.engine.providing import CORE, InPlace, Provider
from tidemill.errors import InvalidSettings, Problem
from tidemill.relations import COLUMNS, core_relations

if TYPE_CHECKING:
    from tidemill.settings import Settings

__all__ = [
    "SOURCE_TIMEOUT_S",
    "asked_of",
    "connector_of",
    "has_own_store",
    "open_engine",
    "open_source",
]

# A billing database has other work to do: one connection, and no statement for longer than this.
_SOURCE_CONNECTIONS: Final = 1
SOURCE_TIMEOUT_S: Final = 60.0


def open_engine(
    settings: Settings,
    *,
    as_of: datetime | None = None,
    read_only: bool = False,
    statement_timeout_s: float | None = None,
) -> tuple[database.Database, MetricsEngine]:
    """The configured store, open, and its engine; who closes the store closes everything.

    A store of our own that holds a copy of the billing database is asked in its place.

    Raises: as `database.connect`; InvalidSettings, SchemaNotUnderstood or
            TenantNotChosen where a billing system's database is read in place; CopyOfAnother.
    """
    found: tuple[database.Database, Provider] | None = None
    if not settings.reads_in_place or has_own_store(settings):
        found = _open_own(settings, read_only=read_only, statement_timeout_s=statement_timeout_s)
    store, provider = found or _open_source(settings)
    engine = MetricsEngine(
        store,
        base_currency=settings.base_currency,
        policy=settings.configured_policy(),
        as_of=as_of,
        provider=provider,
    )
    return store, engine


def has_own_store(settings: Settings) -> bool:
    """Whether there is a store of our own beside a billing database.

    The embedded one counts once it has been made: to ask in place none is needed.
    """
    if not settings.source_url:
        return False
    return settings.database_url is not None or database.embedded_exists(settings.data_dir)


def _open_own(settings: Settings, **how: Any) -> tuple[database.Database, Provider] | None:
    """Our store; None where a billing database is configured that it holds no copy of."""
    store = database.connect(settings.database_url, data_dir=settings.data_dir, **how)
    try:
        with store.snapshot() as connection:
            copy = copy_in(connection)
        if copy is not None:
            if settings.reads_in_place:
                require_same(copy, str(settings.connector), asked_of(settings))
            return store, Copied(copy.title)
    except BaseException:
        store.close()
        raise
    if settings.reads_in_place:
        store.close()
        return None
    return store, CORE


def open_source(settings: Settings, *, statement_timeout_s: float) -> database.Database:
    """The billing system's database, to read only, with one connection.

    Raises: InvalidSettings; as `database.connect`.
    """
    if not (settings.source_url or settings.database_url):
        hint = "Set it, or TIDEMILL_DATABASE_URL, to the database of the billing system."
        raise InvalidSettings([Problem("TIDEMILL_SOURCE_URL", "is needed with a connector", hint)])
    return database.connect(
        settings.source_url or settings.database_url,
        migrate=False,
        read_only=True,
        statement_timeout_s=statement_timeout_s,
        connection_count_max=_SOURCE_CONNECTIONS,
    )


def connector_of(settings: Settings) -> DatabaseConnector:
    """The connector of the billing system that is configured."""
    return next(each for each in DATABASE_CONNECTORS if each.name == settings.connector)


def asked_of(settings: Settings) -> Asked:
    """Which of the books in the billing database are meant."""
    return Asked(settings.source_schema, settings.source_tenant)


def _open_source(settings: Settings) -> tuple[database.Database, Provider]:
    store = open_source(settings, statement_timeout_s=SOURCE_TIMEOUT_S)
    try:
        rates = _own_rates(settings)
        with store.snapshot() as connection:
            asked = asked_of(settings)
            reading = connector_of(settings).read(connection, asked.schema, asked.tenant)
            return store, InPlace(reading, rates)
    except BaseException:
        store.close()
        raise


def _own_rates(settings: Settings) -> list[tuple[str, str, date, Decimal]]:
    """The exchange rates of our own books, when there are any beside the billing database."""
    if not (settings.source_url and settings.database_url):
        return []
    rates = core_relations(base_currency=settings.base_currency).fx_rates
    with (
        database.connect(settings.database_url) as own,
        own.snapshot() as connection,
    ):
        found = connection.execute(select(*(rates.c[name] for name in COLUMNS["fx_rates"])))
        return [(row[0], row[1], row[2], row[3]) for row in found]
