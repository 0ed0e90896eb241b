"""Which schema a database has, and bringing it to the newest one."""

from __future__ import annotations

from enum import StrEnum

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ProgrammingError

from tidemill import migrations
from tidemill.errors import MigrationRefused, SchemaTooNew, SchemaTooOld

__all__ = ["SchemaState", "migrate", "require_current", "schema_state"]

# The key of the advisory lock that lets one process migrate at a time: "tidemill" in ASCII.
_MIGRATION_LOCK = int.from_bytes(b"tidemill", "big")
_SCHEMA_VERSION = sa.table(migrations.VERSION_TABLE, sa.column("version_num", sa.Text))


class SchemaState(StrEnum):
    """How the schema in a database compares with the one this program is made for."""

    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version, in one transaction; one query when it is there.

    Several processes may try at once: one does the work, the others wait and find it done.

    Raises:
        SchemaTooNew: a newer Tidemill has migrated this database.
        MigrationRefused: tables of others are in the way, or making tables is not allowed.
    """
    found = _revision(engine)
    if _state(found) is SchemaState.BEHIND:
        # Also where sessions are read-only by default: migrating is what was asked for.
        writing = engine.execution_options(postgresql_readonly=False)
        with writing.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            found = _revision(engine)
            if _state(found) is SchemaState.BEHIND:
                _upgrade(connection)
                found = migrations.head()
    if _state(found) is SchemaState.AHEAD:
        raise SchemaTooNew(str(found), migrations.head())


def schema_state(engine: Engine) -> SchemaState:
    """How the schema compares with the one this program is made for; one query."""
    return _state(_revision(engine))


def require_current(engine: Engine) -> None:
    """Refuse a schema that this program is not made for; one query.

    Raises: SchemaTooOld, SchemaTooNew.
    """
    found = _revision(engine)
    match _state(found):
        case SchemaState.BEHIND:
            raise SchemaTooOld(found, migrations.head())
        case SchemaState.AHEAD:
            raise SchemaTooNew(str(found), migrations.head())
        case SchemaState.CURRENT:
            pass


def _upgrade(connection: Connection) -> None:
    # Loading Alembic takes as long as most commands do, and most find nothing to migrate.
    from alembic import command

    try:
        command.upgrade(migrations.config(connection), "head")
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.DuplicateTable):
            hint = "Give Tidemill a database of its own; `createdb tidemill` makes one."
        elif isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            hint = "As the owner: GRANT CREATE ON SCHEMA public TO the user of the address."
        else:
            raise
        raise MigrationRefused(str(error.orig).splitlines()[0], hint=hint) from error


def _state(revision: str | None) -> SchemaState:
    if revision == migrations.head():
        return SchemaState.CURRENT
    known = revision is None or revision in migrations.known_revisions()
    return SchemaState.BEHIND if known else SchemaState.AHEAD


def _revision(engine: Engine) -> str | None:
    """The revision of a database's schema; None when it has none of our tables."""
    try:
        with engine.connect() as connection:
            return connection.execute(sa.select(_SCHEMA_VERSION.c.version_num)).scalar()
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            return None
        raise
