"""From settings to an open store with its engine: the one place that knows the two ways in."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from tidemill import database
from tidemill.connectors import DATABASE_CONNECTORS
from tidemill.engine.core import MetricsEngine
from tidemill.engine.providing import CORE, Provider, in_place
from tidemill.errors import InvalidSettings, Problem
from tidemill.relations import COLUMNS, core_relations

if TYPE_CHECKING:
    from tidemill.settings import Settings

__all__ = ["open_engine"]

# A billing database has other work to do: one connection, and no statement for longer than this.
_SOURCE_CONNECTIONS: Final = 1
_SOURCE_TIMEOUT_S: Final = 60.0


def open_engine(
    settings: Settings,
    *,
    as_of: datetime | None = None,
    read_only: bool = False,
    statement_timeout_s: float | None = None,
) -> tuple[database.Database, MetricsEngine]:
    """The configured store, open, and its engine; who closes the store closes everything.

    Raises: as `database.connect`; InvalidSettings, SchemaNotUnderstood, TenantNotChosen or
            KeysCollide where a billing system's database is read in place.
    """
    provider: Provider = CORE
    if settings.reads_in_place:
        store, provider = _open_source(settings)
    else:
        store = database.connect(
            settings.database_url,
            data_dir=settings.data_dir,
            read_only=read_only,
            statement_timeout_s=statement_timeout_s,
        )
    engine = MetricsEngine(
        store,
        base_currency=settings.base_currency,
        policy=settings.configured_policy(),
        as_of=as_of,
        provider=provider,
    )
    return store, engine


def _open_source(settings: Settings) -> tuple[database.Database, Provider]:
    if not (settings.source_url or settings.database_url):
        hint = "Set it, or TIDEMILL_DATABASE_URL, to the database of the billing system."
        raise InvalidSettings([Problem("TIDEMILL_SOURCE_URL", "is needed with a connector", hint)])
    connector = next(each for each in DATABASE_CONNECTORS if each.name == settings.connector)
    store = database.connect(
        settings.source_url or settings.database_url,
        migrate=False,
        read_only=True,
        statement_timeout_s=_SOURCE_TIMEOUT_S,
        connection_count_max=_SOURCE_CONNECTIONS,
    )
    try:
        rates = _own_rates(settings)
        with store.snapshot() as connection:
            reading = connector.read(connection, settings.source_schema, settings.source_tenant)
            return store, in_place(connection, reading, rates)
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
